//! Start and end: what the shell sees, what is there when the command returns, and whose rights
//! the process has.

use crate::support::{Backend, Done, Place, Port, Program, ask, port, skip_unless, until};
use crate::{Pen, as_oneself, is_root};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs;
use std::path::Path;

/// A daemon that ends with its test.
struct Daemon(Pid);

impl Daemon {
    /// The one whose number is in this file; it must be there already.
    #[track_caller]
    fn of(file: &Path) -> Self {
        let text = fs::read_to_string(file).expect("the pid file is there at once");
        assert!(!text.ends_with('\n'), "no newline: {text:?}");
        Self(Pid::from_raw(text.parse().unwrap()).unwrap())
    }

    fn has_ended(&self) -> bool {
        test_kill_process(self.0).is_err()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[test]
fn fault_9_all_is_ready_when_the_command_returns() {
    for round in 0..5 {
        let (place, listen, control) = (Place::new(), port(), port());
        let a = Backend::named("a");
        let me = as_oneself();
        let words = format!("{me} -C 127.0.0.1:{control} -p pen.pid 127.0.0.1:{listen} {a}");
        let done = place.run("pen", &words).check(0);
        let daemon = Daemon::of(&place.file("pen.pid"));
        assert_eq!(ask(&listen), "a", "round {round}");
        let pid = place.run("penctl", &format!("127.0.0.1:{control} pid")).check(0);
        assert_eq!(pid.stdout.trim(), daemon.0.to_string());
        assert_eq!(done.stdout, "");
        kill_process(daemon.0, Signal::TERM).unwrap();
        until("it to end", || daemon.has_ended());
        assert!(!place.file("pen.pid").exists());
    }
}

#[track_caller]
fn check_fails(options: &str, servers: &str, message: &str) {
    for foreground in ["", "-f"] {
        let (place, listen) = (Place::new(), port());
        let me = as_oneself();
        let words = format!("{foreground} {me} -p left.pid {options} 127.0.0.1:{listen} {servers}");
        check_failure(&place, &place.run("pen", &words), message);
        assert!(!fidelity::procnet::is_listening(listen.number()), "{options}");
    }
}

#[track_caller]
fn check_failure(place: &Place, done: &Done, message: &str) {
    assert_eq!(done.status, 1, "{done:?}");
    assert!(done.stderr.contains(message), "{message:?} is not in {done:?}");
    assert!(!place.file("left.pid").exists(), "a pid file is left");
}

#[test]
fn fault_9_what_cannot_start_says_so_with_status_1() {
    let a = Backend::named("a");
    check_fails("-p /nonexistent/pid", &format!("{a}"), "Can't create pidfile /nonexistent/pid");
    check_fails("-l /nonexistent/log", &format!("{a}"), "Can't open logfile /nonexistent/log");
    check_fails("-l no.such.host.invalid:514", &format!("{a}"), "Bogus host");
    check_fails("", "no.such.host.invalid:80", "unknown or invalid address [no.such.host.invalid]");
    if is_root() {
        check_fails("-u nosuchuser77", &format!("{a}"), "Can't getpwnam(nosuchuser77)");
        check_fails("-j /nonexistent/root", &format!("{a}"), "Can't chroot(/nonexistent/root)");
    }
}

#[test]
fn fault_9_a_busy_port_is_noticed_before_the_command_returns() {
    let a = Backend::named("a");
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap();
    for foreground in ["", "-f"] {
        let place = Place::new();
        let done = place.run("pen", &format!("{foreground} -p left.pid {address} {a}"));
        check_failure(&place, &done, "can't bind local address");
    }
    let place = Place::new();
    let done = place.run("pen", &format!("-p left.pid 127.0.0.1:99999 {a}"));
    check_failure(&place, &done, "out of range");
}

#[test]
fn fault_19_no_addresses_of_memory_are_printed() {
    let a = Backend::named("a");
    let pen = Pen::start("", &format!("{a}"));
    assert_eq!(pen.ask(1), "a");
    for stream in [&pen.program.log, &pen.program.out] {
        for word in ["Before:", "After:", "0x"] {
            assert!(stream.with(word).is_empty(), "{:?}", stream.all());
        }
    }
}

#[test]
fn fault_22_int_and_quit_end_it_as_term_does() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let a = Backend::named("a");
        let place = Place::new();
        let file = place.file("pen.pid");
        let mut pen = Pen::start_in(place, &format!("-p {}", file.display()), &format!("{a}"));
        until("the pid file", || {
            fs::read_to_string(&file).is_ok_and(|text| text == pen.program.pid().to_string())
        });
        pen.program.signal(signal);
        assert_eq!(pen.program.wait().code(), Some(0), "{signal:?}");
        assert!(!file.exists(), "{signal:?} leaves the pid file");
        assert_eq!(ask(&pen.port), "refused");
    }
}

#[test]
fn exit_ends_it_only_with_x() {
    let a = Backend::named("a");
    let mut pen = Pen::start("", &format!("{a}"));
    assert_eq!(pen.ctl("exit"), "Exit is not enabled; restart with -X flag\n");
    pen.check_alive();
    let mut pen = Pen::start("-X -p pen.pid", &format!("{a}"));
    let _ = pen.control_bytes(b"exit\n");
    assert_eq!(pen.program.wait().code(), Some(0));
    assert!(!pen.place.file("pen.pid").exists());
}

#[test]
fn fault_24_n_means_h_and_r() {
    let a = Backend::named("a");
    let pen = Pen::start("-N", &format!("{a}"));
    assert_eq!(pen.ctl("mode"), "hash roundrobin no stubborn no weight no prio\n");
    assert_eq!(pen.ask(1), "a");
}

