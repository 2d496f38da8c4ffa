//! Every verb: what it answers, and what it does to traffic.

use crate::support::{Backend, Client, End, Place, Program, ask, ask_times, port, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[track_caller]
fn done(place: &Place, words: &str) {
    assert_eq!(place.ctl(words).check(0).stdout, "done\n", "{words}");
}

#[track_caller]
fn already(place: &Place, words: &str) {
    let said = place.ctl(words).check(0).stdout;
    assert!(said.starts_with("already ") || said == "nothing to change\n", "{words}: {said}");
}

#[track_caller]
fn refused(place: &Place, words: &str, says: &str) {
    let done = place.ctl(words).check(1);
    assert_eq!(done.stderr, format!("evenkeel ctl: {says}\n"));
    assert_eq!(done.stdout, "");
}

#[test]
fn status_as_a_table() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let down = Backend::refusing();
    let mut evenkeel = place.native(&format!("{port} {a}:3 {down} ! {b} % --workers 2"));
    let held = Client::connect(&port);
    held.expect("a\n");
    held.send("12345");
    held.expect("12345");
    let second = Client::connect(&port);
    second.expect("a\n"); // after the one that refuses
    drop(second);
    done(&place, "disable 1.0");
    until("the session to end", || place.sessions() == 1);
    let seen = place.ctl("status").check(0).stdout;
    let version = env!("CARGO_PKG_VERSION");
    let pid = evenkeel.pid().as_raw_nonzero();
    // Ports are five digits wide, here as there.
    let seen = seen
        .replace(&a.to_string(), "127.0.0.1:AAAAA")
        .replace(&b.to_string(), "127.0.0.1:BBBBB")
        .replace(&down.to_string(), "127.0.0.1:DDDDD")
        .replace(&format!("*:{port}"), "*:PORT")
        .replace(&format!("evenkeel {version}, pid {pid}, up "), "HEAD ");
    let uid = rustix::process::getuid().as_raw();
    let without_age = |line: &str| match line
        .strip_suffix(" ago")
        .and_then(|it| it.rsplit_once(' '))
    {
        Some((rest, _)) => format!("{rest} N ago\n").replace(&format!("user {uid},"), "user UID,"),
        None => format!("{line}\n"),
    };
    let seen: String = seen.lines().map(without_age).collect();
    let (head, table) = seen.split_once('\n').unwrap();
    let (seconds, workers) = head.split_once(" s, ").unwrap();
    seconds.strip_prefix("HEAD ").unwrap().parse::<u64>().unwrap();
    assert!(["sessions by worker: 1 0", "sessions by worker: 0 1"].contains(&workers), "{workers}");
    assert_eq!(
        table,
        "
*:PORT: 1 session open, 2 since start, round-robin ! hash
PLACE  BACKEND          STATE        OPEN  MAX  TRIED  FAILED  SENT  RECEIVED
0.0    127.0.0.1:AAAAA  healthy         1    3      2       0     5         9
0.1    127.0.0.1:DDDDD  quarantined     0    -      1       1     0         0
1.0    127.0.0.1:BBBBB  disabled        0    -      0       0     0         0
0.1: quarantined: connection refused, N ago
1.0: disabled by user UID, N ago
"
    );
    let wide = place.ctl("status --wide").check(0).stdout;
    let heading = "PLACE  BACKEND          POLICY       ADMIN     HEALTH       OPEN  MAX  TRIED";
    assert!(wide.contains(heading), "{wide}");
    evenkeel.kill();
}

