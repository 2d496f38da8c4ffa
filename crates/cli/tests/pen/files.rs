//! Files that commands name: they are read as a whole and applied in one step, and no file, pipe
//! or reader holds pen up.

use crate::support::{Backend, Client, PATIENCE, Place, Program, ask, port, until};
use crate::{Pen, as_oneself};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// What a command may take, where it must not wait for anybody.
const AT_ONCE: Duration = Duration::from_secs(5);

fn fifo(place: &Place, name: &str) -> PathBuf {
    let path = place.file(name);
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    path
}

/// Ends it as an operator does; nothing may be in the way.
#[track_caller]
fn check_ends(pen: &mut Pen) {
    pen.program.signal(Signal::TERM);
    assert_eq!(pen.program.wait().code(), Some(0));
}

#[test]
fn a_file_read_again_never_lets_in_whom_its_lists_deny() {
    let (a, place) = (Backend::named("a"), Place::new());
    let file = place.file("pen.cfg");
    // Between the lines that empty the list and fill it again is much that takes time.
    let busy = "servers\n".repeat(300) + "server 1 address no.such.name.invalid\n";
    fs::write(&file, format!("no acl 1\n{busy}acl 1 deny 127.0.0.2\nclient_acl 1\n")).unwrap();
    let mut pen = Pen::start_in(place, &format!("-r -F {}", file.display()), &format!("{a}"));
    pen.ctl("server 999 max 1");
    let (is_over, asked, served) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (pen, is_over, asked, served) = (&pen, &is_over, &asked, &served);
        scope.spawn(move || {
            while !is_over.load(SeqCst) {
                let answer = pen.ask_from([127, 0, 0, 2]);
                served.fetch_add(usize::from(answer == "a"), SeqCst);
                asked.fetch_add(1, SeqCst);
            }
        });
        for _ in 0..10 {
            rustix::process::kill_process(pen.program.pid(), Signal::HUP).unwrap();
            let before = asked.load(SeqCst);
            let deadline = Instant::now() + PATIENCE;
            while asked.load(SeqCst) < before + 30 && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        is_over.store(true, SeqCst);
    });
    assert!(asked.load(SeqCst) >= 300, "only {asked:?} clients");
    assert_eq!(served.load(SeqCst), 0, "denied clients were served");
    assert_eq!(pen.ask(1), "a");
    pen.check_alive();
}

#[test]
fn what_is_no_regular_file_is_not_included() {
    let (a, place) = (Backend::named("a"), Place::new());
    let pipe = fifo(&place, "pipe");
    let mut pen = Pen::start_in(place, "", &format!("{a}"));
    for path in [&pipe, Path::new("/dev/zero"), Path::new("/dev/tty"), Path::new("/proc")] {
        let begin = Instant::now();
        assert_eq!(pen.ctl(&format!("include {}", path.display())), "");
        pen.program.log.wait(&format!("Can't read config file '{}': ", path.display()));
        assert!(begin.elapsed() < AT_ONCE, "{path:?} took {:?}", begin.elapsed());
        pen.check_alive();
    }
    assert!(pen.memory() < 100_000, "{} kB", pen.memory());
    check_ends(&mut pen);
}

#[test]
fn files_that_include_themselves_twice_come_to_an_end() {
    let (a, place) = (Backend::named("a"), Place::new());
    let file = place.file("twice.cfg");
    let include = format!("include {}\n", file.display());
    fs::write(&file, include.repeat(2)).unwrap();
    let mut pen = Pen::start_in(place, "", &format!("{a}"));
    let begin = Instant::now();
    pen.ctl(&include);
    pen.program.log.wait("more than 1000 files are included");
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    pen.check_alive();
}

#[test]
fn a_pipe_in_the_place_of_a_file_to_write_holds_up_nobody() {
    let (a, place) = (Backend::named("a"), Place::new());
    let pipe = fifo(&place, "pipe");
    let mut pen = Pen::start_in(place, "", &format!("{a}"));
    let path = pipe.display();
    for command in [&format!("write {path}"), &format!("web_stats {path}"), "status"] {
        let begin = Instant::now();
        pen.ctl(command);
        assert!(begin.elapsed() < AT_ONCE, "{command} took {:?}", begin.elapsed());
    }
    pen.program.signal(Signal::USR1);
    pen.program.log.wait_nth(&format!("Can't write '{path}'"), 2);
    pen.check_alive();
    check_ends(&mut pen);
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let (echo, place) = (Backend::echo(), Place::new());
    let pipe = fifo(&place, "pipe");
    for options in [format!("-l {}", pipe.display()), "-ddd -a".to_owned()] {
        let mut pen = Pen::start_unread(&options, &format!("{echo}"));
        let client = Client::connect(&pen.port);
        // Far more than a pipe holds.
        for number in 0..2000 {
            let text = format!("{number:0>99}\n");
            client.send(&text);
            client.expect(text);
        }
        let begin = Instant::now();
        pen.ctl(&format!("log {}", pipe.display()));
        pen.program.signal(Signal::HUP);
        pen.program.signal(Signal::USR1);
        pen.check_alive();
        assert!(begin.elapsed() < AT_ONCE, "{options}: {:?}", begin.elapsed());
        check_ends(&mut pen);
    }
}

#[test]
fn a_log_may_be_a_pipe_whose_reader_comes_later() {
    let (echo, place) = (Backend::echo(), Place::new());
    let pipe = fifo(&place, "pipe");
    let pen = Pen::start_in(place, &format!("-l {}", pipe.display()), &format!("{echo}"));
    let client = Client::connect(&pen.port);
    client.send("hello\n");
    client.expect("hello\n");
    let mut reader = std::io::BufReader::new(fs::File::open(&pipe).unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    assert!(line.ends_with(" 127.0.0.1 hello\n"), "{line}");
}

#[test]
fn the_first_file_may_be_a_pipe() {
    let (a, place, listen) = (Backend::named("a"), Place::new(), port());
    let words = format!("-f {} -F /dev/stdin", as_oneself());
    let (stdin, mut input) = std::io::pipe().unwrap();
    let mut program = Program::spawn(place.command("pen", &words).stdin(Stdio::from(stdin)));
    let server = format!("server 0 address 127.0.0.1 port {}\n", a.port());
    input.write_all(format!("listen 127.0.0.1:{listen}\n{server}").as_bytes()).unwrap();
    drop(input);
    until("it to serve", || {
        assert!(!program.has_ended(), "it ended: {:?}", program.log.all());
        fidelity::procnet::is_listening(listen.number())
    });
    assert_eq!(ask(&listen), "a");
}

#[test]
fn a_status_page_is_never_seen_half_written() {
    let (a, place) = (Backend::named("a"), Place::new());
    let page = place.file("page.html");
    let pen = Pen::start_in(place, &format!("-w {}", page.display()), &format!("{a}"));
    pen.ctl("server 500 max 1");
    pen.ctl("status");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..50).for_each(|_| drop(pen.ctl("status")));
            is_over.store(true, SeqCst);
        });
        while !is_over.load(SeqCst) {
            let text = fs::read_to_string(&page).unwrap();
            assert!(text.ends_with("</html>\n"), "{} bytes", text.len());
        }
    });
}
