//! What pen reports of its state: replies that depend on the running instance, the report of
//! USR1, the status page, the traffic log, and dumps.
//!
//! Scripts parse these texts, so they are the original's. Facts come as plain values.

use super::{PenServer, PenSettings};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

/// The run-time facts of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// Open connections.
    pub connections: u64,
    /// Bytes that clients sent to it.
    pub sent: u64,
    /// Bytes that it sent.
    pub received: u64,
    /// When it last failed, in seconds since the epoch; 0 for never. After a command that skips
    /// the server for T seconds, it is now + T - `blacklist`.
    pub failed_at: i64,
}

/// A place in the table of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// The place.
    pub number: usize,
    /// 0 for none, 1 connecting, 2 connected, 6 the server has finished, 10 the client has.
    pub state: u32,
    /// The descriptor towards the client; -1 for none.
    pub downfd: i32,
    /// The descriptor towards the server; -1 for none.
    pub upfd: i32,
    /// The client's slot in the table of clients.
    pub client: i64,
    /// The server's number: -1 for the emergency server, -2 for the abuse server.
    pub server: i64,
    /// Bytes on the way to the client.
    pub pending_down: u64,
    /// Bytes on the way to the server.
    pub pending_up: u64,
}

/// A row of the table of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientFacts {
    /// The slot.
    pub slot: usize,
    /// Who; `None`, shown as nothing, for all clients of Unix sockets together.
    pub address: Option<IpAddr>,
    /// Seconds since its last connection began.
    pub age: u64,
    /// The server it is remembered with.
    pub server: Option<usize>,
    /// Connections begun.
    pub connects: u64,
    /// Bytes sent to it.
    pub sent: u64,
    /// Bytes received from it.
    pub received: u64,
}

/// Everything that a report shows.
#[derive(Clone, Copy, Debug)]
pub struct StatusFacts<'a> {
    /// The time, as [`super::Clock`] has it.
    pub now: &'a str,
    /// The number of the server that was used last.
    pub current: usize,
    /// By number; servers without facts have none but zeros.
    pub servers: &'a [ServerFacts],
    /// By slot.
    pub clients: &'a [ClientFacts],
    /// Connections that are not in state 0, by number.
    pub connections: &'a [ConnectionFacts],
    /// The place in the table of connections that was used last.
    pub last: usize,
}

/// The answer to `servers`.
pub fn servers(settings: &PenSettings, facts: &[ServerFacts]) -> String {
    let mut text = String::new();
    for (number, server, facts) in rows(settings, facts) {
        let PenServer { address, port, max, hard, weight, prio, .. } = server;
        let ServerFacts { connections, sent, received, .. } = facts;
        let _ = writeln!(
            text,
            "{number} addr {address} port {port} conn {connections} max {max} hard {hard} \
             weight {weight} prio {prio} sx {sent} rx {received}"
        );
    }
    text
}

/// The answer to `connection N`.
pub fn connection(facts: &ConnectionFacts) -> String {
    let ConnectionFacts { number, state, downfd, upfd, client, server, .. } = facts;
    let pending = facts.pending_down + facts.pending_up;
    format!(
        "Connection {number}:\nstate = {state}\ndownfd = {downfd}, upfd = {upfd}\n\
         client = {client}, server = {server}\npend = {pending}\n"
    )
}

/// The answer to `socket N`, given the place of its connection.
pub fn socket(number: i32, connection: Option<usize>) -> String {
    match connection {
        Some(connection) => format!("Socket {number} belongs to connection {connection}\n"),
        None => format!("Socket {number} belongs to connection -1\n"),
    }
}

/// The answer to `pid`.
pub fn pid(pid: u32) -> String {
    format!("{pid}\n")
}

/// The answer to `recent`: those of the clients that are not older.
pub fn recent(clients: &[ClientFacts], seconds: u32) -> String {
    let mut text = String::new();
    for client in clients.iter().filter(|client| client.age <= seconds.into()) {
        let ClientFacts { connects, sent, received, .. } = client;
        let address = shown(client.address);
        let _ = writeln!(text, "{address} connects {connects} sx {sent} rx {received}");
    }
    text
}

