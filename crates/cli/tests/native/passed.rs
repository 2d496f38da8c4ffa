//! Listening sockets that a service manager passes.

use crate::support::{
    Backend, Client, PATIENCE, Place, Port, Program, ask, has_ipv6, pass, passing, port,
    skip_unless, start_with, until,
};
use fidelity::procnet::is_listening;
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
use rustix::process::Signal;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

/// A listening socket as systemd makes one for `ListenStream=PORT`.
fn on_all_addresses(port: &Port, dual_stack: bool) -> OwnedFd {
    let listener = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseaddr(&listener, true).unwrap();
    sockopt::set_ipv6_v6only(&listener, !dual_stack).unwrap();
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port.number()));
    bind(&listener, &address).unwrap();
    listen(&listener, 4096).unwrap();
    listener
}

fn on_loopback(port: &Port) -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).unwrap()
}

/// What a client gets over IPv6.
fn ask_v6(port: &Port) -> String {
    Client::try_to((Ipv6Addr::LOCALHOST, port.number()).into()).unwrap().line()
}

#[track_caller]
fn ready(program: &Program) {
    program.log.wait("admin socket");
}

/// Its start fails, and the message has all of `says`.
#[track_caller]
fn check_refused(program: &mut Program, says: &[&str]) {
    assert_eq!(program.wait().code(), Some(1), "{:?}", program.log.all());
    until("the end of the log", || program.log.is_over());
    let log = program.log.all().join("\n");
    says.iter().for_each(|says| assert!(log.contains(says), "{log:?} lacks {says:?}"));
}

#[test]
fn no_client_is_refused_while_the_service_restarts() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let listener = on_loopback(&port);
    let command = place.command("evenkeel", &format!("127.0.0.1:{port} {a}"));
    let mut running = pass(&command, &[listener.as_fd()], None);
    ready(&running);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients = (0..4).map(|_| {
            scope.spawn(|| {
                let mut served = 0;
                while !is_over.load(Relaxed) {
                    assert_eq!(ask(&port), "a");
                    served += 1;
                }
                served
            })
        });
        let clients: Vec<_> = clients.collect();
        for _ in 0..5 {
            running.signal(Signal::TERM);
            assert_eq!(running.wait().code(), Some(0));
            let waiting = Client::connect(&port);
            running = pass(&command, &[listener.as_fd()], None);
            waiting.expect("a\n");
        }
        is_over.store(true, Relaxed);
        clients.into_iter().for_each(|client| assert!(client.join().unwrap() > 0));
    });
}

#[test]
fn a_name_says_which_listener_a_socket_is_for() {
    let (place, [first, second]) = (Place::new(), [port(), port()]);
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let words = format!("127.0.0.1:{first} {a} -- {second} {b}");
    let sockets = [on_all_addresses(&second, true), on_loopback(&first).into()];
    // The first listener's name has colons, which no passed name can have.
    let names = format!("{second}:evenkeel.socket");
    let command = place.command("evenkeel", &words);
    let _evenkeel = {
        let program = pass(&command, &sockets.each_ref().map(AsFd::as_fd), Some(&names));
        ready(&program);
        program
    };
    assert_eq!((ask(&first), ask(&second)), ("a".to_owned(), "b".to_owned()));
    assert_eq!(ask_v6(&second), "b");
}

#[test]
fn a_name_and_an_address_that_disagree_are_an_error_with_both() {
    let (place, port, other, a) = (Place::new(), port(), port(), Backend::named("a"));
    let listener = on_loopback(&other);
    let command = place.command("evenkeel", &format!("{port} {a}"));
    let mut evenkeel = pass(&command, &[listener.as_fd()], Some("main"));
    let address = format!("127.0.0.1:{other}");
    let bind = format!("*:{port}");
    check_refused(&mut evenkeel, &["'main' (file descriptor 3)", &address, &bind]);
    assert!(!is_listening(port.number()));
    // The port is right, the address is not.
    let listener = on_loopback(&port);
    let mut evenkeel = pass(&command, &[listener.as_fd()], Some("main"));
    check_refused(&mut evenkeel, &[&format!("127.0.0.1:{port}"), &bind]);
    let localhost = place.command("evenkeel", &format!("localhost:{other} {a}"));
    drop(listener);
    let listener = on_all_addresses(&port, true);
    let mut evenkeel = pass(&localhost, &[listener.as_fd()], Some("main"));
    check_refused(&mut evenkeel, &[&format!("[::]:{port} (IPv6 and IPv4)"), "localhost"]);
}

