//! The file that an instance was started from.

use crate::load::{LoadError, load};
use config::Config;
use config::file::{Environment, Reader, Report, Severity, Source};
use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use sys::errors::with_causes;

/// A configuration file, and the environment for the variables in it. Both stay the same for as
/// long as the process runs.
#[derive(Clone, Debug)]
pub struct Origin {
    path: Arc<Path>,
    variables: Arc<HashMap<String, String>>,
    reader: Arc<Mutex<Reader>>,
}

/// What a configuration file and those beside it mean.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What may be wrong with it.
    pub warnings: Vec<Report>,
    /// A hash of all the text.
    pub hash: ContentHash,
}

/// A hash of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHash(u64);

/// Why a configuration file cannot be used.
#[derive(Debug)]
pub enum ReadError {
    /// It cannot be read.
    Load(LoadError),
    /// It has errors. Warnings are listed, too.
    Invalid {
        /// All that is wrong.
        reports: Vec<Report>,
        /// How many more there are.
        left_out: usize,
    },
}

impl Origin {
    /// The file at `path`, with the environment as it is now.
    ///
    /// # Errors
    /// If the path is relative and there is no current directory.
    pub fn new(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let variables = std::env::vars_os().filter_map(text).collect();
        Ok(Self { path: path.into(), variables: Arc::new(variables), reader: Arc::default() })
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file, and those in `conf.d` beside it. Blocks; see [`load`].
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self) -> Result<Loaded, ReadError> {
        let sources = load(&self.path).map_err(ReadError::Load)?;
        let hash = ContentHash::of(&sources);
        let find = |name: &str| self.variables.get(name).cloned();
        let environment: Environment<'_> = &find;
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = reader.read(&sources, environment, &sys::process::service_port);
        let (reports, left_out) = (reading.reports, reading.left_out);
        match reading.config {
            Some(config) => Ok(Loaded { config, warnings: reports, hash }),
            None => Err(ReadError::Invalid { reports, left_out }),
        }
    }
}

impl ContentHash {
    #[cfg(test)]
    pub(crate) fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The hash of these files.
    #[must_use]
    pub fn of(sources: &[Source]) -> Self {
        let mut hasher = DefaultHasher::new();
        sources.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl ReadError {
    /// Each error as a text, with its place.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Load(error) => vec![with_causes(error)],
            Self::Invalid { reports, left_out } => {
                let errors = reports.iter().filter(|it| it.severity() == Severity::Error);
                let mut texts: Vec<_> = errors.map(ToString::to_string).collect();
                if *left_out > 0 {
                    texts.push(format!("{left_out} more are not shown"));
                }
                texts
            }
        }
    }
}
