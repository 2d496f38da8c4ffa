//! The log: one line per ended session with its close reason, and changes of state in words.

use crate::support::{
    Backend, Client, Done, End, Place, Port, Program, ask, port, skip_unless, until,
};
use rustix::process::{Signal, geteuid};
use serde_json::Value;

/// The line of the first session that ended, as JSON.
#[track_caller]
fn ended(evenkeel: &Program) -> Value {
    serde_json::from_str(&evenkeel.log.wait("session ended")).unwrap()
}

/// Plays `scene`, after which the log must give `reason`; tells the whole line.
#[track_caller]
fn check(
    reason: &str,
    backend: &Backend,
    options: &str,
    scene: impl FnOnce(&Place, &Port, &mut Program),
) -> Value {
    let (place, port) = (Place::new(), port());
    let words = format!("{port} {backend} --log-format json {options}");
    let mut evenkeel = place.native(&words);
    scene(&place, &port, &mut evenkeel);
    let line = ended(&evenkeel);
    assert_eq!(line["reason"], reason, "{line}");
    line
}

fn keys(line: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn client_fin() {
    let backend = Backend::named("a");
    let line = check("client-fin", &backend, "", |_, port, _| {
        let client = Client::connect(port);
        client.expect("a\n");
        client.send("xyz");
        client.finish();
        assert_eq!(client.rest(), (b"xyz".to_vec(), End::Eof));
    });
    let expected = [
        "backend",
        "backend-rtt",
        "client",
        "connect",
        "duration",
        "first-byte",
        "level",
        "listener",
        "message",
        "received",
        "reason",
        "rtt",
        "sent",
        "session",
        "source",
        "time",
    ];
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(keys(&line), expected);
    assert_eq!(line["level"], "info");
    assert_eq!(line["message"], "session ended");
    assert_eq!(line["backend"], backend.to_string());
    assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert!(line["source"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert_eq!((&line["sent"], &line["received"]), (&3.into(), &5.into()));
    let seconds = |key: &str| line[key].as_f64().unwrap();
    assert!(seconds("connect") <= seconds("duration") && seconds("duration") < 10.0, "{line}");
    assert!(seconds("first-byte") <= seconds("duration"), "{line}");
    assert!((0.0..1.0).contains(&seconds("rtt")), "on loopback: {line}");
    assert!((0.0..1.0).contains(&seconds("backend-rtt")), "on loopback: {line}");
}

#[test]
fn client_fin_as_text() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{port} {a}"));
    let client = Client::connect(&port);
    client.finish();
    client.rest();
    let line = evenkeel.log.wait("session ended");
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!((time.len(), &time[10..11], &time[23..]), (24, "T", "Z"), "{line}");
    let fields: Vec<_> = rest.split(' ').map(|it| it.split_once('=').unwrap_or((it, ""))).collect();
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names.join(" "),
        "info session ended session listener client backend source reason sent received connect \
         first-byte duration rtt backend-rtt"
    );
    let field = |name: &str| fields.iter().find(|(key, _)| *key == name).unwrap().1;
    assert_eq!(field("listener"), format!("*:{port}"));
    assert_eq!(field("backend"), a.to_string());
    assert_eq!(field("client"), client.0.local_addr().unwrap().to_string());
    assert_eq!((field("reason"), field("sent"), field("received")), ("client-fin", "0", "2"));
    assert!(field("duration").ends_with('s'), "a time carries its unit: {line}");
}

#[test]
fn client_reset() {
    let line = check("client-reset", &Backend::named("a"), "", |_, port, _| {
        let client = Client::connect(port);
        client.expect("a\n");
        client.reset();
    });
    assert_eq!(line["received"], 2);
}

#[test]
fn backend_fin() {
    let backend = Backend::new(|client| client.send("bye"));
    check("backend-fin", &backend, "", |_, port, _| {
        let client = Client::connect(port);
        assert_eq!(client.rest(), (b"bye".to_vec(), End::Eof));
    });
}

#[test]
fn backend_reset() {
    let backend = Backend::new(|client| {
        client.expect("go");
        client.reset();
    });
    check("backend-reset", &backend, "", |_, port, _| {
        let client = Client::connect(port);
        client.send("go");
        assert_eq!(client.end(), End::Reset);
    });
}

#[test]
fn connect_refused() {
    let backend = Backend::refusing();
    let line = check("connect-refused", &backend, "", |_, port, _| {
        assert_eq!(ask(port), "reset");
    });
    assert_eq!(line["backend"], backend.to_string());
    assert_eq!(line.get("connect"), None);
}

#[test]
fn connect_timeout() {
    let backend = Backend::black_hole();
    let line = check("connect-timeout", &backend, "--connect-timeout 200ms", |_, port, _| {
        assert_eq!(ask(port), "reset");
    });
    assert_eq!(line["backend"], backend.to_string());
}

#[test]
fn no_backend() {
    check("no-backend", &Backend::named("a"), "", |place, port, _| {
        place.ctl("disable 0.0").check(0);
        assert_eq!(ask(port), "reset");
    });
}

#[test]
fn limit() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{port} {a}:1"));
    let client = Client::connect(&port);
    client.expect("a\n");
    assert_eq!(ask(&port), "reset");
    evenkeel.log.wait("reason=limit");
    evenkeel.log.wait("all backends have as many sessions as their limits allow");
}

