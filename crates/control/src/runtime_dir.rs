//! The places of running instances' admin sockets.

use config::environment::{EVENKEEL_RUNTIME_DIR, RUNTIME_DIRECTORY, Variable, XDG_RUNTIME_DIR};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use sys::process::User;

/// The directory of the admin sockets of instances that root has started.
pub const ROOT_RUNTIME_DIR: &str = "/run/evenkeel";

/// The directory of the admin sockets: `$EVENKEEL_RUNTIME_DIR`; else `/run/evenkeel` for root;
/// else the one that systemd has created for the service (`$RUNTIME_DIRECTORY`); else
/// `$XDG_RUNTIME_DIR/evenkeel`; else `/tmp/evenkeel-UID`.
#[must_use]
pub fn runtime_dir() -> PathBuf {
    if let Some(dir) = from_environment(EVENKEEL_RUNTIME_DIR) {
        return dir;
    }
    let uid = sys::process::user_id();
    if uid == 0 {
        return ROOT_RUNTIME_DIR.into();
    }
    // Several are separated by colons (systemd.exec(5)).
    let directories = std::env::var(RUNTIME_DIRECTORY.name).unwrap_or_default();
    if let Some(first) = directories.split(':').next().filter(|first| first.starts_with('/')) {
        return first.into();
    }
    match from_environment(XDG_RUNTIME_DIR) {
        Some(dir) => dir.join("evenkeel"),
        None => format!("/tmp/evenkeel-{uid}").into(),
    }
}

fn from_environment(variable: Variable) -> Option<PathBuf> {
    std::env::var_os(variable.name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The admin socket of the instance called `name`, in the runtime directory. If the instance is to
/// run as another user, who could remove nothing from there, it is in that user's own directory
/// inside of it, named by the user's number.
///
/// The name is [`escaped`].
#[must_use]
pub fn admin_socket_path(name: &str, user: Option<&str>) -> PathBuf {
    let file = escaped(name);
    // An unknown user is reported when the instance starts.
    let user = user.and_then(|user| User::find(user).ok());
    let dir = user.map_or_else(runtime_dir, |user| user_dir(user.uid()));
    dir.join(file + ".sock")
}

/// The name of an instance as part of a file's name: characters that it cannot have are written as
/// `%XX`.
#[must_use]
pub fn escaped(name: &str) -> String {
    let mut file = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b".:-_".contains(&byte) {
            file.push(byte.into());
        } else {
            file.push_str(&format!("%{byte:02X}"));
        }
    }
    file
}

fn user_dir(uid: u32) -> PathBuf {
    runtime_dir().join(uid.to_string())
}

/// The admin sockets of interest to this user, by name: those in the runtime directory, and those
/// of instances that root or systemd has started as this user. For root, also those of instances that
/// run as other users.
///
/// # Errors
/// If the runtime directory cannot be read and there are no other sockets, or if it belongs to a
/// user other than this one and root, who could pass off anything as an instance. To root, every
/// user's directory is open.
pub fn admin_sockets() -> io::Result<Vec<PathBuf>> {
    let uid = sys::process::user_id();
    let mut sockets = sockets_in(&user_dir(uid)).unwrap_or_default();
    if from_environment(EVENKEEL_RUNTIME_DIR).is_none() {
        let root = Path::new(ROOT_RUNTIME_DIR);
        // It may be that only root can list the directory.
        let given = directories_in(root).into_iter().chain([root.join(uid.to_string())]);
        sockets.extend(given.flat_map(|dir| sockets_in(&dir).unwrap_or_default()));
    }
    match sockets_in(&runtime_dir()) {
        Err(error) if sockets.is_empty() => return Err(error),
        found => sockets.extend(found.unwrap_or_default()),
    }
    let others = directories_in(&runtime_dir());
    sockets.extend(others.iter().flat_map(|dir| sockets_in(dir).unwrap_or_default()));
    sockets.sort();
    sockets.dedup();
    Ok(sockets)
}

/// The directories of users and services in a runtime directory: this user's, or for root all.
fn directories_in(runtime: &Path) -> Vec<PathBuf> {
    let uid = sys::process::user_id();
    let is_open = |path: &PathBuf| {
        let metadata = std::fs::symlink_metadata(path);
        metadata.is_ok_and(|it| it.is_dir() && (uid == 0 || it.uid() == uid))
    };
    let entries = std::fs::read_dir(runtime).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_open).collect()
}

