//! penlog and penlogd as a user runs them, over loopback.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test")]

mod common;

use std::fs;
use std::net::{Ipv6Addr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{run, stderr, stdout, tool, wait_for};
use rustix::process::{Pid, Signal, kill_process};

/// A penlogd with its log in a directory; ends with the test.
struct Service {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether a penlogd holds this port: it cannot be had.
fn taken(port: u16) -> bool {
    UdpSocket::bind(("127.0.0.1", port)).is_err()
}

impl Service {
    fn start(options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        loop {
            let port = free_port();
            let mut child = tool("penlogd")
                .current_dir(directory.path())
                .args(["-f", "-p", "pid", "-l", "log"])
                .args(options.split_whitespace())
                .arg(port.to_string())
                .stderr(fs::File::create(directory.path().join("messages")).unwrap())
                .spawn()
                .unwrap();
            let mut ended = false;
            wait_for("penlogd", || {
                ended = child.try_wait().unwrap().is_some();
                ended || fs::read_to_string(&pid_file).is_ok_and(|pid| !pid.is_empty())
            });
            if !ended {
                return Self { child, port, directory };
            }
            // Another program was faster to take the port.
            let why = fs::read_to_string(directory.path().join("messages")).unwrap();
            assert!(why.contains("Problem binding"), "{why}");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn send(&self, from: &str, datagram: &str) {
        let to = if from.contains(':') { "::1" } else { "127.0.0.1" };
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.send_to(datagram.as_bytes(), (to, self.port)).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
    }

    /// Ends it by TERM and gives the log.
    fn end(mut self) -> String {
        self.signal(Signal::TERM);
        assert!(self.child.wait().unwrap().success(), "{}", self.text("messages"));
        self.text("log")
    }
}

fn line(client: &str, request: &str) -> String {
    format!("{client} - - [10/Feb/2025:17:46:40 +0000] \"{request}\" 200 5\n")
}

#[test]
fn what_is_buffered_is_written_within_a_second() {
    let service = Service::start("");
    service.send("127.0.0.11", &line("lb", "GET /"));
    wait_for("the line", || service.text("log") == line("lb", "GET /"));
}

#[test]
fn ipv6_servers_and_balancers_are_served() {
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("skipped: no IPv6 here");
        return;
    }
    let service = Service::start("");
    service.send("::1", "+ 2001:db8::7 ::1 GET /a");
    service.send("::1", &line("lb", "GET /a"));
    assert_eq!(service.end(), line("2001:db8::7", "GET /a"));
}

#[test]
fn several_lines_in_a_datagram_are_each_looked_up_and_get_their_newline() {
    let service = Service::start("");
    service.send("127.0.0.1", "+ 192.0.2.1 127.0.0.11 GET /a");
    service.send("127.0.0.1", "+ 192.0.2.2 127.0.0.11 GET /b");
    let both = line("lb", "GET /a") + line("lb", "GET /b").trim_end();
    service.send("127.0.0.11", &both);
    assert_eq!(service.end(), line("192.0.2.1", "GET /a") + &line("192.0.2.2", "GET /b"));
}

#[test]
fn long_lines_pass_whole() {
    let service = Service::start("");
    let request = format!("GET /{}", "x".repeat(20_000));
    service.send("127.0.0.1", &format!("+ 192.0.2.1 127.0.0.11 {request}"));
    service.send("127.0.0.11", &line("lb", &request));
    assert_eq!(service.end(), line("192.0.2.1", &request));
}

#[test]
fn an_announcement_of_one_is_remembered_with_n_1_and_none_is_wrong_usage() {
    let service = Service::start("-n 1");
    service.send("127.0.0.1", "+ 192.0.2.1 127.0.0.11 GET /a");
    service.send("127.0.0.11", &line("lb", "GET /a"));
    assert_eq!(service.end(), line("192.0.2.1", "GET /a"));
    let none = run(tool("penlogd").args(["-f", "-n", "0", "9999"]), b"");
    assert_eq!(none.status.code(), Some(2));
    assert_eq!(run(&mut tool("penlogd"), b"").status.code(), Some(2));
}

#[test]
fn only_allowed_networks_are_heard() {
    let service = Service::start("-d --allow 127.0.0.11 --allow 10.0.0.0/8");
    service.send("127.0.0.12", &line("lb", "GET /bad"));
    service.send("127.0.0.11", &line("lb", "GET /good"));
    wait_for("the message", || {
        service.text("messages").contains("127.0.0.12, which is not allowed")
    });
    assert_eq!(service.end(), line("lb", "GET /good"));
}

#[test]
fn a_log_that_cannot_be_reopened_is_kept() {
    let service = Service::start("-b");
    service.send("127.0.0.11", &line("lb", "GET /1"));
    wait_for("the line", || !service.text("log").is_empty());
    fs::rename(service.path("log"), service.path("old")).unwrap();
    fs::create_dir(service.path("log")).unwrap();
    service.signal(Signal::HUP);
    wait_for("the message", || service.text("messages").contains("the old file is kept"));
    service.send("127.0.0.11", &line("lb", "GET /2"));
    wait_for("the line", || service.text("old") == line("lb", "GET /1") + &line("lb", "GET /2"));
    fs::remove_dir(service.path("log")).unwrap();
    service.signal(Signal::HUP);
    wait_for("the new file", || service.path("log").exists());
}

#[test]
fn a_full_disk_costs_lines_and_not_the_program() {
    let service = Service::start("-b -l /dev/full");
    service.send("127.0.0.11", &line("lb", "GET /1"));
    let complaint = "cannot write the log: No space left on device";
    wait_for("the message", || service.text("messages").contains(complaint));
    service.send("127.0.0.11", &line("lb", "GET /2"));
    service.signal(Signal::HUP);
    assert!(taken(service.port));
    assert_eq!(service.text("messages").matches(complaint).count(), 1);
}

#[test]
fn a_line_can_wait_for_its_announcement() {
    let service = Service::start("--wait 60000");
    service.send("127.0.0.11", &line("lb", "GET /a"));
    service.send("127.0.0.11", &line("lb", "GET /never"));
    service.send("127.0.0.1", "+ 192.0.2.1 127.0.0.11 GET /a");
    wait_for("the line", || service.text("log") == line("192.0.2.1", "GET /a"));
    assert_eq!(service.end(), line("192.0.2.1", "GET /a") + &line("lb", "GET /never"));
}

#[test]
fn json_and_statistics() {
    let service = Service::start("--json --stats 1");
    service.send("127.0.0.1", "+ 192.0.2.1 127.0.0.11 GET /a");
    service.send("127.0.0.11", &line("lb", "GET /a"));
    service.send("127.0.0.11", "odd \"GET /b\"");
    service.send("127.0.0.11", "junk");
    let expected = "4 datagrams received: 1 announcements, 1 lines matched, 1 unmatched, 1 dropped";
    wait_for("statistics", || service.text("messages").contains(expected));
    let log = service.end();
    let objects: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&objects[0]["client"], &objects[0]["status"]), (&"192.0.2.1".into(), &200.into()));
    assert_eq!(
        (&objects[1]["matched"], &objects[1]["line"]),
        (&false.into(), &"odd \"GET /b\"".into())
    );
}

#[test]
fn a_low_port_can_be_had_with_a_user_and_its_groups_only() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: not root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let Some(port) = (900..1000).rev().find(|port| !taken(*port)) else { return };
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(directory.path(), mode).unwrap();
    let mut child = tool("penlogd")
        .args(["-f", "-u", "nobody", "-l"])
        .arg(&log)
        .arg(port.to_string())
        .spawn()
        .unwrap();
    wait_for("the log", || log.exists());
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(field("Uid:").iter().all(|id| id == "65534"), "{status}");
    assert!(field("Gid:").iter().all(|id| id == "65534"), "{status}");
    assert!(!field("Groups:").contains(&"0".to_owned()), "{status}");
}

