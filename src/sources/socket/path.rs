//! The socket's file: made so that nobody else may connect, taken over only from the dead.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::SocketError;

/// The sticky bit: in such a folder only a file's owner may replace it.
const STICKY: u32 = 0o1000;

/// A socket's file that is ours.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode: a file that another engine put there since is not ours to remove.
    identity: (u64, u64),
}

impl SocketFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn remove(&self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the unix socket");
        }
    }
}

/// Makes the socket, or takes over the file of an engine that is gone.
pub(super) fn claim(path: &Path) -> Result<(UnixListener, SocketFile), SocketError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| SocketError::Io { action, path, source }
    };
    // The draft below may fit where this name does not, and nobody could connect to it then.
    SocketAddr::from_pathname(path).map_err(failed("make the socket", path))?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("make the folder", folder))?;
    let mode = fs::metadata(folder).map_err(failed("look at the folder", folder))?.mode();
    if mode & 0o022 != 0 && mode & STICKY == 0 {
        return Err(SocketError::OpenFolder { path: path.to_owned(), mode: mode & 0o7777 });
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at the socket", path)(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket { path: path.to_owned() });
        }
        // It is stale only where nobody listens: any other failure may hide a living engine.
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {}
            Err(error) => return Err(failed("find out whether an engine listens on", path)(error)),
            Ok(_) => return Err(SocketError::InUse { path: path.to_owned() }),
        },
    }
    // Made beside its place and moved there, so that it is 0600 before anybody finds it, and a
    // stale file is replaced in one step.
    let draft = folder.join(format!(".{}", std::process::id()));
    let made = make(&draft, path);
    if made.is_err() {
        // What is left of the attempt, if anything; the error that matters is `made`'s.
        let _ = fs::remove_file(&draft);
    }
    let listener = made.map_err(failed("make the socket", path))?;
    let identity = identity(path).map_err(failed("look at the socket", path))?;
    Ok((listener, SocketFile { path: path.to_owned(), identity }))
}

fn make(draft: &Path, path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(draft)?;
    fs::set_permissions(draft, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    fs::rename(draft, path)?;
    Ok(listener)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