#[test]
fn the_status_has_the_sessions_that_ended_last() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("127.0.0.1:{port} {a} --workers 1"));
    let ended = || {
        let status = place.ctl("status --json").check(0).stdout;
        let status: Value = serde_json::from_str(&status).unwrap();
        status["ended_sessions"].as_array().unwrap().clone()
    };
    assert_eq!(ended(), [] as [Value; 0]);
    assert_eq!(ask(&port), "a");
    until("the first to end", || ended().len() == 1);
    let client = Client::connect(&port);
    client.expect("a\n");
    done(&place, "kill 2");
    until("the second to end", || ended().len() == 2);
    let [last, first] = &ended()[..] else { panic!() };
    assert_eq!(
        [&last["session"], &last["reason"], &first["reason"]],
        [&json!(2), &json!("admin"), &json!("client-fin")]
    );
    assert_eq!(
        [&last["listener"], &last["backend"]],
        [&json!(format!("127.0.0.1:{port}")), &json!(a.to_string())]
    );
    assert_eq!(last["received_bytes"], 2);
    let page = place.run("evenkeel", "status --html").check(0).stdout;
    assert!(page.contains("admin: an operator ended it"), "{page}");
}

#[test]
fn status_and_sessions_as_json() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("127.0.0.1:{port} {a}:7 --workers 1"));
    let client = Client::connect(&port);
    client.expect("a\n");
    let mut status: Value =
        serde_json::from_str(&place.ctl("status --json").check(0).stdout).unwrap();
    assert!(status["uptime_seconds"].is_u64());
    status["uptime_seconds"] = json!(0);
    assert_eq!(status.as_object_mut().unwrap().remove("ended_sessions"), Some(json!([])));
    assert_eq!(status.as_object_mut().unwrap().remove("forwarded_sessions"), Some(json!(0)));
    let expected = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": evenkeel.pid().as_raw_nonzero().get(),
        "uptime_seconds": 0,
        "shutting_down": false,
        "file": null,
        "revision": 1,
        "file_hash": null,
        "drain_seconds": null,
        "predecessor": null,
        "unconfirmed_seconds": null,
        "departed_listeners": [],
        "departed_backends": [],
        "names": [],
        "workers": [{ "sessions": 1 }],
        "listeners": [{
            "name": "main",
            "binds": [format!("127.0.0.1:{port}")],
            "pool": "main",
            "routes": [],
            "sessions": 1,
            "sessions_max": null,
            "connecting": 0,
            "paused": false,
            "sessions_total": 1,
            "forwarded_total": 0,
            "ended_total": [],
            "dropped_datagrams_total": 0,
            "sent_bytes_total": 0,
            "received_bytes_total": 2,
            "refused_rate_total": 0,
            "refused_sessions_total": 0,
            "refused_table_total": 0,
            "retransmits_total": 0,
            "lifetime": null,
            "rtt": null,
            "certificates": [],
        }],
        "pools": [{
            "name": "main",
            "tiers": [{
                "policy": "round-robin",
                "stance": "normal",
                "backends": [{
                    "name": null,
                    "endpoint": a.to_string(),
                    "addresses": [a.to_string()],
                    "admin": "enabled",
                    "health": "healthy",
                    "probe": null,
                    "agent": null,
                    "last_change": null,
                    "sessions": 1,
                    "sessions_max": 7,
                    "attempts_total": 1,
                    "failures_total": 0,
                    "sent_bytes_total": 0,
                    "received_bytes_total": 2,
                    "totals": null,
                }],
            }],
            "tier_in_use": 0,
            "states": { "up": 1, "down": 0, "disabled": 0 },
            "sessions": 1,
            "totals": null,
        }],
    });
    // What is timed is for the tests of metrics.
    let totals = status["pools"][0]["totals"].take();
    assert_eq!(totals, status["pools"][0]["tiers"][0]["backends"][0]["totals"].take());
    assert_eq!((&totals["attempts"], &totals["received_bytes"]), (&json!(1), &json!(2)));
    assert_eq!(totals["connect"]["count"], 1);
    for timed in ["lifetime", "rtt"] {
        assert_eq!(status["listeners"][0][timed].take()["count"], 0);
    }
    assert_eq!(status, expected);

    let mut sessions: Value =
        serde_json::from_str(&place.ctl("sessions --json").check(0).stdout).unwrap();
    // What the clock or the kernel measures.
    for measured in ["age", "idle", "first_byte", "rtt", "backend_rtt"] {
        let field = &mut sessions[0][format!("{measured}_seconds")];
        assert!((0.0..60.0).contains(&field.as_f64().unwrap()), "{measured}: {field}");
        *field = json!(0);
    }
    let source = sessions[0]["source"].as_str().unwrap().to_owned();
    assert!(source.starts_with("127.0.0.1:") && source != a.to_string(), "{source}");
    let expected = json!([{
        "session": 1,
        "worker": 0,
        "listener": format!("127.0.0.1:{port}"),
        "client": client.0.local_addr().unwrap().to_string(),
        "peer": null,
            "server_name": null,
            "tls": null,
            "alpn": null,
        "backend": a.to_string(),
        "backend_address": a.to_string(),
        "source": source,
        "phase": "open",
        "sent_bytes": 0,
        "received_bytes": 2,
        "age_seconds": 0,
        "idle_seconds": 0,
        "first_byte_seconds": 0,
        "rtt_seconds": 0,
        "retransmits": 0,
        "backend_rtt_seconds": 0,
        "backend_retransmits": 0,
    }]);
    assert_eq!(sessions, expected);

    let plain = place.ctl("sessions").check(0).stdout;
    let row = plain.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    let client_address = client.0.local_addr().unwrap().to_string();
    assert_eq!(&row[..6], ["1", &*client_address, &a.to_string(), "open", "0", "2"]);

    let table = place.ctl("sessions --wide").check(0).stdout;
    let mut lines = table.lines();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        words(lines.next().unwrap()).join(" "),
        "SESSION LISTENER CLIENT PEER SOURCE BACKEND ADDRESS PHASE WORKER SENT RECEIVED AGE IDLE RTT \
         RETRANS BACKEND-RTT BACKEND-RETRANS SNI TLS ALPN"
    );
    let row = words(lines.next().unwrap());
    assert_eq!(
        &row[..11].join(" "),
        &format!("1 127.0.0.1:{port} {client_address} - {source} {a} {a} open 0 0 2")
    );
    assert_eq!(lines.next(), None);
}

