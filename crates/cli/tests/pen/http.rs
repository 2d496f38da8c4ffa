//! Headers added to requests (`-H`), whatever pieces they come in.

use crate::Pen;
use crate::support::{Backend, Client, End};
use std::thread;
use std::time::Duration;

const ADDED: &str = "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-For: 127.0.0.1";

/// What a server gets when a client sends these pieces one after the other.
#[track_caller]
fn relayed(pen: &Pen, pieces: &[&[u8]]) -> String {
    let client = Client::connect(&pen.port);
    thread::scope(|scope| {
        let sender = &client;
        scope.spawn(move || {
            for (index, piece) in pieces.iter().enumerate() {
                if index > 0 {
                    // Makes separate reads likely; the answer must be the same either way.
                    thread::sleep(Duration::from_millis(2));
                }
                sender.send(piece);
            }
            sender.finish();
        });
        let (bytes, end) = client.rest();
        assert_eq!(end, End::Eof);
        String::from_utf8(bytes).unwrap()
    })
}

#[track_caller]
fn check(pieces: &[&str], expected: &str) {
    let echo = Backend::echo();
    let pen = Pen::start("-H", &format!("{echo}"));
    let pieces: Vec<_> = pieces.iter().map(|piece| piece.as_bytes()).collect();
    let seen = relayed(&pen, &pieces);
    assert_eq!(seen, expected.replace("{+}", ADDED));
}

#[test]
fn fault_10_a_head_in_several_pieces_gets_headers() {
    let expected = "GET /x HTTP/1.1\r\nHost: y{+}\r\n\r\n";
    check(&["GET /x HTTP/1.1\r\nHost: y\r\n\r\n"], expected);
    check(&["GET /x HTTP/1.1\r\n", "Host: y\r\n\r\n"], expected);
    check(&["G", "ET /x HTTP/1.1\r\nHost: y\r", "\n\r", "\n"], expected);
    let head = "GET /x HTTP/1.1\r\nHost: y\r\n\r\n";
    let bytes: Vec<_> = (0..head.len()).map(|at| &head[at..=at]).collect();
    check(&bytes, expected);
}

#[test]
fn fault_10_methods_other_than_get_and_post() {
    for method in ["PUT", "DELETE", "OPTIONS", "PATCH", "HEAD", "get"] {
        check(
            &[&format!("{method} / HTTP/1.1\r\nHost: y\r\nContent-Length: 0\r\n\r\n")],
            &format!("{method} / HTTP/1.1\r\nHost: y\r\nContent-Length: 0{{+}}\r\n\r\n"),
        );
    }
}

#[test]
fn fault_10_pipelined_requests_all_get_headers() {
    let get = "GET / HTTP/1.1\r\nHost: y\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nG\r\n\r\n";
    let got = "GET / HTTP/1.1\r\nHost: y{+}\r\n\r\n";
    let posted = "POST / HTTP/1.1\r\nContent-Length: 5{+}\r\n\r\nG\r\n\r\n";
    check(&[&[get, post, get, get].concat()], &[got, posted, got, got].concat());
    // With ends of pieces in the middle of heads and bodies.
    let all = [get, post, get].concat();
    for cut in [10, get.len() + 3, get.len() + post.len() - 2, get.len() + post.len() + 1] {
        check(&[&all[..cut], &all[cut..]], &[got, posted, got].concat());
    }
}

#[test]
fn fault_10_chunked_bodies_are_left_alone() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked";
    let body = "\r\n\r\n7\r\nGET / H\r\n0\r\n\r\n";
    let next = "GET /2 HTTP/1.1\r\nHost: y";
    check(
        &[&format!("{head}{body}{next}\r\n\r\n")],
        &format!("{head}{{+}}{body}{next}{{+}}\r\n\r\n"),
    );
}

#[test]
fn fault_10_a_header_name_in_a_body_is_no_header() {
    let body = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: x\r\n";
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}", body.len());
    check(&[&format!("{head}\r\n\r\n{body}")], &format!("{head}{{+}}\r\n\r\n{body}"));
    // One that is there stays as it is.
    check(
        &["GET / HTTP/1.1\r\nx-forwarded-for: 1.2.3.4\r\n\r\n"],
        "GET / HTTP/1.1\r\nx-forwarded-for: 1.2.3.4\r\nX-Forwarded-Proto: http\r\n\r\n",
    );
}

#[test]
fn bare_line_feeds_are_kept() {
    check(&["GET / HTTP/1.1\nHost: x\n\n"], "GET / HTTP/1.1\nHost: x{+}\n\n");
}

#[test]
fn fault_10_heads_near_32_kib_get_both_headers_and_lose_nothing() {
    let echo = Backend::echo();
    let pen = Pen::start("-H", &format!("{echo}"));
    let head_of = |length: usize| {
        let start = "GET / HTTP/1.1\r\nX-Long: ";
        format!("{start}{}", "l".repeat(length - start.len() - 4))
    };
    for length in (32_600..32_768).step_by(11).chain([32_765, 32_766, 32_767, 32_768]) {
        let head = head_of(length);
        let sent = format!("{head}\r\n\r\n");
        assert_eq!(sent.len(), length);
        let seen = relayed(&pen, &[sent.as_bytes()]);
        assert!(seen == format!("{head}{ADDED}\r\n\r\n"), "{length} bytes become {}", seen.len());
    }
    // Longer ones may go without, but they go.
    for length in [32_769, 33_000, 65_536, 200_000] {
        let head = head_of(length);
        let seen = relayed(&pen, &[format!("{head}\r\n\r\n").as_bytes()]);
        assert!(seen.starts_with(&head) && seen.ends_with("\r\n\r\n"), "{length}: {}", seen.len());
    }
}

#[test]
fn what_is_no_http_passes_unchanged() {
    for text in ["\u{1}\u{2}\u{3}", "EHLO x\r\n\r\n", "GET", "G", "\r\n\r\n", "SSH-2.0-x\r\n"] {
        check(&[text], text);
    }
    let echo = Backend::echo();
    let pen = Pen::start("-H", &format!("{echo}"));
    // A protocol in which the client waits for an answer to something that looks like a method.
    let client = Client::connect(&pen.port);
    client.send("\u{1}hello");
    client.expect("\u{1}hello");
    client.send("more");
    client.expect("more");
}
