//! The codes of reports, in one table. `docs/reference/reports.md` is rendered from it.

use std::fmt;

/// Which rule a file breaks. Codes never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The text is not TOML.
    Syntax,
    /// A key or a name is set twice.
    Twice,
    /// A variable is not set.
    UnknownVariable,
    /// A variable is written wrongly.
    VariableForm,
    /// There is no such key.
    UnknownKey,
    /// The key belongs elsewhere.
    MisplacedKey,
    /// The value has another type.
    WrongType,
    /// The option refuses the value.
    Value,
    /// The value is not one of the words.
    Word,
    /// A key is missing.
    MissingKey,
    /// A key needs another.
    Needs,
    /// Two keys exclude each other.
    Conflict,
    /// A listening address is not understood.
    Bind,
    /// A backend is not understood.
    Backend,
    /// A backend has no port.
    NoPort,
    /// An entry of an access list is not understood.
    Access,
    /// There is no such pool.
    UnknownPool,
    /// Two listeners have the same address.
    SameAddress,
    /// A pool or a tier has no backends.
    NoBackends,
    /// Two backends of a pool have the same name.
    SameName,
    /// A name cannot be used.
    Name,
    /// There are no listeners.
    NoListeners,
    /// A listener's command line is not understood.
    CommandLine,
    /// A user does not exist. Only `check` looks.
    User,
    /// A file or directory cannot be used. Only `check` looks.
    File,
    /// An address cannot be listened on. Only `check` looks.
    Listen,
    /// No listener uses a pool.
    UnusedPool,
    /// The policy ignores a number.
    Ignored,
    /// A key has no effect because of another.
    NoEffect,
    /// An address is in use. Only `check` looks.
    InUse,
    /// A name cannot be resolved. Only `check --online` looks.
    Unresolved,
    /// A backend does not accept connections. Only `check --online` looks.
    Unreachable,
    /// Something could not be checked. Only `check` looks.
    Unchecked,
    /// A list of backends or tiers is empty.
    Empty,
    /// Clients may refuse a certificate. Only `check` looks.
    Certificate,
    /// The kernel follows a policy only approximately. Only `check` looks.
    Approximate,
}

/// A row of the table of codes.
#[derive(Clone, Copy, Debug)]
pub struct CodeRow {
    /// The code.
    pub code: Code,
    /// As reports show it.
    pub word: &'static str,
    /// What it means, as a sentence.
    pub meaning: &'static str,
    /// What to do, as a sentence.
    pub cure: &'static str,
}

