//! Has the kernel forward sessions by itself.
//!
//! Listeners stay bound, and workers serve the clients that the kernel does not take. [`plan`] turns
//! the present state of the instance into a [`Ruleset`](forwarding::Ruleset). A thread, the
//! [`courier`], sends it to the [`helper`], a process that has the privilege to install it. For direct
//! return, that also looks [`around`], and what has been begun is [`kept`].

mod around;
mod claim;
mod courier;
mod endings;
mod helper;
mod hosting;
mod kept;
mod leftovers;
mod nft_calls;
mod plan;
mod sessions;

use crate::instance::Instance;
use around::Around;
pub use around::is_on_a_network;
use balancing::{AdminState, Health, Outcome};
use claim::Claims;
use config::{Config, Engine, SessionQuery};
pub(crate) use courier::News;
use courier::{Courier, Found, Open};
use dataplane::{Ended, SessionInfo};
use endings::{Endings, Reported};
use forwarding::{Kind, Mark, Ruleset, TableName};
use helper::{Counted, Counters};
pub use leftovers::{KernelRules, KernelTable, RemoveError};
use plan::{Marks, Means};
use sessions::{Known, Owner, Wanted, connection_id, is_nobody};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use sys::helper::Task;
use sys::process::User;
use sys::tracking::Removals;
use terms::BackendId;
use tokio::sync::{Notify, oneshot};

/// The helper, begun while this process may still do so.
pub(crate) enum Begun {
    /// No pool asks for it, and no rules are taken over.
    Unwanted,
    /// It waits for requests.
    Running(Helper),
    /// Why there is none.
    Impossible(String),
}

/// A helper that waits for requests.
pub(crate) struct Helper {
    stream: UnixStream,
    table: TableName,
    removals: Option<Removals>,
    /// Whether an earlier process has left a table for address translation, and one for direct return.
    found: [bool; 2],
}

impl Begun {
    /// Begins the helper, if a pool is to be served by the kernel, or if this process takes over from
    /// one that has rules there (`takes_over`): somebody must keep these up to date, and remove them
    /// in the end. `instance` is this instance's name.
    pub fn new(config: &Config, instance: &Path, user: Option<&User>, takes_over: bool) -> Self {
        let name = instance.file_stem().unwrap_or_default().to_string_lossy();
        let table = TableName::of(&name);
        let is_wanted = config.pools.iter().any(|pool| pool.engine != Engine::User);
        let is_kept = takes_over && is_kept(&table);
        if !is_wanted && !is_kept {
            return Self::Unwanted;
        }
        let nft = match can_forward().and_then(|()| nft()) {
            Ok(nft) => nft,
            Err(why) if is_kept => {
                return Self::Impossible(format!("{why}; the rules of the old process stay"));
            }
            Err(why) => return Self::Impossible(why),
        };
        let found = found(&table);
        let work = |stream: UnixStream| {
            // If there is no room for another process, nobody answers.
            let _ =
                sys::programs::oversee(|is_again| helper::serve(&stream, &nft, &table, is_again));
        };
        match sys::helper::begin(Task::Network, user, work) {
            // Without them, it is seen later that sessions have ended, if at all.
            Ok(stream) => {
                let removals = Removals::follow().ok();
                Self::Running(Helper { stream, table, removals, found })
            }
            Err(error) => Self::Impossible(format!("no process can be started: {error}")),
        }
    }
}

/// Which tables of an instance there are: that for address translation, and that for direct return.
fn found(table: &TableName) -> [bool; 2] {
    let name = table.to_string();
    let is_there = |kind: Kind| sys::nftables::has_tables(&[(kind.family(), &name)]);
    [Kind::Translated, Kind::Direct].map(|kind| is_there(kind).unwrap_or(false))
}

/// Whether a process keeps the table up to date.
fn is_kept(table: &TableName) -> bool {
    Claims::read().is_ok_and(|it| it.holder(table).is_some())
}

