//! Certificates of clients, and the other files that TLS is ended with.

use crate::support::{Authority, Backend, Place, Port, Program, TlsClient, certified, port};
use rustls::version::{TLS12, TLS13};
use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;

/// Terminates TLS in front of `backend`; `@` is the place.
fn start(place: &Place, port: &Port, backend: &Backend, words: &str) -> Program {
    let words = words.replace('@', place.file("").to_str().unwrap());
    let file = place.file("a.pem");
    place.native(&format!("--tls-cert {} {words} {port} {backend}", file.display()))
}

/// Whether a client with this configuration is served. In TLS 1.3, it hears of a refusal only after
/// its own handshake.
fn is_served(port: &Port, config: &Arc<rustls::ClientConfig>) -> bool {
    let Ok(mut client) = TlsClient::try_connect(port, config, "a.test") else { return false };
    client.0.conn.send_close_notify();
    let _ = client.0.flush(); // it may have been refused by now
    let mut answer = Vec::new();
    client.0.read_to_end(&mut answer).is_ok() && answer == b"here\n"
}

#[test]
fn only_clients_with_a_certificate_of_the_authority_are_served_if_it_is_required() {
    let (place, authority) = certified();
    let (backend, port) = (Backend::named("here"), port());
    let words = "--tls-clients require --tls-clients-ca @ca.pem";
    let evenkeel = start(&place, &port, &backend, words);
    let other = Authority::new();
    let stranger = other.issue(&["alice"]);
    let good = Arc::new(authority.trust_showing(&authority.issue(&["alice"])));
    let without = Arc::new(authority.trust());
    let bad = Arc::new(authority.trust_showing(&stranger));
    assert!(is_served(&port, &good));
    let line = evenkeel.log.wait("reason=client-fin");
    assert!(line.contains(" client-name=alice "), "{line}");
    assert!(is_served(&port, &good)); // resumed: the name is remembered
    let line = evenkeel.log.wait_nth("reason=client-fin", 1);
    assert!(line.contains(" client-name=alice "), "{line}");
    for config in [without, bad] {
        assert!(!is_served(&port, &config));
    }
    evenkeel.log.wait_nth("reason=tls-handshake-failed", 1);
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn a_certificate_that_is_requested_need_not_be_shown_but_must_be_good() {
    let (place, authority) = certified();
    let (backend, port) = (Backend::named("here"), port());
    let words = "--tls-clients request --tls-clients-ca @ca.pem";
    let _evenkeel = start(&place, &port, &backend, words);
    assert!(is_served(&port, &Arc::new(authority.trust())));
    let alice = authority.issue(&["alice"]);
    assert!(is_served(&port, &Arc::new(authority.trust_showing(&alice))));
    let stranger = Authority::new().issue(&["alice"]);
    assert!(!is_served(&port, &Arc::new(authority.trust_showing(&stranger))));
}

#[test]
fn a_revoked_certificate_is_refused_as_soon_as_the_list_says_so() {
    let (place, authority) = certified();
    let (backend, port) = (Backend::named("here"), port());
    let [alice, bob] = ["alice", "bob"].map(|name| authority.issue(&[name]));
    fs::write(place.file("crl.pem"), authority.revoke(&[&bob])).unwrap();
    // The authority comes from a directory with other things in it.
    fs::create_dir(place.file("cas")).unwrap();
    fs::write(place.file("cas/1.pem"), authority.pem()).unwrap();
    fs::write(place.file("cas/README"), "not a certificate").unwrap();
    let words = "--tls-clients require --tls-clients-ca @cas --tls-clients-crl @crl.pem";
    let evenkeel = start(&place, &port, &backend, words);
    let show = |issued| Arc::new(authority.trust_showing(issued));
    let known = show(&alice);
    assert!(is_served(&port, &known));
    assert!(!is_served(&port, &show(&bob)));
    fs::write(place.file("new"), authority.revoke(&[&alice, &bob])).unwrap();
    fs::rename(place.file("new"), place.file("crl.pem")).unwrap();
    evenkeel.log.wait("certificates renewed");
    assert!(!is_served(&port, &show(&alice)));
    assert!(!is_served(&port, &known)); // not even by the ticket that it has
}

#[test]
fn with_a_minimum_of_1_3_older_clients_are_refused() {
    let (place, authority) = certified();
    let (backend, port) = (Backend::named("here"), port());
    let _evenkeel = start(&place, &port, &backend, "--tls-min 1.3");
    assert!(!is_served(&port, &Arc::new(authority.trust_with(&[&TLS12]))));
    assert!(is_served(&port, &Arc::new(authority.trust_with(&[&TLS13]))));
}

#[test]
fn a_directory_has_a_certificate_for_each_name_and_new_ones_are_noticed() {
    let (place, authority) = certified();
    let (backend, port) = (Backend::named("here"), port());
    fs::create_dir(place.file("sites")).unwrap();
    authority.issue(&["b.test"]).write(&place.file("sites/b.pem"));
    let c = authority.issue(&["c.test"]);
    fs::write(place.file("sites/c.crt"), &c.certificate).unwrap();
    fs::write(place.file("sites/c.key"), &c.key).unwrap();
    let evenkeel = start(&place, &port, &backend, "--tls-cert @sites");
    let config = Arc::new(authority.trust());
    for name in ["a.test", "b.test", "c.test"] {
        TlsClient::connect(&port, &config, name);
    }
    assert!(TlsClient::try_connect(&port, &config, "d.test").is_err());
    authority.issue(&["d.test"]).write(&place.file("sites/d.pem"));
    evenkeel.log.wait("certificates renewed");
    TlsClient::connect(&port, &config, "d.test");
}

#[test]
fn the_authoritys_answer_about_revocation_is_stapled_and_renewed() {
    if crate::support::skip_unless(
        std::process::Command::new("openssl").arg("version").output().is_ok(),
        "this needs openssl",
    ) {
        return;
    }
    let (place, _) = certified();
    let (backend, port) = (Backend::named("here"), port());
    // Nobody but a client looks into it, and ours only prints it.
    let answer = |size: u8| [&[0x30, 0x03, 0x0a, 0x01][..], &[size]].concat();
    fs::write(place.file("a.ocsp"), answer(1)).unwrap();
    let evenkeel = start(&place, &port, &backend, "--tls-ocsp @a.ocsp");
    let status = || {
        let mut client = std::process::Command::new("openssl");
        client.args(["s_client", "-status", "-connect", &format!("127.0.0.1:{port}")]);
        crate::support::Done::run(&mut client, "").stdout
    };
    assert!(status().contains("OCSP Response Status: malformedrequest (0x1)"), "{}", status());
    fs::write(place.file("new"), answer(3)).unwrap();
    fs::rename(place.file("new"), place.file("a.ocsp")).unwrap();
    evenkeel.log.wait("certificates renewed");
    assert!(status().contains("trylater (0x3)"), "{}", status());
}

#[test]
fn what_clients_are_verified_with_must_be_usable() {
    let (place, _) = certified();
    fs::create_dir(place.file("empty")).unwrap();
    let check = |words: &str, expected: &str| {
        place.expect_refusal(&format!("--tls-cert @a.pem {words}"), expected);
    };
    check("--tls-clients require --tls-clients-ca @missing.pem", "missing.pem: No such file");
    check("--tls-clients require --tls-clients-ca @empty", "certificates of clients cannot be");
    check(
        "--tls-clients require --tls-clients-ca @ca.pem --tls-clients-crl @ca.pem",
        "there is no list of revoked certificates in it",
    );
    check("--tls-clients-ca @ca.pem", "--tls-clients");
    check("--tls-cert @empty", "there is no certificate in");
    check("--tls-min 1.1", "1.2");
    check("--tls-ciphers RC4", "none of the ciphers of TLS 1.2 that are spoken here is in it");
}
