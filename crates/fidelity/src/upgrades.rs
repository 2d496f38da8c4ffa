//! Upgrades a proxy again and again under load: no client may notice.
//!
//! `proxy` starts, upgrades and measures Evenkeel, HAProxy or nginx. The load is in
//! `clients`, `interactive` and `special`; `lives` compares the log with what the
//! clients have seen. The delicate kinds of sessions are for Evenkeel only: the others fail them
//! without an upgrade.

mod flows;
mod interactive;
mod lives;
mod proxy;
mod special;

use std::{
    fmt,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    Check, Claim, Failure,
    clients::{self, Client, Trouble},
    reloads,
    usage::{Measure, settled},
    wait_until,
};
use interactive::{Exchange, stalls, talk};
use proxy::{Proxy, Route};
use special::{DELICATE, Kind, Load, SLOW};

/// What to run, and how much of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The kind of proxy.
    pub kind: reloads::Kind,
    /// Its command line up to the words that this tool adds.
    pub program: String,
    /// The number of upgrades.
    pub upgrades: u32,
    /// The number of idle sessions.
    pub idle: u32,
    /// The number of sessions that ask ten times a second.
    pub interactive: u32,
    /// The number of sessions of each special kind.
    pub special: u32,
    /// The pause between two upgrades.
    pub pause: Duration,
}

impl Settings {
    /// A hundred upgrades in some minutes, with 5000 idle sessions.
    pub fn new(kind: reloads::Kind, program: &str) -> Self {
        Self {
            kind,
            program: program.to_owned(),
            upgrades: 100,
            idle: 5000,
            interactive: 200,
            special: 50,
            pause: Duration::from_millis(300),
        }
    }
}

/// What happened.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The number of upgrades.
    pub upgrades: u32,
    /// Sessions begun.
    pub sessions: u64,
    /// Sessions that were not connected to a server.
    pub refused: u64,
    /// Sessions that ended before their client had finished.
    pub cut: u64,
    /// Sessions that got other bytes than were sent.
    pub wrong: u64,
    /// Bytes that came as they were sent.
    pub bytes: u64,
    /// How long the upgrades took: half of them, and the slowest.
    pub times: [Duration; 2],
    /// The longest exchange of each ping-pong during each upgrade: half of them, and the longest.
    pub stalls: [Duration; 2],
    /// The same in the middle of the pauses between upgrades.
    pub stalls_otherwise: [Duration; 2],
    /// Connections in replaced processes after the last upgrade; each session has two.
    pub left_behind: usize,
    /// Replaced processes that still run ten seconds after the last upgrade.
    pub old_processes: usize,
    /// What the proxy took up with idle sessions, before the first upgrade and after the last.
    pub usage: [Measure; 2],
    /// How many of the sessions' lives were compared with the log.
    pub lives: usize,
    /// What went wrong first.
    pub failures: Vec<String>,
}

/// Runs all of it.
///
/// # Errors
/// When the proxy does not start, or an upgrade fails.
pub fn run(settings: &Settings) -> Check<Summary> {
    allow_descriptors();
    let load = Arc::new(Load::default());
    let mut kinds = vec![SLOW];
    if settings.kind == reloads::Kind::Evenkeel {
        kinds.extend(DELICATE);
    }
    let broken = |error: std::io::Error| Failure::new("free ports", error);
    let claims: Vec<_> =
        (0..=kinds.len()).map(|_| Claim::new()).collect::<Result<_, _>>().map_err(broken)?;
    let echo = clients::start_servers(1)?[0];
    let route = |name, port, backend| Route { name, port, backend, is_udp: false };
    let mut routes = vec![route("echo", claims[0].port(), echo)];
    for (kind, claim) in kinds.iter().zip(&claims[1..]) {
        let (serve, load) = (kind.serve, Arc::clone(&load));
        let backend = clients::start_server(move |stream| serve(stream, &load))?;
        routes.push(route(kind.name, claim.port(), backend));
    }
    if settings.kind == reloads::Kind::Evenkeel {
        let backend = flows::start_backend().map_err(broken)?;
        routes.push(Route { is_udp: true, ..route(flows::NAME, claims[0].port(), backend) });
    }
    let proxy = Proxy::start(settings.kind, &settings.program, &routes)?;
    let run = Run { settings, proxy, load, kinds, ports: claims.iter().map(Claim::port).collect() };
    run.play().inspect_err(|_| {
        let log = run.proxy.log();
        let lines: Vec<_> = log.lines().rev().filter(|it| !it.contains("session ended")).collect();
        lines.iter().take(LOG_LINES).rev().for_each(|line| eprintln!("{line}"));
    })
}

