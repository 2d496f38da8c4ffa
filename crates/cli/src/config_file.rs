//! Where the configuration file is, and `evenkeel fmt`, which writes it anew.
//!
//! `evenkeel fmt` and `evenkeel check` take `-` for standard input.

use crate::output::{complain, print};
use config::ExitStatus;
use config::environment::{HOME, Variable, XDG_CONFIG_HOME};
use config::native::FmtArgs;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use sys::errors::reason;

/// The configuration file to use if none is named: `/etc/evenkeel/evenkeel.toml`, or, if there is
/// no such file, `evenkeel/evenkeel.toml` in the user's folder for configuration, if it is there.
pub fn default_path() -> PathBuf {
    let system = PathBuf::from("/etc").join(NAME);
    let folder =
        |it: Variable| std::env::var_os(it.name).filter(|value: &OsString| !value.is_empty());
    let home = || folder(HOME).map(|home| PathBuf::from(home).join(".config"));
    let own = folder(XDG_CONFIG_HOME).map(PathBuf::from).or_else(home);
    let own = own.map(|own| own.join(NAME)).filter(|own| !system.exists() && own.exists());
    own.unwrap_or(system)
}

/// Formats a file, or with `--check` reports whether that would change it.
pub fn format(args: &FmtArgs) -> ExitCode {
    let path = args.file.clone().unwrap_or_else(default_path);
    let done =
        if is_input(&path) { format_input(args.check) } else { format_file(&path, args.check) };
    done.unwrap_or_else(|message| {
        complain(&format!("evenkeel: {message}"));
        ExitStatus::Failure.into()
    })
}

/// Whether the path means standard input.
pub fn is_input(path: &Path) -> bool {
    path == Path::new("-")
}

/// The text of standard input.
pub fn read_input() -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot read {INPUT}: {}", reason(&error)))?;
    if bytes.len() > BYTES_MAX {
        return Err(format!("{INPUT} has more than 16 MiB"));
    }
    to_text(bytes, INPUT)
}

fn format_input(only_check: bool) -> Result<ExitCode, String> {
    let text = read_input()?;
    let formatted = formatted(&text, INPUT)?;
    if only_check {
        return Ok(verdict(INPUT, text == formatted));
    }
    Ok(print(&formatted)
        .map_or_else(|error| error.report("evenkeel"), |()| ExitStatus::Success)
        .into())
}

fn format_file(path: &Path, only_check: bool) -> Result<ExitCode, String> {
    let name = &path.display().to_string();
    let read = sys::bounded_files::read(path, BYTES_MAX, None);
    let bytes = read.map_err(|error| format!("cannot read {name}: {}", reason(&error)))?;
    let text = to_text(bytes, name)?;
    let formatted = formatted(&text, name)?;
    if only_check {
        return Ok(verdict(name, text == formatted));
    }
    if text != formatted {
        let written = sys::bounded_files::write(path, formatted.as_bytes());
        written.map_err(|error| format!("cannot write {name}: {}", reason(&error)))?;
    }
    Ok(ExitStatus::Success.into())
}

fn to_text(bytes: Vec<u8>, name: &str) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| format!("{name}: not a text file (UTF-8)"))
}

fn formatted(text: &str, name: &str) -> Result<String, String> {
    config::format(text).map_err(|error| format!("{name}: {error}"))
}

fn verdict(name: &str, is_formatted: bool) -> ExitCode {
    if is_formatted {
        return ExitStatus::Success.into();
    }
    complain(&format!("{name}: not as `evenkeel fmt` writes it"));
    ExitStatus::Failure.into()
}

const NAME: &str = "evenkeel/evenkeel.toml";
/// What messages call standard input.
pub const INPUT: &str = "standard input";
/// The maximum size of a file.
const BYTES_MAX: usize = 16 << 20;
