//! Commands that must be answered or ignored, and never cost more than an answer.

use crate::Pen;
use crate::support::{Backend, Client, Place, ask, port};
use std::fs;

#[test]
fn fault_7_no_command_ends_the_program() {
    let a = Backend::named("a");
    let place = Place::new();
    let itself = place.file("itself.cfg");
    fs::write(&itself, format!("blacklist 31\ninclude {}\nblacklist 32\n", itself.display()))
        .unwrap();
    let mut pen = Pen::start_in(place, "-r", &format!("{a}"));
    let include = format!("include {}", itself.display());
    let commands = [
        "idlers 5",
        "idlers",
        "idlers -1",
        "idlers 2000000000",
        "idlers 0",
        "no acl",
        "no",
        "acl",
        "acl 0",
        "source",
        "ssl_ocsp_response",
        "ssl_client_renegotiation_interval",
        "ssl_ciphers",
        "ssl_option",
        "ssl_sni_path",
        &include,
        "include",
        "include /nonexistent",
        "server 2000000000 address 127.0.0.1 port 1",
        "server 2147483647 max 1",
        "server 99999999999999999999 max 1",
        "server -1 max 1",
        "server",
        "server x",
        "conn_max -1",
        "conn_max 2147483647",
        "servers",
        "close 2147483646",
        "clients_max -1",
        "clients_max 2000000000",
        "pending_max 0",
        "pending_max -5",
        "timeout 0",
        "timeout 3",
        "tracking -1",
        "tracking 0",
        "blacklist -1",
        "blacklist 30",
        "debug -1",
        "debug 0",
        "recent -1",
        "connection -1",
        "connection 2000000000",
        "close -1",
        "close 2000000000",
        "socket -1",
        "socket 2000000000",
        "acl 1 permit ::1/200",
        "acl 1 permit ::1/-5",
        "acl 1 permit ::1/x",
        "acl 1 permit 1.2.3.4 5",
        "acl 1 permit country",
        "acl 1 deny country S",
        "acl 99999 permit ::1",
        "tarpit_acl 77",
        "tarpit_acl -1",
        "dsr_if",
        "dsr_if nonexistent0",
        "dsr_ip",
        "web_stats",
        "status",
        "write",
        "write /nonexistent/x",
        "tcp_fastclose",
        "kqueue",
        "select",
        "poll",
        "epoll",
    ];
    for command in commands {
        pen.ctl(command);
        pen.check_alive();
        assert_eq!(ask(&pen.port), "a", "after {command}");
    }
    assert!(pen.memory() < 200_000, "{} kB", pen.memory());
    assert!(pen.ctl("servers").len() < 1_000_000, "no line per invented server");
}

#[test]
fn fault_7_a_negative_table_size_is_no_size() {
    let a = Backend::named("a");
    for options in ["-x -1", "-c -1", "-x 0 -c 0", "-q -1", "-m -1"] {
        let mut pen = Pen::start(options, &format!("{a}"));
        assert_eq!(pen.ask(3), "a a a", "{options}");
        pen.check_alive();
    }
}

#[test]
fn fault_7_dummy_needs_no_server() {
    let mut pen = Pen::start("", "");
    pen.set(&["dummy"]);
    for _ in 0..3 {
        let client = Client::connect(&pen.port);
        client.send("GET / HTTP/1.0\r\n\r\n");
        let answer = String::from_utf8(client.rest().0).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Length: 15"), "{head}");
        assert_eq!(body.len(), 15);
    }
    pen.set(&["no dummy"]);
    assert!(["eof", "reset"].contains(&pen.ask(1).as_str()));
    pen.check_alive();
}

#[test]
fn fault_18_empty_slots_can_be_written_and_read_back() {
    let [a, b] = ["a", "b"].map(Backend::named);
    let place = Place::new();
    let file = place.file("written.cfg");
    let pen = Pen::start_in(place, "-r", &format!("{a}"));
    pen.set(&[
        &format!("server 4 address 127.0.0.1 port {} max 7 hard 9", b.port()),
        &format!("write {}", file.display()),
    ]);
    let servers = pen.ctl("servers");
    assert!(!servers.contains("unknown"), "{servers}");
    let lines: Vec<_> = servers.lines().collect();
    assert_eq!(lines.len(), 5, "{servers}");
    for (empty, line) in lines.iter().enumerate().take(4).skip(1) {
        assert!(line.starts_with(&format!("{empty} addr 0.0.0.0 port 0 ")), "{servers}");
    }
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("unknown"), "{text}");
    let written: Vec<_> = text.lines().filter(|line| line.starts_with("server ")).collect();
    assert_eq!(written.len(), 2, "{text}");
    assert_eq!(
        written[1],
        format!("server 4 acl 0 address 127.0.0.1 port {} max 7 hard 9", b.port())
    );
    for _ in 0..6 {
        assert!(["a", "b"].contains(&pen.ask(1).as_str()));
    }

    let again = Pen::start(&format!("-F {}", file.display()), "");
    let (first, second) = (pen.ctl("servers"), again.ctl("servers"));
    let names = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" conn ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&first), names(&second));
    assert!(again.ctl("mode").contains("no hash roundrobin"), "{}", again.ctl("mode"));
    for _ in 0..6 {
        assert!(["a", "b"].contains(&again.ask(1).as_str()));
    }
}

