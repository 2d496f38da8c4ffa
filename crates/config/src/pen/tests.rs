//! pen's command line, commands, answers and files, a line per case.

use super::replies::*;
use super::*;
use crate::operand::Services;
use std::net::IpAddr;

const SERVICES: Services<'static> = &|name| match name {
    "smtp" => Some(25),
    "http" => Some(80),
    _ => None,
};
const NAMES: Names<'static> = Names {
    hosts: &|name| match name {
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        "six" => Some("2001:db8::6".parse().unwrap()),
        _ => None,
    },
    services: SERVICES,
};

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().map(|word| if word == "''" { "" } else { word }).collect()
}

/// Starts as the program does; commands are run in their place.
fn start(line: &str) -> Result<PenSettings, PenError> {
    let args = PenArgs::parse("pen", &words(line))?;
    let mut settings = PenSettings::new(&args, |settings, line| {
        run(settings, line);
    });
    let servers = settings.take_listener(&args.operands, NAMES)?;
    settings.take_servers(servers, NAMES)?;
    Ok(settings)
}

/// Runs a command as the program does, and gives what is answered.
fn run(settings: &mut PenSettings, line: &str) -> (String, Vec<String>, Vec<Effect>) {
    let Applied { reply, diagnostics, effects } =
        settings.apply(&PenCommand::parse(line.as_bytes()), NAMES);
    let mut text = reply;
    for effect in &effects {
        match effect {
            Effect::Listen(listen) => text += &settings.set_listen(listen.clone()),
            Effect::Log(log) => text += &settings.set_log(log.clone()),
            Effect::Show(Show::Servers) => text += &servers(settings, &[]),
            _ => {}
        }
    }
    (text, diagnostics, effects)
}

/// Shows what a command line listens on and its servers, or its complaint and status.
#[track_caller]
fn check(line: &str, expected: &str) {
    let seen = match start(line) {
        Ok(settings) => {
            let servers = server_table(&settings)[1..].join(" |");
            format!("{} ->{servers}", settings.to_config().listeners[0].bind)
        }
        Err(error) => {
            let usage = if error.stdout().is_some() { " USAGE" } else { "" };
            format!("{}: {error}{usage}", error.exit_status().code())
        }
    };
    assert_eq!(seen, expected, "for {line:?}");
}

/// Commands one after the other, and the answer to the last one.
#[track_caller]
fn ask(lines: &str, expected: &str) {
    let mut settings = start("127.0.0.1:80 127.0.0.1:81").unwrap();
    let answer = lines.split(';').map(|line| run(&mut settings, line).0).last().unwrap();
    assert_eq!(answer, expected, "for {lines:?}");
}

/// Commands one after the other, and what the last one puts into the log.
#[track_caller]
fn complain(lines: &str, expected: &str) {
    let mut settings = start("127.0.0.1:80 127.0.0.1:81").unwrap();
    let said = lines.split(';').map(|line| run(&mut settings, line).1).last().unwrap();
    assert_eq!(said.join(" / "), expected, "for {lines:?}");
}

#[test]
fn bad_usage_leaves_with_status_0() {
    check("", "0:  USAGE");
    check("-f", "0:  USAGE");
    check("-y 80 a", "0: pen: invalid option -- 'y' USAGE");
    check("-fy 80 a", "0: pen: invalid option -- 'y' USAGE");
    check("--help", "0: pen: invalid option -- '-' USAGE");
    check("-b", "0: pen: option requires an argument -- 'b' USAGE");
    check("-t 0 80", "0:  USAGE");
    check("-t x 80", "0:  USAGE");
    check("-i name 80", "0: Windows only");
    check("-L tls9 80", "1: protocol version tls9 not known");
    assert!(usage().starts_with("usage:\n  pen "));
}

#[test]
fn listening_operands() {
    check("80", "0.0.0.0:80 ->");
    check("127.0.0.1:80", "127.0.0.1:80 ->");
    check("localhost:smtp", "127.0.0.1:25 ->");
    check("::1:2222", "[::1]:2222 ->");
    check("[::1]:2222", "[::1]:2222 ->");
    check(":::2222", "[::]:2222 ->");
    check("[::]:2222", "[::]:2222 ->");
    check("0.0.0.0:80", "0.0.0.0:80 ->");
    check("47002x", "0.0.0.0:47002 ->"); // numbers are read leniently
    check("/run/l", "unix:/run/l ->");
    check("70000", "1: Port 70000 out of range");
    check("127.0.0.1:0", "1: Port 0 out of range");
    check("127.0.0.1:nosuch", "1: Port 0 out of range");
    check("-f -- -3", "1: Port -3 out of range");
    check("''", "1: Port 0 out of range");
    check(":80", "1: Can't convert address ''");
    check("*:80", "1: Can't convert address '*'");
    check("no.such:80", "1: Can't convert address 'no.such'");
}

