//! Certificates that are replaced while the balancer runs.

use crate::support::{
    Authority, Backend, Issued, Place, TlsClient, certified, port, skip_unless, until,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
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
fn clients_resume_with_any_host_that_has_the_ticket_keys() {
    let (place, authority) = (Place::new(), Authority::new());
    replace(&place, "a.pem", both(&authority.issue(&["a.test"])));
    let keys = |bytes: &[u8]| -> String {
        let line = |byte| BASE64_STANDARD.encode([byte; 48]) + "\n";
        bytes.iter().map(|byte| line(*byte)).collect()
    };
    let backend = Backend::echo();
    let ports = [port(), port()];
    let hosts = [("first.keys", &ports[0]), ("second.keys", &ports[1])].map(|(file, port)| {
        replace(&place, file, keys(&[1]));
        let certificate = place.file("a.pem");
        let (certificate, file) = (certificate.display(), place.file(file));
        let file = file.display();
        place.native(&format!("--tls-cert {certificate} --tls-ticket-keys {file} {port} {backend}"))
    });
    let config = Arc::new(authority.trust());
    let kind = |port| {
        let mut client = TlsClient::connect(port, &config, "a.test");
        client.send("hello");
        client.expect("hello"); // the tickets have come
        client.0.conn.handshake_kind()
    };
    assert_eq!(kind(&ports[0]), Some(HandshakeKind::Full));
    assert_eq!(kind(&ports[1]), Some(HandshakeKind::Resumed));
    // One host after the other gets further keys.
    for (round, lines) in [&[1, 2][..], &[1, 2, 3], &[2, 3]].into_iter().enumerate() {
        for (host, file) in hosts.iter().zip(["first.keys", "second.keys"]) {
            replace(&place, file, keys(lines));
            host.log.wait_nth("certificates renewed", round);
            assert_eq!(kind(&ports[0]), Some(HandshakeKind::Resumed), "{lines:?}");
            assert_eq!(kind(&ports[1]), Some(HandshakeKind::Resumed), "{lines:?}");
        }
    }
    // A file that cannot be used changes nothing.
    replace(&place, "first.keys", "AAAA\n");
    let line = hosts[0].log.wait("certificates cannot be renewed");
    assert!(line.contains("line 1 is no ticket key"), "{line}");
    assert_eq!(kind(&ports[0]), Some(HandshakeKind::Resumed));
    // Other keys: nobody can resume.
    replace(&place, "first.keys", keys(&[4]));
    hosts[0].log.wait_nth("certificates renewed", 3);
    assert_eq!(kind(&ports[0]), Some(HandshakeKind::Full));
}

#[test]
fn clients_resume_after_an_upgrade() {
    let (place, authority) = certified();
    let (backend, port) = (Backend::echo(), port());
    let file = place.file("a.pem");
    let mut old = place.native(&format!("--tls-cert {} {port} {backend}", file.display()));
    let config = Arc::new(authority.trust());
    let kind = || {
        let mut client = TlsClient::connect(&port, &config, "a.test");
        client.send("hello");
        client.expect("hello"); // the tickets have come
        client.0.conn.handshake_kind()
    };
    assert_eq!(kind(), Some(HandshakeKind::Full));
    for _ in 0..2 {
        place.run("evenkeel", "upgrade").check(0);
        assert_eq!(kind(), Some(HandshakeKind::Resumed));
    }
    assert_eq!(old.wait().code(), Some(0));
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
fn a_reload_with_files_that_cannot_be_used_is_refused_and_changes_nothing() {
    let (place, authority) = (Place::new(), Authority::new());
    let good = authority.issue(&["a.test"]);
    replace(&place, "a.pem", both(&good));
    replace(&place, "a.keys", BASE64_STANDARD.encode([1; 48]));
    let (backend, port) = (Backend::echo(), port());
    let file = |idle: &str| {
        let [certificate, keys] = ["a.pem", "a.keys"].map(|name| place.file(name));
        format!(
            "[listeners.web]\nbind = {port}\npool = \"web\"\ntls-cert = \"{}\"\n\
             tls-ticket-keys = \"{}\"\nidle-timeout = \"{idle}\"\n\
             [pools.web]\nbackends = [\"{backend}\"]\n",
            certificate.display(),
            keys.display()
        )
    };
    replace(&place, "evenkeel.toml", file("1h"));
    let path = place.file("evenkeel.toml");
    let evenkeel = place.native(&format!("run {}", path.display()));
    let config = Arc::new(authority.trust());
    let before = shown(&TlsClient::connect(&port, &config, "a.test"));

    let broken = [
        ("a.pem", "garbage".to_owned(), "there is no certificate in it"),
        ("a.pem", both(&good).replace(&good.key, ""), "no private key"),
        ("a.keys", "AAAA\n".to_owned(), "line 1 is no ticket key"),
    ];
    for idle in ["1h", "2h"] {
        // Whether the text of the file is another one or not.
        replace(&place, "evenkeel.toml", file(idle));
        for (name, contents, reason) in &broken {
            let usable = fs::read(place.file(name)).unwrap();
            replace(&place, name, contents);
            for words in ["reload", "reload --confirm 1h"] {
                let refused = place.ctl(words);
                assert_eq!(refused.status, 1, "{words} {name}: {refused:?}");
                let said = format!("{}{}", refused.stdout, refused.stderr);
                assert!(said.contains(reason) && said.contains(name), "{words} {name}: {said}");
            }
            replace(&place, name, usable);
        }
        assert_eq!(shown(&TlsClient::connect(&port, &config, "a.test")), before);
        assert!(!place.ctl("config").stdout.contains("2h"));
        assert_ne!(place.ctl("confirm").status, 0, "nothing waits for that");
    }

    // Another certificate that does not exist.
    replace(&place, "evenkeel.toml", file("3h").replace("a.pem", "missing.pem"));
    let refused = place.ctl("reload");
    assert_eq!(refused.status, 1);
    evenkeel.log.wait("missing.pem");

    // All of it is used as soon as all of it can be.
    replace(&place, "a.pem", both(&authority.issue(&["a.test"])));
    replace(&place, "evenkeel.toml", file("3h"));
    place.ctl("reload").check(0);
    assert_ne!(shown(&TlsClient::connect(&port, &config, "a.test")), before);
    assert!(place.ctl("config").stdout.contains("3h"));
}

#[test]
fn files_that_only_the_start_could_read_do_not_stop_reloads() {
    if skip_unless(rustix::process::geteuid().is_root(), "only root can change the root") {
        return;
    }
    let (place, authority) = (Place::new(), Authority::new());
    let good = both(&authority.issue(&["a.test"]));
    replace(&place, "a.pem", &good);
    fs::create_dir(place.file("certificates")).unwrap();
    fs::write(place.file("certificates/b.pem"), &good).unwrap();
    let (backend, ports) = (Backend::echo(), [port(), port()]);
    let root = place.file("root");
    // In the new root directory, there is the same file, and a directory without certificates.
    let inside = |name: &str| root.join(place.file(name).strip_prefix("/").unwrap());
    fs::create_dir_all(inside("certificates")).unwrap();
    let file = |idle: &str| {
        let [first, second] = &ports;
        let [root, one, all] = ["root", "a.pem", "certificates"].map(|name| place.file(name));
        format!(
            "[process]\nroot = \"{}\"\n[listeners.one]\nbind = {first}\npool = \"web\"\n\
             tls-cert = \"{}\"\nidle-timeout = \"{idle}\"\n[listeners.all]\nbind = {second}\n\
             pool = \"web\"\ntls-cert = \"{}\"\n[pools.web]\nbackends = [\"{backend}\"]\n",
            root.display(),
            one.display(),
            all.display()
        )
    };
    replace(&place, "evenkeel.toml", file("1h"));
    fs::write(inside("evenkeel.toml"), file("2h")).unwrap();
    let path = place.file("evenkeel.toml");
    let _evenkeel = place.native(&format!("run {}", path.display()));
    place.ctl("reload").check(0);
    assert!(place.ctl("config").stdout.contains("2h"));
    for port in &ports {
        TlsClient::connect(port, &Arc::new(authority.trust()), "a.test");
    }

    fs::write(inside("a.pem"), "garbage").unwrap();
    let refused = place.ctl("reload");
    assert_eq!(refused.status, 1);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(said.contains("there is no certificate in it"), "{said}");
}

#[test]
fn a_watched_file_that_names_a_certificate_too_early_is_used_when_that_is_whole() {
    let (place, authority) = (Place::new(), Authority::new());
    let (backend, first, second) = (Backend::echo(), port(), port());
    let new = place.file("new.pem");
    let file = |more: &str| {
        format!(
            "[process]\nwatch = true\n[listeners.web]\nbind = {first}\npool = \"web\"\n{more}\
             [pools.web]\nbackends = [\"{backend}\"]\n"
        )
    };
    replace(&place, "evenkeel.toml", file(""));
    let evenkeel = place.native("run evenkeel.toml");
    let whole = both(&authority.issue(&["a.test"]));
    fs::write(&new, &whole[..whole.len() / 2]).unwrap();
    let tls = format!(
        "[listeners.tls]\nbind = {second}\npool = \"web\"\ntls-cert = \"{}\"\n",
        new.display()
    );
    replace(&place, "evenkeel.toml", file(&tls));
    evenkeel.log.wait("reload refused; nothing has changed");
    fs::write(&new, whole).unwrap();
    until("the new listener", || {
        std::net::TcpStream::connect(("127.0.0.1", second.number())).is_ok()
    });
    TlsClient::connect(&second, &Arc::new(authority.trust()), "a.test");
}
