//! A small file that this process keeps: it is read once, and then replaced as a whole.

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Stat, Uid, fchown, fstat, mkdirat, openat, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::process::User;

/// A file in a directory that was opened before the process changed its root directory and its
/// user. Nobody else can read or write it.
///
/// Readers see the old contents or the new ones, never a part of them, also after a power failure.
/// Whatever has the file's name, such as a symbolic link or a FIFO, is replaced and not written to.
#[derive(Debug)]
pub struct KeptFile {
    directory: OwnedFd,
    path: PathBuf,
    name: OsString,
    /// The users whose files are trusted.
    owners: Vec<u32>,
    /// The file that was read or written last.
    ours: Option<(u64, u64)>,
}

impl KeptFile {
    /// The file `name` in `directory`, which need not exist. `user` is the user that this process
    /// will change to.
    ///
    /// # Errors
    /// If there is no such directory, or it cannot be opened.
    pub fn new(directory: &Path, name: &OsStr, user: Option<&User>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(CWD, directory, flags, Mode::empty())?;
        let mut owners = vec![0, crate::process::user_id()];
        owners.extend(user.map(User::uid));
        let directory_path = std::path::absolute(directory).unwrap_or_else(|_| directory.into());
        let path = directory_path.join(name);
        Ok(Self { directory: opened, path, name: name.to_owned(), owners, ours: None })
    }

