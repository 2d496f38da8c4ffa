//! One line of pen's command language, as penctl(1) sends it and files and `-O` contain it.

use super::access::parse_entry;
use super::address::name_needs_look_up;
use super::commands::{COMMANDS, CommandRow};
use super::tls::TlsCommand;
use super::{PenListen, PenSettings};
use crate::classic::leading_number;
use balancing::AccessEntry;
use std::str::Split;

/// A command. Numbers are as typed: they may be out of range. A number that is missing is `None`
/// where the command asks for the value, and 0 elsewhere, as in the original.
#[derive(Clone, Debug, PartialEq)]
pub enum PenCommand {
    /// Nothing to do and no reply: an empty line, a comment, a word that has no meaning any
    /// more, one that lacks an argument, `no` before an unknown word.
    Nothing,
    /// A word that is no command.
    Unknown(String),
    /// A switch to turn on or off.
    Switch(Switch, bool),
    /// A number to show, or to change and show.
    Value(Value, Option<i32>),
    /// `acl N ...`: an entry, or what to complain of.
    Acl {
        /// The list.
        list: i32,
        /// What to append.
        entry: Result<AccessEntry, Option<String>>,
    },
    /// `no acl N`
    ClearAcl(i32),
    /// `close N`
    Close(i32),
    /// `connection N`
    Connection(i32),
    /// `control`
    Control,
    /// `dsr_if IF`
    DsrIf(String),
    /// `exit`
    Exit,
    /// `include FILE`
    Include(String),
    /// `listen [ADDR]`
    Listen(Option<String>),
    /// `log [FILE]`
    Log(Option<String>),
    /// `no log`
    NoLog,
    /// `mode`
    Mode,
    /// `pid`
    Pid,
    /// `recent [SEC]`
    Recent(Option<i32>),
    /// `server N [KEY VALUE]...`
    Server {
        /// The server.
        number: i32,
        /// What to change, in order.
        changes: Vec<ServerChange>,
    },
    /// `servers`
    Servers,
    /// `socket N`
    Socket(i32),
    /// `source IP`
    Source(String),
    /// One of the `ssl_` words.
    Tls(TlsCommand),
    /// `status`
    Status,
    /// `tcp_fastclose W`
    TcpFastclose(Option<String>),
    /// `web_stats [FILE]`
    WebStats(Option<String>),
    /// `no web_stats`
    NoWebStats,
    /// `write [FILE]`
    Write(Option<String>),
}

/// What can be on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// `abort_on_error`
    AbortOnError,
    /// `ascii`
    Ascii,
    /// `dummy`
    Dummy,
    /// `hash`
    Hash,
    /// `http`
    Http,
    /// `keepalive`
    Keepalive,
    /// `prio`
    Prio,
    /// `roundrobin`
    Roundrobin,
    /// `stubborn`
    Stubborn,
    /// `tcp_nodelay`
    TcpNodelay,
    /// `transparent`
    Transparent,
    /// `weight`
    Weight,
}

/// What has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// `blacklist`
    Blacklist,
    /// `client_acl`
    ClientAcl,
    /// `clients_max`
    ClientsMax,
    /// `conn_max`
    ConnMax,
    /// `control_acl`
    ControlAcl,
    /// `debug`
    Debug,
    /// `idle_timeout`
    IdleTimeout,
    /// `idlers`
    Idlers,
    /// `pending_max`
    PendingMax,
    /// `tarpit_acl`
    TarpitAcl,
    /// `timeout`
    Timeout,
    /// `tracking`
    Tracking,
}

/// One pair after `server N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerChange {
    /// `acl`
    Acl(i32),
    /// `address`, a host or a path.
    Address(String),
    /// `port`
    Port(i32),
    /// `max`
    Max(i32),
    /// `hard`
    Hard(i32),
    /// `blacklist`, in seconds.
    Blacklist(i32),
    /// `weight`
    Weight(i32),
    /// `prio`
    Prio(i32),
}

