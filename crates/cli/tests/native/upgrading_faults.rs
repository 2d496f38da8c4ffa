//! Upgrades in which one side dies, hangs or speaks another language, at each step.

use super::support::{Backend, Client, End, Place, Port, ask, port, until};
use super::upgrading::{Taker, Transcript, pid, talk, upgrade};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use sys::channel::Life;

/// The messages of a new process up to a step. Returns how many sessions it has been given for good.
fn go_to(taker: &Taker, step: &str) -> usize {
    let batch = || taker.expect("batch").0["sessions"].as_array().unwrap().len();
    taker.hello();
    taker.expect("state");
    if step == "state" {
        return 0;
    }
    taker.send("ready", r#"{"pid":1}"#, 1);
    taker.expect("switch");
    let mut given = 0;
    let mut sessions = batch();
    for commit in ["first commit", "second commit"] {
        if step == "batch" {
            return given;
        }
        taker.send("taken", "{}", 1);
        taker.expect("commit");
        given += sessions;
        sessions = batch();
        if step == commit {
            return given;
        }
    }
    given
}

/// How many of these clients are still served, each byte once; all others have been ended.
#[track_caller]
fn served(clients: &[Client]) -> usize {
    let is_served = |client: &&Client| {
        let sent = (&client.0).write_all(b"?");
        let mut byte = [0];
        match sent.and_then(|()| (&client.0).read(&mut byte)) {
            Ok(1) => byte == *b"?" && client.is_silent_for(Duration::from_millis(1)),
            Ok(_) => false,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "neither served nor ended");
                false
            }
        }
    };
    clients.iter().filter(is_served).count()
}

#[test]
fn the_old_process_serves_on_wherever_the_new_one_hangs() {
    thread::scope(|scope| {
        for step in ["state", "batch", "first commit", "second commit"] {
            scope.spawn(move || check_that_the_old_process_serves_on(step));
        }
    });
}

fn check_that_the_old_process_serves_on(step: &str) {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let old = place.native(&format!("{port} {echo}"));
    let clients: Vec<_> = (0..20).map(|_| talk(&port, "x")).collect();
    let before = pid(&place);
    let taker = Taker::ask(&place);
    let lost = go_to(&taker, step);
    assert_eq!(lost > 0, step.ends_with("commit"));
    if step != "state" {
        // It is waited for ten seconds. Clients that come meanwhile are served then.
        let newcomer = Client::connect(&port);
        old.log.wait("this process serves again");
        newcomer.send("x");
        newcomer.expect("x");
    }
    drop(talk(&port, "new"));
    drop(taker); // with what it was given
    assert_eq!(served(&clients), clients.len() - lost, "at {step}");
    until("the admin socket", || place.ctl("limit 0.0 99").status == 0);
    assert_eq!(pid(&place), before);
    assert_eq!(place.sessions() as usize, clients.len() - lost);
}

#[test]
fn a_new_process_is_waited_for_as_long_as_it_gets_further() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let old = place.native(&format!("{port} {a}"));
    // Without a session, the hand-over could be over before the new process is gone.
    let _idle = talk(&port, "a\n");
    let taker = Taker::ask(&place);
    taker.say_hello(true);
    let (state, _) = taker.expect("state");
    assert_eq!(state["hears_progress"], true);
    let begin = Instant::now();
    // Slow, for longer than one that says nothing is waited for.
    while begin.elapsed() < Duration::from_secs(12) {
        taker.send("progress", "", 1);
        assert_eq!(place.ctl("limit 0.0 9").status, 1, "an upgrade is under way");
        thread::sleep(Duration::from_secs(1));
    }
    taker.send("ready", r#"{"pid":1}"#, 1);
    taker.expect("switch");
    taker.expect("batch");
    drop(taker);
    old.log.wait("this process serves again");
    assert_eq!(ask(&port), "a");
}

#[test]
fn a_new_process_that_gets_no_further_is_given_up_soon() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let old = place.native(&format!("{port} {a}"));
    let taker = Taker::ask(&place);
    taker.say_hello(true);
    taker.expect("state");
    taker.send("progress", "", 1);
    let begin = Instant::now();
    assert!(taker.receive().is_none(), "it is given up");
    let taken = begin.elapsed();
    assert!((9..15).contains(&taken.as_secs()), "{taken:?}");
    let line = old.log.wait("upgrade failed; nothing has changed");
    assert!(line.contains("the new process gets no further on its way to being ready"), "{line}");
    assert_eq!(ask(&port), "a");
    place.ctl("limit 0.0 9").check(0);
}