/// Whether this machine, and this user, can have the kernel forward.
///
/// # Errors
/// Why not.
pub fn can_forward() -> Result<(), String> {
    if !sys::helper::may_change_network() {
        return Err("CAP_NET_ADMIN is missing".to_owned());
    }
    nft().map(drop)
}

fn nft() -> Result<PathBuf, String> {
    let found = NFT.iter().map(PathBuf::from).find(|path| path.is_file());
    found.ok_or_else(|| format!("there is no {}; install nftables", NFT[0]))
}

/// Where nft(8) may be.
const NFT: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];

/// The owner's part.
pub(crate) struct Kernel {
    courier: Courier,
    marks: Marks,
    wanted: Ruleset,
    /// What was reported of each listener, as in a [`Turn`].
    reported: BTreeMap<String, Result<String, String>>,
    /// Why none can be, for as long as that is so.
    trouble: Option<String>,
    /// Which protocols the kernel forwards to other machines (`ip_forward`), once it is known.
    forwards: Option<[bool; 2]>,
    /// Whether its table of connections is nearly full.
    is_crowded: bool,
    /// What is on the networks of this machine, once it is known.
    around: Option<Around>,
    /// Whose ways are looked for.
    looked_for: Vec<IpAddr>,
    /// Whose sessions it forwards.
    known: Arc<Known>,
    /// The marks of sessions that were ended because their backends were down, and when that was.
    cut: HashMap<Mark, Instant>,
    /// Which ends of sessions have been reported.
    reported_ends: Reported,
    ended: Vec<Ended>,
    lost: usize,
    attempts: Allowance,
    /// What has been counted so far.
    counted: HashMap<Mark, Counted>,
    /// Whether what is counted first is known already.
    is_inherited: bool,
    /// Whether what is wanted depends on how many sessions are open.
    minds_sessions: bool,
    /// How many sessions were open at the last count, and when that began.
    open: usize,
    open_at: Option<Instant>,
    /// Backends that have lost their last session.
    drained: Vec<Arc<str>>,
    /// Backends that have refused or taken sessions.
    outcomes: Vec<(BackendId, Outcome)>,
}

/// How many more attempts without an answer are reported within a second. Whoever sends packets with
/// the addresses of others begins many.
struct Allowance {
    since: Instant,
    left: usize,
}

const ATTEMPTS_MAX: usize = 1000;

impl Allowance {
    /// Whether one more is reported.
    fn take(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self { since: now, left: ATTEMPTS_MAX };
        }
        let is_left = self.left > 0;
        self.left -= usize::from(is_left);
        is_left
    }
}

/// A listener that the kernel serves now, or serves no longer.
pub(crate) struct Turn {
    pub listener: String,
    /// What the kernel does only approximately, or why this process serves instead.
    pub done: Result<String, String>,
}

impl Kernel {
    /// Begins the thread that asks the helper. If what has been counted before `is_inherited`, it is not
    /// counted again; otherwise, another process may have died before it could say it.
    ///
    /// # Errors
    /// If the system has no room for another thread.
    pub fn new(
        Helper { stream, table, removals, found }: Helper,
        notify: Arc<Notify>,
        is_inherited: bool,
    ) -> io::Result<Self> {
        let begins = if is_inherited { i64::MAX } else { sys::clock::wall_nanos() };
        Ok(Self {
            courier: Courier::begin(stream, removals, notify)?,
            marks: Marks::new(table, found),
            wanted: Ruleset::default(),
            reported: BTreeMap::new(),
            trouble: None,
            forwards: None,
            is_crowded: false,
            around: None,
            looked_for: Vec::new(),
            known: Arc::default(),
            cut: HashMap::new(),
            reported_ends: Reported::since(begins),
            ended: Vec::new(),
            lost: 0,
            attempts: Allowance { since: Instant::now(), left: ATTEMPTS_MAX },
            counted: HashMap::new(),
            is_inherited,
            minds_sessions: false,
            open: 0,
            open_at: None,
            drained: Vec::new(),
            outcomes: Vec::new(),
        })
    }

