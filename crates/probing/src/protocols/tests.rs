use crate::{Advice, AgentCheck, Dialogue, Probe, Progress};

/// Plays what a server sends, piece by piece, in three ways: as it is, byte by byte, and all at
/// once. Returns what the client has sent, and the outcome: `+`, `?` for none, or the reason.
#[track_caller]
fn check(probe: &str, server: &[&[u8]], sent: &[u8], outcome: &str) {
    let probe: Probe = probe.parse().unwrap();
    let all = server.concat();
    let bytes: Vec<&[u8]> = all.chunks(1).collect();
    for pieces in [server, &bytes[..], &[&all[..]]] {
        let mut send = Vec::new();
        let mut dialogue = Dialogue::new(&probe, "192.0.2.1:80", 7);
        let mut progress = dialogue.start(&mut send);
        for piece in pieces {
            if progress == Progress::Waiting {
                progress = dialogue.read(piece, &mut send);
            }
        }
        let is = match progress {
            Progress::Waiting => "?".to_owned(),
            Progress::Passed => "+".to_owned(),
            Progress::Failed(why) => why,
        };
        // Read byte by byte, some faults show before the end of the line.
        if pieces.len() != bytes.len() || outcome.len() < 2 {
            assert_eq!(is, outcome, "{probe}");
        } else {
            assert!(is.len() > 1, "{probe}: {is}");
        }
        if outcome.len() < 2 {
            assert_eq!(send.escape_ascii().to_string(), sent.escape_ascii().to_string());
        }
    }
}

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: 192.0.2.1:80\r\nUser-Agent: evenkeel-probe\r\n\
                     Accept: */*\r\nConnection: close\r\n\r\n";

#[test]
fn http_asks_for_a_status() {
    check("http:/a", &[b"HTTP/1.1 200 OK\r\nA: b\r\n"], GET, "+");
    check("http:/a", &[b"HTTP/1.0 204\r\n"], GET, "+");
    check("http:/a", &[b"HTTP/1.1 20"], GET, "?");
    check("http:/a", &[b"HTTP/1.1 503 No\r\n"], GET, "answered \"HTTP/1.1 503 No\"");
    check("http:/a status=503", &[b"HTTP/1.1 503 No\r\n"], GET, "+");
    check("http:/a", &[b"SSH-2.0-a\r\n"], GET, "answered \"SSH-2.0-a\"");
    check("http:/a", &[b"HTTP/1.1  200\r\n"], GET, "answered \"HTTP/1.1  200\"");
}

#[test]
fn bytes_are_expected_anywhere() {
    let probe = "send=\"a\\r\\n\" expect=\"x y\"";
    check(probe, &[b"..x", b" y.."], b"a\r\n", "+");
    check(probe, &[b"..x", b"y.."], b"a\r\n", "?");
    let long = [b'.'; 20_000];
    check("expect=x", &[&long], b"", TOO_LONG);
}

#[test]
fn what_comes_before_an_answer_is_bounded() {
    for (probe, piece) in [
        ("ssh", &b"chargen line\r\n"[..]),
        ("smtp", b"220-x\r\n"),
        ("ftp", b" x\r\n"),
        ("pgsql", fix(b"N\0\0\0\0SNOTICE\0\0")),
    ] {
        check(probe, &[&piece.repeat(20_000 / piece.len())], b"", TOO_LONG);
    }
    let greeted = [packet(0, b"\x0a8.0.36\0rest"), &packet(2, b"\x01x").repeat(4000)].concat();
    check("mysql user=me", &[&greeted], b"", TOO_LONG);
    // The answer may end with the last bytes that are read, and others may follow it.
    let lines = b"x\r\n".repeat(5457);
    check("ssh", &[&[&lines, &b"SSH-2.0-a\r\n"[..], &lines].concat()], b"", "+");
}

const TOO_LONG: &str = "its answer is longer than 16 kB";

#[test]
fn lines_greet_and_say_goodbye() {
    let smtp = b"EHLO probe.invalid\r\nQUIT\r\n";
    check("smtp", &[b"220-a\r\n220 b\r\n", b"250-c\r\n250 d\r\n"], smtp, "+");
    check("smtp", &[b"421 too busy\r\n"], b"", "answered \"421 too busy\"");
    check("imap", &[b"* OK ready\r\n"], b"a LOGOUT\r\n", "+");
    check("imap", &[b"* BYE\r\n"], b"", "answered \"* BYE\"");
    check("pop3", &[b"+OK\r\n"], b"QUIT\r\n", "+");
    check("pop3", &[b"-ERR full\r\n"], b"", "answered \"-ERR full\"");
    check("ftp", &[b"220-a\r\n b\r\n220 c\r\n"], b"QUIT\r\n", "+");
    check("ftp", &[b"120 wait\r\n"], b"", "answered \"120 wait\"");
    check("ssh", &[b"hello\r\nSSH-2.0-OpenSSH_9\r\n"], b"", "+");
    check("ssh", &[b"Exceeded MaxStartups\r\n"], b"", "answered \"Exceeded MaxStartups\"");
    check("memcached", &[b"VERSION 1.6\r\n"], b"version\r\nquit\r\n", "+");
    check("memcached", &[b"ERROR\r\n"], b"", "answered \"ERROR\"");
}

#[test]
fn redis_says_pong_or_its_role() {
    check("redis", &[b"+PONG\r\n"], b"PING\r\nQUIT\r\n", "+");
    check("redis", &[b"-NOAUTH Authentication required.\r\n"], b"PING\r\nQUIT\r\n", "+");
    check("redis", &[b"-LOADING it\r\n"], b"", "answered \"-LOADING it\"");
    let info = b"$40\r\n# Replication\r\nrole:master\r\nother:1\r\n";
    check("redis role=primary", &[info], b"INFO replication\r\nQUIT\r\n", "+");
    check("redis role=replica", &[info], b"", "answered \"role:master\"");
    check("redis role=primary", &[b"-NOAUTH a\r\n"], b"", "answered \"-NOAUTH a\"");
}

#[test]
fn pgsql_begins_to_authenticate() {
    let startup: &[u8] =
        b"\0\0\0\x37\0\x03\0\0user\0postgres\0application_name\0evenkeel-probe\0\0";
    check("pgsql", &[b"R\0\0\0\x08\0\0\0\x0a"], startup, "+");
    check(
        "pgsql",
        &[b"E\0\0\0\x0fSFATAL\0C57P03\0Mstarting\0\0".as_slice()].map(fix),
        b"",
        "answered \"57P03\" \"starting\"",
    );
    check("pgsql", &[b"E\0\0\0\0SFATAL\0C28000\0Mno\0\0".as_slice()].map(fix), startup, "+");
    check(
        "pgsql",
        &[b"E\0\0\0\0SFATAL\0C53300\0Mtoo many\0\0".as_slice()].map(fix),
        b"",
        "answered \"53300\" \"too many\"",
    );
    check("pgsql", &[b"HTTP/1.1 400\r\n"], b"", "answered \"HTTP/1.1 400\"");
    let startup: &[u8] =
        b"\0\0\0\x41\0\x03\0\0user\0a\0database\0b\0application_name\0evenkeel-probe\0\0";
    let startup = &[&(startup.len() as u32).to_be_bytes()[..], &startup[4..]].concat();
    let standby = fix(b"S\0\0\0\0in_hot_standby\0on\0");
    let probe = |role| format!("pgsql user=a database=b role={role}");
    let ok: &[u8] = b"R\0\0\0\x08\0\0\0\0";
    let zone = fix(b"S\0\0\0\0TimeZone\0UTC\0");
    check(&probe("replica"), &[ok, zone, standby], startup, "+");
    check(&probe("primary"), &[ok, standby], b"", "is a replica");
    check(
        &probe("primary"),
        &[b"R\0\0\0\x08\0\0\0\x0a"],
        b"",
        "wants a password before it says which role it has",
    );
    check(&probe("primary"), &[ok, b"Z\0\0\0\x05I"], b"", "does not say which role it has");
}

/// A message of PostgreSQL with its length put right.
fn fix(message: &[u8]) -> &'static [u8] {
    let mut message = message.to_vec();
    let length = (message.len() as u32 - 1).to_be_bytes();
    message[1..5].copy_from_slice(&length);
    message.leak()
}

/// A packet of MySQL.
fn packet(sequence: u8, body: &[u8]) -> &'static [u8] {
    let length = (body.len() as u32).to_le_bytes();
    [&length[..3], &[sequence], body].concat().leak()
}

#[test]
fn mysql_logs_in_and_pings() {
    let greeting = packet(0, b"\x0a8.0.36\0rest");
    let mut login = b"\x3b\0\0\x01\x01\xa2\x08\0\0\0\0\x01\x21".to_vec();
    login.extend([0; 23]);
    login.extend(b"me\0\0mysql_native_password\0");
    login[0] = login.len() as u8 - 4;
    let quit: &[u8] = b"\x01\0\0\0\x01";
    let ping: &[u8] = b"\x01\0\0\0\x0e";
    let ok = |sequence| packet(sequence, b"\0\0\0\x02\0\0\0");
    check("mysql user=me", &[greeting, ok(2), ok(1)], &[&login, ping, quit].concat(), "+");
    let other = packet(2, b"\xfecaching_sha2_password\0salt");
    let empty: &[u8] = b"\0\0\0\x03";
    let sent = [&login, empty, ping, quit].concat();
    check("mysql user=me", &[greeting, other, ok(4), ok(1)], &sent, "+");
    let blocked = packet(0, b"\xff\x69\x04Host is blocked");
    check("mysql user=me", &[blocked], b"", "answered 1129 \"Host is blocked\"");
    let denied = packet(2, b"\xff\x15\x04#28000Access denied");
    check("mysql user=me", &[greeting, denied], b"", "answered 1045 \"Access denied\"");
    let query: &[u8] = b"\x13\0\0\0\x03SELECT @@read_only";
    let rows = |value: &[u8]| {
        let (column, end) = (packet(2, b"\x03def"), packet(3, b"\xfe\0\0\x02\0"));
        [packet(1, b"\x01"), column, end, packet(4, value)]
    };
    let play = |role: &str, value: &[u8], sent: &[u8], outcome: &str| {
        let server = [&[greeting, ok(2)][..], &rows(value)].concat();
        check(&format!("mysql user=me role={role}"), &server, sent, outcome);
    };
    play("primary", b"\x010", &[&login, query, quit].concat(), "+");
    play("replica", b"\x011", &[&login, query, quit].concat(), "+");
    play("primary", b"\x011", b"", "read_only is \"1\"");
}

#[test]
fn binary_protocols_exchange_one_message() {
    let bind = [0x30, 12, 2, 1, 1, 0x60, 7, 2, 1, 3, 4, 0, 0x80, 0];
    let unbind = [0x30, 5, 2, 1, 2, 0x42, 0];
    let both = [&bind[..], &unbind].concat();
    check("ldap", &[&[0x30, 12, 2, 1, 1, 0x61, 7, 0x0a, 1, 0, 4, 0, 4, 0]], &both, "+");
    let long = [0x30, 0x84, 0, 0, 0, 16, 2, 1, 1, 0x61, 0x84, 0, 0, 0, 7, 0x0a, 1, 48, 4, 0, 4, 0];
    check("ldap", &[&long], &both, "+");
    check(
        "ldap",
        &[&[0x30, 12, 2, 1, 1, 0x61, 7, 0x0a, 1, 52, 4, 0, 4, 0]],
        b"",
        "answered: unavailable",
    );
    check("ldap", &[b"HTTP"], b"", "answered \"HTTP\"");
    let connect = b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0";
    check("mqtt", &[&[0x20, 2, 0, 0]], &[connect, &[0xe0, 0][..]].concat(), "+");
    check("mqtt", &[&[0x20, 2, 0, 3]], b"", "answered: server unavailable");
    let query = b"\0\x1dEK\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01";
    check("dns:example.org", &[b"\0\x1dEK\x81\x80\0\x01\0\0\0\0\0\0..."], query, "+");
    check("dns", &[b"\0\x1dEK\x81\x82\0\x01\0\0\0\0\0\0"], b"", "answered: server failure");
}

/// Plays the datagrams that come back, of a nonce of 0x0102030405060708.
#[track_caller]
fn check_datagrams(probe: &str, datagrams: &[&[u8]], outcome: &str) {
    let probe: Probe = probe.parse().unwrap();
    let mut send = Vec::new();
    let mut dialogue = Dialogue::new(&probe, "192.0.2.1:53", 0x0102_0304_0506_0708);
    assert_eq!(dialogue.start(&mut send), Progress::Waiting);
    let read = datagrams.iter().map(|it| dialogue.read_datagram(it, &mut send));
    let is = match read.into_iter().find(|it| *it != Progress::Waiting) {
        None => "?".to_owned(),
        Some(Progress::Failed(why)) => why,
        Some(_) => "+".to_owned(),
    };
    assert_eq!(is, outcome, "{probe}");
}

#[test]
fn dns_over_udp_takes_only_the_answer_to_its_question() {
    const QUESTION: &[u8] = b"\x01a\0\0\x01\0\x01";
    let answer = |head: &[u8]| [head, QUESTION, b"more"].concat();
    let good = answer(b"\x01\x02\x81\x80\0\x01\0\x01\0\0\0\0");
    let of_another = answer(b"\x01\x03\x81\x80\0\x01\0\x01\0\0\0\0");
    let question = answer(b"\x01\x02\x01\0\0\x01\0\0\0\0\0\0");
    let of_other_name = [&good[..12], b"\x01b\0\0\x01\0\x01"].concat();
    check_datagrams("dns:a over=udp", &[&good], "+");
    for wrong in [&of_another[..], &question, &of_other_name, &good[..11], b""] {
        check_datagrams("dns:a over=udp", &[wrong], "?");
        check_datagrams("dns:a over=udp", &[wrong, &good], "+");
    }
    let failure = answer(b"\x01\x02\x81\x82\0\x01\0\0\0\0\0\0");
    check_datagrams("dns:a over=udp", &[&failure], "answered: server failure");
    let form_error = b"\x01\x02\x81\x81\0\0\0\0\0\0\0\0";
    check_datagrams("dns:a over=udp", &[form_error], "answered: form error");
}

#[test]
fn ntp_wants_a_clock_that_is_synchronized() {
    let answer = |first: u8, stratum: u8, id: &[u8; 4], stamp: u8| {
        let mut packet = [0; 48];
        (packet[0], packet[1]) = (first, stratum);
        packet[12..16].copy_from_slice(id);
        packet[24..32].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, stamp]);
        packet
    };
    check_datagrams("ntp", &[&answer(0x24, 2, b"abcd", 8)], "+");
    check_datagrams("ntp", &[&answer(0x24, 2, b"abcd", 9)], "?"); // another's
    check_datagrams("ntp", &[&answer(0x23, 2, b"abcd", 8)], "?"); // a client
    check_datagrams("ntp", &[&answer(0x24, 2, b"abcd", 8)[..40]], "?");
    check_datagrams("ntp", &[&answer(0xe4, 2, b"abcd", 8)], "its clock is not synchronized");
    check_datagrams("ntp", &[&answer(0x24, 16, b"abcd", 8)], "its clock is not synchronized");
    check_datagrams("ntp", &[&answer(0x24, 0, b"RATE", 8)], "sent us away: RATE");
    check_datagrams("ntp", &[&answer(0x24, 0, b"\n\0\0\xff", 8)], "sent us away");
}

/// What an agent sends, whole and byte by byte, before it ends the connection or not.
#[track_caller]
fn check_agent(agent: &[u8], ends: bool, outcome: &str) {
    let check: AgentCheck = "9100 send=\"{backend}\\n\"".parse().unwrap();
    for size in [1, agent.len().max(1)] {
        let mut send = Vec::new();
        let mut dialogue = Dialogue::with_agent(&check.question("db1"), Advice::default());
        let mut progress = dialogue.start(&mut send);
        assert_eq!(send, b"db1\n");
        for piece in agent.chunks(size) {
            if progress == Progress::Waiting {
                progress = dialogue.read(piece, &mut send);
            }
        }
        if progress == Progress::Waiting && ends {
            progress = dialogue.end();
        }
        let is = match progress {
            Progress::Waiting => "?".to_owned(),
            Progress::Passed => dialogue.advice().and_then(|it| it.text.clone()).unwrap(),
            Progress::Failed(why) => why,
        };
        assert_eq!(is, outcome);
    }
}

#[test]
fn an_agent_says_a_line() {
    check_agent(b"75% up # fine\n", false, "75% up # fine");
    check_agent(b"drain\rdown\n", false, "drain");
    check_agent(b"drain", false, "?");
    check_agent(b"drain", true, "drain");
    check_agent(b"", true, "closed the connection before its answer");
    check_agent(b"\nup\n", false, "said nothing that is known: \"\"");
    check_agent(
        b"HTTP/1.0 400 Bad Request\r\n",
        false,
        "said nothing that is known: \"HTTP/1.0 400 Bad Request\"",
    );
    check_agent(&[b' '; 20_000], true, TOO_LONG);
}
