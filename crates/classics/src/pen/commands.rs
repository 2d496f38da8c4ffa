//! Every command of pen, in the one table that parsing, penctl(1) and the reference share.

use super::command::Words;
use super::tls::TlsCommand;
use super::{PenCommand, Switch, Value};

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct CommandRow {
    /// Its word.
    pub name: &'static str,
    /// The arguments after the word. Optional ones are in brackets.
    pub arguments: &'static str,
    /// What is answered; empty for nothing.
    pub reply: &'static str,
    /// What it does, in sentences.
    pub long: &'static str,
    /// Makes the command from the words after its name; `None` if there is only a `no` form.
    pub(super) build: Option<Build>,
    /// Makes it from the words after `no`; `None` if that does nothing.
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
        "Append an entry to access list N, from 0 to 9. The first match decides; without one, \
         the opposite of the last entry applies; an empty list permits. An IPv4 address has a \
         mask, by default 255.255.255.255, or a prefix length; an IPv6 address has a prefix \
         length, by default 128. With no before it, empty the list.",
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
        "For how many seconds a server gets no clients after a connect to it has failed. A \
         change also applies to servers that are blacklisted already.",
        |words| PenCommand::Value(Value::Blacklist, words.number()),
    ),
    row(
        "client_acl",
        "[N]",
        "the number",
        "The access list that decides which clients are served. A number that is not a list \
         counts as 0.",
        |words| PenCommand::Value(Value::ClientAcl, words.number()),
    ),
    row(
        "clients_max",
        "[N]",
        "the number",
        "The maximum number of clients remembered. It never shrinks.",
        |words| PenCommand::Value(Value::ClientsMax, words.number()),
    ),
    row("close", "N", "what was done", "End connection N.", |words| {
        PenCommand::Close(words.number().unwrap_or(0))
    }),
    row(
        "conn_max",
        "[N]",
        "the number",
        "The maximum number of open connections. It never shrinks.",
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
    row("control", "", "the address", "Show the control port's address.", |_| PenCommand::Control),
    row(
        "control_acl",
        "[N]",
        "the number",
        "The access list that decides who may use the control port. A number that is not a list \
         counts as 0.",
        |words| PenCommand::Value(Value::ControlAcl, words.number()),
    ),
    row("debug", "[N]", "the number", "The amount of messages, as with this many -d.", |words| {
        PenCommand::Value(Value::Debug, words.number())
    }),
    row(
        "dsr_if",
        "IF",
        "",
        "Direct server return: what comes in by this interface for the first operand, an address \
         of IPv4 that this machine does not have, is sent on to servers that have it, too. Among \
         the options or in the file only; later it has no effect.",
        |words| words.text().map_or(PenCommand::Nothing, PenCommand::DsrIf),
    ),
    nothing("dsr_ip", "IP", "Accepted without effect."),
    switch(
        "dummy",
        "Answer every client with a small HTTP page, without a server.",
        |_| PenCommand::Switch(Switch::Dummy, true),
        |_| PenCommand::Switch(Switch::Dummy, false),
    ),
    nothing("epoll", "", "Accepted without effect."),
    row("exit", "", "", "End the program, if it was started with -X.", |_| PenCommand::Exit),
    switch(
        "hash",
        "Select a server by the client's address; with roundrobin, by address and port.",
        |_| PenCommand::Switch(Switch::Hash, true),
        |_| PenCommand::Switch(Switch::Hash, false),
    ),
    switch(
        "http",
        "Add the headers X-Forwarded-Proto and X-Forwarded-For to HTTP requests.",
        |_| PenCommand::Switch(Switch::Http, true),
        |_| PenCommand::Switch(Switch::Http, false),
    ),
    row(
        "idle_timeout",
        "[SEC]",
        "`Idle timeout: SEC seconds`",
        "End connections after this many seconds without traffic; 0 for never.",
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
        "Accepted, and remembered. Silent connections are always probed.",
        |_| PenCommand::Switch(Switch::Keepalive, true),
        |_| PenCommand::Switch(Switch::Keepalive, false),
    ),
    nothing("kqueue", "", "Accepted without effect."),
    row(
        "listen",
        "[ADDR]",
        "the address",
        "Listen on another address from now on. Open connections continue.",
        |words| PenCommand::Listen(words.text()),
    ),
    row(
        "log",
        "[FILE|HOST:PORT]",
        "where to, if anywhere",
        "Log what clients send, to a file or as datagrams. A FIFO needs no reader yet. With no \
         before it, stop logging.",
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
    nothing("peek", "", "Accepted without effect.").or_no(|_| PenCommand::Nothing),
    row("pending_max", "[N]", "", "The maximum number of connects in progress, from 1.", |words| {
        PenCommand::Value(Value::PendingMax, words.number())
    }),
    row("pid", "", "the number", "Show the process id.", |_| PenCommand::Pid),
    nothing("poll", "", "Accepted without effect."),
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
        "Choose a server for every connection, even of clients that are remembered.",
        |_| PenCommand::Switch(Switch::Roundrobin, true),
        |_| PenCommand::Switch(Switch::Roundrobin, false),
    ),
    nothing("select", "", "Accepted without effect."),
    row(
        "server",
        "N [KEY VALUE]...",
        "",
        "Change server N, which may be a new one. Keys are acl, address, port, max, hard, \
         blacklist, weight and prio. The address 0.0.0.0 takes it out of use; blacklist skips it \
         for the given number of seconds from now, and 0 ends that.",
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
        "The local address for connections to servers from now on. A bad address ends this.",
        |words| words.text().map_or(PenCommand::Nothing, PenCommand::Source),
    ),
    row(
        "ssl_ciphers",
        "[LIST]",
        "",
        "The ciphers of TLS 1.2, of those with ECDHE and AES-GCM or ChaCha20-Poly1305; without a list, \
         all. At the start only, where a list that allows none of them is an error.",
        |words| PenCommand::Tls(TlsCommand::Ciphers(words.text())),
    ),
    nothing(
        "ssl_client_renegotiation_interval",
        "[SEC]",
        "Accepted without effect: clients cannot renegotiate.",
    ),
    row(
        "ssl_ocsp_response",
        "[FILE]",
        "",
        "The file with the OCSP response for the certificate of -E, in DER. Before the start; it is \
         read again whenever it has changed.",
        |words| PenCommand::Tls(TlsCommand::OcspResponse(words.text())),
    ),
    row(
        "ssl_option",
        "[OPTION]",
        "",
        "Before the start: no_tlsv1.2 leaves only TLS 1.3. SSL 2 and 3 and TLS 1.0 and 1.1 are never \
         spoken, and other options have no effect.",
        |words| PenCommand::Tls(TlsCommand::Option(words.text())),
    ),
    row(
        "ssl_sni_path",
        "[DIR]",
        "",
        "Before the start, with -E: a client that asks for NAME gets the certificate of \
         DIR/NAME.crt with its key in DIR/NAME.key and, if there is one, the OCSP response in \
         DIR/NAME.ocsp. New and changed files are noticed.",
        |words| PenCommand::Tls(TlsCommand::SniPath(words.text())),
    ),
    row(
        "status",
        "",
        "an HTML page",
        "Write the status page to the file of -w or web_stats, and show it.",
        |_| PenCommand::Status,
    ),
    switch(
        "stubborn",
        "Close a client whose server is unavailable, instead of trying others.",
        |_| PenCommand::Switch(Switch::Stubborn, true),
        |_| PenCommand::Switch(Switch::Stubborn, false),
    ),
    row(
        "tarpit_acl",
        "[N]",
        "`tarpit_acl = N`",
        "The access list of addresses to trap connections at, with direct server return; -1 for none.",
        |words| PenCommand::Value(Value::TarpitAcl, words.number()),
    ),
    row(
        "tcp_fastclose",
        "up|down|both|off",
        "",
        "Which end of file ends a connection at once: the server's (up), the client's (down), \
         either one (both), or none (off).",
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
        "For how many seconds to try to connect to a server.",
        |words| PenCommand::Value(Value::Timeout, words.number()),
    ),
    row(
        "tracking",
        "[SEC]",
        "the seconds",
        "For how many seconds a client is remembered with its server; 0 for ever.",
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

impl CommandRow {
    const fn or_no(mut self, negated: Build) -> Self {
        self.negated = Some(negated);
        self
    }
}
