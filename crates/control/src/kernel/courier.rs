//! The thread that asks the helper, and waits for its answers.
//!
//! It has the newest rule set that is wanted, and knows the one that the kernel has: it asks for the
//! difference. What packets on their way may still need is removed a second later.

use super::around::Around;
use super::endings::{Endings, follow};
use super::helper::{Answer, Counters, Numbered, Request, receive, send};
use super::sessions::{self, Wanted};
use forwarding::{Edit, Ruleset};
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use sys::tracking::Removals;
use tokio::sync::Notify;

/// The way to the thread.
pub(super) struct Courier {
    orders: Sender<Order>,
    ended: Receiver<()>,
    found: Arc<Mutex<Found>>,
    endings: Arc<Mutex<Endings>>,
}

/// What has become of the last change.
pub(crate) enum News {
    /// The kernel has it. `forwards` is for IPv4 and IPv6.
    Installed { forwards: [bool; 2] },
    /// It was refused; why.
    Failed(String),
}

/// What is found out on the way, for as long as nobody takes it.
#[derive(Default)]
pub(super) struct Found {
    pub news: Option<News>,
    pub counters: Option<Counters>,
    pub open: Option<Open>,
    /// What is on the networks of this machine.
    pub around: Option<Around>,
}

/// What becomes of an order to list sessions, and of one to end one.
pub(super) type Listed = Box<dyn FnOnce(Vec<sessions::Open>) + Send>;
pub(super) type Ended = Box<dyn FnOnce(bool) + Send>;

/// The sessions that were open.
pub(super) struct Open {
    /// When they began to be counted.
    pub at: Instant,
    pub by_mark: Vec<(u32, u64)>,
}

enum Order {
    /// Have the kernel do this, and whether that depends on how many sessions are open.
    Want(Box<Ruleset>, bool),
    /// See where these are, from now on.
    LookFor(Vec<IpAddr>),
    /// End the sessions with these marks.
    Forget(Vec<u32>),
    /// End the one of this connection, if it has one of these marks.
    ForgetOne(u32, Vec<u32>, Ended),
    /// Count open sessions, after all that was wanted before.
    CountOpen,
    /// List open sessions.
    List(Wanted, Listed),
    End(Last),
}

/// What comes last.
enum Last {
    /// Remove all rules.
    Clear,
    /// Leave them.
    Leave,
}

/// How long what is no longer needed stays.
const RETIRE_AFTER: Duration = Duration::from_secs(1);
/// How often to read the counters.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How much longer than a count of open sessions takes to wait before the next one: they take up to a
/// hundredth of a CPU, and a twentieth where rules are made of them.
const COUNT_OPEN_SHARES: [u32; 2] = [100, 20];
/// How often to see that the tables are there.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// How long to wait after a refusal before the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How often to ask a helper that begins anew instead of answering.
const ATTEMPTS: usize = 3;
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

impl Courier {
    /// Begins the thread, and one for removals if they are heard of. They call `notify` when there is
    /// news.
    ///
    /// # Errors
    /// If the system has no room for another thread.
    pub fn begin(
        helper: UnixStream,
        removals: Option<Removals>,
        notify: Arc<Notify>,
    ) -> io::Result<Self> {
        helper.set_read_timeout(Some(ANSWER_WITHIN))?;
        let (orders, received) = channel();
        let (end, ended) = channel();
        let (found, endings) = (Arc::default(), Arc::default());
        if let Some(removals) = removals {
            follow(removals, &endings, Arc::clone(&notify))?;
        }
        let mut round = Round {
            helper,
            number: 0,
            orders: received,
            found: Arc::clone(&found),
            endings: Arc::clone(&endings),
            notify,
            present: None,
            wanted: None,
            addresses: Vec::new(),
            around: None,
            retire_after: RETIRE_AFTER,
            doomed: Vec::new(),
            must_count_open: false,
            minds_sessions: false,
        };
        let run = move || {
            round.run();
            let _ = end.send(()); // nobody may be waiting
        };
        std::thread::Builder::new().name("kernel".to_owned()).spawn(run)?;
        Ok(Self { orders, ended, found, endings })
    }

    /// Has the kernel do this, which may depend on how many sessions are open. What was wanted before may
    /// be skipped.
    pub fn want(&self, rules: Ruleset, minds_sessions: bool) {
        let _ = self.orders.send(Order::Want(Box::new(rules), minds_sessions)); // the helper may have ended
    }

    /// Has the networks looked at for these addresses, once now and then again and again.
    pub fn look_for(&self, addresses: Vec<IpAddr>) {
        let _ = self.orders.send(Order::LookFor(addresses)); // the helper may have ended
    }

