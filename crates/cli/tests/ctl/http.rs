//! The admin socket as any HTTP client sees it.

use crate::support::{Backend, Client, Place, Program, ask_times, http, port, until};
use rustix::process::Signal;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

#[test]
fn a_client_that_ends_with_its_request_is_answered() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}"));
    for path in ["/v1/status", "/v1/sessions", "/livez", "/v1/config"].repeat(5) {
        let mut stream = UnixStream::connect(place.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
    }
}

#[test]
fn what_is_not_there_says_so_in_json() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}"));
    let check = |method: &str, path: &str, body: &str, statuses: &[u16], error: &str| {
        let answer = http(&place.socket(), method, path, body).unwrap();
        assert!(statuses.contains(&answer.status), "{method} {path} {body}: {answer:?}");
        assert_eq!(answer.body["error"], error, "{method} {path} {body}: {answer:?}");
        assert!(answer.body["message"].as_str().is_some_and(|it| !it.is_empty()), "{answer:?}");
    };
    check("POST", "/", "", &[405], "wrong-method");
    check("GET", "/v1/nothing", "", &[404], "unknown-path");
    check("POST", "/v2/commands", "{}", &[404], "unknown-path");
    check("POST", "/v1/status", "", &[405], "wrong-method");
    check("DELETE", "/v1/sessions", "", &[405], "wrong-method");
    check("GET", "/v1/commands", "", &[405], "wrong-method");
    let bad = [400, 422];
    check("POST", "/v1/commands", "", &bad, "invalid-command");
    check("POST", "/v1/commands", "{", &bad, "invalid-command");
    check("POST", "/v1/commands", "[]", &bad, "invalid-command");
    check("POST", "/v1/commands", "\"shutdown\"", &bad, "invalid-command");
    check("POST", "/v1/commands", r#"{"command":"frobnicate"}"#, &bad, "invalid-command");
    check("POST", "/v1/commands", r#"{"command":"reset-counters"}"#, &bad, "invalid-command");
    let unknown_field = r#"{"command":"reset-counters","backend":"0.0","force":true}"#;
    check("POST", "/v1/commands", unknown_field, &bad, "invalid-command");
    let too_large = r#"{"command":"set-sessions-max","backend":"0.0","sessions_max":9999999999}"#;
    check("POST", "/v1/commands", too_large, &bad, "invalid-command");
    let no_state = r#"{"command":"set-admin-state","backend":"0.0","state":"asleep"}"#;
    check("POST", "/v1/commands", no_state, &bad, "invalid-command");
    let negative = r#"{"command":"add-backend","tier":-1,"endpoint":"127.0.0.1:1"}"#;
    check("POST", "/v1/commands", negative, &bad, "invalid-command");
    let deep = "[".repeat(100_000);
    check("POST", "/v1/commands", &deep, &bad, "invalid-command");
    assert_eq!(place.status()["pools"][0]["tiers"][0]["backends"].as_array().unwrap().len(), 1);
    assert_eq!(ask_times(&port, 3), "a a a", "nothing has changed");
}

#[test]
fn the_page_shows_and_may_do_nothing_else() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}"));
    let mut stream = UnixStream::connect(place.socket()).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200") && head.contains("text/html"), "{head}");
    let policy = head.lines().find_map(|it| it.strip_prefix("content-security-policy: ")).unwrap();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    let nonce = policy.split('\'').find_map(|it| it.strip_prefix("nonce-")).unwrap();
    assert_eq!(nonce.len(), 32);
    assert!(page.contains(&format!("<script nonce=\"{nonce}\">")) && page.len() < 60_000);
    assert!(page.contains(&a.to_string()), "{page}");
}

