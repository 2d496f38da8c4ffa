//! The control shell of balance(1): its words, and what to do about them.
//!
//! The caller holds the dialogue and talks to the instance; everything else is here. For each
//! line: [`parse`] it, fetch the channels, ask [`plan`], send the [`Command`] if there is one,
//! and print [`answer`]. The state of a dialogue is one number, the current group.

mod texts;

pub use texts::{
    Answer, HELP, NO_MASTER, ShowRow, banner, no_master_with_pid, prompt, render_help,
    render_mrtg_bytes, render_mrtg_conns, render_show, render_version,
};

use super::proxy::{channel_port, cut_host, host_is_hopeless};
use super::{MAX_CHANNELS, MAX_GROUPS};
use balancing::{AdminState, Policy};
use config::operand::Services;
use config::{BackendSelector, Command, CommandError, Endpoint, Reply};
use terms::Limit;

#[cfg(test)]
mod tests;

/// A line of the control shell. Numbers are as typed: they may be out of range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShellCommand {
    /// `quit`
    Quit,
    /// `show`
    Show,
    /// `help` and `?`
    Help,
    /// `kill`
    Kill,
    /// `disable N`
    Disable(i64),
    /// `group G`
    Group(i64),
    /// `reset N`
    Reset(i64),
    /// `enable N`
    Enable(i64),
    /// `create HOST PORT`
    Create(Target),
    /// `assign N HOST PORT`
    Assign {
        /// The channel.
        channel: i64,
        /// Where to; missing words are only complained about once the channel is found to exist
        /// and to be disabled.
        target: Option<Target>,
    },
    /// `maxc N M`
    Maxc {
        /// The channel.
        channel: i64,
        /// The limit.
        maxc: i64,
    },
    /// `mrtg-bytes G N`
    MrtgBytes {
        /// The group.
        group: i64,
        /// The channel.
        channel: i64,
    },
    /// `mrtg-conns G N`
    MrtgConns {
        /// The group.
        group: i64,
        /// The channel.
        channel: i64,
    },
    /// `version`
    Version,
    /// `hash`
    Hash,
    /// `rr`
    RoundRobin,
}

/// A new address for a channel, as two words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `HOST`, or `HOST:PORT`, whose port wins.
    pub host: String,
    /// `PORT`, a number or a service.
    pub port: String,
}

/// A line that is not a command, or lacks a word, or has a word where a number belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error")]
pub struct SyntaxError;

/// What to do about a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Print this; it ends with a newline unless it is empty.
    Print(String),
    /// Send this to the instance and print what [`answer`] makes of the reply.
    Send(Command),
    /// Take this group as the current one and print nothing.
    EnterGroup(usize),
    /// Tell the instance to shut down; print [`Answer::ShutdownComplete`] once it listens no
    /// more, else [`Answer::ShutdownFailed`] (status 69). The dialogue ends in both cases.
    Kill,
    /// Leave with status 0.
    Quit,
}

/// Reads a line; `None` for a blank one.
///
/// Command words may be shortened; the first in the original's order wins. Surplus words are
/// ignored, and so is a carriage return. Source: balance(1), `-i`.
pub fn parse(line: &str) -> Option<Result<ShellCommand, SyntaxError>> {
    let mut words = line.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
    let first = words.next()?;
    let known = COMMANDS.iter().find(|(name, _)| name.starts_with(first));
    Some(match known {
        Some((_, build)) => build(&mut Words(&mut words)).ok_or(SyntaxError),
        None => Err(SyntaxError),
    })
}