/// All codes, errors before warnings.
pub const CODES: [CodeRow; 36] = [
    row(
        Code::Syntax,
        "E001",
        "The text is not TOML.",
        "Strings need quotes, lists commas and brackets, and each key a value.",
    ),
    row(
        Code::Twice,
        "E002",
        "A key or a name is set twice, in one file or in several.",
        "Remove or rename one of the two.",
    ),
    row(
        Code::UnknownVariable,
        "E003",
        "The environment has no such variable.",
        "Set it, or write a default, as in `${NAME:-default}`.",
    ),
    row(
        Code::VariableForm,
        "E004",
        "A variable is written wrongly.",
        "Write `${NAME}` or `${NAME:-default}`; a literal `${` is written `$${`.",
    ),
    row(
        Code::UnknownKey,
        "E005",
        "There is no such key.",
        "The message names the nearest one; the reference has them all.",
    ),
    row(
        Code::MisplacedKey,
        "E006",
        "The key exists, but not in this table.",
        "Move it to a table of the kind that the message names.",
    ),
    row(
        Code::WrongType,
        "E007",
        "The value has the wrong type, such as a number where a list is needed.",
        "Write it as in the example of the message.",
    ),
    row(
        Code::Value,
        "E008",
        "The value is not one that the option takes.",
        "The message says which values it takes.",
    ),
    row(
        Code::Word,
        "E009",
        "The value is not one of the words that the option takes.",
        "Use one of the words that the message lists.",
    ),
    row(Code::MissingKey, "E010", "A table lacks a key that it needs.", "Add it."),
    row(
        Code::Needs,
        "E011",
        "The key has no effect without another.",
        "Add the other one, or remove this one.",
    ),
    row(Code::Conflict, "E012", "Two keys contradict each other.", "Remove one of the two."),
    row(
        Code::Bind,
        "E013",
        "A listening address is not understood.",
        "Write a port, a service, `addr:port`, `[v6]:port` or `unix:/path`.",
    ),
    row(
        Code::Backend,
        "E014",
        "A backend is not understood.",
        "Write `host:port` with the numbers after it, `[v6]:port` or `unix:/path`, or a table with `to`.",
    ),
    row(
        Code::NoPort,
        "E015",
        "A backend has no port, and the pool's listeners do not agree on one.",
        "Write the backend with its port.",
    ),
    row(
        Code::Access,
        "E016",
        "An entry of `access` is not understood.",
        "Write `allow CLIENTS` or `deny CLIENTS`.",
    ),
    row(
        Code::UnknownPool,
        "E017",
        "A listener names a pool that does not exist.",
        "Name one of the pools of the file.",
    ),
    row(
        Code::SameAddress,
        "E018",
        "Two listeners have the same address, or one includes the other.",
        "Change one of the two.",
    ),
    row(
        Code::NoBackends,
        "E019",
        "A pool or a tier has no backends.",
        "Give it `backends`, or remove it.",
    ),
    row(
        Code::SameName,
        "E020",
        "Two backends of a pool have the same name.",
        "Rename one of the two.",
    ),
    row(
        Code::Name,
        "E021",
        "A listener, pool or backend has a name that commands could not use.",
        "Use a name of at most 200 bytes without control characters; for a backend, not one that \
         looks like a place, as `0.1` does.",
    ),
    row(
        Code::NoListeners,
        "E022",
        "The file has no listeners.",
        "Add one, as in `[listeners]` and `web = \"80 app1 app2\"`.",
    ),
    row(
        Code::CommandLine,
        "E023",
        "The command line of a listener is not understood.",
        "Write what would stand after `evenkeel`: options, LISTEN and the backends.",
    ),
    row(Code::User, "E024", "A user does not exist.", "Create the user, or name another."),
    row(
        Code::File,
        "E025",
        "A file or directory cannot be used.",
        "Create it, or correct the path or its permissions.",
    ),
    row(
        Code::Listen,
        "E026",
        "An address cannot be listened on.",
        "Use an address of this machine, and a port above 1023 or the privilege for it.",
    ),
    row(
        Code::UnusedPool,
        "W001",
        "No listener uses the pool.",
        "Name it in a listener, or remove it.",
    ),
    row(
        Code::Ignored,
        "W002",
        "The policy of the tier ignores the number.",
        "Use the policy that the message names, or remove the number.",
    ),
    row(
        Code::NoEffect,
        "W003",
        "A key has no effect because of another, or on this machine.",
        "Change or remove one of the two, or mend what the message names.",
    ),
    row(
        Code::InUse,
        "W004",
        "Another program uses the address. Running instances of the balancer are no reason to warn.",
        "Stop the other program, or use another address.",
    ),
    row(
        Code::Unresolved,
        "W005",
        "A name cannot be resolved.",
        "Correct the name. The balancer looks it up again until it resolves.",
    ),
    row(
        Code::Unreachable,
        "W006",
        "A backend does not accept connections.",
        "Start the backend, or correct its address.",
    ),
    row(
        Code::Unchecked,
        "W007",
        "Something could not be checked.",
        "Repeat the check with the privileges that the balancer will have.",
    ),
    row(
        Code::Empty,
        "W008",
        "A list of backends or tiers is empty.",
        "Name a backend, unless `evenkeel ctl add` is to add them.",
    ),
    row(
        Code::Certificate,
        "W009",
        "Clients may refuse a certificate: its dates, its names, or the order of the chain.",
        "Renew the certificate, or put it first in the file, and that of each issuer after it.",
    ),
    row(
        Code::Approximate,
        "W010",
        "The kernel follows the policy only approximately: it goes by counts that are taken once a second.",
        "Nothing, if that is enough; `engine = \"user\"` is exact.",
    ),
];

const fn row(code: Code, word: &'static str, meaning: &'static str, cure: &'static str) -> CodeRow {
    CodeRow { code, word, meaning, cure }
}

/// Whether a report keeps the file from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used.
    Warning,
}

impl Severity {
    /// The word in text and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl Code {
    /// As reports show it: `E012`.
    pub fn word(self) -> &'static str {
        let row = CODES.iter().find(|row| row.code == self);
        row.map_or("", |row| row.word)
    }

    /// Whether it keeps the file from being used.
    pub fn severity(self) -> Severity {
        if self.word().starts_with('W') { Severity::Warning } else { Severity::Error }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbered_without_gaps_and_never_used_twice() {
        for (letter, severity) in [('E', Severity::Error), ('W', Severity::Warning)] {
            let rows = CODES.iter().filter(|row| row.code.severity() == severity);
            for (index, row) in rows.enumerate() {
                assert_eq!(row.word, format!("{letter}{:03}", index + 1));
                assert_eq!(row.code.word(), row.word, "a code with two rows");
            }
        }
    }
}