#[test]
fn a_page_of_another_origin_neither_reads_nor_writes() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{port} {a}"));
    let asked = |method: &str, path: &str, header: &str| {
        let body = r#"{"command":"set-admin-state","backend":"0.0","state":"disabled"}"#;
        let body = if method == "POST" { body } else { "" };
        let mut stream = UnixStream::connect(place.socket()).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{header}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    for (method, path) in [("GET", "/v1/status"), ("GET", "/"), ("POST", "/v1/commands")] {
        for header in [
            "Origin: https://evil.example",
            "Origin: null",
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: cors",
        ] {
            assert_eq!(asked(method, path, header), "403", "{method} {path} {header}");
        }
    }
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate";
    assert_eq!(asked("GET", "/", link), "200", "a link to the page may be followed");
    assert_eq!(asked("POST", "/v1/commands", link), "403", "a form may not be sent");
    assert_eq!(asked("GET", "/v1/status", "Sec-Fetch-Site: same-origin"), "200");
    let pid = std::process::id();
    let line = evenkeel.log.wait("command refused");
    assert!(line.contains(&format!("process={pid} ")) && line.contains("/v1/commands"), "{line}");
    assert_eq!(place.backend(0, 0)["admin"], "enabled", "nothing has changed");
    assert_eq!(place.order(r#"{"command":"nonsense"}"#).status, 422);
    evenkeel.log.wait("unknown variant");
}

#[test]
fn an_instance_in_brief() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{port} {a}"));
    let answer = http(&place.socket(), "GET", "/v1/instance", "").unwrap();
    let expected = json!({"pid": evenkeel.pid().as_raw_nonzero(), "shutting_down": false, "binds": [format!("*:{port}")]});
    assert_eq!((answer.status, answer.body), (200, expected));
}

#[test]
fn commands_are_json() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{port} {a}"));
    let disable = r#"{"command":"set-admin-state","backend":"0.0","state":"disabled"}"#;
    let answer = place.order(disable);
    assert_eq!((answer.status, answer.body), (200, json!({"reply": "done"})));
    let answer = place.order(disable);
    assert_eq!((answer.status, answer.body), (200, json!({"reply": "unchanged"})));
    let answer = place.order(r#"{"command":"reset-counters","backend":"7.7"}"#);
    assert_eq!(answer.status, 404);
    let message = "no backend 7.7; `evenkeel ctl status` lists them";
    let expected = json!({"error": "unknown-backend", "detail": "7.7", "message": message});
    assert_eq!(answer.body, expected);
    let answer = place.order(r#"{"command":"kill-session","session":99}"#);
    assert_eq!(answer.status, 404);
    assert_eq!(answer.body["error"], "unknown-session");
    assert_eq!(answer.body["detail"], 99);
    let answer = place.order(r#"{"command":"shutdown","surplus":1}"#);
    assert_eq!((answer.status, &answer.body["error"]), (422, &json!("invalid-command")));
    let answer = place.order(r#"{"command":"add-backend","tier":5000,"endpoint":"127.0.0.1:1"}"#);
    assert_eq!(answer.status, 422);
    let line = evenkeel.log.wait("command");
    assert!(line.contains(&format!("by={} ", rustix::process::geteuid().as_raw())), "{line}");
}

#[test]
fn a_long_body_is_refused_or_understood_but_does_no_harm() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}"));
    for len in [1 << 20, 8 << 20] {
        let long = format!(r#"{{"command":"reset-counters","backend":"{}"}}"#, "x".repeat(len));
        if let Some(answer) = http(&place.socket(), "POST", "/v1/commands", &long) {
            assert!([400, 404, 413, 422].contains(&answer.status), "{}", answer.status);
        }
    }
    assert_eq!(ask_times(&port, 3), "a a a");
    place.ctl("status").check(0);
}

#[test]
fn rubbish_does_no_harm() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}"));
    for rubbish in [&b"\0\xff\r\n\r\n"[..], b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\n"] {
        let mut stream = UnixStream::connect(place.socket()).unwrap();
        stream.write_all(rubbish).unwrap();
    }
    place.ctl("status").check(0);
}

#[test]
fn idle_admin_connections_disturb_nobody() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}"));
    let socket = place.socket();
    let mut idle: Vec<_> = (0..200).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for stream in &mut idle[..100] {
        // Fails if the connection has already made room for a later one.
        let _ = stream.write_all(b"POST /v1/commands HTTP/1.1\r\nHost: x\r\nContent-");
    }
    let begin = Instant::now();
    assert_eq!(ask_times(&port, 50), ["a"; 50].join(" "));
    assert!(begin.elapsed() < Duration::from_secs(5));
    place.ctl("status").check(0);
    place.ctl("disable 0.0").check(0);
    assert_eq!(ask_times(&port, 1), "reset");
    drop(idle);
    place.ctl("enable 0.0").check(0);
    assert_eq!(ask_times(&port, 1), "a");
}

