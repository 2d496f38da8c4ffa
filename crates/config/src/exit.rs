//! Every exit status of every personality, in one table.

/// An exit status with one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// Success.
    Success = 0,
    /// Failure.
    Failure = 1,
    /// The native command line was not understood.
    Usage = 2,
    /// The classic command line was not understood. Source: balance(1).
    ClassicUsage = 64,
    /// An address could not be resolved. Source: balance(1).
    DataError = 65,
    /// A file needed for the start is not accessible. Source: balance(1).
    NoInput = 66,
    /// No instance can do it. Source: balance(1).
    Unavailable = 69,
    /// The operating system refused. Source: balance(1).
    OsError = 71,
}

/// A row of the table of exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitRow {
    /// The status.
    pub status: ExitStatus,
    /// The programs that exit with it.
    pub from: &'static str,
    /// The meaning, as a sentence.
    pub meaning: &'static str,
}

/// All exit statuses, in rising order. If programs use a status differently, each has a row.
pub const EXIT_STATUSES: [ExitRow; 20] = [
    row(
        ExitStatus::Success,
        "all",
        "Success: an orderly end, a command carried out, or a daemon that is now listening.",
    ),
    row(
        ExitStatus::Success,
        "pen, penctl",
        "The command line was not understood: the usage text is on standard output. penctl also exits with 0 whatever the answer to its command is.",
    ),
    row(
        ExitStatus::Failure,
        "evenkeel",
        "The program could not start or continue: an address is in use, a user does not exist, or an output cannot be written.",
    ),
    row(
        ExitStatus::Failure,
        "evenkeel check",
        "The configuration file cannot be used, or `--strict` was given and there are warnings.",
    ),
    row(
        ExitStatus::Failure,
        "evenkeel ctl, evenkeel reload",
        "The instance refused the command and changed nothing; the message says why.",
    ),
    row(
        ExitStatus::Failure,
        "evenkeel upgrade",
        "The new process cannot take over; the running one goes on as before.",
    ),
    row(ExitStatus::Failure, "evenkeel diff", "Something differs."),
    row(
        ExitStatus::Failure,
        "evenkeel engine-clear",
        "Rules were left alone because their instance is running, no instance has left any under a given name, or they cannot be removed.",
    ),
    row(
        ExitStatus::Failure,
        "evenkeel fmt",
        "The file cannot be read, is not TOML, or cannot be written; or, with `--check`, it is not formatted.",
    ),
    row(
        ExitStatus::Failure,
        "pen",
        "The program could not start: it cannot listen on a port or address, a server does not resolve, a user is unknown, a file cannot be written, or this version does not support an option.",
    ),
    row(
        ExitStatus::Failure,
        "penctl",
        "Nothing was sent: no port was given, nothing answers there, or the command has more than 1021 characters.",
    ),
    row(
        ExitStatus::Usage,
        "evenkeel, evenkeel check, evenkeel ctl, evenkeel engine-clear, evenkeel fmt, evenkeel reload",
        "The command line was not understood; the message names the argument and says how to mend it.",
    ),
    row(
        ExitStatus::Usage,
        "evenkeel diff",
        "Nothing was compared: the command line was not understood, no instance was selected, or the file cannot be used.",
    ),
    row(
        ExitStatus::ClassicUsage,
        "balance",
        "The command line was not understood: an unknown option, a bad port, or more than 64 channels in a group or 32 groups.",
    ),
    row(
        ExitStatus::DataError,
        "balance",
        "A channel or a `-B` address is unknown or invalid, or the running instance is of another release.",
    ),
    row(
        ExitStatus::NoInput,
        "balance",
        "The instance's name cannot be claimed: the runtime directory is not writable.",
    ),
    row(
        ExitStatus::Unavailable,
        "balance",
        "A group has no channels; the directory for the instance's name does not exist; or, with `-i` and `-c`, no such instance is running, or it did not exit when requested.",
    ),
    row(
        ExitStatus::Unavailable,
        "evenkeel ctl, evenkeel reload",
        "No instance is running, or several are running and none was selected.",
    ),
    row(
        ExitStatus::OsError,
        "balance",
        "The operating system refused: the port is taken or needs privileges, `-b` is not an address of this machine.",
    ),
    row(ExitStatus::OsError, "balance -i, balance -c", "The instance belongs to another user."),
];

const fn row(status: ExitStatus, from: &'static str, meaning: &'static str) -> ExitRow {
    ExitRow { status, from, meaning }
}

impl ExitStatus {
    /// The number a shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_rising_order_and_names_every_status() {
        let codes: Vec<u8> = EXIT_STATUSES.iter().map(|row| row.status.code()).collect();
        assert!(codes.is_sorted(), "{codes:?}");
        for code in [0, 1, 2, 64, 65, 66, 69, 71] {
            assert!(codes.contains(&code), "no row for {code}");
        }
    }
}
