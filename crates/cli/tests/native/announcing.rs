//! `--accept-proxy` and `--send-proxy`: who the client is, by the PROXY protocol.

use crate::support::{Backend, Client, End, PATIENCE, Place, Port, ask_from, connect_from, port};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};

const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\
    \xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb";

/// The first line that a client gets which says this.
#[track_caller]
fn ask_saying(port: &Port, bytes: impl AsRef<[u8]>) -> String {
    let client = Client::connect(port);
    client.send(bytes);
    client.line()
}

/// A backend that reports everything a client sent.
fn listening() -> (Backend, Receiver<String>) {
    let (seen, sees) = channel();
    let backend = Backend::new(move |client| {
        let _ = seen.send(String::from_utf8_lossy(&client.rest().0).into_owned());
    });
    (backend, sees)
}

#[test]
fn the_log_and_the_sessions_name_the_client_and_the_proxy() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{port} {a} --accept-proxy 127.0.0.0/8"));
    let proxy = connect_from(&port, [127, 0, 0, 9]);
    let own = proxy.0.local_addr().unwrap();
    proxy.send(LINE);
    assert_eq!(proxy.line(), "a");
    let sessions = place.ctl("sessions --json").check(0).stdout;
    assert!(sessions.contains("\"client\": \"192.0.2.7:56324\""), "{sessions}");
    assert!(sessions.contains(&format!("\"peer\": \"{own}\"")), "{sessions}");
    let wide = place.ctl("sessions --wide").check(0).stdout;
    assert!(wide.contains("192.0.2.7:56324") && wide.contains(&own.to_string()), "{wide}");
    drop(proxy);
    let line = evenkeel.log.wait("session ended");
    assert!(line.contains(&format!(" client=192.0.2.7:56324 peer={own} backend=")), "{line}");
    // A proxy's own connection, such as a probe, is nobody else's.
    assert_eq!(ask_saying(&port, "PROXY UNKNOWN\r\n"), "a");
    let line = evenkeel.log.wait_nth("session ended", 1);
    assert!(line.contains(" client=127.0.0.1:") && !line.contains(" peer="), "{line}");
}

#[test]
fn nobody_but_the_proxies_is_served() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let words = format!("{port} {a} --accept-proxy 127.0.0.8/31,10.0.0.0/8 --accept-proxy ::1");
    let evenkeel = place.native(&words);
    for _ in 0..2 {
        assert_eq!(ask_from(&port, [127, 0, 0, 7]), "reset");
    }
    let to = ([127, 0, 0, 1], port.number()).into();
    // The reset may come before the connect is known to have succeeded, or before the write, which
    // then fails in the place of a read.
    if let Ok(spoofing) = Client::try_from(([127, 0, 0, 7], 0).into(), to)
        && (&spoofing.0).write_all(LINE.as_bytes()).is_ok()
    {
        assert_eq!(spoofing.end(), End::Reset);
    }
    for before in 0..3 {
        let line = evenkeel.log.wait_nth("session ended", before);
        assert!(line.contains("reason=proxy-untrusted"), "{line}");
        assert!(line.contains("client=127.0.0.7:"), "{line}");
    }
    for proxy in [8, 9] {
        let proxy = connect_from(&port, [127, 0, 0, proxy]);
        proxy.send(V2);
        assert_eq!(proxy.line(), "a");
    }
    assert_eq!(a.accepted(), 2);
}

#[test]
fn a_proxy_that_does_not_announce_its_clients_is_warned_of() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let words = "--accept-proxy 127.0.0.0/8 --connect-timeout 100ms";
    let evenkeel = place.native(&format!("{port} {a} {words}"));
    assert_eq!(ask_saying(&port, "GET / HTTP/1.1\r\n\r\n"), "reset");
    let warning = evenkeel.log.wait("have not announced");
    assert!(warning.contains("reason=proxy-invalid"), "{warning}");
    assert_eq!(ask_saying(&port, "PROXY TCP4 "), "reset");
    evenkeel.log.wait("reason=proxy-timeout");
    assert_eq!(a.accepted(), 0);
}

