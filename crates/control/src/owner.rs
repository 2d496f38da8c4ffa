//! The owner of the instance: carries out requests, one after the other, and reports.
//!
//! Nothing here waits. What takes time is done by whoever asks (see [`asking`](crate::asking)), or
//! comes back as a task's result ([`Owner::next_cut`]).

use crate::beacon::{Beacon, NotReady};
use crate::certificates::{News, Renewal, Renewals};
use crate::counts::{Counts, Figures};
use crate::desk::{Answer, Asked, Desk, Listing, Request};
use crate::drain::Drain;
use crate::endings::Endings;
use crate::events::Followers;
use crate::hand_over::Places;
use crate::hand_over::successor::Farewell;
use crate::instance::Instance;
use crate::kernel::{Begun, Kernel, Turn};
use crate::lines::BACKEND_DRAINED;
use crate::lines::describe;
use crate::lookup::Dns;
use crate::manager::Reports;
use crate::probes::ProbeChange;
use crate::push::Pushing;
use crate::quality;
use crate::refusals::Refusals;
use crate::report::Reporter;
use crate::revisions::Revisions;
use crate::socket::AdminSocket;
use crate::status::View;
use crate::summary::Summary;
use crate::watch::Watch;
use balancing::{Ejector, QualityChange};
use config::{Command, CommandError, Drained, EventKind, MetricsDetail, Reply};
use dataplane::{Event, SessionInfo, Tap, Victims};
use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use sys::channel::Flag;
use sys::files::PidFile;
use telemetry::metrics::Detail;
use telemetry::{Level, Line, PredecessorRow, Status, Value};
use terms::{Address, CloseReason};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The control plane's state. One task has it.
pub(crate) struct Owner {
    pub instance: Instance,
    pub reporter: Box<dyn Reporter>,
    pub socket: AdminSocket,
    /// Reports to the service manager.
    pub reports: Reports,
    /// If the instance was started from a file.
    pub revisions: Option<Revisions>,
    pub watch: Option<Watch>,
    pub renewals: Renewals,
    /// Notified when the watched file has changed.
    pub watched: Arc<Notify>,
    dns: Dns,
    ejector: Ejector,
    pub followers: Followers,
    /// The sessions that ended last.
    endings: Endings,
    /// What operators watch.
    pub taps: Vec<Arc<Tap>>,
    pub counts: Counts,
    /// Sessions being cut at an operator's command.
    pub refusals: Refusals,
    cuts: JoinSet<(Asked, Result<Reply, CommandError>)>,
    /// When the start, or the last reload, will be over.
    pub settled_at: Option<Instant>,
    /// The way to this owner, for the sockets that are served.
    pub desk: Option<Desk>,
    /// If metrics are pushed.
    pub pushing: Option<Pushing>,
    /// Whether another process is taking over, so that no command may change anything.
    pub is_handing_over: bool,
    /// Whether another process is the instance now.
    pub has_left: bool,
    /// If that has ended in an orderly way: when the sessions that are left here end at the latest.
    pub finish_by: Option<Option<Instant>>,
    /// The way to tell the process that this one has replaced that this one ends.
    pub farewell: Option<Farewell>,
    /// Whether the old process serves again, so that this one has failed.
    pub is_retired: bool,
    /// The process that this one has replaced, as long as that is there.
    pub predecessor: Option<PredecessorRow>,
    /// Whether that is to stop guarding this one, because another process asks to take over.
    pub needs_no_guard: bool,
    /// As long as the files by which the instance is found are the old process's: what that sets if
    /// it is to stay so.
    pub others_names: Option<Arc<Flag>>,
    /// Places at backends that sessions of an old process have.
    pub places: Places,
    pub beacon: Beacon,
    /// The file with this process's number, if one is asked for.
    pub pid_file: Option<PidFile>,
    /// The kernel's forwarding, if a pool has asked for it.
    pub kernel: Option<Kernel>,
    /// Notified when the kernel's forwarding has news.
    pub kernel_news: Arc<Notify>,
    /// Why the kernel cannot forward, if a pool has asked for it in vain.
    no_kernel: Option<String>,
    /// Whether it has been announced that the instance will shut down.
    pub is_withdrawn: bool,
    /// If the instance is being drained.
    pub drain: Option<Drain>,
    /// Who waits for the end of the drain.
    pub await_drained: Vec<Answer<Drained>>,
}

