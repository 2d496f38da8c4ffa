//! Every command of pen, in the one table that parsing, penctl(1) and the reference share.

use super::command::Words;
use super::{PenCommand, Switch, Value};

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct CommandRow {
    /// Its word.
    pub name: &'static str,
    /// What stands behind the word; what may be left out is in brackets.
    pub arguments: &'static str,
    /// What is answered; empty for nothing.
    pub reply: &'static str,
    /// What it does, in sentences.
    pub long: &'static str,
    /// Makes the command of the words behind its name; `None` where there is only a `no` form.
    pub(super) build: Option<Build>,
    /// The same behind `no`; `None` where that does nothing.
    pub(super) negated: Option<Build>,
}

impl CommandRow {
    /// Whether there is a form with `no` in front.
    pub fn is_negatable(&self) -> bool {
        self.negated.is_some()
    }
}

pub(super) type Build = fn(&mut Words<'_>) -> PenCommand;

/// Every command, by name.
pub const COMMANDS: [CommandRow; 55] = [
    switch(
        "abort_on_error",
        "Accepted, and remembered. The original dumps core instead of ending with status 1.",
        |_| PenCommand::Switch(Switch::AbortOnError, true),
        |_| PenCommand::Switch(Switch::AbortOnError, false),
    ),
    row(
        "acl",
        "N permit|deny ADDR [MASK] | ADDR/LEN | country XX",
        "",
        "Append an entry to access list N, from 0 to 9. The first entry that matches a client \
         decides; if none does, the opposite of the last entry holds; an empty list permits. An \
         IPv4 address has a mask, by default 255.255.255.255, or a prefix length; an IPv6 \
         address a prefix length, by default 128. With no in front, empty the list.",
        |words| words.acl(),
    )
    .or_no(|words| words.number().map_or(PenCommand::Nothing, PenCommand::ClearAcl)),
    switch(
        "ascii",
        "Show the traffic that is dumped as text instead of hexadecimal.",
        |_| PenCommand::Switch(Switch::Ascii, true),
        |_| PenCommand::Switch(Switch::Ascii, false),
    ),
    row(
        "blacklist",
        "[SEC]",
        "the seconds",
        "For how many seconds a server gets no clients after a connect to it failed. A change \
         holds for servers that are out already, too.",
        |words| PenCommand::Value(Value::Blacklist, words.number()),
    ),
    row(
        "client_acl",
        "[N]",
        "the number",
        "Which access list says who may be served. A number that is no list is taken for 0.",
        |words| PenCommand::Value(Value::ClientAcl, words.number()),
    ),
    row(
        "clients_max",
        "[N]",
        "the number",
        "How many clients are remembered; it never shrinks.",
        |words| PenCommand::Value(Value::ClientsMax, words.number()),
    ),
    row("close", "N", "what was done", "End connection N.", |words| {
        PenCommand::Close(words.number().unwrap_or(0))
    }),
    row(
        "conn_max",
        "[N]",
        "the number",
        "How many connections there may be at one time; it never shrinks.",
        |words| PenCommand::Value(Value::ConnMax, words.number()),
    ),
    row(
        "connection",
        "N",
        "five lines",
        "Show connection N: its state, descriptors, client, server, and bytes on the way. States \
         are 0 for none, 1 connecting, 2 connected, 6 the server has finished, 10 the client has.",
        |words| PenCommand::Connection(words.number().unwrap_or(0)),
    ),
    row("control", "", "the address", "Show where penctl(1) is listened for.", |_| {
        PenCommand::Control
    }),
    row(
        "control_acl",
        "[N]",
        "the number",
        "Which access list says who may use the control port. A number that is no list is taken \
         for 0.",
        |words| PenCommand::Value(Value::ControlAcl, words.number()),
    ),
    row("debug", "[N]", "the number", "How much is told, as with that many -d.", |words| {
        PenCommand::Value(Value::Debug, words.number())
    }),
    row(
        "dsr_if",
        "IF",
        "",
        "Direct server return through an interface. This version does not do it: with it among \
         the options or in the file the start is refused, later it changes nothing.",
        |words| words.text().map_or(PenCommand::Nothing, PenCommand::DsrIf),
    ),
    nothing("dsr_ip", "IP", "Accepted; changes nothing."),
    switch(
        "dummy",
        "Answer every client with a small HTTP page, and ask no server.",
        |_| PenCommand::Switch(Switch::Dummy, true),
        |_| PenCommand::Switch(Switch::Dummy, false),
    ),
    nothing("epoll", "", "Accepted; changes nothing."),
    row("exit", "", "", "End the program, if it was started with -X.", |_| PenCommand::Exit),
    switch(
        "hash",
        "Choose a server by the client's address; with roundrobin, by address and port.",
        |_| PenCommand::Switch(Switch::Hash, true),
        |_| PenCommand::Switch(Switch::Hash, false),
    ),
    switch(
        "http",
        "Give HTTP requests the headers X-Forwarded-Proto and X-Forwarded-For.",
        |_| PenCommand::Switch(Switch::Http, true),
        |_| PenCommand::Switch(Switch::Http, false),
    ),
    row(
        "idle_timeout",
        "[SEC]",
        "`Idle timeout: SEC seconds`",
        "End connections without traffic for so many seconds; 0 for never.",
        |words| PenCommand::Value(Value::IdleTimeout, words.number()),
    ),
    row(
        "idlers",
        "[N]",
        "`Idlers: 0/0`",
        "Accepted; no idle connections to servers are kept.",
        |words| PenCommand::Value(Value::Idlers, words.number()),
    ),
    row(
        "include",
        "FILE",
        "",
        "Carry out the commands of a file in one step. Their answers go to standard output. Only \
         regular files are read, of at most 16 MiB with all that they include.",
        |words| words.text().map_or(PenCommand::Nothing, PenCommand::Include),
    ),
    switch(
        "keepalive",
        "Accepted, and remembered. Connections that are silent are always watched over.",
        |_| PenCommand::Switch(Switch::Keepalive, true),
        |_| PenCommand::Switch(Switch::Keepalive, false),
    ),
    nothing("kqueue", "", "Accepted; changes nothing."),
    row(
        "listen",
        "[ADDR]",
        "the address",
        "Listen somewhere else from now on. Open connections go on.",
        |words| PenCommand::Listen(words.text()),
    ),
    row(
        "log",
        "[FILE|HOST:PORT]",
        "where to, if anywhere",
        "Log what clients send, to a file or as datagrams. A FIFO needs no reader yet. With no in \
         front, stop.",
        |words| PenCommand::Log(words.text()),
    )
    .or_no(|_| PenCommand::NoLog),
    row(
        "mode",
        "",
        "one line",
        "Show which of hash, roundrobin, stubborn, weight and prio are on.",
        |_| PenCommand::Mode,
    ),
    nothing("peek", "", "Accepted; changes nothing.").or_no(|_| PenCommand::Nothing),
    row(
        "pending_max",
        "[N]",
        "",
        "How many connects to servers may be under way at one time, from 1.",
        |words| PenCommand::Value(Value::PendingMax, words.number()),
    ),
    row("pid", "", "the number", "Show the process id.", |_| PenCommand::Pid),
    nothing("poll", "", "Accepted; changes nothing."),
    switch(
        "prio",
        "Choose the server with the lowest prio.",
        |_| PenCommand::Switch(Switch::Prio, true),
        |_| PenCommand::Switch(Switch::Prio, false),
    ),
    row(
        "recent",
        "[SEC]",
        "a line per client",
        "Show the clients that connected within the last SEC seconds, by default 300.",
        |words| PenCommand::Recent(words.number()),
    ),
    switch(
        "roundrobin",
        "Choose for every connection anew, also for clients that are remembered.",
        |_| PenCommand::Switch(Switch::Roundrobin, true),
        |_| PenCommand::Switch(Switch::Roundrobin, false),
    ),
    nothing("select", "", "Accepted; changes nothing."),
    row(
        "server",
        "N [KEY VALUE]...",
        "",
        "Change server N, which may be a new one. Keys are acl, address, port, max, hard, \
         blacklist, weight and prio. The address 0.0.0.0 takes it out of use; blacklist leaves it \
         out for so many seconds from now, and 0 ends that.",
        |words| words.server(),
    ),
    row(
        "servers",
        "",
        "a line per server",
        "Show the servers: address, port, connections, limits, weight, prio, and bytes sent to \
         (sx) and received from (rx) the server.",
        |_| PenCommand::Servers,
    ),
    row(
        "socket",
        "N",
        "one line",
        "Show which connection descriptor N belongs to, -1 for none.",
        |words| PenCommand::Socket(words.number().unwrap_or(0)),
    ),
    row(
        "source",
        "IP",
        "a complaint about a bad address",
        "The local address of connections to servers from now on; a bad address ends that.",
        |words| words.text().map_or(PenCommand::Nothing, PenCommand::Source),
    ),
    tls("ssl_ciphers", "[LIST]", |_| PenCommand::Tls("ssl_ciphers")),
    tls("ssl_client_renegotiation_interval", "[SEC]", |_| PenCommand::Nothing),
    tls("ssl_ocsp_response", "[FILE]", |_| PenCommand::Tls("ssl_ocsp_response")),
    tls("ssl_option", "[OPTION]", |_| PenCommand::Tls("ssl_option")),
    tls("ssl_sni_path", "[DIR]", |_| PenCommand::Tls("ssl_sni_path")),
    row(
        "status",
        "",
        "an HTML page",
        "Write the status page to the file of -w or web_stats, and show it.",
        |_| PenCommand::Status,
    ),
    switch(
        "stubborn",
        "Close a client whose server cannot be used instead of trying others.",
        |_| PenCommand::Switch(Switch::Stubborn, true),
        |_| PenCommand::Switch(Switch::Stubborn, false),
    ),
    row(
        "tarpit_acl",
        "[N]",
        "`tarpit_acl = -1`",
        "Which access list says whom to trap. This version has no tarpit.",
        |words| PenCommand::Value(Value::TarpitAcl, words.number()),
    ),
    row(
        "tcp_fastclose",
        "up|down|both|off",
        "",
        "Whose end of data ends a connection at once: the server's (up), the client's (down), \
         either's (both), or nobody's.",
        |words| PenCommand::TcpFastclose(words.text()),
    ),
    switch(
        "tcp_nodelay",
        "Accepted, and remembered. Data is always sent without delay.",
        |_| PenCommand::Switch(Switch::TcpNodelay, true),
        |_| PenCommand::Switch(Switch::TcpNodelay, false),
    ),
    row(
        "timeout",
        "[SEC]",
        "the seconds",
        "How many seconds an attempt to connect to a server may take.",
        |words| PenCommand::Value(Value::Timeout, words.number()),
    ),
    row(
        "tracking",
        "[SEC]",
        "the seconds",
        "How long a client is remembered with its server; 0 for ever.",
        |words| PenCommand::Value(Value::Tracking, words.number()),
    ),
    switch(
        "transparent",
        "Connect to servers from the client's own address. Needs the capability CAP_NET_ADMIN.",
        |_| PenCommand::Switch(Switch::Transparent, true),
        |_| PenCommand::Switch(Switch::Transparent, false),
    ),
    row(
        "web_stats",
        "[FILE]",
        "the file, if any",
        "Where the status page is written. With no in front, nowhere.",
        |words| PenCommand::WebStats(words.text()),
    )
    .or_no(|_| PenCommand::NoWebStats),
    switch(
        "weight",
        "Choose the server with the fewest connections for its weight.",
        |_| PenCommand::Switch(Switch::Weight, true),
        |_| PenCommand::Switch(Switch::Weight, false),
    ),
    row(
        "write",
        "[FILE]",
        "",
        "Write the settings as a file for -F, by default to the file that was given there.",
        |words| PenCommand::Write(words.text()),
    ),
];

const fn row(
    name: &'static str,
    arguments: &'static str,
    reply: &'static str,
    long: &'static str,
    build: Build,
) -> CommandRow {
    CommandRow { name, arguments, reply, long, build: Some(build), negated: None }
}

const fn switch(name: &'static str, long: &'static str, on: Build, off: Build) -> CommandRow {
    row(name, "", "", long, on).or_no(off)
}

const fn nothing(name: &'static str, arguments: &'static str, long: &'static str) -> CommandRow {
    row(name, arguments, "", long, |_| PenCommand::Nothing)
}

const fn tls(name: &'static str, arguments: &'static str, build: Build) -> CommandRow {
    row(name, arguments, "", "TLS, which this version does not do; it changes nothing.", build)
}

impl CommandRow {
    const fn or_no(mut self, negated: Build) -> Self {
        self.negated = Some(negated);
        self
    }
}