#[test]
fn a_new_process_that_hangs_is_ended_once_it_has_been_given_up() {
    let mut old = Transcript::begin();
    old.describe();
    old.taker.expect("ready");
    let first = old.new.pid().as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
    let child = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    kill_process(child, Signal::STOP).unwrap();
    old.give_up();
    assert_eq!(old.new.wait().code(), Some(1));
    until("the end of the log", || old.new.log.is_over());
    let said = old.new.log.all().join("\n");
    assert!(said.contains("the running instance goes on: the new process hung"), "{said}");
}

#[test]
fn an_old_process_of_another_major_version_is_named() {
    let mut old = Transcript::begin();
    old.taker.send("state", "{}", 9);
    assert_eq!(old.new.wait().code(), Some(1));
    until("the end of the log", || old.new.log.is_over());
    let said = old.new.log.all().join("\n");
    assert!(said.contains("version 9.0 of the hand-over protocol, and this one 1.0"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn when_the_old_process_dies_before_it_has_passed_its_sockets_the_new_one_ends() {
    let mut old = Transcript::begin();
    old.die();
    assert_eq!(old.new.wait().code(), Some(1));
    until("the end of the log", || old.new.log.is_over());
    let said = old.new.log.all().join("\n");
    assert!(said.contains("has ended the hand-over"), "{said}");
}

#[test]
fn when_the_old_process_dies_later_somebody_listens() {
    for is_awaited in [false, true] {
        let mut old = Transcript::begin();
        old.describe();
        if is_awaited {
            old.taker.expect("ready");
        }
        let client = Client::connect(&old.port);
        old.die();
        // No backend in the transcript serves, but the client is accepted and then cut.
        assert_ne!(client.rest().1, End::Silence);
        until("the admin socket", || old.place.ctl("status").status == 0);
    }
}

/// Clients that come all the time, until `is_over`: how many there were, and the longest time that one
/// waited for its first byte.
fn keep_coming(port: &Port, is_over: &AtomicBool) -> (usize, Duration) {
    let (mut served, mut longest) = (0, Duration::ZERO);
    while !is_over.load(Relaxed) {
        let begin = Instant::now();
        assert_eq!(ask(port), "a");
        served += 1;
        longest = longest.max(begin.elapsed());
    }
    (served, longest)
}

#[test]
fn nobody_is_refused_when_the_new_process_dies_during_the_watch() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let old = place.native(&format!("{port} {a}"));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients = scope.spawn(|| keep_coming(&port, &is_over));
        upgrade(&place, "--watch 1m");
        let new = Pid::from_raw(pid(&place) as i32).unwrap();
        is_over.store(true, Relaxed);
        clients.join().unwrap();
        is_over.store(false, Relaxed);
        let begin = Instant::now();
        kill_process(new, Signal::KILL).unwrap();
        let clients = scope.spawn(|| keep_coming(&port, &is_over));
        old.log.wait("this process serves again");
        let back = begin.elapsed();
        is_over.store(true, Relaxed);
        let (served, longest) = clients.join().unwrap();
        eprintln!("back after {back:?}; {served} clients, of which one waited {longest:?}");
        assert!(served > 0 && longest < Duration::from_secs(5));
    });
}

/// The life of the process with this number, which has not ended.
fn life(process: Pid) -> Life {
    Life::of(pidfd_open(process, PidfdFlags::empty()).unwrap())
}

/// Whether no thread of a process, which lives, runs on.
fn is_stopped(process: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero())).unwrap();
    threads.into_iter().all(|thread| {
        let stat = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
        stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
    })
}

