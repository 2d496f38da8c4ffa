//! The control plane while it serves, from the first line of the log to the last.

use crate::admin;
use crate::ageing::Ageing;
use crate::answers::Answers;
use crate::backlog::Backlog;
use crate::beacon::LOOK_EVERY;
use crate::desk::{Desk, Request, Who};
use crate::drain::Drain;
use crate::keeper::{Keeper, News};
use crate::manager::Watchdog;
use crate::names::{Answer, NameKeeper};
use crate::owner::Owner;
use crate::pages::{self, Site};
use crate::revisions::Revisions;
use crate::signals::{Came, Caught, Exit};
use crate::state::Remark;
use crate::tcp::TcpSocket;
use balancing::{BackendChange, Tier};
use config::CommandError;
use dataplane::{Event, RollCall, SessionInfo, Victims};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use telemetry::{Level, Value};
use terms::CloseReason;
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::time::{
    Instant, Interval, MissedTickBehavior, interval, interval_at, sleep, sleep_until, timeout,
};

/// The control plane at work: everything that reaches the owner of the instance.
pub(crate) struct Serving {
    owner: Owner,
    requests: Receiver<Request>,
    backlog: Backlog,
    caught: Caught,
    /// A signal has asked for a reload.
    hup: Arc<Notify>,
    names: NameKeeper,
    watchdog: Watchdog,
    roll_call: RollCall,
    keeper: Keeper,
    /// The prober has news.
    probed: Arc<Notify>,
    renewed: Arc<Notify>,
    ticks: Interval,
    /// When to look at the quality of sessions, if anybody wants to know.
    looks: Interval,
    /// When the ready interface is brought up to date, whatever happens.
    ready_looks: Option<Interval>,
    /// The kernel's forwarding has news.
    kernel_news: Arc<Notify>,
    /// When what the kernel does is brought up to date, whatever happens.
    kernel_looks: Option<Interval>,
    /// Sessions that have come to certain ages, if the log is to mention them.
    ageing: Option<Ageing>,
    /// Whether a command has asked to shut down, or not to wait any longer before that.
    is_ending: bool,
}

/// How the process ends.
pub(crate) enum Ending {
    Status(u8),
    /// By this signal, as if it had not been caught.
    Signal(i32),
}