#[test]
fn a_session_that_is_connecting_is_listed_as_such() {
    let (place, port) = (Place::new(), port());
    let hole = Backend::black_hole();
    let _evenkeel = place.native(&format!("{port} {hole}"));
    let client = Client::connect(&port);
    let sessions = || -> Value {
        serde_json::from_str(&place.ctl("sessions --json").check(0).stdout).unwrap()
    };
    until("the session", || sessions()[0]["phase"] == "connecting");
    assert_eq!(sessions()[0]["backend"], hole.to_string());
    let number = sessions()[0]["session"].to_string();
    done(&place, &format!("kill {number}"));
    assert_eq!(client.end(), End::Reset);
}

#[test]
fn disable_enable_and_drain() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let evenkeel = place.native(&format!("{port} {a} {b}"));
    let held = Client::connect(&port);
    held.expect("a\n");
    done(&place, "disable 0.0");
    already(&place, "disable 0.0");
    assert_eq!(ask_times(&port, 3), "b b b");
    held.send("still served");
    held.expect("still served");
    done(&place, &format!("enable {a}"));
    already(&place, "enable 0.0");
    assert!(ask_times(&port, 2).contains('a'));
    done(&place, "drain 0.0");
    already(&place, "drain 0.0");
    assert_eq!(place.backend(0, 0)["admin"], "draining");
    assert_eq!(ask_times(&port, 3), "b b b");
    held.send("still served");
    held.expect("still served");
    drop(held);
    evenkeel.log.wait("backend drained");
    done(&place, "drain 0.1");
    assert_eq!(ask(&port), "reset");
    done(&place, "enable 0.1");
    assert_eq!(ask(&port), "b");
}

#[test]
fn drain_waits_for_the_last_session() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let evenkeel = place.native(&format!("{port} {a} {b}"));
    let held = Client::connect(&port);
    held.expect("a\n");
    let late = place.ctl("drain 0.0 --wait 50ms").check(1);
    assert_eq!(late.stderr, "evenkeel ctl: backend 0.0 is draining, but still has 1 open\n");
    assert_eq!(late.stdout, "");
    let mut waiting =
        Program::spawn(&mut place.command("evenkeel", &format!("ctl drain {a} --wait")));
    evenkeel.log.wait_nth("set-admin-state", 1);
    assert!(!waiting.has_ended());
    drop(held);
    assert_eq!(waiting.wait().code(), Some(0));
    waiting.out.wait("drained");
    assert_eq!(place.ctl("drain 0.1 --wait 1h").check(0).stdout, "drained\n");
    refused(&place, "drain 0.7 --wait", "no backend 0.7; `evenkeel ctl status` lists them");
}

