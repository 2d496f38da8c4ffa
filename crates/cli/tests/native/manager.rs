//! What a service manager such as systemd hears.

use crate::support::{
    Backend, Client, End, Manager, PATIENCE, Place, Program, Worker, ask, port, until,
};
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

#[test]
fn it_is_ready_when_it_serves_and_says_how_things_are() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut manager = Manager::new(&place);
    let words = format!("{port} {a} --workers 3");
    let mut evenkeel = Program::spawn(manager.of(&mut place.command("evenkeel", &words)));
    manager.wait_for("READY");
    assert_eq!(ask(&port), "a");
    let status = manager.wait("STATUS", |_| true);
    assert_eq!(status, "no sessions on 1 listener; 1 backend available");
    let client = Client::connect(&port);
    client.expect("a\n");
    let has_session = |status: &str| status.starts_with("1 session on 1 listener; ");
    manager.wait("STATUS", has_session);
    evenkeel.signal(Signal::TERM);
    manager.wait_for("STOPPING");
    assert_eq!(manager.values("EXTEND_TIMEOUT_USEC"), ["40000000"], "30 s for sessions, 10 more");
    manager.wait("STATUS", |status| status == "Shutting down; 1 session left");
    client.finish();
    assert_eq!(client.end(), End::Eof);
    assert_eq!(evenkeel.wait().code(), Some(0));
    assert_eq!(manager.values("READY"), ["1"]);
    assert_eq!(manager.values("WATCHDOG"), [""; 0], "nobody has asked for it");
}

#[test]
fn a_stop_is_over_when_the_shutdown_time_out_is() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut manager = Manager::new(&place);
    let words = format!("{port} {a} --shutdown-timeout 300ms");
    let mut evenkeel = Program::spawn(manager.of(&mut place.command("evenkeel", &words)));
    manager.wait_for("READY");
    let client = Client::connect(&port);
    client.expect("a\n");
    evenkeel.signal(Signal::TERM);
    manager.wait_for("STOPPING");
    assert_eq!(client.end(), End::Reset);
    assert_eq!(evenkeel.wait().code(), Some(0));
}

#[test]
fn a_backend_that_has_failed_is_seen_in_the_status() {
    let (place, port) = (Place::new(), port());
    let mut manager = Manager::new(&place);
    let dead = crate::support::port();
    let words = format!("{port} 127.0.0.1:{dead} --quarantine 1h");
    let _evenkeel = Program::spawn(manager.of(&mut place.command("evenkeel", &words)));
    manager.wait_for("READY");
    assert_ne!(ask(&port), "");
    manager.wait("STATUS", |status| {
        status.starts_with("No backend available in pool main; ")
            && status.ends_with("no backends available, 1 quarantined")
    });
}

#[test]
fn a_daemon_is_ready_in_the_place_of_its_caller() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut manager = Manager::new(&place);
    let words = format!("{port} {a} --daemon --pid-file its.pid");
    let mut caller = Program::spawn(manager.of(&mut place.command("evenkeel", &words)));
    assert_eq!(caller.wait().code(), Some(0));
    // The caller has said so before it ended.
    let heard = manager.heard().to_vec();
    let pid = std::fs::read_to_string(place.file("its.pid")).unwrap();
    assert_eq!(heard, [format!("MAINPID={}", pid.trim()), "READY=1".to_owned()]);
    assert_eq!(ask(&port), "a");
    manager.wait("STATUS", |status| status.ends_with("1 backend available"));
    place.ctl("shutdown").check(0);
    manager.wait_for("STOPPING");
}

#[test]
fn a_failed_start_is_not_ready() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut manager = Manager::new(&place);
    for words in ["--user no-such-user", "--daemon --user no-such-user"] {
        let words = format!("{port} {a} {words}");
        let mut evenkeel = Program::spawn(manager.of(&mut place.command("evenkeel", &words)));
        assert_eq!(evenkeel.wait().code(), Some(1));
        assert_eq!(manager.heard(), [""; 0]);
    }
}

