//! The control port: whoever talks to it, and however slowly, holds up nobody.

use crate::Pen;
use crate::support::{Backend, Client, Done, End, Place, port, skip_unless, until};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

#[track_caller]
fn penctl(place: &Place, words: &str) -> Done {
    place.run("penctl", words)
}

#[test]
fn fault_12_idle_control_connections_hold_up_nobody() {
    let a = Backend::named("a");
    let mut pen = Pen::start("", &format!("{a}"));
    let idle: Vec<_> = (0..10).map(|_| pen.control_stream().unwrap()).collect();
    let begin = Instant::now();
    assert_eq!(pen.ask(5), "a a a a a");
    assert_eq!(pen.ctl("timeout"), "3\n");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    pen.check_alive();
    // They are heard when they speak at last.
    for mut stream in idle {
        stream.write_all(b"timeout\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert_eq!(reply, "3\n");
    }
}

#[test]
fn fault_12_names_in_commands_hold_up_nobody() {
    let a = Backend::named("a");
    let pen = Pen::start("-r", &format!("{a}"));
    let mut slow = pen.control_stream().unwrap();
    slow.write_all(b"server 1 address a.name.that.is.not.there.invalid port 80\n").unwrap();
    let begin = Instant::now();
    assert_eq!(pen.ask(3), "a a a");
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[test]
fn a_reply_that_nobody_reads_holds_up_nobody() {
    let a = Backend::named("a");
    let place = Place::new();
    let page = place.file("page.html");
    let mut pen = Pen::start_in(place, &format!("-w {}", page.display()), &format!("{a}"));
    for number in (1..400).rev() {
        pen.set(&[&format!("server {number} address 127.0.0.{} max 1", number % 250 + 1)]);
    }
    let unread: Vec<_> = (0..50)
        .map(|turn| {
            let mut stream = pen.control_stream().unwrap();
            let _ = socket2::SockRef::from(&stream).set_recv_buffer_size(1024);
            stream.write_all(if turn % 2 == 0 { b"servers\n" } else { b"status\n" }).unwrap();
            stream
        })
        .collect();
    assert_eq!(pen.ask(3), "a a a");
    pen.check_alive();
    drop(unread);
    pen.check_alive();
}

#[test]
fn only_the_first_line_counts() {
    let a = Backend::named("a");
    let mut pen = Pen::start("-X", &format!("{a}"));
    assert_eq!(pen.control_bytes(b"timeout\nexit\n").unwrap(), "3\n");
    assert_eq!(pen.control_bytes(b"timeout\r\nexit\r\n").unwrap(), "3\n");
    assert_eq!(pen.control_bytes(b"   timeout   \n").unwrap(), "3\n");
    assert_eq!(pen.control_bytes(b"\nexit\n").unwrap(), "");
    pen.check_alive();
}

#[test]
fn fault_23_brackets_are_understood_everywhere() {
    if skip_unless(crate::support::has_ipv6(), "this machine has no ::1") {
        return;
    }
    let a = Backend::named("a");
    for style in ["[::1]", "::1"] {
        let (place, listen, control) = (Place::new(), port(), port());
        let me = crate::as_oneself();
        let words = format!("-f {me} -C {style}:{control} {style}:{listen} {a}");
        let mut program = crate::Program::spawn(&mut place.command("pen", &words));
        until("it to listen", || {
            assert!(!program.has_ended(), "{:?}", program.log.all());
            std::net::TcpStream::connect(("::1", listen.number())).is_ok()
        });
        let address = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, listen.number()));
        let client = Client::try_to(address).unwrap();
        client.expect("a\n");
        for other in ["[::1]", "::1"] {
            let done = penctl(&place, &format!("{other}:{control} pid")).check(0);
            assert_eq!(done.stdout.trim(), program.pid().to_string());
        }
        let done = penctl(&place, &format!("[::1]:{control} recent")).check(0);
        assert!(done.stdout.starts_with("::1 connects "), "{done:?}");
        // A listening address given later, too.
        let other = port();
        penctl(&place, &format!("{style}:{control} listen [::1]:{other}")).check(0);
        let address = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, other.number()));
        Client::try_to(address).unwrap().expect("a\n");
    }
}

#[test]
fn penctl_passes_on_what_the_program_says() {
    let a = Backend::named("a");
    let pen = Pen::start("", &format!("{a}"));
    let at = format!("127.0.0.1:{}", pen.control);
    for (words, expected) in [
        ("timeout", "3\n"),
        ("blacklist 40", "40\n"),
        ("acl 1 deny 1.2.3.4", ""),
        ("nonsense here", "do_cmd: ignoring command starting with 'nonsense'\n"),
        ("connection 100000", "Connection 100000 out of range\n"),
    ] {
        let done = penctl(&pen.place, &format!("{at} {words}")).check(0);
        assert_eq!(done.stdout, expected, "{words}");
    }
    let done = penctl(&pen.place, "").check(0);
    assert!(done.stdout.starts_with("usage: penctl host:port command"), "{done:?}");
    let done = penctl(&pen.place, "nocolon pid").check(1);
    assert!(done.stderr.contains("no port given"), "{done:?}");
    let done = penctl(&pen.place, &format!("127.0.0.1:{} pid", port())).check(1);
    assert!(done.stderr.contains("error connecting to server"), "{done:?}");
    let long = "x".repeat(1100);
    let done = penctl(&pen.place, &format!("{at} {long}")).check(1);
    assert!(done.stderr.contains("Overlong argument list"), "{done:?}");
}

#[test]
fn as_root_without_a_user_there_is_no_control_port() {
    if skip_unless(crate::is_root(), "only root is refused a control port") {
        return;
    }
    let (place, listen, control, a) = (Place::new(), port(), port(), Backend::named("a"));
    let words = format!("-f -C 127.0.0.1:{control} 127.0.0.1:{listen} {a}");
    let program = crate::Program::spawn(&mut place.command("pen", &words));
    program.log.wait("Won't open control port running as root; use -u");
    until("it to serve", || crate::support::ask(&listen) == "a");
    assert!(!fidelity::procnet::is_listening(control.number()));
    penctl(&place, &format!("127.0.0.1:{control} pid")).check(1);
}

#[test]
fn an_instance_is_drained_and_that_is_called_off() {
    let echo = Backend::echo();
    let mut pen = Pen::start("", &format!("{echo}"));
    let client = Client::connect(&pen.port);
    client.send("x");
    client.expect("x");
    pen.place.ctl("drain-all --by 1h").check(0);
    let address = ([127, 0, 0, 1], pen.port.number()).into();
    until("clients to be refused", || Client::try_to(address).is_err());
    assert!(pen.ctl("mode").contains("roundrobin"), "the control port still answers");
    pen.place.ctl("drain-all --cancel").check(0);
    Client::connect(&pen.port);
    pen.place.ctl("drain-all --by 2s --wait").check(0);
    assert_eq!(client.end(), End::Eof);
    assert_eq!(pen.program.wait().code(), Some(0));
}