#[test]
fn a_full_pool_is_shown_as_such() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}:1"));
    let says = "every available backend has as many sessions as its limit allows";
    assert!(!place.ctl("status").check(0).stdout.contains(says));
    let held = Client::connect(&port);
    held.expect("a\n");
    assert!(place.ctl("status").check(0).stdout.contains(says));
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}"));
    for words in ["ctl status", "ctl sessions --json", "ctl enable 0.0", "status --html"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = place.command("evenkeel", words).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("cannot write to standard output"), "{words}: {said}");
    }
}

#[test]
fn limit() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a} ! {b}"));
    let held = [(); 3].map(|()| Client::connect(&port));
    assert_eq!(held.each_ref().map(Client::line), ["a", "a", "a"]);
    done(&place, "limit 0.0 2");
    assert_eq!(place.backend(0, 0)["sessions"], 3, "nobody is ended");
    assert_eq!(ask(&port), "b");
    done(&place, "limit 0.0 4");
    let fourth = Client::connect(&port);
    fourth.expect("a\n");
    assert_eq!(ask(&port), "b");
    done(&place, "limit 0.0 0");
    assert_eq!(ask(&port), "a");
    done(&place, "limit 0.0 -1");
    assert_eq!(ask(&port), "b");
}

#[test]
fn add_and_assign() {
    let (place, port) = (Place::new(), port());
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a}"));
    done(&place, &format!("add 0 {b}"));
    assert_eq!(place.backend(0, 1)["admin"], "disabled");
    assert_eq!(ask_times(&port, 2), "a a");
    done(&place, "enable 0.1");
    let mut seen = [ask(&port), ask(&port)];
    seen.sort();
    assert_eq!(seen, ["a", "b"]);

    let must = "backend 0.1 must be disabled before its address can change".to_owned();
    refused(&place, &format!("assign 0.1 {c}"), &must);
    done(&place, "disable 0.1");
    done(&place, &format!("assign 0.1 {c}"));
    done(&place, "enable 0.1");
    let mut seen = [ask(&port), ask(&port)];
    seen.sort();
    assert_eq!(seen, ["a", "c"]);

    // A new tier, which can only be the next one.
    let says = "there is no tier 2; the next new tier is 1";
    refused(&place, &format!("add 2 {b}"), says);
    done(&place, &format!("add 1 {b}"));
    done(&place, "enable 1.0");
    done(&place, "disable 0.0");
    done(&place, "disable 0.1");
    assert_eq!(ask(&port), "b");
    place.ctl("status").check(0);
    refused(&place, "policy 5 hash", "there is no tier 5; the tiers are 0 to 1");
    let bad = place.ctl("add 0 127.0.0.1").check(1).stderr;
    assert!(bad.contains("no usable address"), "{bad}");
    let bad = place.ctl("add 0 name.invalid:80").check(1).stderr;
    assert!(bad.contains("no usable address name.invalid:80"), "{bad}");
}

#[test]
fn another_address_keeps_limit_and_counters() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a}:7"));
    assert_eq!(ask(&port), "a");
    done(&place, "disable 0.0");
    done(&place, &format!("assign 0.0 {b}"));
    done(&place, "enable 0.0");
    assert_eq!(ask(&port), "b");
    let backend = place.backend(0, 0);
    assert_eq!(
        (&backend["endpoint"], &backend["sessions_max"]),
        (&json!(b.to_string()), &json!(7))
    );
    assert_eq!(backend["attempts_total"], 2);
}

