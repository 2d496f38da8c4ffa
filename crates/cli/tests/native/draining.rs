//! `evenkeel ctl drain-all`: an instance that is emptied by a moment.

use super::support::{
    Backend, Client, End, Manager, Place, Port, Program, TlsClient, UdpBackend, UdpClient, ask,
    certified, pass, port, until,
};
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

const CALLED_OFF: &str = "called off; clients are accepted\n";

/// A client whose session has been relayed.
fn talking(port: &Port) -> Client {
    let client = Client::connect(port);
    client.send("x");
    client.expect("x");
    client
}

/// Waits until no clients are accepted.
fn until_closed(program: &Program) {
    program.log.wait("no more clients accepted");
}

fn ready(place: &Place) -> (i32, String) {
    let done = place.run("evenkeel", "ready");
    (done.status, done.stdout.trim_end().to_owned())
}

/// Has an echo of a byte every 50 ms until `is_over`, and returns how it ended.
fn chat<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    client: Client,
    is_over: &'scope AtomicBool,
) -> ScopedJoinHandle<'scope, End> {
    scope.spawn(move || {
        while !is_over.load(Relaxed) {
            let mut stream = &client.0;
            let sent = stream.write_all(b"x");
            if sent.and_then(|()| stream.read_exact(&mut [0])).is_err() {
                return End::Reset;
            }
            thread::sleep(Duration::from_millis(50));
        }
        drop(client);
        End::Eof
    })
}

