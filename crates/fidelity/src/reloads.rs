//! Reloads a proxy's configuration again and again under load: no client may notice.
//!
//! `plan` makes random configurations, `proxy` starts, reloads and measures Evenkeel, HAProxy or
//! nginx, and the load is in `clients`. Turns, limits and refused files are Evenkeel's only: the
//! others begin anew with each reload.

mod admin;
mod plan;
mod proxy;

use std::{
    fmt,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    Check, Claim, Failure,
    clients::{self, Client, Tally, Trouble, trouble_of},
    dice::Dice,
    usage::{Measure, settled},
};
use plan::{LIMIT, Plan};
use proxy::Proxy;
pub use proxy::{Kind, stream_module};

/// What to run, and how much of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The kind of proxy.
    pub kind: Kind,
    /// Its command line up to the words that this tool adds.
    pub program: String,
    /// The number of reloads.
    pub reloads: u32,
    /// The number of invalid files, for Evenkeel.
    pub invalid: u32,
    /// The number of long sessions.
    pub sessions: u32,
    /// Whether the long sessions begin one after the other, between the reloads, instead of before
    /// the first.
    pub spread: bool,
    /// The pause between two reloads.
    pub pause: Duration,
    /// Of the random changes.
    pub seed: u64,
}

impl Settings {
    /// A thousand reloads in a minute or two, with 2000 long sessions.
    pub fn new(kind: Kind, program: &str) -> Self {
        Self {
            kind,
            program: program.to_owned(),
            reloads: 1000,
            invalid: 200,
            sessions: 2000,
            spread: false,
            pause: Duration::from_millis(50),
            seed: 1,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Sessions begun.
    pub sessions: u64,
    /// Sessions that were not connected to a server.
    pub refused: u64,
    /// Sessions that ended before their client had finished.
    pub cut: u64,
    /// Sessions that got other bytes back than they had sent.
    pub wrong: u64,
    /// Bytes that came back as they were sent.
    pub bytes: u64,
    /// What the proxy took up before the first reload, and after the last.
    pub before: Measure,
    /// See `before`.
    pub after: Measure,
    /// How long the reloads took: half of them, and the slowest.
    pub reload_times: [Duration; 2],
    /// The 99th percentile of a ping-pong while files were being reloaded, and between that.
    pub ping_p99: [Duration; 2],
    /// The median of the same.
    pub ping_median: [Duration; 2],
    /// What went wrong first.
    pub failures: Vec<String>,
}

/// Runs all of it.
///
/// # Errors
/// When the proxy does not start, or refuses a valid file.
pub fn run(settings: &Settings) -> Check<Summary> {
    let broken = |error: std::io::Error| Failure::new("free ports", error);
    let claims: Vec<_> =
        (0..6 + SPARE).map(|_| Claim::new()).collect::<Result<_, _>>().map_err(broken)?;
    let ports: Vec<_> = claims.iter().map(Claim::port).collect();
    let (fixed, spare) = ports.split_at(6);
    let fixed: [u16; 6] = fixed.try_into().map_err(|error| Failure::new("six ports", error))?;
    let servers = clients::start_servers(SERVERS)?;
    let plan = Plan::new(&fixed, spare, &servers);
    let proxy = Proxy::start(settings.kind, &settings.program, &plan)?;
    let mut run = Run { settings, proxy, plan, tally: Arc::default(), long: Vec::new() };
    let result = run.play(fixed);
    if result.is_err() {
        let log = run.proxy.log();
        let lines: Vec<_> = log.lines().rev().take(LOG_LINES).collect();
        lines.iter().rev().for_each(|line| eprintln!("{line}"));
    }
    let summary = result?;
    run.proxy.stop();
    Ok(summary)
}

struct Run<'a> {
    settings: &'a Settings,
    proxy: Proxy,
    plan: Plan,
    tally: Arc<Tally>,
    long: Vec<Client>,
}

impl Run<'_> {
    fn play(&mut self, ports: [u16; 6]) -> Check<Summary> {
        let [_, long, ..] = ports;
        if !self.settings.spread {
            self.open(long, self.settings.sessions as usize);
        }
        self.load(ports, |_, _| {
            thread::sleep(WARM_UP);
            Ok(())
        })?;
        let first = self.plan.clone();
        let before = settled(|| self.proxy.measure())?;
        let (mut times, ping) =
            self.load(ports, |run, is_reloading| run.reload(long, is_reloading))?;
        if self.settings.kind == Kind::Evenkeel {
            self.refuse()?;
            self.plan = first;
            let plan = self.plan.clone();
            self.proxy.reload(&plan)?;
        }
        let after = settled(|| self.proxy.measure())?;
        self.touch_all();
        times.sort_unstable();
        Ok(self.summary(before, after, &times, ping))
    }