#[test]
fn sessions_are_listed_as_the_query_wants() {
    let (place, port) = (Place::new(), port());
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let _evenkeel = place.native(&format!("{port} {a} {b}"));
    let clients: Vec<_> = (0..6).map(|_| Client::connect(&port)).collect();
    clients.iter().for_each(|client| drop(client.line()));
    let list = |query: &str| {
        let answer = http(&place.socket(), "GET", &format!("/v1/sessions{query}"), "").unwrap();
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        answer.body.as_array().unwrap().clone()
    };
    assert_eq!(list("").len(), 6);
    assert_eq!(list("?limit=2").len(), 2);
    assert_eq!(list("?limit=2")[0]["session"], list("?limit=0&sort=age")[0]["session"]);
    assert_eq!(list("?backend=0.1").len(), 3);
    assert!(list("?backend=0.1").iter().all(|it| it["backend"] == b.to_string()));
    assert_eq!(list(&format!("?backend={a}&pool=main")).len(), 3);
    assert_eq!(list("?client=127.0.0.0/8&sort=idle").len(), 6);
    assert_eq!(list("?client=127.0.0.0%2F8&sort=rtt").len(), 6);
    assert_eq!(list("?client=10.0.0.0/8").len(), 0);
    assert_eq!(list("?client=unix").len(), 0);
    let refused = |query: &str, status: u16, error: &str| {
        let answer = http(&place.socket(), "GET", &format!("/v1/sessions{query}"), "").unwrap();
        assert_eq!((answer.status, &answer.body["error"]), (status, &json!(error)), "{query}");
    };
    refused("?pool=nobody", 404, "unknown-pool");
    refused("?backend=7.7", 404, "unknown-backend");
    refused("?client=everyone", 400, "invalid-query");
    refused("?sort=size", 400, "invalid-query");
    refused("?limit=-1", 400, "invalid-query");
    refused("?colour=red", 400, "invalid-query");

    let text = place.ctl("sessions --sort bytes --limit 4").check(0).stdout;
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(text.ends_with("there are more; --limit 0 lists all\n"), "{text}");
    assert_eq!(place.ctl("sessions --client ::1").check(0).stdout.lines().count(), 1);
    let error = place.ctl("sessions --client everyone").check(2).stderr;
    assert!(error.contains("10.0.0.0/8"), "{error}");
}

#[test]
fn events_come_as_they_happen() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut evenkeel = place.native(&format!("{port} {a}"));
    let follow = |words: &str| {
        let mut command = place.command("evenkeel", &format!("ctl events {words}"));
        Program::spawn(command.arg("--admin").arg(place.socket()))
    };
    let all = follow("");
    let ends = follow("--only ends --json");
    // A follower is there when it sees a change.
    until("followers", || {
        place.ctl("limit 0.0 5").check(0);
        assert_eq!(ask_times(&port, 1), "a");
        !all.out.with("command").is_empty() && !ends.out.all().is_empty()
    });
    place.ctl("disable 0.0").check(0);
    let line = all.out.wait("set-admin-state");
    assert!(line.contains(" info command asked=") && line.contains(" outcome=done"), "{line}");
    assert_eq!(ask_times(&port, 1), "reset");
    let line = all.out.wait("reason=no-backend");
    assert!(line.contains(" info session ended "), "{line}");
    ends.out.wait("\"reason\":\"no-backend\"");
    let lines = ends.out.all();
    assert!(lines.iter().all(|it| it.contains("\"message\":\"session ended\"")), "{lines:?}");
    evenkeel.signal(Signal::TERM);
    assert_eq!(evenkeel.wait().code(), Some(0));
    for mut follower in [all, ends] {
        assert_eq!(follower.wait().code(), Some(0), "the stream has ended");
    }
}

#[test]
fn events_come_to_the_last_before_the_process_exits() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let mut evenkeel = place.native(&format!("{port} {echo}"));
    let clients = [(); 5].map(|()| Client::connect(&port));
    for client in &clients {
        client.send("x");
        client.expect("x");
    }
    let mut command = place.command("evenkeel", "ctl events --admin");
    let mut follower = Program::spawn(command.arg(place.socket()));
    until("a follower", || {
        place.ctl("limit 0.0 50").check(0);
        !follower.out.all().is_empty()
    });
    let mut stream = UnixStream::connect(place.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: e\r\n\r\n").unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).unwrap();
    }
    // An empty line, as a sign of life.
    let mut chunk = [0; 6];
    stream.read_exact(&mut chunk).unwrap();
    assert_eq!(&chunk, b"1\r\n\n\r\n");
    evenkeel.signal(Signal::TERM);
    evenkeel.log.wait("waiting for open sessions to end");
    drop(clients);
    assert_eq!(evenkeel.wait().code(), Some(0));
    assert_eq!(follower.wait().code(), Some(0));
    let lines = |message| follower.out.with(message).len();
    assert_eq!((lines("session ended"), lines("stopped")), (5, 1));
    let mut body = String::new();
    stream.read_to_string(&mut body).unwrap();
    let lines = |message| body.matches(message).count();
    assert_eq!((lines("session ended"), lines("\"stopped\"")), (5, 1), "{body}");
    assert!(body.ends_with("\r\n0\r\n\r\n"), "the body has an end: {body}");
}