/// `pen -f` with a file that says where it listens.
#[track_caller]
fn with_listen(servers: &str) -> Pen {
    let (place, listen, control) = (Place::new(), port(), port());
    fs::write(place.file("pen.cfg"), format!("listen 127.0.0.1:{listen}\n")).unwrap();
    let me = as_oneself();
    let words = format!("-f {me} -F pen.cfg -C 127.0.0.1:{control} 9 {servers}");
    let program = Program::spawn(&mut place.command("pen", &words));
    let mut pen = Pen { program, port: listen, control, place };
    pen.wait_listening();
    pen
}

#[test]
fn fault_27_a_server_without_a_port_gets_the_listening_port() {
    let pen = with_listen("127.0.0.2 127.0.0.3:77 127.0.0.4::5");
    let port_of = |pen: &Pen, server| pen.server_number(server, "port");
    let listen = u64::from(pen.port.number());
    assert_eq!([0, 1, 2].map(|server| port_of(&pen, server)), [listen, 77, listen]);
}

/// A field of `/proc/PID/status`.
fn status_of(pid: Pid, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn fault_29_a_user_has_only_its_own_rights() {
    if skip_unless(is_root(), "only root can become somebody else") {
        return;
    }
    let a = Backend::named("a");
    let (place, listen) = (Place::new(), port());
    let mut command = std::process::Command::new("setpriv");
    // Root with groups, as after a login.
    command
        .args(["--groups", "0,4,27", "--"])
        .arg(link_as(&place, "pen"))
        .args(["-f", "-u", "nobody", &format!("127.0.0.1:{listen}"), &a.to_string()])
        .env("EVENKEEL_RUNTIME_DIR", place.runtime());
    let program = Program::spawn(&mut command);
    until("it to serve", || ask(&listen) == "a");
    let pid = program.pid();
    assert_eq!(status_of(pid, "Uid:"), "65534 65534 65534 65534");
    assert_eq!(status_of(pid, "Gid:"), "65534 65534 65534 65534");
    let groups = status_of(pid, "Groups:");
    assert!(["", "65534"].contains(&groups.as_str()), "{groups}");
    // Every thread, not only the first.
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
        assert!(!status.contains("Groups:\t0"), "{status}");
    }
    assert!(is_without_capabilities(pid), "{}", status_of(pid, "CapEff:"));
}

fn is_without_capabilities(pid: Pid) -> bool {
    status_of(pid, "CapEff:").bytes().all(|digit| digit == b'0')
}

/// A link to the program with a name of its own.
fn link_as(place: &Place, name: &str) -> std::path::PathBuf {
    let path = place.file(name);
    std::os::unix::fs::symlink(place.command(name, "").get_program(), &path).unwrap();
    path
}

#[test]
fn fault_29_a_new_root_is_also_where_it_works() {
    if skip_unless(is_root(), "only root can change the root directory") {
        return;
    }
    let a = Backend::named("a");
    let (place, listen) = (Place::new(), port());
    let root = place.file("root");
    fs::create_dir(&root).unwrap();
    std::os::unix::fs::chown(&root, Some(65_534), Some(65_534)).unwrap();
    let dir = root.display();
    let words = format!("-f -u nobody -j {dir} -p pen.pid -l log 127.0.0.1:{listen} {a}");
    let mut program = Program::spawn(&mut place.command("pen", &words));
    serve_and_check_root(&listen, &program, &root);
    until("the pid file in it", || root.join("pen.pid").exists());
    assert!(root.join("log").exists());
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
    assert!(!root.join("pen.pid").exists());
}

#[track_caller]
fn serve_and_check_root(listen: &Port, program: &Program, root: &Path) {
    until("it to serve", || ask(listen) == "a");
    let pid = program.pid();
    let root = fs::canonicalize(root).unwrap();
    for link in ["root", "cwd"] {
        assert_eq!(fs::read_link(format!("/proc/{pid}/{link}")).unwrap(), root, "{link}");
    }
}

#[test]
fn signals_right_after_it_listens_do_not_end_it() {
    let (a, place) = (Backend::named("a"), Place::new());
    let file = place.file("pen.cfg");
    fs::write(&file, "blacklist 77\n").unwrap();
    let mut pen = Pen::start_in(place, &format!("-F {}", file.display()), &format!("{a}"));
    for _ in 0..10 {
        let Pen { program, port, control, place } = pen;
        drop(program);
        fs::write(&file, "blacklist 77\n").unwrap();
        let words = format!(
            "-f {} -F {} -C 127.0.0.1:{control} 127.0.0.1:{port} {a}",
            as_oneself(),
            file.display()
        );
        let mut program = Program::spawn(&mut place.command("pen", &words));
        while !program.has_ended() && !fidelity::procnet::is_listening(port.number()) {}
        fs::write(&file, "blacklist 78\n").unwrap();
        for signal in [Signal::HUP, Signal::USR1] {
            program.signal(signal);
        }
        pen = Pen { program, port, control, place };
        until("the file to be read again", || pen.ctl("blacklist") == "78\n");
        pen.check_alive();
    }
}

#[test]
fn a_term_as_soon_as_the_pid_file_is_there_ends_it_in_order() {
    let a = Backend::named("a");
    for _ in 0..10 {
        let (place, listen) = (Place::new(), port());
        let words = format!("-f {} -p pen.pid 127.0.0.1:{listen} {a}", as_oneself());
        let mut program = Program::spawn(&mut place.command("pen", &words));
        let file = place.file("pen.pid");
        while !program.has_ended() && !file.exists() {}
        program.signal(Signal::TERM);
        assert_eq!(program.wait().code(), Some(0));
        assert!(!file.exists(), "a pid file is left");
    }
}
