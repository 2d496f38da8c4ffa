//! Seeded schedules of two processes, each of which may stall or die before any of its steps, and the
//! new one of which may hang.
//!
//! `EVENKEEL_SIM_SEED=n` replays one seed, `EVENKEEL_SIM_SEEDS=n` runs that many seeds.

use super::*;
use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use testing::{Rng, sweep};

type Sessions = BTreeSet<u32>;

/// A message on its way, with the sessions that it carries.
struct Message(Kind, Sessions);

#[derive(Default)]
struct Process {
    inbox: VecDeque<Message>,
    is_dead: bool,
    has_closed: bool,
    /// It does nothing any more, but has not ended.
    is_hung: bool,
    /// For how many turns it does nothing.
    stalled: usize,
    /// Turns that it has waited for a message.
    waited: usize,
    is_watching: bool,
    /// Those that it serves.
    served: Sessions,
    /// Those that are frozen in it.
    frozen: Sessions,
}

impl Process {
    fn is_deaf(&self) -> bool {
        self.is_dead || self.has_closed
    }

    fn die(&mut self) {
        self.is_dead = true;
        self.is_watching = false;
    }
}

#[derive(Default)]
struct World {
    old: Process,
    new: Process,
    is_revoked: bool,
    /// Whether the new process ends in an orderly way once it accepts.
    is_to_stop: bool,
    /// Whether it has said so.
    has_stopped: bool,
    /// Whether the old process watches for beats, which the new one sends.
    has_beats: bool,
    /// How long the old process has guarded the new one.
    guarded: usize,
    /// Whether the new process has said that it needs no guard.
    is_released: bool,
    /// Whether the new process could not be killed.
    is_out_of_reach: bool,
    /// Sessions that no process had when theirs died.
    lost: Sessions,
}

/// How many turns a process waits for a message that has a deadline.
const PATIENCE: usize = 30;
/// How many turns one look at the guarded process takes.
const LOOK: usize = 8;
/// How many turns the guard lasts.
const GUARD: usize = 200;
const SESSIONS: u32 = 12;

impl World {
    /// Performs a step of the old process. Returns false if it waits.
    fn perform_old(&mut self, old: &mut Old, rng: &mut Rng) -> bool {
        let World { old: own, new, .. } = self;
        match old.step() {
            OldStep::Await(kind) => match own.inbox.pop_front() {
                Some(Message(Kind::Stop, _)) => old.stop(),
                Some(Message(got, _)) if got == kind => old.done(),
                Some(_) => old.failed(),
                None if new.is_deaf() || own.waited > PATIENCE => old.failed(),
                None => {
                    own.waited += 1;
                    return false;
                }
            },
            OldStep::Send(_) if new.is_deaf() => {
                if own.inbox.iter().any(|it| it.0 == Kind::Stop) {
                    old.stop();
                }
                old.failed();
            }
            OldStep::Send(kind) => {
                let sessions =
                    if kind == Kind::Batch { own.frozen.clone() } else { Sessions::new() };
                new.inbox.push_back(Message(kind, sessions));
                old.done();
            }
            OldStep::Unwatch => {
                own.is_watching = false;
                old.done();
            }
            OldStep::Freeze => {
                assert!(own.frozen.is_empty());
                let count = 1 + rng.below(4);
                if own.served.is_empty() || old.is_stopped {
                    old.froze(Froze::NoneLeft);
                } else if rng.one_in(4) {
                    old.froze(Froze::NoneNow);
                } else {
                    own.frozen = own.served.iter().copied().take(count).collect();
                    let frozen = own.frozen.clone();
                    own.served.retain(|it| !frozen.contains(it));
                    old.froze(Froze::Some);
                }
            }
            OldStep::LetGo => {
                own.frozen.clear();
                old.done();
            }
            OldStep::Pause => {
                if own.inbox.pop_front().is_some_and(|it| it.0 == Kind::Stop) {
                    old.stop();
                }
                old.done();
            }
            OldStep::Guard if new.is_deaf() && own.inbox.iter().any(|it| it.0 == Kind::Stop) => {
                old.stop();
                old.looked(Look::Release, false);
            }
            OldStep::Guard if new.is_deaf() => old.failed(),
            OldStep::Guard => {
                self.guarded += 1;
                let is_over = self.guarded >= GUARD;
                match own.inbox.pop_front() {
                    Some(Message(Kind::Beat, _)) => old.looked(Look::Beat, is_over),
                    Some(Message(Kind::Release, _)) => old.looked(Look::Release, is_over),
                    Some(Message(Kind::Stop, _)) => {
                        old.stop();
                        old.looked(Look::Release, is_over);
                    }
                    Some(_) => old.failed(),
                    None if own.waited >= LOOK => old.looked(Look::Silence, is_over),
                    None => {
                        own.waited += 1;
                        return true;
                    }
                }
            }
            OldStep::Kill if !new.is_dead && rng.one_in(4) => {
                self.is_out_of_reach = true;
                old.failed();
            }
            OldStep::Kill => {
                self.lost.append(&mut new.served);
                new.die();
                old.done();
            }
            OldStep::Revoke => {
                self.is_revoked = true;
                old.done();
            }
            OldStep::Thaw => {
                own.served.append(&mut own.frozen);
                old.done();
            }
            OldStep::Watch => {
                own.is_watching = true;
                old.done();
            }
            OldStep::End(_) => {
                own.has_closed = true;
                return false;
            }
        }
        self.old.waited = 0;
        true
    }