/// What a command comes to, given the current group and the channels of all groups.
pub fn plan(
    command: &ShellCommand,
    group: usize,
    rows: &[ShowRow],
    services: Services<'_>,
) -> Step {
    let find = |group: usize, channel: i64| {
        let is_it = |row: &&ShowRow| {
            row.group == group && i64::try_from(row.channel).is_ok_and(|it| it == channel)
        };
        rows.iter().find(is_it)
    };
    let place = |row: &ShowRow| BackendSelector::place(row.group, row.channel);
    let print = |answer: Answer| Step::Print(format!("{answer}\n"));
    match *command {
        ShellCommand::Quit => Step::Quit,
        ShellCommand::Kill => Step::Kill,
        ShellCommand::Show => Step::Print(render_show(rows)),
        ShellCommand::Help => Step::Print(render_help()),
        ShellCommand::Version => Step::Print(render_version()),
        ShellCommand::Group(number) => match group_number(number) {
            Some(group) => Step::EnterGroup(group),
            None => print(Answer::ValueOutOfRange),
        },
        ShellCommand::Enable(channel) | ShellCommand::Disable(channel) => {
            let enable = matches!(command, ShellCommand::Enable(_));
            let state = if enable { AdminState::Enabled } else { AdminState::Disabled };
            match find(group, channel) {
                Some(row) => Step::Send(Command::SetAdminState { backend: place(row), state }),
                None => print(Answer::NoSuchChannel(channel)),
            }
        }
        ShellCommand::Reset(channel) => match find(group, channel) {
            Some(row) => Step::Send(Command::ResetCounters { backend: place(row) }),
            None => print(Answer::NoSuchChannel(channel)),
        },
        ShellCommand::Maxc { channel, maxc } => match (find(group, channel), i32::try_from(maxc)) {
            (None, _) => print(Answer::UnknownChannel),
            (Some(_), Err(_)) => print(Answer::ValueOutOfRange),
            (Some(row), Ok(maxc)) => {
                let sessions_max = Limit::from_number(maxc);
                Step::Send(Command::SetSessionsMax { backend: place(row), sessions_max })
            }
        },
        ShellCommand::Create(ref target) => match endpoint(target, services) {
            None => print(Answer::InvalidAddress),
            Some(_) if rows.iter().filter(|row| row.group == group).count() >= MAX_CHANNELS => {
                print(Answer::NoSlots)
            }
            Some(endpoint) => Step::Send(Command::AddBackend { pool: None, tier: group, endpoint }),
        },
        ShellCommand::Assign { channel, ref target } => match (find(group, channel), target) {
            (None, _) => print(Answer::UnknownChannel),
            (Some(row), _) if row.enabled => print(Answer::MustBeDisabled),
            (Some(_), None) => print(Answer::SyntaxError),
            (Some(row), Some(target)) => match endpoint(target, services) {
                Some(endpoint) => {
                    Step::Send(Command::SetEndpoint { backend: place(row), endpoint })
                }
                None => print(Answer::InvalidAddress),
            },
        },
        ShellCommand::MrtgBytes { group, channel } | ShellCommand::MrtgConns { group, channel } => {
            let render = match command {
                ShellCommand::MrtgBytes { .. } => render_mrtg_bytes,
                _ => render_mrtg_conns,
            };
            match group_number(group).map(|group| find(group, channel)) {
                None => print(Answer::UnknownGroup),
                Some(None) => print(Answer::UnknownChannel),
                Some(Some(row)) => Step::Print(render(row)),
            }
        }
        ShellCommand::Hash | ShellCommand::RoundRobin => {
            let is_hash = *command == ShellCommand::Hash;
            let policy = if is_hash { Policy::Hash } else { Policy::RoundRobin };
            Step::Send(Command::SetPolicy { pool: None, tier: group, policy })
        }
    }
}

/// What to print for the reply to a command that [`plan`] had sent.
pub fn answer(command: &ShellCommand, group: usize, reply: &Result<Reply, CommandError>) -> Answer {
    let unchanged = matches!(reply, Ok(Reply::Unchanged));
    match (command, reply) {
        (_, Err(error)) => refusal(command, error),
        (ShellCommand::Enable(channel), Ok(_)) if unchanged => Answer::AlreadyEnabled(*channel),
        (ShellCommand::Enable(channel), Ok(_)) => Answer::Enabled(*channel),
        (ShellCommand::Disable(channel), Ok(_)) if unchanged => Answer::AlreadyDisabled(*channel),
        (ShellCommand::Disable(channel), Ok(_)) => Answer::Disabled(*channel),
        (ShellCommand::Reset(channel), Ok(_)) => Answer::CountersReset(*channel),
        (ShellCommand::Maxc { channel, maxc }, Ok(_)) => Answer::MaxcChanged(*channel, *maxc),
        (ShellCommand::Create(_), Ok(_)) => Answer::ChannelCreated,
        (ShellCommand::Assign { .. }, Ok(_)) => Answer::Reassigned,
        (ShellCommand::Hash, Ok(_)) => Answer::SetToHash(group),
        (ShellCommand::RoundRobin, Ok(_)) => Answer::SetToRoundRobin(group),
        (ShellCommand::Kill, Ok(_)) => Answer::ShutdownComplete,
        // Nothing is sent for these.
        (
            ShellCommand::Quit
            | ShellCommand::Show
            | ShellCommand::Help
            | ShellCommand::Version
            | ShellCommand::Group(_)
            | ShellCommand::MrtgBytes { .. }
            | ShellCommand::MrtgConns { .. },
            Ok(_),
        ) => Answer::SyntaxError,
    }
}