#[test]
fn remove() {
    let (place, port) = (Place::new(), port());
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a} {b} {c}"));
    let held = Client::connect(&port);
    held.expect("a\n");
    done(&place, "remove 0.0");
    // Its session goes on, and the list of sessions still has it.
    held.send("still served");
    held.expect("still served");
    let sessions: Value =
        serde_json::from_str(&place.ctl("sessions --json").check(0).stdout).unwrap();
    assert_eq!(sessions[0]["backend"], a.to_string());
    assert_eq!(place.backend(0, 0)["endpoint"], b.to_string());
    let mut seen = [ask(&port), ask(&port)];
    seen.sort();
    assert_eq!(seen, ["b", "c"]);
    let unknown = format!("no backend {a}; `evenkeel ctl status` lists them");
    refused(&place, &format!("remove {a}"), &unknown);
    done(&place, &format!("remove {b}"));
    done(&place, "remove 0.0");
    assert_eq!(ask(&port), "reset");
    // The tier is still there for another one, whose counters are its own.
    done(&place, &format!("add 0 {a}"));
    assert_eq!(place.backend(0, 0)["attempts_total"], 0);
    done(&place, "enable 0.0");
    assert_eq!(ask(&port), "a");
}

#[test]
fn a_backend_is_healthy_once_it_has_answered() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a} ! name.invalid:80"));
    assert_eq!(place.backend(0, 0)["health"], "unknown");
    assert_eq!(place.backend(1, 0)["health"], "unresolved");
    assert_eq!(ask(&port), "a");
    assert_eq!(place.backend(0, 0)["health"], "healthy");
}

#[test]
fn an_auto_disabled_backend_can_be_enabled_at_once() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let down = Backend::refusing();
    let _evenkeel = place.native(&format!("{port} {down} ! {a} --auto-disable"));
    assert_eq!(ask(&port), "a");
    until("it to be disabled", || place.backend(0, 0)["admin"] == "disabled");
    // An unrelated command leaves it so.
    done(&place, &format!("add 0 {b}"));
    assert_eq!(place.backend(0, 0)["admin"], "disabled");
    already(&place, "disable 0.0");
    done(&place, "enable 0.0");
    assert_eq!(place.backend(0, 0)["admin"], "enabled");
}

#[test]
fn policy() {
    let (place, port) = (Place::new(), port());
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a} {b} {c}"));
    assert_eq!(ask_times(&port, 3), "a b c");
    done(&place, "policy 0 hash");
    let hashed = ask(&port);
    assert_eq!(ask_times(&port, 4), [&*hashed; 4].join(" "));
    done(&place, "policy 0 round-robin");
    let mut seen = [ask(&port), ask(&port), ask(&port)];
    seen.sort();
    assert_eq!(seen, ["a", "b", "c"]);
    place.ctl("policy 0 whatever").check(2);
}

#[test]
fn reset_of_counters() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}:9"));
    let held = Client::connect(&port);
    held.expect("a\n");
    assert_eq!(ask(&port), "a");
    until("the session to end", || place.sessions() == 1);
    assert_eq!(place.backend(0, 0)["attempts_total"], 2);
    done(&place, "reset 0.0");
    let backend = place.backend(0, 0);
    for counter in ["attempts_total", "failures_total", "sent_bytes_total", "received_bytes_total"]
    {
        assert_eq!(backend[counter], 0, "{counter}");
    }
    assert_eq!((&backend["sessions"], &backend["sessions_max"]), (&json!(1), &json!(9)));
    assert_eq!(ask(&port), "a");
    until("it to be counted", || place.backend(0, 0)["attempts_total"] == 1);
}

#[test]
fn kill() {
    let (place, port) = (Place::new(), port());
    let (seen, sees) = std::sync::mpsc::channel();
    let backend = Backend::new(move |client| {
        client.send("hello\n");
        let _ = seen.send(client.rest().1);
    });
    let _evenkeel = place.native(&format!("{port} {backend} --workers 1"));
    let [first, second] = [(); 2].map(|()| {
        let client = Client::connect(&port);
        assert_eq!(client.line(), "hello");
        client
    });
    done(&place, "kill 1");
    assert_eq!(first.end(), End::Reset);
    assert_eq!(sees.recv_timeout(crate::support::PATIENCE), Ok(End::Reset));
    refused(&place, "kill 1", "no session 1; `evenkeel ctl sessions` lists them");
    assert_eq!(place.sessions(), 1);
    second.finish();
    assert_eq!(second.end(), End::Eof);
}

