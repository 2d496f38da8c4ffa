//! Upgrades of a pen: its sessions, its control port and what penctl has changed go on.

use crate::support::{Backend, Client, Place, until};
use crate::{Pen, is_root};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

#[track_caller]
fn upgrade(pen: &mut Pen) {
    let said = pen.place.run("evenkeel", "upgrade").check(0).stdout;
    assert!(said.starts_with("upgraded: "), "{said}");
    assert_eq!(pen.program.wait().code(), Some(0));
}

/// The rest of what comes.
#[track_caller]
fn read(mut stream: TcpStream) -> String {
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
fn sessions_and_what_penctl_has_changed_go_on() {
    let (echo, b) = (Backend::echo(), Backend::named("b"));
    let place = Place::new();
    let [log, page] = ["log", "page.html"].map(|name| place.file(name).display().to_string());
    let options = format!("-r -x 50 -l {log} -w {page}");
    let mut pen = Pen::start_in(place, &options, &format!("{echo}"));
    let client = Client::connect(&pen.port);
    client.send("first");
    client.expect("first");
    let changes = [
        &format!("server 1 address 127.0.0.1 port {}", b.port()),
        "server 0 max 7 hard 8",
        "acl 3 deny 127.0.0.9",
        "acl 3 permit 127.0.0.0 255.0.0.0",
        "client_acl 3",
        "timeout 11",
        "blacklist 17",
        "no roundrobin",
        "tracking 600",
    ];
    for change in changes {
        pen.ctl(change);
    }
    let shown = |pen: &Pen| {
        [
            "timeout",
            "blacklist",
            "mode",
            "tracking",
            "control",
            "listen",
            "web_stats",
            "log",
            "servers",
        ]
        .map(|command| pen.ctl(command))
    };
    let write = |pen: &Pen| {
        let path = pen.place.file("written");
        pen.ctl(&format!("write {}", path.display()));
        let text = fs::read_to_string(path).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = (shown(&pen), write(&pen), pen.ctl("clients_max"), pen.ctl("connection 0"));
    let first = pen.ctl("pid");
    upgrade(&mut pen);
    assert_ne!(pen.ctl("pid"), first);
    let after = (shown(&pen), write(&pen), pen.ctl("clients_max"), pen.ctl("connection 0"));
    let without_descriptors = |text: &str| {
        let (start, rest) = text.split_once("downfd").unwrap();
        format!("{start}{}", rest.split_once("client").unwrap().1)
    };
    assert_eq!(after.0, before.0);
    assert_eq!(after.1, before.1);
    assert_eq!(after.2, before.2);
    assert_eq!(without_descriptors(&after.3), without_descriptors(&before.3));
    client.send("second");
    client.expect("second");
    // They are still settings that can be changed, and files that are written.
    assert_eq!(pen.ctl("timeout 5"), "5\n");
    until("the log to have what both processes have seen", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.contains("first") && text.contains("second")
    });
    let pid = Pid::from_raw(pen.ctl("pid").trim().parse().unwrap()).unwrap();
    kill_process(pid, Signal::USR1).unwrap();
    until("the page", || fs::read_to_string(&page).is_ok_and(|it| it.contains("</html>")));
    // And again: what has been inherited can be handed over.
    let second = pen.ctl("pid");
    pen.place.run("evenkeel", "upgrade").check(0);
    until("the third process", || pen.ctl("pid") != second);
    assert_eq!(pen.ctl("timeout"), "5\n");
    client.send("third");
    client.expect("third");
    pen.ctl("close 0");
    assert!(client.rest().0.is_empty());
}

#[test]
fn control_clients_that_are_there_are_answered() {
    let a = Backend::named("a");
    let mut pen = Pen::start("", &format!("{a}"));
    // One that has not said anything, and one that has not finished reading its answer.
    let silent = pen.control_stream().unwrap();
    let mut slow = pen.control_stream().unwrap();
    slow.write_all(b"servers\n").unwrap();
    assert_eq!(pen.ctl("timeout"), "3\n");
    let before = pen.ctl("pid");
    upgrade(&mut pen);
    (&silent).write_all(b"pid\n").unwrap();
    let pid = read(silent);
    assert_ne!(pid, before);
    assert_eq!(pid, pen.ctl("pid"));
    assert!(read(slow).starts_with("0 addr 127.0.0.1"));
}

#[test]
fn control_clients_come_at_any_time() {
    let a = Backend::named("a");
    let mut pen = Pen::start("", &format!("{a}"));
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answers = 0;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                answers += 1;
                let address = ("127.0.0.1", pen.control.number());
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(crate::PATIENCE)).unwrap();
                stream.write_all(format!("timeout {answers}\n").as_bytes()).unwrap();
                assert_eq!(read(stream), format!("{answers}\n"));
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"timeout\n").unwrap();
                assert_eq!(read(stream), format!("{answers}\n"), "a change is never lost");
            }
            answers
        });
        for _ in 0..5 {
            pen.place.run("evenkeel", "upgrade").check(0);
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(asking.join().unwrap() > 5);
    });
    assert_eq!(pen.program.wait().code(), Some(0));
    assert_eq!(pen.ask(1), "a");
}

