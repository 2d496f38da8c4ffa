//! The traffic log: where it goes, and that no line is lost on the way.

use crate::Pen;
use crate::support::{Backend, Client, End, PATIENCE, Place, until};
use rustix::process::Signal;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// One piece of data, so one entry, and its answer.
#[track_caller]
fn say(pen: &Pen, text: &str) {
    let client = Client::connect(&pen.port);
    client.send(format!("{text}\n"));
    client.expect(format!("{text}\n"));
}

fn lines_of(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

#[test]
fn rotation_by_hup_loses_no_line_under_load() {
    let (echo, place) = (Backend::echo(), Place::new());
    let log = place.file("log");
    let rotated = |number: usize| log.with_extension(format!("{number}"));
    let mut pen = Pen::start_in(place, &format!("-l {}", log.display()), &format!("{echo}"));
    let (is_over, said) = (AtomicBool::new(false), AtomicUsize::new(0));
    let pid = pen.program.pid();
    const ROTATIONS: usize = 15;
    thread::scope(|scope| {
        for talker in 0..2 {
            let (pen, is_over, said) = (&pen, &is_over, &said);
            scope.spawn(move || {
                while !is_over.load(SeqCst) {
                    say(pen, &format!("t{talker} n{}", said.fetch_add(1, SeqCst)));
                }
            });
        }
        for rotation in 0..ROTATIONS {
            let before = said.load(SeqCst);
            until("some traffic", || said.load(SeqCst) > before + 30);
            fs::rename(&log, rotated(rotation)).unwrap();
            rustix::process::kill_process(pid, Signal::HUP).unwrap();
            until("a new file", || log.exists());
        }
        is_over.store(true, SeqCst);
    });
    let total = || {
        let old: usize = (0..ROTATIONS).map(|number| lines_of(&rotated(number))).sum();
        old + lines_of(&log)
    };
    until("every line", || total() >= said.load(SeqCst));
    let mut seen: Vec<u64> = (0..ROTATIONS)
        .map(rotated)
        .chain([log.clone()])
        .flat_map(|file| {
            fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            assert_eq!((words[0], words[2], words.len()), ("127.0.0.1", "127.0.0.1", 5), "{line}");
            words[4].strip_prefix('n').unwrap().parse().unwrap()
        })
        .collect();
    seen.sort_unstable();
    let expected: Vec<u64> = (0..said.load(SeqCst) as u64).collect();
    assert_eq!(seen, expected, "each line once");
    pen.check_alive();
}

#[test]
fn lines_before_the_signal_are_in_the_old_file() {
    let (echo, place) = (Backend::echo(), Place::new());
    let log = place.file("log");
    let mut pen = Pen::start_in(place, &format!("-l {}", log.display()), &format!("{echo}"));
    for number in 0..20 {
        say(&pen, &format!("before {number}"));
    }
    let old = log.with_extension("1");
    fs::rename(&log, &old).unwrap();
    pen.program.signal(Signal::HUP);
    until("a new file", || log.exists());
    assert_eq!(lines_of(&old), 20);
    say(&pen, "after");
    until("the entry", || lines_of(&log) == 1);
    assert_eq!(lines_of(&old), 20);
    // Promptly, with nothing to push it out, and the last at the end.
    say(&pen, "the last");
    pen.program.signal(Signal::TERM);
    assert_eq!(pen.program.wait().code(), Some(0));
    assert_eq!(lines_of(&log), 2);
}

#[test]
fn fault_25_a_log_that_cannot_be_opened_is_reported_and_the_old_one_kept() {
    let (echo, place) = (Backend::echo(), Place::new());
    let folder = place.file("logs");
    fs::create_dir(&folder).unwrap();
    let log = folder.join("log");
    let mut pen = Pen::start_in(place, &format!("-l {}", log.display()), &format!("{echo}"));
    say(&pen, "one");
    until("the entry", || lines_of(&log) == 1);
    for bad in ["/nonexistent/folder/log", "no.such.host.invalid:514", "127.0.0.1:99999"] {
        pen.ctl(&format!("log {bad}"));
        pen.check_alive();
        say(&pen, bad);
    }
    until("the entries in the log it had", || lines_of(&log) == 4);

    // The folder goes, so the file cannot be made again.
    let elsewhere = folder.with_extension("moved");
    fs::rename(&folder, &elsewhere).unwrap();
    pen.program.signal(Signal::HUP);
    pen.program.log.wait("logfile");
    say(&pen, "after the signal");
    pen.check_alive();
    until("the entry in the file it had", || lines_of(&elsewhere.join("log")) == 5);
    fs::rename(&elsewhere, &folder).unwrap();
    pen.program.signal(Signal::HUP);
    say(&pen, "at last");
    until("the entry", || lines_of(&log) == 6);
}

/// A receiver of log datagrams, and its address.
fn receiver() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

#[track_caller]
fn received(socket: &UdpSocket) -> String {
    let mut buffer = [0; 2048];
    let count = socket.recv(&mut buffer).expect("a datagram");
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

#[track_caller]
fn check_silent(socket: &UdpSocket) {
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(socket.recv(&mut [0; 10]).is_err(), "a datagram");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
}

#[test]
fn fault_26_a_log_host_is_the_same_for_every_command() {
    let (socket, to) = receiver();
    let (echo, place) = (Backend::echo(), Place::new());
    let written = place.file("written.cfg");
    let pen = Pen::start_in(place, &format!("-l {to}"), &format!("{echo}"));
    say(&pen, "from the option");
    assert_eq!(received(&socket), "+ 127.0.0.1 127.0.0.1 from the option\n");
    assert_eq!(pen.ctl("log"), format!("{to}\n"));
    pen.set(&[&format!("write {}", written.display())]);
    let text = fs::read_to_string(&written).unwrap();
    assert!(text.lines().any(|line| line == format!("log {to}")), "{text}");

    pen.set(&["no log"]);
    assert_eq!(pen.ctl("log"), "");
    say(&pen, "to nobody");
    check_silent(&socket);

    let (second, to) = receiver();
    assert_eq!(pen.ctl(&format!("log {to}")), format!("{to}\n"));
    say(&pen, "from the command");
    assert_eq!(received(&second), "+ 127.0.0.1 127.0.0.1 from the command\n");
    check_silent(&socket);
}

#[test]
fn fault_26_a_log_host_in_a_file_is_a_host() {
    let (socket, to) = receiver();
    let (echo, place) = (Backend::echo(), Place::new());
    let file = place.file("pen.cfg");
    fs::write(&file, format!("log {to}\n")).unwrap();
    let mut pen = Pen::start_in(place, &format!("-F {}", file.display()), &format!("{echo}"));
    say(&pen, "from the file");
    assert_eq!(received(&socket), "+ 127.0.0.1 127.0.0.1 from the file\n");
    pen.program.signal(Signal::HUP);
    say(&pen, "after the signal");
    assert_eq!(received(&socket), "+ 127.0.0.1 127.0.0.1 after the signal\n");
    let names: Vec<_> = fs::read_dir(file.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("127."))
        .collect();
    assert!(names.is_empty(), "{names:?}");
    assert_eq!(pen.ctl("log"), format!("{to}\n"));
}

#[test]
fn a_log_goes_on_with_its_session() {
    // One entry for every piece read, not for every session.
    let (echo, place) = (Backend::echo(), Place::new());
    let log = place.file("log");
    let pen = Pen::start_in(place, &format!("-l {}", log.display()), &format!("{echo}"));
    let client = Client::connect(&pen.port);
    for piece in ["first\r\nrest of it", "second \u{1}", &"long".repeat(50)] {
        client.send(piece);
        client.expect(piece);
    }
    client.finish();
    assert_eq!(client.end(), End::Eof);
    until("three entries", || lines_of(&log) == 3);
    let text = fs::read_to_string(&log).unwrap();
    let texts: Vec<_> = text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap()).collect();
    assert_eq!(texts, ["first", "second \u{1}", &"long".repeat(25)]);
}