    /// Ends the sessions with these marks, as soon as what is wanted has been done.
    pub fn forget(&self, marks: Vec<u32>) {
        let _ = self.orders.send(Order::Forget(marks)); // the helper may have ended
    }

    /// Has open sessions counted, as soon as what is wanted has been done.
    pub fn count_open(&self) {
        let _ = self.orders.send(Order::CountOpen); // the helper may have ended
    }

    /// Ends the session of a connection if it has one of these marks, and says whether there is one.
    pub fn forget_one(&self, connection: u32, marks: Vec<u32>, ended: Ended) {
        let _ = self.orders.send(Order::ForgetOne(connection, marks, ended)); // the helper may have ended
    }

    /// Has open sessions listed: none, if that fails.
    pub fn list(&self, wanted: Wanted, listed: Listed) {
        let _ = self.orders.send(Order::List(wanted, listed)); // the helper may have ended
    }

    /// What is new.
    pub fn take_news(&self) -> Found {
        std::mem::take(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Which sessions have ended.
    pub fn take_endings(&self) -> Endings {
        std::mem::take(&mut self.endings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Removes all rules, and waits for that.
    pub fn end(self, limit: Duration) {
        let _ = self.orders.send(Order::End(Last::Clear));
        let _ = self.ended.recv_timeout(limit);
    }

    /// Leaves all rules as they are.
    pub fn leave(self) {
        let _ = self.orders.send(Order::End(Last::Leave));
    }
}

struct Round {
    helper: UnixStream,
    /// That of the last request.
    number: u64,
    orders: Receiver<Order>,
    found: Arc<Mutex<Found>>,
    endings: Arc<Mutex<Endings>>,
    notify: Arc<Notify>,
    /// What the kernel has, with what is to be removed; `None` if that is unknown.
    present: Option<Ruleset>,
    /// What it is to have.
    wanted: Option<Ruleset>,
    /// Whose ways are looked for.
    addresses: Vec<IpAddr>,
    /// What was seen at the last look.
    around: Option<Around>,
    /// How long what is no longer needed stays.
    retire_after: Duration,
    /// The marks of sessions that are to end.
    doomed: Vec<u32>,
    /// Whether there is an order to count open sessions.
    must_count_open: bool,
    /// Whether what it is to have depends on how many sessions are open.
    minds_sessions: bool,
}

impl Round {
    fn run(&mut self) {
        let (mut retire_at, mut retry_at) = (None, None);
        let mut count_at = Instant::now() + COUNT_EVERY;
        let mut count_open_at = count_at;
        loop {
            // Before the next orders: what the kernel has may need what these no longer need.
            if retire_at.is_some_and(|at| Instant::now() >= at) {
                self.retire();
                retire_at = None;
            }
            if !self.doomed.is_empty() {
                let doomed = std::mem::take(&mut self.doomed);
                if let Ok(Answer::Failed(why)) = self.exchange(&Request::Forget(doomed)) {
                    self.note(Err(why));
                }
            }
            if std::mem::take(&mut self.must_count_open) {
                self.count_open();
            }
            let check_at = Instant::now() + CHECK_EVERY;
            let look_at = [retire_at, retry_at, Some(check_at)].into_iter().flatten();
            let look_at = look_at.fold(count_at, Instant::min);
            match self.follow(look_at) {
                Ok(()) => {}
                Err(Last::Clear) => return drop(self.ask(&Request::Clear)),
                Err(Last::Leave) => return,
            }
            let now = Instant::now();
            // A refusal is not repeated for every change.
            let may_ask = retry_at.is_none_or(|at| now >= at);
            if count_at <= now {
                if !self.addresses.is_empty() {
                    self.look();
                }
                if may_ask {
                    self.count();
                }
                if may_ask && count_open_at <= now {
                    self.count_open();
                    let share = COUNT_OPEN_SHARES[usize::from(self.minds_sessions)];
                    count_open_at = now + now.elapsed() * share;
                }
                count_at = now + COUNT_EVERY;
            } else if may_ask && check_at <= now {
                self.check();
            }
            let Some(rules) = self.wanted.take() else { continue };
            if may_ask {
                let done = self.make(&rules);
                retry_at = done.is_err().then(|| Instant::now() + RETRY_AFTER);
                retire_at = match &self.present {
                    Some(present) if *present != rules => {
                        retire_at.or(Some(now + self.retire_after))
                    }
                    _ => None,
                };
                self.note(done);
            }
            self.wanted = Some(rules);
        }
    }

    /// Waits until it is time to look again or there are orders, and takes them all.
    ///
    /// # Errors
    /// What is to be done at the end.
    fn follow(&mut self, look_at: Instant) -> Result<(), Last> {
        let mut order = match self.orders.recv_timeout(look_at - Instant::now()) {
            Ok(order) => order,
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => return Err(Last::Leave),
        };
        loop {
            match order {
                Order::Want(rules, minds_sessions) => {
                    self.wanted = Some(*rules);
                    self.minds_sessions = minds_sessions;
                }
                Order::LookFor(addresses) => {
                    self.addresses = addresses;
                    self.look();
                }
                Order::Forget(marks) => self.doomed.extend(marks),
                Order::ForgetOne(connection, marks, ended) => {
                    let done = self.exchange(&Request::ForgetOne(connection, marks));
                    ended(matches!(done, Ok(Answer::Forgotten { is_there: true })));
                }
                Order::CountOpen => self.must_count_open = true,
                Order::List(wanted, listed) => {
                    listed(match self.exchange(&Request::List(wanted)) {
                        Ok(Answer::Listed(sessions)) => sessions,
                        _ => Vec::new(),
                    });
                }
                Order::End(last) => return Err(last),
            }
            match self.orders.try_recv() {
                Ok(next) => order = next,
                Err(_) => return Ok(()), // if nobody is there any more, the next wait says so
            }
        }
    }

    /// Sees what is on the networks of this machine.
    fn look(&mut self) {
        let around = match self.exchange(&Request::Look(self.addresses.clone())) {
            Ok(Answer::Seen(around)) => around,
            Ok(Answer::Failed(why)) => return self.note(Err(why)),
            _ => return self.note(Err("the helper does not answer".to_owned())),
        };
        if self.around.as_ref() != Some(&around) {
            self.found.lock().unwrap_or_else(PoisonError::into_inner).around = Some(around.clone());
            self.around = Some(around);
            self.notify.notify_one();
        }
    }

    /// Sees whether the tables are there.
    fn check(&mut self) {
        if self.present.is_some() && !matches!(self.exchange(&Request::Check), Ok(Answer::There)) {
            self.present = None;
        }
    }

    /// Reads the counters. If that fails, the table is gone.
    fn count(&mut self) {
        if self.present.is_none() {
            return;
        }
        match self.exchange(&Request::Count) {
            Ok(Answer::Counted(counters)) => {
                let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                // What nobody has taken yet is not said again.
                let earlier = found.counters.take().map(|it| it.marks).unwrap_or_default();
                let marks = earlier.into_iter().chain(counters.marks).collect();
                found.counters = Some(Counters { marks, ..counters });
                drop(found);
                self.notify.notify_one();
            }
            _ => self.present = None,
        }
    }

    /// Counts open sessions. Of those of direct return, the kernel does not know whether they are.
    fn count_open(&mut self) {
        let at = Instant::now();
        let is_translated = |it: &Ruleset| it.translated.is_some();
        let (by_mark, mut over) =
            match self.present.as_ref().or(self.wanted.as_ref()).is_some_and(is_translated) {
                true => match self.exchange(&Request::CountOpen) {
                    Ok(Answer::Open { by_mark, over }) => (by_mark, over),
                    _ => return,
                },
                false => Default::default(),
            };
        self.endings.lock().unwrap_or_else(PoisonError::into_inner).over.append(&mut over);
        let open = Some(Open { at, by_mark });
        self.found.lock().unwrap_or_else(PoisonError::into_inner).open = open;
        self.notify.notify_one();
    }

    /// Removes what is no longer needed, if the kernel has what is wanted.
    fn retire(&mut self) {
        if let (Some(present), Some(rules)) = (&self.present, &self.wanted) {
            let retired = self.carry_out(present.diff(rules).retire);
            self.note(retired);
        }
    }

    /// Has the kernel do what these rules say, without removing what they no longer need.
    fn make(&mut self, rules: &Ruleset) -> Result<Option<[bool; 2]>, String> {
        if let Some(present) = &self.present {
            let change = present.diff(rules).change;
            if let Ok(done) = self.carry_out(change) {
                return Ok(done);
            }
            // Somebody else has changed the table: make it anew.
        }
        let done = self.ask(&Request::Install(rules.steps()));
        self.present = done.is_ok().then(|| rules.clone());
        self.must_count_open |= done.is_ok();
        done.map(Some)
    }

    fn carry_out(&mut self, edits: Vec<Edit>) -> Result<Option<[bool; 2]>, String> {
        if edits.is_empty() {
            return Ok(None);
        }
        let request = Request::Change(edits);
        let done = self.ask(&request);
        match (&mut self.present, request) {
            (Some(present), Request::Change(edits)) if done.is_ok() => present.apply(&edits),
            _ => self.present = None,
        }
        done.map(Some)
    }

    fn ask(&mut self, request: &Request) -> Result<[bool; 2], String> {
        match self.exchange(request) {
            Ok(Answer::Done { forwards }) => Ok(forwards),
            Ok(Answer::Failed(why)) => Err(why),
            Ok(_) => Err("the helper has answered another question".to_owned()),
            Err(error) => Err(format!(
                "the helper does not answer, and the rules that are there stay as they are: {error}"
            )),
        }
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Answer> {
        let mut stream = &self.helper;
        for _ in 0..ATTEMPTS {
            self.number += 1;
            send(&mut stream, &Numbered { number: self.number, content: request })?;
            loop {
                match receive(&mut stream)? {
                    Numbered { content: Answer::Begun, .. } => break, // it may not have heard that
                    Numbered { number, content } if number == self.number => return Ok(content),
                    Numbered { .. } => {} // an earlier one has come too late
                }
            }
        }
        Err(io::Error::other("it ends again and again"))
    }

    fn note(&self, done: Result<Option<[bool; 2]>, String>) {
        let news = match done {
            Ok(None) => return,
            Ok(Some(forwards)) => News::Installed { forwards },
            Err(why) => News::Failed(why),
        };
        self.found.lock().unwrap_or_else(PoisonError::into_inner).news = Some(news);
        self.notify.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forwarding::{
        Choice, Door, Family, Mark, Protocol, Rules, Sender, Service, Step, TableName, Target,
    };

    /// One backend behind one door.
    fn rules(backend: &str) -> Ruleset {
        let address = backend.parse().unwrap();
        let mark = Mark::of(&TableName::of("test"), "web", address, 0);
        let target = Target { address, sender: Sender::Machine };
        let mut rules = Rules { targets: [(mark, target)].into(), ..Rules::default() };
        let door = Door {
            family: Family::V4,
            address: Some([192, 0, 2, 1].into()),
            protocol: Protocol::Tcp,
            port: Some(80),
        };
        let service = Service {
            family: Family::V4,
            choice: Choice::Turn,
            slots: vec![mark],
            permitted: None,
            memory: None,
            flow_seconds: None,
            adopts: false,
        };
        rules.open(door, service);
        Ruleset { translated: Some(rules), ..Ruleset::default() }
    }

    /// What the kernel is to have is replaced while it is late with what it was to have before.
    #[test]
    fn what_the_kernel_still_uses_is_not_removed() {
        let (ours, helper) = UnixStream::pair().unwrap();
        let (orders, received) = channel();
        let mut round = Round {
            helper: ours,
            number: 0,
            orders: received,
            found: Arc::default(),
            endings: Arc::default(),
            notify: Arc::default(),
            present: None,
            wanted: None,
            addresses: Vec::new(),
            around: None,
            retire_after: Duration::ZERO,
            doomed: Vec::new(),
            must_count_open: false,
            minds_sessions: false,
        };
        let thread = std::thread::spawn(move || round.run());
        // What comes of nothing is not the answer to anything.
        send(&mut &helper, &Numbered { number: 0, content: Answer::Begun }).unwrap();
        let want = |backend| orders.send(Order::Want(Box::new(rules(backend)), false)).unwrap();
        let backends = ["10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80", "10.0.0.5:80"];
        let (mut left, mut present, mut stream) = (backends.iter(), Ruleset::default(), &helper);
        want("10.0.0.1:80");
        while present != rules(backends[3]) {
            let Numbered { number, content } = receive(&mut stream).unwrap();
            let edits = match content {
                Request::Install(edits) | Request::Change(edits) => edits,
                _ => Vec::new(),
            };
            let used = present.translated.as_ref().map(|it| it.doors.clone()).unwrap_or_default();
            present.apply(&edits);
            let is_removed = |edit: &Edit| match edit {
                Edit::Translated(Step::RemoveService(name, _)) => {
                    used.values().any(|it| it == name)
                }
                _ => false,
            };
            assert!(!edits.iter().any(is_removed), "{edits:?}");
            // The next orders are there before the answer.
            if edits.iter().any(|it| matches!(it, Edit::Translated(Step::OpenDoor(..)))) {
                left.next().into_iter().for_each(|backend| want(backend));
            }
            let answer = Answer::Done { forwards: [true; 2] };
            send(&mut stream, &Numbered { number, content: answer }).unwrap();
        }
        orders.send(Order::End(Last::Leave)).unwrap();
        thread.join().unwrap();
    }
}