#[test]
fn idle_timeout() {
    check("idle-timeout", &Backend::named("a"), "--idle-timeout 200ms", |_, port, _| {
        let client = Client::connect(port);
        client.expect("a\n");
        assert_eq!(client.end(), End::Reset);
    });
}

#[test]
fn admin() {
    check("admin", &Backend::named("a"), "", |place, port, _| {
        let client = Client::connect(port);
        client.expect("a\n");
        place.ctl("kill 1").check(0);
        assert_eq!(client.end(), End::Reset);
    });
}

#[test]
fn shutdown() {
    let options = "--shutdown-timeout 100ms --workers 1";
    check("shutdown", &Backend::named("a"), options, |_, port, evenkeel| {
        let client = Client::connect(port);
        client.expect("a\n");
        evenkeel.signal(Signal::TERM);
        assert_eq!(client.end(), End::Reset);
        assert_eq!(evenkeel.wait().code(), Some(0));
    });
}

#[test]
fn of_many_backends_the_first_are_named_at_the_start() {
    let (place, port) = (Place::new(), port());
    let names = |range: std::ops::Range<u16>| {
        range.map(|it| format!("127.0.0.1:{it}")).collect::<Vec<_>>().join(" ")
    };
    let (first, second, third) = (names(1..11), names(11..21), names(21..31));
    let words = format!("127.0.0.1:{port} {first} ! {second} ! {third} --workers 1");
    let evenkeel = place.native(&words);
    let expected = format!("backends=\"{first} ! {} and 14 more\"", names(11..17));
    let line = evenkeel.log.wait("listening");
    assert!(line.contains(&expected), "{line}");
}

#[test]
fn start_changes_and_end_are_told_in_words() {
    let (place, port) = (Place::new(), port());
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let words = format!("127.0.0.1:{port} {a} ! {b} --quarantine 300ms --workers 1");
    let mut evenkeel = place.native(&words);
    let log = evenkeel.log.clone();
    let start = log.wait("listening");
    let pid = evenkeel.pid().as_raw_nonzero();
    let expected = format!(
        "info listening listener=127.0.0.1:{port} backends=\"{a} ! {b}\" workers=1 pid={pid}"
    );
    assert!(start.ends_with(&expected), "{start}");
    assert!(log.wait("admin socket").contains(&place.socket().display().to_string()));

    a.stop();
    assert_eq!(ask(&port), "b");
    let quarantined = log.wait("quarantined");
    let expected = format!(
        "warn backend quarantined listener=127.0.0.1:{port} backend={a} \
         error=\"connection refused\""
    );
    assert!(quarantined.ends_with(&expected), "{quarantined}");
    a.start();
    until("the backend to be used again", || ask(&port) == "a");
    assert!(
        log.wait("recovered")
            .contains(&format!("info backend recovered listener=127.0.0.1:{port} backend={a}"))
    );

    let held = Client::connect(&port);
    assert_eq!(held.line(), "a");
    place.ctl("drain 0.0").check(0);
    let command = log.wait("command");
    assert!(command.contains(" by="), "{command}");
    assert!(command.contains("set-admin-state") && command.ends_with("outcome=done"), "{command}");
    assert_eq!(log.with("backend drained").len(), 0);
    drop(held);
    log.wait("backend drained");

    evenkeel.signal(Signal::TERM);
    assert_eq!(evenkeel.wait().code(), Some(0));
    log.wait("signal received, shutting down");
    assert!(log.wait("stopped").ends_with("info stopped"));
}

