//! TLS with backends.

use crate::support::{
    Authority, Backend, Client, End, Place, Port, Program, TlsClient, TlsServer, certified,
    pattern, port, until,
};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use std::io::Read;
use std::sync::Arc;

/// A backend with a certificate of this authority for these names.
fn backend(
    authority: &Authority,
    names: &[&str],
    serve: impl Fn(TlsServer) + Send + Sync + 'static,
) -> Backend {
    let config = Arc::new(authority.serve(names));
    Backend::new(move |client| {
        if let Ok(client) = TlsServer::accept(client, &config) {
            serve(client);
        }
    })
}

/// Passes plain bytes on to backends that speak TLS.
fn start(place: &Place, port: &Port, backends: &str, words: &str) -> Program {
    let ca = place.file("ca.pem");
    place.native(&format!(
        "--backend-tls verify --backend-tls-ca {} {words} {port} {backends}",
        ca.display()
    ))
}

#[test]
fn plain_bytes_reach_a_backend_whose_certificate_is_right_in_both_versions() {
    for versions in [[&TLS13], [&TLS12]] {
        let (place, authority) = certified();
        let clients = WebPkiClientVerifier::no_client_auth();
        let config = Arc::new(authority.serve_with(&["a.test"], &versions, clients));
        let backend = Backend::new(move |client| {
            let mut client = TlsServer::accept(client, &config).unwrap();
            assert_eq!(client.0.conn.server_name(), Some("a.test"));
            let (request, is_whole) = client.rest();
            assert!(is_whole && request == pattern(1, 1 << 20));
            client.send(pattern(2, 2 << 20));
            client.finish();
        });
        let port = port();
        let evenkeel = start(&place, &port, &backend.to_string(), "--backend-tls-name a.test");
        let client = Client::connect(&port);
        client.send(pattern(1, 1 << 20));
        client.finish();
        let (answer, end) = client.rest();
        assert!(answer == pattern(2, 2 << 20) && end == End::Eof, "{} {end:?}", answer.len());
        let line = evenkeel.log.wait("session ended");
        assert!(line.contains("reason=client-fin sent=1048576 received=2097152"), "{line}");
        let version = if versions == [&TLS13] { "1.3" } else { "1.2" };
        assert!(line.contains(&format!(" backend-tls={version} ")), "{line}");
    }
}

#[test]
fn a_backend_that_speaks_first_is_heard_and_its_end_does_not_end_the_client() {
    let (place, authority) = certified();
    let backend = backend(&authority, &["127.0.0.1"], |mut client| {
        client.send("hello");
        client.finish();
        assert_eq!(client.rest(), (b"goodbye".to_vec(), true));
    });
    let port = port();
    let evenkeel = start(&place, &port, &backend.to_string(), "");
    let client = Client::connect(&port);
    assert_eq!(client.rest(), (b"hello".to_vec(), End::Eof));
    client.send("goodbye");
    client.finish();
    let line = evenkeel.log.wait("session ended");
    assert!(line.contains("reason=backend-fin sent=7 received=5"), "{line}");
}

#[test]
fn what_a_backend_did_not_finish_is_not_taken_for_complete() {
    let (place, authority) = certified();
    let backend = backend(&authority, &["127.0.0.1"], |mut client| {
        client.send("half of it");
        client.expect("go on");
        client.0.sock.shutdown(std::net::Shutdown::Both).unwrap(); // without a word
    });
    let port = port();
    let evenkeel = start(&place, &port, &backend.to_string(), "");
    let client = Client::connect(&port);
    client.expect("half of it");
    client.send("go on");
    assert_eq!(client.end(), End::Reset);
    let line = evenkeel.log.wait("session ended");
    let expected = "reason=backend-reset error=\"the connection has ended without a close_notify\"";
    assert!(line.contains(expected), "{line}");
}

#[test]
fn a_client_that_breaks_off_does_not_look_complete_to_the_backend() {
    let (place, authority) = certified();
    let backend = backend(&authority, &["127.0.0.1"], |mut client| {
        client.expect("half of it");
        client.send("go on");
        assert_eq!(client.rest(), (Vec::new(), false));
    });
    let port = port();
    let evenkeel = start(&place, &port, &backend.to_string(), "");
    let client = Client::connect(&port);
    client.send("half of it");
    client.expect("go on");
    client.reset();
    evenkeel.log.wait("reason=client-reset");
}

#[test]
fn tls_on_both_sides_passes_everything_and_both_ends() {
    let (place, authority) = certified();
    let backend = backend(&authority, &["127.0.0.1"], |mut client| {
        let (request, is_whole) = client.rest();
        assert!(is_whole && request == pattern(3, 3 << 20));
        client.send(pattern(4, 3 << 20));
        client.finish();
    });
    let port = port();
    let words = format!("--tls-cert {}", place.file("a.pem").display());
    let evenkeel = start(&place, &port, &backend.to_string(), &words);
    let mut client = TlsClient::connect(&port, &Arc::new(authority.trust()), "a.test");
    client.send(pattern(3, 3 << 20));
    client.finish();
    let (answer, is_whole) = client.rest();
    assert!(is_whole && answer == pattern(4, 3 << 20), "{}", answer.len());
    let line = evenkeel.log.wait("session ended");
    assert!(line.contains(" tls=1.3 ") && line.contains(" backend-tls=1.3 "), "{line}");
}

