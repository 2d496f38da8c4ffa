//! Dialogues, cut at every byte, and with bytes where none may be.

use super::*;

const HELLO: &[u8] = include_bytes!("../client_hello/recorded/openssl-tls13.bin");
const SSL_REQUEST: &[u8] = postgresql::SSL_REQUEST;
const GSS_REQUEST: &[u8] = postgresql::GSS_REQUEST;
const STARTUP: &[u8] = &[0, 0, 0, 9, 0, 3, 0, 0, 0];
const CANCEL: &[u8] = &[0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 1, 0, 0, 0, 2];

/// What becomes of a client that sends these messages, each after the answer to the one before, in
/// pieces of this length.
fn play(protocol: Option<Starttls>, messages: &[&[u8]], piece: usize) -> (String, Upgrade) {
    let mut upgrade = Upgrade::new(protocol);
    let mut said = String::from_utf8(upgrade.greeting().unwrap_or_default().to_vec()).unwrap();
    let mut queue: Vec<u8> = Vec::new();
    for piece in messages.iter().flat_map(|message| message.chunks(piece)) {
        queue.extend(piece);
        while !queue.is_empty() {
            let mut seen = queue.clone();
            let (count, answer, ends) = match upgrade.next_step(&mut seen) {
                UpgradeStep::Wait(needed) => {
                    assert!(needed > queue.len());
                    break;
                }
                UpgradeStep::Answer(count, answer) => (count, answer, ""),
                UpgradeStep::Goodbye(count, answer) => (count, answer, ":gone"),
                UpgradeStep::Hello(hello) => {
                    return (said + ":" + hello.server_name.unwrap_or_default(), upgrade);
                }
                UpgradeStep::Plain => return (said + ":plain", upgrade),
                UpgradeStep::Refuse => return (said + ":refused", upgrade),
            };
            queue.drain(..count);
            said += &String::from_utf8_lossy(&answer);
            said += ends;
            if !ends.is_empty() {
                return (said, upgrade);
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

/// What a client of a protocol with lines hears, line by line, and what becomes of it.
#[track_caller]
fn check_lines(protocol: Starttls, messages: &[&str], expected: &[&str], is_granted: bool) {
    let mut messages: Vec<_> = messages.iter().map(|it| it.as_bytes()).collect();
    if is_granted {
        messages.push(HELLO);
    }
    let greeting = str::from_utf8(Upgrade::new(Some(protocol)).greeting().unwrap()).unwrap();
    let end = if is_granted { ":db.example.org" } else { "" };
    let expected = greeting.to_owned() + &expected.join("\r\n") + end;
    check(Some(protocol), &messages, &expected, is_granted);
}

const PG: Option<Starttls> = Some(Starttls::Postgresql);
const LDAP: Option<Starttls> = Some(Starttls::Ldap);
const LINES: [Starttls; 3] = [Starttls::Smtp, Starttls::Imap, Starttls::Pop3];

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
    let begin = "250-evenkeel\r\n250 STARTTLS\r\n220 2.0.0 Begin TLS\r\n";
    let expected = format!("220 evenkeel ESMTP\r\n{begin}:refused");
    let (ehlo, starttls, mail) = (b"EHLO me\r\n", b"STARTTLS\r\n", b"MAIL FROM:<>\r\n");
    check(Some(Starttls::Smtp), &[ehlo, starttls, mail], &expected, true);
}

/// Bytes that come with a request for TLS might pass for something that TLS protects.
#[test]
fn what_comes_with_a_request_is_refused() {
    let lines = [b"STARTTLS\r\n".as_slice(), b"a STARTTLS\r\n", b"STLS\r\n"];
    let requests = [(Starttls::Postgresql, SSL_REQUEST), (Starttls::Ldap, ldap::REQUEST)];
    for (protocol, request) in LINES.into_iter().zip(lines).chain(requests) {
        let injected = [&b"x"[..], b"\n", b"RSET\r\n", b"\0", HELLO, STARTUP, SSL_REQUEST, request];
        for after in injected {
            let mut upgrade = Upgrade::new(Some(protocol));
            let mut bytes = [request, after].concat();
            assert_eq!(upgrade.next_step(&mut bytes), UpgradeStep::Refuse, "{after:?}");
            assert_eq!(upgrade.granted(), None);
        }
        let mut upgrade = Upgrade::new(Some(protocol));
        let mut bytes = request.to_vec();
        let step = upgrade.next_step(&mut bytes);
        assert!(matches!(step, UpgradeStep::Answer(count, _) if count == request.len()));
        assert_eq!(upgrade.granted(), Some(protocol));
    }
    let mut bytes = [GSS_REQUEST, SSL_REQUEST].concat();
    assert_eq!(Upgrade::new(PG).next_step(&mut bytes), UpgradeStep::Refuse);
}

#[test]
fn a_mail_client_is_told_to_begin_tls() {
    let ehlo = "250-evenkeel\r\n250 STARTTLS";
    let first = "530 5.7.0 Must issue a STARTTLS command first";
    check_lines(
        Starttls::Smtp,
        &["EHLO a b\r\n", "noop\r\n", "HELO a\r\n", "AUTH PLAIN x\n", "starttls \r\n"],
        &[ehlo, "250 2.0.0 OK", "250 evenkeel", first, "220 2.0.0 Begin TLS\r\n"],
        true,
    );
    check_lines(
        Starttls::Smtp,
        // Commands may come together, except with the one that begins TLS.
        &["STARTTLS now\r\nMAIL FROM:<a@b>\r\n", "RSET\r\nQUIT\r\n"],
        &["501 5.5.4 STARTTLS has no parameters", first, "250 2.0.0 OK", "221 2.0.0 Bye\r\n:gone"],
        false,
    );
}

#[test]
fn an_imap_client_is_told_to_begin_tls() {
    let capable = "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED";
    check_lines(
        Starttls::Imap,
        &["a1 capability\r\n", "a2 NOOP\r\n", "a3 LOGIN a b\r\n", "+ x\r\n", "a.4 starttls\r\n"],
        &[
            capable,
            "a1 OK done",
            "a2 OK done",
            "a3 NO [PRIVACYREQUIRED] STARTTLS comes first",
            "* BAD a command begins with a tag",
            "a.4 OK begin TLS\r\n",
        ],
        true,
    );
    check_lines(Starttls::Imap, &["1 LOGOUT\r\n"], &["* BYE", "1 OK bye\r\n:gone"], false);
}

#[test]
fn a_pop3_client_is_told_to_begin_tls() {
    check_lines(
        Starttls::Pop3,
        &["CAPA\r\n", "USER a\r\n", "stls\r\n"],
        &["+OK", "STLS", ".", "-ERR STLS comes first", "+OK begin TLS\r\n"],
        true,
    );
    check_lines(Starttls::Pop3, &["QUIT\r\n"], &["+OK bye\r\n:gone"], false);
}

#[test]
fn nobody_keeps_a_dialogue_going_for_ever() {
    for protocol in LINES {
        let mut upgrade = Upgrade::new(Some(protocol));
        assert!(upgrade.greeting().is_some() && upgrade.greeting().is_none());
        let mut answers = 0;
        while let UpgradeStep::Answer(..) = upgrade.next_step(&mut b"a NOOP\r\n".to_vec()) {
            answers += 1;
        }
        assert_eq!(answers, 31);
        for mut endless in [vec![b'x'; 1024], HELLO.to_vec(), b"\0".to_vec()] {
            let step = Upgrade::new(Some(protocol)).next_step(&mut endless);
            assert_eq!(step, UpgradeStep::Refuse);
        }
    }
}

/// As OpenLDAP and Microsoft's clients send it.
#[test]
fn ldap_clients_come_to_tls_in_several_ways() {
    let answer = "0\x0c\x02\x01\x01x\x07\x0a\x01\0\x04\0\x04\0";
    check(LDAP, &[ldap::REQUEST, HELLO], &format!("{answer}:db.example.org"), true);
    let long =
        b"0\x84\0\0\0\x24\x02\x01\x01w\x84\0\0\0\x1b\x80\x84\0\0\0\x161.3.6.1.4.1.1466.20037";
    let mut long = long.to_vec();
    long[5] = (long.len() - 6) as u8;
    long[14] = (long.len() - 15) as u8;
    check(LDAP, &[&long[..], HELLO], &format!("{answer}:db.example.org"), true);
    let id = b"0\x20\x02\x04\x7f\x01\x02\x03w\x18\x80\x161.3.6.1.4.1.1466.20037";
    let answer = "0\x0f\x02\x04\x7f\x01\x02\x03x\x07\x0a\x01\0\x04\0\x04\0";
    check(LDAP, &[id, HELLO], &format!("{answer}:db.example.org"), true);
    check(LDAP, &[HELLO], ":db.example.org", false);
}

#[test]
fn ldap_clients_that_want_no_tls_are_recognized() {
    let bind = b"0\x0c\x02\x01\x01`\x07\x02\x01\x03\x04\0\x80\0";
    let who_am_i = b"0\x1e\x02\x01\x01w\x19\x80\x171.3.6.1.4.1.4203.1.11.3";
    check(LDAP, &[bind], ":plain", false);
    check(LDAP, &[who_am_i], ":plain", false);
    check(LDAP, &[b"GET /"], ":plain", false);
    check(LDAP, &[b"0\x84\xff\xff\xff\xff\x02\x01\x01w\x18\x80\x16"], ":plain", false);
    check(LDAP, &[b"0\x80\x02\x01\x01w\x18"], ":plain", false);
    check(LDAP, &[b"0\x1d\x02\x01\x01w\x18\x80\x17"], ":waits", false);
}

/// What becomes of a backend that says this, and what it is told.
#[track_caller]
fn check_asking(protocol: Starttls, wants_tls: bool, says: &str, told: &str, end: &str) {
    for piece in [1, 2, 7, 1 << 16] {
        let Some(mut asking) = Asking::new(protocol, wants_tls) else {
            assert_eq!((told, end), ("", "there"));
            return;
        };
        let (mut heard, mut queue, mut last) = (String::new(), Vec::new(), "waits".to_owned());
        for piece in [b""].into_iter().map(|it| &it[..]).chain(says.as_bytes().chunks(piece)) {
            queue.extend_from_slice(piece);
            last = loop {
                match asking.next_step(&queue) {
                    AskingStep::Wait => break "waits".to_owned(),
                    AskingStep::Say(count, text) => {
                        queue.drain(..count);
                        heard += &String::from_utf8_lossy(text);
                    }
                    AskingStep::Done(count) => {
                        queue.drain(..count);
                        break "there".to_owned();
                    }
                    AskingStep::Refused => break "refused".to_owned(),
                }
            };
            if last != "waits" {
                break;
            }
        }
        assert_eq!((heard.as_str(), last.as_str()), (told, end), "{says:?} in pieces of {piece}");
    }
}

#[test]
fn a_backend_is_brought_to_tls_as_its_protocol_has_it() {
    use Starttls::{Imap, Ldap, Pop3, Postgresql, Smtp};
    let smtp = "EHLO evenkeel\r\nSTARTTLS\r\n";
    let greeted = "220-a ESMTP\r\n220 b\r\n250-a\r\n250-SIZE 1\r\n250 STARTTLS\r\n220 go\r\n";
    check_asking(Smtp, true, greeted, smtp, "there");
    check_asking(Smtp, true, "220\r\n250\r\n220\r\n", smtp, "there");
    check_asking(Smtp, true, "220 a\r\n250 a\r\n502 no\r\n", smtp, "refused");
    check_asking(Smtp, true, "220 a\r\n550 a\r\n", "EHLO evenkeel\r\n", "refused");
    check_asking(Smtp, true, "421 busy\r\n", "", "refused");
    check_asking(Smtp, true, "2200 a\r\n", "", "refused");
    check_asking(Smtp, false, "220-a\r\n220 b\r\n", "", "there");
    check_asking(Smtp, false, "554 no\r\n", "", "refused");
    let imap = "1 STARTTLS\r\n";
    check_asking(Imap, true, "* OK hi\r\n* CAPABILITY X\r\n1 OK go\r\n", imap, "there");
    check_asking(Imap, true, "* OK hi\r\n1 BAD no\r\n", imap, "refused");
    check_asking(Imap, true, "* PREAUTH hi\r\n", "", "refused");
    check_asking(Imap, false, "* OK hi\r\n", "", "there");
    check_asking(Imap, false, "* BYE\r\n", "", "refused");
    check_asking(Pop3, true, "+OK <1@a>\r\n+OK\r\n", "STLS\r\n", "there");
    check_asking(Pop3, true, "+OK\r\n-ERR\r\n", "STLS\r\n", "refused");
    check_asking(Pop3, false, "+OK\r\n", "", "there");
    let ldap = &*String::from_utf8_lossy(ldap::REQUEST);
    check_asking(Ldap, true, "0\x0c\x02\x01\x01x\x07\x0a\x01\0\x04\0\x04\0", ldap, "there");
    check_asking(Ldap, true, "0\x0c\x02\x01\x01x\x07\x0a\x01\x02\x04\0\x04\0", ldap, "refused");
    check_asking(Ldap, true, "0\x0c\x02\x01\x02x\x07\x0a\x01\0\x04\0\x04\0", ldap, "refused");
    check_asking(Ldap, true, "HTTP/1.0 400\r\n", ldap, "refused");
    check_asking(Ldap, false, "", "", "there");
    check_asking(Postgresql, false, "", "", "there");
}

#[test]
fn a_backend_must_grant_tls_and_say_nothing_else() {
    let check = |protocol, before: &str, bytes: &[u8], expected| {
        let mut asking = Asking::new(protocol, true).unwrap();
        for line in before.split_inclusive('\n').chain((before.is_empty()).then_some("")) {
            let step = asking.next_step(line.as_bytes());
            assert!(matches!(step, AskingStep::Say(count, _) if count == line.len()), "{step:?}");
        }
        assert_eq!(asking.next_step(bytes), expected, "{bytes:?}");
    };
    let pg = |bytes: &[u8], expected| check(Starttls::Postgresql, "", bytes, expected);
    pg(b"", AskingStep::Wait);
    pg(b"S", AskingStep::Done(1));
    pg(b"N", AskingStep::Refused);
    pg(b"E", AskingStep::Refused);
    pg(b"SS", AskingStep::Refused);
    pg(b"S\x16", AskingStep::Refused);
    let smtp = "220 a\r\n250 a\r\n";
    check(Starttls::Smtp, smtp, b"220 go\r\n", AskingStep::Done(8));
    check(Starttls::Smtp, smtp, b"220 go\r\n2", AskingStep::Refused);
    check(Starttls::Imap, "* OK\r\n", b"1 OK\r\n* OK\r\n", AskingStep::Refused);
    check(Starttls::Pop3, "+OK\r\n", b"+OK\r\n+OK\r\n", AskingStep::Refused);
    let granted = b"0\x0c\x02\x01\x01x\x07\x0a\x01\0\x04\0\x04\0";
    check(Starttls::Ldap, "", granted, AskingStep::Done(granted.len()));
    check(Starttls::Ldap, "", &[&granted[..], b"0"].concat(), AskingStep::Refused);
}

#[test]
fn a_backend_that_never_comes_to_an_end_is_given_up() {
    let mut asking = Asking::new(Starttls::Imap, true).unwrap();
    assert!(matches!(asking.next_step(b"* OK\r\n"), AskingStep::Say(..)));
    let mut lines = 0;
    while asking.next_step(b"* more\r\n") != AskingStep::Refused {
        lines += 1;
    }
    assert_eq!(lines, 99);
    let mut asking = Asking::new(Starttls::Smtp, false).unwrap();
    assert_eq!(asking.next_step(&[b'2'; ASKING_BYTES_MAX]), AskingStep::Refused);
}
