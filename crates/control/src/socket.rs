//! The admin socket's file: created at the start, renamed when the instance drains, removed at the
//! end.

use crate::bind::StartError;
use crate::runtime_dir::{draining_path, draining_siblings, is_in_runtime_dir, make_dir, pid_path};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use sys::files::{OwnFile, PidFile};
use sys::process::User;
use tokio::task::AbortHandle;

/// The admin socket of this process. Its file is removed when this is dropped.
pub(crate) struct AdminSocket {
    file: OwnFile,
    /// Whether the directory is ours, so that a pid file may be in it.
    is_in_runtime_dir: bool,
    /// Improves the message after a sudden death; see [`crate::read_pid`].
    pid_file: Option<PidFile>,
    listener: Option<UnixListener>,
    /// The task that serves it.
    serving: Option<AbortHandle>,
}

impl AdminSocket {
    /// Listens at `path`, where only this user can connect, and `owner` after
    /// [`AdminSocket::give_to`].
    pub fn claim(path: &Path, owner: Option<&User>) -> Result<Self, StartError> {
        let claim = || -> io::Result<Self> {
            if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                make_dir(dir, owner)?;
            }
            remove_stale_siblings(path);
            let listener = UnixListener::from(sys::net::listen_unix_private(path)?);
            let file = OwnFile::at(path)?;
            Ok(Self {
                file,
                is_in_runtime_dir: is_in_runtime_dir(path),
                pid_file: None,
                listener: Some(listener),
                serving: None,
            })
        };
        claim().map_err(|source| StartError::Admin { path: path.to_owned(), source })
    }

    /// Writes the process id beside a socket in the runtime directory.
    pub fn note_pid(&mut self) {
        if self.is_in_runtime_dir {
            self.pid_file = PidFile::write(&pid_path(self.path()), "\n").ok();
        }
    }

    pub fn give_to(&self, user: &User) -> io::Result<()> {
        self.file.give_to(user)
    }

    /// The listening socket, once.
    pub fn take_listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }

    /// Sets the task that serves it from now on.
    pub fn served_by(&mut self, task: AbortHandle) {
        self.serving = Some(task);
    }

    /// The path.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Releases the name for another instance. This instance stays reachable under another name
    /// while it drains, or not at all if this user cannot rename the file. A second call does
    /// nothing.
    pub fn retire(&mut self) {
        let Some(path) = draining_path(self.path()) else { return };
        self.pid_file = None;
        if self.file.rename(path.file_name().unwrap_or_default()).is_err() {
            // A file on which no process listens does not keep the next instance from starting.
            let _ = self.file.remove();
            self.listener = None;
            if let Some(task) = self.serving.take() {
                task.abort();
            }
        }
    }

    /// Removes the file.
    pub fn release(&mut self) {
        self.pid_file = None;
        let _ = self.file.remove();
    }
}

/// Removes what earlier instances of the same name left behind if they died while draining.
fn remove_stale_siblings(path: &Path) {
    for path in draining_siblings(path) {
        let refused = UnixStream::connect(&path).map_err(|error| error.kind());
        if matches!(refused, Err(io::ErrorKind::ConnectionRefused)) {
            let _ = std::fs::remove_file(path);
        }
    }
}
