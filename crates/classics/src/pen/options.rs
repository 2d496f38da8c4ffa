//! The options of pen(1), in the one table that parsing, usage text and man page share.

use crate::classic::{OptionRow, flag, value};

/// Every option, in the order of the usage text.
pub const OPTIONS: [OptionRow; 42] = [
    value(
        'A',
        "dir",
        None,
        "directory of CA certificates",
        "A directory of certificates in hashed form that client certificates are checked against. \
         Without -E there is nothing to check, and it changes nothing.",
    ),
    value(
        'B',
        "host[:port]",
        None,
        "where clients go that may not be served",
        "The abuse server: clients that the client access list denies are sent there instead of \
         being refused. Access list 0 holds for it as for any server.",
    ),
    value(
        'C',
        "[addr:]port",
        None,
        "listen for penctl(1) here, or on /path",
        "Where penctl(1) is listened for: a port, an address and a port, or the path of a Unix \
         socket. Started by root, -u must be given too.",
    ),
    flag('D', "accepted; changes nothing", OBSOLETE),
    value(
        'E',
        "file",
        None,
        "TLS certificate; not in this version",
        "The certificate of a TLS listener. This version does not do TLS towards clients and \
         refuses to start with it.",
    ),
    value(
        'F',
        "file",
        None,
        "commands to start with, read again on HUP",
        "A file of commands as penctl(1) takes them, one to a line. It is read at the start and \
         again on the signal HUP, each time in one step, and it is where the command write puts \
         the settings. At the start it may be a pipe that ends within 10 seconds.",
    ),
    value(
        'G',
        "file",
        None,
        "file of CA certificates",
        "As -A, with all certificates in one file.",
    ),
    flag(
        'H',
        "tell servers the client's address in HTTP headers",
        "Give HTTP requests the headers X-Forwarded-Proto and X-Forwarded-For, unless they have \
         them already.",
    ),
    value(
        'K',
        "file",
        None,
        "key of the TLS certificate",
        "The private key that belongs to the certificate of -E. Without -E it changes nothing.",
    ),
    value(
        'L',
        "protocol",
        Some("ssl23"),
        "oldest TLS protocol: ssl23, ssl2, ssl3 or tls1",
        "Without -E it changes nothing, but the name must be one of these.",
    ),
    flag(
        'N',
        "as -h -r",
        "The same as -h -r: the client's address and port decide, and nothing is remembered.",
    ),
    value(
        'O',
        "command",
        None,
        "carry out a command now",
        "Carry out a command of penctl(1) at this place among the options; its answer goes to \
         standard output.",
    ),
    flag(
        'P',
        "accepted; changes nothing",
        "Accepted for the sake of old scripts. The original chose poll(2) with it.",
    ),
    flag('Q', "accepted; changes nothing", OBSOLETE),
    flag(
        'R',
        "require client certificates",
        "Serve only clients with a valid certificate. Without -E it changes nothing.",
    ),
    value('S', "n", None, "accepted; changes nothing", OBSOLETE),
    value(
        'T',
        "sec",
        Some("0"),
        "how long a client is remembered, 0 for ever",
        "How many seconds after its last connection began a client is remembered with its server.",
    ),
    flag(
        'U',
        "balance UDP; not in this version",
        "Balance UDP datagrams. This version does not do it and refuses to start with it.",
    ),
    flag(
        'W',
        "choose servers by weight",
        "A new client gets the server with the fewest connections for its weight; servers of \
         weight 0 get none.",
    ),
    flag('X', "allow the command exit", "Let penctl(1) end the program with the command exit."),
    flag('Z', "TLS compatibility mode", "Accepted; nothing needs it any more."),
    flag(
        'a',
        "dump traffic as text instead of hexadecimal",
        "Show the traffic that -ddd dumps as text, with a point for what cannot be printed.",
    ),
    value(
        'b',
        "sec",
        Some("30"),
        "leave a server out this long after a failure",
        "For how many seconds a server gets no clients after a connect to it failed; 0 for none.",
    ),
    value(
        'c',
        "n",
        Some("2048"),
        "how many clients are remembered",
        "How many clients are remembered. When there are more, the one seen longest ago goes.",
    ),
    flag(
        'd',
        "tell what is going on; repeat for more",
        "Once: the table of servers, and what happens to them. Three times: dumps of all traffic \
         on standard error, in the foreground only.",
    ),
    value(
        'e',
        "host[:port]",
        None,
        "emergency server",
        "Where clients go when no other server can take them.",
    ),
    flag('f', "stay in the foreground", "Stay in the foreground, and tell on standard error."),
    flag(
        'h',
        "choose servers by the client's address",
        "A new client gets a server by its address; with -r, every connection by address and port.",
    ),
    value(
        'i',
        "name",
        None,
        "Windows only",
        "A service name on Windows. Elsewhere it says so and leaves.",
    ),
    value(
        'j',
        "dir",
        None,
        "root directory to take (chroot)",
        "Make this the root directory before giving up privileges. Paths used later are seen from \
         inside: log, pid file, status page and configuration.",
    ),
    value(
        'l',
        "file",
        None,
        "log what clients send, to a file or host:port",
        "Write a line for every piece of data that a client sends, to a file or as datagrams to \
         penlogd(1) at host:port.",
    ),
    value(
        'm',
        "n",
        Some("100"),
        "accepted; changes nothing",
        "How many clients the original accepts at a time. Less than 1 is answered with a remark.",
    ),
    flag('n', "accepted; changes nothing", OBSOLETE),
    value('o', "command", None, "as -O", "The same as -O."),
    value(
        'p',
        "file",
        None,
        "write the process id to this file",
        "Where the process id is written, without a newline; removed at the end.",
    ),
    value(
        'q',
        "n",
        Some("500"),
        "accepted; changes nothing",
        "How many clients may wait to be accepted, which here is as many as the system allows. Less \
         than 50 is answered with a remark.",
    ),
    flag(
        'r',
        "do not let clients return to their server",
        "Choose for every connection anew, also for clients that are remembered.",
    ),
    flag(
        's',
        "no other server when the chosen one fails",
        "Close a client whose server cannot be used instead of trying others.",
    ),
    value(
        't',
        "sec",
        Some("3"),
        "give up connecting to a server after this long",
        "How many seconds an attempt to connect to a server may take, from 1.",
    ),
    value('u', "user", None, "run as this user", "Become this user once everything is open."),
    value(
        'w',
        "file",
        None,
        "HTML status page",
        "Where the HTML status page is written on the signal USR1 and the command status.",
    ),
    value(
        'x',
        "n",
        Some("500"),
        "connections at one time",
        "How many connections there may be at one time; then clients wait to be accepted.",
    ),
];