#[test]
fn server_operands() {
    check(
        "1 127.0.0.1:81:1:2:3:4 127.0.0.1:82:5 127.0.0.1:83:0:6 [127.0.0.2]:84:7:8:9 127.1 [::1]",
        "0.0.0.0:1 -> 0 127.0.0.1:81:1:2:3:4 | 1 127.0.0.1:82:5:0:0:0 | 2 127.0.0.1:83:0:6:0:0 \
         | 3 127.0.0.2:84:7:8:9:0 | 4 127.0.0.1:1:0:0:0:0 | 5 ::1:1:0:0:0:0",
    );
    check("1 [::1]:81:3:4:5:6", "0.0.0.0:1 -> 0 ::1:81:3:4:5:6");
    check("1 localhost:http:9", "0.0.0.0:1 -> 0 127.0.0.1:80:9:0:0:0");
    // Reading stops at the first field that is empty or no number.
    check("7 127.0.0.1::5", "0.0.0.0:7 -> 0 127.0.0.1:7:0:0:0:0");
    check("7 127.0.0.1:90:x:5", "0.0.0.0:7 -> 0 127.0.0.1:90:0:0:0:0");
    check("7 127.0.0.1:90:5x:6", "0.0.0.0:7 -> 0 127.0.0.1:90:5:0:0:0");
    check("7 127.0.0.1:80x:7", "0.0.0.0:7 -> 0 127.0.0.1:80:7:0:0:0");
    check("7 127.0.0.1:81:-3:+4::", "0.0.0.0:7 -> 0 127.0.0.1:81:-3:4:0:0");
    // An unknown port is never used.
    check("7 127.0.0.1:x:6", "0.0.0.0:7 -> 0 127.0.0.1:0:6:0:0:0");
    check("7 /s.sock:5:6 /b", "0.0.0.0:7 -> 0 /s.sock:1:6:0:0:0 | 1 /b:1:0:0:0:0");
    check("7 no.such:80", "1: unknown or invalid address [no.such]");
    check("7 ::1", "1: unknown or invalid address []");
    check("-e no.such 7", "1: unknown or invalid address [no.such]");
    check("-B no.such 7", "1: unknown or invalid address [no.such]");
}

#[test]
fn what_this_version_does_not_do_is_refused() {
    let refusal = |what| format!("1: {what}, which this version of Evenkeel does not do yet; ");
    for (line, what) in [
        ("-E /c.pem 80", "-E asks for TLS"),
        ("-U 80", "-U asks for UDP"),
        ("-O dsr_if_eth0 80", "dsr_if asks for direct server return"),
    ] {
        let line = line.replace("dsr_if_", "dsr_if ");
        let words: Vec<&str> = match line.strip_prefix("-O ") {
            Some(_) => vec!["-O", "dsr_if eth0", "80"],
            None => line.split(' ').collect(),
        };
        let args = PenArgs::parse("pen", &words).unwrap();
        let mut settings = PenSettings::new(&args, |settings, line| {
            run(settings, line);
        });
        let error = settings.take_listener(&args.operands, NAMES).unwrap_err();
        let seen = format!("{}: {error}", error.exit_status().code());
        assert!(seen.starts_with(&refusal(what)), "{seen}");
    }
    // Without -E these have no effect.
    check("-Z -L tls1 -R -G /g -A /a -K /k 80", "0.0.0.0:80 ->");
}

