//! The commands that the broker runs, and when they are due.

use super::{Question, Target};
use crate::broker::{About, Answer, Broker, Request, Run};
use probing::{Rules, Schedule, Verdict};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use terms::{Address, Instant};

/// Targets whose probes are commands. They have a schedule of their own, since few of them run at a
/// time: a command is a process.
///
/// It is the broker that ends commands which take too long, and says so. Its silence is no verdict
/// about anybody: after a while, the probe is void.
pub(super) struct Commands {
    broker: Option<Broker>,
    pub schedule: Schedule,
    /// What runs, by numbers that are never used again, with the time until which the broker must have
    /// answered.
    running: BTreeMap<u64, (u64, Instant)>,
    /// The programs that could not be run, and why.
    pub unrunnable: HashMap<String, String>,
    /// Whether the broker has ever begun.
    pub has_begun: bool,
    buffer: Vec<u8>,
}

/// The maximum number of commands that run at a time; others wait.
const RUNNING_MAX: usize = 32;
/// How long after the end of a command's time the broker may be silent.
const SILENCE: Duration = Duration::from_secs(5);

impl Commands {
    pub fn new(seed: u64, broker: Option<Broker>) -> Self {
        Self {
            broker,
            schedule: Schedule::new(!seed, RUNNING_MAX),
            running: BTreeMap::new(),
            unrunnable: HashMap::new(),
            has_begun: false,
            buffer: Vec::new(),
        }
    }

    pub fn add(&mut self, id: u64, rules: Rules, verdict: Option<Verdict>, now: Instant) {
        // The schedule's own time-out never comes: the silent are void before.
        let timeout = rules.timeout + 2 * SILENCE;
        self.schedule.add(id, Rules { timeout, ..rules }, verdict, now);
    }

    /// Forgets a target, and ends its command.
    pub fn remove(&mut self, id: u64) {
        self.schedule.remove(id);
        let number = self.running.iter().find(|(_, (it, _))| *it == id).map(|(number, _)| *number);
        if let Some(number) = number {
            self.running.remove(&number);
            // If that is not taken, the command ends when its time is over.
            let _ = self.broker.as_ref().map(|it| it.send(&Request::End(number)));
        }
    }

    /// Has a command run, or gives this probe up.
    pub fn start(&mut self, id: u64, number: u64, target: &Target, now: Instant) {
        let rules = target.definition.rules;
        let is_asked = request(number, target).is_some_and(|request| {
            self.broker.as_ref().is_some_and(|it| it.send(&request).is_ok())
        });
        match is_asked {
            true => drop(self.running.insert(number, (id, now + rules.timeout + SILENCE))),
            false => self.schedule.give_up(id, now),
        }
    }

    /// What the broker has answered.
    pub fn receive(&mut self) -> io::Result<Option<Answer>> {
        match &self.broker {
            Some(broker) => broker.receive(&mut self.buffer),
            None => Ok(None),
        }
    }

    /// The target whose command has this number, which is over.
    pub fn take(&mut self, number: u64) -> Option<u64> {
        self.running.remove(&number).map(|(id, _)| id)
    }

    /// Gives up the probe whose command has this number, and returns its target.
    pub fn give_up(&mut self, number: u64, now: Instant) -> Option<u64> {
        let id = self.take(number)?;
        self.schedule.give_up(id, now);
        Some(id)
    }

    /// Gives up all that run, because the broker has begun anew or is gone.
    pub fn give_up_all(&mut self, now: Instant) {
        for (id, _) in std::mem::take(&mut self.running).into_values() {
            self.schedule.give_up(id, now);
        }
    }

    /// Gives the broker up.
    pub fn lose_broker(&mut self) -> Option<Broker> {
        self.broker.take()
    }

    /// Gives up those about which the broker says nothing.
    pub fn give_up_silent(&mut self, now: Instant) {
        let silent = self.running.iter().filter(|(_, (_, until))| *until <= now);
        let silent: Vec<_> = silent.map(|(number, _)| *number).collect();
        for number in silent {
            self.give_up(number, now);
        }
    }

    /// When something is to be done next.
    pub fn next_moment(&self) -> Option<Instant> {
        let silent = self.running.values().map(|(_, until)| *until).min();
        self.schedule.next_moment().into_iter().chain(silent).min()
    }
}

fn request(number: u64, target: &Target) -> Option<Request> {
    let definition = &target.definition;
    let Question::Command { command, backend, pool } = &definition.question else { return None };
    let (address, port) = match &target.address {
        Address::Ip(address) => (address.ip().to_string(), Some(address.port())),
        Address::Unix(path) => (path.display().to_string(), None),
    };
    Some(Request::Run(Run {
        number,
        program: PathBuf::from(command.program()),
        arguments: command.arguments().to_vec(),
        about: About { address, port, backend: backend.clone(), pool: pool.clone() },
        timeout: definition.rules.timeout,
    }))
}
