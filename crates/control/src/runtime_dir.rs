//! Where running instances can be found.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The directory of the admin sockets of instances that root has started.
pub const ROOT_RUNTIME_DIR: &str = "/run/evenkeel";

/// The directory of the admin sockets: `$EVENKEEL_RUNTIME_DIR`; else `/run/evenkeel` for root;
/// else `$XDG_RUNTIME_DIR/evenkeel`; else `/tmp/evenkeel-UID`.
#[must_use]
pub fn runtime_dir() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(dir) = from("EVENKEEL_RUNTIME_DIR") {
        return dir.into();
    }
    let uid = sys::process::user_id();
    if uid == 0 {
        return ROOT_RUNTIME_DIR.into();
    }
    match from("XDG_RUNTIME_DIR") {
        Some(dir) => Path::new(&dir).join("evenkeel"),
        None => format!("/tmp/evenkeel-{uid}").into(),
    }
}

/// The admin socket of the instance called `name` in the runtime directory.
///
/// Characters that a file name cannot have are written as `%XX`.
#[must_use]
pub fn admin_socket_path(name: &str) -> PathBuf {
    let mut file = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b".:-_".contains(&byte) {
            file.push(byte.into());
        } else {
            file.push_str(&format!("%{byte:02X}"));
        }
    }
    runtime_dir().join(file + ".sock")
}

/// The admin sockets in a runtime directory, by name; none where there is no such directory.
///
/// # Errors
/// When the directory cannot be read, or belongs to somebody who is neither this user nor root and
/// could pass anything off as an instance. To root, every user's directory is open.
pub fn sockets_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    if sys::process::user_id() != 0 {
        check_owner(dir)?;
    }
    let mut sockets: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .collect();
    sockets.sort();
    Ok(sockets)
}

/// Makes the directory of a socket, for its owner alone, unless it is there.
///
/// # Errors
/// Also when it belongs to somebody else, who could read along.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => check_owner(dir),
    }
}

fn check_owner(dir: &Path) -> io::Result<()> {
    let owner = std::fs::symlink_metadata(dir)?.uid();
    if owner == sys::process::user_id() || owner == 0 {
        return Ok(());
    }
    let message = format!("{} belongs to user {owner}", dir.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

/// Where the process id stands beside an admin socket, for the time after a sudden death.
pub(crate) fn pid_path(socket: &Path) -> PathBuf {
    socket.with_extension("pid")
}

/// The process id of the instance that has, or had, this admin socket.
#[must_use]
pub fn read_pid(socket: &Path) -> Option<u32> {
    std::fs::read_to_string(pid_path(socket)).ok()?.trim().parse().ok()
}
