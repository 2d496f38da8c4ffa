//! A seeded simulation of a schedule whose caller is often late: who is well is never down, who is
//! dead is found out in time, and no target is forgotten.

use probing::{Action, Rules, Schedule, Verdict};
use std::collections::BTreeMap;
use std::time::Duration;
use terms::Instant;
use testing::{Rng, sweep};

const RULES: Rules =
    Rules { interval: Duration::from_secs(5), timeout: Duration::from_secs(2), rise: 2, fall: 3 };
/// Answers come this fast, or not at all.
const ANSWER_MAX: Duration = Duration::from_millis(300);

struct Target {
    is_well: bool,
    /// Since when it is as it is.
    since: Instant,
    verdict: Option<Verdict>,
    /// When its answer is there to be read.
    answer: Option<Instant>,
    last_probe: Instant,
}

struct Play {
    rng: Rng,
    schedule: Schedule,
    targets: BTreeMap<u64, Target>,
    now: Instant,
    /// The caller was not late for so long.
    calm_since: Instant,
}

/// The longest time in which a change is seen by a caller that is never late: the failures that it
/// takes, each after an interval at most and with its time-out; for one that was down, with pauses
/// four times as long.
fn detection(is_well: bool) -> Duration {
    match is_well {
        false => (RULES.interval * 11 / 10 + RULES.timeout) * RULES.fall,
        true => RULES.interval * 22 / 5 + (RULES.interval + RULES.timeout) * RULES.rise,
    }
}

impl Play {
    fn result(&mut self, id: u64, verdict: Option<Verdict>) {
        if let Some(target) = self.targets.get_mut(&id) {
            target.answer = None;
            target.verdict = verdict;
        }
    }

    /// A turn of the caller: first what has come, then what is due.
    fn turn(&mut self) {
        let is_there = |it: &Target| it.answer.is_some_and(|answer| answer <= self.now);
        let answered: Vec<u64> =
            self.targets.iter().filter(|(_, it)| is_there(it)).map(|(id, _)| *id).collect();
        for id in answered {
            if let Some(finding) = self.schedule.finish(id, true, self.now) {
                self.result(id, finding.verdict);
            }
        }
        while let Some(action) = self.schedule.poll(self.now) {
            match action {
                Action::Start(id) => {
                    let delay = self.rng.below(ANSWER_MAX.as_nanos() as usize) as u64;
                    let target = self.targets.get_mut(&id).expect("it was not removed");
                    let answer = self.now + Duration::from_nanos(delay);
                    target.answer = target.is_well.then_some(answer);
                    target.last_probe = self.now;
                }
                Action::TimedOut(id, finding) => self.result(id, finding.verdict),
                Action::Void(id) => {
                    let target = self.targets.get_mut(&id).expect("it was not removed");
                    target.answer = None;
                }
            }
        }
        assert!(self.schedule.in_flight() <= 40);
    }

    fn check(&self) {
        for (id, target) in &self.targets {
            if target.is_well && target.since == Instant::ZERO {
                assert_ne!(target.verdict, Some(Verdict::Down), "{id} has always been well");
            }
            let since = target.since.max(self.calm_since);
            // The queue for a probe in flight may be long after a stall.
            if self.now.since(since) > detection(target.is_well) + Duration::from_secs(4) {
                let expected = if target.is_well { Verdict::Up } else { Verdict::Down };
                assert_eq!(target.verdict, Some(expected), "{id}");
            }
            if self.now.since(self.calm_since) > Duration::from_secs(30) {
                assert!(self.now.since(target.last_probe) < Duration::from_secs(26), "{id}");
            }
        }
    }
}

