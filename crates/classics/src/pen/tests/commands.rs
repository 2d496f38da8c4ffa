//! Commands, their answers, and what they do to the servers.

use super::*;

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
    ask("tarpit_acl 3", "tarpit_acl = 3");
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
    complain("source kept", "source kept: only an address will do");
    complain("write", "write: no file");
    complain("mode", "");
}

/// What commands make of the table of servers.
#[track_caller]
fn table(lines: &str, expected: &str) {
    let mut settings = start("127.0.0.1:80 127.0.0.1:81").unwrap();
    for line in lines.split(';') {
        run(&mut settings, line);
    }
    let seen = server_table(&settings)[1..].join(" |");
    assert_eq!(seen, expected, "for {lines:?}");
}

#[test]
fn servers_are_changed_by_pairs_in_any_order() {
    table("server 0 max 9 hard 11 weight 4 prio 5", " 0 127.0.0.1:81:9:11:4:5");
    table("server 0 max", " 0 127.0.0.1:81:0:0:0:0");
    table("server 0 nonsense 3 weight 6", " 0 127.0.0.1:81:0:0:6:0");
    table("server 0 max -3 hard x weight -2 prio -9", " 0 127.0.0.1:81:-3:0:-2:-9");
    table("server abc max 77", " 0 127.0.0.1:81:77:0:0:0");
    table("server 1x port 7", " 0 127.0.0.1:81:0:0:0:0 | 1 0.0.0.0:7:0:0:0:0");
    table("server -1 port 7", " 0 127.0.0.1:81:0:0:0:0");
    table("server 1 port 82 address ::1", " 0 127.0.0.1:81:0:0:0:0 | 1 ::1:82:0:0:0:0");
    table(
        "server 1 port 82;server 1 address 127.1",
        " 0 127.0.0.1:81:0:0:0:0 | 1 127.0.0.1:82:0:0:0:0",
    );
    table("server 0 address localhost", " 0 127.0.0.1:81:0:0:0:0");
    table("server 0 address [::1]", " 0 ::1:81:0:0:0:0");
    table("server 0 address no.such max 3", " 0 127.0.0.1:81:3:0:0:0");
    table("server 0 address /s port 7", " 0 /s:1:0:0:0:0");
    table("server 0 address /s;server 0 address 127.0.0.2", " 0 127.0.0.2:0:0:0:0:0");
    table("server 0 address /s;server 0 port 7 address 127.0.0.2", " 0 127.0.0.2:7:0:0:0:0");
    table("server 0 port 99999", " 0 127.0.0.1:0:0:0:0:0");
    table("server 0 port http", " 0 127.0.0.1:0:0:0:0:0");
    table("server 99999999 port 1", " 0 127.0.0.1:81:0:0:0:0");
    ask(
        "server 1 address ::1 port 82 max 9;servers",
        "0 addr 127.0.0.1 port 81 conn 0 max 0 hard 0 weight 0 prio 0 sx 0 rx 0\n1 addr ::1 port 82 conn 0 max 9 hard 0 weight 0 prio 0 sx 0 rx 0\n",
    );
}

#[test]
fn a_server_is_left_out_by_command() {
    let mut settings = start("80 127.0.0.1").unwrap();
    let effects = |settings: &mut PenSettings, line| run(settings, line).2;
    let out = |server, seconds| Effect::Quarantine { server, seconds };
    assert_eq!(
        effects(&mut settings, "server 1 blacklist 9 address 127.0.0.2"),
        [Effect::Reconfigure, out(1, 9)]
    );
    assert_eq!(effects(&mut settings, "server 1 blacklist -9"), [Effect::Reconfigure, out(1, 0)]);
}

#[test]
fn only_names_are_looked_up() {
    let names = |line: &str| PenCommand::parse(line.as_bytes()).hosts_to_resolve().join(" ");
    assert_eq!(names("server 0 address a address b.example port 7"), "a b.example");
    assert_eq!(
        names("server 0 address 127.1 address ::1 address [::1] address /a address x/y"),
        ""
    );
    assert_eq!(names("source a"), "a");
    assert_eq!(names("source 10.0.0.1"), "");
    assert_eq!(names("listen a:80"), "a");
    assert_eq!(names("listen ::1:80"), "");
    assert_eq!(names("listen 80"), "");
    assert_eq!(names("listen /a:b"), "");
    assert_eq!(names("mode"), "");
}
