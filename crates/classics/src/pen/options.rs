//! The options of pen(1), in the one table that parsing, usage text and man page share.

use crate::classic::{OptionRow, flag, value};

/// Every option, in the order of the usage text.
pub const OPTIONS: [OptionRow; 42] = [
    value(
        'A',
        "dir",
        None,
        "directory of CA certificates",
        "A directory of certificates of authorities. With -R, one of them must have signed a \
         client's certificate.",
    ),
    value(
        'B',
        "host[:port]",
        None,
        "where to send denied clients",
        "The abuse server. Clients that the client access list denies are sent there instead of \
         being refused. Access list 0 applies to it as to any server.",
    ),
    value(
        'C',
        "[addr:]port",
        None,
        "listen for penctl(1) here, or on /path",
        "The control port for penctl(1): a port, an address and a port, or the path of a Unix \
         socket. If root starts pen, -u must be given, too.",
    ),
    flag('D', "accepted; changes nothing", OBSOLETE),
    value(
        'E',
        "file",
        None,
        "TLS certificate",
        "End TLS with clients with this certificate (PEM), followed by those between it and the \
         root. Servers are spoken to in plain text. TLS 1.2 and 1.3, and nothing older.",
    ),
    value(
        'F',
        "file",
        None,
        "commands to start with, read again on HUP",
        "A file of commands of penctl(1), one per line. It is applied at the start and again on \
         the signal HUP, each time in one step. The command write puts the settings there. At \
         the start it may be a pipe that ends within 10 seconds.",
    ),
    value(
        'G',
        "file",
        None,
        "file of CA certificates",
        "Like -A, with all certificates in one file.",
    ),
    flag(
        'H',
        "tell servers the client's address in HTTP headers",
        "Add the headers X-Forwarded-Proto and X-Forwarded-For to HTTP requests that do not have \
         them.",
    ),
    value(
        'K',
        "file",
        None,
        "key of the TLS certificate",
        "The private key of the certificate of -E, by default in the same file.",
    ),
    value(
        'L',
        "protocol",
        Some("ssl23"),
        "oldest TLS protocol: ssl23, ssl2, ssl3 or tls1",
        "Accepted, and the name must be valid. With all of them, TLS 1.2 and 1.3 are spoken, and \
         nothing older.",
    ),
    flag(
        'N',
        "as -h -r",
        "Like -h -r: the client's address and port select the server, and nothing is remembered.",
    ),
    value(
        'O',
        "command",
        None,
        "carry out a command now",
        "Carry out a command of penctl(1) at this point among the options. Its answer goes to \
         standard output.",
    ),
    flag(
        'P',
        "accepted; changes nothing",
        "Accepted for old scripts. In the original it selects poll(2).",
    ),
    flag('Q', "accepted; changes nothing", OBSOLETE),
    flag(
        'R',
        "require client certificates",
        "With -E: serve only clients with a certificate by an authority of -G or -A, or else of the \
         system.",
    ),
    value('S', "n", None, "accepted; changes nothing", OBSOLETE),
    value(
        'T',
        "sec",
        Some("0"),
        "how long a client is remembered, 0 for ever",
        "For how many seconds after its last connection began a client is remembered with its \
         server; 0 for no limit.",
    ),
    flag(
        'U',
        "balance UDP",
        "Balance UDP datagrams instead of TCP connections. Each address and port of a client is a \
         session with a server of its own, chosen as for TCP. It ends after idle_timeout, or two \
         minutes, of silence. A server that refuses datagrams is left out as for TCP.",
    ),
    flag(
        'W',
        "choose servers by weight",
        "A new client gets the server with the fewest connections for its weight. Servers of \
         weight 0 get none.",
    ),
    flag(
        'X',
        "allow the command exit",
        "Allow penctl(1) to end the program with the command \
     exit.",
    ),
    flag('Z', "TLS compatibility mode", "Accepted without effect."),
    flag(
        'a',
        "dump traffic as text instead of hexadecimal",
        "Show the traffic dumped by -ddd as text, with a dot for each byte that cannot be \
         printed.",
    ),
    value(
        'b',
        "sec",
        Some("30"),
        "leave a server out this long after a failure",
        "For how many seconds a server gets no clients after a connect to it has failed; 0 \
         disables this.",
    ),
    value(
        'c',
        "n",
        Some("2048"),
        "how many clients are remembered",
        "The maximum number of clients remembered. When the table is full, the least recently \
         seen client is dropped.",
    ),
    flag(
        'd',
        "tell what is going on; repeat for more",
        "Given once: print the table of servers, and what happens to them. Given three times: \
         dump all traffic to standard error, in the foreground only.",
    ),
    value(
        'e',
        "host[:port]",
        None,
        "emergency server",
        "The emergency server, used when no other server is available.",
    ),
    flag(
        'f',
        "stay in the foreground",
        "Stay in the foreground, and write messages to standard \
     error.",
    ),
    flag(
        'h',
        "choose servers by the client's address",
        "The address of a new client selects its server; with -r, address and port of every \
         connection do.",
    ),
    value(
        'i',
        "name",
        None,
        "Windows only",
        "A service name on Windows. On other systems, pen says so and exits.",
    ),
    value(
        'j',
        "dir",
        None,
        "root directory to take (chroot)",
        "Change the root directory to this one before giving up privileges. Paths used later are \
         relative to it: log, pid file, status page and configuration.",
    ),
    value(
        'l',
        "file",
        None,
        "log what clients send, to a file or host:port",
        "Write a line for each piece of data that a client sends, to a file, or as datagrams to \
         penlogd(1) at host:port.",
    ),
    value(
        'm',
        "n",
        Some("100"),
        "accepted; changes nothing",
        "Accepted without effect. In the original: how many clients are accepted at a time. Less \
         than 1 gives a warning.",
    ),
    flag('n', "accepted; changes nothing", OBSOLETE),
    value('o', "command", None, "as -O", "Like -O."),
    value(
        'p',
        "file",
        None,
        "write the process id to this file",
        "Write the process id to this file, without a newline. The file is removed at the end.",
    ),
    value(
        'q',
        "n",
        Some("500"),
        "accepted; changes nothing",
        "Accepted without effect: as many clients may wait to be accepted as the system allows. \
         Less than 50 gives a warning.",
    ),
    flag(
        'r',
        "do not let clients return to their server",
        "Choose a server for every connection, even of clients that are remembered.",
    ),
    flag(
        's',
        "no other server when the chosen one fails",
        "Close a client whose server is unavailable, instead of trying others.",
    ),
    value(
        't',
        "sec",
        Some("3"),
        "give up connecting to a server after this long",
        "For how many seconds to try to connect to a server, from 1.",
    ),
    value('u', "user", None, "run as this user", "Change to this user once everything is open."),
    value(
        'w',
        "file",
        None,
        "HTML status page",
        "The file to which the HTML status page is written on the signal USR1 and by the command \
         status.",
    ),
    value(
        'x',
        "n",
        Some("500"),
        "connections at one time",
        "The maximum number of open connections. Further clients wait to be accepted.",
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

const OBSOLETE: &str = "Accepted with a warning, for old scripts.";
