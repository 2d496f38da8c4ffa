//! The thread that probes backends.
//!
//! It gets orders, and keeps what it finds until that is taken: for each target the last news, so
//! that nothing can pile up. It never waits for anybody, and nobody waits for it. When probes are
//! due and what they mean is decided by [`Schedule`]; what is said in a probe, by `Dialogue`.
//! Commands are run by the [`Broker`](crate::broker::Broker) ([`commands`]).

mod commands;
mod conversation;

use crate::broker::{Answer, Broker};
use commands::Commands;
use conversation::{Conversation, Heard};
use probing::{Action, Advice, Agent, Command, Finding, Probe, Rules, Schedule, Verdict};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use sys::clock;
use sys::epoll::{Poller, Waker};
use terms::{Address, Encryption, Instant, SendProxy};
use tls::Connectors;
use tokio::sync::Notify;

/// What is asked, how often, and how the connection is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Definition {
    pub question: Question,
    pub rules: Rules,
    pub source: Option<IpAddr>,
    /// The PROXY header that the backend waits for. It announces nobody.
    pub header: Option<SendProxy>,
    /// How the connection is encrypted, if it is.
    pub encryption: Option<Encryption>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    Probe(Probe),
    /// An agent's advice, with what the agent is sent first.
    Agent(Vec<u8>),
    /// A command, for this backend of this pool.
    Command {
        command: Command,
        backend: String,
        pool: String,
    },
}

/// An address with what is asked there.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub address: Address,
    pub definition: Arc<Definition>,
}

/// What the prober is to do.
pub(crate) enum Order {
    /// Probe a target from now on. `verdict` is what is known about it, or `advice`, if it is an
    /// agent.
    Add { id: u64, target: Arc<Target>, verdict: Option<Verdict>, advice: Advice },
    /// No longer.
    Remove(u64),
    /// Probe it now.
    Hurry(u64),
    /// End.
    Stop,
}

/// What a probe has shown about a target.
pub(crate) struct News {
    pub verdict: Option<Verdict>,
    /// Why the last probe that failed did so, if that is new.
    pub error: Option<String>,
    /// What an agent has said.
    pub advice: Advice,
    /// Whether something about backends follows from it: the verdict or the advice is new, or was
    /// asked for.
    pub counts: bool,
}

/// What there is to say about commands, whatever backends they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remark {
    /// A program cannot be run; which, and why.
    NotRun(String),
    /// The broker has ended, and was begun again.
    BegunAgain,
    /// The broker has ended for good.
    Gone,
}

/// The way to the thread. Dropping it ends the thread.
pub(crate) struct Prober {
    shared: Arc<Shared>,
}

struct Shared {
    orders: Mutex<Vec<Order>>,
    waker: Waker,
    news: Mutex<HashMap<u64, News>>,
    /// At most one for each program, and one of each other kind.
    remarks: Mutex<Vec<Remark>>,
    notify: Arc<Notify>,
}

impl Prober {
    /// Begins the thread. `notify` is notified when there is news. Targets refer to `connectors`;
    /// `broker` runs commands.
    ///
    /// # Errors
    /// If the system has no thread or no descriptors for it.
    pub fn begin(
        notify: Arc<Notify>,
        connectors: Arc<Connectors>,
        broker: Option<Broker>,
    ) -> io::Result<Self> {
        let (orders, news, remarks) = (Mutex::default(), Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { orders, waker: Waker::new()?, news, remarks, notify });
        let (begun, has_begun) = sync_channel(1);
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("prober".to_owned());
        thread.spawn(move || match poller(&theirs.waker, broker.as_ref()) {
            Ok(poller) => {
                let _ = begun.send(Ok(()));
                Worker::new(theirs, poller, connectors, broker).run();
            }
            Err(error) => drop(begun.send(Err(error))),
        })?;
        has_begun.recv().unwrap_or_else(|_| Err(io::Error::other("the thread has ended")))?;
        Ok(Self { shared })
    }

    pub fn send(&self, orders: Vec<Order>) {
        if !orders.is_empty() {
            lock(&self.shared.orders).extend(orders);
            self.shared.waker.wake();
        }
    }

    /// What there is, by the ids of the targets.
    pub fn take_news(&self) -> HashMap<u64, News> {
        std::mem::take(&mut lock(&self.shared.news))
    }

