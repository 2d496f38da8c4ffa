//! Examples of each rule, and an oracle that sees the whole stream at once.

use super::*;
use proptest::prelude::*;

const CLIENT: &str = "192.0.2.7";
const BOTH: &str = "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-For: 192.0.2.7";

fn rewritten(pieces: &[&[u8]]) -> Vec<u8> {
    let mut forwarded = Forwarded::new(CLIENT.parse().ok(), false);
    let mut output = Vec::new();
    for piece in pieces {
        assert!(forwarded.held_len <= 3);
        // Another process may continue at any place.
        let sent = serde_json::to_string(&forwarded).unwrap();
        forwarded = serde_json::from_str(&sent).unwrap();
        if forwarded.passes(piece) {
            output.extend_from_slice(piece);
        } else {
            forwarded.rewrite(piece, &mut output);
        }
    }
    forwarded.finish(&mut output);
    output
}

/// `+` stands for both headers in what is expected.
#[track_caller]
fn check(input: &str, expected: &str) {
    let expected = expected.replace('+', BOTH);
    let whole = rewritten(&[input.as_bytes()]);
    assert_eq!(String::from_utf8_lossy(&whole), expected);
    let bytes: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
    assert_eq!(String::from_utf8_lossy(&rewritten(&bytes)), expected, "byte by byte");
}

#[track_caller]
fn check_untouched(input: &str) {
    check(input, input);
}

#[test]
fn headers_go_behind_the_last_line() {
    // The examples of pen's description, bare line feeds and all.
    check("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: x+\r\n\r\n");
    check("GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\nHost: x+\n\n");
    check("HEAD / HTTP/1.0\r\n\r\n", "HEAD / HTTP/1.0+\r\n\r\n");
    check("GET / HTTP/1.1\r\nHost: x\r\n\n", "GET / HTTP/1.1\r\nHost: x+\r\n\n");
    check("\r\nGET / HTTP/1.1\r\n\r\n", "\r\nGET / HTTP/1.1+\r\n\r\n");
}

#[test]
fn a_header_that_is_there_is_left_alone() {
    let both = "GET / HTTP/1.1\r\nx-forwarded-FOR: a\r\nX-FORWARDED-PROTO:\r\n\r\n";
    check_untouched(both);
    check(
        "GET / HTTP/1.1\r\nX-Forwarded-For: a\r\n\r\n",
        "GET / HTTP/1.1\r\nX-Forwarded-For: a\r\nX-Forwarded-Proto: http\r\n\r\n",
    );
    check(
        "GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\n\r\n",
        "GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n",
    );
    check(
        "GET / HTTP/1.1\r\nX-Forwarded-Forx: a\r\n\r\n",
        "GET / HTTP/1.1\r\nX-Forwarded-Forx: a+\r\n\r\n",
    );
}

#[test]
fn every_request_of_a_connection_gets_its_own() {
    let get = "GET /1 HTTP/1.1\r\n\r\n";
    let got = "GET /1 HTTP/1.1+\r\n\r\n";
    check(&get.repeat(3), &got.repeat(3));
    check(&format!("DELETE * HTTP/1.1\r\n\r\n{get}"), &format!("DELETE * HTTP/1.1+\r\n\r\n{got}"));
    // A name inside a body is no header, and a request inside a body is no request.
    let body = "X-Forwarded-For: b\r\nGET / HTTP/1.1\r\n\r\n";
    check(
        &format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}{get}", body.len()),
        &format!("PUT / HTTP/1.1\r\nContent-Length: {}+\r\n\r\n{body}{got}", body.len()),
    );
    let chunks = "12;x=y\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\nX-Forwarded-For: c\r\n\r\n";
    check(
        &format!("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked \r\n\r\n{chunks}{get}"),
        &format!("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked +\r\n\r\n{chunks}{got}"),
    );
}

