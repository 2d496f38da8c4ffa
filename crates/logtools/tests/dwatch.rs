//! dwatch with real processes.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{run, stderr, stdout, tool, wait_for};
use rustix::process::{Pid, Signal, kill_process};

/// A program to watch: a sleep of a length that nobody else sleeps. Its starts are counted in a
/// file.
struct Sleeper {
    directory: tempfile::TempDir,
    length: String,
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        for pid in self.pids() {
            kill(pid, Signal::KILL);
        }
    }
}

impl Sleeper {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let length = format!("6{:05}.{number:03}", std::process::id() % 100_000);
        Self { directory: tempfile::tempdir().unwrap(), length }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command that counts a start and then does this.
    fn counted(&self, then: &str) -> String {
        format!("echo started >> {}; {then}", self.path("starts").display())
    }

    fn daemon(&self) -> String {
        self.counted(&format!("sleep {} &", self.length))
    }

    /// Writes the configuration; `more` goes into the section of the program.
    fn configure(&self, start: &str, more: &str) {
        let text = format!(
            "[watch.sleeper]\ncommand-line = '^sleep {}$'\nstart = '''{start}'''\n{more}",
            self.length
        );
        fs::write(self.path("conf"), text).unwrap();
    }

    fn dwatch(&self) -> Command {
        let mut command = tool("dwatch");
        command.arg("-f").arg(self.path("conf")).arg("--state").arg(self.path("state"));
        command
    }

    fn pids(&self) -> Vec<u32> {
        let wanted = format!("sleep\0{}\0", self.length);
        let is_ours = |pid: &u32| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == wanted.as_bytes())
        };
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(is_ours).collect()
    }

    fn starts(&self) -> usize {
        fs::read_to_string(self.path("starts")).unwrap_or_default().lines().count()
    }
}

fn kill(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), signal);
}

/// A dwatch in the foreground; ends with the test.
struct Foreground(Child);