    /// What there is to say about commands.
    pub fn take_remarks(&self) -> Vec<Remark> {
        std::mem::take(&mut lock(&self.shared.remarks))
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.send(vec![Order::Stop]);
    }
}

/// A poller that watches the waker and the broker. It cannot be moved to another thread.
fn poller(waker: &Waker, broker: Option<&Broker>) -> io::Result<Poller> {
    let poller = Poller::new(EVENTS_MAX)?;
    poller.add_listener(waker, WAKER)?;
    broker.map_or(Ok(()), |it| poller.add_listener(it, BROKER))?;
    Ok(poller)
}

/// Nobody panics with the lock held, and if so, what is in it is whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's state.
struct Worker {
    shared: Arc<Shared>,
    poller: Poller,
    connectors: Arc<Connectors>,
    schedule: Schedule,
    commands: Commands,
    targets: HashMap<u64, Known>,
    /// By the numbers that their events carry, which are never used again.
    conversations: HashMap<u64, Talking>,
    number: u64,
    /// Makes numbers that nobody can guess.
    nonces: RandomState,
    /// Those that are over but for their ends, with the time until which they may take.
    leaving: VecDeque<(Instant, u64)>,
    buffer: Vec<u8>,
    is_stopping: bool,
}

struct Known {
    target: Arc<Target>,
    conversation: Option<u64>,
    verdict: Option<Verdict>,
    /// The last error passed on to the owner.
    last_error: Option<String>,
    /// What it has said, if it is an agent.
    agent: Agent,
}

struct Talking {
    /// None if it is over but for its end.
    target: Option<u64>,
    conversation: Conversation,
}

/// What an agent has advised, or nothing if it is a backend that has passed; or why it has not.
type Outcome = Result<Option<Advice>, String>;

/// The maximum number of events in a turn, and of probes that begin in one.
const EVENTS_MAX: usize = 256;
/// The maximum number of probes in flight: with more, the others wait.
const IN_FLIGHT_MAX: usize = 4000;
/// The maximum number of connections that are left to end politely.
const LEAVING_MAX: usize = 4000;
/// How long a server may take for its end of the connection.
const LEAVING: Duration = Duration::from_secs(1);
/// The tokens of the waker and the broker.
const WAKER: u64 = u64::MAX;
const BROKER: u64 = u64::MAX - 1;
/// Only a delay longer than this is one: what is due in the meantime is done soon enough.
const STALL: Duration = Duration::from_millis(20);

impl Worker {
    fn new(
        shared: Arc<Shared>,
        poller: Poller,
        connectors: Arc<Connectors>,
        broker: Option<Broker>,
    ) -> Self {
        let seed = RandomState::new().hash_one(0);
        Self {
            shared,
            poller,
            connectors,
            schedule: Schedule::new(seed, IN_FLIGHT_MAX),
            commands: Commands::new(seed, broker),
            targets: HashMap::new(),
            conversations: HashMap::new(),
            number: 0,
            nonces: RandomState::new(),
            leaving: VecDeque::new(),
            buffer: vec![0; 16 << 10],
            is_stopping: false,
        }
    }

    fn run(mut self) {
        let mut has_more = false;
        while !self.is_stopping {
            let before = clock::now();
            let left = self.leaving.front().map(|(until, _)| *until);
            let planned = [self.schedule.next_moment(), self.commands.next_moment(), left];
            let planned = planned.into_iter().flatten().min();
            let planned = if has_more { Some(before) } else { planned };
            if self.poller.wait(planned.map(|it| it.since(before))).is_err() {
                return; // the descriptor is gone, which cannot be
            }
            let now = clock::now();
            if let Some(planned) = planned {
                self.note_stall(now.since(planned.max(before)));
            }
            has_more = self.turn(now);
            self.note_stall(clock::now().since(now));
        }
    }

    /// If nothing was done for so long, what has come meanwhile may not have been seen.
    fn note_stall(&mut self, length: Duration) {
        if length > STALL {
            self.schedule.lose(length);
        }
    }