#[test]
fn what_is_no_http_1_passes_untouched() {
    let get = "\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    for start in [
        "EHLO mail",
        "GET /",
        "GET / HTTP/0.9",
        "GET / HTTP/1.x",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "\u{16}\u{3}\u{1}",
        "PRI * HTTP/2.0",
        "GET / HTTP/1.1\r\nHost : x",
        "GET / HTTP/1.1\r\n x",
        "GET / HTTP/1.1\r\nHost: x\r\n y",
        "GET / HTTP/1.1\r\nHost: x\ry",
        "GET / HTTP/1.1\r\nHost",
        "GET / HTTP/1.1\r\nHost: \0",
        "GET / HTTP/1.1\r\n\rx",
    ] {
        check_untouched(&format!("{start}{get}"));
    }
    let long = format!("GET / HTTP/1.1\r\nCookie: {}{get}", "x".repeat(HEAD_BYTES_MAX));
    check_untouched(&long);
}

#[test]
fn behind_a_tunnel_or_an_uncertain_body_nothing_is_touched() {
    let get = "GET / HTTP/1.1\r\n\r\n";
    for head in [
        "CONNECT x:1 HTTP/1.1",
        "connect x:1 HTTP/1.1",
        "GET / HTTP/1.1\r\nUpgrade: websocket",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4",
        "POST / HTTP/1.1\r\nContent-Length: 3, 3",
        "POST / HTTP/1.1\r\nContent-Length: +3",
        "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999",
        "POST / HTTP/1.1\r\nContent-Length:",
        "POST / HTTP/1.1\r\nTransfer-Encoding: identity",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked",
    ] {
        let output = rewritten(&[format!("{head}\r\n\r\n{get}").as_bytes()]);
        assert_eq!(String::from_utf8_lossy(&output), format!("{head}{BOTH}\r\n\r\n{get}"));
    }
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked";
    for body in ["x", "\r\n", "3\n", "3\r\nabcd", "3\r\nabc\n", "fffffffffffffffff\r\n", "0\r\n\n"]
    {
        let output = rewritten(&[format!("{chunked}\r\n\r\n{body}{get}").as_bytes()]);
        assert_eq!(String::from_utf8_lossy(&output), format!("{chunked}{BOTH}\r\n\r\n{body}{get}"));
    }
}

