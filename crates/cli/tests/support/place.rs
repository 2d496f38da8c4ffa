//! A test's own corner of the machine: a directory, the runtime directory in it, and the
//! instances that are found there.

use super::{Done, PATIENCE, Port, Program, until};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Everything in it goes when it is dropped, daemons included.
pub struct Place {
    dir: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::Builder::new().prefix("ek").tempdir().unwrap() }
    }

    /// A file's place.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The runtime directory, which the program makes.
    pub fn runtime(&self) -> PathBuf {
        self.file("run")
    }

    /// Runs `evenkeel` with words in which `@` is the place's directory, and expects it to fail and
    /// to say `expected`.
    #[track_caller]
    pub fn expect_refusal(&self, words: &str, expected: &str) {
        let words = words.replace('@', self.file("").to_str().unwrap());
        let done = self.run("evenkeel", &format!("{words} 1 127.0.0.1:1"));
        assert_ne!(done.status, 0);
        assert!(done.stderr.contains(expected), "{words}: {}", done.stderr);
    }

    /// Waits until the first session has passed bytes, counted by this field, and passes no more.
    #[track_caller]
    pub fn wait_held_up(&self, field: &str) {
        let mut last = 0;
        until("the sender to be held up", || {
            let sessions: Value =
                serde_json::from_str(&self.ctl("sessions --json").stdout).unwrap();
            let was = std::mem::replace(&mut last, sessions[0][field].as_u64().unwrap_or(0));
            was > 0 && was == last
        });
    }

    /// The program called `argv0`, with words separated by blanks.
    pub fn command(&self, argv0: &str, words: &str) -> Command {
        self.calling(Path::new(env!("CARGO_BIN_EXE_evenkeel")), argv0, words)
    }

    fn calling(&self, program: &Path, argv0: &str, words: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg0(argv0)
            .args(words.split_whitespace())
            .env("EVENKEEL_RUNTIME_DIR", self.runtime())
            // Not the machine's own: only tests of the state make one.
            .env("STATE_DIRECTORY", self.file("no-state"))
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// The same as an ordinary user; only root can do that.
    pub fn as_nobody(&self, argv0: &str, words: &str) -> Command {
        // The tree may be in a home directory that others cannot enter.
        let program = self.file("evenkeel");
        let original = env!("CARGO_BIN_EXE_evenkeel");
        if !program.exists() && fs::hard_link(original, &program).is_err() {
            fs::copy(original, &program).unwrap();
        }
        let mut command = self.calling(&program, argv0, words);
        command.uid(NOBODY).gid(NOBODY);
        command
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn run(&self, argv0: &str, words: &str) -> Done {
        Done::run(&mut self.command(argv0, words), "")
    }

    /// Starts `evenkeel`, and returns when it is ready.
    #[track_caller]
    pub fn native(&self, words: &str) -> Program {
        let program = Program::spawn(&mut self.command("evenkeel", words));
        program.log.wait("admin socket");
        program
    }

    /// Starts `balance -f`, and returns when it is ready.
    #[track_caller]
    pub fn balance(&self, words: &str) -> Program {
        let mut program = Program::spawn(&mut self.command("balance", &format!("-f {words}")));
        until("an instance to answer", || {
            assert!(!program.has_ended(), "it ended: {:?}", program.log.all());
            self.sockets().len() == 1 && http(&self.socket(), "GET", "/v1/status", "").is_some()
        });
        program
    }

    /// One control command of balance.
    #[track_caller]
    pub fn balance_c(&self, port: &Port, command: &str) -> Done {
        let mut call = self.command("balance", "");
        Done::run(call.args(["-c", command, &port.to_string()]), "")
    }

    /// One control command of the balance that listens on 127.0.0.1.
    #[track_caller]
    pub fn balance_c_at(&self, port: &Port, command: &str) -> Done {
        let mut call = self.command("balance", "-b 127.0.0.1");
        Done::run(call.args(["-c", command, &port.to_string()]), "").check(0)
    }

    /// A dialogue with balance.
    #[track_caller]
    pub fn balance_i(&self, port: &Port, lines: &str) -> Done {
        Done::run(&mut self.command("balance", &format!("-i {port}")), lines)
    }

    /// `evenkeel ctl` with these words.
    #[track_caller]
    pub fn ctl(&self, words: &str) -> Done {
        self.run("evenkeel", &format!("ctl {words}"))
    }

    /// The admin sockets of instances that are not draining.
    pub fn sockets(&self) -> Vec<PathBuf> {
        let mut sockets = self.all_sockets();
        sockets.retain(|path| !path.display().to_string().contains(".draining."));
        sockets
    }

    /// The admin sockets, those of draining instances and of instances of other users included.
    pub fn all_sockets(&self) -> Vec<PathBuf> {
        let entries = |dir| fs::read_dir(dir).into_iter().flatten().flatten();
        let entries = |dir| entries(dir).map(|entry| entry.path());
        let users = entries(self.runtime()).filter(|path| path.is_dir());
        let paths = entries(self.runtime()).chain(users.flat_map(entries));
        paths.filter(|path| path.extension().is_some_and(|it| it == "sock")).collect()
    }

    /// The only admin socket.
    #[track_caller]
    pub fn socket(&self) -> PathBuf {
        let mut sockets = self.sockets();
        assert_eq!(sockets.len(), 1, "{sockets:?}");
        sockets.remove(0)
    }

    /// What the only instance tells of itself.
    #[track_caller]
    pub fn status(&self) -> Value {
        let Some(Http { status: 200, body }) = http(&self.socket(), "GET", "/v1/status", "") else {
            panic!("no status");
        };
        body
    }

    /// What it tells of a backend.
    #[track_caller]
    pub fn backend(&self, tier: usize, index: usize) -> Value {
        self.status()["pools"][0]["tiers"][tier]["backends"][index].clone()
    }

    /// Its open sessions.
    #[track_caller]
    pub fn sessions(&self) -> u64 {
        self.status()["listeners"][0]["sessions"].as_u64().unwrap()
    }

    /// Has it carry out a command.
    #[track_caller]
    pub fn order(&self, body: &str) -> Http {
        http(&self.socket(), "POST", "/v1/commands", body).expect("an answer")
    }
}

/// An ordinary user and group of every Linux.
const NOBODY: u32 = 65_534;

impl Drop for Place {
    fn drop(&mut self) {
        for socket in self.all_sockets() {
            kill_daemon(&socket, &self.runtime());
        }
    }
}

/// Ends a daemon that a test has left, if it is ours: its environment names our directory.
fn kill_daemon(socket: &Path, runtime: &Path) {
    let Ok(pid) = fs::read_to_string(socket.with_extension("pid")) else { return };
    let Ok(raw) = pid.trim().parse() else { return };
    let Ok(environment) = fs::read(format!("/proc/{raw}/environ")) else { return };
    let ours = format!("EVENKEEL_RUNTIME_DIR={}", runtime.display());
    let is_ours = environment.split(|&byte| byte == 0).any(|entry| entry == ours.as_bytes());
    if let Some(pid) = rustix::process::Pid::from_raw(raw).filter(|_| is_ours) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// An answer of the admin socket.
#[derive(Debug)]
pub struct Http {
    pub status: u16,
    /// Null when it is not JSON.
    pub body: Value,
}

/// Asks an admin socket; `None` when nobody answers.
pub fn http(socket: &Path, method: &str, path: &str, body: &str) -> Option<Http> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    // A server that refuses a long body need not read it.
    let _ = stream.write_all(body.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Http { status, body: serde_json::from_str(body).unwrap_or_default() })
}