/// How to call it. Scripts look for the word in front only.
pub const SYNOPSIS: [&str; 6] = [
    r"pen [-C [addr:]port] [-F file] [-e host[:port]] [-B host[:port]] \",
    r"      [-b sec] [-c n] [-t sec] [-T sec] [-x n] [-j dir] [-u user] \",
    r"      [-l file] [-p file] [-w file] [-O command] [-HNWXadfhrs] \",
    r"      [host:]port | /path \",
    r"      h1[:p1[:soft1[:hard1[:weight1[:prio1]]]]] \",
    r"      [h2[:p2[:soft2[:hard2[:weight2[:prio2]]]]]] ...",
];

/// A way to use it, for the usage text and the man page.
pub const EXAMPLE: &str = "pen -r 80 app1:8080 app2:8080:100";

/// What bad usage is answered with, on standard output.
pub fn usage() -> String {
    let mut text = String::from("usage:\n");
    for line in SYNOPSIS {
        text.push_str(&format!("  {line}\n"));
    }
    text.push('\n');
    for option in &OPTIONS {
        let head = option.head();
        let default = option.default.map(|default| format!(" [{default}]")).unwrap_or_default();
        text.push_str(&format!("  {head:<16}{}{default}\n", option.short));
    }
    text.push_str(&format!("\nexample:\n  {EXAMPLE}\n\n"));
    text
}

/// The remark on an option that means nothing any more.
pub(super) fn obsolete_remark(letter: char) -> Option<String> {
    let reason = match letter {
        'D' => "Data is always passed on as it comes,",
        'n' => "Sockets never block,",
        'Q' => "The system's own way of waiting for events is used,",
        'S' => "The table of servers grows as needed,",
        _ => return None,
    };
    Some(format!("{reason}\nmaking the -{letter} option obsolete"))
}

const OBSOLETE: &str = "Accepted with a remark for the sake of old scripts.";