#[test]
fn only_the_end_of_a_line_waits() {
    let mut forwarded = Forwarded::new(None, false);
    let mut output = Vec::new();
    forwarded.rewrite(b"GET / HTTP/1.1\r\nHost: x\r\n\r", &mut output);
    assert_eq!(output, b"GET / HTTP/1.1\r\nHost: x");
    forwarded.rewrite(b"\n", &mut output);
    assert_eq!(output, b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: http\r\n\r\n");
    assert!(!forwarded.holds_back());
}

#[test]
fn an_ipv4_client_of_a_dual_stack_listener_is_one() {
    let mut forwarded = Forwarded::new("::ffff:192.0.2.7".parse().ok(), false);
    let mut output = Vec::new();
    forwarded.rewrite(b"GET / HTTP/1.1\r\n\r\n", &mut output);
    assert!(output.ends_with(b"X-Forwarded-For: 192.0.2.7\r\n\r\n"));
}

/// The oracle: the same rules, written as slowly and plainly as they go, for a stream that is all
/// there.
fn oracle(mut input: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    loop {
        while let Some(rest) = input.strip_prefix(b"\r\n").or(input.strip_prefix(b"\n")) {
            output.extend_from_slice(&input[..input.len() - rest.len()]);
            input = rest;
        }
        let Some((text_len, head_len)) = find_head(input) else { break };
        let text = String::from_utf8_lossy(&input[..text_len]).to_ascii_lowercase();
        output.extend_from_slice(&input[..text_len]);
        let names: Vec<_> = text.lines().skip(1).filter_map(|line| line.split_once(':')).collect();
        let of = |wanted: &str| {
            let fields = names.iter().filter(move |(name, _)| *name == wanted);
            fields.map(|(_, value)| value.trim().to_owned()).collect::<Vec<_>>()
        };
        if of("x-forwarded-proto").is_empty() {
            output.extend(b"\r\nX-Forwarded-Proto: http");
        }
        if of("x-forwarded-for").is_empty() {
            output.extend(b"\r\nX-Forwarded-For: 192.0.2.7");
        }
        output.extend_from_slice(&input[text_len..head_len]);
        input = &input[head_len..];
        let (lengths, codings) = (of("content-length"), of("transfer-encoding"));
        let body = match (&lengths[..], &codings[..]) {
            _ if text.starts_with("connect ") || !of("upgrade").is_empty() => None,
            ([], []) => Some(0),
            ([length], []) => length.parse().ok(),
            ([], [coding]) if coding == "chunked" => chunked_len(input),
            _ => None,
        };
        let Some(body) = body else { break };
        let body = usize::min(body, input.len());
        output.extend_from_slice(&input[..body]);
        input = &input[body..];
    }
    output.extend_from_slice(input);
    output
}

/// The lengths of a head without and with its last line end and the empty line.
fn find_head(input: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    let mut text = 0;
    let mut first = true;
    loop {
        let end = at + input[at..].iter().position(|&byte| byte == b'\n')?;
        let line = &input[at..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return (!first).then_some((text, end + 1));
        }
        let line = std::str::from_utf8(line).ok()?;
        let control = |c: char| c.is_ascii_control() && c != '\t';
        let token = |name: &str| !name.is_empty() && name.bytes().all(is_token);
        let fine = if first {
            let words: Vec<_> = line.split(' ').collect();
            matches!(words[..], [method, target, "http/1.1" | "HTTP/1.1"]
                if token(method) && !target.is_empty() && words[2].starts_with('H'))
        } else {
            line.split_once(':').is_some_and(|(name, _)| token(name))
        };
        if !fine || line.contains(control) {
            return None;
        }
        (first, text, at) = (false, at + line.len(), end + 1);
    }
}

/// The length of a chunked body; `None` if what is there of it is broken.
fn chunked_len(input: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let Some(end) = input[at..].windows(2).position(|two| two == b"\r\n") else {
            return Some(input.len());
        };
        let size = std::str::from_utf8(&input[at..at + end]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        at += end + 2;
        if size == 0 {
            return Some(usize::min(at + 2, input.len()));
        }
        at += size + 2;
        if at > input.len() {
            return Some(input.len());
        }
    }
}

/// Streams made of parts that make sense next to each other more often than not.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => Just("GET /x HTTP/1.1\r\nHost: y\r\n\r\n"),
        4 => Just("POST /x HTTP/1.1\r\nContent-Length: 7\r\n\r\nGET / H"),
        4 => Just("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        2 => Just("PUT / HTTP/1.1\nX-Forwarded-For: z\n\n"),
        2 => Just("GET / HTTP/1.1\r\nx-forwarded-proto: q\r\nA:b\r\n\n"),
        1 => Just("GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n"),
        1 => Just("POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n"),
        1 => Just("\r\n"),
        1 => Just("\n"),
        1 => Just("GET / HTTP/1.1\r\n broken\r\n\r\n"),
        1 => Just("GET / HTTP/1.1\r\n"),
        1 => Just("\u{1}\u{2}"),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat().into_bytes())
}

/// Takes out what was put in.
fn stripped(output: &[u8]) -> String {
    let output = String::from_utf8_lossy(output);
    output.replace("\r\nX-Forwarded-Proto: http", "").replace("\r\nX-Forwarded-For: 192.0.2.7", "")
}

proptest! {
    #[test]
    fn any_split_gives_what_the_whole_gives(
        stream in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|ends| &stream[ends[0]..ends[1]]).collect();
        let expected = oracle(&stream);
        let output = rewritten(&pieces);
        prop_assert_eq!(String::from_utf8_lossy(&output), String::from_utf8_lossy(&expected));
    }

    #[test]
    fn nothing_but_the_headers_is_added(stream in prop::collection::vec(any::<u8>(), 0..300)) {
        let output = rewritten(&[&stream]);
        prop_assert_eq!(stripped(&output), String::from_utf8_lossy(&stream));
    }
}

#[test]
fn requests_that_come_through_tls_are_said_to() {
    let mut forwarded = Forwarded::new(None, true);
    let mut output = Vec::new();
    forwarded.rewrite(b"GET / HTTP/1.1\r\n\r\n", &mut output);
    assert_eq!(output, b"GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\n\r\n");
}
