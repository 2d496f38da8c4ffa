//! What dwatch remembers between passes, and the lock that keeps two from working at once.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::decide::Memory;

/// The state file, locked as long as this lives.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    /// Of each watch, by name.
    pub memories: BTreeMap<String, Memory>,
    _lock: File,
}

/// Why there is no state to work with.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another pass is under way.
    #[error("another dwatch is at work with '{}'; two never work at once", .0.display())]
    Locked(PathBuf),
    /// The file cannot be used.
    #[error("cannot use the state file '{}': {source}; name another one with --state", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl State {
    /// Locks the state and reads it. What cannot be understood is forgotten.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |source| StateError::File { path: path.to_owned(), source };
        let lock_path = beside(path, ".lock");
        let mut options = OpenOptions::new();
        let lock =
            options.write(true).create(true).truncate(false).open(&lock_path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Locked(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let memories = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(failed(source)),
        };
        Ok(Self { path: path.to_owned(), memories, _lock: lock })
    }

    /// Writes it, whole or not at all.
    pub fn save(&self) -> Result<(), StateError> {
        let failed = |source| StateError::File { path: self.path.clone(), source };
        let text = serde_json::to_vec_pretty(&self.memories).map_err(io::Error::from);
        let new = beside(&self.path, ".new");
        fs::write(&new, text.map_err(failed)?).map_err(failed)?;
        fs::rename(&new, &self.path).map_err(failed)
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_remembered_and_only_one_may_hold_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let mut state = State::open(&path).unwrap();
        state.memories.insert("web".to_owned(), Memory { gave_up: true, ..Memory::default() });
        state.save().unwrap();
        assert!(matches!(State::open(&path), Err(StateError::Locked(_))));
        drop(state);
        let again = State::open(&path).unwrap();
        assert!(again.memories["web"].gave_up);
        drop(again);
        fs::write(&path, "damaged").unwrap();
        assert!(State::open(&path).unwrap().memories.is_empty());
        assert!(matches!(State::open(Path::new("/no/such/x")), Err(StateError::File { .. })));
    }
}
