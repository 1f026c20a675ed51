//! What is kept of good configurations in the engine's state directory: the last good text of each
//! team file, and the settings that were last in force. Only the owner may read it, since a text may
//! hold secrets.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Config;

/// The folder of what is kept, in the state directory.
const FOLDER: &str = "config";
/// The settings that were last in force.
const IN_FORCE: &str = "in-force.json";

/// The name under which the last good text of the team file at `path` is kept, from wherever it is looked
/// at: `path` is absolute.
pub(super) fn name_of(path: &Path) -> String {
    // Without the dots that a path from some folder has in it.
    let path: PathBuf = path.components().collect();
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let plain: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    // Two files of one name in two folders are two.
    let hash = path
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{plain}-{hash:016x}.toml")
}

/// The last good text that is kept under this name. One that cannot be read is as good as none.
pub(super) fn last_good(state_dir: &Path, name: &str) -> Option<String> {
    fs::read_to_string(state_dir.join(FOLDER).join(name)).ok()
}

/// Where the settings that were last in force are kept.
pub fn in_force(state_dir: &Path) -> PathBuf {
    state_dir.join(FOLDER).join(IN_FORCE)
}

/// Keeps what is good of a configuration that is in force from here on: team files as they are
/// written, and `in_force`, its settings without secrets. A file that was taken out is not kept: what comes
/// under its name one day is new.
///
/// # Errors
/// The state directory cannot be written.
pub fn keep(config: &Config, settings: &str) -> io::Result<()> {
    let state_dir = &config.engine.state_dir;
    let folder = state_dir.join(FOLDER);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    for (name, text) in &config.team_files {
        text.as_ref().map_or(Ok(()), |text| replace(&folder.join(name), text))?;
    }
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let is_known = |name: &str| config.team_files.iter().any(|(known, _)| known == name);
        let is_text = path.extension().is_some_and(|end| end == "toml");
        if is_text && !path.file_name().and_then(|name| name.to_str()).is_some_and(is_known) {
            fs::remove_file(&path)?;
        }
    }
    replace(&in_force(state_dir), settings)
}

/// Writes a file in one step: whoever reads it finds the old text or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}
