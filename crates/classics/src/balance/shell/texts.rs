//! The answers of the control shell, to the letter.

use crate::balance::{MAX_CHANNELS, MAX_GROUPS, VERSION};
use std::fmt;

/// A channel as `show` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowRow {
    /// The group's number.
    pub group: usize,
    /// Whether the group goes by the client's address.
    pub hash: bool,
    /// The channel's number in its group.
    pub channel: usize,
    /// Whether it takes new connections.
    pub enabled: bool,
    /// Its address, without the port.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Connections open now.
    pub connections: u64,
    /// Attempts since the start or the last reset.
    pub total_connections: u64,
    /// The limit.
    pub maxc: i32,
    /// Bytes from clients to the channel.
    pub sent: u64,
    /// Bytes from the channel to clients.
    pub received: u64,
}

/// An answer of one line. Displays without the newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To `disable`.
    Disabled(i64),
    /// To `disable`, if the channel is already disabled.
    AlreadyDisabled(i64),
    /// To `enable`.
    Enabled(i64),
    /// To `enable`, if the channel is already enabled.
    AlreadyEnabled(i64),
    /// To `reset`.
    CountersReset(i64),
    /// To `maxc`.
    MaxcChanged(i64, i64),
    /// To `create`.
    ChannelCreated,
    /// To `create`, when the group is full.
    NoSlots,
    /// To `assign`.
    Reassigned,
    /// To `assign`, for a channel in service.
    MustBeDisabled,
    /// To `create` and `assign`.
    InvalidAddress,
    /// To `disable`, `enable` and `reset`.
    NoSuchChannel(i64),
    /// To `maxc`, `assign` and mrtg.
    UnknownChannel,
    /// To mrtg.
    UnknownGroup,
    /// To `group`, and to `maxc` with a limit that is no 32-bit number.
    ValueOutOfRange,
    /// To `hash`, with the group.
    SetToHash(usize),
    /// To `rr`, with the group.
    SetToRoundRobin(usize),
    /// To `kill`.
    ShutdownComplete,
    /// To `kill`, when it did not.
    ShutdownFailed,
    /// To anything that is not understood.
    SyntaxError,
    /// To anything, when there is no instance (any more).
    NoMaster,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled(channel) => write!(f, "channel {channel} disabled"),
            Self::AlreadyDisabled(channel) => write!(f, "channel {channel} already disabled"),
            Self::Enabled(channel) => write!(f, "channel {channel} enabled"),
            Self::AlreadyEnabled(channel) => write!(f, "channel {channel} already enabled"),
            Self::CountersReset(channel) => write!(f, "channel {channel} counters reset"),
            Self::MaxcChanged(channel, maxc) => {
                write!(f, "maxc of channel {channel} changed to {maxc}")
            }
            Self::ChannelCreated => f.write_str("channel created"),
            Self::NoSlots => f.write_str("no channel slots available"),
            Self::Reassigned => f.write_str("channel reassigned"),
            Self::MustBeDisabled => f.write_str("channel must be disabled to assign new address"),
            Self::InvalidAddress => f.write_str("invalid address"),
            Self::NoSuchChannel(channel) => write!(f, "no such channel {channel}"),
            Self::UnknownChannel => f.write_str("unknown channel"),
            Self::UnknownGroup => f.write_str("unknown group"),
            Self::ValueOutOfRange => f.write_str("value out of range"),
            Self::SetToHash(group) => write!(f, "group {group} set to hash"),
            Self::SetToRoundRobin(group) => write!(f, "group {group} set to round robin"),
            Self::ShutdownComplete => f.write_str("shutdown complete, exiting."),
            Self::ShutdownFailed => f.write_str("shutdown failed."),
            Self::SyntaxError => f.write_str("syntax error"),
            Self::NoMaster => f.write_str(NO_MASTER),
        }
    }
}

/// Printed on standard output when there is no instance, with status 69.
pub const NO_MASTER: &str = "no master process, exiting.";

/// As [`NO_MASTER`], when the instance left a trace of itself.
pub fn no_master_with_pid(pid: u32) -> String {
    format!("no master process with pid {pid}, exiting.")
}

/// What the dialogue opens with; [`prompt`] follows.
pub fn banner(pid: u32) -> String {
    format!("\nbalance {VERSION} interactive command shell\nPID of master process is {pid}\n\n")
}

/// The prompt, without a newline.
pub fn prompt(group: usize) -> String {
    format!("balance[{group}] ")
}

/// `show`: a header, and a line per channel; a wide value pushes the rest to the right.
pub fn render_show(rows: &[ShowRow]) -> String {
    let mut text = String::from(
        "GRP Type  #   S       ip-address  port    c      totalc maxc        sent        rcvd\n",
    );
    for row in rows {
        let kind = if row.hash { "Hash" } else { "RR" };
        let state = if row.enabled { "ENA" } else { "dis" };
        text.push_str(&format!(
            "{:3} {kind:>4} {:2} {state} {:>16} {:5} {:4} {:11} {:4} {:11} {:11}\n",
            row.group,
            row.channel,
            row.address,
            row.port,
            row.connections,
            row.total_connections,
            row.maxc,
            row.sent,
            row.received,
        ));
    }
    text
}

/// `mrtg-bytes`: four lines as MRTG's `Target` wants them, received before sent.
pub fn render_mrtg_bytes(row: &ShowRow) -> String {
    mrtg(&row.received.to_string(), &row.sent.to_string(), row)
}

/// `mrtg-conns`: four lines as MRTG's `Target` wants them.
pub fn render_mrtg_conns(row: &ShowRow) -> String {
    mrtg(&row.total_connections.to_string(), "UNKNOWN", row)
}

fn mrtg(first: &str, second: &str, row: &ShowRow) -> String {
    format!("{first}\n{second}\nUNKNOWN\ngroup {} channel {}\n", row.group, row.channel)
}

/// `version`: three lines.
pub fn render_version() -> String {
    format!("  This is balance {VERSION}\n  MAXGROUPS={MAX_GROUPS}\n  MAXCHANNELS={MAX_CHANNELS}\n")
}

/// `help`: the commands, with descriptions from column 34.
pub fn render_help() -> String {
    let mut text = String::from("available commands:\n");
    for (synopsis, meaning) in HELP {
        text.push_str(&format!("  {synopsis:<31}{meaning}\n"));
    }
    text
}

/// Every command with what it does, in the order of `help`; the man page has it too.
pub const HELP: [(&str, &str); 16] = [
    ("create <host> <port>", "add a disabled channel to the current group"),
    ("assign <channel> <host> <port>", "give a disabled channel another address"),
    ("disable <channel>", "give a channel no new clients"),
    ("enable <channel>", "give a channel new clients again"),
    ("group <group>", "make this the current group"),
    ("hash", "let the client's address decide in this group"),
    ("help", "list the commands"),
    ("kill", "stop the proxy; open connections go on"),
    ("maxc <channel> <maxc>", "limit the connections of a channel, 0 for no limit"),
    ("mrtg-bytes <grp> <ch>", "bytes received and sent, for MRTG"),
    ("mrtg-conns <grp> <ch>", "connections, for MRTG"),
    ("quit", "leave this shell"),
    ("reset <channel>", "set the counters of a channel to zero"),
    ("rr", "take the channels of this group in turn"),
    ("show", "list all channels with their counters"),
    ("version", "tell the version and the limits"),
];
