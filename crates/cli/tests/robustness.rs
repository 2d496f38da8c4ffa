//! Shortage, change and loss under load: nothing crashes, spins or gets lost.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

#[path = "support/mod.rs"]
mod support;

use fidelity::pattern::Pattern;
use std::collections::VecDeque;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use support::{
    Backend, Client, End, PATIENCE, Place, Program, UdpBackend, UdpClient, ask_often, port, until,
};

/// Starts it with so many descriptors at most.
fn native_with_descriptors(place: &Place, limit: usize, words: &str) -> Program {
    let evenkeel = place.command("evenkeel", words);
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")])
        .arg(evenkeel.get_program())
        .args(evenkeel.get_args())
        .env("EVENKEEL_RUNTIME_DIR", place.runtime());
    let program = Program::spawn(&mut shell);
    program.log.wait("admin socket");
    program
}

/// Sessions to hold open: 500, or what `EVENKEEL_TEST_SESSIONS` says. Each costs this process two
/// descriptors and a thread.
fn sessions() -> usize {
    let asked = std::env::var("EVENKEEL_TEST_SESSIONS").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(500)
}

/// Processor time used in a second in which nobody asks for anything, in ticks of 10 ms.
fn ticks_in_a_second(program: &Program) -> u64 {
    let before = program.ticks();
    thread::sleep(Duration::from_secs(1)); // the measurement itself
    program.ticks() - before
}

#[test]
fn with_256_descriptors_a_thousand_clients_are_served_in_the_end() {
    const CLIENTS: usize = 1000;
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut evenkeel = native_with_descriptors(&place, 256, &format!("{port} {a} --workers 2"));
    let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let mut waiting: VecDeque<_> = (0..CLIENTS).map(|_| Client::try_to(address).unwrap()).collect();
    // Those that fit are served, and keep their places; the others wait in the kernel's queue.
    evenkeel.log.wait("out of descriptors");
    waiting[0].expect("a\n");
    let open = || a.open();
    until("as many sessions as there is room for", || open() > 50);
    let mut before = 0;
    until("the number of sessions to settle", || {
        let settled = open() == before;
        before = open();
        thread::sleep(Duration::from_millis(100)); // between two looks at a number
        settled
    });
    assert!(before < 128, "two descriptors each: {before}");
    assert!(!evenkeel.has_ended());
    let ticks = ticks_in_a_second(&evenkeel);
    assert!(ticks < 20, "{ticks} ticks of 10 ms in a second in which nothing moves");
    assert_eq!(open(), before);
    place.ctl("status").check(0);

    // No byte is lost on those accepted, and everybody has their turn as places become free.
    let bytes = Pattern::new(1).take(20_000);
    let mut is_first = true;
    while let Some(client) = waiting.pop_front() {
        if !is_first {
            client.expect("a\n");
        }
        is_first = false;
        client.send(&bytes);
        client.finish();
        let (answer, end) = client.rest();
        assert_eq!((answer.len(), end), (bytes.len(), End::Eof));
        assert!(answer == bytes);
    }
    assert_eq!(a.accepted(), CLIENTS);
    evenkeel.log.wait("the shortage is over");
    until("the sessions to end", || place.sessions() == 0);
    assert_eq!(evenkeel.log.with("out of descriptors").len(), 1, "it is said once");
    assert_eq!(support::ask(&port), "a");
    let ticks = ticks_in_a_second(&evenkeel);
    assert!(ticks < 20, "{ticks} ticks of 10 ms in an idle second");
}

/// With pipes counted out for the limit at the start, a lower one left room for nobody.
#[test]
fn a_descriptor_limit_lowered_at_run_time_leaves_room_for_as_many_as_fit() {
    use rustix::process::{Resource, Rlimit, prlimit};
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let evenkeel = place.native(&format!("{port} {echo} --workers 2"));
    let held: Vec<_> = (0..100).map(|_| Client::connect(&port)).collect();
    until("the sessions", || place.sessions() == 100);
    // All of them have what they need before there is less to be had.
    held.iter().for_each(|client| client.send("here"));
    held.iter().for_each(|client| client.expect("here"));
    let limit = Rlimit { current: Some(256), maximum: Some(1024) };
    prlimit(Some(evenkeel.pid()), Resource::Nofile, limit).unwrap();
    let more: Vec<_> = (0..200).map(|_| Client::connect(&port)).collect();
    for client in &held {
        client.send("still here");
        client.expect("still here");
    }
    // Longer than it takes to call a shortage over: it must be looked at again even so.
    thread::sleep(Duration::from_secs(3));
    drop(held);
    for client in more {
        client.send("at last");
        client.expect("at last");
    }
}

/// A flow needs one descriptor, and must not be counted as two.
#[test]
fn with_256_descriptors_there_is_room_for_more_flows_than_half_of_that() {
    const FLOWS: u64 = 150;
    let (place, port, echo) = (Place::new(), port(), UdpBackend::echo(Ipv4Addr::LOCALHOST.into()));
    let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let words = format!("{port}/udp {echo} --workers 1");
    let evenkeel = native_with_descriptors(&place, 256, &words);
    let clients: Vec<_> = (0..FLOWS).map(|_| UdpClient::to(address)).collect();
    clients.iter().for_each(|client| assert_eq!(client.ask("here"), "here"));
    assert_eq!(place.sessions(), FLOWS);
    assert!(evenkeel.log.with("out of").is_empty());
}