#[test]
fn the_background_start_reports_failure_and_success_when_it_is_so() {
    let directory = tempfile::tempdir().unwrap();
    let penlogd = |words: &[&str]| {
        let mut command = tool("penlogd");
        command.current_dir(directory.path()).args(words);
        command.stdout(Stdio::null()).stdin(Stdio::null());
        command
    };
    let used = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = used.local_addr().unwrap().port().to_string();
    // To a file: a background process may keep the messages' pipe open for long.
    let messages = directory.path().join("messages");
    let status = |mut command: Command| {
        command.stderr(fs::File::create(&messages).unwrap()).status().unwrap()
    };
    assert_eq!(status(penlogd(&[&port])).code(), Some(1));
    assert!(fs::read_to_string(&messages).unwrap().contains("Problem binding"));
    drop(used);
    assert!(status(penlogd(&["-p", "pid", "-l", "log", &port])).success());
    // Ready means ready: nothing to wait for.
    let pid: i32 = fs::read_to_string(directory.path().join("pid")).unwrap().parse().unwrap();
    assert!(taken(port.parse().unwrap()));
    let socket = UdpSocket::bind("127.0.0.11:0").unwrap();
    socket.send_to(line("lb", "GET /").as_bytes(), format!("127.0.0.1:{port}")).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    wait_for("the end", || !directory.path().join("pid").exists());
    assert_eq!(fs::read_to_string(directory.path().join("log")).unwrap(), line("lb", "GET /"));
}

