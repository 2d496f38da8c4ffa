//! Every exit status of every personality, in one table.

/// An exit status with one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// Done as asked.
    Success = 0,
    /// It could not be done.
    Failure = 1,
    /// The native command line was not understood.
    Usage = 2,
    /// The classic command line was not understood. Source: balance(1).
    ClassicUsage = 64,
    /// An address could not be resolved. Source: balance(1).
    DataError = 65,
    /// A file needed for the start is not accessible. Source: balance(1).
    NoInput = 66,
    /// There is nobody to do it. Source: balance(1).
    Unavailable = 69,
    /// The operating system refused. Source: balance(1).
    OsError = 71,
}

/// A row of the table of exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitRow {
    /// The status.
    pub status: ExitStatus,
    /// The forms that end with it.
    pub from: &'static str,
    /// What it means, as a sentence.
    pub meaning: &'static str,
}

/// The table, in rising order; a status with a meaning of its own per form has a row per form.
pub const EXIT_STATUSES: [ExitRow; 14] = [
    row(
        ExitStatus::Success,
        "all",
        "Done: an orderly end, a command carried out, or a daemon that is now listening.",
    ),
    row(
        ExitStatus::Success,
        "pen, penctl",
        "The command line was not understood: the usage text is on standard output. What the answer to a command says makes no difference.",
    ),
    row(
        ExitStatus::Failure,
        "evenkeel",
        "It could not start or go on: an address in use, a name that does not resolve, a user that does not exist, an output that cannot be written.",
    ),
    row(
        ExitStatus::Failure,
        "evenkeel ctl",
        "The instance refused the command and changed nothing; the message says why.",
    ),
    row(
        ExitStatus::Failure,
        "pen",
        "It could not start: a port or address that cannot be listened on, a server that does not resolve, an unknown user, a file that cannot be written, or something that this version does not do.",
    ),
    row(
        ExitStatus::Failure,
        "penctl",
        "Nothing was sent: no port was given, nobody answers there, or the command has more than 1021 characters.",
    ),
    row(
        ExitStatus::Usage,
        "evenkeel, evenkeel ctl",
        "The command line was not understood; the message says which word and how to mend it.",
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
        "The name of the instance cannot be claimed: the runtime directory is not writable.",
    ),
    row(
        ExitStatus::Unavailable,
        "balance",
        "A group has no channels; there is no directory for the name of the instance; or, with `-i` and `-c`, no such instance is running, or it did not end when told to.",
    ),
    row(
        ExitStatus::Unavailable,
        "evenkeel ctl",
        "No instance is running, or several are and none was chosen.",
    ),
    row(
        ExitStatus::OsError,
        "balance",
        "The operating system refused: the port is taken or needs privileges, `-b` is not an address of this machine.",
    ),
    row(ExitStatus::OsError, "balance -i, balance -c", "The instance belongs to somebody else."),
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