    /// Has the kernel do what fits the present state of the instance, of which another process may
    /// have sessions unless it is alone. Returns what is new for listeners.
    pub fn engage(&mut self, instance: &Instance, is_alone: bool) -> Vec<Turn> {
        let means = Means {
            forwards: self.forwards.unwrap_or([true; 2]),
            is_crowded: self.is_crowded,
            around: self.around.as_ref(),
            is_alone,
            counted_at: self.open_at,
        };
        let plan = self.marks.plan(instance, means);
        let before = std::mem::replace(&mut self.known, Arc::new(plan.known));
        let ids: HashSet<_> = self.known.owners.values().map(|it| it.id).collect();
        let gone = before.owners.values().filter(|owner| !ids.contains(&owner.id));
        gone.for_each(|owner| _ = owner.state.set_forwarded(0));
        if plan.look_for != self.looked_for {
            self.courier.look_for(plan.look_for.clone());
            self.looked_for = plan.look_for;
        }
        // Without knowing the ways, it would break what an earlier process has begun.
        if plan.rules != self.wanted && !plan.is_blind {
            self.courier.want(plan.rules.clone(), plan.minds_sessions);
            self.wanted = plan.rules;
        }
        self.minds_sessions = plan.minds_sessions;
        let is_known = self.forwards.is_some() || self.trouble.is_some();
        let mut turns = Vec::new();
        let mut reported = BTreeMap::new();
        for (listener, done) in
            plan.listeners.into_iter().filter(|(_, done)| is_known || done.is_err())
        {
            let done = self.trouble.clone().map_or(done, Err);
            if self.reported.get(&listener) != Some(&done) {
                turns.push(Turn { listener: listener.clone(), done: done.clone() });
            }
            reported.insert(listener, done);
        }
        self.reported = reported;
        turns
    }

    /// Ends the sessions that the kernel forwards to these backends. Each client gets a reset in answer
    /// to what it sends next.
    pub fn end_sessions(&mut self, backends: &HashSet<BackendId>) {
        let doomed = self.known.owners.iter().filter(|(_, owner)| backends.contains(&owner.id));
        let marks: Vec<_> = doomed.map(|(mark, _)| *mark).collect();
        if !marks.is_empty() {
            let now = Instant::now();
            self.cut.retain(|_, at| now.duration_since(*at) < CUT_IS_SEEN_WITHIN);
            self.cut.extend(marks.iter().map(|mark| (*mark, now)));
            self.courier.forget(marks.iter().map(|mark| mark.bits()).collect());
        }
    }

    /// Ends the session of this number, and says whether there is one; nothing, if that cannot be a
    /// session that the kernel forwards.
    pub fn end_session(&self, session: u64) -> Option<oneshot::Receiver<bool>> {
        let connection = connection_id(session)?;
        let (answer, answered) = oneshot::channel();
        let ended = move |is_there| _ = answer.send(is_there); // who asked may have gone
        self.courier.forget_one(connection, self.marks_of(None), Box::new(ended));
        Some(answered)
    }

    /// Lists open sessions with these backends, or with all.
    pub fn list(
        &self,
        backends: Option<&HashSet<BackendId>>,
        query: SessionQuery,
    ) -> oneshot::Receiver<Vec<SessionInfo>> {
        let (answer, answered) = oneshot::channel();
        let (known, order) = (Arc::clone(&self.known), query.sort);
        let listed = move |sessions: Vec<_>| {
            let now = sys::clock::now();
            let sessions = sessions.into_iter().map(|it| known.session(it, order, now)).collect();
            drop(answer.send(sessions)); // who asked may have gone
        };
        let (marks, flow_seconds) = (self.marks_of(backends), self.known.flow_seconds.clone());
        self.courier.list(Wanted { marks, query, flow_seconds }, Box::new(listed));
        answered
    }