impl Foreground {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Ends it and gives its messages.
    fn end(mut self) -> String {
        kill(self.0.id(), Signal::TERM);
        let mut text = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(self.0.wait().unwrap().success(), "{text}");
        text
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_killed_daemon_is_revived_and_never_twice() {
    let sleeper = Sleeper::new();
    sleeper.configure(&sleeper.daemon(), "grace = '5s'\nbackoff = '10ms'\n");
    let dwatch = Foreground::start(sleeper.dwatch().args(["-i", "0.1"]));
    let mut before = vec![];
    for life in 1..=3 {
        wait_for("the daemon", || {
            let pids = sleeper.pids();
            assert!(pids.len() <= 1, "started twice");
            pids.len() == 1 && pids != before
        });
        assert_eq!(sleeper.starts(), life);
        before = sleeper.pids();
        if life == 1 {
            let second = run(sleeper.dwatch().args(["-i", "0.1"]), b"");
            assert_eq!(second.status.code(), Some(1));
            assert!(stderr(&second).contains("another dwatch is at work"), "{}", stderr(&second));
        }
        if life < 3 {
            // Not before the first start is over: its grace holds for it alone.
            wait_for("the state to be well", || {
                fs::read_to_string(sleeper.path("state")).is_ok_and(|s| s.contains("null"))
            });
            shorten_grace(&sleeper, &dwatch);
            kill(before[0], Signal::KILL);
        }
    }
    let messages = dwatch.end();
    assert!(messages.contains("sleeper: down (0 of 1)"), "{messages}");
    assert!(messages.contains("sleeper: up again"), "{messages}");
}

/// Tests need not wait for grace that no slow start needs.
fn shorten_grace(sleeper: &Sleeper, dwatch: &Foreground) {
    sleeper.configure(&sleeper.daemon(), "grace = '200ms'\nbackoff = '10ms'\n");
    kill(dwatch.0.id(), Signal::HUP);
}

#[test]
fn a_start_command_may_be_the_daemon_itself() {
    let sleeper = Sleeper::new();
    let start = sleeper.counted(&format!("exec sleep {}", sleeper.length));
    sleeper.configure(&start, "grace = '10s'\n");
    let first = run(sleeper.dwatch().arg("-v"), b"");
    assert!(first.status.success(), "{}", stderr(&first));
    assert_eq!((sleeper.pids().len(), sleeper.starts()), (1, 1));
    assert!(stdout(&first).contains("sleeper: down (0 of 1), running: "), "{}", stdout(&first));
    let second = run(&mut sleeper.dwatch(), b"");
    assert_eq!((stdout(&second), stderr(&second)), (String::new(), String::new()));
    assert_eq!((second.status.code(), sleeper.starts()), (Some(0), 1));
}

#[test]
fn it_gives_up_after_too_many_starts_says_so_once_and_can_be_reset() {
    let sleeper = Sleeper::new();
    let more = "grace = '1ms'\nbackoff = '1ms'\nretries = 2\n";
    sleeper.configure(&sleeper.counted("exit 3"), more);
    let mut messages = String::new();
    let mut pass = || {
        let pass = run(&mut sleeper.dwatch(), b"");
        assert_eq!(pass.status.code(), Some(1));
        messages += &stderr(&pass);
        messages.contains("gave up")
    };
    wait_for("giving up", &mut pass);
    pass();
    pass();
    assert_eq!(sleeper.starts(), 2);
    assert_eq!(messages.matches("gave up after 2 starts (0 of 1)").count(), 1, "{messages}");
    assert_eq!(messages.matches("start: status 3").count(), 2, "{messages}");
    assert!(run(sleeper.dwatch().args(["--reset", "sleeper"]), b"").status.success());
    run(&mut sleeper.dwatch(), b"");
    assert_eq!(sleeper.starts(), 3);
    let unknown = run(sleeper.dwatch().args(["--reset", "x"]), b"");
    assert!(stderr(&unknown).contains("known: sleeper"), "{}", stderr(&unknown));
}

#[test]
fn a_dry_run_only_says_what_it_would_do() {
    let sleeper = Sleeper::new();
    sleeper.configure(&sleeper.daemon(), "");
    let dry = run(sleeper.dwatch().arg("-n"), b"");
    assert!(stdout(&dry).contains("running: echo started"), "{}", stdout(&dry));
    assert_eq!((dry.status.code(), sleeper.starts()), (Some(1), 0));
    assert!(!sleeper.path("state").exists());
}

#[test]
fn too_many_processes_are_stopped_and_leftovers_before_a_start() {
    let sleeper = Sleeper::new();
    let stop = format!("pkill -fx 'sleep {}'", sleeper.length);
    let more = format!("max = 1\nstop = '''{stop}'''\ngrace = '5s'\n");
    sleeper.configure(&sleeper.daemon(), &more);
    let mut both: Vec<Child> =
        (0..2).map(|_| Command::new("sleep").arg(&sleeper.length).spawn().unwrap()).collect();
    wait_for("both", || sleeper.pids().len() == 2);
    run(&mut sleeper.dwatch(), b"");
    both.iter_mut().for_each(|child| drop(child.wait()));
    assert!(sleeper.pids().is_empty());
    let mended = run(&mut sleeper.dwatch(), b"");
    assert!(mended.status.success(), "{}", stderr(&mended));
    assert_eq!(sleeper.pids().len(), 1);
}

#[test]
fn changes_are_told_by_command_mail_and_webhook() {
    let sleeper = Sleeper::new();
    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hook.local_addr().unwrap().port();
    let posts = std::thread::spawn(move || {
        let mut bodies = Vec::new();
        for stream in hook.incoming().take(2) {
            let mut stream = stream.unwrap();
            let mut text = Vec::new();
            let mut buffer = [0; 1024];
            while !text.ends_with(b"}") {
                let length = stream.read(&mut buffer).unwrap();
                text.extend_from_slice(&buffer[..length]);
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            let text = String::from_utf8(text).unwrap();
            bodies.push(text.split_once("\r\n\r\n").unwrap().1.to_owned());
        }
        bodies
    });
    let log = sleeper.path("told");
    let sendmail = sleeper.path("sendmail");
    fs::write(&sendmail, format!("#!/bin/sh\ncat >> {}\n", sleeper.path("mail").display()))
        .unwrap();
    fs::set_permissions(&sendmail, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let told = format!("echo \"$DWATCH_NAME $DWATCH_CHANGE $DWATCH_REASON\" >> {}", log.display());
    let more = format!(
        "grace = '10s'\n[notify]\nmail = 'root@localhost'\ncommand = '''{told}'''\n\
         webhook = 'http://127.0.0.1:{port}/x'\n"
    );
    sleeper.configure(&sleeper.daemon(), &more);
    let path = format!("{}:{}", sleeper.directory.path().display(), std::env::var("PATH").unwrap());
    let output = run(sleeper.dwatch().env("PATH", path), b"");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(log).unwrap(), "sleeper down 0 of 1\nsleeper up \n");
    let mail = fs::read_to_string(sleeper.path("mail")).unwrap();
    assert!(mail.starts_with("To: root@localhost\nSubject: dwatch on "), "{mail}");
    let bodies: Vec<serde_json::Value> =
        posts.join().unwrap().iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    assert_eq!((&bodies[0]["change"], &bodies[1]["change"]), (&"down".into(), &"up".into()));
    assert_eq!(bodies[0]["reason"], "0 of 1");
}

#[test]
fn systemd_is_told_when_it_is_ready_and_alive_and_stops() {
    let sleeper = Sleeper::new();
    sleeper.configure(&sleeper.daemon(), "");
    let path = sleeper.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut command = sleeper.dwatch();
    command.args(["-i", "60"]).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    let dwatch = Foreground::start(&mut command);
    let heard = || {
        let mut buffer = [0; 200];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(heard(), "READY=1\nSTATUS=watching 1");
    assert_eq!((heard(), heard()), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()));
    dwatch.end();
    let mut last = heard();
    while last == "WATCHDOG=1" {
        last = heard();
    }
    assert_eq!(last, "STOPPING=1");
}

#[test]
fn probes_see_what_a_client_would_see() {
    let sleeper = Sleeper::new();
    #[track_caller]
    fn check(sleeper: &Sleeper, probe: &str, status: i32, reason: &str) {
        fs::write(sleeper.path("conf"), format!("[watch.x]\n{probe}\ntimeout = '2s'\n")).unwrap();
        let output = run(sleeper.dwatch().arg("-d"), b"");
        assert_eq!(output.status.code(), Some(status), "{probe}: {}", stderr(&output));
        assert!(stderr(&output).contains(reason), "{probe}: {}", stderr(&output));
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = web.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in web.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 1024];
            let length = stream.read(&mut buffer).unwrap_or(0);
            let status =
                if buffer[..length].starts_with(b"GET /ok ") { "200 OK" } else { "500 No" };
            let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes());
        }
    });
    let echo = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = echo.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((length, from)) = echo.recv_from(&mut buffer) {
            let _ = echo.send_to(&buffer[..length], from);
        }
    });
    check(&sleeper, &format!("tcp = '{at}'"), 0, "Well");
    check(&sleeper, &format!("tcp = '{free}'"), 1, "refused");
    check(&sleeper, &format!("http = 'http://{at}/ok'"), 0, "Well");
    check(&sleeper, &format!("http = 'http://{at}/bad'"), 1, "status 500");
    check(&sleeper, &format!("udp = {{ address = '{udp}', send = 'x' }}"), 0, "Well");
    check(&sleeper, &format!("udp = {{ address = '{free}', send = 'x' }}"), 1, "udp");
    check(&sleeper, "exec = 'test \"$DWATCH_NAME\" = x'", 0, "Well");
    check(&sleeper, "exec = 'exit 4'", 1, "exec: status 4");
    check(&sleeper, "unix = '/no/such/socket'", 1, "unix /no/such/socket");
    let pid_file = sleeper.path("pid");
    fs::write(&pid_file, std::process::id().to_string()).unwrap();
    check(&sleeper, &format!("pid-file = '{}'", pid_file.display()), 0, "Well");
    // The number now belongs to another program.
    let other = format!("pid-file = '{}'\nprocess = 'sh'\nmin = 0", pid_file.display());
    check(&sleeper, &other, 1, "is not running");
    fs::write(&pid_file, "soon").unwrap();
    check(&sleeper, &format!("pid-file = '{}'", pid_file.display()), 1, "holds no process id");
}

#[test]
fn a_bad_configuration_is_named_with_file_and_line() {
    let sleeper = Sleeper::new();
    fs::write(sleeper.path("conf"), "[watch.a]\nproces = 'x'\n").unwrap();
    let output = run(sleeper.dwatch().arg("--check"), b"");
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(message.contains("conf") && message.contains("line 2"), "{message}");
    sleeper.configure("true", "");
    assert!(run(sleeper.dwatch().arg("--check"), b"").status.success());
    let missing = run(tool("dwatch").args(["-f", "/no/such/conf"]), b"");
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("cannot read '/no/such/conf'"));
}