#[test]
fn a_late_caller_convicts_nobody_and_the_dead_are_found_out() {
    sweep(20, |seed, step| {
        let mut rng = Rng::new(seed);
        let mut schedule = Schedule::new(rng.draw(), 40);
        let begin = Instant::from_millis(1_000_000);
        let mut targets = BTreeMap::new();
        for id in 0..60 {
            schedule.add(id, RULES, None, begin);
            let is_well = !rng.one_in(6);
            let since = if is_well { Instant::ZERO } else { begin };
            let target = Target { is_well, since, verdict: None, answer: None, last_probe: begin };
            targets.insert(id, target);
        }
        let is_calm = seed % 3 == 0;
        let mut play = Play { rng, schedule, targets, now: begin, calm_since: begin };
        for number in 0..6_000 {
            step.set(number);
            let answers = play.targets.values().filter_map(|it| it.answer);
            let due = answers.chain(play.schedule.next_moment()).min();
            let due = due.expect("there is always something to come").max(play.now);
            play.now = due;
            if !is_calm && play.rng.one_in(20) {
                // Nothing runs for a while: the machine is busy, or asleep.
                let stall = Duration::from_millis(play.rng.below(6_000) as u64);
                play.now = due + stall;
                play.schedule.lose(stall);
                play.calm_since = play.now;
            }
            play.turn();
            play.check();
            let id = play.rng.below(60) as u64;
            match play.rng.below(400) {
                0 => {
                    let now = play.now;
                    let target = play.targets.get_mut(&id).expect("all are there");
                    target.is_well = !target.is_well;
                    (target.since, target.answer) = (now, None);
                }
                1 => play.schedule.hurry(id, play.now),
                2 => {
                    // Removed and added again, as by a reload.
                    let target = play.targets.get_mut(&id).expect("all are there");
                    play.schedule.add(id, RULES, target.verdict, play.now);
                    target.answer = None;
                    target.since = target.since.max(play.now);
                    if target.is_well && target.verdict != Some(Verdict::Down) {
                        target.since = Instant::ZERO;
                    }
                }
                _ => {}
            }
        }
        if is_calm {
            assert_eq!(play.schedule.voids(), 0);
        }
    });
}

/// As on a machine with too much to do: half of the time is lost, a little at a time.
#[test]
fn a_caller_that_loses_half_of_the_time_finds_the_dead_and_convicts_nobody() {
    sweep(5, |seed, step| {
        let mut rng = Rng::new(seed);
        let mut schedule = Schedule::new(rng.draw(), 40);
        let begin = Instant::from_millis(1_000_000);
        let mut targets = BTreeMap::new();
        for id in 0..40 {
            schedule.add(id, RULES, None, begin);
            let is_well = id % 4 > 0;
            let since = if is_well { Instant::ZERO } else { begin };
            let target = Target { is_well, since, verdict: None, answer: None, last_probe: begin };
            targets.insert(id, target);
        }
        let mut play = Play { rng, schedule, targets, now: begin, calm_since: begin };
        // Each time-out may take twice its time.
        let enough = begin + detection(false) + RULES.timeout * RULES.fall;
        for number in 0.. {
            step.set(number);
            if play.now > enough {
                break;
            }
            let length = Duration::from_millis(25 + play.rng.below(100) as u64);
            play.now = play.now + length * 2;
            play.schedule.lose(length);
            play.turn();
        }
        for (id, target) in &play.targets {
            let expected = if target.is_well { Verdict::Up } else { Verdict::Down };
            assert_eq!(target.verdict, Some(expected), "{id}");
        }
        assert_eq!(play.schedule.voids(), 0);
    });
}

#[test]
fn a_probe_that_is_asked_for_comes_at_once_and_says_so() {
    let now = Instant::from_millis(1_000_000);
    let mut schedule = Schedule::new(1, 10);
    schedule.add(7, RULES, Some(Verdict::Up), now);
    assert_eq!(schedule.poll(now), None);
    schedule.hurry(7, now);
    assert_eq!(schedule.poll(now), Some(Action::Start(7)));
    schedule.hurry(7, now); // that one may have begun too early
    let finding = schedule.finish(7, true, now).unwrap();
    assert!(finding.was_asked && !finding.is_new);
    assert_eq!(schedule.poll(now), Some(Action::Start(7)));
    assert!(schedule.finish(7, true, now).unwrap().was_asked);
    assert_eq!(schedule.poll(now), None);
}

#[test]
fn many_targets_that_begin_together_stay_spread() {
    let begin = Instant::from_millis(1_000_000);
    let mut schedule = Schedule::new(1, 10_000);
    (0..5_000).for_each(|id| schedule.add(id, RULES, None, begin));
    let mut now = begin;
    let mut starts = vec![0_u32; 610];
    while now < begin + Duration::from_secs(61) {
        now = schedule.next_moment().unwrap().max(now);
        while let Some(action) = schedule.poll(now) {
            let Action::Start(id) = action else { panic!("nobody is late") };
            schedule.finish(id, true, now);
            if let Some(slot) = starts.get_mut(now.since(begin).as_millis() as usize / 100) {
                *slot += 1;
            }
        }
    }
    // The first of each within a second, and then 100 in 100 ms.
    assert!(starts[..10].iter().sum::<u32>() < 7_000, "{:?}", &starts[..10]);
    let later: Vec<u32> = starts[10..].chunks(10).map(|it| it.iter().sum()).collect();
    assert!(later.iter().all(|it| (800..1200).contains(it)), "{later:?}");
}
