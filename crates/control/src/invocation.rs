//! How this process was started, so that another one can be started in its place.

use config::environment::{
    EVENKEEL_TAKE_OVER, EVENKEEL_TAKE_OVER_GUARD, LISTEN_FDNAMES, LISTEN_FDS, LISTEN_PID,
    WATCHDOG_PID,
};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// How a process was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// Its words, the name that it was called by included.
    pub words: Vec<OsString>,
    /// The working directory.
    pub directory: PathBuf,
    /// The environment, without what was for one process only.
    pub environment: Vec<(OsString, OsString)>,
    /// Identifies the file of the program.
    pub program: String,
}

impl Invocation {
    /// Of this process. To be called before it changes its environment or directory.
    #[must_use]
    pub fn own() -> Self {
        let own = [
            EVENKEEL_TAKE_OVER,
            EVENKEEL_TAKE_OVER_GUARD,
            LISTEN_FDNAMES,
            LISTEN_FDS,
            LISTEN_PID,
            WATCHDOG_PID,
        ];
        let is_lasting = |(name, _): &(OsString, OsString)| own.iter().all(|it| *name != it.name);
        Self {
            words: std::env::args_os().collect(),
            directory: std::env::current_dir().unwrap_or_else(|_| "/".into()),
            environment: std::env::vars_os().filter(is_lasting).collect(),
            program: program(),
        }
    }
}

/// Identifies the file of this program as long as it is not replaced.
#[must_use]
fn program() -> String {
    let file = std::fs::metadata("/proc/self/exe");
    let text = |it: std::fs::Metadata| {
        format!("{}:{}:{}:{}.{}", it.dev(), it.ino(), it.size(), it.mtime(), it.mtime_nsec())
    };
    file.map(text).unwrap_or_default()
}