    /// Performs a step of the new process, which has `batch`. Returns false if it waits.
    fn perform_new(&mut self, new: &mut New, batch: &mut Sessions, rng: &mut Rng) -> bool {
        let World { old, new: own, is_revoked, .. } = self;
        let ended = old.is_deaf();
        let mut expect = |kind: &[Kind]| match own.inbox.pop_front() {
            Some(Message(got, sessions)) if kind.contains(&got) => Some(Some((got, sessions))),
            Some(_) => Some(None),
            None if ended => Some(None),
            None => None,
        };
        if self.is_to_stop && own.is_watching && !ended && rng.one_in(10) {
            (self.is_to_stop, self.has_stopped) = (false, true);
            own.is_watching = false;
            old.inbox.push_back(Message(Kind::Stop, Sessions::new()));
            return true;
        }
        match new.step() {
            NewStep::Send(_) if ended => new.failed(),
            NewStep::Send(kind) => {
                old.inbox.push_back(Message(kind, Sessions::new()));
                new.done();
            }
            NewStep::AwaitState | NewStep::AwaitSwitch | NewStep::AwaitCommit => {
                let kind = match new.step() {
                    NewStep::AwaitState => Kind::State,
                    NewStep::AwaitSwitch => Kind::Switch,
                    _ => Kind::Commit,
                };
                match expect(&[kind]) {
                    Some(Some(_)) => new.done(),
                    Some(None) => new.failed(),
                    None => return false,
                }
            }
            NewStep::AwaitMore => match expect(&[Kind::Batch, Kind::Rest, Kind::Final]) {
                Some(Some((kind, sessions))) => {
                    *batch = sessions;
                    new.received(kind);
                }
                Some(None) => new.failed(),
                None => return false,
            },
            NewStep::Prepare if rng.one_in(10) => new.failed(),
            NewStep::Prepare => new.done(),
            NewStep::Open => {
                own.is_watching = true;
                new.done();
            }
            NewStep::Adopt => {
                own.served.append(batch);
                new.done();
            }
            NewStep::LearnFate if *is_revoked && old.is_dead => new.learnt(Fate::DeadAfterwards),
            NewStep::LearnFate if *is_revoked => new.learnt(Fate::TakenBack),
            // The end of the channel may be seen before the process has ended altogether.
            NewStep::LearnFate if old.is_dead => new.learnt(Fate::Dead),
            NewStep::LearnFate => return false,
            NewStep::Drop => {
                batch.clear();
                new.done();
            }
            NewStep::End(NewEnd::Serving) => {
                if self.has_beats && old.inbox.is_empty() && !self.is_released {
                    self.is_released = rng.one_in(60);
                    let kind = if self.is_released { Kind::Release } else { Kind::Beat };
                    old.inbox.push_back(Message(kind, Sessions::new()));
                }
                return false;
            }
            NewStep::End(end) => {
                own.has_closed = true;
                if end != NewEnd::Serving {
                    own.is_watching = false;
                }
                return false;
            }
        }
        true
    }

    fn check(&self, seed: u64) {
        let both: Vec<_> = self.old.served.intersection(&self.new.served).collect();
        assert!(both.is_empty(), "seed {seed}: {both:?} are served by both");
        let is_settled = self.old.is_watching && self.guarded > 0;
        assert!(!is_settled || self.new.is_dead, "seed {seed}: both accept");
        let twice: Vec<_> = self.lost.intersection(&self.new.served).collect();
        assert!(twice.is_empty(), "seed {seed}: {twice:?} go on after they were lost");
    }
}