#[test]
fn fault_20_event_methods_are_accepted_and_change_nothing() {
    let a = Backend::named("a");
    for method in ["select", "poll", "epoll", "kqueue"] {
        let mut pen = Pen::start(&format!("-P -O {method} -x 2000"), &format!("{a}"));
        assert_eq!(pen.ctl("conn_max"), "2000\n", "{method}");
        assert_eq!(pen.ask(2), "a a", "{method}");
        pen.set(&[method]);
        assert_eq!(pen.ask(2), "a a", "{method}");
        pen.check_alive();
    }
}

#[test]
fn fault_25_a_listening_address_that_cannot_be_had_changes_nothing() {
    let a = Backend::named("a");
    let mut pen = Pen::start("", &format!("{a}"));
    let held = Client::connect(&pen.port);
    held.expect("a\n");
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().unwrap();
    let to = [
        &busy.to_string(),
        "127.0.0.1:0",
        "127.0.0.1:99999",
        "no.such.host.invalid:80",
        "192.0.2.1:8080",
        "127.0.0.1:nosuchservice",
        "/nonexistent/socket",
        ":",
    ];
    for address in to {
        pen.ctl(&format!("listen {address}"));
        pen.check_alive();
        assert_eq!(ask(&pen.port), "a", "{address}");
    }
    if !crate::is_root() {
        pen.ctl("listen 127.0.0.1:1");
        assert_eq!(ask(&pen.port), "a");
    }
    assert_eq!(pen.ctl("listen"), format!("127.0.0.1:{}\n", pen.port));
    held.send("still here");
    held.expect("still here");
    let other = port();
    pen.ctl(&format!("listen 127.0.0.1:{other}"));
    assert_eq!(ask(&other), "a");
}

#[test]
fn fault_33_the_order_of_words_does_not_matter() {
    let a = Backend::named("a");
    let pen = Pen::start("-r", &format!("{a}"));
    pen.set(&[
        "server 3 port 81 address ::1",
        "server 4 address ::1 port 81",
        "server 5 prio 2 port 82 max 3 address 127.0.0.9 hard 4 weight 5",
    ]);
    assert_eq!(pen.server(3)[1..5].join(" "), "addr ::1 port 81");
    assert_eq!(pen.server(4)[1..5].join(" "), "addr ::1 port 81");
    assert_eq!(
        pen.server(5)[1..15].join(" "),
        "addr 127.0.0.9 port 82 conn 0 max 3 hard 4 weight 5 prio 2"
    );
    pen.set(&["server 3 address 127.0.0.8"]);
    assert_eq!(pen.server(3)[1..5].join(" "), "addr 127.0.0.8 port 81");
}

#[test]
fn what_ctl_and_penctl_change_stays_whatever_the_other_does() {
    let [a, b] = ["a", "b"].map(Backend::named);
    let pen = Pen::start("-r", &format!("{a} {b}"));
    let admin = |index| pen.place.backend(0, index)["admin"].clone();
    pen.place.ctl("disable 0.1").check(0);
    for command in ["blacklist 5", "server 0 max 3", "tracking 9", "prio"] {
        pen.ctl(command);
    }
    assert_eq!(admin(1), "disabled");
    assert_eq!(pen.ask(3), "a a a");
    assert_eq!(pen.place.backend(0, 0)["sessions_max"], 3);
    // And what penctl said, ctl does not take back.
    pen.place.ctl("limit 0.1 9").check(0);
    pen.place.ctl("enable 0.1").check(0);
    assert_eq!(pen.place.backend(0, 0)["sessions_max"], 3);
    pen.set(&["server 0 address 0.0.0.0"]);
    assert_eq!((admin(0), admin(1)), ("disabled".into(), "enabled".into()));
    assert_eq!(pen.ask(2), "b b");
    pen.place.ctl("drain 0.1").check(0);
    assert_eq!(admin(0), "disabled");
    assert_eq!(pen.place.backend(0, 1)["sessions_max"], 9);
    // penctl calls servers by their numbers, so all must stay.
    let refused = pen.place.ctl("remove 0.0").check(1).stderr;
    assert!(refused.contains("0.0 cannot be removed"), "{refused}");
}
