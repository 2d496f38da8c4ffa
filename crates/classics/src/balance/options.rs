//! The options of balance(1), in the one table that parsing, usage text and man page share.

use super::VERSION;
use crate::classic::{OptionRow, flag, value};

/// Every option, in the order of the usage text.
pub const OPTIONS: [OptionRow; 13] = [
    flag(
        '6',
        "listen on an IPv6 socket, for IPv4 clients too",
        "Listen on an IPv6 socket that also accepts IPv4 clients; they appear as ::ffff:a.b.c.d. \
         Not possible together with an IPv4 address in -b.",
    ),
    flag(
        'a',
        "disable a channel that cannot be reached",
        "Disable a channel whose connect fails, until it is enabled by hand. Two lines report \
         this, on standard error or to syslog.",
    ),
    value(
        'b',
        "host",
        None,
        "listen on this address only",
        "Listen on this address only, and use this text as part of the instance's name for -i \
         and -c. An IPv6 address listens on IPv6.",
    ),
    value(
        'B',
        "host",
        None,
        "connect to channels from this local address",
        "The local address for outgoing connections, resolved once at the start. An address that \
         this machine does not have is ignored.",
    ),
    value(
        'c',
        "cmd",
        None,
        "send one command to a running instance",
        "Run one command of the control shell on a running instance, print the answer and exit.",
    ),
    flag(
        'd',
        "tell on standard error what is going on",
        "Report on standard error which channel each client gets, and why. A daemon has no \
         standard error and reports nothing.",
    ),
    flag(
        'f',
        "stay in the foreground",
        "Stay in the foreground. Without this option, the program continues in the background \
         once the port is bound and the channels are understood.",
    ),
    flag(
        'i',
        "control a running instance by dialogue",
        "Open the control shell of the running instance with this port and the same -b text.",
    ),
    flag(
        'H',
        "let clients of an unusable hashed channel move on",
        "In a hash group, try the next channel if the client's channel is disabled, full or does \
         not answer. Without this option, such a client goes to the next group.",
    ),
    flag(
        'M',
        "accepted; changes nothing",
        "Accepted without effect, for old scripts. In the original it selects the kind of shared \
         memory.",
    ),
    flag(
        'p',
        "dump all data to standard output",
        "Write each block of data to standard output in readable form. Has no effect in a \
         daemon, and is slow, because data then does not pass through kernel pipes.",
    ),
    value(
        't',
        "sec",
        Some("5"),
        "give up connecting to a channel after sec seconds",
        "For how many seconds to try to connect to a channel, from 1.",
    ),
    value(
        'T',
        "sec",
        Some("0"),
        "end connections idle for sec seconds",
        "End a connection after this many seconds without data in either direction, from 1. \
         Without this option, never.",
    ),
];

/// The separators among the channels, as the usage text describes them.
pub const SEPARATORS: [(char, &str); 2] = [
    ('!', "ends a group: its channels are taken in turn"),
    ('%', "ends a group: its channels are chosen by the client's address"),
];

/// The three ways to call it. Scripts look for these lines.
pub const SYNOPSES: [&str; 4] = [
    r"balance [-b addr] [-B addr] [-t sec] [-T sec] [-adfpHM] \",
    r"        port [h1[:p1[:maxc1]] [!%] [ ... hN[:pN[:maxcN]]]]",
    "balance [-b addr] -i [-d] port",
    "balance [-b addr] -c cmd  [-d] port",
];

/// Ways to use it, for the usage text and the man page.
pub const EXAMPLES: [&str; 4] = [
    "balance 80 app1 app2:8080           two servers in turn",
    "balance -f smtp mx1::50 ! mx2       50 connections to mx1, the rest to mx2",
    "balance -6 80 app1 app2 %           the same client, the same server",
    "balance -c \"disable 1\" 80           take app2 out of service",
];

/// What bad usage is answered with, on standard error.
pub fn usage() -> String {
    let mut text = format!("  this is balance {VERSION}\n\nusage:\n");
    for line in SYNOPSES {
        text.push_str(&format!("  {line}\n"));
    }
    text.push('\n');
    for option in &OPTIONS {
        let head = option.head();
        let default = option.default.map(|default| format!(" (default={default})"));
        text.push_str(&format!("  {head:<10}{}{}\n", option.short, default.unwrap_or_default()));
    }
    for (separator, meaning) in SEPARATORS {
        text.push_str(&format!("   {separator:<9}{meaning}\n"));
    }
    text.push_str("\nexamples:\n");
    for example in EXAMPLES {
        text.push_str(&format!("  {example}\n"));
    }
    text.push('\n');
    text
}
