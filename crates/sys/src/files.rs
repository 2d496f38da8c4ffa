//! Files that belong to this process: their names keep their meaning when the root or the current
//! directory changes, and another process's file of the same name is never touched.

use crate::process::User;
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Stat, Uid, chownat, fstat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A file made by this process. It is removed when this is dropped, unless another file has
/// taken its name by then.
#[derive(Debug)]
pub struct OwnFile {
    directory: OwnedFd,
    path: PathBuf,
    device: u64,
    inode: u64,
    is_kept: bool,
}

impl OwnFile {
    /// Takes over the file at `path`, which this process has just made.
    ///
    /// # Errors
    /// When there is none, or the process has no room for another file descriptor.
    pub fn at(path: &Path) -> io::Result<Self> {
        let directory = open_directory(path)?;
        let stat = statat(&directory, name_of(path)?, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Self::new(directory, path, &stat))
    }

    fn new(directory: OwnedFd, path: &Path, stat: &Stat) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { directory, path, device: stat.st_dev, inode: stat.st_ino, is_kept: false }
    }

    /// Where the file is, seen from the root directory at the time it was made.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the name still stands for this file.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let Ok(name) = name_of(&self.path) else { return false };
        let stat = statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (self.device, self.inode))
    }

    /// Gives the file another name in its directory.
    ///
    /// # Errors
    /// When this user may not, or the name stands for another file by now.
    pub fn rename(&mut self, name: &OsStr) -> io::Result<()> {
        if !self.is_there() {
            return Err(io::ErrorKind::NotFound.into());
        }
        renameat(&self.directory, name_of(&self.path)?, &self.directory, name)?;
        self.path.set_file_name(name);
        Ok(())
    }

    /// Removes the file.
    ///
    /// # Errors
    /// When this user may not, or the name stands for another file by now.
    pub fn remove(&self) -> io::Result<()> {
        if !self.is_there() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(unlinkat(&self.directory, name_of(&self.path)?, AtFlags::empty())?)
    }

    /// Whether the file stays when this is dropped, because another process uses it.
    pub fn keep(&mut self, is_kept: bool) {
        self.is_kept = is_kept;
    }

    /// Whether the file stays when this is dropped.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Leaves the file to whoever has it now.
    fn disown(&mut self) {
        self.inode = 0; // which no file has
    }

    /// Makes `user` its owner.
    ///
    /// # Errors
    /// When this process may not.
    pub fn give_to(&self, user: &User) -> io::Result<()> {
        let (user, group) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
        let name = name_of(&self.path)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(chownat(&self.directory, name, Some(user), Some(group), flags)?)
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = self.remove();
        }
    }
}

/// A file with the id of this process. When it is dropped, the file is removed, or emptied if this
/// user may not remove it; a file that another process has written since then is left alone.
#[derive(Debug)]
pub struct PidFile {
    place: OwnFile,
    file: File,
    text: String,
}

impl PidFile {
    /// Writes the process id with `end` after it.
    ///
    /// # Errors
    /// When it cannot be written, and when there is something that is not a pid file: a symbolic
    /// link, a device, or a file with anything but a number in it.
    pub fn write(path: &Path, end: &str) -> io::Result<Self> {
        let file = Self::open(path, end)?;
        file.note()?;
        Ok(file)
    }

    /// As [`PidFile::write`], without writing yet: another process may still run.
    ///
    /// # Errors
    /// As for [`PidFile::write`].
    pub fn open(path: &Path, end: &str) -> io::Result<Self> {
        let directory = open_directory(path)?;
        // A FIFO must not block the start.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::from_raw_mode(0o644);
        let file = match openat(&directory, name_of(path)?, flags | OFlags::CLOEXEC, mode) {
            Err(Errno::LOOP) => return Err(not_a_pid_file("a symbolic link is there")),
            file => File::from(file?),
        };
        if !file.metadata()?.is_file() {
            return Err(not_a_pid_file("it is not a regular file"));
        }
        let mut old = Vec::new();
        (&file).take(PID_BYTES_MAX + 1).read_to_end(&mut old)?;
        let is_number = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_whitespace();
        if old.len() as u64 > PID_BYTES_MAX || !old.iter().all(is_number) {
            return Err(not_a_pid_file("the file there holds something other than a process id"));
        }
        let text = format!("{}{end}", std::process::id());
        let mut place = OwnFile::new(directory, path, &fstat(&file)?);
        place.keep(true);
        Ok(Self { place, file, text })
    }