#[test]
fn a_new_process_that_hangs_during_the_watch_is_killed_before_the_old_one_serves() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let old = place.native(&format!("{port} {a}"));
    let first = pid(&place);
    upgrade(&place, "--watch 10m");
    let new = Pid::from_raw(pid(&place) as i32).unwrap();
    let life = life(new);
    let idle = talk(&port, "a\n");
    let begin = Instant::now();
    kill_process(new, Signal::STOP).unwrap();
    until("all threads to stop", || is_stopped(new));
    // The client waits in the queue, until the old process takes it from there.
    assert_eq!(ask(&port), "a");
    let back = begin.elapsed();
    eprintln!("back after {back:?}");
    assert!((2..30).contains(&back.as_secs()), "{back:?}");
    assert!(life.has_ended(Some(sys::clock::now())), "there is nobody who could go on");
    let line = old.log.wait("this process serves again");
    assert!(line.contains("gave no sign of life for 3s, and was killed"), "{line}");
    assert_ne!(idle.rest().1, End::Silence);
    until("the admin socket", || place.ctl("limit 0.0 9").status == 0);
    assert_eq!(pid(&place), first);
    // And it can be asked again.
    upgrade(&place, "");
    assert_eq!(ask(&port), "a");
}

#[test]
fn a_new_process_that_works_is_let_go_at_the_end_of_the_watch() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut old = place.native(&format!("{port} {a}"));
    // Longer than a silence may take.
    upgrade(&place, "--watch 5s");
    let new = pid(&place);
    assert_eq!(old.wait().code(), Some(0));
    assert_eq!(old.log.with("serves again").len(), 0);
    assert_eq!((ask(&port).as_str(), pid(&place)), ("a", new));
}

#[test]
fn a_new_process_that_knows_no_beats_is_watched_without_them() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut old = place.native(&format!("{port} {a}"));
    let taker = Taker::ask(&place);
    taker.say_hello_guarded(Duration::from_secs(5));
    let (state, _) = taker.expect("state");
    assert_eq!(state["hears_beats"], true);
    taker.send("ready", r#"{"pid":1}"#, 1);
    taker.expect("switch");
    taker.expect("final");
    // It is silent for longer than others may be.
    assert!(taker.receive().is_none());
    assert_eq!(old.wait().code(), Some(0));
    assert_eq!(old.log.with("serves again").len(), 0);
}

#[test]
fn sessions_that_have_moved_outlive_an_upgrade_that_fails_then() {
    let mut old = Transcript::play_with("--shutdown-timeout 10ms");
    let mut peers = old.batch();
    old.taker.send("commit", "", 1);
    old.check_moved(&mut peers);
    old.give_up();
    let log = || fs::read_to_string(old.place.file("log")).unwrap();
    until("the new one to retire", || log().contains("this one finishes its sessions"));
    assert_eq!(old.new.wait().code(), Some(1));
    until("what the command says", || old.new.log.is_over());
    let said = old.new.log.all().join("\n");
    assert!(said.contains("finishes the 1 sessions that had"), "{said}");
    let [client, served] = &mut peers;
    client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let cut = client.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(cut, Err(ErrorKind::WouldBlock), "its session is not cut");
    client.write_all(b"!").unwrap();
    let mut byte = [0];
    served.read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"!");
    drop(peers);
    until("the end of the session", || log().contains("session ended"));
}

#[test]
fn another_upgrade_ends_the_watch_and_takes_the_sessions_along() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let mut old = place.native(&format!("{port} {echo}"));
    let client = talk(&port, "x");
    upgrade(&place, "--watch 10m");
    let second = pid(&place);
    // As back to the earlier program, when the new one does not do what it should.
    upgrade(&place, "");
    assert_ne!(pid(&place), second);
    assert_eq!(old.wait().code(), Some(0));
    assert_eq!(old.log.with("serves again").len(), 0);
    client.send("y");
    client.expect("y");
    drop(talk(&port, "new"));
}

#[test]
fn no_upgrade_begins_while_the_process_before_has_sessions() {
    let (place, port, hole) = (Place::new(), port(), Backend::black_hole());
    let words = format!("--connect-timeout 5m --shutdown-timeout 5m {port} {hole}");
    let mut old = place.native(&words);
    let client = Client::connect(&port);
    until("the session", || place.sessions() == 1);
    let first = old.pid().as_raw_nonzero();
    upgrade(&place, "");
    let refused = place.run("evenkeel", "upgrade").check(1).stderr;
    let reason =
        format!("process {first}, which it has replaced, watches it or still has sessions");
    assert!(refused.contains(&reason), "{refused}");
    client.reset();
    assert_eq!(old.wait().code(), Some(0));
    upgrade(&place, "");
}
