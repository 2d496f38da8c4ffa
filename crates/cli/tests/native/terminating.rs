//! TLS with clients, ended here.

use crate::support::{
    Authority, Backend, Client, Doing, Done, End, PATIENCE, Place, Port, Program, TlsClient,
    Worker, certified, pattern, port, skip_unless, until,
};
use rustls::ClientConnection;
use rustls::version::{TLS12, TLS13};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Terminates TLS in front of `backend`.
fn start(place: &Place, port: &Port, backend: &Backend, words: &str) -> Program {
    let file = place.file("a.pem");
    place.native(&format!("--tls-cert {} {words} {port} {backend}", file.display()))
}

fn has(program: &str) -> bool {
    Command::new(program)
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

#[test]
fn a_half_close_passes_in_both_versions_and_the_answer_arrives_whole() {
    for versions in [[&TLS13], [&TLS12]] {
        let (place, authority) = certified();
        let backend = Backend::new(|client| {
            assert_eq!(client.rest(), (pattern(1, 1 << 20), End::Eof));
            client.send(pattern(2, 2 << 20));
        });
        let port = port();
        let evenkeel = start(&place, &port, &backend, "");
        let config = Arc::new(authority.trust_with(&versions));
        let mut client = TlsClient::connect(&port, &config, "a.test");
        client.send(pattern(1, 1 << 20));
        client.finish();
        let (answer, is_whole) = client.rest();
        assert!(is_whole && answer == pattern(2, 2 << 20), "{}", answer.len());
        let line = evenkeel.log.wait("session ended");
        assert!(line.contains("reason=client-fin sent=1048576 received=2097152"), "{line}");
        let version = if versions == [&TLS13] { "1.3 cipher=TLS13_" } else { "1.2 cipher=TLS_" };
        assert!(line.contains(&format!(" sni=a.test tls={version}")), "{line}");
    }
}

#[test]
fn clients_of_tls_1_2_use_the_ciphers_that_are_allowed() {
    let (place, authority) = certified();
    let backend = Backend::new(|client| {
        assert_eq!(client.rest(), (b"hello".to_vec(), End::Eof));
    });
    for (options, versions, cipher) in [
        ("", [&TLS12], "_AES_256_GCM_SHA384 "),
        ("--tls-ciphers HIGH:!AES256", [&TLS12], "_AES_128_GCM_SHA256 "),
        ("--tls-ciphers ECDHE+CHACHA20", [&TLS12], "_CHACHA20_POLY1305_SHA256 "),
        ("--tls-ciphers ECDHE+CHACHA20", [&TLS13], "TLS13_AES_256_GCM_SHA384 "),
    ] {
        let port = port();
        let evenkeel = start(&place, &port, &backend, options);
        let config = Arc::new(authority.trust_with(&versions));
        let mut client = TlsClient::connect(&port, &config, "a.test");
        client.send("hello");
        client.finish();
        assert_eq!(client.rest(), (Vec::new(), true));
        let line = evenkeel.log.wait("session ended");
        assert!(line.contains(cipher), "{options}: {line}");
    }
}

#[test]
fn after_the_backends_end_the_client_may_go_on() {
    let (place, authority) = certified();
    let backend = Backend::new(|client| {
        client.send("that is all I say");
        client.finish();
        assert_eq!(client.rest(), (pattern(3, 1 << 20), End::Eof));
    });
    let port = port();
    let evenkeel = start(&place, &port, &backend, "");
    let mut client = TlsClient::connect(&port, &Arc::new(authority.trust()), "a.test");
    assert_eq!(client.rest(), (b"that is all I say".to_vec(), true));
    client.send(pattern(3, 1 << 20));
    client.finish();
    let line = evenkeel.log.wait("session ended");
    assert!(line.contains("reason=backend-fin sent=1048576 received=17"), "{line}");
}

#[test]
fn what_a_client_did_not_finish_is_not_taken_for_complete() {
    let (place, authority) = certified();
    let backend = Backend::new(|client| {
        client.expect("half of it");
        client.send("go on");
        assert_eq!(client.rest(), (Vec::new(), End::Reset));
    });
    let port = port();
    let evenkeel = start(&place, &port, &backend, "");
    let mut client = TlsClient::connect(&port, &Arc::new(authority.trust()), "a.test");
    client.send("half of it");
    client.expect("go on");
    client.0.sock.shutdown(std::net::Shutdown::Write).unwrap(); // without a word
    let line = evenkeel.log.wait("session ended");
    let expected = "reason=client-reset error=\"the connection has ended without a close_notify\"";
    assert!(line.contains(expected), "{line}");
    assert!(line.contains(" sent=10 "), "{line}");
}

#[test]
fn a_backend_that_breaks_off_does_not_look_complete() {
    let (place, authority) = certified();
    let backend = Backend::new(|client| {
        client.send(pattern(4, 1 << 20));
        client.expect("enough");
        client.reset();
    });
    let port = port();
    let evenkeel = start(&place, &port, &backend, "");
    let mut client = TlsClient::connect(&port, &Arc::new(authority.trust()), "a.test");
    client.expect(pattern(4, 1 << 20));
    client.send("enough");
    assert_eq!(client.rest(), (Vec::new(), false));
    let line = evenkeel.log.wait("session ended");
    assert!(line.contains("reason=backend-reset"), "{line}");
}

#[test]
fn a_slow_reader_slows_the_backend_and_gets_everything() {
    let (place, authority) = certified();
    let backend = Backend::new(|client| client.send(pattern(5, 40 << 20)));
    let port = port();
    let evenkeel = start(&place, &port, &backend, "--workers 1");
    let before = evenkeel.memory_peak();
    let mut client = TlsClient::connect(&port, &Arc::new(authority.trust()), "a.test");
    client.expect(&pattern(5, 40 << 20)[..1000]);
    place.wait_held_up("received_bytes");
    let growth = evenkeel.memory_peak() - before;
    let (rest, is_whole) = client.rest();
    assert!(is_whole && rest == pattern(5, 40 << 20)[1000..]);
    assert!(growth < 8 << 20, "{growth} bytes of memory");
}

#[test]
fn the_certificate_is_the_one_of_the_name_asked_for() {
    let (place, authority) = certified();
    let b = authority.issue(&["b.test", "*.wild.test"]);
    std::fs::write(place.file("b.pem"), &b.certificate).unwrap();
    std::fs::write(place.file("b.key"), &b.key).unwrap();
    let (backend, port) = (Backend::named("here"), port());
    let words = format!(
        "--tls-cert {} --tls-key {}",
        place.file("b.pem").display(),
        place.file("b.key").display()
    );
    let _evenkeel = start(&place, &port, &backend, &words);
    let config = Arc::new(authority.trust());
    for name in ["a.test", "A.Test", "b.test", "x.wild.test"] {
        TlsClient::connect(&port, &config, name);
    }
    // Neither has these names: the first one is shown, and the client refuses it.
    for name in ["wild.test", "x.y.wild.test", "c.test"] {
        let error = TlsClient::try_connect(&port, &config, name).err().unwrap();
        assert!(error.to_string().contains("a.test"), "{error}");
    }
}

#[test]
fn the_best_protocol_that_both_know_is_chosen() {
    let (place, authority) = certified();
    let (backend, port) = (Backend::named("here"), port());
    let evenkeel = start(&place, &port, &backend, "--tls-alpn h2,http/1.1");
    let with = |protocols: &[&str]| {
        let mut config = authority.trust();
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        Arc::new(config)
    };
    let client = TlsClient::connect(&port, &with(&["http/1.1", "h2"]), "a.test");
    assert_eq!(client.0.conn.alpn_protocol(), Some(&b"h2"[..]));
    until("the session to be open", || place.sessions() == 1);
    let table = place.ctl("sessions --wide").check(0).stdout;
    assert!(table.lines().nth(1).unwrap().ends_with(" a.test  1.3    h2"), "{table}");
    let client = TlsClient::connect(&port, &with(&[]), "a.test");
    assert_eq!(client.0.conn.alpn_protocol(), None);
    let error = TlsClient::try_connect(&port, &with(&["imap"]), "a.test").err().unwrap();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    evenkeel.log.wait("reason=tls-handshake-failed");
}

#[test]
fn a_backend_is_tried_again_for_a_client_that_has_spoken_already() {
    let (place, authority) = certified();
    let (down, backend, port) = (Backend::refusing(), Backend::named("the second"), port());
    let file = place.file("a.pem");
    let _evenkeel = place.native(&format!("--tls-cert {} {port} {down} {backend}", file.display()));
    for _ in 0..4 {
        let mut client = TlsClient::connect(&port, &Arc::new(authority.trust()), "a.test");
        client.finish();
        assert_eq!(client.rest(), (b"the second\n".to_vec(), true));
    }
}

#[test]
fn a_client_that_does_not_speak_tls_is_not_passed_on() {
    let (place, _) = certified();
    let (backend, port) = (Backend::named("here"), port());
    let evenkeel = start(&place, &port, &backend, "--tls-timeout 1s");
    let plain = Client::connect(&port);
    plain.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(plain.end(), End::Eof); // not even an alert
    evenkeel.log.wait("reason=tls-handshake-failed");
    drop(Client::connect(&port)); // a health check
    evenkeel.log.wait("reason=client-fin");
    let begun = Instant::now();
    let client = Client::connect(&port);
    client.send([0x16, 3, 1, 2, 0, 1]);
    assert_eq!(client.end(), End::Reset);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    evenkeel.log.wait("reason=tls-timeout");
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn the_log_has_the_reason_why_a_client_broke_off() {
    let (place, _) = certified();
    let (backend, port) = (Backend::named("here"), port());
    let evenkeel = start(&place, &port, &backend, "");
    let config = Arc::new(Authority::new().trust()); // of somebody else
    assert!(TlsClient::try_connect(&port, &config, "a.test").is_err());
    let line = evenkeel.log.wait("reason=tls-handshake-failed");
    assert!(line.contains("error=\"the peer sent the alert "), "{line}");
    assert!(line.contains(" sni=a.test "), "{line}");
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn a_hello_in_small_pieces_is_understood() {
    let (place, authority) = certified();
    let (backend, port) = (Backend::named("here"), port());
    let _evenkeel = start(&place, &port, &backend, "");
    let name = "a.test".try_into().unwrap();
    let config = Arc::new(authority.trust());
    let mut connection = ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut hello).unwrap();
    }
    let mut client = Client::connect(&port);
    for byte in hello {
        client.0.write_all(&[byte]).unwrap();
    }
    while connection.is_handshaking() {
        connection.complete_io(&mut client.0).unwrap();
    }
}

/// Sends what is pending, and "hello" once the handshake is complete. Returns what was received.
fn speak(connection: &mut ClientConnection, socket: &TcpStream, says_hello: &mut bool) -> String {
    let mut heard = String::new();
    for _ in 0..3 {
        if connection.wants_write() {
            connection.write_tls(&mut &*socket).unwrap();
        }
        if connection.read_tls(&mut &*socket).is_ok() {
            connection.process_new_packets().unwrap();
            let _ = connection.reader().read_to_string(&mut heard); // there may be more
        }
        if !connection.is_handshaking() && std::mem::take(says_hello) {
            connection.writer().write_all(b"hello").unwrap();
        }
    }
    heard
}

/// The client sends while the worker is between two system calls. What it sends may then be read
/// before epoll reports it, after which no event follows.
#[test]
fn what_comes_with_the_end_of_a_handshake_is_passed_on_however_early() {
    let (place, authority) = certified();
    let (backend, port) = (Backend::echo(), port());
    let evenkeel = start(&place, &port, &backend, "--workers 1");
    let config = Arc::new(authority.trust());
    let mut worker = Worker::seize(&evenkeel, "worker-0");
    worker.stop();
    let mut clients = Vec::new(); // until the end, so that nobody's end is counted
    for stops_before in 0..24 {
        worker.go_on_until_it_waits();
        let name = "a.test".try_into().unwrap();
        let mut connection = ClientConnection::new(Arc::clone(&config), name).unwrap();
        let client = Client::connect(&port);
        client.0.set_nonblocking(true).unwrap();
        let (mut stops, mut says_hello, mut heard) = (0, true, String::new());
        let deadline = Instant::now() + PATIENCE;
        while heard != "hello" {
            assert!(Instant::now() < deadline, "no answer after {stops_before} stops");
            let doing = worker.look();
            stops += usize::from(doing == Doing::Stopped);
            let is_its_turn = doing == Doing::Stopped && stops > stops_before;
            if is_its_turn || doing == Doing::Waiting {
                heard += &speak(&mut connection, &client.0, &mut says_hello);
            }
            if doing == Doing::Stopped {
                worker.go_on();
            }
        }
        clients.push(client);
    }
}

#[test]
fn curl_and_openssl_are_served_and_resume() {
    let (place, _) = certified();
    let openssl = has("openssl");
    if skip_unless(openssl && has("curl"), "this needs openssl and curl") {
        return;
    }
    let backend = Backend::new(|client| {
        while !client.line().trim().is_empty() {}
        client.send("HTTP/1.0 200 OK\r\n\r\nthe page\n");
    });
    let port = port();
    let _evenkeel = start(&place, &port, &backend, "--workers 2");
    let ca = place.file("ca.pem");
    let mut curl = Command::new("curl");
    curl.args(["-s", "-S", "--cacert"]).arg(&ca);
    curl.args(["--resolve", &format!("a.test:{port}:127.0.0.1")]);
    curl.arg(format!("https://a.test:{port}/"));
    assert_eq!(Done::run(&mut curl, "").check(0).stdout, "the page\n");
    for version in ["-tls1_2", "-tls1_3"] {
        let session = place.file("session");
        for (option, kind) in [("-sess_out", "New, "), ("-sess_in", "Reused, ")] {
            let mut client = Command::new("openssl");
            client.args(["s_client", version, "-servername", "a.test", "-verify_return_error"]);
            client.args(["-ign_eof", "-connect", &format!("127.0.0.1:{port}"), "-CAfile"]);
            client.arg(&ca).arg(option).arg(&session);
            let done = Done::run(&mut client, "GET / HTTP/1.0\r\n\r\n").check(0);
            assert!(done.stdout.contains(kind), "{version} {option}: {}", done.stdout);
            assert!(done.stdout.contains("the page"), "{version} {option}: {}", done.stdout);
        }
    }
}

#[test]
fn a_client_in_python_is_served_and_gets_the_protocol_that_both_know() {
    if skip_unless(has("python3"), "this needs python3") {
        return;
    }
    let (place, _) = certified();
    let (backend, port) = (Backend::named("here"), port());
    let _evenkeel = start(&place, &port, &backend, "--tls-alpn h2,http/1.1");
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON, &port.to_string()]).arg(place.file("ca.pem"));
    assert_eq!(Done::run(&mut python, "").check(0).stdout, "TLSv1.3 http/1.1 here\n");
}

