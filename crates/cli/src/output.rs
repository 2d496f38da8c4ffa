//! Standard output and standard error. One that is closed or full is an ordinary error.

use config::ExitStatus;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use sys::errors::reason;

/// Standard output could not be written.
#[derive(Debug)]
pub struct OutputError(io::Error);

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write to standard output: {}", reason(&self.0))
    }
}

impl std::error::Error for OutputError {}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl OutputError {
    /// Reports the error on standard error in the name of `program`, and returns the exit status.
    /// A reader that closed the pipe has seen enough: nothing is said about it.
    pub fn report(&self, program: &str) -> ExitStatus {
        if self.0.kind() != io::ErrorKind::BrokenPipe {
            complain(&format!("{program}: {self}"));
        }
        ExitStatus::Failure
    }
}

/// Writes `text` to standard output at once.
///
/// # Errors
/// When standard output is closed or full.
pub fn print(text: &str) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(OutputError)
}

/// Writes `text` to standard output as the whole output of `program`. Returns `status`, or the
/// status of a failure if the text could not be written.
pub fn finish(program: &str, text: &str, status: ExitStatus) -> ExitCode {
    let printed = print(text).map(|()| status);
    ExitCode::from(printed.unwrap_or_else(|error| error.report(program)).code())
}

/// Writes a line to standard error, and a line end if `text` lacks one. If that fails, too, there
/// is nowhere left to report it.
pub fn complain(text: &str) {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let _ = io::stderr().lock().write_all(format!("{text}{end}").as_bytes());
}
