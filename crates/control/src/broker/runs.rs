//! The broker itself: the commands that run, what they print, and how they end.

use super::{About, Answer, MESSAGE_MAX, Request, Run, receive, send};
use probing::Ending;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use sys::clock;
use sys::epoll::Poller;
use sys::errors::reason;
use sys::programs::{Ended, Runner, Running};
use terms::Instant;

/// The maximum number of commands that run. Fewer are asked for, unless answers have been missed.
const RUNS_MAX: usize = 64;
/// The number of bytes of a command's output that are kept.
const OUTPUT_MAX: usize = 4096;
/// The maximum number of reads of a command's output at a time.
const READS_MAX: usize = 16;
/// How long to wait before what was left to be done is tried again.
const SOON: Duration = Duration::from_millis(20);
/// The part of the time-out by which a command may be ended late without its run being void.
const LATE: u32 = 4;
/// The token of the stream.
const STREAM: u64 = u64::MAX;

/// Carries out requests until there are no more.
///
/// # Panics
/// If the system does not have what is needed: whoever watches it tries again.
pub(super) fn serve(stream: &UnixStream, programs: &BTreeSet<PathBuf>) {
    let mut runs = Runs::new(stream).expect("the broker has an epoll, and may own orphans");
    let mut buffer = Vec::with_capacity(MESSAGE_MAX);
    loop {
        runs.answer(stream);
        runs.wait();
        loop {
            match receive(stream, &mut buffer) {
                Ok(Some(Request::Run(run))) => runs.begin(run, programs),
                Ok(Some(Request::End(number))) => runs.abandon(number),
                Ok(None) => break,
                Err(_) => return runs.end_all(),
            }
        }
        runs.look(clock::now());
    }
}

/// All commands that run.
struct Runs {
    poller: Poller,
    runner: Runner,
    running: BTreeMap<u64, Current>,
    answers: VecDeque<Answer>,
    buffer: Vec<u8>,
    has_strays: bool,
}

/// A command that runs.
struct Current {
    program: Running,
    output: Vec<u8>,
    /// Whether there may be more of it.
    prints: bool,
    until: Instant,
    timeout: Duration,
}

impl Runs {
    fn new(stream: &UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let poller = Poller::new(RUNS_MAX)?;
        poller.add_listener(stream, STREAM)?;
        Ok(Self {
            poller,
            runner: Runner::new()?,
            running: BTreeMap::new(),
            answers: VecDeque::from([Answer::Begun]),
            buffer: vec![0; 16 << 10],
            has_strays: false,
        })
    }

    /// Sends what has been found out, as far as it is taken.
    fn answer(&mut self, stream: &UnixStream) {
        while let Some(answer) = self.answers.front() {
            match send(stream, answer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                _ => drop(self.answers.pop_front()), // if nobody is there, that will be seen
            }
        }
    }

    fn wait(&mut self) {
        let now = clock::now();
        let next = self.running.values().map(|it| it.until.since(now)).min();
        let is_busy = self.has_strays || !self.answers.is_empty();
        let soon = is_busy.then_some(SOON);
        if self.poller.wait(next.into_iter().chain(soon).min()).is_err() {
            std::thread::sleep(SOON); // which cannot be; what is due is done all the same
        }
    }

    fn begin(&mut self, run: Run, programs: &BTreeSet<PathBuf>) {
        let Run { number, program, arguments, about, timeout } = run;
        if self.running.len() >= RUNS_MAX || self.running.contains_key(&number) {
            return self.answers.push_back(Answer::Void { number });
        }
        if !programs.contains(&program) {
            let why = "it was not configured at the start".to_owned();
            return self.answers.push_back(Answer::NotRun { number, why });
        }
        let environment = environment(about, timeout);
        match self.runner.start(&program, &arguments, &environment, timeout) {
            Ok(program) => {
                // Without these, it is looked at when its time is over.
                let _ = self.poller.add_listener(program.life(), number);
                let _ = self.poller.add_listener(program.output(), number);
                let until = clock::now() + timeout;
                let current = Current { program, output: Vec::new(), prints: true, until, timeout };
                self.running.insert(number, current);
            }
            Err(error) => {
                let why = reason(&error);
                self.answers.push_back(Answer::NotRun { number, why });
            }
        }
    }

    /// Reads what commands have printed, and sees who has ended, or has taken too long.
    fn look(&mut self, now: Instant) {
        let mut over = Vec::new();
        for (number, current) in &mut self.running {
            let has_ended = current.program.has_ended();
            current.read(&mut self.buffer, &self.poller);
            if has_ended || current.until <= now {
                over.push(*number);
            }
        }
        let is_over = !over.is_empty();
        for number in over {
            let Some(current) = self.running.remove(&number) else { continue };
            let is_late = now.since(current.until) > current.timeout / LATE;
            let (how, output) = current.end(&self.poller);
            self.answers.push_back(match how {
                Ending::Late if is_late => Answer::Void { number },
                how => Answer::Ended { number, how, output },
            });
        }
        if is_over || self.has_strays {
            self.end_strays();
        }
    }

    fn abandon(&mut self, number: u64) {
        if let Some(current) = self.running.remove(&number) {
            let _ = current.end(&self.poller);
            self.end_strays();
        }
    }

    fn end_strays(&mut self) {
        let running = || self.running.values().map(|it| &it.program);
        // What is killed leaves its own children to this process.
        self.has_strays = (0..STRAYS_ROUNDS).all(|_| self.runner.end_strays(running()));
    }

    fn end_all(&mut self) {
        for (_, current) in std::mem::take(&mut self.running) {
            let _ = current.end(&self.poller);
        }
        self.end_strays(); // what is still left goes with the process that watches this one
    }
}

/// How often in a row what commands leave behind is looked for.
const STRAYS_ROUNDS: usize = 16;

impl Current {
    /// Reads the output that is there now. The first [`OUTPUT_MAX`] bytes of all are kept.
    fn read(&mut self, buffer: &mut [u8], poller: &Poller) {
        for _ in 0..READS_MAX {
            if !self.prints {
                return;
            }
            match self.program.read(buffer) {
                Ok(length @ 1..) => {
                    let room = OUTPUT_MAX - self.output.len();
                    self.output.extend_from_slice(&buffer[..length.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => {
                    self.prints = false;
                    let _ = poller.remove(self.program.output());
                }
            }
        }
    }

    /// Ends it, if it has not ended by itself.
    fn end(self, poller: &Poller) -> (Ending, String) {
        let _ = poller.remove(self.program.life());
        if self.prints {
            let _ = poller.remove(self.program.output());
        }
        let how = match self.program.end() {
            Some(Ended::Status(status)) => Ending::Status(status),
            Some(Ended::Signal(signal)) => Ending::Signal(signal),
            None => Ending::Late,
        };
        (how, String::from_utf8_lossy(&self.output).into_owned())
    }
}

fn environment(about: About, timeout: Duration) -> [(&'static str, String); 5] {
    let About { address, port, backend, pool } = about;
    [
        ("EVENKEEL_ADDRESS", address),
        ("EVENKEEL_PORT", port.map(|it| it.to_string()).unwrap_or_default()),
        ("EVENKEEL_BACKEND", backend),
        ("EVENKEEL_POOL", pool),
        ("EVENKEEL_TIMEOUT", timeout.as_secs_f64().to_string()),
    ]
}
