//! A started program: its output as it comes, and its end.

use super::{PATIENCE, until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, ErrorKind, PipeReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The lines of one output stream so far, gathered by a thread.
#[derive(Clone, Default)]
pub struct Lines(Arc<Gathered>);

#[derive(Default)]
struct Gathered {
    lines: Mutex<Vec<String>>,
    is_over: Mutex<bool>,
    more: Condvar,
}

impl Lines {
    fn gather(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let gathered = Arc::clone(&lines.0);
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                gathered.lines.lock().unwrap().push(text);
                gathered.more.notify_all();
                line.clear();
            }
            *gathered.is_over.lock().unwrap() = true;
            gathered.more.notify_all();
        });
        lines
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.0.lines.lock().unwrap().clone()
    }

    /// Those with `text` in them.
    pub fn with(&self, text: &str) -> Vec<String> {
        self.all().into_iter().filter(|line| line.contains(text)).collect()
    }

    /// The first line with `text` in it, as soon as there is one.
    #[track_caller]
    pub fn wait(&self, text: &str) -> String {
        self.wait_nth(text, 0)
    }

    /// The line with `text` in it that has `before` such lines before it.
    #[track_caller]
    pub fn wait_nth(&self, text: &str, before: usize) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.with(text).into_iter().nth(before);
            if let Some(line) = found {
                return line;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain for a line with {text:?}; there are\n{}",
                self.all().join("\n")
            );
            let lines = self.0.lines.lock().unwrap();
            drop(self.0.more.wait_timeout(lines, Duration::from_millis(20)).unwrap());
        }
    }

    /// Whether the stream has ended: nobody holds it any more.
    pub fn is_over(&self) -> bool {
        *self.0.is_over.lock().unwrap()
    }
}

/// A running child of this process, killed when it is dropped.
pub struct Program {
    child: Child,
    status: Option<ExitStatus>,
    /// Standard output.
    pub out: Lines,
    /// Standard error.
    pub log: Lines,
    unread: Option<PipeReader>,
}

/// Starts a program that may just have been written: a process that another test began meanwhile
/// holds the file open until it runs its own program.
fn start(command: &mut Command) -> Child {
    let mut child = None;
    until("the program's file to be closed", || match command.spawn() {
        Ok(started) => child.insert(started).id() > 0,
        Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => false,
        Err(error) => panic!("the program can be started: {error}"),
    });
    child.unwrap()
}

impl Program {
    /// Starts `command`.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let out = Lines::gather(child.stdout.take().unwrap());
        let log = Lines::gather(child.stderr.take().unwrap());
        Self { child, status: None, out, log, unread: None }
    }

    /// Starts `command` with these two for standard input and output.
    pub fn spawn_between(command: &mut Command, input: Stdio, output: Stdio) -> Self {
        let mut child = command
            .stdin(input)
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let log = Lines::gather(child.stderr.take().unwrap());
        Self { child, status: None, out: Lines::default(), log, unread: None }
    }

    /// Starts `command` with both outputs going to pipes of 4 kB that nobody reads.
    pub fn spawn_unread(command: &mut Command) -> Self {
        let (unread, [out, log]) = {
            let (read, write) = std::io::pipe().unwrap();
            rustix::pipe::fcntl_setpipe_size(&write, 4096).unwrap();
            (read, [write.try_clone().unwrap(), write])
        };
        let child = command.stdout(out).stderr(log).spawn().expect("the program can be started");
        let (out, log) = (Lines::default(), Lines::default());
        Self { child, status: None, out, log, unread: Some(unread) }
    }

    /// Reads what [`Self::spawn_unread`] left unread, until the program closes its output.
    pub fn read_at_last(&mut self) {
        self.log = Lines::gather(self.unread.take().expect("started unread"));
    }

    /// The most memory it has had so far, in bytes.
    pub fn memory_peak(&self) -> u64 {
        let status = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(status).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if !self.has_ended() {
            kill_process(self.pid(), signal).unwrap();
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status.is_some()
    }

    /// Waits for its end, and until all that it has printed has been read: nobody holds its output any
    /// more.
    #[track_caller]
    pub fn wait_for_output(&mut self) -> ExitStatus {
        let status = self.wait();
        until("the output to be closed", || self.out.is_over() && self.log.is_over());
        status
    }

    /// Its end, which must come by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended() {
            assert!(
                Instant::now() < deadline,
                "still running; log:\n{}",
                self.log.all().join("\n")
            );
            thread::sleep(Duration::from_millis(2));
        }
        self.status.unwrap()
    }

    /// Ends it without giving it a chance to clean up.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.status = Some(self.child.wait().unwrap());
    }

    /// Processor time used so far, in clock ticks of 10 ms.
    pub fn ticks(&self) -> u64 {
        let pid = self.pid().as_raw_nonzero();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.kill();
        }
        if thread::panicking() {
            eprintln!("--- log of the program\n{}", self.log.all().join("\n"));
        }
    }
}

/// A program that has run to its end.
#[derive(Debug)]
pub struct Done {
    /// Exit status, or 128 plus the signal.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Done {
    /// Runs `command` to its end, and until nobody holds its output any more: a daemon that kept
    /// its caller's output open would be noticed.
    #[track_caller]
    pub fn run(command: &mut Command, input: impl AsRef<[u8]>) -> Self {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, input.as_ref()).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let mut program = Program::spawn(command.stdin(file));
        let status = program.wait_for_output();
        let text = |lines: &Lines| lines.all().iter().map(|line| format!("{line}\n")).collect();
        let (stdout, stderr): (String, String) = (text(&program.out), text(&program.log));
        let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
        Self { status, stdout, stderr }
    }

    /// Checks that a program whose standard output is full, or closed by its reader, ends with
    /// this status and without a panic. `command` makes the command anew for each.
    #[track_caller]
    pub fn check_unwritable(status: i32, mut command: impl FnMut() -> Command) {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let (reader, closed) = std::io::pipe().unwrap();
        drop(reader);
        for (output, says) in [(Stdio::from(full), true), (Stdio::from(closed), false)] {
            let mut command = command();
            let done = command.stdin(Stdio::null()).stdout(output).output().unwrap();
            let stderr = String::from_utf8_lossy(&done.stderr);
            assert_eq!(done.status.code(), Some(status), "{command:?}: {stderr}");
            assert!(!stderr.contains("panicked"), "{command:?}: {stderr}");
            assert_eq!(stderr.contains("No space left"), says, "{command:?}: {stderr}");
        }
    }

    /// Checks the status; tells what was printed.
    #[track_caller]
    pub fn check(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}
