//! The keys of the configuration file: one table, from which the reader, the schema, the formatter
//! and the reference are made.
//!
//! A key is a long option without its dashes. Its help, value name, default and value parser are
//! those of the option in [`NativeArgs`], so that the file and the command line cannot differ; the
//! table adds where the key stands and how its value is written in TOML. Keys without an option
//! (`bind`, `backends`, ...) stand in the same table with a text of their own.
//!
//! How a reader uses it: [`Place::keys`] and [`find`] say which keys a table may have,
//! [`Key::shape`] how the value of one is written, [`places_of`] where a misplaced key belongs.
//! What a shape describes completely (lists, tables, names, operands) the reader takes from the
//! tree. The values of options it collects as text, and [`SettingsParser`] reads them all.
//!
//! A new option of the start form gets a row in `table.rs`, or one in [`NOT_IN_FILES`] with the
//! reason; a test says so.

mod schema;
mod settings;
mod table;
#[cfg(test)]
mod tests;

pub use schema::schema;
pub use settings::{Fault, Problem, SettingsParser};

use crate::native::NativeArgs;
use clap::{Arg, Args, Command};
use std::fmt;
use table::KEYS;

/// One key of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key as written.
    pub name: &'static str,
    /// The table in which it stands.
    pub place: Place,
    /// How its value is written.
    pub shape: Shape,
    /// Whether the table cannot do without it.
    pub required: bool,
    /// Whether it may also stand in `[defaults]`.
    pub in_defaults: bool,
    /// An example of its value, in TOML.
    pub example: &'static str,
    /// The text of a key without an option; absent for the others.
    about: Option<&'static str>,
}

/// A kind of table in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The file itself.
    File,
    /// `[process]`: how the process runs.
    Process,
    /// `[defaults]`: keys of listeners and pools, for those that do not have them.
    Defaults,
    /// `[listeners.NAME]`.
    Listener,
    /// An inline table in `routes`, or `[[listeners.NAME.routes]]`.
    Route,
    /// `[pools.NAME]`.
    Pool,
    /// `[[pools.NAME.tiers]]`, or an inline table in `tiers`.
    Tier,
    /// An inline table in `backends`, or `[[pools.NAME.backends]]`.
    Backend,
}

/// How a value is written in TOML.
///
/// Whatever is a string may contain `${VAR}`. Only the shapes for which
/// [`takes_integers`](Shape::takes_integers) is true may be bare numbers, and only a
/// [`Flag`](Shape::Flag) is a Boolean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `true` or `false`. False is the same as no key, except that it overrides `[defaults]`.
    Flag,
    /// A whole number in this range, bare or as a string of digits.
    Number {
        /// The smallest one.
        least: i64,
        /// The largest one.
        most: i64,
    },
    /// A string that is one of these words.
    Choice(&'static [&'static str]),
    /// A string such as `"500ms"`, or a bare number of seconds.
    Duration {
        /// The words that can stand for it.
        words: &'static [&'static str],
        /// What zero means.
        zero: Zero,
    },
    /// Any string that is not empty.
    Text,
    /// A string with the name of a listener, a pool or a backend.
    Name,
    /// A string with a factor from 1.01 to 100, with two decimals at most.
    Factor,
    /// A string with a [`Subset`](balancing::Subset).
    Subset,
    /// A string with a share from 1% to 100%.
    Share,
    /// A string with the name of a network interface.
    Interface,
    /// A string with a list of [`Ciphers`](terms::Ciphers).
    Ciphers,
    /// A string with [`ClientLimits`](balancing::ClientLimits).
    ClientLimits,
    /// A string with a [`Rate`](balancing::Rate).
    Rate,
    /// A string with a [`HashOn`](terms::HashOn).
    HashOn,
    /// A string with an IP address.
    Address,
    /// The URL of a collector of OpenTelemetry.
    Collector,
    /// A string with an IP address and a port, or with a port alone.
    Socket,
    /// A string with a [`Probe`](probing::Probe).
    Probe,
    /// A string with an [`AgentCheck`](probing::AgentCheck).
    Agent,
    /// A listening address: a string in the grammar of LISTEN in [`operand`](crate::operand), or a
    /// bare port.
    Listen,
    /// A string in the grammar of BACKEND in [`operand`](crate::operand).
    Operand,
    /// A string like [`Operand`](Shape::Operand), without the numbers after the port.
    Destination,
    /// A string `"allow CLIENTS"` or `"deny CLIENTS"`, with CLIENTS as the options take them.
    Access,
    /// A string with FROM as the option takes them, such as `"10.0.0.0/8"` or `"unix"`.
    Proxies,
    /// A string with the name of a server, or a wildcard such as `"*.example.org"`.
    ServerName,
    /// A string with a name that a certificate can have, such as `"app.example.org"`, or an address.
    Host,
    /// An [`Operand`](Shape::Operand), or a table with the keys of [`Place::Backend`].
    Backend,
    /// A list of backends, or a table with the keys of [`Place::Tier`].
    Tier,
    /// A list of at least one.
    List(&'static Shape),
    /// One, or a list of at least one.
    OneOrMore(&'static Shape),
    /// A table with the keys of this place.
    Table(Place),
    /// A table whose keys are names, and whose values are tables of this place. Instead of a
    /// table, a listener may be a string: a whole command line.
    Named(Place),
}

/// What a duration of zero means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// Nothing: it is refused.
    Refused,
    /// No time.
    Zero,
    /// The same as the word `never`.
    Never,
}

/// The long options of the start form that are not keys, with the reasons.
pub const NOT_IN_FILES: [(&str, &str); 3] = [
    ("print-config", "prints and exits, so a running balancer cannot have it"),
    ("allow", "the order of --allow and --deny matters, so the key `access` has both"),
    ("deny", "the order of --allow and --deny matters, so the key `access` has both"),
];