#[test]
fn every_line_of_a_json_log_is_an_object() {
    let (place, port) = (Place::new(), port());
    let (down, up) = (Backend::refusing(), Backend::named("up"));
    let mut evenkeel = place.native(&format!("{port} {down} {up} --log-format json"));
    assert_eq!(ask(&port), "up");
    evenkeel.log.wait("session ended");
    place.ctl("limit 0.1 5").check(0);
    evenkeel.signal(Signal::TERM);
    evenkeel.wait();
    evenkeel.log.wait("stopped");
    for line in evenkeel.log.all() {
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        assert!(value["time"].is_string() && value["message"].is_string(), "{line}");
    }
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut evenkeel =
        Program::spawn_unread(&mut place.command("evenkeel", &format!("{port} {a}")));
    until("it to listen", || ask(&port) == "a");
    for _ in 0..100 {
        assert_eq!(ask(&port), "a"); // a line each, more than fits into the pipe
    }
    place.ctl("status").check(0);
    place.ctl("disable 0.0").check(0);
    evenkeel.signal(Signal::TERM);
    assert_eq!(evenkeel.wait().code(), Some(0));
}

#[test]
fn a_log_that_is_read_late_is_whole() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut evenkeel =
        Program::spawn_unread(&mut place.command("evenkeel", &format!("{port} {a}")));
    until("it to listen", || ask(&port) == "a");
    for _ in 0..100 {
        assert_eq!(ask(&port), "a");
    }
    evenkeel.read_at_last();
    evenkeel.log.wait_nth("session ended", 100);
    evenkeel.signal(Signal::TERM);
    evenkeel.log.wait("stopped");
}

#[test]
fn a_daemon_under_another_root_directory_logs_to_the_system_log() {
    if skip_unless(geteuid().is_root(), "this needs root") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    // A /dev of its own, with a system log that this test reads.
    let dev = place.file("dev");
    std::fs::create_dir(&dev).unwrap();
    std::fs::write(dev.join("null"), "").unwrap();
    std::fs::create_dir(place.file("root")).unwrap();
    let log = std::os::unix::net::UnixDatagram::bind(dev.join("log")).unwrap();
    log.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let script = "mount --bind /dev/null dev/null && mount --rbind dev /dev && exec \"$@\"";
    let evenkeel = place.command("evenkeel", "");
    let mut inside = std::process::Command::new("unshare");
    inside.args(["--mount", "sh", "-c", script, "sh"]).arg(evenkeel.get_program());
    let words = format!("{port} {a} --daemon --root root --admin its.sock");
    inside.args(words.split(' ')).current_dir(place.file(""));
    assert_eq!(Done::run(&mut inside, "").check(0).stderr, "");
    let mut lines = String::new();
    let mut buffer = [0; 2000];
    while !lines.contains("admin socket") {
        let size = log.recv(&mut buffer).expect("a line in the system log");
        lines += &String::from_utf8_lossy(&buffer[..size]);
    }
    assert!(lines.contains("listening"), "{lines}");
    place.run("evenkeel", "ctl --admin its.sock shutdown").check(0);
}