#[test]
fn the_announced_address_is_the_one_that_lists_and_the_affinity_go_by() {
    let (place, port) = (Place::new(), port());
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let words = "--accept-proxy 127.0.0.1 --deny 192.0.2.128/25 --affinity 10";
    let _evenkeel = place.native(&format!("{port} {a} {b} {words}"));
    let of = |client: u8| {
        ask_saying(&port, format!("PROXY TCP4 192.0.2.{client} 198.51.100.1 1 443\r\n"))
    };
    assert_eq!([1, 1, 2, 2, 1].map(of), ["a", "a", "b", "b", "a"]);
    assert_eq!(of(200), "reset");
}

#[test]
fn proxies_may_come_through_a_unix_socket() {
    for (networks, answer) in [("unix", "a\n"), ("127.0.0.0/8", "")] {
        let (place, a) = (Place::new(), Backend::named("a"));
        let front = place.file("front.sock");
        let words = format!("unix:{} {a} --accept-proxy {networks}", front.display());
        let evenkeel = place.native(&words);
        let mut proxy = UnixStream::connect(&front).unwrap();
        proxy.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = proxy.write_all(LINE.as_bytes());
        let mut seen = vec![0; answer.len()];
        proxy.read_exact(&mut seen).unwrap();
        assert_eq!(String::from_utf8_lossy(&seen), answer);
        drop(proxy);
        let line = evenkeel.log.wait("session ended");
        let expected =
            if answer.is_empty() { "client=unix" } else { "client=192.0.2.7:56324 peer=unix" };
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn backends_hear_of_the_client_and_then_of_nothing_else() {
    let (place, port, (a, seen)) = (Place::new(), port(), listening());
    let evenkeel = place.native(&format!("{port} {a} --send-proxy v1"));
    let client = connect_from(&port, [127, 0, 0, 7]);
    let from = client.0.local_addr().unwrap().port();
    client.send("hello");
    client.finish();
    assert_eq!(client.end(), End::Eof);
    let header = format!("PROXY TCP4 127.0.0.7 127.0.0.1 {from} {port}\r\n");
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), format!("{header}hello"));
    let line = evenkeel.log.wait("session ended");
    assert!(line.contains("sent=5 "), "the header is not the client's: {line}");
    assert_eq!(place.backend(0, 0)["sent_bytes_total"], 5);
}

#[test]
fn the_reject_backend_hears_of_the_client_too() {
    let (place, port, a, (jail, seen)) = (Place::new(), port(), Backend::named("a"), listening());
    let words = format!("{port} {a} --send-proxy v1 --deny 127.0.0.7 --reject {jail}");
    let _evenkeel = place.native(&words);
    let client = connect_from(&port, [127, 0, 0, 7]);
    client.finish();
    assert!(seen.recv_timeout(PATIENCE).unwrap().starts_with("PROXY TCP4 127.0.0.7 127.0.0.1 "));
}

#[test]
fn clients_of_unix_sockets_are_unknown_to_backends() {
    for (form, header) in [("v1", "PROXY UNKNOWN\r\n"), ("v2", "\r\n\r\n\0\r\nQUIT\n \0\0\0")] {
        let (place, (a, seen)) = (Place::new(), listening());
        let front = place.file("front.sock");
        let words = format!("unix:{} {a} --send-proxy {form}", front.display());
        let _evenkeel = place.native(&words);
        let mut client = UnixStream::connect(&front).unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), format!("{header}hello"));
    }
}

#[test]
fn what_was_announced_goes_on_to_backends_in_both_ways() {
    let (place, port, (a, seen)) = (Place::new(), port(), listening());
    let words = "--accept-proxy 127.0.0.1 --send-proxy v1 --forwarded-headers";
    let _evenkeel = place.native(&format!("{port} {a} {words}"));
    let proxy = Client::connect(&port);
    proxy.send([V2, b"GET / HTTP/1.1\r\n\r\n"].concat());
    proxy.finish();
    assert_eq!(
        seen.recv_timeout(PATIENCE).unwrap(),
        format!(
            "{LINE}GET / HTTP/1.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"
        )
    );
}

#[test]
fn ipv4_clients_of_a_dual_stack_listener_are_announced_as_such() {
    let (place, port, (a, seen)) = (Place::new(), port(), listening());
    // The port on all addresses is one socket for both families.
    let _evenkeel = place.native(&format!("{port} {a} --send-proxy v1"));
    Client::connect(&port).finish();
    let header = seen.recv_timeout(PATIENCE).unwrap();
    assert!(header.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{header}");
}