struct Run<'a> {
    settings: &'a Settings,
    proxy: Proxy,
    load: Arc<Load>,
    kinds: Vec<Kind>,
    /// Of the echo, and of the special kinds.
    ports: Vec<u16>,
}

/// When the upgrades took place, and the pauses between them.
#[derive(Default)]
struct Windows {
    upgrades: Vec<(Instant, Instant)>,
    pauses: Vec<(Instant, Instant)>,
    /// Connections in replaced processes at the end.
    left_behind: usize,
}

impl Run<'_> {
    fn play(&self) -> Check<Summary> {
        let (load, echo) = (&*self.load, self.ports[0]);
        let mut idle = Vec::new();
        for number in 0..self.settings.idle {
            load.tally.sessions.fetch_add(1, Relaxed);
            match Client::connect(echo, number.into()) {
                Ok(client) => idle.push(client),
                Err(error) => load.tally.note(Trouble::Refused, &error),
            }
        }
        idle.retain_mut(|client| use_once(client, load));
        self.put_load_on(0)?;
        let before = settled(|| self.proxy.measure())?;
        let (windows, exchanges) = self.put_load_on(self.settings.upgrades)?;
        let old_processes = self.proxy.wait_alone(ALONE_WITHIN);
        let after = self.measure_after(before)?;
        idle.retain_mut(|client| use_once(client, load));
        for client in idle {
            load.note("idle", client.finish());
        }
        let lives = self.compare_lives();
        self.check_usage(old_processes, before, after);
        Ok(self.summary(&windows, &exchanges, (old_processes, [before, after], lives)))
    }

    /// What the proxy takes up after the load. Flows of UDP still have their sockets then, until
    /// their time-out has passed.
    fn measure_after(&self, before: Measure) -> Check<Measure> {
        wait_until(Instant::now() + FLOWS_END_WITHIN, || {
            self.proxy.measure().descriptors <= before.descriptors + DESCRIPTORS_SLACK
        });
        settled(|| self.proxy.measure())
    }

    /// Upgrades under load; returns when, and what the ping-pong has measured.
    fn put_load_on(&self, upgrades: u32) -> Check<(Windows, Vec<Vec<Exchange>>)> {
        let (load, echo) = (&*self.load, self.ports[0]);
        load.is_over.store(false, Relaxed);
        thread::scope(|scope| {
            for part in 0..NEW_CLIENTS {
                scope.spawn(move || {
                    thread::sleep(Duration::from_secs(1) / RATE * part);
                    clients::keep_coming(echo, RATE / NEW_CLIENTS, &load.tally, &load.is_over);
                });
            }
            for seed in 0..STREAMS {
                scope.spawn(move || {
                    let life = clients::stream(echo, seed, &load.tally, &load.is_over);
                    life.into_iter().for_each(|life| load.note("stream", Ok(life)));
                });
            }
            for (kind, port) in self.kinds.iter().zip(&self.ports[1..]) {
                for _ in 0..self.settings.special {
                    scope.spawn(move || kind.run(*port, load));
                }
            }
            if self.settings.kind == reloads::Kind::Evenkeel {
                for _ in 0..self.settings.special {
                    scope.spawn(move || flows::talk(echo, load));
                }
            }
            let interactive: Vec<_> = (0..self.settings.interactive)
                .map(|seed| scope.spawn(move || talk(echo, SELDOM, seed.into(), load)))
                .collect();
            let pings: Vec<_> =
                (0..PINGS).map(|seed| scope.spawn(move || talk(echo, OFTEN, seed, load))).collect();
            thread::sleep(WARM_UP);
            let windows = self.upgrade(upgrades);
            load.is_over.store(true, Relaxed);
            interactive.into_iter().for_each(|it| drop(it.join()));
            let exchanges = pings.into_iter().filter_map(|it| it.join().ok()).collect();
            Ok((windows?, exchanges))
        })
    }

    fn upgrade(&self, times: u32) -> Check<Windows> {
        let mut windows = Windows::default();
        for _ in 0..times {
            let begin = Instant::now();
            self.proxy.upgrade()?;
            let end = Instant::now();
            windows.upgrades.push((begin, end));
            thread::sleep(self.settings.pause);
            let now = Instant::now();
            windows.pauses.push((now - self.settings.pause / 2, now));
        }
        windows.left_behind = self.proxy.measure().old_connections;
        Ok(windows)
    }

    /// Compares the log with what the clients have seen. Only Evenkeel has such a log.
    fn compare_lives(&self) -> usize {
        if self.settings.kind != reloads::Kind::Evenkeel {
            return 0;
        }
        let lives = self.load.lives.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let deadline = Instant::now() + clients::PATIENCE;
        let mut wrong = Vec::new();
        wait_until(deadline, || {
            wrong = lives::compare(&self.proxy.log(), &lives);
            wrong.is_empty()
        });
        wrong.into_iter().for_each(|what| self.load.tally.fail(what));
        lives.len()
    }

    fn check_usage(&self, old_processes: usize, before: Measure, after: Measure) {
        let tally = &self.load.tally;
        if old_processes > 0 {
            tally.fail(format!("{old_processes} replaced processes still run"));
        }
        if after.descriptors > before.descriptors + DESCRIPTORS_SLACK {
            let (before, after) = (before.descriptors, after.descriptors);
            tally.fail(format!("{after} descriptors, and {before} before the first upgrade"));
        }
        if after.pss > before.pss + before.pss / 4 + PSS_SLACK {
            let (before, after) = (before.pss, after.pss);
            tally.fail(format!("{after} kB, and {before} kB before the first upgrade"));
        }
    }

    fn summary(
        &self,
        windows: &Windows,
        exchanges: &[Vec<Exchange>],
        (old_processes, usage, lives): (usize, [Measure; 2], usize),
    ) -> Summary {
        let tally = &self.load.tally;
        let mut times: Vec<_> = windows.upgrades.iter().map(|(from, to)| *to - *from).collect();
        times.sort_unstable();
        let time = |place: usize| times.get(place).copied().unwrap_or_default();
        Summary {
            upgrades: self.settings.upgrades,
            sessions: tally.sessions.load(Relaxed),
            refused: tally.refused.load(Relaxed),
            cut: tally.cut.load(Relaxed),
            wrong: tally.wrong.load(Relaxed),
            bytes: tally.bytes.load(Relaxed),
            times: [time(times.len() / 2), time(times.len().saturating_sub(1))],
            stalls: stalls(exchanges, &windows.upgrades),
            stalls_otherwise: stalls(exchanges, &windows.pauses),
            left_behind: windows.left_behind,
            old_processes,
            usage,
            lives,
            failures: tally.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

fn use_once(client: &mut Client, load: &Load) -> bool {
    match client.exchange(32) {
        Ok(()) => true,
        Err(error) => {
            load.note("idle", Err(error));
            false
        }
    }
}

/// Clients and servers are in this process, and each session has two connections here.
fn allow_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

impl Summary {
    /// Whether no client noticed anything, and nothing was left behind.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { upgrades, sessions, refused, cut, wrong, bytes, .. } = self;
        writeln!(
            f,
            "{upgrades} upgrades, {sessions} sessions, {} MB: {refused} refused, {cut} cut, {wrong} \
             with wrong bytes; {} lives compared with the log",
            bytes >> 20,
            self.lives
        )?;
        let [median, most] = self.times;
        writeln!(f, "upgrade median {median:.1?}, at most {most:.1?}")?;
        let ([m1, w1], [m2, w2]) = (self.stalls, self.stalls_otherwise);
        writeln!(
            f,
            "longest exchange of a ping-pong in an upgrade: median {m1:.2?}, worst {w1:.1?}; in a \
             pause: {m2:.2?}, {w2:.1?}"
        )?;
        for (when, it) in ["before", "after"].into_iter().zip(self.usage) {
            let Measure { processes, pss, descriptors, .. } = it;
            writeln!(
                f,
                "{when:7} {processes} processes, {pss} kB (PSS), {descriptors} descriptors"
            )?;
        }
        write!(
            f,
            "replaced processes: {} connections after the last upgrade, {} still run 10 s later",
            self.left_behind, self.old_processes
        )?;
        for failure in &self.failures {
            write!(f, "\n        {failure}")?;
        }
        Ok(())
    }
}

/// New sessions per second, and the number of threads that begin them.
const RATE: u32 = 200;
const NEW_CLIENTS: u32 = 4;
const STREAMS: u64 = 4;
const PINGS: u64 = 2;
/// The pauses of a ping-pong, and of the other interactive sessions.
const OFTEN: Duration = Duration::from_millis(1);
const SELDOM: Duration = Duration::from_millis(100);
const WARM_UP: Duration = Duration::from_secs(2);
const ALONE_WITHIN: Duration = Duration::from_secs(10);
/// More than the time-out of flows.
const FLOWS_END_WITHIN: Duration = Duration::from_secs(40);
/// Pipes that a worker keeps for the next session.
const DESCRIPTORS_SLACK: usize = 8;
/// Memory in kB that may come and go.
const PSS_SLACK: u64 = 1000;
/// How much of the proxy's log is shown when it fails.
const LOG_LINES: usize = 30;