/// Takes a port and the authority's file.
const PYTHON: &str = r#"
import socket, ssl, sys
port, authority = sys.argv[1:]
trust = ssl.create_default_context(cafile=authority)
trust.set_alpn_protocols(["xmpp-client", "http/1.1"])
plain = socket.create_connection(("127.0.0.1", int(port)))
with trust.wrap_socket(plain, server_hostname="a.test") as client:
    print(client.version(), client.selected_alpn_protocol(), client.recv(100).decode(), end="")
"#;

#[test]
fn files_that_cannot_be_used_fail_the_start() {
    let (place, authority) = certified();
    let other = authority.issue(&["other.test"]);
    std::fs::write(place.file("cert.pem"), authority.issue(&["b.test"]).certificate).unwrap();
    std::fs::write(place.file("other.key"), &other.key).unwrap();
    std::fs::write(place.file("empty.pem"), "").unwrap();
    std::fs::write(place.file("garbage.pem"), [0xff; 100]).unwrap();
    std::fs::File::create(place.file("huge.pem")).unwrap().set_len(2 << 40).unwrap();
    let fifo = place.file("fifo.pem");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let check = |words: &str, expected: &str| place.expect_refusal(words, expected);
    check("--tls-cert @missing.pem", "missing.pem: No such file");
    check("--tls-cert @fifo.pem", "fifo.pem: not a regular file");
    check("--tls-cert @huge.pem", "huge.pem: longer than");
    check("--tls-cert @empty.pem", "empty.pem: there is no certificate in it");
    check("--tls-cert @garbage.pem", "garbage.pem: ");
    check("--tls-cert @cert.pem", "cert.pem: no private key belongs to the certificate");
    check("--tls-cert @cert.pem --tls-key @other.key", "cert.pem: no private key belongs");
    check("--tls-cert @a.pem --tls-key @cert.pem", "cert.pem: there is no private key in it");
    check("--tls-key @other.key", "--tls-cert");
}