/// A refusal in the original's words. It has one for channels by number, another for the rest.
fn refusal(command: &ShellCommand, error: &CommandError) -> Answer {
    match error {
        CommandError::UnknownBackend(_)
        | CommandError::AmbiguousBackend(_)
        | CommandError::FixedPlaces(_) => match command {
            ShellCommand::Enable(channel)
            | ShellCommand::Disable(channel)
            | ShellCommand::Reset(channel) => Answer::NoSuchChannel(*channel),
            _ => Answer::UnknownChannel,
        },
        CommandError::InvalidEndpoint(_) => Answer::InvalidAddress,
        CommandError::NotDisabled(_) => Answer::MustBeDisabled,
        CommandError::TierOutOfRange { .. } | CommandError::TooManyTiers(_) => {
            Answer::ValueOutOfRange
        }
        CommandError::UnknownSession(_)
        | CommandError::UnknownPool(_)
        | CommandError::AmbiguousPool(_) => Answer::SyntaxError,
        // Nothing here reloads, or asks for listeners.
        CommandError::UnknownListener(_)
        | CommandError::AmbiguousListener(_)
        | CommandError::InvalidClient(_)
        | CommandError::NoFile
        | CommandError::InvalidFile(_)
        | CommandError::NotReloadable(_)
        | CommandError::NothingToConfirm
        | CommandError::NotDraining
        | CommandError::CalledOff
        | CommandError::NotResumable(_)
        | CommandError::NotAllowed { .. } => Answer::SyntaxError,
        CommandError::HandingOver | CommandError::ShuttingDown => Answer::NoMaster,
    }
}

/// The remaining words of a line.
struct Words<'a, 'b>(&'a mut dyn Iterator<Item = &'b str>);

impl Words<'_, '_> {
    /// A whole number; too big ones saturate, which is out of every range.
    fn number(&mut self) -> Option<i64> {
        let word = self.0.next()?;
        let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let too_big = if word.starts_with('-') { i64::MIN } else { i64::MAX };
        Some(word.parse().unwrap_or(too_big))
    }

    fn target(&mut self) -> Option<Target> {
        Some(Target { host: self.0.next()?.to_owned(), port: self.0.next()?.to_owned() })
    }
}

fn group_number(number: i64) -> Option<usize> {
    usize::try_from(number).ok().filter(|group| *group < MAX_GROUPS)
}

/// The address two words mean, as commands carry it; names are for the instance to resolve.
fn endpoint(target: &Target, services: Services<'_>) -> Option<String> {
    let (host, rest) = cut_host(&target.host);
    let port = match rest.split(':').next() {
        Some(port) if !port.is_empty() => port,
        _ => target.port.as_str(),
    };
    let port = channel_port(port, services)?;
    (!host_is_hopeless(&host)).then(|| Endpoint::Tcp { host, port }.to_string())
}

type Build = fn(&mut Words<'_, '_>) -> Option<ShellCommand>;

/// Every command word, in the order in which shortened words are looked for.
const COMMANDS: [(&str, Build); 17] = [
    ("quit", |_| Some(ShellCommand::Quit)),
    ("show", |_| Some(ShellCommand::Show)),
    ("help", |_| Some(ShellCommand::Help)),
    ("?", |_| Some(ShellCommand::Help)),
    ("kill", |_| Some(ShellCommand::Kill)),
    ("disable", |words| words.number().map(ShellCommand::Disable)),
    ("group", |words| words.number().map(ShellCommand::Group)),
    ("reset", |words| words.number().map(ShellCommand::Reset)),
    ("enable", |words| words.number().map(ShellCommand::Enable)),
    ("create", |words| words.target().map(ShellCommand::Create)),
    ("assign", |words| {
        let channel = words.number()?;
        Some(ShellCommand::Assign { channel, target: words.target() })
    }),
    ("maxc", |words| Some(ShellCommand::Maxc { channel: words.number()?, maxc: words.number()? })),
    ("mrtg-bytes", |words| {
        Some(ShellCommand::MrtgBytes { group: words.number()?, channel: words.number()? })
    }),
    ("mrtg-conns", |words| {
        Some(ShellCommand::MrtgConns { group: words.number()?, channel: words.number()? })
    }),
    ("version", |_| Some(ShellCommand::Version)),
    ("hash", |_| Some(ShellCommand::Hash)),
    ("rr", |_| Some(ShellCommand::RoundRobin)),
];
