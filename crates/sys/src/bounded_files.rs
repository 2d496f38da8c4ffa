//! Files that somebody else names: reading and writing them never waits for another process, and
//! never takes more memory than allowed.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Reads a file of at most `bytes_max` bytes.
///
/// Only regular files are read, and, given a time within which they must end, pipes and FIFOs.
///
/// # Errors
/// When it cannot be read, is something else, is too long, or does not end in time.
pub fn read(path: &Path, bytes_max: usize, pipe_limit: Option<Duration>) -> io::Result<Vec<u8>> {
    let file = unblocked().read(true).open(path)?;
    let kind = file.metadata()?.file_type();
    match pipe_limit {
        _ if kind.is_file() => read_bounded(&file, bytes_max),
        Some(limit) if kind.is_fifo() => {
            read_bounded(Pipe { file: &file, limit, deadline: Instant::now() + limit }, bytes_max)
        }
        Some(_) => Err(io::Error::other("not a regular file or a pipe")),
        None => Err(io::Error::other("not a regular file")),
    }
}

/// Reads a regular file with secrets, of at most `bytes_max` bytes, which nobody but its owner may be
/// able to read or write.
///
/// # Errors
/// Also if others have access to it.
pub fn read_secrets(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = unblocked().read(true).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let message = format!("its mode is {mode:03o}, so that others could use it; chmod 600");
        return Err(io::Error::new(ErrorKind::PermissionDenied, message));
    }
    read_bounded(&file, bytes_max)
}

fn read_bounded(reader: impl Read, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() > bytes_max {
        true => Err(io::Error::other(format!("longer than the {bytes_max} bytes allowed"))),
        false => Ok(bytes),
    }
}

/// Waits for whoever writes to a pipe, but not for ever. A FIFO that nobody has opened for writing
/// yet is waited for, too.
struct Pipe<'a> {
    file: &'a File,
    limit: Duration,
    deadline: Instant,
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(self.file, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => {
                    let seconds = self.limit.as_secs();
                    let text = format!("nobody wrote it to its end within {seconds} s");
                    return Err(io::Error::new(ErrorKind::TimedOut, text));
                }
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            match self.file.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }
}

/// Writes a file anew.
///
/// Readers see the old contents or the new ones, never a part, where the file can be replaced by
/// another one of the same owner, group and mode. Otherwise it is written in place. A pipe or
/// terminal is given the contents as far as it takes them at once.
///
/// # Errors
/// When it cannot be written, or not wholly.
pub fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Ok(is) = can_be_replaced(&path) {
        match replace(&path, is.as_ref(), contents) {
            // A full disk would cost the old contents, too.
            Err(error) if !is_full(&error) => {}
            result => return result,
        }
    }
    let mut file = unblocked().write(true).create(true).truncate(false).open(&path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        file.set_len(0)?;
    } else if !kind.is_fifo() && !kind.is_char_device() {
        return Err(io::Error::other("not a regular file"));
    }
    file.write_all(contents)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// What is there, if it is a file that only this path names; an error for everything else.
fn can_be_replaced(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(is) if is.is_file() && is.nlink() == 1 => Ok(Some(is)),
        Ok(_) => Err(ErrorKind::Unsupported.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn replace(path: &Path, is: Option<&Metadata>, contents: &[u8]) -> io::Result<()> {
    let new = beside(path)?;
    let written = || -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).open(&new)?;
        if let Some(is) = is {
            let will_be = file.metadata()?;
            if (is.uid(), is.gid()) != (will_be.uid(), will_be.gid()) {
                return Err(ErrorKind::PermissionDenied.into());
            }
            file.set_permissions(Permissions::from_mode(is.mode() & 0o7777))?;
        }
        file.write_all(contents)?;
        fs::rename(&new, path)
    };
    written().inspect_err(|_| drop(fs::remove_file(&new)))
}

/// A name in the same directory that nobody uses.
fn beside(path: &Path) -> io::Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
    let number = NUMBER.fetch_add(1, Relaxed);
    Ok(path.with_file_name(format!(".{name}.{}.{number}", std::process::id())))
}