/// The messages of `-d` at the start.
pub fn server_table(settings: &PenSettings) -> Vec<String> {
    let line = |(number, server): (usize, &PenServer)| {
        let PenServer { address, port, max, hard, weight, prio, .. } = server;
        format!("{number:2} {address}:{port}:{max}:{hard}:{weight}:{prio}")
    };
    let servers = settings.servers().iter().enumerate().map(line);
    std::iter::once("servers:".to_owned()).chain(servers).collect()
}

/// The messages of USR1 if there is no status page. Some have several lines and end with an
/// empty one.
pub fn usr1_report(settings: &PenSettings, facts: &StatusFacts<'_>) -> Vec<String> {
    let count = settings.servers().len();
    let mut messages =
        vec![format!("Time {}, {count} servers, {} current", facts.now, facts.current)];
    for (number, server, facts) in rows(settings, facts.servers) {
        let PenServer { address, port, max, hard, .. } = server;
        let ServerFacts { connections, sent, received, failed_at } = facts;
        messages.push(format!(
            "Server {number} status:\naddress {address}\n{failed_at}\nport {port}\n{connections} \
             connections ({max} soft, {hard} hard)\n{sent} sent, {received} received\n"
        ));
    }
    messages.push(format!("Max number of clients: {}", settings.clients_max));
    messages.push("Active clients:".to_owned());
    for client in facts.clients {
        let ClientFacts { slot, age, connects, sent, received, .. } = client;
        let (address, server) = (shown(client.address), remembered(client.server));
        messages.push(format!(
            "Client {slot} status:\naddress {address}\nlast used {age}\nlast server {server}\n\
             connects  {connects}\nsent  {sent}\nreceived  {received}\n"
        ));
    }
    messages.push(format!("Max number of connections: {}", settings.conn_max));
    messages.push("Active connections:".to_owned());
    for connection in facts.connections {
        let ConnectionFacts { number, downfd, upfd, client, server, .. } = connection;
        let ConnectionFacts { pending_down: down, pending_up: up, .. } = connection;
        messages.push(format!(
            "Connection {number} status:\ndownfd = {downfd}, upfd = {upfd}\n\
             pending data {down} down, {up} up\nclient {client}, server {server}\n"
        ));
    }
    messages
}

/// The status page: the answer to `status`, and what goes to the file of `web_stats`.
pub fn html_status(settings: &PenSettings, facts: &StatusFacts<'_>) -> String {
    let count = settings.servers().len();
    let mut page = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>Pen status page</title>\n",
    );
    page.push_str(STYLE);
    page.push_str("</head>\n<body>\n<h1>Pen status page</h1>\n");
    let _ = writeln!(page, "Time {}, {count} servers, {} current<p>", facts.now, facts.current);
    let heads = [
        "server",
        "address",
        "status",
        "port",
        "connections",
        "max soft",
        "max hard",
        "sent",
        "received",
        "weight",
        "prio",
    ];
    let servers = rows(settings, facts.servers).map(|(number, server, facts)| {
        let numbers = [facts.sent.to_string(), facts.received.to_string()];
        let limits = [server.max, server.hard].map(|limit| limit.to_string());
        let mut cells = vec![number.to_string(), escaped(&server.address.to_string()).into_owned()];
        cells.extend([facts.failed_at.to_string(), server.port.to_string()]);
        cells.push(facts.connections.to_string());
        cells.extend(limits);
        cells.extend(numbers);
        cells.extend([server.weight.to_string(), server.prio.to_string()]);
        cells
    });
    table(&mut page, &heads, servers);

    let _ = writeln!(page, "<h2>Active clients</h2>");
    let _ = writeln!(page, "Max number of clients: {}<p>", settings.clients_max);
    let heads = ["client", "address", "age(secs)", "last server", "connects", "sent", "received"];
    let clients = facts.clients.iter().map(|client| {
        let numbers = [client.connects, client.sent, client.received];
        let mut cells = vec![client.slot.to_string(), shown(client.address)];
        cells.extend([client.age.to_string(), remembered(client.server)]);
        cells.extend(numbers.map(|number| number.to_string()));
        cells
    });
    table(&mut page, &heads, clients);

    let _ = writeln!(page, "<h2>Active connections</h2>");
    let (most, used, last) = (settings.conn_max, facts.connections.len(), facts.last);
    let _ = writeln!(page, "Number of connections: {most} max, {used} used, {last} last<p>");
    let heads = [
        "connection",
        "downfd",
        "upfd",
        "pending data down",
        "pending data up",
        "client",
        "server",
    ];
    let connections = facts.connections.iter().map(|connection| {
        let mut cells = vec![connection.number.to_string()];
        cells.extend([connection.downfd, connection.upfd].map(|fd| fd.to_string()));
        let pending = [connection.pending_down, connection.pending_up];
        cells.extend(pending.map(|bytes| bytes.to_string()));
        cells.extend([connection.client, connection.server].map(|number| number.to_string()));
        cells
    });
    table(&mut page, &heads, connections);
    page.push_str("</body>\n</html>\n");
    page
}