#[test]
fn a_socket_that_nobody_wants_is_closed_with_a_warning() {
    let (place, port, other, a) = (Place::new(), port(), port(), Backend::named("a"));
    let (wanted, unwanted) = (on_loopback(&port), on_loopback(&other));
    let command = place.command("evenkeel", &format!("127.0.0.1:{port} {a} --workers 1"));
    let names = "evenkeel.socket:mail.socket";
    let evenkeel = pass(&command, &[wanted.as_fd(), unwanted.as_fd()], Some(names));
    let line = evenkeel.log.wait("because no listener has its address");
    let address = format!("127.0.0.1:{other}");
    assert!(
        line.contains("'mail.socket' (file descriptor 4)") && line.contains(&address),
        "{line}"
    );
    ready(&evenkeel);
    assert_eq!(ask(&port), "a");
    drop(unwanted);
    assert!(!is_listening(other.number()));
}

#[test]
fn both_protocols_may_have_a_socket_each() {
    if skip_unless(has_ipv6(), "this needs IPv6") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let command = place.command("evenkeel", &format!("{port} {a}"));
    let v6 = on_all_addresses(&port, false);
    let says =
        format!("is bound to [::]:{port} (IPv6 only), but listener main is to listen on *:{port}");
    for name in [None, Some("main")] {
        check_refused(&mut pass(&command, &[v6.as_fd()], name), &[&says]);
    }
    let v4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.number())).unwrap();
    let evenkeel = pass(&command, &[v4.as_fd(), v6.as_fd()], Some("main:main"));
    ready(&evenkeel);
    assert_eq!((ask(&port), ask_v6(&port)), ("a".to_owned(), "a".to_owned()));
}

#[test]
fn what_cannot_listen_is_an_error() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let command = place.command("evenkeel", &format!("127.0.0.1:{port} {a}"));
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let connection = TcpStream::connect(a.to_string()).unwrap();
    for (passed, says) in [
        (udp.as_fd(), "is not a stream socket"),
        (file.as_fd(), "is not a socket"),
        (connection.as_fd(), "does not listen"),
    ] {
        let mut evenkeel = pass(&command, &[passed], Some("main"));
        check_refused(&mut evenkeel, &["'main' (file descriptor 3)", says]);
    }
    let listener = on_loopback(&port);
    let twice = [listener.as_fd(), listener.as_fd()];
    let mut evenkeel = start_with(&mut passing(&command, 9, None), &twice);
    let missing = "LISTEN_FDS announces 9 sockets, but file descriptor 5 is not open";
    check_refused(&mut evenkeel, &[missing]);
    let mut shell = passing(&command, 1, Some("a:b"));
    check_refused(&mut start_with(&mut shell, &[listener.as_fd()]), &["LISTEN_FDNAMES"]);
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let command = place.command("evenkeel", &format!("127.0.0.1:{port} {a}"));
    let listener = on_loopback(&port);
    let mut shell = passing(&command, 1, None);
    let mut evenkeel = start_with(shell.env("PASS_TO", "1"), &[listener.as_fd()]);
    check_refused(&mut evenkeel, &["cannot listen on"]);
}