/// How long after the start, or a reload, everything that belongs to it is over.
const SETTLED: Duration = Duration::from_secs(1);

impl Owner {
    pub fn new(
        instance: Instance,
        reporter: Box<dyn Reporter>,
        socket: AdminSocket,
        reports: Reports,
        revisions: Option<Revisions>,
    ) -> Self {
        let (dns, cuts) = (Dns::default(), JoinSet::new());
        Self {
            instance,
            reporter,
            socket,
            reports,
            revisions,
            watch: None,
            renewals: Renewals::default(),
            watched: Arc::default(),
            dns,
            ejector: Ejector::default(),
            followers: Followers::default(),
            endings: Endings::default(),
            taps: Vec::new(),
            counts: Counts::default(),
            refusals: Refusals::default(),
            cuts,
            settled_at: None,
            desk: None,
            pushing: None,
            is_handing_over: false,
            has_left: false,
            finish_by: None,
            farewell: None,
            is_retired: false,
            predecessor: None,
            needs_no_guard: false,
            others_names: None,
            places: Places::default(),
            beacon: Beacon::default(),
            pid_file: None,
            kernel: None,
            kernel_news: Arc::default(),
            no_kernel: None,
            is_withdrawn: false,
            drain: None,
            await_drained: Vec::new(),
        }
    }

    /// Carries out a request. Who asked may have gone: then the answer is dropped.
    pub fn handle(&mut self, request: Request) {
        match request {
            Request::Status(answer) => {
                let name = |listener| self.instance.listener_name(listener);
                let ended_sessions = self.endings.rows(sys::clock::now(), name);
                let status = Status { ended_sessions, ..self.status(&View::default()) };
                drop(answer.send(status));
            }
            Request::Figures(pool, answer) => drop(answer.send(self.figures(pool).map(Box::new))),
            Request::PushedFigures(answer) => drop(answer.send(self.pushed_figures())),
            Request::Pushed(result) => self.note_pushed(result),
            Request::Configs(answer) => {
                drop(answer.send(Box::new(self.instance.configs())));
            }
            Request::Sessions(query, answer) => {
                let listing = self.instance.session_filter(&query).map(|filter| {
                    let backends = filter.backends.as_ref();
                    let forwarded = self.kernel.as_ref().map(|it| it.list(backends, *query));
                    let filter = Arc::new(filter);
                    let sessions = self.instance.list(&filter);
                    let listeners = self.instance.listener_names();
                    Listing { filter, sessions, forwarded, listeners }
                });
                drop(answer.send(listing));
            }
            Request::Why(query, answer) => {
                drop(answer.send(self.instance.circumstances(&query)));
            }
            Request::Follow(query, answer) => drop(answer.send(self.followers.add(query))),
            Request::Tap(query, who, answer) => drop(answer.send(self.tap(*query, who))),
            Request::TapOver(who, asked, tally) => self.tap_over(&who, &asked, tally),
            Request::Pool(answer) => drop(answer.send(self.instance.pool(0))),
            Request::Resolver(answer) => drop(answer.send(self.dns.resolver())),
            Request::Command(asked) => self.command(asked),
            Request::Drained(answer) => {
                self.await_drained.retain(|it| !it.is_closed());
                self.await_drained.push(answer);
            }
            Request::Refused(who, why, answer) => {
                self.refuse(&who, &why);
                let _ = answer.send(());
            }
            Request::Instance(answer) => drop(answer.send(self.instance.brief())),
            Request::Readiness(answer) => drop(answer.send(self.readiness())),
            Request::Known(answer) => drop(answer.send(self.instance.known())),
            Request::Reloading(answer) => {
                self.reports.reloading();
                let _ = answer.send(());
            }
            Request::Reload(reload) => self.reload(*reload),
            Request::Reconfigure(config, answer) => {
                let result = self.instance.reconfigure(&config);
                self.note_country_error();
                drop(answer.send(result));
            }
            Request::HandOver(step) => self.hand_over(*step),
            Request::Observe(observe, answer) => {
                self.instance.observe(observe);
                let _ = answer.send(());
            }
        }
    }