    /// Opens long sessions.
    fn open(&mut self, port: u16, count: usize) {
        for _ in 0..count {
            self.tally.sessions.fetch_add(1, Relaxed);
            match Client::connect(port, self.long.len() as u64) {
                Ok(client) => self.long.push(client),
                Err(error) => self.tally.note(Trouble::Refused, &error),
            }
        }
    }

    /// Uses each long session once more.
    fn touch_all(&mut self) {
        let tally = &self.tally;
        self.long.retain_mut(|client| touch(client, tally));
    }

    /// Puts the load on while `work` is done; returns its result and the times of the ping-pong.
    fn load<T>(
        &mut self,
        ports: [u16; 6],
        work: impl FnOnce(&mut Self, &AtomicBool) -> Check<T>,
    ) -> Check<(T, [Vec<Duration>; 2])> {
        let [new, _, bulk, ping, turns, limited] = ports;
        let is_ours = self.settings.kind == Kind::Evenkeel;
        let (is_over, is_reloading) = (AtomicBool::new(false), AtomicBool::new(false));
        let tally = Arc::clone(&self.tally);
        thread::scope(|scope| {
            let (tally, is_over, is_reloading) = (&tally, &is_over, &is_reloading);
            for part in 0..NEW_CLIENTS {
                let rate = RATE / NEW_CLIENTS;
                scope.spawn(move || {
                    thread::sleep(Duration::from_secs(1) / RATE * part);
                    clients::keep_coming(new, rate, tally, is_over);
                });
            }
            for seed in 0..STREAMS {
                scope.spawn(move || _ = clients::stream(bulk, seed, tally, is_over));
            }
            if is_ours {
                scope.spawn(move || clients::take_turns(turns, tally, is_over));
                scope.spawn(move || clients::fill(limited, LIMIT, tally, is_over));
            }
            let ping = scope.spawn(move || clients::ping(ping, tally, is_reloading, is_over));
            let result = work(self, is_reloading);
            is_over.store(true, Relaxed);
            let times = ping.join().map_err(|_| Failure::new("times of a ping-pong", "a panic"))?;
            Ok((result?, times))
        })
    }

    /// Reloads, and after each second does all the same but the reloading for another second, so
    /// that the times of the ping-pong differ by the reloads alone.
    fn reload(&mut self, long: u16, is_reloading: &AtomicBool) -> Check<Vec<Duration>> {
        let mut dice = Dice::new(self.settings.seed, 0);
        let mut times = Vec::new();
        let mut spare: Vec<(String, Client)> = Vec::new();
        let mut window = Instant::now();
        for number in 0..self.settings.reloads {
            is_reloading.store(true, Relaxed);
            self.plan.change(&mut dice);
            let begin = Instant::now();
            let plan = self.plan.clone();
            self.proxy.reload(&plan)?;
            times.push(begin.elapsed());
            self.use_spare(&mut spare);
            if self.settings.spread {
                let share = self.settings.sessions * (number + 1) / self.settings.reloads;
                self.open(long, (share as usize).saturating_sub(self.long.len()));
            }
            self.touch_some(&mut dice);
            thread::sleep(self.settings.pause);
            if window.elapsed() > WINDOW {
                is_reloading.store(false, Relaxed);
                let peace = Instant::now();
                while peace.elapsed() < WINDOW {
                    self.proxy.write_aside(&self.plan)?;
                    let open = self.long.len();
                    self.open(long, 1);
                    self.long.truncate(open);
                    self.touch_some(&mut dice);
                    thread::sleep(self.settings.pause);
                }
                window = Instant::now();
            }
        }
        Ok(times)
    }

    /// Each listener that has come must serve, and sessions of those that have gone must go on.
    fn use_spare(&mut self, spare: &mut Vec<(String, Client)>) {
        let tally = &self.tally;
        for listener in self.plan.spare_listeners() {
            if spare.iter().any(|(name, _)| *name == listener.name) {
                continue;
            }
            tally.sessions.fetch_add(1, Relaxed);
            match Client::connect(listener.port, 9) {
                Ok(client) => spare.push((listener.name.clone(), client)),
                Err(error) => {
                    let what = format!("new listener {}: {error}", listener.name);
                    tally.note(Trouble::Refused, &what);
                }
            }
        }
        let is_there = |name: &str| self.plan.spare_listeners().any(|it| it.name == name);
        // Used once more after its listener has gone, and then ended.
        spare.retain_mut(|(name, client)| touch(client, tally) && is_there(name));
    }

