//! The admin socket's file: claimed at the start, gone when nobody listens any more.

use crate::bind::StartError;
use crate::runtime_dir::{make_dir, pid_path};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The admin socket of this process; its file goes when it does.
pub(crate) struct AdminSocket {
    path: PathBuf,
    listener: Option<UnixListener>,
}

impl AdminSocket {
    /// Listens where only this process's user can connect.
    pub fn claim(path: PathBuf) -> Result<Self, StartError> {
        let bind = || -> io::Result<UnixListener> {
            if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                make_dir(dir)?;
            }
            let listener = UnixListener::from(sys::net::listen_unix(&path)?);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        match bind() {
            Ok(listener) => {
                // Going into the background changes the directory.
                let path = std::path::absolute(&path).unwrap_or(path);
                Ok(Self { path, listener: Some(listener) })
            }
            Err(source) => Err(StartError::Admin { path, source }),
        }
    }

    pub fn note_pid(&self) {
        // Only for a better message after a sudden death; see `read_pid`.
        let _ = std::fs::write(pid_path(&self.path), format!("{}\n", std::process::id()));
    }

    pub fn give_to(&self, user: &str) -> io::Result<()> {
        sys::process::give_to(&self.path, user)
    }

    /// Removes the files, so that another instance can take the name.
    pub fn release(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.path);
            let _ = std::fs::remove_file(pid_path(&self.path));
            self.path = PathBuf::new();
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        self.release();
    }
}

impl AdminSocket {
    /// The listening socket, once.
    pub fn take_listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }

    /// Where it is; empty once released.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