fn table(page: &mut String, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    page.push_str("<table>\n<tr>\n");
    for head in heads {
        let _ = writeln!(page, "<th bgcolor=\"#dddddd\">{head}</th>");
    }
    page.push_str("</tr>\n");
    for row in rows {
        page.push_str("<tr>\n");
        for cell in row {
            let _ = writeln!(page, "<td>{cell}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

/// A line of the log file: one for every piece of data that a client sent.
pub fn log_line(client: Option<IpAddr>, epoch_seconds: u64, server: &str, data: &[u8]) -> Vec<u8> {
    let mut line = format!("{} {epoch_seconds} {server} ", shown(client)).into_bytes();
    let text = &data[..data.len().min(LOGGED_BYTES)];
    line.extend(first_line(text).iter().map(|&byte| if byte > 127 { b'.' } else { byte }));
    line.push(b'\n');
    line
}

/// The same as a datagram for penlogd(1).
pub fn log_datagram(client: Option<IpAddr>, server: &str, data: &[u8]) -> Vec<u8> {
    let mut datagram = format!("+ {} {server} ", shown(client)).into_bytes();
    datagram.extend_from_slice(first_line(&data[..data.len().min(LONGEST_DATAGRAM)]));
    datagram.truncate(LONGEST_DATAGRAM - 1);
    datagram.push(b'\n');
    datagram
}

fn first_line(data: &[u8]) -> &[u8] {
    let end = data.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    &data[..end.unwrap_or(data.len())]
}

/// What `-ddd` shows of one read, with its line end.
pub fn dump(data: &[u8], ascii: bool) -> String {
    let mut text = format!("{}: ", data.len());
    text.reserve(data.len() * if ascii { 1 } else { 3 } + 1);
    for &byte in data {
        match byte {
            _ if !ascii => {
                let _ = write!(text, "{byte:02x} ");
            }
            b' '..=b'~' | b'\r' | b'\n' => text.push(char::from(byte)),
            _ => text.push('.'),
        }
    }
    text.push('\n');
    text
}

fn rows<'a>(
    settings: &'a PenSettings,
    facts: &'a [ServerFacts],
) -> impl Iterator<Item = (usize, &'a PenServer, ServerFacts)> {
    let facts = facts.iter().copied().chain(std::iter::repeat(ServerFacts::default()));
    settings.servers().iter().zip(facts).enumerate().map(|(n, (server, facts))| (n, server, facts))
}

fn shown(client: Option<IpAddr>) -> String {
    client.map(|address| address.to_string()).unwrap_or_default()
}

/// The number of a client's server; -1 as the original has it for none.
fn remembered(server: Option<usize>) -> String {
    server.map_or_else(|| "-1".to_owned(), |server| server.to_string())
}

fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"']) {
        return Cow::Borrowed(text);
    }
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    Cow::Owned(text.replace('"', "&quot;"))
}

/// How the status page looks; who takes it apart looks at the cells alone.
const STYLE: &str = "<style>\n\
    body { font-family: sans-serif; margin: 2em; color: #222; }\n\
    h1 { font-size: 1.4em; } h2 { font-size: 1.1em; margin-top: 2em; }\n\
    table { border-collapse: collapse; }\n\
    th, td { border: 1px solid #bbb; padding: .25em .7em; text-align: right; }\n\
    td { font-variant-numeric: tabular-nums; }\n\
    td:nth-child(2) { text-align: left; }\n\
    tr:hover td { background: #f3f6fa; }\n\
    </style>\n";
const LOGGED_BYTES: usize = 100;
const LONGEST_DATAGRAM: usize = 1024;