#[test]
fn a_slow_backend_slows_the_client_and_gets_everything() {
    let (place, authority) = certified();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = backend(&authority, &["127.0.0.1"], move |mut client| {
        client.expect(&pattern(5, 40 << 20)[..1000]);
        wait.lock().unwrap().recv().unwrap();
        let (rest, is_whole) = client.rest();
        assert!(is_whole && rest == pattern(5, 40 << 20)[1000..]);
        client.finish();
    });
    let port = port();
    let evenkeel = start(&place, &port, &backend.to_string(), "--workers 1");
    let before = evenkeel.memory_peak();
    let client = Client::connect(&port);
    let sender = client.0.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let client = Client(sender);
        client.send(pattern(5, 40 << 20));
        client.finish();
    });
    place.wait_held_up("sent_bytes");
    let growth = evenkeel.memory_peak() - before;
    go.send(()).unwrap();
    sending.join().unwrap();
    assert_eq!(client.end(), End::Eof);
    assert!(growth < 8 << 20, "{growth} bytes of memory");
}

#[test]
fn a_backend_that_cannot_be_trusted_is_passed_over_and_the_log_says_why() {
    let (place, authority) = certified();
    let name = |name: &'static str| move |mut client: TlsServer| client.send(name);
    let good = backend(&authority, &["127.0.0.1"], name("good"));
    let check = |bad: &Backend, expected: &str| {
        let port = port();
        let backends = format!("{bad} {good}");
        let evenkeel = start(&place, &port, &backends, "--quarantine 1h");
        let client = Client::connect(&port);
        client.expect("good");
        let line = evenkeel.log.wait("backend quarantined");
        assert!(line.contains(&bad.to_string()) && line.contains(expected), "{line}");
    };
    let other = Authority::new();
    check(
        &backend(&other, &["127.0.0.1"], name("bad")),
        "TLS failed: no trusted authority has signed its certificate",
    );
    check(
        &backend(&authority, &["b.test"], name("bad")),
        "TLS failed: its certificate is for another name",
    );
    check(&Backend::named("plain"), "TLS failed: the backend does not speak TLS");
    let ending = |client: Client| {
        client.finish();
        client.rest();
    };
    check(&Backend::new(ending), "TLS failed: the backend closed the connection");
    check(&Backend::refusing(), "connection refused");
    let strict =
        Arc::new(authority.serve_with(&["127.0.0.1"], &[&TLS12], authority.verified_clients()));
    let strict = Backend::new(move |client| drop(TlsServer::accept(client, &strict)));
    check(&strict, "TLS failed: the backend sent the alert ");
}

#[test]
fn a_silent_backend_is_given_up_after_the_connect_timeout_and_a_last_one_has_its_own_reason() {
    let (place, authority) = certified();
    let silent = Backend::new(|client| drop(client.rest()));
    let port = port();
    let evenkeel = start(&place, &port, &silent.to_string(), "--connect-timeout 300ms");
    assert_eq!(Client::connect(&port).end(), End::Reset);
    evenkeel.log.wait("reason=connect-timeout");
    drop((evenkeel, authority));
    let (place, authority) = certified();
    let other = backend(&Authority::new(), &["127.0.0.1"], |_| panic!("nothing is trusted"));
    let port = crate::support::port();
    let evenkeel = start(&place, &port, &other.to_string(), "");
    assert_eq!(Client::connect(&port).end(), End::Reset);
    let line = evenkeel.log.wait("reason=backend-tls-failed");
    let error = "no trusted authority has signed its certificate";
    assert!(line.contains(&format!(" backend={other} ")) && line.contains(error), "{line}");
    let row = &place.status()["ended_sessions"][0];
    assert_eq!(row["backend"], other.to_string());
    assert!(row["error"].as_str().is_some_and(|it| it.contains(error)), "{row}");
    drop(authority);
}