#[test]
fn files_go_on_to_the_new_process() {
    let (place, echo) = (Place::new(), Backend::echo());
    let [pid_file, listen, control] = ["pid", "sock", "control"].map(|name| place.file(name));
    let user = if is_root() { "-u root" } else { "" };
    let words = format!(
        "{user} -p {} -C {} {} {echo}",
        pid_file.display(),
        control.display(),
        listen.display()
    );
    place.run("pen", &words).check(0);
    let pid = || fs::read_to_string(&pid_file).unwrap().parse::<u32>().unwrap();
    until("the pid", || fs::read_to_string(&pid_file).is_ok_and(|it| !it.is_empty()));
    let first = pid();
    let mut client = UnixStream::connect(&listen).unwrap();
    client.set_read_timeout(Some(crate::PATIENCE)).unwrap();
    let mut exchange = |word: &[u8; 3]| {
        client.write_all(word).unwrap();
        let mut answer = [0; 3];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, word);
    };
    exchange(b"one");
    let ctl = |line: &str| {
        let mut stream = UnixStream::connect(&control).unwrap();
        stream.set_read_timeout(Some(crate::PATIENCE)).unwrap();
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    };
    assert_eq!(ctl("pid"), format!("{first}\n"));
    place.run("evenkeel", "upgrade").check(0);
    until("the old process to go", || !fs::exists(format!("/proc/{first}/exe")).unwrap());
    assert_ne!(pid(), first);
    assert_eq!(ctl("pid"), format!("{}\n", pid()));
    exchange(b"two");
    drop(UnixStream::connect(&listen).unwrap());
    kill_process(Pid::from_raw(pid() as i32).unwrap(), Signal::TERM).unwrap();
    until("the pid file to go", || !pid_file.exists());
}

#[test]
fn a_pen_that_is_not_upgraded_goes_on() {
    let a = Backend::named("a");
    let mut pen = Pen::start("", &format!("{a}"));
    let silent = pen.control_stream().unwrap();
    // A file that no instance can be started from.
    fs::write(pen.place.file("bad.toml"), "[pools\n").unwrap();
    pen.place.run("evenkeel", "upgrade --config bad.toml").check(1);
    (&silent).write_all(b"timeout\n").unwrap();
    assert_eq!(read(silent), "3\n");
    assert_eq!(pen.ctl("timeout 4"), "4\n");
    assert_eq!(pen.ask(1), "a");
    pen.check_alive();
}

#[test]
fn a_pen_serves_again_when_the_new_one_dies_during_the_watch() {
    let (place, a) = (Place::new(), Backend::named("a"));
    let pid_file = place.file("pid");
    let options = format!("-p {}", pid_file.display());
    let mut pen = Pen::start_in(place, &options, &format!("{a}"));
    let first = pen.ctl("pid");
    pen.place.run("evenkeel", "upgrade --watch 1m").check(0);
    let second = pen.ctl("pid");
    assert_ne!(second, first);
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), second.trim());
    kill_process(Pid::from_raw(second.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(pen.ask(1), "a");
    until("the control port", || pen.ctl("pid") == first);
    until("the pid file", || fs::read_to_string(&pid_file).unwrap() == first.trim());
    pen.check_alive();
}