/// What a personality does besides serving.
pub(crate) type Beside = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Serving {
    /// Needs a runtime. `requests` are those from copies of `desk`.
    pub fn new(
        owner: Owner,
        (desk, requests): (Desk, Receiver<Request>),
        backlog: Backlog,
        caught: Caught,
        (watchdog, keeper): (Watchdog, Keeper),
    ) -> Self {
        let ticks = every(TICK);
        let hup = Arc::new(Notify::new());
        tokio::spawn(reload_on_signal(Arc::clone(&hup), desk.clone()));
        tokio::spawn(reload_watched(Arc::clone(&owner.watched), desk.clone()));
        let probed = owner.instance.probes.notify();
        let renewed = Arc::clone(&owner.renewals.notify);
        let (names, roll_call) = (NameKeeper::new(desk), owner.instance.plane.roll_call());
        let ready_looks = owner.beacon.is_lit().then(|| interval(LOOK_EVERY));
        let kernel_news = Arc::clone(&owner.kernel_news);
        let kernel_looks = owner.kernel.is_some().then(|| interval(LOOK_EVERY));
        let ageing = owner.instance.config.process.log_every.map(Ageing::new);
        Self {
            owner,
            requests,
            backlog,
            caught,
            hup,
            names,
            watchdog,
            roll_call,
            keeper,
            probed,
            renewed,
            ticks,
            looks: every(QUALITY_LOOK),
            ready_looks,
            kernel_news,
            kernel_looks,
            ageing,
            is_ending: false,
        }
    }

    /// Reports the start and opens the admin socket. `unusable_sources` are the listeners whose
    /// `--source` cannot be used, with the address and the reason.
    pub fn open(
        &mut self,
        desk: Desk,
        metrics: Option<TcpSocket>,
        remarks: &[Remark],
        unusable_sources: &[(String, IpAddr, io::Error)],
    ) {
        for Remark { level, message, fields } in remarks {
            let fields: Vec<_> =
                fields.iter().map(|(name, text)| (*name, Value::Text(text))).collect();
            self.owner.note(*level, message, &fields);
        }
        self.log_start(unusable_sources);
        self.owner.keep_watch();
        self.owner.watch_certificates();
        if let Some(socket) = metrics {
            self.note_address(&socket, "metrics");
            let site = Site { desk: desk.clone(), roll_call: self.roll_call.clone() };
            tokio::spawn(socket.serve(pages::alone(site)));
        }
        if let Some((socket, tokens)) = self.owner.socket.take_tcp() {
            self.note_address(&socket, "admin socket");
            let site = Site { desk: desk.clone(), roll_call: self.roll_call.clone() };
            tokio::spawn(socket.serve(admin::for_tokens(site, tokens)));
        }
        self.owner.desk = Some(desk);
        self.owner.serve_admin();
        self.owner.keep_pushing();
        self.owner.engage();
    }

    /// Reports where something is served by TCP.
    fn note_address(&mut self, socket: &TcpSocket, what: &str) {
        match (socket, socket.address()) {
            (TcpSocket::Taken(address), _) => {
                let message =
                    format!("the address of the {what} is in use; trying again until it is free");
                self.owner.note(Level::Warn, &message, &[("address", Value::Text(address))]);
            }
            (TcpSocket::Listening(_), Some(address)) => {
                self.owner.note(Level::Info, what, &[("address", Value::Text(&address))]);
            }
            (TcpSocket::Listening(_), None) => {}
        }
    }

    /// Reports the sockets that the service manager has passed and no listener has.
    pub fn note_unwanted(&mut self, sockets: &[String]) {
        for socket in sockets {
            let message = "closed, because no listener has its address";
            self.owner.note(Level::Warn, message, &[("socket", Value::Text(socket))]);
        }
    }

    /// Reports to the service manager that the instance is ready. In the background, the process
    /// that started this one does so instead.
    pub fn report_ready(&mut self) {
        self.owner.reports.ready();
        self.owner.report_status();
    }

    /// Serves until a signal or a command shuts the instance down, and its sessions have ended.
    pub async fn until_the_end(mut self, exit: Exit, companion: Option<Beside>) -> Ending {
        // It goes on to the end: it may be in the middle of a command, such as the one to shut down.
        if let Some(companion) = companion {
            tokio::spawn(companion);
        }
        self.owner.settle_later();
        let ending = self.until_shutdown(exit).await;
        self.owner.beacon.put_out(); // unless it has been done, or another process has it
        self.owner.reports.stopping(self.owner.time_to_finish());
        self.owner.report_status();
        let is_urgent = self.take_old_along().await;
        match self.owner.has_left && !self.owner.is_retired && self.owner.finish_by.is_none() {
            // What could not move has had its time.
            true if self.owner.instance.session_count() > 0 => drop(self.cut().await),
            true => {}
            // As has what was drained. The workers' answers come after all earlier ones.
            false if self.owner.drain.is_some() => {
                let cut = self.cut().await;
                self.owner.report_drained(cut);
            }
            false if is_urgent => drop(self.cut().await),
            false => self.drain().await,
        }
        self.owner.disengage();
        self.finish().await;
        ending
    }

    /// Has the process that this one has replaced end, too, if that is still there, and waits until it
    /// moves nothing more here. Returns whether a signal has ended the wait.
    async fn take_old_along(&mut self) -> bool {
        let limit = self.owner.time_to_finish();
        if !self.owner.farewell.as_ref().is_some_and(|it| it.say(limit)) {
            return false;
        }
        let mut wait = pin!(sleep(FINAL_WITHIN));
        while self.owner.farewell.as_ref().is_some_and(|it| !it.is_settled) {
            tokio::select! {
                () = &mut wait => return false,
                signal = self.turn() => if signal.is_some() { return true },
            }
        }
        false
    }

    async fn until_shutdown(&mut self, exit: Exit) -> Ending {
        loop {
            if let Some(number) = self.turn().await {
                let fields = [("signal", Value::Count(number as u64))];
                self.owner.note(Level::Info, "signal received, shutting down", &fields);
                self.shut_down().await;
                return match exit {
                    Exit::Status => Ending::Status(0),
                    Exit::Signal => Ending::Signal(number),
                };
            }
            if self.is_ending {
                self.shut_down().await;
            } else if self.owner.is_drained() {
                self.keep_last().await;
                self.owner.shut_down();
            }
            if self.owner.instance.is_shutting_down() {
                return Ending::Status(u8::from(self.owner.is_retired));
            }
        }
    }

    /// Stops listening, after `pre-stop` unless clients are not accepted anyway.
    async fn shut_down(&mut self) {
        if !self.owner.instance.is_paused {
            self.withdraw().await;
        }
        self.owner.give_drain_up();
        self.keep_last().await;
        self.owner.shut_down();
    }

    /// Says that the instance will shut down, and goes on serving until clients are sent elsewhere.
    /// A further signal or command ends the wait.
    async fn withdraw(&mut self) {
        self.owner.is_withdrawn = true;
        // At once: the kernel passes changes of a carrier on only once a second.
        self.owner.beacon.put_out();
        self.is_ending = false;
        let mut wait = pin!(sleep(self.owner.instance.config.process.pre_stop()));
        while !self.is_ending && !self.owner.instance.is_shutting_down() {
            tokio::select! {
                () = &mut wait => return,
                signal = self.turn() => if signal.is_some() { return },
            }
        }
    }

    /// Waits for one thing to happen, and handles it; nothing is lost if this is dropped while it
    /// waits. Returns the number of a signal that shuts down.
    async fn turn(&mut self) -> Option<i32> {
        let Self {
            owner,
            requests,
            backlog,
            caught,
            hup,
            names,
            watchdog,
            roll_call,
            keeper,
            probed,
            renewed,
            ticks,
            looks,
            ready_looks,
            kernel_news,
            kernel_looks,
            ageing,
            is_ending: _,
        } = self;
        let watches_quality = owner.watches_quality();
        let settled_at = owner.settled_at;
        let drain_due = owner.drain.as_ref().and_then(Drain::due);
        let revert_at = owner.revisions.as_ref().and_then(Revisions::revert_at);
        tokio::select! {
            Some(request) = requests.recv() => self.handle(request).await,
            news = keeper.next() => self.keep(news),
            () = owner.next_cut() => {}
            () = renewed.notified() => owner.use_renewals(),
            Some(batch) = backlog.next() => self.report(&batch),
            found = names.next() => {
                if let Some((name, answer)) = found {
                    match answer {
                        Answer::Addresses(addresses) => owner.use_addresses(&name, &addresses),
                        Answer::Backends(found) => owner.use_discovered(&name, found),
                    }
                    keeper.note_change();
                }
                names.look_up_due(|| owner.instance.named_backends());
            }
            () = probed.notified() => {
                owner.use_probes();
                keeper.note_change();
                owner.engage();
            }
            _ = ticks.tick() => {
                owner.reporter.tick(&owner.instance);
                owner.report_status();
                owner.instance.certificates.renew_tickets(sys::clock::now());
            }
            _ = looks.tick(), if watches_quality => owner.watch_quality(),
            () = watchdog.all_answered(roll_call.workers(), || call(roll_call)) => {
                owner.reports.alive();
            }
            () = reached(settled_at) => owner.settle(),
            () = reached(drain_due) => owner.drain_on(),
            () = reached(revert_at) => {
                keeper.note_change();
                owner.revert();
            }
            came = caught.next() => match came {
                Came::Reload => hup.notify_one(),
                Came::Reopen => owner.reporter.reopen(),
                Came::Ignored(line) => owner.note(Level::Info, line, &[]),
                Came::ShutDown(number) => return Some(number),
            },
            () = passed(ready_looks) => {}
            () = passed(kernel_looks) => owner.engage(),
            () = kernel_news.notified() => {
                let events = owner.use_kernel_news();
                if !events.is_empty() {
                    self.report(&events);
                }
            }
            Some((found, ageing)) = aged(ageing) => match found {
                Some(sessions) => owner.report_aged(&sessions),
                None => ageing.look(&owner.instance),
            },
        }
        self.owner.show_readiness();
        None
    }

    /// Carries out a request. Only one that shuts the instance down takes time, and is not dropped:
    /// see [`Self::until_shutdown`].
    async fn handle(&mut self, request: Request) {
        if request.may_change_state() {
            self.keeper.note_change();
        }
        if request.shuts_down() && !self.owner.instance.is_shutting_down() {
            let waits = !self.owner.instance.config.process.pre_stop().is_zero();
            if waits && !self.owner.is_handing_over && !self.owner.instance.is_paused {
                self.is_ending = true;
                return self.owner.agree(request);
            }
            self.keep_last().await;
        }
        let may_change_state = request.may_change_state();
        self.owner.handle(request);
        if may_change_state {
            self.owner.engage();
        }
    }

    /// Waits for sessions to end, for as long as configured; for ever if they had moved here in an
    /// upgrade that failed then. A further signal ends the wait.
    async fn drain(&mut self) {
        let deadline = self.owner.time_to_finish().map(|limit| Instant::now() + limit);
        // What the kernel forwards is another process's after an upgrade.
        if self.owner.finish_by.is_none() {
            self.count_forwarded().await;
        }
        let sessions = self.owner.instance.session_count();
        if sessions > 0 {
            let path = self.owner.socket.path().display().to_string();
            let fields =
                [("sessions", Value::Count(sessions as u64)), ("admin", Value::Text(&path))];
            let has_admin = self.owner.finish_by.is_none();
            let fields = if has_admin { &fields[..] } else { &fields[..1] };
            self.owner.note(Level::Info, "waiting for open sessions to end", fields);
        }
        let mut looks = interval(DRAIN_LOOK);
        while self.owner.instance.session_count() > 0 {
            let again = tokio::select! {
                signal = self.turn() => signal.is_some(),
                _ = looks.tick() => false,
            };
            if again || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.cut().await;
                return;
            }
        }
    }

    /// Has the kernel take no new sessions, and waits until those are counted that it forwards.
    async fn count_forwarded(&mut self) {
        self.owner.engage();
        let Some(kernel) = &self.owner.kernel else { return };
        let begin = std::time::Instant::now();
        kernel.count_open();
        let mut wait = pin!(sleep(COUNT_WITHIN));
        while let Some(kernel) = &self.owner.kernel
            && !kernel.has_counted_open_since(begin)
        {
            tokio::select! {
                () = &mut wait => return,
                _ = self.turn() => {}
            }
        }
    }

    /// Ends all sessions, and returns how many there were.
    async fn cut(&mut self) -> usize {
        self.report_waiting();
        let mut counts = pin!(self.owner.instance.cut(Victims::All, CloseReason::Shutdown).all());
        let counts = loop {
            tokio::select! {
                counts = &mut counts => break counts,
                _ = self.turn() => {}
            }
        };
        // With the rules, those end that the kernel forwards.
        let count = counts.into_iter().sum::<usize>() + self.owner.instance.forwarded;
        if count > 0 || self.owner.drain.is_none() {
            let fields = [("sessions", Value::Count(count as u64))];
            self.owner.note(Level::Warn, "shutdown cut sessions that were still open", &fields);
        }
        count
    }

    async fn finish(&mut self) {
        self.report_waiting();
        sleep(DRAIN_LOOK).await; // the last sessions' lines are on their way
        self.report_waiting();
        self.owner.note(Level::Info, "stopped", &[]);
        self.owner.followers.finish().await;
        self.owner.reporter.finish();
        self.owner.socket.release();
    }

    fn log_start(&mut self, unusable_sources: &[(String, IpAddr, io::Error)]) {
        let owner = &mut self.owner;
        owner.note_country_error();
        for (listener, source, error) in unusable_sources {
            let fields = [
                ("listener", Value::Text(listener)),
                ("source", Value::Text(source)),
                ("error", Value::Text(error)),
            ];
            let message = "source address unusable; the system chooses one while that is so";
            owner.note(Level::Warn, message, &fields);
        }
        let workers = owner.instance.plane.sessions_by_worker().len() as u64;
        let called = |config: &config::Listener| owner.instance.pool_called(&config.pool);
        let listeners = owner.instance.config.listeners.iter();
        let listeners: Vec<_> = listeners.map(|it| (it.bound_to(), called(it))).collect();
        for (listener, pool) in listeners {
            let backends = listed(&pool.tiers);
            let fields = [
                ("listener", Value::Text(&listener)),
                ("backends", Value::Text(&backends)),
                ("workers", Value::Count(workers)),
                ("pid", Value::Count(std::process::id().into())),
            ];
            owner.note(Level::Info, "listening", &fields);
        }
        let pools = owner.instance.config.pools.iter().zip(&owner.instance.pools);
        let pools: Vec<_> =
            pools.map(|(config, pool)| (config.name.clone(), Arc::clone(pool))).collect();
        for (name, pool) in &pools {
            let mut backends = pool.backends().peekable();
            if backends.peek().is_some() && backends.all(|(_, _, it)| it.addresses.is_empty()) {
                let fields = [("pool", Value::Text(name))];
                let message = "pool has no address: it serves nobody until a name resolves";
                owner.note(Level::Warn, message, &fields);
            }
        }
        for (_, _, backend) in pools.iter().flat_map(|(_, pool)| pool.backends()) {
            if backend.addresses.is_empty() {
                let fields = [("backend", Value::Text(&backend.name))];
                owner.note(Level::Warn, "backend does not resolve; trying again", &fields);
            }
        }
        let path = owner.socket.path().display().to_string();
        owner.note(Level::Info, "admin socket", &[("path", Value::Text(&path))]);
    }

    fn report_waiting(&mut self) {
        for batch in self.backlog.waiting() {
            self.report(&batch);
        }
    }

    fn keep(&mut self, news: News) {
        match news {
            News::Due if self.owner.instance.is_leaving => {} // the file is another process's
            News::Due => {
                let state = self.owner.instance.note_state(&self.keeper.noted);
                self.keeper.save(state, self.owner.instance.clients());
            }
            News::Failed(path, error) => {
                let path = path.display().to_string();
                let fields = [("path", Value::Text(&path)), ("error", Value::Text(&error))];
                let message = "state cannot be written: a restart will not know what changes now";
                self.owner.note(Level::Warn, message, &fields);
            }
            News::WritesAgain(path) => {
                let fields = [("path", Value::Text(&path.display().to_string()))];
                self.owner.note(Level::Info, "state is written again", &fields);
            }
        }
    }

    /// Writes the state for the next instance, before that can begin.
    async fn keep_last(&mut self) {
        if self.owner.instance.is_leaving {
            return; // the file is another process's
        }
        let state = self.owner.instance.note_state(&self.keeper.noted);
        self.keeper.save_last(state, self.owner.instance.clients()).await;
    }

    fn report(&mut self, batch: &[Event]) {
        let dropped = self.backlog.take_dropped();
        let is_news =
            |event: &Event| matches!(event, Event::Backend { .. } | Event::ConnectFailed(_));
        let is_news = dropped > 0 || batch.iter().any(is_news);
        if is_news {
            self.keeper.note_change();
        }
        self.owner.report(batch, dropped);
        if is_news {
            self.owner.engage();
        }
        for event in batch {
            match event {
                Event::ConnectFailed(backend) => {
                    self.names.connect_failed(&backend.name);
                    for name in self.owner.instance.discoveries.of_backend(&backend.name) {
                        self.names.connect_failed(name);
                    }
                }
                Event::Backend { backend, change: BackendChange::Quarantined, .. } => {
                    self.owner.instance.probes.hurry(backend.id);
                }
                _ => {}
            }
        }
    }
}