    fn status(&self, view: &View) -> Status {
        let status = self.instance.status_in(view);
        let status = match &self.revisions {
            Some(revisions) => revisions.describe(status),
            None => status,
        };
        Status { drain_seconds: self.drain_seconds(), predecessor: self.predecessor, ..status }
    }

    /// What the metrics of all pools, or of one, are made of.
    pub fn figures(&self, pool: Option<String>) -> Result<Figures, CommandError> {
        let config = &self.instance.config;
        if let Some(name) = pool.as_ref().filter(|name| config.pool(name).is_none()) {
            return Err(CommandError::UnknownPool(name.clone()));
        }
        let pools =
            config.pools.iter().filter(|it| pool.as_ref().is_none_or(|name| *name == it.name));
        let detail = match config.process.metrics_detail {
            MetricsDetail::Auto => {
                let tiers = pools.flat_map(|pool| &pool.tiers);
                Detail::fitting(tiers.map(|tier| tier.backends.len()).sum())
            }
            MetricsDetail::Backend => Detail::Timings,
            MetricsDetail::Pool => Detail::Pools,
        };
        let (backends, timings) = (detail != Detail::Pools, detail == Detail::Timings);
        Ok(Figures {
            status: self.status(&View { pool, backends, addresses: false, timings }),
            counts: self.counts.row(self.reporter.lost_lines(), self.reporter.left_out()),
            detail,
            started: self.counts.started,
        })
    }

    /// Watches the files of certificates that are in use.
    pub fn watch_certificates(&mut self) {
        let ways = self.instance.certificates.ways(&self.instance.config);
        if let Err(error) = self.renewals.watch(ways) {
            let fields = [("error", Value::Text(&error))];
            self.note(Level::Error, "cannot watch the files of certificates", &fields);
        }
    }

    /// Uses the files of certificates that have changed.
    pub fn use_renewals(&mut self) {
        while let Some(news) = self.renewals.next() {
            match news {
                News::Renewed(renewal) => _ = self.renew(*renewal),
                News::LookOver => self.watch_certificates(),
            }
        }
    }