#[test]
fn clients_that_no_backend_serves_are_a_warning_but_not_each() {
    let (place, port, down) = (Place::new(), port(), Backend::refusing());
    let evenkeel = place.native(&format!("{port} {down} --quarantine 0"));
    for _ in 0..20 {
        assert_eq!(ask(&port), "reset");
    }
    evenkeel.log.wait_nth("session ended", 19);
    let warnings = evenkeel.log.with("warn no backend has served these sessions");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let expected = format!("listener=*:{port} reason=connect-refused sessions=1");
    assert!(warnings[0].ends_with(&expected), "{warnings:?}");
    let rest = evenkeel.log.wait("sessions=19");
    assert!(rest.contains("warn no backend has served these sessions"), "{rest}");
}

#[test]
fn an_unusable_source_address_is_a_warning_at_the_start() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{port} {a} --source 192.0.2.1"));
    let line = evenkeel.log.wait("source address unusable");
    assert!(line.contains(" warn "), "{line}");
    assert!(line.contains(&format!("listener=*:{port} source=192.0.2.1 error=")), "{line}");
    assert_eq!(ask(&port), "a");
    let fine = Place::new();
    let port = crate::support::port();
    let evenkeel = fine.native(&format!("{port} {a} --source 127.0.0.1"));
    assert_eq!(evenkeel.log.with("source address").len(), 0);
}

#[test]
fn only_problems_are_logged_if_that_is_wanted() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{port} {a} --log-sessions problems"));
    assert_eq!(ask(&port), "a");
    let client = Client::connect(&port);
    client.expect("a\n");
    client.reset();
    evenkeel.log.wait("reason=client-reset");
    assert_eq!(evenkeel.log.with("session ended").len(), 1);

    let (quiet, port) = (Place::new(), crate::support::port());
    let evenkeel = quiet.native(&format!("{port} {a} --log-sessions none"));
    quiet.ctl("disable 0.0").check(0);
    assert_eq!(ask(&port), "reset");
    evenkeel.log.wait("no backend has served these sessions");
    assert!(evenkeel.log.with("session ended").is_empty());
}

#[test]
fn a_log_file_is_opened_again_at_usr1() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let words = format!("{port} {a} --log-file its.log");
    let mut evenkeel = Program::spawn(&mut place.command("evenkeel", &words));
    let (path, old) = (place.file("its.log"), place.file("old.log"));
    let has = |path: &std::path::Path, text: &str| {
        std::fs::read_to_string(path).is_ok_and(|log| log.contains(text))
    };
    until("it to listen", || has(&path, "admin socket"));
    assert_eq!(ask(&port), "a");
    until("the first line", || has(&path, "reason=client-fin"));
    std::fs::rename(&path, &old).unwrap();
    evenkeel.signal(Signal::USR1);
    until("the new file", || has(&path, "log opened again"));
    place.ctl("disable 0.0").check(0);
    assert_eq!(ask(&port), "reset");
    until("a line in the new file", || has(&path, "reason=no-backend"));
    assert!(!has(&old, "reason=no-backend") && !has(&path, "reason=client-fin"));
    evenkeel.signal(Signal::TERM);
    evenkeel.wait();
    assert!(has(&path, "info stopped"));
    assert!(evenkeel.log.all().is_empty(), "{:?}", evenkeel.log.all());
    let error =
        place.run("evenkeel", &format!("{} {a} --log-file no/such.log", crate::support::port()));
    assert!(error.check(1).stderr.contains("cannot open the log"));
}

#[test]
fn a_log_file_that_is_a_fifo_without_a_reader_holds_nothing_up() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let path = place.file("its.log");
    let mkfifo = || rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
    mkfifo();
    let words = format!("{port} {a} --log-file its.log");
    let mut evenkeel = Program::spawn(&mut place.command("evenkeel", &words));
    until("it to listen", || !place.sockets().is_empty());
    assert_eq!(ask(&port), "a");
    std::fs::remove_file(&path).unwrap();
    mkfifo();
    evenkeel.signal(Signal::USR1);
    assert_eq!(ask(&port), "a");
    std::fs::remove_file(&path).unwrap();
    evenkeel.signal(Signal::USR1);
    until("a new file", || {
        std::fs::read_to_string(&path).is_ok_and(|log| log.contains("log opened again"))
    });
    evenkeel.signal(Signal::TERM);
    evenkeel.wait();
}