/// Reloads the configuration file whenever a signal has `asked` for it; further signals during a reload
/// are one.
async fn reload_on_signal(asked: Arc<Notify>, desk: Desk) {
    loop {
        asked.notified().await;
        // What came of it is in the log.
        let _ = desk.reload(Who::Signal, None).await;
    }
}

/// Reloads the configuration file whenever it has `changed`. If it was refused for another reason than
/// its text, it is tried again: the rest of a certificate may come later, or an address become free.
async fn reload_watched(changed: Arc<Notify>, desk: Desk) {
    loop {
        changed.notified().await;
        let mut pause = RETRY_PAUSES.0;
        while let Err(CommandError::NotReloadable(_) | CommandError::HandingOver) =
            desk.reload(Who::Watch, None).await
        {
            match timeout(pause, changed.notified()).await {
                Ok(()) => pause = RETRY_PAUSES.0,
                Err(_) => pause = RETRY_PAUSES.1.min(pause * 2),
            }
        }
    }
}

/// The first and the longest pause before a watched file that was refused is tried again.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

fn every(time: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + time, time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Waits for a point in time; for ever, if there is none.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The backends as on a command line; of many only the first.
fn listed(tiers: &[Tier]) -> String {
    let mut listed = String::new();
    let mut left = LISTED_MAX;
    for (index, tier) in tiers.iter().enumerate() {
        let shown = &tier.backends[..tier.backends.len().min(left)];
        left -= shown.len();
        if index > 0 && !shown.is_empty() {
            listed += "! ";
        }
        for backend in shown {
            listed += &backend.name;
            listed.push(' ');
        }
    }
    let all = tiers.iter().map(|tier| tier.backends.len()).sum::<usize>();
    match all - (LISTED_MAX - left) {
        0 => listed.truncate(listed.trim_end().len()),
        more => listed += &format!("and {more} more"),
    }
    listed
}

/// Waits for the next tick; for ever, if there are none.
async fn passed(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}

/// Waits for what [`Ageing::next`] returns; nothing, if no ages are looked for.
async fn aged(ageing: &mut Option<Ageing>) -> Option<(Option<Vec<SessionInfo>>, &mut Ageing)> {
    let ageing = ageing.as_mut()?;
    Some((ageing.next().await, ageing))
}

/// Asks every worker for a sign of life.
fn call(roll_call: &RollCall) -> Answers<()> {
    let (reply, answers) = Answers::new();
    roll_call.begin(reply);
    answers
}

/// How often the reporter writes what it has held back, and the service manager gets the status.
const TICK: Duration = Duration::from_secs(3);

/// How often the quality of sessions is looked at.
const QUALITY_LOOK: Duration = Duration::from_millis(250);

/// How many backends are named when a listener starts.
const LISTED_MAX: usize = 16;

/// How long the count of the sessions that the kernel forwards may take at the end.
const COUNT_WITHIN: Duration = Duration::from_secs(2);

/// How long the process before may take to move nothing more: longer than it waits for an answer.
const FINAL_WITHIN: Duration = Duration::from_secs(12);

/// How often to check whether the last session has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