fn is_user_dir(dir: &Path) -> bool {
    let name = dir.file_name().and_then(|name| name.to_str());
    dir.parent() == Some(&runtime_dir()) && name.is_some_and(|name| name.parse::<u32>().is_ok())
}

/// The admin sockets in a directory; none if the directory does not exist.
fn sockets_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    if sys::process::user_id() != 0 {
        check_owner(dir)?;
    }
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|it| it == "sock")).collect())
}

/// Creates the directory of a socket, for its owner only, unless it exists. One that
/// [`admin_socket_path`] has chosen for `owner` is given to that user.
///
/// # Errors
/// Also if it belongs to another user, who could intercept requests.
pub(crate) fn make_dir(dir: &Path, owner: Option<&User>) -> io::Result<()> {
    let Some(owner) = owner.filter(|owner| dir == user_dir(owner.uid())) else {
        create(dir)?;
        return check_owner(dir);
    };
    let runtime = runtime_dir();
    create(&runtime)?;
    check_owner(&runtime)?;
    let mode = runtime.metadata()?.permissions().mode();
    if mode & PASS_THROUGH != PASS_THROUGH {
        std::fs::set_permissions(&runtime, Permissions::from_mode(mode | PASS_THROUGH))?;
    }
    create(dir)?;
    match check_owner(dir) {
        Err(_) if std::fs::symlink_metadata(dir)?.uid() == owner.uid() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => lchown(dir, Some(owner.uid()), Some(owner.gid())),
    }
}

/// Entering a directory without reading it.
pub(crate) const PASS_THROUGH: u32 = 0o011;

fn create(dir: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
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

/// Whether every file in the socket's directory is ours: it is the runtime directory, or a user's in
/// it.
pub(crate) fn is_in_runtime_dir(socket: &Path) -> bool {
    socket.parent().is_some_and(|dir| dir == runtime_dir() || is_user_dir(dir))
}

/// The path of this process's socket while it drains; `None` if `socket` is such a path already.
pub(crate) fn draining_path(socket: &Path) -> Option<PathBuf> {
    let stem = socket.file_stem()?.to_string_lossy();
    let name = format!("{stem}{DRAINING}{}.sock", std::process::id());
    (!stem.contains(DRAINING)).then(|| socket.with_file_name(name))
}

/// The sockets of instances that had this path before and are draining, or died while draining.
pub(crate) fn draining_siblings(socket: &Path) -> Vec<PathBuf> {
    let Some(stem) = socket.file_stem() else { return Vec::new() };
    let start = format!("{}{DRAINING}", stem.to_string_lossy());
    let dir = socket.parent().filter(|dir| !dir.as_os_str().is_empty());
    let mut sockets = sockets_in(dir.unwrap_or(Path::new("."))).unwrap_or_default();
    let is_sibling = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start))
    };
    sockets.retain(is_sibling);
    sockets
}

const DRAINING: &str = ".draining.";

/// The path of the socket for other processes that want to take the instance over, beside its admin
/// socket.
#[must_use]
pub fn hand_over_path(socket: &Path) -> PathBuf {
    socket.with_extension("hand-over")
}

/// The path of the file with the process id, beside an admin socket. It matters after a sudden
/// death.
pub(crate) fn pid_path(socket: &Path) -> PathBuf {
    socket.with_extension("pid")
}

/// The process id of the instance that has, or had, this admin socket.
#[must_use]
pub fn read_pid(socket: &Path) -> Option<u32> {
    std::fs::read_to_string(pid_path(socket)).ok()?.trim().parse().ok()
}
