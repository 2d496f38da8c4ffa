//! Certificates that are replaced while the balancer runs.

use crate::support::{Authority, Backend, Issued, Place, TlsClient, port};
use rustls::HandshakeKind;
use std::fs;
use std::sync::Arc;

/// Replaces a file at once, as programs do that renew certificates.
fn replace(place: &Place, name: &str, contents: impl AsRef<[u8]>) {
    fs::write(place.file("new"), contents).unwrap();
    fs::rename(place.file("new"), place.file(name)).unwrap();
}

fn both(issued: &Issued) -> String {
    format!("{}{}", issued.certificate, issued.key)
}

fn shown(client: &TlsClient) -> Vec<u8> {
    client.0.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn new_contents_of_a_certificates_file_are_used_and_nobody_notices() {
    let (place, authority) = (Place::new(), Authority::new());
    replace(&place, "a.pem", both(&authority.issue(&["a.test"])));
    let (backend, port) = (Backend::echo(), port());
    let evenkeel =
        place.native(&format!("--tls-cert {} {port} {backend}", place.file("a.pem").display()));
    let config = Arc::new(authority.trust());
    let mut before = TlsClient::connect(&port, &config, "a.test");
    before.send("one");
    before.expect("one"); // the tickets have come

    replace(&place, "a.pem", both(&authority.issue(&["a.test", "b.test"])));
    evenkeel.log.wait("certificates renewed");
    let mut resumed = TlsClient::connect(&port, &config, "a.test");
    resumed.send("two");
    resumed.expect("two");
    assert_eq!(resumed.0.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    let after = TlsClient::connect(&port, &Arc::new(authority.trust()), "b.test");
    assert_ne!(shown(&after), shown(&before));
    before.send("three");
    before.expect("three");
}

#[test]
fn contents_that_cannot_be_used_change_nothing() {
    let (place, authority) = (Place::new(), Authority::new());
    let [first, second] = ["a.test", "b.test"].map(|name| authority.issue(&[name]));
    replace(&place, "a.pem", both(&first));
    let (backend, port) = (Backend::echo(), port());
    let evenkeel =
        place.native(&format!("--tls-cert {} {port} {backend}", place.file("a.pem").display()));
    let config = Arc::new(authority.trust());
    let broken = [
        ("garbage", "there is no certificate in it"),
        (&format!("{}{}", second.certificate, first.key), "no private key belongs"),
    ];
    for (number, (contents, reason)) in broken.iter().enumerate() {
        replace(&place, "a.pem", contents);
        let line = evenkeel.log.wait_nth("certificates cannot be renewed", number);
        assert!(line.contains(reason), "{line}");
        TlsClient::connect(&port, &config, "a.test");
    }
    fs::remove_file(place.file("a.pem")).unwrap();
    let line = evenkeel.log.wait_nth("certificates cannot be renewed", broken.len());
    assert!(line.contains("cannot read"), "{line}");
    TlsClient::connect(&port, &config, "a.test");
    replace(&place, "a.pem", both(&second));
    evenkeel.log.wait("certificates renewed");
    TlsClient::connect(&port, &config, "b.test");
}

#[test]
fn a_reload_looks_at_certificates_at_once_and_keeps_those_that_cannot_be_replaced() {
    let (place, authority) = (Place::new(), Authority::new());
    replace(&place, "a.pem", both(&authority.issue(&["a.test"])));
    let (backend, port) = (Backend::echo(), port());
    let file = |idle: &str| {
        format!(
            "[listeners.web]\nbind = {port}\npool = \"web\"\ntls-cert = \"{}\"\n\
             idle-timeout = \"{idle}\"\n[pools.web]\nbackends = [\"{backend}\"]\n",
            place.file("a.pem").display()
        )
    };
    replace(&place, "evenkeel.toml", file("1h"));
    let path = place.file("evenkeel.toml");
    let evenkeel = place.native(&format!("run {}", path.display()));
    let config = Arc::new(authority.trust());
    TlsClient::connect(&port, &config, "a.test");

    replace(&place, "a.pem", "garbage");
    replace(&place, "evenkeel.toml", file("2h"));
    place.ctl("reload").check(0);
    evenkeel.log.wait("certificates cannot be renewed");
    evenkeel.log.wait("configuration reloaded");
    TlsClient::connect(&port, &config, "a.test");

    // Another certificate that does not exist: the reload is refused as a whole.
    replace(&place, "evenkeel.toml", file("3h").replace("a.pem", "missing.pem"));
    assert_ne!(place.ctl("reload").status, 0);
    evenkeel.log.wait("missing.pem");
    TlsClient::connect(&port, &config, "a.test");
}
