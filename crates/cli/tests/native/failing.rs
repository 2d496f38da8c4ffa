//! Backends that cannot be reached, and shortages: what is whose fault, and who waits for what.

use crate::support::{
    Backend, Client, End, Network, Place, Program, or_skip, port, skip_unless, until,
};
use rustix::process::{Signal, kill_process};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// Changes a setting of the kernel in the balancer's namespace.
fn set(network: &Network, name: &str, value: &str) {
    network.within("balancer", || std::fs::write(format!("/proc/sys/net/{name}"), value).unwrap());
}

/// A backend in the balancer's namespace that says its name to everybody.
fn names_itself(network: &Network, address: &'static str, name: &'static str) {
    let listener = network.within("balancer", || TcpListener::bind(address).unwrap());
    thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = writeln!(stream, "{name}");
            held.push(stream);
        }
    });
}

fn start(network: &Network, place: &Place, words: &str) -> Program {
    network.within("balancer", || place.native(words))
}

/// Stops the process; returns when all its threads have stopped.
fn stop(evenkeel: &Program) {
    kill_process(evenkeel.pid(), Signal::STOP).unwrap();
    let threads = format!("/proc/{}/task", evenkeel.pid().as_raw_nonzero());
    until("all threads to stop", || {
        std::fs::read_dir(&threads).unwrap().all(|thread| {
            let stat = std::fs::read_to_string(thread.unwrap().path().join("stat"));
            stat.is_ok_and(|stat| stat.contains(") T "))
        })
    });
}

fn resets_soon(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_thousand_backends_that_fail_at_once_lead_to_the_last() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let missing: Vec<_> = (0..1000).map(|number| format!("unix:/nonexistent/{number}")).collect();
    let _evenkeel = place.native(&format!("{port} {} {a}", missing.join(" ")));
    assert_eq!(crate::support::ask(&port), "a");
}

#[test]
fn without_ipv6_its_backends_fail_and_others_serve() {
    let Some(network) = or_skip(Network::new()) else { return };
    set(&network, "ipv6/conf/all/disable_ipv6", "1");
    names_itself(&network, "127.0.0.1:9001", "a");
    let place = Place::new();
    let words = "127.0.0.1:8080 [::1]:9002 127.0.0.1:9001 --quarantine 0";
    let evenkeel = start(&network, &place, words);
    let begin = Instant::now();
    for _ in 0..4 {
        assert_eq!(ask_within(&network, "127.0.0.1:8080"), "a");
    }
    assert!(begin.elapsed() < Duration::from_secs(4), "waited for what never comes");
    assert!(place.backend(0, 0)["failures_total"].as_u64() >= Some(1));
    assert_eq!(evenkeel.log.with("no local port"), [""; 0]);
}

/// What the first client there is told.
fn ask_within(network: &Network, address: &str) -> String {
    let address: SocketAddr = address.parse().unwrap();
    network.within("balancer", || Client::try_to(address).unwrap().line())
}

#[test]
fn want_of_ports_towards_one_backend_holds_up_nobody_else() {
    let Some(network) = or_skip(Network::new()) else { return };
    set(&network, "ipv4/ip_local_port_range", "40000 40009");
    names_itself(&network, "127.0.0.1:9001", "a");
    names_itself(&network, "127.0.0.1:9002", "b");
    let taken: Vec<_> = network.within("balancer", || {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9001));
        std::iter::from_fn(|| TcpStream::connect(address).ok()).collect()
    });
    assert!(!taken.is_empty() && taken.len() <= 10);
    let place = Place::new();
    let front = place.file("front");
    let backends = "127.0.0.1:9001 127.0.0.1:9002 --connect-timeout 60s --workers 1";
    let words = format!("unix:{} {backends}", front.display());
    let evenkeel = start(&network, &place, &words);
    let connect = || UnixStream::connect(&front).unwrap();
    let mut waiting = connect();
    evenkeel.log.wait("no local port is free");
    let begin = Instant::now();
    let served: Vec<_> = (0..4).map(|_| connect()).collect();
    // Every second one is for the backend that has no port left, and waits as well.
    let mut answers = 0;
    for mut client in served {
        client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        answers += usize::from(matches!(client.read(&mut [0; 2]), Ok(2)));
    }
    assert!(answers >= 2, "{answers}");
    assert!(begin.elapsed() < Duration::from_secs(4));
    assert_eq!(place.backend(0, 0)["failures_total"], 0);
    taken.iter().for_each(resets_soon);
    drop(taken);
    let mut name = [0; 2];
    waiting.read_exact(&mut name).unwrap();
    assert_eq!(&name, b"a\n");
    evenkeel.log.wait("local ports are free again");
    assert_eq!(evenkeel.log.with("no local port is free").len(), 1, "it is said once");
}

