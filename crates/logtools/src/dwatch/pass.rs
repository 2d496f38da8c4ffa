//! Performs what was decided: one pass over all programs, or pass after pass.

use std::io::{self, Write};
use std::process::{Child, ExitCode};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{SignalKind, signal};

use super::commands::{self, Ended, Started};
use super::config::{Config, Watch};
use super::decide::{Action, Change, Health, Trouble};
use super::state::State;
use super::tell::{self, News};
use super::{Settings, probes};
use crate::output::complain;

/// Everything a running dwatch works with.
pub(crate) struct Supervisor {
    config: Config,
    settings: Settings,
    state: Mutex<State>,
    stopping: Stopping,
}

/// Ends waiting when the program is to end.
#[derive(Default)]
struct Stopping {
    flag: Mutex<bool>,
    changed: Condvar,
}

impl Stopping {
    fn set(&self, value: bool) {
        *locked(&self.flag) = value;
        self.changed.notify_all();
    }

    /// Waits; `true` when the program is to end.
    fn wait(&self, time: Duration) -> bool {
        let flag = locked(&self.flag);
        let waited = self.changed.wait_timeout_while(flag, time, |stop| !*stop);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What a poisoned lock guards is whole: nothing here panics half-way.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Supervisor {
    pub fn new(config: Config, settings: Settings, state: State) -> Self {
        Self { config, settings, state: Mutex::new(state), stopping: Stopping::default() }
    }

    /// Forgets that a program was given up.
    pub fn reset(&self, name: &str) -> ExitCode {
        let mut state = locked(&self.state);
        if !self.config.watch.contains_key(name) {
            let known: Vec<&str> = self.config.watch.keys().map(String::as_str).collect();
            complain(&format!(
                "dwatch: nothing called '{name}' is watched; known: {}",
                known.join(", ")
            ));
            return ExitCode::from(2);
        }
        state.memories.remove(name);
        match state.save() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("dwatch: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    /// One pass, or until a signal ends it.
    pub fn run(mut self) -> ExitCode {
        let Some(interval) = self.settings.interval else {
            let well = thread::scope(|scope| {
                let passes: Vec<_> = self
                    .config
                    .watch
                    .iter()
                    .map(|(name, watch)| scope.spawn(|| self.pass(name, watch, &mut Vec::new())))
                    .collect();
                passes.into_iter().all(|pass| pass.join().unwrap_or(false))
            });
            return if well { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                complain(&format!("dwatch: cannot wait for signals: {error}"));
                return ExitCode::FAILURE;
            }
        };
        loop {
            self.stopping.set(false);
            let again = thread::scope(|scope| {
                for (name, watch) in &self.config.watch {
                    scope.spawn(|| {
                        let mut children = Vec::new();
                        loop {
                            self.pass(name, watch, &mut children);
                            children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
                            if self.stopping.wait(interval) {
                                break;
                            }
                        }
                    });
                }
                let again = runtime.block_on(self.signals());
                self.stopping.set(true);
                again
            });
            match again {
                Ok(true) => match self.settings.read_config() {
                    Ok(config) => self.config = config,
                    Err(error) => complain(&format!("dwatch: {error}\ndwatch: going on as before")),
                },
                Ok(false) => {
                    tell::systemd("STOPPING=1");
                    return ExitCode::SUCCESS;
                }
                Err(error) => {
                    complain(&format!("dwatch: cannot wait for signals: {error}"));
                    return ExitCode::FAILURE;
                }
            }
        }
    }

    /// Until a signal: `true` to read the configuration again, `false` to end.
    async fn signals(&self) -> io::Result<bool> {
        let mut hup = signal(SignalKind::hangup())?;
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        tell::systemd(&format!("READY=1\nSTATUS=watching {}", self.config.watch.len()));
        let mut alive =
            tokio::time::interval(tell::watchdog().unwrap_or(Duration::from_secs(3600)));
        loop {
            tokio::select! {
                _ = hup.recv() => return Ok(true),
                _ = term.recv() => return Ok(false),
                _ = int.recv() => return Ok(false),
                _ = alive.tick() => tell::systemd("WATCHDOG=1"),
            }
        }
    }

    /// Checks a program and does what is to be done; `true` when it is well at the end.
    fn pass(&self, name: &str, watch: &Watch, children: &mut Vec<Child>) -> bool {
        let health = probes::check(name, watch);
        if self.settings.debug {
            complain(&format!("dwatch: {name}: {health:?}"));
        }
        let mut well = health == Health::Well;
        let trouble = health.trouble();
        for action in self.decide(name, watch, &health) {
            match action {
                Action::Tell(change) => self.tell(name, watch, change, &trouble),
                Action::Stop => self.stop(name, watch, &trouble),
                Action::Start => well = self.start(name, watch, &trouble, children),
                Action::Wait(left) => {
                    self.say(&format!("{name}: down ({}), waiting for {left:?}", trouble.reason));
                }
            }
        }
        well
    }

    /// Decides, and remembers the decision before anything is done.
    fn decide(&self, name: &str, watch: &Watch, health: &Health) -> Vec<Action> {
        let mut state = locked(&self.state);
        let mut memory = state.memories.get(name).cloned().unwrap_or_default();
        let actions = memory.decide(health, watch, now());
        if self.settings.dry_run {
            return actions;
        }
        let before = state.memories.insert(name.to_owned(), memory.clone());
        if before.as_ref() != Some(&memory)
            && let Err(error) = state.save()
        {
            // Without a memory it might be started again and again.
            complain(&format!("dwatch: {name}: nothing is done, since {error}"));
            return vec![];
        }
        actions
    }

    fn stop(&self, name: &str, watch: &Watch, trouble: &Trouble) {
        let Some(command) = &watch.stop else { return };
        self.say(&format!("{name}: {}, running: {command}", trouble.reason));
        if self.settings.dry_run {
            return;
        }
        let ended = commands::run(command, &environment(name, trouble), watch.command_timeout);
        if let Some(failure) = failure(ended) {
            complain(&format!("dwatch: {name}: stop: {failure}"));
        }
    }

    /// Starts it and waits until it is well, or its grace is over.
    fn start(
        &self,
        name: &str,
        watch: &Watch,
        trouble: &Trouble,
        children: &mut Vec<Child>,
    ) -> bool {
        let Some(command) = &watch.start else { return false };
        // Somebody else may have started it in the meantime.
        if !self.settings.dry_run && probes::check(name, watch) == Health::Well {
            return self.recovered(name, watch);
        }
        self.say(&format!("{name}: down ({}), running: {command}", trouble.reason));
        if self.settings.dry_run {
            return false;
        }
        let grace_ends = Instant::now() + watch.grace;
        let mut well = || probes::check(name, watch) == Health::Well;
        let environment = environment(name, trouble);
        match commands::start(command, &environment, watch.command_timeout, &mut well) {
            Ok(Started::Running(child)) => children.push(child),
            Ok(Started::Ended(ended)) => {
                if let Some(failure) = failure(Ok(ended)) {
                    complain(&format!("dwatch: {name}: start: {failure}"));
                }
            }
            Err(error) => complain(&format!("dwatch: {name}: start: {error}")),
        }
        loop {
            if probes::check(name, watch) == Health::Well {
                return self.recovered(name, watch);
            }
            let left = grace_ends.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stopping.wait(left.min(LOOK_EVERY)) {
                return false;
            }
        }
    }

    fn recovered(&self, name: &str, watch: &Watch) -> bool {
        for action in self.decide(name, watch, &Health::Well) {
            if let Action::Tell(change) = action {
                self.tell(name, watch, change, &Trouble::default());
            }
        }
        true
    }

    fn tell(&self, name: &str, watch: &Watch, change: Change, trouble: &Trouble) {
        let starts = locked(&self.state).memories.get(name).map_or(0, |m| m.starts.len());
        let news = News { name, change, trouble, starts };
        if change == Change::GaveUp || self.settings.interval.is_some() {
            complain(&format!("dwatch: {}", news.text()));
        } else {
            self.say(&news.text());
        }
        if self.settings.dry_run {
            return;
        }
        for failure in tell::all(&news, &self.config.notify, watch) {
            complain(&format!("dwatch: {failure}"));
        }
    }

    fn say(&self, text: &str) {
        if self.settings.verbose || self.settings.dry_run {
            // A watchdog goes on without a reader.
            let _ = writeln!(io::stdout(), "{text}");
        }
    }
}

/// What commands are told.
pub(super) fn environment(name: &str, trouble: &Trouble) -> Vec<(&'static str, String)> {
    vec![
        ("DWATCH_NAME", name.to_owned()),
        ("DWATCH_REASON", trouble.reason.clone()),
        ("DWATCH_COUNT", trouble.running.to_string()),
    ]
}

fn failure(ended: io::Result<Ended>) -> Option<String> {
    match ended {
        Ok(Ended::Status(0)) => None,
        Ok(Ended::Status(status)) => Some(format!("status {status}")),
        Ok(Ended::Killed) => Some("took too long and was killed".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

const LOOK_EVERY: Duration = Duration::from_millis(100);