/// All keys, ordered by place, and within a place in the order in which they are best written.
pub fn all() -> &'static [Key] {
    KEYS
}

/// The key of this name in this place.
pub fn find(place: Place, name: &str) -> Option<&'static Key> {
    place.keys().find(|key| key.name == name)
}

/// The places where a key of this name may stand, [`Place::Defaults`] only if it is the only one.
pub fn places_of(name: &str) -> impl Iterator<Item = Place> {
    KEYS.iter().filter(move |key| key.name == name).map(|key| key.place)
}

impl Place {
    /// All places, in the order of [`all`].
    pub const ALL: [Self; 8] = [
        Self::File,
        Self::Process,
        Self::Defaults,
        Self::Listener,
        Self::Route,
        Self::Pool,
        Self::Tier,
        Self::Backend,
    ];

    /// The keys that may stand here.
    pub fn keys(self) -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(move |key| match self {
            Self::Defaults => key.in_defaults,
            _ => key.place == self,
        })
    }
}

/// As in a sentence: `a pool`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "the file",
            Self::Process => "[process]",
            Self::Defaults => "[defaults]",
            Self::Listener => "a listener",
            Self::Route => "a route",
            Self::Pool => "a pool",
            Self::Tier => "a tier",
            Self::Backend => "a backend",
        })
    }
}

impl Key {
    /// Whether the key is an option of the start form, so that [`SettingsParser`] reads its value.
    pub fn is_option(&self) -> bool {
        self.about.is_none()
    }

    /// The option that this key is.
    pub fn option(&self) -> Option<Arg> {
        let options = options();
        let found = options.get_arguments().find(|it| it.get_long() == Some(self.name));
        found.filter(|_| self.is_option()).cloned()
    }

    /// What the key does: the help of the option, with options named as keys.
    pub fn about(&self) -> String {
        let help = || self.option().and_then(|it| it.get_help().map(ToString::to_string));
        let text = self.about.map(str::to_owned).or_else(help).unwrap_or_default();
        let words = text.split(' ').map(|word| match word.strip_prefix("--") {
            Some(name) => {
                let end = name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len();
                let (name, rest) = name.split_at(end);
                format!("`{name}`{rest}")
            }
            None => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// The default as an option would be given it; absent if the key has none, or if
    /// [`about`](Self::about) describes it.
    pub fn default(&self) -> Option<String> {
        let option = self.option().filter(|_| self.shape != Shape::Flag)?;
        option.get_default_values().first().map(|value| value.to_string_lossy().into_owned())
    }
}

impl Shape {
    /// Whether a bare number can stand for the value.
    pub fn takes_integers(self) -> bool {
        matches!(self, Self::Number { .. } | Self::Duration { .. } | Self::Listen)
    }

    /// Of the items, if the value can be a list.
    pub fn item(self) -> Option<Self> {
        match self {
            Self::List(item) | Self::OneOrMore(item) => Some(*item),
            Self::Tier => Some(Self::Backend),
            _ => None,
        }
    }

    /// Of the value, if it is one instead of a list of them.
    pub fn of_one(self) -> Self {
        match self {
            Self::OneOrMore(item) => *item,
            other => other,
        }
    }
}

/// As in a sentence: `a duration`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("true or false"),
            Self::Number { least, most } => write!(f, "a number from {least} to {most}"),
            Self::Choice(words) => write!(f, "one of \"{}\"", words.join("\", \"")),
            Self::Duration { .. } => f.write_str("a duration"),
            Self::Text => f.write_str("a string"),
            Self::Name => f.write_str("a name"),
            Self::Factor => f.write_str("a string with a factor above 1"),
            Self::Subset => f.write_str("a string such as size=20,node=3,nodes=10"),
            Self::Share => f.write_str("a string with a share such as 50%"),
            Self::Interface => f.write_str("a string with the name of a network interface"),
            Self::Ciphers => f.write_str("a string such as ECDHE+AESGCM"),
            Self::ClientLimits => f.write_str("a string with limits of clients"),
            Self::Rate => f.write_str("a string with a rate such as 20/s"),
            Self::HashOn => f.write_str("a string such as quic-cid:8"),
            Self::Address => f.write_str("an IP address"),
            Self::Collector => f.write_str("a string such as http://127.0.0.1:4318"),
            Self::Socket => f.write_str("an IP address with a port, or a port"),
            Self::Probe => f.write_str("a string with a probe"),
            Self::Agent => f.write_str("a string with the port or the address of an agent"),
            Self::Listen => f.write_str("a listening address"),
            Self::Operand | Self::Destination => f.write_str("the address of a backend"),
            Self::Access => f.write_str("a string \"allow CLIENTS\" or \"deny CLIENTS\""),
            Self::Proxies => f.write_str("a network or \"unix\""),
            Self::Host => f.write_str("the name of a server or an IP address"),
            Self::ServerName => f.write_str("the name of a server"),
            Self::Backend => f.write_str("a backend (a string or a table)"),
            Self::Tier => f.write_str("a tier (a list of backends or a table)"),
            Self::List(item) => write!(f, "a list, each item {item}"),
            Self::OneOrMore(item) => write!(f, "{item}, or a list of them"),
            Self::Table(place) => write!(f, "a table with the keys of {place}"),
            Self::Named(_) => f.write_str("a table of named tables"),
        }
    }
}

/// The start form as clap sees it, without the verbs.
fn options() -> Command {
    NativeArgs::augment_args(Command::new("evenkeel").no_binary_name(true))
}
