//! What a session passes on: bytes, half-closes, resets; in every splice mode.

use crate::support::{
    Backend, Client, End, Place, Port, Program, pattern, port, skip_unless, until,
};
use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

/// Starts it in every splice mode with one worker and with several, and plays `scene` with each.
fn in_every_mode(backend: &Backend, scene: impl Fn(&Port, &Program)) {
    for splice in ["never", "auto", "always"] {
        for workers in [1, 4] {
            let (place, port) = (Place::new(), port());
            let words = format!("{port} {backend} --splice {splice} --workers {workers}");
            let evenkeel = place.native(&words);
            scene(&port, &evenkeel);
        }
    }
}

#[test]
fn an_answer_after_the_clients_half_close_arrives_whole() {
    let backend = Backend::new(|client| {
        let (question, end) = client.rest();
        assert_eq!((question.as_slice(), end), (&b"the question"[..], End::Eof));
        client.send(pattern(1, 2 << 20));
    });
    in_every_mode(&backend, |port, evenkeel| {
        let client = Client::connect(port);
        client.send("the question");
        client.finish();
        let (answer, end) = client.rest();
        assert_eq!((answer.len(), end), (2 << 20, End::Eof));
        assert!(answer == pattern(1, 2 << 20));
        let line = evenkeel.log.wait("session ended");
        assert!(line.contains("reason=client-fin sent=12 received=2097152"), "{line}");
    });
}

#[test]
fn after_the_backends_half_close_the_client_may_go_on() {
    let backend = Backend::new(|client| {
        client.send("that is all I say");
        client.finish();
        let (heard, _) = client.rest();
        assert!(heard == pattern(2, 1 << 20));
    });
    in_every_mode(&backend, |port, evenkeel| {
        let client = Client::connect(port);
        assert_eq!(client.rest(), (b"that is all I say".to_vec(), End::Eof));
        client.send(pattern(2, 1 << 20));
        client.finish();
        let line = evenkeel.log.wait("session ended");
        assert!(line.contains("reason=backend-fin sent=1048576 received=17"), "{line}");
    });
}

#[test]
fn a_backends_reset_follows_its_bytes() {
    let backend = Backend::new(|client| {
        client.send(pattern(3, 100_000));
        let local = client.0.local_addr().unwrap();
        let peer = client.0.peer_addr().unwrap();
        wait_until_taken(local, peer);
        client.reset();
    });
    in_every_mode(&backend, |port, evenkeel| {
        let client = Client::connect(port);
        let (bytes, end) = client.rest();
        assert_eq!((bytes.len(), end), (100_000, End::Reset));
        assert!(bytes == pattern(3, 100_000));
        let line = evenkeel.log.wait("session ended");
        assert!(line.contains("reason=backend-reset sent=0 received=100000"), "{line}");
    });
}

#[test]
fn a_clients_reset_follows_its_bytes() {
    let (seen, sees) = std::sync::mpsc::channel();
    let backend = Backend::new(move |client| {
        let _ = seen.send(client.rest());
    });
    in_every_mode(&backend, |port, evenkeel| {
        let client = Client::connect(port);
        client.send(pattern(4, 100_000));
        wait_until_taken(client.0.local_addr().unwrap(), client.0.peer_addr().unwrap());
        client.reset();
        let (bytes, end) = sees.recv_timeout(crate::support::PATIENCE).unwrap();
        assert_eq!((bytes.len(), end), (100_000, End::Reset));
        assert!(bytes == pattern(4, 100_000));
        let line = evenkeel.log.wait("session ended");
        assert!(line.contains("reason=client-reset sent=100000 received=0"), "{line}");
    });
}

/// Until the kernel of the other side has taken everything: a reset before would destroy it.
fn wait_until_taken(local: std::net::SocketAddr, peer: std::net::SocketAddr) {
    let (std::net::SocketAddr::V4(local), std::net::SocketAddr::V4(peer)) = (local, peer) else {
        panic!("this test speaks IPv4");
    };
    until("the bytes to be taken", || {
        matches!(fidelity::procnet::unacknowledged(local, peer), Some(0) | None)
    });
}

#[test]
fn backends_that_speak_first_see_silent_clients_at_once() {
    const CLIENTS: u32 = 40;
    let backend = Backend::new(|client| client.send("220 ready"));
    let (place, port) = (Place::new(), port());
    let _evenkeel = place.native(&format!("{port} {backend}"));
    let start = std::time::Instant::now();
    for _ in 0..CLIENTS {
        assert_eq!(Client::connect(&port).rest(), (b"220 ready".to_vec(), End::Eof));
    }
    // The system itself would let a backend know after 200 ms.
    assert!(start.elapsed() < CLIENTS * Duration::from_millis(100), "{:?}", start.elapsed());
}

#[test]
fn both_directions_at_once() {
    const LEN: usize = 20 << 20;
    let backend = Backend::echo();
    let (place, port) = (Place::new(), port());
    let _evenkeel = place.native(&format!("{port} {backend}"));
    let client = Client::connect(&port);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.send(pattern(5, LEN));
            client.finish();
        });
        let (bytes, end) = client.rest();
        assert_eq!((bytes.len(), end), (LEN, End::Eof));
        assert!(bytes == pattern(5, LEN));
    });
}