#[test]
fn the_file_of_a_passed_unix_socket_stays() {
    let (place, a) = (Place::new(), Backend::named("a"));
    let path = place.file("front.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let command = place.command("evenkeel", &format!("unix:{} {a}", path.display()));
    for _ in 0..2 {
        let mut evenkeel = pass(&command, &[listener.as_fd()], Some("main"));
        ready(&evenkeel);
        let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut greeting = [0; 2];
        std::io::Read::read_exact(&mut client, &mut greeting).unwrap();
        assert_eq!(&greeting, b"a\n");
        drop(client);
        evenkeel.signal(Signal::TERM);
        assert_eq!(evenkeel.wait().code(), Some(0));
        assert!(path.exists());
    }
}

#[test]
fn a_low_port_needs_no_privilege() {
    if skip_unless(rustix::process::geteuid().is_root(), "this needs root") {
        return;
    }
    let (place, a) = (Place::new(), Backend::named("a"));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(place.file(""), open).unwrap();
    let free = (700..1024).find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    let listener = free.expect("a free port below 1024");
    let address = listener.local_addr().unwrap();
    let command = place.as_nobody("evenkeel", &format!("{address} {a}"));
    let mut shell = passing(&command, 1, None);
    let evenkeel = start_with(shell.uid(65_534).gid(65_534), &[listener.as_fd()]);
    ready(&evenkeel);
    assert_eq!(Client::try_to(address).unwrap().line(), "a");
}

#[test]
fn a_daemon_keeps_what_it_is_passed_and_nothing_else() {
    let (place, port, other, a) = (Place::new(), port(), port(), Backend::named("a"));
    let (passed, inherited) = (on_loopback(&port), on_loopback(&other));
    let words = format!("127.0.0.1:{port} {a} --daemon --pid-file its.pid");
    // The second one is inherited, too, but not announced.
    let mut shell = passing(&place.command("evenkeel", &words), 1, None);
    let mut caller = start_with(&mut shell, &[passed.as_fd(), inherited.as_fd()]);
    assert_eq!(caller.wait().code(), Some(0));
    drop((shell, passed, inherited));
    assert_eq!(ask(&port), "a");
    assert!(!is_listening(other.number()));
    place.ctl("shutdown").check(0);
    until("it to end", || !place.file("its.pid").exists());
    assert_eq!(ask(&port), "refused");
}

#[test]
fn programs_started_from_it_would_not_inherit_a_passed_socket() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let listener = on_loopback(&port);
    let command = place.command("evenkeel", &format!("127.0.0.1:{port} {a}"));
    let evenkeel = pass(&command, &[listener.as_fd()], None);
    ready(&evenkeel);
    let process = format!("/proc/{}", evenkeel.pid().as_raw_nonzero());
    let sockets = std::fs::read_dir(format!("{process}/fd")).unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let number = entry.file_name().into_string().unwrap();
        let is_socket =
            std::fs::read_link(entry.path()).ok()?.to_string_lossy().starts_with("socket:");
        (is_socket && number.parse::<u32>().unwrap() > 2).then_some(number)
    });
    for number in sockets {
        let info = std::fs::read_to_string(format!("{process}/fdinfo/{number}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
        assert_ne!(flags & 0o2_000_000, 0, "file descriptor {number} lacks O_CLOEXEC");
    }
}

#[test]
fn a_listener_may_leave_its_passed_socket_and_come_back() {
    let (place, port, other, control) = (Place::new(), port(), port(), port());
    let a = Backend::named("a");
    // As root, pen opens no control port without a change of user.
    let user = if rustix::process::geteuid().is_root() { "-u root" } else { "" };
    let words = format!("pen -f {user} -C 127.0.0.1:{control} 127.0.0.1:{port} {a}");
    let listener = on_loopback(&port);
    let _pen = pass(&place.command("evenkeel", &words), &[listener.as_fd()], None);
    until("pen to serve", || is_listening(control.number()) && ask(&port) == "a");
    let listen = |to: &Port| {
        let done = place.run("penctl", &format!("127.0.0.1:{control} listen 127.0.0.1:{to}"));
        assert_eq!(done.check(0).stdout, format!("127.0.0.1:{to}\n"));
    };
    listen(&other);
    assert_eq!(ask(&other), "a");
    // The service manager's socket keeps its clients waiting meanwhile.
    let waiting = Client::connect(&port);
    listen(&port);
    waiting.expect("a\n");
    assert_eq!((ask(&port), ask(&other)), ("a".to_owned(), "refused".to_owned()));
}

#[test]
fn a_reload_keeps_leaves_and_finds_again_what_was_passed() {
    let (place, [web, other, mail]) = (Place::new(), [port(), port(), port()]);
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let configure = |web: &Port| {
        let text = format!("web = \"127.0.0.1:{web} {a}\"\nmail = \"127.0.0.1:{mail} {b}\"");
        std::fs::write(place.file("its.toml"), format!("[listeners]\n{text}\n")).unwrap();
    };
    configure(&web);
    let passed = [on_loopback(&web), on_loopback(&mail)];
    let command = place.command("evenkeel", "run its.toml");
    let evenkeel = pass(&command, &passed.each_ref().map(AsFd::as_fd), Some("web:mail"));
    ready(&evenkeel);
    for (now, before) in [(&other, &web), (&web, &other), (&other, &web)] {
        configure(now);
        place.run("evenkeel", "reload").check(0);
        assert_eq!((ask(now), ask(&mail)), ("a".to_owned(), "b".to_owned()));
        // The service manager holds what it has passed.
        assert_eq!(is_listening(before.number()), before.number() == web.number());
    }
}