    /// Like [`KeptFile::new`], after making the directory, for its owner only, if it does not exist.
    /// A new directory belongs to `user`.
    ///
    /// # Errors
    /// If the directory can be neither made nor opened.
    pub fn in_new(directory: &Path, name: &OsStr, user: Option<&User>) -> io::Result<Self> {
        let is_new = match mkdirat(CWD, directory, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let file = Self::new(directory, name, user)?;
        if let Some(user) = user.filter(|_| is_new) {
            let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
            fchown(&file.directory, Some(uid), Some(gid))?;
        }
        Ok(file)
    }

    /// Where the file is, seen from the root directory at the time it was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The contents, of at most `bytes_max` bytes; `None` if there is no file.
    ///
    /// # Errors
    /// If it cannot be read, is too long or not a regular file, or if another user owns it or may
    /// write to it.
    pub fn read(&mut self, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        // A FIFO must not block the start.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.directory, &self.name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(io::Error::other("it is a symbolic link")),
            file => File::from(file?),
        };
        let stat = fstat(&file)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if !self.owners.contains(&stat.st_uid) {
            return Err(io::Error::other(format!("it belongs to user {}", stat.st_uid)));
        }
        if Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH) {
            return Err(io::Error::other("other users may write to it"));
        }
        let mut bytes = Vec::new();
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
        (&file).take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            return Err(io::Error::other(format!("it is longer than {bytes_max} bytes")));
        }
        self.ours = Some(identity(&stat));
        Ok(Some(bytes))
    }

    /// Gives the file another name, which ends in `suffix`; a file that has it is lost. Returns the
    /// new path.
    ///
    /// # Errors
    /// If this user may not, or a directory has that name.
    pub fn set_aside(&mut self, suffix: &str) -> io::Result<PathBuf> {
        let mut name = self.name.clone();
        name.push(suffix);
        renameat(&self.directory, &self.name, &self.directory, &name)?;
        self.ours = None;
        Ok(self.path.with_file_name(name))
    }

    /// Replaces the file. Blocks until the contents are on disk.
    ///
    /// # Errors
    /// If it cannot be written; the old contents are then left.
    pub fn write(&mut self, contents: &[u8]) -> io::Result<()> {
        let mut new = OsString::from(".");
        new.push(&self.name);
        new.push(".new");
        let result = self.replace(&new, contents);
        if result.is_err() {
            let _ = unlinkat(&self.directory, &new, AtFlags::empty());
        }
        result
    }

    fn replace(&mut self, new: &OsStr, contents: &[u8]) -> io::Result<()> {
        // Left by a process that has died. Whatever it is, it is not written to.
        match unlinkat(&self.directory, new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file = File::from(openat(&self.directory, new, flags | OFlags::CLOEXEC, mode)?);
        file.write_all(contents)?;
        file.sync_all()?;
        renameat(&self.directory, new, &self.directory, &self.name)?;
        self.ours = Some(identity(&fstat(&file)?));
        // Not every file system can do that for a directory.
        let _ = rustix::fs::fsync(&self.directory);
        Ok(())
    }

    /// Whether another process has replaced the file since it was read or written.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        let stat = statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| Some(identity(&stat)) != self.ours)
    }

    /// Whether this process can make files in the directory now.
    ///
    /// # Errors
    /// If it cannot; the error says why.
    pub fn can_write(&self) -> io::Result<()> {
        let flags = AtFlags::EACCESS;
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        match rustix::fs::accessat(&self.directory, ".", access, flags) {
            Err(Errno::ROFS) => Err(ErrorKind::ReadOnlyFilesystem.into()),
            result => Ok(result?),
        }
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A directory that goes when the test ends, and a file to keep in it.
    struct Place(PathBuf, KeptFile);

    impl Place {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("sys-kept-{}-{name}", std::process::id()));
            let file = KeptFile::in_new(&dir, OsStr::new("state"), None).unwrap();
            Self(dir, file)
        }

        fn path(&self) -> PathBuf {
            self.0.join("state")
        }

        #[track_caller]
        fn check(&mut self, expected: &str) {
            let found = match self.1.read(9) {
                Ok(None) => "none".to_owned(),
                Ok(Some(bytes)) => String::from_utf8(bytes).unwrap(),
                Err(error) => format!("error: {error}"),
            };
            assert_eq!(found, expected);
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut place = Place::new("again");
        place.check("none");
        place.1.write(b"one").unwrap();
        place.check("one");
        fs::write(place.0.join(".state.new"), "left by a process that died").unwrap();
        place.1.write(b"two").unwrap();
        place.check("two");
        let mode = fs::metadata(place.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&place.0).unwrap().count(), 1, "nothing is left beside it");
        place.1.write(b"0123456789").unwrap();
        place.check("error: it is longer than 9 bytes");
    }

    #[test]
    fn only_own_regular_files_are_read() {
        let mut place = Place::new("own");
        fs::write(place.path(), "x").unwrap();
        fs::set_permissions(place.path(), PermissionsExt::from_mode(0o620)).unwrap();
        place.check("error: other users may write to it");
        assert_eq!(place.1.set_aside(".broken").unwrap(), place.0.join("state.broken"));
        place.check("none");
        symlink("state.broken", place.path()).unwrap();
        place.check("error: it is a symbolic link");
        place.1.set_aside(".broken").unwrap();
        fs::create_dir(place.path()).unwrap();
        place.check("error: it is not a regular file");
        fs::remove_dir(place.path()).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(CWD, place.path(), fifo, mode, 0).unwrap();
        place.check("error: it is not a regular file");
        if crate::process::user_id() == 0 {
            fs::remove_file(place.path()).unwrap();
            fs::write(place.path(), "x").unwrap();
            std::os::unix::fs::chown(place.path(), Some(65_534), None).unwrap();
            place.check("error: it belongs to user 65534");
        }
    }

    #[test]
    fn nothing_is_written_through_what_has_the_name() {
        let mut place = Place::new("through");
        fs::write(place.0.join("other"), "other").unwrap();
        symlink("other", place.path()).unwrap();
        symlink("other", place.0.join(".state.new")).unwrap();
        place.1.write(b"new").unwrap();
        assert_eq!(fs::read_to_string(place.0.join("other")).unwrap(), "other");
        place.check("new");
        fs::remove_file(place.path()).unwrap();
        fs::create_dir(place.path()).unwrap();
        assert!(place.1.write(b"new").is_err());
        assert!(!place.0.join(".state.new").exists());
    }

    #[test]
    fn a_file_of_a_successor_is_known() {
        let mut place = Place::new("successor");
        assert!(!place.1.is_taken_over());
        place.1.write(b"ours").unwrap();
        assert!(!place.1.is_taken_over());
        fs::write(place.0.join("theirs"), "theirs").unwrap();
        fs::rename(place.0.join("theirs"), place.path()).unwrap();
        assert!(place.1.is_taken_over());
        fs::remove_file(place.path()).unwrap();
        assert!(!place.1.is_taken_over(), "a removed one is written again");
    }
}