/// Opens a file, a FIFO or a terminal for a log, at its end. A FIFO need not have a reader yet.
/// Opening waits for nobody; writing waits for the reader, as usual.
///
/// # Errors
/// When it cannot be opened or made, or is something else.
pub fn open_log(path: &Path) -> io::Result<File> {
    let is_fifo = fs::metadata(path).is_ok_and(|is| is.file_type().is_fifo());
    // To open a FIFO for reading too is what makes it need no reader.
    let file = unblocked().append(true).create(true).read(is_fifo).open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_fifo() && !kind.is_char_device() {
        return Err(io::Error::other("not a regular file, a FIFO or a terminal"));
    }
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

fn unblocked() -> OpenOptions {
    let mut options = File::options();
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.custom_flags(flags.bits().cast_signed());
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("ek-files-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn fifo(&self, name: &str) -> PathBuf {
            let path = self.0.join(name);
            mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
            path
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn secrets_are_read_only_where_nobody_else_can() {
        let dir = Dir::new("secrets");
        let path = dir.0.join("tokens");
        fs::write(&path, "abc").unwrap();
        for (mode, expected) in [
            (0o600, "abc"),
            (0o400, "abc"),
            (0o640, "error: its mode is 640, so that others could use it; chmod 600"),
            (0o602, "error: its mode is 602, so that others could use it; chmod 600"),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(text_of(read_secrets(&path, 3)), expected);
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(text_of(read_secrets(&path, 2)).contains("longer than the 2 bytes"));
        // Nobody ever writes to it.
        assert_eq!(text_of(read_secrets(&dir.fifo("fifo"), 3)), "error: not a regular file");
    }

    fn text_of(result: io::Result<Vec<u8>>) -> String {
        match result {
            Ok(bytes) => String::from_utf8(bytes).unwrap(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let dir = Dir::new("read");
        let file = dir.0.join("file");
        fs::write(&file, "12345").unwrap();
        assert_eq!(text_of(read(&file, 5, None)), "12345");
        assert_eq!(text_of(read(&file, 4, None)), "error: longer than the 4 bytes allowed");
        let zero = Path::new("/dev/zero");
        for path in [zero, &dir.0, &dir.fifo("fifo")] {
            let text = text_of(read(path, 5, None));
            assert_eq!(text, "error: not a regular file", "{path:?}");
        }
        let limit = Some(Duration::ZERO);
        assert_eq!(text_of(read(zero, 5, limit)), "error: not a regular file or a pipe");
    }

    #[test]
    fn a_pipe_is_read_to_its_end_or_until_its_time_is_up() {
        let dir = Dir::new("pipe");
        let fifo = dir.fifo("fifo");
        let text = text_of(read(&fifo, 9, Some(Duration::from_millis(1))));
        assert_eq!(text, "error: nobody wrote it to its end within 0 s");
        std::thread::scope(|scope| {
            // Opening waits for the reader.
            scope.spawn(|| fs::write(&fifo, "123456789").unwrap());
            assert_eq!(text_of(read(&fifo, 9, Some(Duration::from_secs(60)))), "123456789");
        });
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_through_links() {
        let dir = Dir::new("write");
        let (file, link) = (dir.0.join("file"), dir.0.join("link"));
        std::os::unix::fs::symlink("file", &link).unwrap();
        write(&link, b"old and long").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let before = File::open(&file).unwrap();
        write(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        assert_eq!(text_of(read_bounded(before, 99)), "old and long", "whoever reads goes on");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        // With a second name it cannot be replaced.
        let other = dir.0.join("other");
        fs::hard_link(&file, &other).unwrap();
        write(&file, b"in place").unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"in place");
        let names = fs::read_dir(&dir.0).unwrap().count();
        assert_eq!(names, 3, "nothing is left beside");
    }

    #[test]
    fn writing_waits_for_nobody() {
        let dir = Dir::new("full");
        let fifo = dir.fifo("fifo");
        assert!(write(&fifo, b"text").is_err(), "nobody reads");
        let _log = open_log(&fifo).unwrap();
        assert!(write(&fifo, &vec![b'x'; 1 << 20]).is_err(), "nobody reads that much");
        write(Path::new("/dev/null"), b"text").unwrap();
        assert!(write(&dir.0, b"text").is_err());
    }
}
