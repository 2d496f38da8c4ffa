//! Dialogues, cut at every byte, and with bytes where none may be.

use super::*;

const HELLO: &[u8] = include_bytes!("../client_hello/recorded/openssl-tls13.bin");
const STARTUP: &[u8] = &[0, 0, 0, 9, 0, 3, 0, 0, 0];
const CANCEL: &[u8] = &[0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 1, 0, 0, 0, 2];

/// What becomes of a client that sends these messages, each after the answer to the one before, in
/// pieces of this length.
fn play(protocol: Option<Starttls>, messages: &[&[u8]], piece: usize) -> (String, Upgrade) {
    let mut upgrade = Upgrade::new(protocol);
    let mut said = String::new();
    let mut queue: Vec<u8> = Vec::new();
    for message in messages {
        for piece in message.chunks(piece) {
            queue.extend(piece);
            let mut seen = queue.clone();
            match upgrade.next_step(&mut seen) {
                UpgradeStep::Wait(needed) => assert!(needed > queue.len()),
                UpgradeStep::Answer(count, answer) => {
                    assert_eq!(count, queue.len());
                    queue.clear();
                    said += str::from_utf8(answer).unwrap();
                }
                UpgradeStep::Hello(hello) => {
                    return (said + ":" + hello.server_name.unwrap_or_default(), upgrade);
                }
                UpgradeStep::Plain => return (said + ":plain", upgrade),
                UpgradeStep::Refuse => return (said + ":refused", upgrade),
            }
        }
    }
    (said + ":waits", upgrade)
}

#[track_caller]
fn check(protocol: Option<Starttls>, messages: &[&[u8]], expected: &str, is_granted: bool) {
    for piece in [1, 2, 3, 5, 8, 1 << 16] {
        let (said, upgrade) = play(protocol, messages, piece);
        assert_eq!(said, expected, "in pieces of {piece}");
        assert_eq!(upgrade.granted(), protocol.filter(|_| is_granted));
    }
}

const PG: Option<Starttls> = Some(Starttls::Postgresql);

#[test]
fn postgresql_clients_come_to_tls_in_several_ways() {
    check(PG, &[SSL_REQUEST, HELLO], "S:db.example.org", true);
    check(PG, &[GSS_REQUEST, SSL_REQUEST, HELLO], "NS:db.example.org", true);
    check(PG, &[HELLO], ":db.example.org", false);
    check(PG, &[GSS_REQUEST, HELLO], "N:db.example.org", false);
    check(None, &[HELLO], ":db.example.org", false);
}

#[test]
fn clients_that_want_no_tls_are_recognized() {
    check(PG, &[STARTUP], ":plain", false);
    check(PG, &[CANCEL], ":plain", false);
    check(PG, &[GSS_REQUEST, STARTUP], "N:plain", false);
    check(PG, &[b"GET /"], ":plain", false);
    check(None, &[SSL_REQUEST], ":plain", false);
    check(PG, &[&SSL_REQUEST[..5]], ":waits", false);
}

#[test]
fn after_its_request_a_client_begins_tls_or_goes() {
    check(PG, &[SSL_REQUEST, STARTUP], "S:refused", true);
    check(PG, &[SSL_REQUEST, SSL_REQUEST], "S:refused", true);
    check(PG, &[SSL_REQUEST, GSS_REQUEST], "S:refused", true);
    check(PG, &[GSS_REQUEST, GSS_REQUEST], "N:refused", false);
    check(PG, &[SSL_REQUEST, b"Q"], "S:refused", true);
}

#[test]
fn what_comes_with_a_request_is_refused() {
    for (request, after) in [
        (SSL_REQUEST, HELLO),
        (SSL_REQUEST, STARTUP),
        (SSL_REQUEST, b"x"),
        (GSS_REQUEST, SSL_REQUEST),
    ] {
        let mut bytes = [request, after].concat();
        assert_eq!(Upgrade::new(PG).next_step(&mut bytes), UpgradeStep::Refuse);
    }
}

#[test]
fn a_backend_must_grant_tls_and_say_nothing_else() {
    let check = |bytes: &[u8], expected| {
        assert_eq!(grant(Starttls::Postgresql, bytes), expected, "{bytes:?}");
    };
    check(b"", Grant::Wait);
    check(b"S", Grant::Granted(1));
    check(b"N", Grant::Refused);
    check(b"E", Grant::Refused);
    check(b"SS", Grant::Refused);
    check(b"S\x16", Grant::Refused);
    assert_eq!(request(Starttls::Postgresql), SSL_REQUEST);
}
