//! Reads a configuration file and those beside it. What they mean is up to [`config::file`].

use config::file::Source;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Reads a file, and then the files `conf.d/*.toml` beside it in the order of their names. Blocks,
/// but waits for no other process: only regular files are read.
///
/// Hidden files are left out, as the shell does. The contents may have 16 MiB in all, in at most
/// 1000 files.
///
/// # Errors
/// See [`LoadError`]; a missing `conf.d` is none.
pub fn load(path: &Path) -> Result<Vec<Source>, LoadError> {
    let mut sources = Vec::new();
    let mut bytes = 0;
    let mut add = |path: PathBuf| {
        let source = read(&path)?;
        bytes += source.text.len();
        sources.push(source);
        if bytes > BYTES_MAX { Err(LoadError::TooLong { path }) } else { Ok(()) }
    };
    add(path.to_owned())?;
    let dir = path.with_file_name("conf.d");
    for name in names(&dir)? {
        add(dir.join(name))?;
    }
    Ok(sources)
}

/// Why a configuration could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is missing, may not be read, is not a regular file, or is too long.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The directory beside the file cannot be read.
    #[error("cannot list the directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// There are too many files.
    #[error("{} has more than {FILES_MAX} files", path.display())]
    TooManyFiles {
        /// The directory.
        path: PathBuf,
    },
    /// The files are too long together.
    #[error("{}: with this file, the configuration has more than 16 MiB", path.display())]
    TooLong {
        /// The file with which they are.
        path: PathBuf,
    },
    /// A file is not UTF-8, which TOML requires.
    #[error("{}:{line}: not a text file: this line is not valid UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first such line, from 1.
        line: usize,
    },
}

/// The total size of all files. A backend takes about 40 bytes.
const BYTES_MAX: usize = 16 << 20;
/// The number of files in the directory; other files there count, too.
const FILES_MAX: usize = 1000;

fn read(path: &Path) -> Result<Source, LoadError> {
    let path = path.to_owned();
    let bytes = match sys::bounded_files::read(&path, BYTES_MAX, None) {
        Ok(bytes) => bytes,
        Err(source) => return Err(LoadError::File { path, source }),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { name: path.display().to_string(), text }),
        Err(error) => {
            let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            let line = 1 + valid.filter(|byte| **byte == b'\n').count();
            Err(LoadError::NotText { path, line })
        }
    }
}

/// The names of the files to be read in `dir`, in order; none if it does not exist.
fn names(dir: &Path) -> Result<Vec<OsString>, LoadError> {
    let failed = |source| LoadError::Directory { path: dir.to_owned(), source };
    let entries = match dir.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for (count, entry) in entries.enumerate() {
        if count >= FILES_MAX {
            return Err(LoadError::TooManyFiles { path: dir.to_owned() });
        }
        let name = entry.map_err(failed)?.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.ends_with(b".toml") && !bytes.starts_with(b".") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir, write};
    use std::process::Command;
    use tempfile::TempDir;

    struct Place(TempDir);

    impl Place {
        fn new(text: &str) -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            write(place.path("a.toml"), text).unwrap();
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn load(&self) -> Result<Vec<Source>, LoadError> {
            load(&self.path("a.toml"))
        }

        /// The error's text with its cause and without the path of the place.
        #[track_caller]
        fn refusal(&self) -> String {
            let error = self.load().unwrap_err();
            let cause = std::error::Error::source(&error);
            let text = format!("{error}{}", cause.map(|it| format!(": {it}")).unwrap_or_default());
            text.replace(&format!("{}/", self.0.path().display()), "")
        }
    }

    #[test]
    fn the_file_comes_first_and_then_those_beside_it_by_name() {
        let place = Place::new("first");
        create_dir(place.path("conf.d")).unwrap();
        create_dir(place.path("data")).unwrap();
        write(place.path("data/c"), "c").unwrap();
        std::os::unix::fs::symlink("../data/c", place.path("conf.d/20-c.toml")).unwrap();
        for name in ["10-b.toml", "a.toml~", ".a.toml", "README"] {
            write(place.path("conf.d").join(name), name).unwrap();
        }
        let sources = place.load().unwrap();
        let texts: Vec<_> = sources.iter().map(|it| &*it.text).collect();
        assert_eq!(texts, ["first", "10-b.toml", "c"]);
        assert!(sources[2].name.ends_with("conf.d/20-c.toml"), "{}", sources[2].name);
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused_without_waiting() {
        let place = Place::new("");
        create_dir(place.path("conf.d")).unwrap();
        let fifo = place.path("conf.d/fifo.toml");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert_eq!(place.refusal(), "cannot read conf.d/fifo.toml: not a regular file");
        std::fs::remove_file(&fifo).unwrap();
        create_dir(place.path("conf.d/dir.toml")).unwrap();
        assert_eq!(place.refusal(), "cannot read conf.d/dir.toml: not a regular file");
    }

    #[test]
    fn a_refusal_names_what_is_missing_too_long_or_not_text() {
        let place = Place::new("");
        write(place.path("a.toml"), b"a = 1\nb = '\xe9'\n").unwrap();
        assert_eq!(place.refusal(), "a.toml:2: not a text file: this line is not valid UTF-8");
        write(place.path("a.toml"), vec![b'#'; BYTES_MAX]).unwrap();
        assert_eq!(place.load().unwrap().len(), 1);
        create_dir(place.path("conf.d")).unwrap();
        write(place.path("conf.d/b.toml"), "b").unwrap();
        assert_eq!(
            place.refusal(),
            "conf.d/b.toml: with this file, the configuration has more than 16 MiB"
        );
        std::fs::remove_file(place.path("a.toml")).unwrap();
        assert!(place.refusal().starts_with("cannot read a.toml: No such file"));
    }

    #[test]
    fn a_directory_without_end_is_refused() {
        let place = Place::new("");
        create_dir(place.path("conf.d")).unwrap();
        for number in 0..=FILES_MAX {
            write(place.path(&format!("conf.d/{number}.toml")), "").unwrap();
        }
        assert_eq!(place.refusal(), "conf.d has more than 1000 files");
        std::fs::remove_dir_all(place.path("conf.d")).unwrap();
        write(place.path("conf.d"), "").unwrap();
        assert!(place.refusal().starts_with("cannot list the directory conf.d: Not a directory"));
    }
}