#[test]
fn silent_sessions_end_first_then_the_rest_and_both_are_counted() {
    let (place, web, echo) = (Place::new(), port(), Backend::echo());
    let mut evenkeel = place.native(&format!("{web} {echo}"));
    let silent: Vec<_> = (0..20).map(|_| talking(&web)).collect();
    let [leaving, busy] = [talking(&web), talking(&web)];
    let is_over = AtomicBool::new(false);
    let begun = Instant::now();
    thread::scope(|scope| {
        let busy = chat(scope, busy, &is_over);
        let ctl = scope.spawn(|| place.ctl("drain-all --by 5s --wait"));
        until_closed(&evenkeel);
        leaving.finish();
        assert_eq!(leaving.end(), End::Eof);
        assert_eq!(ready(&place), (1, "draining".to_owned()));
        assert!(place.status()["drain_seconds"].as_u64().is_some_and(|it| it <= 5));
        assert!(Client::try_to(([127, 0, 0, 1], web.number()).into()).is_err(), "not refused");
        for client in &silent {
            assert_eq!(client.end(), End::Reset);
        }
        assert_eq!(busy.join().unwrap(), End::Reset);
        assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
        let said = ctl.join().unwrap().check(1).stderr;
        let expected = "drained: 1 finished, 20 ended while silent, 1 cut";
        assert!(said.contains(expected), "{said}");
    });
    assert_eq!(evenkeel.wait().code(), Some(0));
    assert_eq!(evenkeel.log.with("reason=drain").len(), 20);
    assert_eq!(evenkeel.log.with("reason=shutdown").len(), 1);
    let line = evenkeel.log.wait("drained ");
    assert!(line.contains("finished=1 ended=20 cut=1"), "{line}");
    let line = evenkeel.log.wait("asked=");
    assert!(line.contains(r#""command\":\"drain-all\",\"seconds\":5"#), "{line}");
}

#[test]
fn it_is_over_when_no_session_is_left_and_moments_are_spread() {
    let (place, web, echo) = (Place::new(), port(), Backend::echo());
    let mut evenkeel = place.native(&format!("{web} {echo}"));
    let clients: Vec<_> = (0..40).map(|_| talking(&web)).collect();
    thread::sleep(Duration::from_secs(1)); // all of them are silent enough
    let begun = Instant::now();
    let said = place.ctl("drain-all --by 4s").check(0).stdout;
    assert_eq!(said, "draining; `evenkeel ctl drain-all --cancel` calls it off\n");
    let ends: Vec<_> = thread::scope(|scope| {
        let end = |it: &Client| (it.end(), begun.elapsed()).1;
        let ends: Vec<_> = clients.iter().map(|it| scope.spawn(move || end(it))).collect();
        ends.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(evenkeel.wait().code(), Some(0));
    for second in 0..3 {
        let ended = ends.iter().filter(|it| it.as_secs() == second).count();
        assert!((1..=30).contains(&ended), "{ended} in second {second}: {ends:?}");
    }
    assert!(evenkeel.log.wait("drained ").contains("finished=0 ended=40 cut=0"));
}

#[test]
fn clients_are_served_for_pre_stop_and_calling_it_off_changes_nothing() {
    let (place, web, a) = (Place::new(), port(), Backend::named("a"));
    let mut manager = Manager::new(&place);
    let mut command = place.command("evenkeel", &format!("{web} {a} --pre-stop 1h"));
    let mut evenkeel = Program::spawn(manager.of(&mut command));
    manager.wait_for("READY");
    place.ctl("drain-all --by 2h").check(0);
    assert_eq!(ready(&place), (1, "draining".to_owned()));
    assert_eq!(ask(&web), "a");
    manager.wait("STATUS", |it| it.starts_with("Draining, for 7"));
    assert_eq!(place.ctl("drain-all --cancel").check(0).stdout, CALLED_OFF);
    assert_eq!(ready(&place), (0, "ready".to_owned()));
    manager.wait("STATUS", |it| it.contains("1 backend available"));
    let said = place.ctl("drain-all --cancel").check(1).stderr;
    assert!(said.contains("no drain is under way"), "{said}");
    // At the end of the time, it is over before that.
    place.ctl("drain-all --by 2h").check(0);
    assert_eq!(place.ctl("drain-all --by 0 --wait").check(0).stdout.lines().count(), 1);
    assert_eq!(evenkeel.wait().code(), Some(0));
}

#[test]
fn clients_are_accepted_again_at_the_same_sockets() {
    let (place, web, udp) = (Place::new(), port(), port());
    let (echo, datagrams) = (Backend::echo(), UdpBackend::named("u"));
    let path = place.file("door");
    let words = format!(
        "{web} {echo} -- unix:{} {echo} -- {udp}/udp {datagrams} --workers 2",
        path.display()
    );
    let mut evenkeel = place.native(&words);
    let inode = |program: &Program| {
        let fds = fs::read_dir(format!("/proc/{}/fd", program.pid().as_raw_nonzero())).unwrap();
        let links = fds.filter_map(|it| fs::read_link(it.ok()?.path()).ok());
        let mut sockets: Vec<_> =
            links.filter(|it| it.to_string_lossy().contains("socket")).collect();
        sockets.sort();
        sockets
    };
    let client = talking(&web);
    let flow = UdpClient::to((Ipv4Addr::LOCALHOST, udp.number()));
    flow.ask("1");
    let before = inode(&evenkeel);
    for round in 0..3 {
        place.ctl("drain-all --by 1h").check(0);
        until("clients to be refused", || UnixStream::connect(&path).is_err());
        assert!(Client::try_to(([127, 0, 0, 1], web.number()).into()).is_err());
        // A flow goes on, and no other begins.
        assert_eq!(flow.ask("2"), "u2");
        let other = UdpClient::to((Ipv4Addr::LOCALHOST, udp.number()));
        other.send("3");
        assert!(other.answer_within(Duration::from_millis(100)).is_err());
        assert_eq!(place.ctl("drain-all --cancel").check(0).stdout, CALLED_OFF);
        talking(&web);
        assert_eq!(flow.ask("4"), "u4");
        assert_eq!(other.ask("5"), "u5", "round {round}");
        UnixStream::connect(&path).unwrap();
        client.send("y");
        client.expect("y");
    }
    // Only the Unix socket is another one.
    let is_new = |it: &std::path::PathBuf| !before.contains(it);
    until("everything else to be closed", || {
        inode(&evenkeel).iter().filter(|it| is_new(it)).count() <= 2 + 2
    });
    place.ctl("drain-all --by 0").check(0);
    assert_eq!(evenkeel.wait().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn a_port_that_another_process_has_taken_keeps_the_drain_going() {
    let (place, web, other, echo) = (Place::new(), port(), port(), Backend::echo());
    let mut evenkeel = place.native(&format!("{other} {echo} -- {web} {echo}"));
    let client = talking(&web);
    place.ctl("drain-all --by 1h").check(0);
    until_closed(&evenkeel);
    let thief = Place::new();
    let thieving = thief.native(&format!("{web} {}", Backend::named("thief")));
    let said = place.ctl("drain-all --cancel").check(1).stderr;
    assert!(said.contains("the drain goes on"), "{said}");
    assert!(said.contains(&format!("cannot listen on *:{web} (another program uses it")), "{said}");
    assert!(Client::try_to(([127, 0, 0, 1], other.number()).into()).is_err());
    assert_eq!(ready(&place), (1, "draining".to_owned()));
    drop(thieving);
    assert_eq!(place.ctl("drain-all --cancel").check(0).stdout, CALLED_OFF);
    client.send("y");
    client.expect("y");
    talking(&other);
    evenkeel.signal(Signal::TERM);
    client.finish();
    assert_eq!(evenkeel.wait().code(), Some(0));
}

#[test]
fn a_reload_does_not_end_it() {
    let (place, web, new, echo) = (Place::new(), port(), port(), Backend::echo());
    let service =
        |name: &str, bind: &str| format!("[listeners.{name}]\nbind = [{bind}]\npool = 'p'\n");
    let pool = format!("[pools.p]\nbackends = ['{echo}']\n");
    let write = |listeners: &str| fs::write(place.file("lb.toml"), format!("{listeners}{pool}"));
    write(&service("web", &format!("{web}"))).unwrap();
    let mut evenkeel = place.native("run lb.toml");
    let client = talking(&web);
    let waiting = thread::scope(|scope| {
        let waiting = scope.spawn(|| place.ctl("drain-all --by 1h --wait"));
        until_closed(&evenkeel);
        // One address is new, and the other one another listener's.
        write(&(service("more", &format!("{web}")) + &service("web", &format!("{new}")))).unwrap();
        assert_eq!(place.run("evenkeel", "reload").check(0).stdout, "reloaded\n");
        for port in [&web, &new] {
            until("clients to be refused", || {
                Client::try_to(([127, 0, 0, 1], port.number()).into()).is_err()
            });
        }
        assert_eq!(ready(&place), (1, "draining".to_owned()));
        client.send("y");
        client.expect("y");
        let said = place.run("evenkeel", "upgrade").check(1).stderr;
        assert!(said.contains("it is being drained"), "{said}");
        assert_eq!(place.ctl("drain-all --cancel").check(0).stdout, CALLED_OFF);
        waiting.join().unwrap()
    });
    assert!(waiting.check(1).stderr.contains("the drain was called off"));
    for port in [&web, &new] {
        talking(port);
    }
    place.ctl("drain-all --by 0").check(0);
    assert_eq!(evenkeel.wait().code(), Some(0));
}

#[test]
fn a_signal_makes_it_an_ordinary_shutdown() {
    let (place, web, echo) = (Place::new(), port(), Backend::echo());
    let mut evenkeel =
        place.native(&format!("{web} {echo} --pre-stop 1h --shutdown-timeout never"));
    let client = talking(&web);
    place.ctl("drain-all --by 2h").check(0);
    place.ctl("drain-all --by 0 --wait").check(1);
    assert_eq!(client.end(), End::Reset);
    assert_eq!(evenkeel.wait().code(), Some(0));
    let mut evenkeel = place.native(&format!("{web} {echo} --shutdown-timeout never"));
    let client = talking(&web);
    place.ctl("drain-all --by 2s").check(0);
    until_closed(&evenkeel);
    evenkeel.signal(Signal::TERM);
    evenkeel.log.wait("waiting for open sessions to end");
    assert!(client.is_silent_for(Duration::from_secs(3)));
    client.finish();
    assert_eq!(evenkeel.wait().code(), Some(0));
    assert!(evenkeel.log.with("drained ").is_empty());
}

#[test]
fn tls_sessions_and_flows_end_while_they_are_silent() {
    let (place, authority) = certified();
    let (web, udp, echo, datagrams) = (port(), port(), Backend::echo(), UdpBackend::named("u"));
    let file = place.file("a.pem");
    let words = format!("--tls-cert {} {web} {echo} -- {udp}/udp {datagrams}", file.display());
    let mut evenkeel = place.native(&words);
    let mut client = TlsClient::connect(&web, &Arc::new(authority.trust()), "a.test");
    client.send("hello");
    client.expect("hello");
    let flow = UdpClient::to((Ipv4Addr::LOCALHOST, udp.number()));
    flow.ask("1");
    place.ctl("drain-all --by 1h").check(0);
    until_closed(&evenkeel);
    // Less time: they have had their turns, as soon as they are silent.
    let said = place.ctl("drain-all --by 3s --wait").check(0).stdout;
    assert_eq!(said, "drained: 0 finished, 2 ended while silent, 0 cut\n");
    assert_eq!(evenkeel.wait().code(), Some(0));
    assert_eq!(evenkeel.log.with("reason=drain").len(), 2);
    assert!(!client.rest().1, "it was cut off, and could see that");
}

#[test]
fn a_session_whose_client_has_yet_to_read_is_not_silent() {
    let (place, web) = (Place::new(), port());
    let backend = Backend::new(|client| {
        client.expect("x");
        client.send(vec![7; 3 << 20]);
        client.end();
    });
    let mut evenkeel = place.native(&format!("{web} {backend} --workers 1"));
    let client = Client::connect(&web);
    client.send("x");
    let received = || place.status()["listeners"][0]["received_bytes_total"].as_u64();
    let mut last = None;
    until("the queues to be full", || {
        thread::sleep(Duration::from_millis(100));
        std::mem::replace(&mut last, received()) == last && last > Some(0)
    });
    place.ctl("drain-all --by 3s").check(0);
    assert_eq!(evenkeel.wait().code(), Some(0));
    assert!(evenkeel.log.wait("drained ").contains("finished=0 ended=0 cut=1"));
}

#[test]
fn clients_of_a_passed_socket_wait_in_the_managers_queue() {
    let (place, web, a) = (Place::new(), port(), Backend::named("a"));
    let listening = TcpListener::bind(("127.0.0.1", web.number())).unwrap();
    let words = format!("127.0.0.1:{web} {a}");
    let mut evenkeel = pass(&place.command("evenkeel", &words), &[listening.as_fd()], None);
    evenkeel.log.wait("admin socket");
    place.ctl("drain-all --by 0").check(0);
    assert_eq!(evenkeel.wait().code(), Some(0));
    let client = Client::connect(&web);
    assert!(client.is_silent_for(Duration::from_millis(100)));
    let _next = pass(&place.command("evenkeel", &words), &[listening.as_fd()], None);
    assert_eq!(client.first_byte(), "a");
}

#[test]
fn the_time_must_make_sense() {
    let (place, web, echo) = (Place::new(), port(), Backend::echo());
    let _evenkeel = place.native(&format!("{web} {echo}"));
    let _client = talking(&web);
    for (words, said) in [
        ("drain-all", "--by <TIME>"),
        ("drain-all --by soon", "a duration is a whole number and a unit"),
        ("drain-all --by 25:00", "a time of day is written 17:30"),
        ("drain-all --by 1m --cancel", "cannot be used with"),
        ("drain-all --cancel --wait", "cannot be used with"),
    ] {
        let done = place.ctl(words).check(2);
        assert!(done.stderr.contains(said), "{words}: {}", done.stderr);
    }
    let answer = place.order(r#"{"command":"drain-all"}"#);
    assert_eq!(answer.status, 422, "{}", answer.body);
    place.ctl("drain-all --by 23:59").check(0);
    assert!(place.status()["drain_seconds"].as_u64().is_some_and(|it| it <= 24 * 3600));
}