#[test]
fn getters_and_setters() {
    ask("blacklist", "30\n");
    ask("blacklist 5x", "5\n");
    ask("blacklist -5", "-5\n");
    ask("blacklist abc", "0\n");
    ask("timeout", "3\n");
    ask("timeout 0", "0\n");
    ask("tracking -4", "-4\n");
    ask("debug -2", "-2\n");
    ask("clients_max", "2048\n");
    ask("clients_max -1", "2048\n");
    ask("clients_max 3000;clients_max 20", "3000\n");
    ask("conn_max", "500\n");
    ask("conn_max -1", "500\n");
    ask("conn_max 600;conn_max", "600\n");
    ask("client_acl 9", "9\n");
    ask("client_acl 10", "0\n");
    ask("client_acl -1", "0\n");
    ask("client_acl 3x", "3\n");
    ask("control_acl 12", "0\n");
    ask("idle_timeout", "Idle timeout: 0 seconds\n");
    ask("idle_timeout 7;idle_timeout", "Idle timeout: 7 seconds\n");
    ask("idle_timeout -4", "Idle timeout: 0 seconds\n");
    ask("idlers 3", "Idlers: 0/0\n");
    ask("pending_max 50", "");
    ask("control", "");
    ask("listen", "127.0.0.1:80\n");
    ask("listen 127.0.0.1:82;listen", "127.0.0.1:82\n");
    ask("listen 127.0.0.1:99999", "127.0.0.1:80\n");
    ask("log", "");
    ask("log /l;log", "/l\n");
    ask("log h:514;log", "h:514\n");
    ask("log /l;no log;log", "");
    ask("web_stats", "");
    ask("web_stats /w;web_stats", "/w\n");
    ask("web_stats /w;no web_stats;web_stats", "");
    ask("mode", "no hash no roundrobin no stubborn no weight no prio\n");
    ask("hash;stubborn;prio;no hash;mode", "no hash no roundrobin stubborn no weight prio\n");
    ask("status", "Unable to create webstats\n");
    ask("exit", "Exit is not enabled; restart with -X flag\n");
    ask("close 0", "Forcibly closing connection 0\n");
    ask("close", "Forcibly closing connection 0\n");
    ask("close 500", "Connection 500 out of range\n");
    ask("close -1", "Connection -1 out of range\n");
    ask("connection 500", "Connection 500 out of range\n");
    ask("source localhost", "");
    ask("source 1.2.3.400", "unable to set source address to '1.2.3.400'");
    ask("tarpit_acl", "tarpit_acl = -1");
    ask("tarpit_acl 3", "tarpit_acl = -1");
    ask("tcp_fastclose", "do_cmd: ignoring tcp_fastclose without argument\n");
    ask("tcp_fastclose bogus", "");
}

#[test]
fn lines_are_read_as_pen_reads_them() {
    ask("xyzzy", "do_cmd: ignoring command starting with 'xyzzy'\n");
    ask("Mode", "do_cmd: ignoring command starting with 'Mode'\n");
    ask("mode\tx", "do_cmd: ignoring command starting with 'mode\tx'\n");
    ask("block", "do_cmd: ignoring command starting with 'block'\n");
    ask("delayed_forward on", "do_cmd: ignoring command starting with 'delayed_forward'\n");
    ask("  blacklist   7  extra words\r\n", "7\n");
    ask("blacklist\nmode\n", "30\n");
    for quiet in [
        "",
        "\n",
        "# comment",
        "#comment",
        "no",
        "no block",
        "no delayed_forward",
        "no such-thing",
        "acl",
        "acl 1",
        "acl 1 bogus 1.2.3.4",
        "acl 1 permit bogus",
        "no acl",
        "no acl 99",
        "server",
        "server -1",
        "include",
        "peek",
        "no peek",
        "dummy",
        "no dummy",
        "epoll",
        "poll",
        "select",
        "kqueue",
        "ascii",
        "no ascii",
        "keepalive",
        "http",
        "no http",
        "transparent",
        "source",
        "ssl_ocsp_response",
        "ssl_client_renegotiation_interval",
        "dsr_ip 1.2.3.4",
        "abort_on_error",
        "tcp_nodelay",
        "tcp_fastclose up",
        "pending_max 50",
        "dsr_if",
    ] {
        ask(quiet, "");
    }
}

#[test]
fn bad_arguments_are_told_to_the_log() {
    complain("acl 1 permit bogus", "acl: bogus address 'bogus'");
    complain("acl 1 permit 300.1.1.1", "acl: bogus address '300.1.1.1'");
    complain("acl 1 permit 10.0.0.0 xx", "acl: bogus mask 'xx'");
    complain("acl 1 permit 10.0.0.0/33", "acl: bogus address '10.0.0.0/33'");
    complain("acl 1 permit ::/129", "acl: bogus prefix length '::/129'");
    complain("acl 1 permit country S", "acl: expected country");
    complain("acl 1 permit country", "acl: expected country");
    complain("acl 11 permit 1.2.3.4", "acl: list 11 is not from 0 to 9");
    complain("no acl 99", "no acl: list 99 is not from 0 to 9");
    complain("server 0 address no.such", "unknown or invalid address [no.such]");
    complain("server 70000 port 1", "server 70000: there can be 65536 servers");
    complain("listen no.such:80", "Can't convert address 'no.such'");
    complain("write", "write: no file");
    complain("mode", "");
}