#[test]
fn the_watchdog_is_fed_as_long_as_every_worker_answers() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut manager = Manager::new(&place);
    let mut command = place.command("evenkeel", &format!("{port} {a} --workers 2"));
    let evenkeel = Program::spawn(manager.of(&mut command).env("WATCHDOG_USEC", "100000"));
    manager.wait_for("READY");
    let fed = |manager: &mut Manager| manager.values("WATCHDOG").len();
    until("the watchdog to be fed", || fed(&mut manager) >= 3);
    let mut worker = Worker::seize(&evenkeel, "worker-1");
    worker.stop();
    // The last call may have been answered before the worker was stopped.
    let mut last = fed(&mut manager);
    let mut since = Instant::now();
    let begin = Instant::now();
    while since.elapsed().as_secs() < 1 {
        let now = fed(&mut manager);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        assert!(begin.elapsed() < PATIENCE, "still fed while a worker hangs");
    }
    drop(worker);
    until("it to be fed again", || fed(&mut manager) > last);
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut manager = Manager::new(&place);
    let mut command = place.command("evenkeel", &format!("{port} {a}"));
    command.env("WATCHDOG_USEC", "20000").env("WATCHDOG_PID", "1");
    let mut evenkeel = Program::spawn(manager.of(&mut command));
    manager.wait_for("READY");
    evenkeel.signal(Signal::TERM);
    evenkeel.wait();
    manager.wait_for("STOPPING");
    assert_eq!(manager.values("WATCHDOG"), [""; 0]);
}

#[test]
fn a_manager_that_reads_nothing_or_is_gone_stops_nothing() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let path = place.file("full");
    let full = UnixDatagram::bind(&path).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"STATUS=filler", &path).is_ok() {}
    for address in [path.to_str().unwrap(), "/no/such/socket", "@no-such-name", "nonsense", ""] {
        let mut command = place.command("evenkeel", &format!("{port} {a}"));
        command.env("NOTIFY_SOCKET", address).env("WATCHDOG_USEC", "10000");
        let mut evenkeel = Program::spawn(&mut command);
        evenkeel.log.wait("admin socket");
        assert_eq!(ask(&port), "a", "{address}");
        evenkeel.signal(Signal::TERM);
        assert_eq!(evenkeel.wait().code(), Some(0), "{address}");
    }
    drop(full);
}

#[test]
fn the_classics_report_too() {
    let (place, a) = (Place::new(), Backend::named("a"));
    for (argv0, start) in [("balance", "-f"), ("pen", "-f")] {
        let port = port();
        let mut manager = Manager::new(&place);
        let words = format!("{start} {port} {a}");
        let mut program = Program::spawn(manager.of(&mut place.command(argv0, &words)));
        manager.wait_for("READY");
        assert_eq!(ask(&port), "a", "{argv0}");
        program.signal(Signal::TERM);
        program.wait();
        manager.wait_for("STOPPING");
        std::fs::remove_file(place.file("notify")).unwrap();
    }
}

#[test]
fn a_reload_is_reported_from_its_beginning_to_its_end() {
    let (place, port, other, a) = (Place::new(), port(), port(), Backend::named("a"));
    let mut manager = Manager::new(&place);
    let file = place.file("evenkeel.toml");
    let listen = |text: &str| std::fs::write(&file, format!("[listeners]\n{text}\n")).unwrap();
    listen(&format!("web = \"{port} {a}\""));
    let mut evenkeel =
        Program::spawn(manager.of(&mut place.command("evenkeel", "run evenkeel.toml")));
    manager.wait_for("READY");
    let texts = [format!("web = \"{port} {a}\"\nmail = \"{other} {a}\""), "nonsense".to_owned()];
    for (reloads, text) in (1..).zip(&texts) {
        listen(text);
        evenkeel.signal(Signal::HUP);
        until("the reload to end", || manager.values("READY").len() == 1 + reloads);
        assert_eq!(manager.values("RELOADING").len(), reloads);
        assert_eq!(manager.values("MONOTONIC_USEC").len(), reloads);
        assert_eq!((ask(&port), ask(&other)), ("a".to_owned(), "a".to_owned()));
    }
    manager.wait("STATUS", |status| status.contains("on 2 listeners"));
}