#[test]
fn lines_for_the_journal_begin_with_their_priority() {
    let (place, port, down) = (Place::new(), port(), Backend::refusing());
    let file = std::fs::File::create(place.file("journal")).unwrap();
    let stat = rustix::fs::fstat(&file).unwrap();
    let mut command = place.command("evenkeel", &format!("{port} {down}"));
    command.env("JOURNAL_STREAM", format!("{}:{}", stat.st_dev, stat.st_ino)).stderr(file);
    let mut evenkeel = command.spawn().unwrap();
    let journal = || std::fs::read_to_string(place.file("journal")).unwrap();
    until("it to listen", || journal().contains("admin socket"));
    assert_eq!(ask(&port), "reset");
    until("a warning", || journal().contains("warn backend quarantined"));
    evenkeel.kill().unwrap();
    evenkeel.wait().unwrap();
    for line in journal().lines() {
        let prefix = if line.contains(" warn ") { "<4>2" } else { "<6>2" };
        assert!(line.starts_with(prefix), "{line}");
    }
    // Whatever the variable says, a pipe is no journal.
    let mut command = place.command("evenkeel", &format!("{} {down}", crate::support::port()));
    let other = Program::spawn(command.env("JOURNAL_STREAM", "8:1"));
    assert!(other.log.wait("admin socket").starts_with('2'));
}

/// The shape of a line, as the schema in the documents says it.
#[track_caller]
fn fits(line: &Value, schema: &Value) {
    let line = line.as_object().unwrap();
    for required in schema["required"].as_array().unwrap() {
        assert!(line.contains_key(required.as_str().unwrap()), "no {required} in {line:?}");
    }
    for (name, value) in line {
        let property = &schema["properties"][name];
        let is_kind = match property["type"].as_str() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_u64(),
            Some("number") => value.is_number(),
            None if schema["additionalProperties"] != false => true,
            kind => panic!("{name} has the type {kind:?} in the schema, and the line is {line:?}"),
        };
        assert!(is_kind, "{name} is {value}, not {property}");
        if let Some(words) = property["enum"].as_array() {
            assert!(words.contains(value), "{name} is {value}, not one of {words:?}");
        }
    }
}

#[test]
fn every_line_fits_the_schema() {
    let schema =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/log.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    let reasons: Vec<_> = terms::CloseReason::ALL.iter().map(|it| Value::from(it.name())).collect();
    let kinds = schema["allOf"].as_array().unwrap();
    let kind = |line: &Value| {
        let is_of = |it: &&Value| it["if"]["properties"]["message"]["const"] == line["message"];
        kinds.iter().find(is_of).map(|it| &it["then"])
    };
    let ended = kind(&serde_json::json!({ "message": "session ended" })).unwrap();
    assert_eq!(ended["properties"]["reason"]["enum"], Value::from(reasons));
    let (place, port) = (Place::new(), port());
    let (down, up) = (Backend::refusing(), Backend::named("up"));
    let words = format!("{port} {down} {up} --log-format json --log-start --log-every 100ms");
    let evenkeel = place.native(&words);
    assert_eq!(ask(&port), "up");
    let client = Client::connect(&port);
    evenkeel.log.wait("session open");
    drop(client);
    let client = Client::connect(&port);
    client.expect("up\n");
    client.reset();
    place.ctl("disable 0.1").check(0);
    assert_eq!(ask(&port), "reset");
    evenkeel.log.wait_nth("session ended", 3);
    let mut seen = Vec::new();
    for line in evenkeel.log.all() {
        let line: Value = serde_json::from_str(&line).unwrap();
        fits(&line, &schema);
        if let Some(schema) = kind(&line) {
            fits(&line, schema);
            seen.push(line["message"].clone());
        }
    }
    let count = |message: &str| seen.iter().filter(|it| *it == message).count();
    assert_eq!((count("session started"), count("session ended")), (3, 4));
    assert!(count("session open") > 0);
}