#[test]
fn many_sessions_and_two_hundred_commands() {
    let (place, port) = (Place::new(), port());
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let mut evenkeel = place.native(&format!("{port} {a} {b} {c} --workers 2"));
    let (_, held) = ask_often(&port, sessions());
    let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    let client = Client::try_to(address).unwrap();
                    let name = client.line();
                    // c is never touched, so somebody can always serve.
                    assert!(["a", "b", "c"].contains(&name.as_str()), "{name}");
                    client.send("echo");
                    client.expect("echo");
                    served.fetch_add(1, SeqCst);
                }
            });
        }
        scope.spawn(|| {
            // The long ones go on all the time.
            let mut turn = 0;
            while !is_over.load(SeqCst) {
                let client = &held[turn % held.len()];
                client.send(format!("{turn};"));
                client.expect(format!("{turn};"));
                turn += 1;
            }
        });
        let orders = [
            r#"{"command":"set-admin-state","backend":"0.0","state":"disabled"}"#,
            r#"{"command":"set-sessions-max","backend":"0.1","sessions_max":10}"#,
            r#"{"command":"set-admin-state","backend":"0.0","state":"enabled"}"#,
            r#"{"command":"set-sessions-max","backend":"0.1","sessions_max":0}"#,
            r#"{"command":"set-admin-state","backend":"0.1","state":"draining"}"#,
            r#"{"command":"set-admin-state","backend":"0.1","state":"enabled"}"#,
        ];
        for turn in 0..200 {
            let answer = place.order(orders[turn % orders.len()]);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        until("some traffic", || served.load(SeqCst) > 200);
        is_over.store(true, SeqCst);
    });
    for client in &held {
        client.send("still here");
        client.expect("still here");
    }
    assert!(!evenkeel.has_ended());
    assert_eq!(place.sessions(), sessions() as u64);
    assert_eq!(
        evenkeel.log.with("session ended").iter().filter(|it| !it.contains("client-")).count(),
        0
    );
}

#[test]
fn a_backend_that_comes_and_goes_costs_no_client() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let mut evenkeel = place.native(&format!("{port} {a} {b} --quarantine 50ms --workers 2"));
    let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    let client = Client::try_to(address).unwrap();
                    // Served, or cut in the middle when its backend is killed, never refused:
                    // a name is all that a client needs.
                    let name = client.line();
                    assert!(["a", "b"].contains(&name.as_str()), "{name:?}");
                    served.fetch_add(1, SeqCst);
                }
            });
        }
        for _ in 0..20 {
            let so_far = b.accepted();
            until("b to be used", || b.accepted() > so_far + 5);
            b.stop();
            let so_far = served.load(SeqCst);
            until("clients to be served without it", || served.load(SeqCst) > so_far + 20);
            b.start();
        }
        is_over.store(true, SeqCst);
    });
    assert!(!evenkeel.has_ended());
    until("the sessions to end", || place.sessions() == 0);
    until("b to be healthy", || {
        support::ask(&port);
        place.backend(0, 1)["health"] == "healthy"
    });
}

#[test]
fn a_reader_that_stalls_holds_up_nobody_else() {
    let (place, port) = (Place::new(), port());
    let flood = Backend::new(|client| while (&client.0).write_all(&[b'x'; 1 << 16]).is_ok() {});
    let a = Backend::named("a");
    let evenkeel = place.native(&format!("{port} {flood} {a} --workers 1"));
    let stalled = Client::connect(&port);
    assert_eq!(stalled.first_byte(), "x");
    let begin = Instant::now();
    for _ in 0..20 {
        let client = Client::connect(&port);
        let first = client.first_byte();
        assert!(first == "a" || first == "x", "{first:?}");
    }
    assert!(begin.elapsed() < PATIENCE / 2);
    until("the other floods to end", || place.sessions() == 1);
    let ticks = ticks_in_a_second(&evenkeel);
    assert!(ticks < 20, "{ticks} ticks of 10 ms while one reader stalls");
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_client() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut command = place.command("evenkeel", &format!("{port} {a}"));
    let _child = Killed(command.stderr(std::process::Stdio::piped()).spawn().unwrap());
    until("it to listen", || support::ask(&port) == "a");
    // Some 200 bytes each, and a pipe holds 64 kB.
    for _ in 0..1000 {
        assert_eq!(support::ask(&port), "a");
    }
}

/// A child that ends with the test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn admin_connections_that_take_all_descriptors_do_no_lasting_harm() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut evenkeel = native_with_descriptors(&place, 256, &format!("{port} {a} --workers 2"));
    let held = Client::connect(&port);
    held.expect("a\n");
    let socket = place.socket();
    let idle: Vec<_> =
        (0..400).map(|_| std::os::unix::net::UnixStream::connect(&socket).unwrap()).collect();
    let waiting: Vec<_> = (0..5).map(|_| Client::connect(&port)).collect();
    held.send("still served");
    held.expect("still served");
    let ticks = ticks_in_a_second(&evenkeel);
    assert!(ticks < 20, "{ticks} ticks of 10 ms in a second in which nothing moves");
    drop(idle);
    for client in waiting {
        let line = client.line();
        assert!(["a", "reset"].contains(&line.as_str()), "{line}");
    }
    until("clients to be served again", || support::ask(&port) == "a");
    until("ctl to work again", || place.ctl("status").status == 0);
    assert!(!evenkeel.has_ended());
}