    /// Uses what the files of certificates have become, for sessions that begin from now on. Returns
    /// whether that is something new. After the last one, [`watch_certificates`] is due: it goes
    /// through all that are in use.
    ///
    /// [`watch_certificates`]: Self::watch_certificates
    pub fn renew(&mut self, Renewal { way, contents }: Renewal) -> bool {
        let files = way.files();
        let renewed = self.instance.renew(&way, contents);
        let is_new = matches!(renewed, Ok(true));
        match renewed {
            Ok(false) => {}
            Ok(true) => {
                self.note(Level::Info, "certificates renewed", &[("files", Value::Text(&files))]);
            }
            Err(error) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                let error = format!("{error}{cause}");
                let fields = [("files", Value::Text(&files)), ("error", Value::Text(&error))];
                let message = "certificates cannot be renewed; the earlier ones stay in use";
                self.note(Level::Error, message, &fields);
            }
        }
        is_new
    }

    fn command(&mut self, asked: Asked) {
        let is_allowed =
            !self.is_handing_over || matches!(asked.command, Command::KillSession { .. });
        let result = match is_allowed {
            true => self.instance.apply(&asked.command, &asked.addresses),
            false => Err(CommandError::HandingOver),
        };
        match (&result, &asked.command) {
            (Ok(_), Command::KillSession { session }) => {
                let session = *session;
                let forwarded = self.kernel.as_ref().and_then(|it| it.end_session(session));
                let counts = self.instance.cut(Victims::Session(session), CloseReason::Admin);
                self.cuts.spawn(async move {
                    let is_there = match forwarded {
                        Some(ended) => ended.await.unwrap_or(false),
                        None => counts.all().await.into_iter().sum::<usize>() > 0,
                    };
                    let unknown = CommandError::UnknownSession(session);
                    (asked, if is_there { Ok(Reply::Done) } else { Err(unknown) })
                });
            }
            (Ok(_), Command::Rebalance { pool, share_percent, seconds }) => {
                let over = Duration::from_secs((*seconds).into());
                let how = (over, CloseReason::Rebalance);
                let recall = self.instance.recall(pool.as_deref(), 0, *share_percent, how);
                let counts = self.instance.recall_sessions(&recall);
                self.cuts.spawn(async move {
                    let count = counts.all().await.into_iter().sum::<usize>();
                    let reply = if count > 0 { Reply::Done } else { Reply::Unchanged };
                    (asked, Ok(reply))
                });
            }
            (Ok(_), Command::Confirm {}) => {
                let result = self.confirm(&asked.who);
                self.conclude(asked, result);
            }
            (Ok(_), &Command::DrainAll { seconds, .. }) => {
                let by = asked.who.to_string();
                self.conclude(asked, result);
                self.drain_all(Duration::from_secs(seconds.into()), &by);
            }
            (Ok(_), Command::CancelDrainAll {}) => {
                let result = self.cancel_drain(&asked.who.to_string());
                self.conclude(asked, result);
            }
            (Ok(_), Command::Shutdown {}) => {
                self.give_drain_up();
                self.conclude(asked, result);
                self.socket.retire();
            }
            _ => self.conclude(asked, result),
        }
    }

    /// Waits for a cut to end and answers whoever asked for it; never returns while there is none.
    pub async fn next_cut(&mut self) {
        match self.cuts.join_next().await {
            Some(Ok((asked, result))) => self.conclude(asked, result),
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    /// Uses what a lookup of a backend's name found.
    pub fn use_addresses(&mut self, name: &str, addresses: &[Address]) {
        if !addresses.is_empty() && self.instance.set_addresses(name, addresses) {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            let addresses = addresses.join(" ");
            let fields = [("backend", Value::Text(&name)), ("addresses", Value::Text(&addresses))];
            self.note(Level::Info, "backend has new addresses", &fields);
        }
    }

    /// Uses what the prober has found, and reports what that changes.
    pub fn use_probes(&mut self) {
        // Thousands may change at once, and each cut or recall goes through all sessions.
        let mut cut = HashSet::new();
        let mut recalled: BTreeMap<String, usize> = BTreeMap::new();
        for found in self.instance.probes.take_news(sys::clock::now()) {
            let (level, message) = match found.change {
                ProbeChange::Down => (Level::Warn, "backend down"),
                ProbeChange::Up => (Level::Info, "backend up"),
                ProbeChange::Recovered => (Level::Info, "backend recovered"),
                ProbeChange::Declines => (Level::Info, "backend takes no new sessions"),
                ProbeChange::Accepts => (Level::Info, "backend takes new sessions again"),
                ProbeChange::NoProber => (Level::Error, "probes cannot be sent"),
                ProbeChange::NotRun => (Level::Error, "the command of a probe cannot be run"),
                ProbeChange::BrokerAgain => (Level::Warn, "commands of probes interrupted"),
                ProbeChange::NoBroker => (Level::Error, "commands of probes cannot be run"),
            };
            if let Some(id) = found.id {
                let why = found.why.as_ref().map(|why| format!(": {why}"));
                let what = format!("{}{}", word_for(&found.change), why.unwrap_or_default());
                self.instance.changes.note(id, what);
            }
            match (&found.change, found.id) {
                (ProbeChange::Down, Some(id))
                    if self.instance.ends_sessions_of_the_down(&found.pool) =>
                {
                    cut.insert(id);
                }
                (ProbeChange::Up | ProbeChange::Recovered, _) => {
                    let from = recalled.entry(found.pool.clone()).or_insert(found.tier + 1);
                    *from = (found.tier + 1).min(*from);
                }
                _ => {}
            }
            let names = [("pool", &found.pool), ("backend", &found.backend)];
            let names = names.into_iter().filter(|(_, name)| !name.is_empty());
            let mut fields: Vec<_> = names.map(|(key, name)| (key, Value::Text(name))).collect();
            if let Some(why) = &found.why {
                fields.push((found.field(), Value::Text(why)));
            }
            self.note(level, message, &fields);
        }
        // Each session that ends has a line in the log; nobody waits for their number.
        if !cut.is_empty() {
            // New sessions must go elsewhere first, because a client may reconnect at once.
            self.engage();
            self.kernel.iter_mut().for_each(|kernel| kernel.end_sessions(&cut));
            let whom = Victims::OfBackends(Arc::new(cut));
            drop(self.instance.cut(whom, CloseReason::BackendDown));
        }
        for (pool, from) in recalled {
            if let Some(over) = self.instance.returns_within(&pool) {
                let how = (over, CloseReason::BackendUp);
                let recall = self.instance.recall(Some(&pool), from, None, how);
                drop(self.instance.recall_sessions(&recall));
            }
        }
    }

    /// Whether [`Self::watch_quality`] is to be called now and then.
    pub fn watches_quality(&self) -> bool {
        self.instance.has_judged_pools || self.ejector.was_needed()
    }

    /// Looks at what sessions have come to, and ejects backends whose sessions fail.
    pub fn watch_quality(&mut self) {
        let (config, pools) = (&self.instance.config, &self.instance.pools);
        let probed = config.pools.iter().map(|it| it.checks.probe.is_some());
        let pools = pools.iter().map(|it| &**it).zip(probed);
        for (place, change) in self.ejector.turn(pools, sys::clock::now()) {
            self.report_quality(place, &change);
        }
    }

    fn report_quality(&mut self, place: usize, change: &QualityChange) {
        if let QualityChange::OnTrial(backend) = change {
            return self.instance.probes.hurry(backend.id);
        }
        let pool = self.instance.config.pools.get(place).map(|it| it.name.clone());
        let pool = pool.unwrap_or_default();
        if let Some((id, what)) = quality::word(change) {
            self.instance.changes.note(id, what);
        }
        quality::describe(&pool, change, &mut |line| {
            self.reporter.note(line);
            self.followers.tell(EventKind::Changes, line);
        });
        self.reporter.flush();
    }

    /// Stops listening for clients, and gives up the admin socket's name: the next instance can
    /// have both.
    pub fn shut_down(&mut self) {
        // Refused only if it has been done already.
        let _ = self.instance.apply(&Command::Shutdown {}, &[]);
        self.socket.retire();
    }

    /// How long sessions may go on now that the instance is ending.
    pub fn time_to_finish(&self) -> Option<Duration> {
        match (self.finish_by, &self.drain) {
            (Some(until), _) => Some(until?.saturating_duration_since(Instant::now())),
            (None, Some(drain)) => Some(drain.time_left(Instant::now())),
            (None, None) => self.instance.config.shutdown_limit().filter(|_| !self.is_retired),
        }
    }

    /// Whether clients should be sent here.
    pub fn readiness(&self) -> Result<(), NotReady> {
        match (self.is_withdrawn, &self.drain) {
            (true, _) => Err(NotReady::Ending),
            (false, Some(_)) => Err(NotReady::Draining),
            (false, None) => self.instance.readiness(),
        }
    }

    /// Has the interface say whether clients should be sent here, and reports what is new.
    pub fn show_readiness(&mut self) {
        if !self.beacon.is_lit() {
            return;
        }
        if self.instance.is_leaving {
            return self.beacon.forget(); // another process has it now
        }
        let readiness = self.readiness();
        let why = readiness.as_ref().err().map(ToString::to_string).unwrap_or_default();
        match self.beacon.show(readiness.is_ok()) {
            Ok(false) => {}
            Ok(true) if readiness.is_ok() => self.note(Level::Info, "ready for clients", &[]),
            Ok(true) => {
                let fields = [("why", Value::Text(&why))];
                self.note(Level::Warn, "not ready for clients", &fields);
            }
            Err(error) => {
                let fields = [("error", Value::Text(&error))];
                self.note(Level::Error, "the ready interface cannot be changed", &fields);
            }
        }
    }

    /// Uses the helper that was begun before privileges were given up. What the kernel has counted so
    /// far `is_inherited` if another process hands its own counters over.
    pub fn use_helper(&mut self, helper: Begun, is_inherited: bool) {
        match helper {
            Begun::Unwanted => {}
            Begun::Impossible(why) => self.no_kernel = Some(why),
            Begun::Running(helper) => {
                let notify = Arc::clone(&self.kernel_news);
                match Kernel::new(helper, notify, is_inherited) {
                    Ok(kernel) => self.kernel = Some(kernel),
                    Err(error) => self.no_kernel = Some(error.to_string()),
                }
            }
        }
    }

    /// Has the kernel forward what it can in the present state, and reports what is new.
    pub fn engage(&mut self) {
        if let Some(why) = self.no_kernel.take() {
            let fields = [("error", Value::Text(&why))];
            self.note(Level::Warn, "the kernel cannot forward; this process serves", &fields);
        }
        let Some(kernel) = &mut self.kernel else { return };
        if self.is_handing_over || self.instance.is_leaving {
            return; // another process has it now
        }
        for Turn { listener, done } in kernel.engage(&self.instance, self.predecessor.is_none()) {
            let mut fields = vec![("listener", Value::Text(&listener))];
            match &done {
                Ok(approximate) => {
                    if !approximate.is_empty() {
                        fields.push(("approximate", Value::Text(approximate)));
                    }
                    self.note(Level::Info, "the kernel forwards", &fields);
                }
                Err(why) => {
                    fields.push(("why", Value::Text(why)));
                    let all = &self.instance.config.listeners;
                    let is_segment =
                        all.iter().any(|it| it.segment.is_some() && it.bound_to() == listener);
                    let message = match is_segment {
                        true => "the kernel does not forward; nobody serves",
                        false => "the kernel does not forward; this process serves",
                    };
                    self.note(Level::Warn, message, &fields);
                }
            }
        }
    }

    /// Uses what the helper has answered, and what the kernel has said.
    /// Returns what has become of backends and sessions.
    pub fn use_kernel_news(&mut self) -> Vec<Event> {
        let workers = self.instance.plane.workers();
        let Some(kernel) = &mut self.kernel else { return Vec::new() };
        let is_different = kernel.use_news(workers);
        let (drained, outcomes) = (kernel.take_drained(), kernel.take_outcomes());
        let (ended, lost) = kernel.take_ended();
        // What has been left to another process is none of its own.
        self.instance.forwarded = if self.has_left { 0 } else { kernel.open() };
        for backend in drained {
            self.note(Level::Info, BACKEND_DRAINED, &[("backend", Value::Text(&backend))]);
        }
        if is_different {
            self.engage();
        }
        let now = sys::clock::now();
        let outcomes = outcomes.into_iter();
        let outcomes =
            outcomes.filter_map(|(id, outcome)| self.instance.note_outcome(id, outcome, now));
        let mut events: Vec<_> = outcomes.collect();
        if !self.has_left {
            if lost > 0 {
                self.report(&[], lost);
            }
            ended.iter().for_each(|it| self.instance.count_forwarded(it));
            events.extend(ended.into_iter().map(Event::Ended));
        }
        events
    }

    /// Removes the kernel's rules, or leaves them to the process that takes over.
    pub fn disengage(&mut self) {
        match self.kernel.take() {
            Some(kernel) if self.has_left && !self.is_retired => kernel.leave(),
            Some(kernel) => kernel.end(),
            None => {}
        }
    }

    /// Answers a request to shut down, which follows.
    pub fn agree(&mut self, request: Request) {
        match request {
            Request::Command(asked) => self.conclude(asked, Ok(Reply::Done)),
            request => self.handle(request),
        }
    }

    /// Reports the status of the instance to the service manager, if it has changed.
    pub fn report_status(&mut self) {
        if self.reports.are_heard() {
            let drain_seconds = self.drain_seconds();
            let summary = Summary { drain_seconds, ..self.instance.summary() };
            self.reports.status(&summary.to_string());
        }
    }

    /// Has the service manager keep the listening sockets for the next process, if it does such a
    /// thing. To be called whenever they may have changed.
    pub fn have_sockets_kept(&mut self) {
        // As long as the process before is there, the manager hears only that.
        if self.reports.has_store() && self.predecessor.is_none() {
            self.reports.keep(self.instance.own_sockets());
        }
    }

    /// Has [`Self::settle`] called when the start, or a reload, is over. Another reload in the
    /// meantime begins the wait anew.
    pub fn settle_later(&mut self) {
        self.settled_at = Some(Instant::now() + SETTLED);
    }

    /// Releases what only the start, or a reload, has needed.
    pub fn settle(&mut self) {
        self.settled_at = None;
        self.have_sockets_kept();
        self.instance.forget_departed();
        sys::process::release_idle_memory();
    }

    /// Reports a batch of events, and the number of those that were dropped before it.
    pub fn report(&mut self, batch: &[Event], dropped: usize) {
        let now = sys::clock::now();
        for event in batch {
            self.instance.changes.note_event(event);
            self.counts.note_event(event);
            self.endings.note_event(event, now);
            self.reporter.event(event, &self.instance);
            // Who follows the ends of sessions has all of them.
            if !self.followers.are_none() && !matches!(event, Event::Started(_)) {
                let is_end = matches!(event, Event::Ended(_));
                let kind = if is_end { EventKind::Ends } else { EventKind::Changes };
                let followers = &mut self.followers;
                describe(event, &self.instance, &mut |line| followers.tell(kind, line));
            }
        }
        if dropped > 0 {
            self.counts.lost_events += dropped as u64;
            self.reporter.dropped(dropped as u64);
        }
        self.reporter.flush();
    }

    /// Reports sessions that have come to one of the ages at which the log mentions them.
    pub fn report_aged(&mut self, sessions: &[SessionInfo]) {
        sessions.iter().for_each(|it| self.reporter.aged(it, &self.instance));
        self.reporter.flush();
    }

    /// Reports, once, that a country database is needed and missing.
    pub fn note_country_error(&mut self) {
        if let Some(error) = self.instance.take_country_error() {
            let message = "no country database: country rules match nobody";
            self.note(Level::Error, message, &[("error", Value::Text(&error))]);
        }
    }

    pub fn note(&mut self, level: Level, message: &str, fields: &[(&str, Value<'_>)]) {
        let line = Line { level, message, fields };
        self.reporter.note(&line);
        self.reporter.flush();
        self.followers.tell(EventKind::Changes, &line);
    }
}

fn word_for(change: &ProbeChange) -> &'static str {
    match change {
        ProbeChange::Down => "down",
        ProbeChange::Up => "up",
        ProbeChange::Recovered => "recovered",
        ProbeChange::Declines => "takes no new sessions",
        ProbeChange::Accepts => "takes new sessions again",
        ProbeChange::NoProber
        | ProbeChange::NotRun
        | ProbeChange::BrokerAgain
        | ProbeChange::NoBroker => "not probed",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::desk::Who;
    use crate::instance::tests::{config, start};
    use tokio::sync::oneshot;

    pub(crate) struct Silent;

    impl Reporter for Silent {
        fn event(&mut self, _: &Event, _: &Instance) {}
        fn note(&mut self, _: &Line<'_>) {}
    }

    #[tokio::test]
    async fn a_kill_under_way_holds_up_no_other_request() {
        let dir = tempfile::tempdir().unwrap();
        let instance = start(config(&dir.path().join("l"), "127.0.0.1:1"));
        let socket = AdminSocket::claim(&dir.path().join("admin"), None).unwrap();
        let mut owner = Owner::new(instance, Box::new(Silent), socket, Reports::default(), None);
        let (answer, mut killed) = oneshot::channel();
        let command = Command::KillSession { session: 7 };
        let (addresses, who) = (Vec::new(), Who::Companion);
        owner.handle(Request::Command(Asked { command, addresses, who, answer }));
        assert!(killed.try_recv().is_err(), "the workers have not answered yet");
        let (answer, mut status) = oneshot::channel();
        owner.handle(Request::Status(answer));
        assert_eq!(status.try_recv().unwrap().listeners.len(), 1);
        owner.next_cut().await;
        assert_eq!(killed.try_recv(), Ok(Err(CommandError::UnknownSession(7))));
    }
}