    fn touch_some(&mut self, dice: &mut Dice) {
        for _ in 0..5 {
            if self.long.is_empty() {
                return;
            }
            let place = dice.roll(self.long.len());
            if !touch(&mut self.long[place], &self.tally) {
                self.long.swap_remove(place);
            }
        }
    }

    /// Files that are wrong in different ways change nothing.
    fn refuse(&mut self) -> Check {
        thread::sleep(WARM_UP); // until the last session of the load is counted
        let good = self.proxy.text_of(&self.plan);
        for number in 0..self.settings.invalid {
            let text = match number % 4 {
                0 => format!("{good}\n[listeners.new]\nbind = \"127.0.0.1:1\"\n"),
                1 => good.replacen("bind = ", "bnid = ", 1),
                2 => good.replacen("pool = \"new\"", "pool = \"nwe\"", 1),
                _ => good.replacen("workers = 2", "workers = 3", 1),
            };
            let before = self.proxy.status()?;
            let answer = self.proxy.reload_invalid(&text)?;
            if number % 4 != 3 && !answer.contains("proxy.toml:") {
                self.tally.fail(format!("a refusal that names no place: {answer}"));
            }
            let after = self.proxy.status()?;
            if before != after {
                self.tally.fail(format!("after a refused file: {after}\nbefore: {before}"));
            }
        }
        Ok(())
    }

    fn summary(
        &self,
        before: Measure,
        after: Measure,
        times: &[Duration],
        mut ping: [Vec<Duration>; 2],
    ) -> Summary {
        let Tally { sessions, refused, cut, wrong, bytes, failures } = &*self.tally;
        ping.iter_mut().for_each(|times| times.sort_unstable());
        let part = |times: &[Duration], share: usize| {
            times.get(times.len() * share / 100).or(times.last()).copied().unwrap_or_default()
        };
        Summary {
            sessions: sessions.load(Relaxed),
            refused: refused.load(Relaxed),
            cut: cut.load(Relaxed),
            wrong: wrong.load(Relaxed),
            bytes: bytes.load(Relaxed),
            before,
            after,
            reload_times: [part(times, 50), part(times, 100)],
            ping_p99: ping.each_ref().map(|times| part(times, 99)),
            ping_median: ping.each_ref().map(|times| part(times, 50)),
            failures: failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

fn touch(client: &mut Client, tally: &Tally) -> bool {
    match client.exchange(32) {
        Ok(()) => {
            tally.bytes.fetch_add(32, Relaxed);
            true
        }
        Err(error) => {
            tally.note(trouble_of(&error), &format_args!("a long session: {error}"));
            false
        }
    }
}

impl Summary {
    /// Whether no client noticed anything, and everything that must stay the same did.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, refused, cut, wrong, bytes, .. } = self;
        writeln!(
            f,
            "{sessions} sessions, {} MB: {refused} refused, {cut} cut, {wrong} with wrong bytes",
            bytes >> 20
        )?;
        for (when, it) in [("before", self.before), ("after", self.after)] {
            let Measure { processes, pss, descriptors, old_connections } = it;
            writeln!(
                f,
                "{when:7} {processes} processes, {pss} kB (PSS), {descriptors} descriptors, \
                 {old_connections} connections in replaced processes"
            )?;
        }
        let [median, most] = self.reload_times;
        writeln!(f, "reload  median {median:.1?}, at most {most:.1?}")?;
        let [[m1, m2], [p1, p2]] = [self.ping_median, self.ping_p99];
        write!(
            f,
            "ping    while reloading {m1:.1?}, p99 {p1:.1?}; otherwise {m2:.1?}, p99 {p2:.1?}"
        )?;
        for failure in &self.failures {
            write!(f, "\n        {failure}")?;
        }
        Ok(())
    }
}

/// Listeners that come and go.
const SPARE: usize = 6;
const SERVERS: usize = 6;
/// How much of the proxy's log is shown when it fails.
const LOG_LINES: usize = 30;
/// New sessions per second, and the number of threads that begin them.
const RATE: u32 = 200;
const NEW_CLIENTS: u32 = 4;
const STREAMS: u64 = 4;
const WARM_UP: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(1);
