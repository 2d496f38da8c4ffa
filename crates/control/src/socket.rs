//! The admin socket's file: created at the start, renamed when the instance drains, removed at the
//! end.

use crate::admin::serve;
use crate::bind::StartError;
use crate::desk::Desk;
use crate::hand_over;
use crate::pages::Site;
use crate::runtime_dir::{
    draining_path, draining_siblings, hand_over_path, is_in_runtime_dir, make_dir, pid_path,
};
use std::io;
use std::os::fd::OwnedFd;
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
    /// Where other processes ask to take over.
    for_upgrades: Option<(UnixListener, OwnFile)>,
    offering: Option<AbortHandle>,
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
                for_upgrades: None,
                offering: None,
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

    /// Uses the socket of the instance that this process takes over. Its file stays if this process
    /// ends before it has done so.
    pub fn inherit(path: &Path, socket: OwnedFd) -> Result<Self, StartError> {
        let at = || -> io::Result<OwnFile> {
            let mut file = OwnFile::at(path)?;
            file.keep(true);
            Ok(file)
        };
        Ok(Self {
            file: at().map_err(|source| StartError::Admin { path: path.to_owned(), source })?,
            is_in_runtime_dir: is_in_runtime_dir(path),
            pid_file: None,
            listener: Some(socket.into()),
            serving: None,
            for_upgrades: None,
            offering: None,
        })
    }

    /// A copy of the listening socket.
    pub fn copy(&self) -> Option<OwnedFd> {
        self.listener.as_ref()?.try_clone().ok().map(OwnedFd::from)
    }

    /// Serves the socket from now on. Needs a runtime.
    pub fn serve(&mut self, site: Site) -> io::Result<()> {
        self.file.keep(false);
        let Some(listener) = &self.listener else { return Ok(()) };
        let listener = listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let task = tokio::spawn(serve(listener, site));
        self.serving = Some(task.abort_handle());
        Ok(())
    }

    /// Listens where other processes can ask to take over; `owner` is the user that may, besides
    /// this one and root. Whatever has the place is replaced.
    pub fn claim_for_upgrades(&mut self, owner: Option<&User>) -> io::Result<()> {
        let path = hand_over_path(self.path());
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::from(sys::net::listen_unix_private(&path)?);
        let file = OwnFile::at(&path)?;
        if let Some(owner) = owner {
            file.give_to(owner)?;
        }
        self.for_upgrades = Some((listener, file));
        Ok(())
    }

    /// Serves those that ask to take over. Needs a runtime.
    pub fn offer(&mut self, desk: &Desk) -> io::Result<()> {
        let is_there = self.for_upgrades.as_ref().is_some_and(|(_, file)| file.is_there());
        if is_there && self.offering.is_some() {
            return Ok(());
        }
        if !is_there {
            self.claim_for_upgrades(None)?;
        }
        let Some((listener, _)) = &self.for_upgrades else { return Ok(()) };
        let listener = listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let task = tokio::spawn(hand_over::offer::serve(listener, desk.clone()));
        if let Some(earlier) = self.offering.replace(task.abort_handle()) {
            earlier.abort();
        }
        Ok(())
    }

    /// Leaves the socket to another process, and its file, too.
    pub fn pause(&mut self) {
        self.file.keep(true);
        if let Some(task) = self.serving.take() {
            task.abort();
        }
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
        self.for_upgrades = None;
        if let Some(task) = self.offering.take() {
            task.abort();
        }
        if self.file.rename(path.file_name().unwrap_or_default()).is_err() {
            // A file on which no process listens does not keep the next instance from starting.
            let _ = self.file.remove();
            self.listener = None;
            if let Some(task) = self.serving.take() {
                task.abort();
            }
        }
    }

    /// Removes the files, unless another process has the socket.
    pub fn release(&mut self) {
        (self.pid_file, self.for_upgrades) = (None, None);
        if !self.file.is_kept() {
            let _ = self.file.remove();
        }
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
