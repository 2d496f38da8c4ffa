//! IPv6 clients are as many as they are, and IPv4 clients of an IPv6 listener are IPv4 clients.

use crate::support::{Backend, Client, End, Place, Program, port, skip_unless, until};
use crate::{Pen, as_oneself, is_root};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;

/// `pen` on the wildcard of both families; like [`Pen::start`] otherwise.
#[track_caller]
fn dual_stack(options: &str, servers: &str) -> Pen {
    let (place, listen, control) = (Place::new(), port(), port());
    let me = as_oneself();
    let words = format!("-f {me} -C 127.0.0.1:{control} {options} :::{listen} {servers}");
    let mut program = Program::spawn(&mut place.command("pen", &words));
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, listen.number()));
    until("pen to listen", || {
        assert!(!program.has_ended(), "it ended: {:?}", program.log.all());
        std::net::TcpListener::bind(address).is_err()
    });
    Pen { program, port: listen, control, place }
}

#[test]
fn fault_11_mapped_addresses_are_ipv4_addresses() {
    if skip_unless(crate::support::has_ipv6(), "this machine has no ::1") {
        return;
    }
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let pen = dual_stack("-h", &format!("{a} {b} {c}"));
    // From the hash of IPv4 addresses over three servers.
    let hashed = [([127, 0, 0, 1], "c"), ([127, 0, 0, 2], "a"), ([127, 0, 0, 3], "b")];
    for (client, expected) in hashed.into_iter().chain([([127, 0, 2, 1], "b")]) {
        assert_eq!(pen.ask_from(client), expected, "{client:?}");
    }
    let recent = pen.ctl("recent");
    assert!(recent.starts_with("127.0.0.1 connects 1 "), "{recent}");
    assert!(!recent.contains("ffff"), "{recent}");
    pen.set(&["acl 1 deny 127.0.0.2"]);
    assert_eq!(pen.ctl("client_acl 1"), "1\n");
    assert!(["eof", "reset"].contains(&pen.ask_from([127, 0, 0, 2]).as_str()));
    assert_eq!(pen.ask_from([127, 0, 0, 3]), "b");
}

#[test]
fn fault_11_so_are_they_in_headers_and_logs() {
    if skip_unless(crate::support::has_ipv6(), "this machine has no ::1") {
        return;
    }
    let (echo, logs) = (Backend::echo(), Place::new());
    let log = logs.file("log");
    let pen = dual_stack(&format!("-H -l {}", log.display()), &format!("{echo}"));
    let client = pen.connect_from([127, 0, 0, 5]);
    client.send("GET /x HTTP/1.0\r\n\r\n");
    client.finish();
    let text = String::from_utf8(client.rest().0).unwrap();
    assert!(text.contains("X-Forwarded-For: 127.0.0.5\r\n"), "{text}");
    until("the log", || fs::read_to_string(&log).is_ok_and(|text| text.contains("GET /x")));
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("127.0.0.5 "), "{text}");
}

/// Runs the next test where there are IPv6 addresses to choose from.
#[test]
fn fault_11_ipv6_clients_are_told_apart() {
    let unshare = || Command::new("unshare").args(["-n", "true"]).status();
    let can = is_root() && unshare().is_ok_and(|status| status.success());
    if skip_unless(can, "needs root and a network namespace") {
        return;
    }
    let setup = "ip link set lo up && ip addr add 192.0.2.1/32 dev lo && for n in 1 2 3 4 5 6; do \
                 ip -6 addr add 2001:db8::$n/128 dev lo nodad || exit 9; done; exec \"$0\" \"$@\"";
    let status = Command::new("unshare")
        .args(["-n", "sh", "-c", setup])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "ipv6::in_a_namespace", "--ignored", "--nocapture"])
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "run by the test before it, in a network namespace with addresses"]
fn in_a_namespace() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let pen = dual_stack("", &format!("{a} {b} {c}"));
    let address = |host: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host);
    let ask = |host| {
        let to = SocketAddr::from((address(1), pen.port.number()));
        let client = Client::connect_from(IpAddr::from(address(host)), to);
        let name = client.line();
        client.finish();
        assert_eq!(client.end(), End::Eof);
        name
    };
    // Everyone is new, and remembered.
    assert_eq!([2, 3, 4, 5, 2, 3, 4, 5].map(ask), ["b", "c", "a", "b", "b", "c", "a", "b"]);
    let recent = pen.ctl("recent");
    assert_eq!(recent.lines().count(), 4, "{recent}");
    assert!(recent.starts_with("2001:db8::2 connects 2 "), "{recent}");

    // Lists compare the whole address.
    pen.set(&["acl 1 deny 2001:db8::2", "acl 2 permit 2001:db8::/126"]);
    assert_eq!(pen.ctl("client_acl 1"), "1\n");
    assert!(["eof", "reset"].contains(&ask(2).as_str()));
    assert_eq!(ask(3), "c");
    assert_eq!(pen.ctl("client_acl 2"), "2\n");
    assert_eq!(ask(3), "c");
    assert!(["eof", "reset"].contains(&ask(5).as_str()));

    // An IPv4 client beside them is somebody else.
    assert_eq!(pen.ctl("client_acl 3"), "3\n");
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, pen.port.number()));
    let client = Client::connect_from(IpAddr::from([127, 0, 0, 2]), to);
    assert_eq!(client.line(), "c");
}
