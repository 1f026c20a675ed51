//! What a configuration is read from, so that a change of it is seen: the main file, the team files, and
//! the set of names that `include` matches.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::include::expand;
use super::load::find_file;

/// The files of a configuration as they are on disk. Another one means that something changed: a file's
/// text, the file under a name (editors rename, config maps swap links), or which files there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, Option<FileStamp>)>);

/// Device, inode, time of change (seconds, nanoseconds) and size in bytes.
type FileStamp = (u64, u64, i64, i64, u64);

impl Stamp {
    /// The files that `explicit`, or the environment, leads to now; `include` are the patterns of the main
    /// file that is in force.
    pub fn now(explicit: Option<&Path>, env: &Environment, include: &[String]) -> Stamp {
        let Some(main) = find_file(explicit, env) else { return Stamp::default() };
        let folder = env.working_dir.join(main.parent().unwrap_or(Path::new("")));
        let mut files = vec![env.working_dir.join(&main)];
        files.extend(include.iter().flat_map(|pattern| expand(&folder, pattern)));
        let of = |path: PathBuf| {
            // Through links: what they lead to is what is read.
            let there = path.metadata().ok();
            (path, there.map(|meta| (meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size())))
        };
        Stamp(files.into_iter().map(of).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::config::fakes;

    #[test]
    fn every_way_to_change_a_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let env = Environment { working_dir: folder.path().to_owned(), ..fakes::environment() };
        let stamp = || Stamp::now(Some(Path::new("runwatch.toml")), &env, &["teams/*.toml".to_owned()]);
        let mut last = stamp();
        let mut changed = |what: &str| {
            let now = stamp();
            assert_ne!(now, last, "{what}");
            assert_eq!(stamp(), now, "{what}: it is at rest");
            last = now;
        };
        fs::write(at("runwatch.toml"), "a").unwrap();
        changed("the file comes");
        fs::write(at("runwatch.toml"), "ab").unwrap();
        changed("it is written");
        fs::write(at("new"), "ab").unwrap();
        fs::rename(at("new"), at("runwatch.toml")).unwrap();
        changed("another takes its name");
        fs::create_dir(at("teams")).unwrap();
        fs::write(at("teams/a.toml"), "").unwrap();
        changed("a team file comes");
        fs::remove_file(at("teams/a.toml")).unwrap();
        changed("a team file goes");
        // As a config map is: a link to a hidden folder that is swapped.
        for version in ["..1", "..2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("b.toml"), "same").unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("../..data/b.toml", at("teams/b.toml")).unwrap();
        changed("a link comes");
        symlink("..2", at("..next")).unwrap();
        fs::rename(at("..next"), at("..data")).unwrap();
        changed("the link leads elsewhere");
        fs::remove_file(at("runwatch.toml")).unwrap();
        changed("the file goes");
    }
}