impl PenCommand {
    /// Reads the first line of what was received. Words are separated by blanks; superfluous ones
    /// are ignored. Every text is a command.
    pub fn parse(line: &[u8]) -> Self {
        let end = line.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0));
        let line = String::from_utf8_lossy(&line[..end.unwrap_or(line.len())]);
        let mut words = Words(line.split(' '));
        let Some(first) = words.next() else { return Self::Nothing };
        if first.starts_with('#') {
            return Self::Nothing;
        }
        if first == "no" {
            let negated = words.next().and_then(find).and_then(|row| row.negated);
            return negated.map_or(Self::Nothing, |build| build(&mut words));
        }
        match find(first) {
            Some(CommandRow { build: Some(build), .. }) => build(&mut words),
            _ => Self::Unknown(first.to_owned()),
        }
    }

    /// The names of hosts that must be looked up before the command can be applied.
    pub fn hosts_to_resolve(&self) -> Vec<&str> {
        match self {
            Self::Server { changes, .. } => {
                let hosts = changes.iter().filter_map(|change| match change {
                    ServerChange::Address(host) => Some(host.as_str()),
                    _ => None,
                });
                hosts.filter(|host| name_needs_look_up(host)).collect()
            }
            Self::Source(host) if name_needs_look_up(host) => vec![host],
            Self::Listen(Some(text)) => PenListen::host_to_resolve(text).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

impl Switch {
    /// Where the settings keep it.
    pub(super) fn of(self, settings: &mut PenSettings) -> &mut bool {
        match self {
            Self::AbortOnError => &mut settings.abort_on_error,
            Self::Ascii => &mut settings.ascii,
            Self::Dummy => &mut settings.dummy,
            Self::Hash => &mut settings.hash,
            Self::Http => &mut settings.http,
            Self::Keepalive => &mut settings.keepalive,
            Self::Prio => &mut settings.prio,
            Self::Roundrobin => &mut settings.roundrobin,
            Self::Stubborn => &mut settings.stubborn,
            Self::TcpNodelay => &mut settings.tcp_nodelay,
            Self::Transparent => &mut settings.transparent,
            Self::Weight => &mut settings.weight,
        }
    }
}

fn find(word: &str) -> Option<&'static CommandRow> {
    COMMANDS.iter().find(|row| row.name == word)
}

/// The words after a command's name.
pub struct Words<'a>(Split<'a, char>);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.find(|word| !word.is_empty())
    }
}

impl Words<'_> {
    /// The next word as a text.
    pub(super) fn text(&mut self) -> Option<String> {
        self.next().map(str::to_owned)
    }

    /// The next word as a number, if there is one.
    pub(super) fn number(&mut self) -> Option<i32> {
        self.next().map(|word| leading_number(word).unwrap_or(0))
    }

    /// `acl`
    pub(super) fn acl(&mut self) -> PenCommand {
        match self.number() {
            Some(list) => PenCommand::Acl { list, entry: parse_entry(self) },
            None => PenCommand::Nothing,
        }
    }

    /// `server`: unknown pairs are skipped, and so is an odd last word.
    pub(super) fn server(&mut self) -> PenCommand {
        let Some(number) = self.number() else { return PenCommand::Nothing };
        let mut changes = Vec::new();
        while let (Some(key), Some(value)) = (self.next(), self.next()) {
            let number = leading_number(value).unwrap_or(0);
            changes.push(match key {
                "acl" => ServerChange::Acl(number),
                "address" => ServerChange::Address(value.to_owned()),
                "port" => ServerChange::Port(number),
                "max" => ServerChange::Max(number),
                "hard" => ServerChange::Hard(number),
                "blacklist" => ServerChange::Blacklist(number),
                "weight" => ServerChange::Weight(number),
                "prio" => ServerChange::Prio(number),
                _ => continue,
            });
        }
        PenCommand::Server { number, changes }
    }
}