#[test]
fn systemd_may_pass_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // The port on the command line is not the one that is used.
    let mut child = Command::new("sh")
        .args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" penlogd -f -b -l log 9 3<&0"])
        .arg(env!("CARGO_BIN_EXE_logtools"))
        .current_dir(directory.path())
        .stdin(std::os::fd::OwnedFd::from(socket))
        .spawn()
        .unwrap();
    let sender = UdpSocket::bind("127.0.0.11:0").unwrap();
    sender.send_to(line("lb", "GET /").as_bytes(), address).unwrap();
    let log = directory.path().join("log");
    wait_for("the line", || fs::read_to_string(&log).is_ok_and(|text| !text.is_empty()));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn penlog_cuts_where_it_is_told_and_tries_all_addresses() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let output = run(tool("penlog").args(["--max", "5", "127.0.0.1", &port]), b"123456789\nab\n");
    assert!(output.status.success(), "{}", stderr(&output));
    let mut buffer = [0; 100];
    for expected in [&b"1234\n"[..], b"ab\n"] {
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], expected);
    }
    // `localhost` may be ::1 first, from where an IPv4 source cannot send.
    let output = run(tool("penlog").args(["localhost", &port, "127.0.0.21"]), b"x\n");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(socket.recv_from(&mut buffer).unwrap().1.ip().to_string(), "127.0.0.21");
}

#[test]
fn penlog_says_what_is_wrong() {
    for (words, message) in [
        (vec!["127.0.0.1"], "server_ip server_port [my_ip]"),
        (vec!["no-such-host.invalid", "1"], "getaddrinfo: no-such-host.invalid"),
        (vec!["127.0.0.1", "no-such-port"], "getaddrinfo: no-such-port"),
        (vec!["127.0.0.1", "1", "192.0.2.77"], "Problem creating socket"),
        (vec!["127.0.0.1", "1", "::1"], "different families"),
    ] {
        let output = run(tool("penlog").args(&words), b"");
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(stderr(&output).contains(message), "{words:?}: {}", stderr(&output));
    }
}

#[test]
fn every_tool_has_help_a_version_and_a_manual() {
    for (name, page) in logtools::manual_pages() {
        let help = run(tool(name).arg("--help"), b"");
        assert!(help.status.success());
        assert!(stdout(&help).contains(&format!("Usage: {name} ")), "{}", stdout(&help));
        assert!(stdout(&run(tool(name).arg("-V"), b"")).starts_with(name));
        assert!(page.starts_with(&format!(".TH {} 1", name.to_uppercase())), "{page}");
    }
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("splitwr");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_logtools"), &link).unwrap();
    assert!(stdout(&run(Command::new(&link).arg("-V"), b"")).starts_with("splitwr (Evenkeel)"));
    let unknown = run(&mut tool("nothing"), b"");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("mergelogs, penlog, penlogd, webresolve, splitwr, dwatch"));
}