    /// The marks of sessions with these backends, or with all.
    fn marks_of(&self, backends: Option<&HashSet<BackendId>>) -> Vec<u32> {
        let is_meant = |owner: &Owner| backends.is_none_or(|it| it.contains(&owner.id));
        let owners = self.known.owners.iter().filter(|(_, owner)| is_meant(owner));
        owners.map(|(mark, _)| mark.bits()).collect()
    }

    /// Uses what the courier has to say. `worker` is the number of the tally for the kernel's sessions.
    /// Returns whether that makes a difference to what is wanted.
    pub fn use_news(&mut self, worker: usize) -> bool {
        let Found { news, counters, open, around } = self.courier.take_news();
        let is_counted_anew = open.is_some() && self.minds_sessions;
        self.note_endings(self.courier.take_endings(), open.is_some());
        if let Some(Open { at, by_mark }) = open {
            self.note_open(&by_mark);
            let marks = by_mark.iter().filter_map(|(bits, _)| Mark::from_bits(*bits));
            self.marks.note_open(marks);
            self.open_at = Some(at);
        }
        let was_crowded = self.is_crowded;
        let is_moved = around.is_some();
        self.around = around.or(self.around.take());
        if let Some(counters) = counters {
            self.is_crowded = is_crowded(&counters, was_crowded);
            if std::mem::take(&mut self.is_inherited) {
                let known = counters.marks.iter();
                let known = known.filter_map(|(bits, now)| Some((Mark::from_bits(*bits)?, *now)));
                self.counted.extend(known);
            }
            counters.marks.iter().for_each(|(bits, now)| self.count(*bits, *now, worker));
        }
        match news {
            Some(News::Installed { forwards }) => {
                self.forwards = Some(forwards);
                self.trouble = None;
            }
            Some(News::Failed(why)) => self.trouble = Some(why),
            None => return is_moved || is_counted_anew || self.is_crowded != was_crowded,
        }
        true
    }

    /// Has open sessions counted, after what is wanted has been done.
    pub fn count_open(&self) {
        self.courier.count_open();
    }

    /// Whether open sessions have been counted since then.
    pub fn has_counted_open_since(&self, then: Instant) -> bool {
        self.open_at.is_some_and(|at| at >= then)
    }

