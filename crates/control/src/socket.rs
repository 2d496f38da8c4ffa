//! The admin socket's file: created at the start, renamed when the instance drains, removed at the
//! end.

use crate::admin::serve;
use crate::bind::StartError;
use crate::desk::Desk;
use crate::hand_over;
use crate::pages::Site;
use crate::roles::Roles;
use crate::runtime_dir::{
    PASS_THROUGH, draining_path, draining_siblings, hand_over_path, is_in_runtime_dir, make_dir,
    pid_path,
};
use crate::tcp::TcpSocket;
use crate::tokens::Tokens;
use config::{AdminAccess, Role};
use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    roles: Arc<Roles>,
    /// The task that serves it.
    serving: Option<AbortHandle>,
    /// Where everybody can only look, if configured.
    view_path: Option<PathBuf>,
    view: Option<(UnixListener, OwnFile)>,
    viewing: Option<AbortHandle>,
    /// Where else it is to be served.
    tcp: Option<(TcpSocket, Tokens)>,
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
            Ok(Self::at(file, listener))
        };
        claim().map_err(|source| StartError::Admin { path: path.to_owned(), source })
    }

    /// Writes the process id beside a socket in the runtime directory.
    pub fn note_pid(&mut self) {
        // An earlier one would take the file along.
        self.pid_file = None;
        if self.is_in_runtime_dir {
            self.pid_file = PidFile::write(&pid_path(self.path()), "\n").ok();
        }
    }

    pub fn give_to(&self, user: &User) -> io::Result<()> {
        if let Some((_, file)) = &self.view {
            file.give_to(user)?;
        }
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
        let file = at().map_err(|source| StartError::Admin { path: path.to_owned(), source })?;
        Ok(Self::at(file, socket.into()))
    }

    fn at(file: OwnFile, listener: UnixListener) -> Self {
        Self {
            is_in_runtime_dir: is_in_runtime_dir(file.path()),
            file,
            pid_file: None,
            listener: Some(listener),
            roles: Arc::default(),
            serving: None,
            view_path: None,
            view: None,
            viewing: None,
            tcp: None,
            for_upgrades: None,
            offering: None,
        }
    }

    /// Lets those in who have `roles`, and serves what else is configured. `is_successor` says that
    /// another process still has the other sockets: they are opened when this one serves.
    pub fn admit(
        &mut self,
        (access, roles): (&AdminAccess, Roles),
        is_successor: bool,
    ) -> Result<(), StartError> {
        let path = self.file.path();
        let failed = |source| StartError::Admin { path: path.to_owned(), source };
        if roles.are_given() {
            // Who may come in is decided by who it is.
            open_to_all(path).map_err(failed)?;
        }
        if let Some((address, path)) = &access.listen {
            let failed = |source| StartError::Tokens { path: path.clone(), source };
            let tokens = Tokens::read(path).map_err(failed)?;
            let failed = |source| StartError::AdminListen { address: *address, source };
            self.tcp = Some((TcpSocket::open(*address).map_err(failed)?, tokens));
        }
        self.roles = Arc::new(roles);
        self.view_path.clone_from(&access.view_socket);
        match &self.view_path {
            Some(path) if !is_successor => {
                let failed = |source| StartError::Admin { path: path.clone(), source };
                self.view = Some(view_socket(path, self.roles.are_given()).map_err(failed)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Where else the socket is to be served, and for whom. A second call returns nothing.
    pub fn take_tcp(&mut self) -> Option<(TcpSocket, Tokens)> {
        self.tcp.take()
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
        let task = tokio::spawn(serve(listener, site, Arc::clone(&self.roles), Role::Admin));
        self.serving = Some(task.abort_handle());
        Ok(())
    }

    /// Serves the socket at which everybody can only look, if there is to be one. Whatever has its
    /// place is replaced. Needs a runtime.
    pub fn serve_view(&mut self, site: Site) -> io::Result<()> {
        let Some(path) = &self.view_path else { return Ok(()) };
        let (listener, mut file) = match self.view.take().filter(|(_, file)| file.is_there()) {
            Some(view) => view,
            None => {
                let _ = std::fs::remove_file(path);
                view_socket(path, self.roles.are_given())?
            }
        };
        file.keep(false);
        let copy = listener.try_clone()?;
        self.view = Some((listener, file));
        copy.set_nonblocking(true)?;
        let copy = tokio::net::UnixListener::from_std(copy)?;
        let task = tokio::spawn(serve(copy, site, Arc::clone(&self.roles), Role::View));
        if let Some(earlier) = self.viewing.replace(task.abort_handle()) {
            earlier.abort();
        }
        Ok(())
    }

    /// The path of that socket.
    pub fn view_path(&self) -> Option<&Path> {
        self.view_path.as_deref()
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
        if let Some((_, file)) = &mut self.view {
            file.keep(true);
        }
        for task in [self.serving.take(), self.viewing.take()].into_iter().flatten() {
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
        (self.for_upgrades, self.view) = (None, None);
        for task in [self.offering.take(), self.viewing.take()].into_iter().flatten() {
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
        (self.pid_file, self.for_upgrades, self.view) = (None, None, None);
        if !self.file.is_kept() {
            let _ = self.file.remove();
        }
    }
}

/// A socket at which everybody can only look.
fn view_socket(path: &Path, is_open: bool) -> io::Result<(UnixListener, OwnFile)> {
    let listener = UnixListener::from(sys::net::listen_unix_private(path)?);
    let file = OwnFile::at(path)?;
    if is_open {
        open_to_all(path)?;
    }
    Ok((listener, file))
}

/// Lets everybody connect to a socket, and pass through its directory if that is our own.
fn open_to_all(path: &Path) -> io::Result<()> {
    if let Some(dir) = path.parent().filter(|_| is_in_runtime_dir(path)) {
        let mode = dir.metadata()?.permissions().mode();
        std::fs::set_permissions(dir, Permissions::from_mode(mode | PASS_THROUGH))?;
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o666))
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