#[test]
fn shutdown() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut evenkeel = place.native(&format!("{port} {a}"));
    let held = Client::connect(&port);
    held.expect("a\n");
    done(&place, "shutdown");
    assert_eq!(ask(&port), "refused");
    place.ctl("status").check(69);
    held.send("still served");
    held.expect("still served");
    assert!(!evenkeel.has_ended());
    drop(held);
    assert_eq!(evenkeel.wait().code(), Some(0));
}

#[test]
fn a_backend_that_is_not_there() {
    let (place, port) = (Place::new(), port());
    let a = Backend::named("a");
    let _evenkeel = place.native(&format!("{port} {a} ! {a}"));
    let unknown = |name: &str| format!("no backend {name}; `evenkeel ctl status` lists them");
    for name in ["0.1", "2.0", "nobody", "10.0.0.1:80"] {
        for verb in ["enable", "disable", "drain", "reset"] {
            refused(&place, &format!("{verb} {name}"), &unknown(name));
        }
        refused(&place, &format!("limit {name} 5"), &unknown(name));
    }
    let several =
        format!("several backends are called {a}; use the place that `evenkeel ctl status` shows");
    refused(&place, &format!("disable {a}"), &several);
    done(&place, "disable 1.0");
}

#[test]
fn quarantine() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let evenkeel = place.native(&format!("{port} {a} {b}"));
    let held = Client::connect(&port);
    held.expect("a\n");
    done(&place, "quarantine 0.0 1h");
    assert_eq!(place.backend(0, 0)["health"], "quarantined");
    assert_eq!(ask_times(&port, 3), "b b b");
    held.send("still served");
    held.expect("still served");
    // A later word counts, whether it is more or less.
    done(&place, &format!("quarantine {a} 2h"));
    assert_eq!(ask_times(&port, 2), "b b");
    done(&place, "quarantine 0.0 0");
    assert_eq!(place.backend(0, 0)["health"], "probation");
    let mut seen = [ask(&port), ask(&port)];
    seen.sort();
    assert_eq!(seen, ["a", "b"]);
    assert_eq!(place.backend(0, 0)["health"], "healthy");
    assert!(evenkeel.log.wait("command").contains("quarantine"));
    done(&place, "quarantine 0.0 0");
}

#[test]
fn a_quarantine_ends_by_itself() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a} ! {b}"));
    let begin = Instant::now();
    done(&place, "quarantine 0.0 1s");
    assert_eq!(ask(&port), "b");
    until("it to be used again", || ask(&port) == "a");
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(place.backend(0, 0)["health"], "healthy");
}

#[test]
fn a_quarantine_of_all_leaves_the_last_resort() {
    for (option, expected) in [("", "a"), ("--no-last-resort", "reset")] {
        let (place, port, a) = (Place::new(), port(), Backend::named("a"));
        let _evenkeel = place.native(&format!("{port} {a} {option}"));
        done(&place, "quarantine 0.0 1h");
        assert_eq!(ask(&port), expected, "{option:?}");
    }
}

#[test]
fn a_quarantine_of_what_is_not_there_or_for_no_time() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}"));
    for name in ["0.1", "nobody"] {
        let says = format!("no backend {name}; `evenkeel ctl status` lists them");
        refused(&place, &format!("quarantine {name} 1h"), &says);
    }
    for time in ["long", "-1", "1.5s", "", "99999999999999999999h", "never", "36501d"] {
        let stderr = place.ctl(&format!("quarantine 0.0 {time}")).check(2).stderr;
        assert!(stderr.contains("<TIME>") || stderr.contains("'-1'"), "{time}: {stderr}");
    }
    done(&place, "quarantine 0.0 36500d");
    assert_eq!(place.backend(0, 0)["health"], "quarantined");
    assert_eq!(ask(&port), "a", "the last resort");
}