    /// Backends that are being drained and have lost their last session since this was last asked.
    pub fn take_drained(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.drained)
    }

    /// Backends that have refused sessions since this was last asked, and such that have taken some in
    /// quarantine.
    pub fn take_outcomes(&mut self) -> Vec<(BackendId, Outcome)> {
        std::mem::take(&mut self.outcomes)
    }

    /// Sessions that have ended since this was last asked, and how many times some were lost, at least.
    pub fn take_ended(&mut self) -> (Vec<Ended>, usize) {
        (std::mem::take(&mut self.ended), std::mem::take(&mut self.lost))
    }

    fn note_endings(&mut self, endings: Endings, has_looked: bool) {
        self.lost += endings.lost;
        let (now, wall) = (Instant::now(), sys::clock::wall_nanos());
        for connection in self.reported_ends.sift(endings, has_looked) {
            let Some(mark) = Mark::from_bits(connection.mark).filter(|it| self.marks.is_known(*it))
            else {
                continue; // of another instance
            };
            if is_nobody(&connection) {
                continue;
            }
            if !connection.is_answered && !self.attempts.take(now) {
                self.lost += 1;
                continue;
            }
            let cut_at = self.cut.get(&mark);
            let was_down = cut_at.is_some_and(|at| now.duration_since(*at) < CUT_IS_SEEN_WITHIN);
            self.ended.push(self.known.ended(&connection, was_down, wall));
        }
    }

    /// How many sessions the kernel forwards for this instance, when they were last counted.
    pub fn open(&self) -> usize {
        self.open
    }

    fn note_open(&mut self, open: &[(u32, u64)]) {
        let mut sums: HashMap<BackendId, u32> = HashMap::new();
        self.open = 0;
        for (bits, sessions) in open {
            let Some(mark) = Mark::from_bits(*bits).filter(|it| self.marks.is_known(*it)) else {
                continue; // of another instance
            };
            let sessions = u32::try_from(*sessions).unwrap_or(u32::MAX);
            self.open += sessions as usize;
            // It may have been removed.
            if let Some(owner) = self.known.owners.get(&mark) {
                let sum = sums.entry(owner.id).or_default();
                *sum = sum.saturating_add(sessions);
            }
        }
        for Owner { id, name, state, .. } in self.known.owners.values() {
            let now = sums.get(id).copied().unwrap_or_default();
            let before = state.set_forwarded(now);
            let is_empty = before > 0 && state.all_sessions() == 0;
            if is_empty && state.admin() == AdminState::Draining {
                self.drained.push(Arc::clone(name));
            }
        }
    }

    fn count(&mut self, bits: u32, now: Counted, worker: usize) {
        let Some(mark) = Mark::from_bits(bits) else { return };
        let before = self.counted.insert(mark, now).unwrap_or_default();
        if before != now {
            self.marks.kept.note_passed(mark, sys::clock::now());
        }
        let Some(Owner { id, state, .. }) = self.known.owners.get(&mark) else { return };
        // Another table has begun to count anew.
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let refusals = since(now.refusals, before.refusals);
        let bytes = [0, 1].map(|way: usize| since(now.bytes[way], before.bytes[way]));
        let sessions = since(now.sessions, before.sessions);
        state.tally(worker).count_forwarded(sessions, refusals, bytes);
        // A backend answers with more than refusals, if it does.
        let is_left_out = matches!(state.health(), Health::Quarantined { .. });
        match (refusals, bytes) {
            (1.., _) => self.outcomes.push((*id, Outcome::Failure)),
            (0, [_, received]) if is_left_out && sessions > 0 && received > 0 => {
                self.outcomes.push((*id, Outcome::Success));
            }
            _ => {}
        }
    }

    /// Removes all rules, and waits a while for that.
    pub fn end(self) {
        self.courier.end(END_LIMIT);
    }

    /// Leaves all rules to another process.
    pub fn leave(self) {
        self.courier.leave();
    }
}

/// How long it may take until it is seen that the sessions of a backend that is down have ended.
const CUT_IS_SEEN_WITHIN: Duration = Duration::from_secs(10);
/// How long the removal of the rules may take.
const END_LIMIT: Duration = Duration::from_secs(2);

/// Whether the kernel's table of connections is nearly full: from nine tenths on, until it is below
/// seven.
fn is_crowded(counters: &Counters, was: bool) -> bool {
    let tenths = if was { 7 } else { 9 };
    let Counters { connections, connections_max, .. } = counters;
    *connections_max > 0 && connections.saturating_mul(10) > connections_max.saturating_mul(tenths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(connections: u64, connections_max: u64, was: bool, expected: bool) {
        let counters = Counters { connections, connections_max, ..Counters::default() };
        assert_eq!(is_crowded(&counters, was), expected, "{connections} of {connections_max}");
    }

    #[test]
    fn attempts_are_reported_up_to_a_number_per_second() {
        let now = Instant::now();
        let mut allowance = Allowance { since: now, left: 2 };
        assert_eq!([(); 3].map(|()| allowance.take(now)), [true, true, false]);
        let later = now + Duration::from_secs(1);
        let reported = (0..2 * ATTEMPTS_MAX).filter(|_| allowance.take(later)).count();
        assert_eq!(reported, ATTEMPTS_MAX);
    }

    #[test]
    fn a_nearly_full_table_is_left_alone_until_there_is_room() {
        check(90, 100, false, false);
        check(91, 100, false, true);
        check(71, 100, true, true);
        check(70, 100, true, false);
        check(5, 0, false, false); // unknown
    }
}