fn run(seed: u64, steps: &Cell<usize>) {
    let mut rng = Rng::new(seed);
    let mut world = World::default();
    world.old.served = (0..SESSIONS).collect();
    world.old.is_watching = true;
    let (mut old, mut new, mut batch) = (Old::default(), New::default(), Sessions::new());
    // One of them dies before one of its steps, or both do; or they only stall.
    let mut deaths = [0, 1].map(|_| rng.one_in(2).then(|| rng.below(60)));
    let stalls = rng.one_in(2);
    world.has_beats = rng.one_in(2);
    world.is_to_stop = rng.one_in(3);
    if world.has_beats {
        old.expect_beats();
    }
    let hangs_at = rng.one_in(3).then(|| rng.below(600));
    let mut must_be_killed = false;
    let mut idle = 0;
    for step in 0..20_000 {
        steps.set(step);
        let is_old = rng.one_in(2);
        if hangs_at == Some(step) && !world.new.is_dead {
            world.new.is_hung = true;
            // A beat that has been sent is still heard.
            let is_noticed = old.step() == OldStep::Guard && world.old.inbox.is_empty();
            must_be_killed = is_noticed && world.has_beats;
        }
        let process = if is_old { &mut world.old } else { &mut world.new };
        if process.is_dead || process.is_hung {
            // What hangs is waited for.
            idle += usize::from(process.is_dead);
        } else if process.stalled > 0 {
            process.stalled -= 1;
        } else {
            if stalls && rng.one_in(15) {
                process.stalled = rng.below(3 * PATIENCE);
            }
            let moved = match is_old {
                true => world.perform_old(&mut old, &mut rng),
                false => world.perform_new(&mut new, &mut batch, &mut rng),
            };
            idle = if moved { 0 } else { idle + 1 };
            let death = &mut deaths[usize::from(!is_old)];
            if moved && let Some(left) = death {
                match left.checked_sub(1) {
                    Some(fewer) => *left = fewer,
                    None => {
                        *death = None;
                        kill(&mut world, is_old, &old, &batch);
                    }
                }
            }
        }
        world.check(seed);
        if idle > 10 * PATIENCE {
            break;
        }
    }
    finish(seed, &world, &old, &new);
    if must_be_killed && !world.has_stopped && !world.old.is_dead && !world.is_out_of_reach {
        assert_eq!(old.step(), OldStep::End(OldEnd::TakenBack), "seed {seed}: nobody serves");
    }
}

/// Ends a process. What it served is lost, and what was frozen in it, unless that can go on.
fn kill(world: &mut World, is_old: bool, old: &Old, batch: &Sessions) {
    let process = if is_old { &mut world.old } else { &mut world.new };
    process.die();
    let served = std::mem::take(&mut process.served);
    world.lost.extend(&served);
    if !is_old {
        return;
    }
    // Sent whole and not taken back: the new process may continue them.
    let is_sent = |it: &&u32| {
        batch.contains(it) || world.new.inbox.iter().any(|Message(_, all)| all.contains(it))
    };
    let may_go_on = !world.is_revoked && !matches!(old.step(), OldStep::Send(Kind::Batch));
    let frozen = std::mem::take(&mut world.old.frozen);
    let goes_on = |it: &&u32| world.new.served.contains(it) || may_go_on && is_sent(it);
    let lost = frozen.iter().filter(|it| !goes_on(it));
    world.lost.extend(lost.copied().collect::<Vec<_>>());
}

fn finish(seed: u64, world: &World, old: &Old, new: &New) {
    let World { old: first, new: second, lost, .. } = world;
    let story = format!("seed {seed}: {:?} {:?}", old.step(), new.step());
    let is_useless = second.is_dead || second.is_hung;
    let is_stopped = old.step() == OldStep::End(OldEnd::Stopped);
    let is_gone = is_stopped || old.step() == OldStep::End(OldEnd::Gone);
    assert!(!is_stopped || first.frozen.is_empty(), "{story}: sessions stay frozen");
    if old.is_stopped && !first.is_dead {
        assert!(!first.is_watching, "{story}: it has been stopped and accepts");
    }
    if !first.is_dead && !is_gone {
        assert!(first.is_watching, "{story}: nobody accepts");
        assert!(first.frozen.is_empty(), "{story}: sessions stay frozen");
    }
    if first.is_dead && !is_useless && new.step() != NewStep::End(NewEnd::Unused) {
        let is_over = new.step() == NewStep::End(NewEnd::Retired) || world.has_stopped;
        assert!(second.is_watching || is_over, "{story}: nobody accepts");
    }
    if is_gone && !is_useless && !world.has_stopped {
        assert!(second.is_watching, "{story}: nobody accepts");
    }
    if !first.is_dead && !is_useless {
        assert!(lost.is_empty());
        let count = first.served.len() + second.served.len();
        assert_eq!(count, SESSIONS as usize, "{story}: sessions were lost");
    }
    if !is_useless && first.is_dead {
        let count = second.served.len() + lost.len();
        assert_eq!(count, SESSIONS as usize, "{story}: sessions were lost with no owner");
    }
}

#[test]
fn a_session_has_one_owner_whoever_stalls_hangs_or_dies() {
    sweep(500, run);
}