    /// Handles what has come, and then what is due, unless more has come than fits into a turn:
    /// what is late must not be judged before its answer is read. Returns whether there is more.
    fn turn(&mut self, now: Instant) -> bool {
        for index in 0..self.poller.len() {
            let event = self.poller.event(index);
            match event.token {
                WAKER => self.take_orders(now),
                BROKER => self.take_answers(now),
                number => self.handle(number, event, now),
            }
        }
        if self.poller.len() == EVENTS_MAX {
            return true;
        }
        while let Some((_, number)) = self.leaving.front().copied().filter(|it| it.0 <= now) {
            self.leaving.pop_front();
            self.conversations.remove(&number);
        }
        self.commands.give_up_silent(now);
        for _ in 0..EVENTS_MAX {
            let action = self.schedule.poll(now).or_else(|| self.commands.schedule.poll(now));
            match action {
                Some(Action::Start(id)) => self.start(id, now),
                Some(Action::TimedOut(id, finding)) => {
                    let timeout =
                        self.targets.get(&id).map(|it| it.target.definition.rules.timeout);
                    let what = match self.hang_up(id) {
                        true => "no answer",
                        false => "no connection",
                    };
                    let error = format!("{what} within {:?}", timeout.unwrap_or_default());
                    self.report(id, finding, Err(error), now);
                }
                Some(Action::Void(id)) => drop(self.hang_up(id)),
                None => return false,
            }
        }
        true
    }

    fn take_orders(&mut self, now: Instant) {
        self.shared.waker.clear();
        let orders = std::mem::take(&mut *lock(&self.shared.orders));
        for order in orders {
            match order {
                Order::Add { id, target, verdict, advice } => {
                    let rules = target.definition.rules;
                    match target.definition.question {
                        Question::Command { .. } => self.commands.add(id, rules, verdict, now),
                        _ => self.schedule.add(id, rules, verdict, now),
                    }
                    let (agent, conversation, last_error) = (Agent::new(advice, now), None, None);
                    let known = Known { target, conversation, verdict, last_error, agent };
                    self.targets.insert(id, known);
                }
                Order::Remove(id) => {
                    self.schedule.remove(id);
                    self.commands.remove(id);
                    self.hang_up(id);
                    self.targets.remove(&id);
                }
                Order::Hurry(id) => self.schedule_of(id).hurry(id, now),
                Order::Stop => self.is_stopping = true,
            }
        }
    }

    fn start(&mut self, id: u64, now: Instant) {
        let Some(known) = self.targets.get_mut(&id) else { return };
        self.number += 1;
        let number = self.number;
        if let Question::Command { .. } = known.target.definition.question {
            return self.commands.start(id, number, &known.target, now);
        }
        let nonce = self.nonces.hash_one(number);
        let advice = known.agent.advice();
        let begun = Conversation::begin(&known.target, advice, nonce, &self.connectors);
        let begun = begun.and_then(|conversation| {
            let watched = self.poller.add_stream(conversation.socket(), number);
            watched.map_err(|_| terms::ConnectFailure::NoSocket).map(|()| conversation)
        });
        match begun {
            Ok(conversation) => {
                known.conversation = Some(number);
                self.conversations.insert(number, Talking { target: Some(id), conversation });
            }
            Err(failure) if failure.is_ours() => self.schedule.give_up(id, now),
            Err(failure) => self.finish(id, Err(failure.to_string()), now),
        }
    }

    fn handle(&mut self, number: u64, event: sys::epoll::Event, now: Instant) {
        let Some(talking) = self.conversations.get_mut(&number) else { return };
        let heard = talking.conversation.handle(event, &mut self.buffer);
        let result = match heard {
            Heard::Nothing => return,
            Heard::Much => {
                // The event comes again in the next turn, after those of others.
                let _ = self.poller.watch_end_only(talking.conversation.socket(), number, false);
                return;
            }
            Heard::End => {
                self.conversations.remove(&number);
                return;
            }
            Heard::Passed => Ok(talking.conversation.advice().cloned()),
            Heard::Failed(why) => Err(why),
        };
        let Some(id) = talking.target.take() else { return };
        if talking.conversation.leave(&mut self.buffer) || self.leaving.len() >= LEAVING_MAX {
            self.conversations.remove(&number);
        } else {
            self.leaving.push_back((now + LEAVING, number));
        }
        if let Some(known) = self.targets.get_mut(&id) {
            known.conversation = None;
        }
        self.finish(id, result, now);
    }

    /// Ends the conversation with a target at once; returns whether a connection had been made.
    fn hang_up(&mut self, id: u64) -> bool {
        let known = self.targets.get_mut(&id).and_then(|it| it.conversation.take());
        let talking = known.and_then(|number| self.conversations.remove(&number));
        talking.is_some_and(|it| it.conversation.is_connected())
    }