    /// Writes the process id.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(self.text.as_bytes(), 0)
    }

    /// Writes the process id, into a new file if another process has removed the one that was opened.
    ///
    /// # Errors
    /// When it cannot be written, or the new file cannot be made.
    pub fn note_again(&mut self) -> io::Result<()> {
        if !self.place.is_there() {
            let end = self.text.trim_start_matches(|it: char| it.is_ascii_digit()).to_owned();
            *self = Self::open(self.place.path(), &end)?;
        }
        self.note()
    }

    /// Leaves the file as it is, because it is another process's.
    pub fn leave(mut self) {
        self.place.disown();
    }

    fn is_ours(&self) -> bool {
        let mut text = vec![0; self.text.len()];
        self.file.read_exact_at(&mut text, 0).is_ok() && text == self.text.as_bytes()
    }
}

/// A process id, and room for blanks around it.
const PID_BYTES_MAX: u64 = 32;

fn not_a_pid_file(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, why)
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if !self.is_ours() {
            self.place.disown();
        } else if self.place.is_there() && self.place.remove().is_err() {
            let _ = self.file.set_len(0);
        }
    }
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, parent.unwrap_or(Path::new(".")), flags, Mode::empty())?)
}

fn name_of(path: &Path) -> io::Result<&OsStr> {
    path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{read_to_string, write};

    /// A directory that goes when the test ends.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("sys-files-{}-{name}", std::process::id()));
            std::fs::create_dir(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_goes_with_its_owner() {
        let place = Place::new("owner");
        let path = place.0.join("file");
        write(&path, "").unwrap();
        let mut file = OwnFile::at(&path).unwrap();
        file.rename(OsStr::new("other")).unwrap();
        assert!(!path.exists());
        assert_eq!(file.path(), place.0.join("other"));
        drop(file);
        assert!(!place.0.join("other").exists());
    }

    #[test]
    fn a_file_that_took_the_name_stays() {
        let place = Place::new("name");
        let path = place.0.join("file");
        write(&path, "").unwrap();
        let mut file = OwnFile::at(&path).unwrap();
        write(place.0.join("new"), "new").unwrap();
        std::fs::rename(place.0.join("new"), &path).unwrap();
        assert!(file.rename(OsStr::new("other")).is_err());
        drop(file);
        assert_eq!(read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_file_under_another_directory_of_the_same_path_stays() {
        let place = Place::new("directory");
        let [old, new] = ["old", "new"].map(|name| place.0.join(name));
        std::fs::create_dir(&old).unwrap();
        let pid = PidFile::write(&old.join("pid"), "\n").unwrap();
        std::fs::rename(&old, &new).unwrap();
        std::fs::create_dir(&old).unwrap();
        write(old.join("pid"), "another's").unwrap();
        drop(pid);
        assert!(old.join("pid").exists() && !new.join("pid").exists());
    }

    #[test]
    fn a_pid_file_that_another_process_has_written_stays() {
        let place = Place::new("pid");
        let path = place.0.join("pid");
        let ours = PidFile::write(&path, "\n").unwrap();
        assert_eq!(read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        write(&path, "1\n").unwrap(); // in place, so the file is the same one
        drop(ours);
        assert_eq!(read_to_string(&path).unwrap(), "1\n");
        drop(PidFile::write(&path, "").unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn nothing_but_a_pid_file_is_overwritten() {
        let place = Place::new("foreign");
        let path = place.0.join("pid");
        write(&path, "a letter").unwrap();
        assert!(PidFile::write(&path, "\n").is_err());
        assert_eq!(read_to_string(&path).unwrap(), "a letter");
        let link = place.0.join("link");
        write(&path, "").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(PidFile::write(&link, "\n").is_err());
        assert_eq!(read_to_string(&path).unwrap(), "");
        assert!(PidFile::write(Path::new("/dev/null"), "\n").is_err());
    }
}