/// Linux connects a socket to itself where the port it is given is the one it connects to.
#[test]
fn a_backend_that_is_down_is_not_played_by_the_connection_itself() {
    let Some(network) = or_skip(Network::new()) else { return };
    set(&network, "ipv4/ip_local_port_range", "40000 40000");
    let place = Place::new();
    let front = place.file("front");
    let evenkeel = start(&network, &place, &format!("unix:{} 127.0.0.1:40000", front.display()));
    let mut client = UnixStream::connect(&front).unwrap();
    let _ = client.write_all(b"is anybody there?");
    let ended = evenkeel.log.wait("session ended");
    assert!(ended.contains("reason=connect-refused"), "{ended}");
}

/// What one batch of events holds of a connection that is over by the time it is looked at must
/// not be taken for the next one's; and what the client has sent by then is not lost in a pipe.
#[test]
fn a_reset_seen_twice_blames_no_other_backend() {
    let a = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let b = Backend::named("b");
    for splice in ["auto", "always", "never"].repeat(2) {
        let (place, port) = (Place::new(), port());
        let address = a.local_addr().unwrap();
        let words = format!("{port} {address} {b} --workers 1 --splice {splice}");
        let evenkeel = place.native(&words);
        let client = Client::connect(&port);
        let (served, _) = a.accept().unwrap();
        until("it to relay", || place.ctl("sessions").stdout.contains("open"));
        stop(&evenkeel);
        client.send("hello");
        resets_soon(&served);
        drop(served);
        kill_process(evenkeel.pid(), Signal::CONT).unwrap();
        client.expect("b\nhello");
        assert_eq!(place.backend(0, 1)["failures_total"], 0);
        client.finish();
        assert_eq!(client.rest().1, End::Eof);
    }
}

/// After a pause of the process, timers are due and events wait: those come first.
#[test]
fn a_pause_of_the_process_cuts_nobody_whose_data_waits() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let idle = Duration::from_secs(5);
    let evenkeel = place.native(&format!("{port} {echo} --workers 1 --idle-timeout 5s"));
    let clients: Vec<_> = (0..400).map(|_| Client::connect(&port)).collect();
    for client in &clients {
        client.send("1");
        client.expect("1");
    }
    stop(&evenkeel);
    clients.iter().for_each(|client| client.send("2"));
    thread::sleep(idle + Duration::from_millis(500)); // the pause itself
    kill_process(evenkeel.pid(), Signal::CONT).unwrap();
    clients.iter().for_each(|client| client.expect("2"));
}

/// A worker's own thread, to be made to fail alone.
fn worker_thread(evenkeel: &Program) -> String {
    let threads = format!("/proc/{}/task", evenkeel.pid().as_raw_nonzero());
    let mut threads = std::fs::read_dir(threads).unwrap().map(|thread| thread.unwrap().path());
    let worker = threads.find(|thread| {
        std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.starts_with("worker"))
    });
    worker.unwrap().file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_listener_that_cannot_be_watched_for_a_moment_is_not_deaf_for_ever() {
    let has_strace = std::process::Command::new("strace").arg("-V").output().is_ok();
    if skip_unless(has_strace, "strace, which makes system calls fail, is not installed") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{port} {a} --workers 1 --max-sessions 1"));
    let first = Client::connect(&port);
    first.expect("a\n");
    // The listener is watched again when the first session ends, and that fails three times.
    let mut strace = std::process::Command::new("strace");
    let inject = "inject=epoll_ctl:error=ENOSPC:when=1..3";
    let strace = Program::spawn(strace.args(["-p", &worker_thread(&evenkeel), "-e", inject]));
    strace.log.wait("attached");
    drop(first);
    assert_eq!(crate::support::ask(&port), "a");
    assert_eq!(strace.log.with("(INJECTED)").len(), 3);
    evenkeel.log.wait("the shortage is over");
}