#[test]
fn probes_use_tls_as_sessions_do() {
    let authority = Authority::new();
    let answer = |mut client: TlsServer| {
        let mut request = [0; 4];
        if client.0.read_exact(&mut request).is_ok() && request == *b"GET " {
            client.send("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
        client.finish();
        client.rest();
    };
    let good = backend(&authority, &["127.0.0.1"], answer);
    let bad = backend(&Authority::new(), &["127.0.0.1"], answer);
    for probe in ["http:/", "tcp"] {
        let (place, port) = (Place::new(), port());
        std::fs::write(place.file("ca.pem"), authority.pem()).unwrap();
        let words = format!(
            "--probe {probe} --fall 1 --probe-interval 100ms --probe-timeout 2s --workers 1"
        );
        let evenkeel = start(&place, &port, &format!("{good} {bad}"), &words);
        let health = |index: usize| place.backend(0, index)["health"].clone();
        until("the verdicts", || health(0) == "healthy" && health(1) == "down");
        let error = place.backend(0, 1)["probe"]["last_error"].clone();
        assert_eq!(error, "TLS failed: no trusted authority has signed its certificate");
        drop(evenkeel);
    }
}

#[test]
fn insecure_trusts_anybody_but_only_by_name() {
    let place = Place::new();
    let backend = backend(&Authority::new(), &["other.test"], |mut client| client.send("hi"));
    let port = port();
    let evenkeel = place.native(&format!("--backend-tls insecure {port} {backend}"));
    Client::connect(&port).expect("hi");
    drop(evenkeel);
    // By default, the authorities of the system are trusted, and ours is none of them.
    let port = crate::support::port();
    let evenkeel = place.native(&format!("--backend-tls verify {port} {backend}"));
    assert_eq!(Client::connect(&port).end(), End::Reset);
    evenkeel.log.wait("reason=backend-tls-failed");
}

#[test]
fn a_backend_that_wants_a_certificate_gets_ours_also_a_renewed_one() {
    let (place, authority) = certified();
    let config = Arc::new(authority.serve_verified(&["127.0.0.1"]));
    let backend = Backend::new(move |client| {
        let Ok(mut client) = TlsServer::accept(client, &config) else { return };
        let shown = client.0.conn.peer_certificates().unwrap()[0].to_vec();
        client.send((shown.len() as u32).to_be_bytes());
        client.send(shown);
    });
    let port = port();
    let words = format!("--backend-tls-cert {}", place.file("a.pem").display());
    let evenkeel = start(&place, &port, &backend.to_string(), &words);
    let shown = || {
        let client = Client::connect(&port);
        let mut length = [0; 4];
        (&client.0).read_exact(&mut length).unwrap();
        let mut shown = vec![0; u32::from_be_bytes(length) as usize];
        (&client.0).read_exact(&mut shown).unwrap();
        shown
    };
    let before = shown();
    authority.issue(&["b.test"]).write(&place.file("new"));
    std::fs::rename(place.file("new"), place.file("a.pem")).unwrap();
    evenkeel.log.wait("certificates renewed");
    assert_ne!(shown(), before);
}

#[test]
fn single_backends_may_differ_and_a_reload_changes_that() {
    let (place, authority) = certified();
    let one = backend(&authority, &["one.test"], |mut client| {
        client.send("one\n");
        client.finish();
    });
    let two = Backend::named("two");
    let port = port();
    let file = |second: &str| {
        let text = format!(
            "[listeners.web]\nbind = {port}\npool = \"web\"\n\
             [pools.web]\nbackend-tls = \"verify\"\nbackend-tls-ca = \"{}\"\nbackends = [\n\
             {{ to = \"{one}\", backend-tls-name = \"one.test\" }},\n\
             {{ to = \"{two}\"{second} }},\n]\n",
            place.file("ca.pem").display()
        );
        std::fs::write(place.file("evenkeel.toml"), text).unwrap();
    };
    file(", backend-tls = \"off\"");
    let path = place.file("evenkeel.toml");
    let evenkeel = place.native(&format!("run {}", path.display()));
    let mut seen: Vec<_> = (0..2).map(|_| Client::connect(&port).line()).collect();
    seen.sort();
    assert_eq!(seen, ["one", "two"]);
    file("");
    place.ctl("reload").check(0);
    for _ in 0..3 {
        assert_eq!(Client::connect(&port).line(), "one");
    }
    evenkeel.log.wait("TLS failed");
}

#[test]
fn files_for_backends_that_cannot_be_used_fail_the_start_and_the_check() {
    let (place, _) = certified();
    std::fs::write(place.file("empty.pem"), "").unwrap();
    let check = |words: &str, expected: &str| place.expect_refusal(words, expected);
    check("--backend-tls verify --backend-tls-ca @missing.pem", "missing.pem: No such file");
    check("--backend-tls verify --backend-tls-ca @empty.pem", "there is no certificate in it");
    check("--backend-tls insecure --backend-tls-cert @ca.pem", "no private key belongs");
    check("--backend-tls-ca @ca.pem", "--backend-tls");
    check("--backend-tls sometimes", "verify");
    check("--backend-tls verify --backend-tls-name a_b..c", "name of a server");
    let text = "[listeners.web]\nbind = 1\npool = \"web\"\n[pools.web]\nbackends = [\"a:1\"]\n\
                backend-tls = \"verify\"\nbackend-tls-ca = \"/nowhere/ca.pem\"\n";
    std::fs::write(place.file("evenkeel.toml"), text).unwrap();
    let done = place.run("evenkeel", &format!("check {}", place.file("evenkeel.toml").display()));
    assert!(done.stdout.contains("/nowhere/ca.pem"), "{}{}", done.stdout, done.stderr);
}