#[test]
fn a_silent_session_is_reset_on_both_sides() {
    let (seen, sees) = std::sync::mpsc::channel();
    let backend = Backend::new(move |client| {
        let _ = seen.send(client.end());
    });
    let (place, port) = (Place::new(), port());
    let evenkeel = place.native(&format!("{port} {backend} --idle-timeout 300ms"));
    let client = Client::connect(&port);
    assert_eq!(client.end(), End::Reset);
    assert_eq!(sees.recv_timeout(crate::support::PATIENCE), Ok(End::Reset));
    assert!(evenkeel.log.wait("session ended").contains("reason=idle-timeout"));
}

#[test]
fn a_talking_session_is_not_idle() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let _evenkeel = place.native(&format!("{port} {echo} --idle-timeout 1s"));
    let client = Client::connect(&port);
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_millis(1800) {
        client.send("x");
        client.expect("x");
        std::thread::sleep(Duration::from_millis(50)); // the pace of the talk, not a wait
    }
}

#[test]
fn a_half_closed_session_that_is_silent_ends() {
    let (place, port) = (Place::new(), port());
    let kept = Mutex::new(Vec::new());
    let mute = Backend::new(move |client| {
        client.rest();
        kept.lock().unwrap().push(client);
    });
    let evenkeel = place.native(&format!("{port} {mute} --half-close-timeout 300ms"));
    let client = Client::connect(&port);
    client.finish();
    assert_eq!(client.end(), End::Reset);
    assert!(evenkeel.log.wait("session ended").contains("reason=half-close-timeout"));
}

#[test]
fn with_all_sessions_taken_the_next_client_waits_its_turn() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a} --max-sessions 2"));
    let first = Client::connect(&port);
    let second = Client::connect(&port);
    assert_eq!([first.line(), second.line()], ["a", "a"]);
    let third = Client::connect(&port);
    assert!(third.is_silent_for(Duration::from_millis(300)), "it was served beyond the limit");
    assert_eq!(place.sessions(), 2);
    drop(first);
    assert_eq!(third.line(), "a");
    assert_eq!(a.accepted(), 3);
}

#[test]
fn a_client_that_reads_steadily_gets_everything_before_the_reset() {
    const LEN: usize = 6 << 20;
    let backend = Backend::new(|client| {
        client.send(pattern(6, LEN));
        wait_until_taken(client.0.local_addr().unwrap(), client.0.peer_addr().unwrap());
        client.reset();
    });
    let (place, port) = (Place::new(), port());
    let evenkeel = place.native(&format!("{port} {backend} --linger 500ms"));
    let client = Client::connect(&port);
    let mut heard = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = (&client.0).read(&mut buffer) {
        heard.extend_from_slice(&buffer[..count]);
        std::thread::sleep(Duration::from_millis(20)); // a slow reader, not a wait
    }
    assert_eq!(heard.len(), LEN);
    assert!(heard == pattern(6, LEN));
    assert!(evenkeel.log.wait("session ended").contains("reason=backend-reset"));
}

#[test]
fn a_system_short_of_memory_delays_a_session_and_does_not_end_it() {
    let has_strace = std::process::Command::new("strace").arg("-V").output().is_ok();
    if skip_unless(has_strace, "strace, which makes system calls fail, is not installed") {
        return;
    }
    for call in ["sendto:error=ENOBUFS", "recvfrom:error=ENOMEM"] {
        let (place, port, echo) = (Place::new(), port(), Backend::echo());
        let evenkeel = place.native(&format!("{port} {echo} --workers 1"));
        let client = Client::connect(&port);
        client.send("a");
        client.expect("a");
        let mut strace = std::process::Command::new("strace");
        let pid = evenkeel.pid().as_raw_nonzero().to_string();
        let inject = format!("inject={call}:when=1..3");
        let strace = Program::spawn(strace.args(["-f", "-p", &pid, "-e", &inject]));
        strace.log.wait("attached");
        client.send("b");
        client.expect("b");
        let failed = strace.log.with("(INJECTED)").len();
        assert!(failed >= 3, "{failed} calls failed");
    }
}

#[test]
fn the_system_watches_over_peers_as_asked() {
    let has_strace = std::process::Command::new("strace").arg("-V").output().is_ok();
    if skip_unless(has_strace, "strace, which shows system calls, is not installed") {
        return;
    }
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let words = format!("{port} {echo} --keep-alive 1s --user-timeout 7s --workers 1");
    let evenkeel = place.native(&words);
    let pid = evenkeel.pid().as_raw_nonzero().to_string();
    let mut strace = std::process::Command::new("strace");
    let strace = Program::spawn(strace.args(["-f", "-p", &pid, "-e", "trace=setsockopt"]));
    strace.log.wait("attached");
    let short = Client::connect(&port);
    short.send("a");
    short.expect("a");
    drop(short);
    evenkeel.log.wait("session ended");
    assert_eq!(strace.log.with("TCP_USER_TIMEOUT, [7000]").len(), 2, "one for each side");
    assert!(strace.log.with("KEEP").is_empty(), "a short session is spared the calls");
    let _long = Client::connect(&port);
    for side in 0..2 {
        strace.log.wait_nth("TCP_KEEPIDLE, [1]", side);
        strace.log.wait_nth("TCP_KEEPINTVL, [1]", side);
        strace.log.wait_nth("TCP_KEEPCNT, [3]", side);
        strace.log.wait_nth("SO_KEEPALIVE, [1]", side);
    }
}