    fn finish(&mut self, id: u64, result: Outcome, now: Instant) {
        if let Some(finding) = self.schedule_of(id).finish(id, result.is_ok(), now) {
            self.report(id, finding, result, now);
        }
    }

    /// Keeps what is new for the owner.
    fn report(&mut self, id: u64, finding: Finding, result: Outcome, now: Instant) {
        let Some(known) = self.targets.get_mut(&id) else { return };
        let (is_other, error) = match result {
            Ok(Some(advice)) => (known.agent.hear(advice, now), None),
            Ok(None) => (false, None),
            Err(error) => {
                let interval = known.target.definition.rules.interval;
                (known.agent.miss(interval, now), Some(error))
            }
        };
        known.verdict = finding.verdict;
        let is_known = error.is_none() || error == known.last_error;
        let counts = finding.is_new || finding.was_asked || is_other;
        if is_known && !counts {
            return;
        }
        self.keep_news(id, error, counts);
    }

    /// Keeps what is known of a target for the owner, with the error that is new. What `counts` goes on
    /// to do so until it is taken.
    fn keep_news(&mut self, id: u64, error: Option<String>, counts: bool) {
        let Some(known) = self.targets.get_mut(&id) else { return };
        if error.is_some() {
            known.last_error.clone_from(&error);
        }
        let mut news = lock(&self.shared.news);
        let before = news.remove(&id);
        let counts = counts || before.as_ref().is_some_and(|it| it.counts);
        let error = error.or_else(|| before.and_then(|it| it.error));
        let (verdict, advice) = (known.verdict, known.agent.advice().clone());
        news.insert(id, News { verdict, error, advice, counts });
        drop(news);
        self.shared.notify.notify_one();
    }

    /// The schedule that a target is on.
    fn schedule_of(&mut self, id: u64) -> &mut Schedule {
        let known = self.targets.get(&id).map(|it| &it.target.definition.question);
        match known {
            Some(Question::Command { .. }) => &mut self.commands.schedule,
            _ => &mut self.schedule,
        }
    }

    /// Handles what the broker has found out.
    fn take_answers(&mut self, now: Instant) {
        loop {
            match self.commands.receive() {
                Ok(None) => return,
                Ok(Some(answer)) => self.take_answer(answer, now),
                Err(_) => return self.lose_broker(now),
            }
        }
    }

    fn take_answer(&mut self, answer: Answer, now: Instant) {
        match answer {
            Answer::Begun => {
                // What was asked for before the first one began waits for it.
                if std::mem::replace(&mut self.commands.has_begun, true) {
                    self.commands.give_up_all(now);
                    self.remark(Remark::BegunAgain);
                }
            }
            Answer::Ended { number, how, output } => {
                let Some(id) = self.commands.take(number) else { return };
                if let Some(program) = self.program(id) {
                    self.commands.unrunnable.remove(&program);
                }
                let result = how.judge(output.as_bytes()).map(|()| None);
                self.finish(id, result, now);
            }
            Answer::Void { number } => {
                self.commands.give_up(number, now);
            }
            Answer::NotRun { number, why } => {
                let Some(id) = self.commands.give_up(number, now) else { return };
                let Some(program) = self.program(id) else { return };
                let error = format!("{program} cannot be run: {why}");
                // Why a probe was not made changes no verdict.
                if self.targets.get(&id).is_some_and(|it| it.last_error.as_ref() != Some(&error)) {
                    self.keep_news(id, Some(error.clone()), false);
                }
                if self.commands.unrunnable.insert(program, why.clone()).as_ref() != Some(&why) {
                    self.remark(Remark::NotRun(error));
                }
            }
        }
    }

    /// The program that a target's probe runs.
    fn program(&self, id: u64) -> Option<String> {
        match &self.targets.get(&id)?.target.definition.question {
            Question::Command { command, .. } => Some(command.program().to_owned()),
            _ => None,
        }
    }

    /// Nobody runs commands any more: what they have shown is no longer known.
    fn lose_broker(&mut self, now: Instant) {
        if let Some(broker) = self.commands.lose_broker() {
            let _ = self.poller.remove(broker.as_fd());
        }
        self.commands.give_up_all(now);
        self.remark(Remark::Gone);
    }

    fn remark(&self, remark: Remark) {
        let mut remarks = lock(&self.shared.remarks);
        if !remarks.contains(&remark) {
            remarks.push(remark);
        }
        drop(remarks);
        self.shared.notify.notify_one();
    }
}
