//! A start: first everything that can fail, then the steps that make the process a daemon, in
//! order.

use crate::backlog::Backlog;
use crate::beacon::Beacon;
use crate::bind::{Sockets, StartError, listen};
use crate::broker;
use crate::calls::Caller;
use crate::canary;
use crate::certificates::{self, Certificates};
use crate::companion::Companion;
use crate::countries::CountryBook;
use crate::desk::Desk;
use crate::discoveries::Discoveries;
use crate::first_answers::FirstAnswers;
use crate::first_names::FirstNames;
use crate::hand_over::error::TakeOverError;
use crate::hand_over::restore;
use crate::hand_over::successor::{Predecessor, Report};
use crate::instance::{Bound, Instance};
use crate::keeper::Keeper;
use crate::kernel::Begun;
use crate::loops;
use crate::manager::{PassedSockets, ServiceManager, Watchdog, name_of};
use crate::operator::Operator;
use crate::origin::{ContentHash, Origin};
use crate::owner::Owner;
use crate::probes::Probes;
use crate::publish::refuse_duplicates;
use crate::report::Reporter;
use crate::revisions::Revisions;
use crate::roles::Roles;
use crate::serving::{Ending, Serving};
use crate::signals::{Caught, Signals};
use crate::snapshot::{self, first_pool};
use crate::socket::AdminSocket;
use crate::state::{Kept, StatePlace};
use crate::tcp::TcpSocket;
use balancing::Pool;
use config::{Bind, Config, Host, Ids, Process};
use dataplane::{DataPlane, Mover, Observe, Options, RollCall, Settings};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use sys::files::{OwnFile, PidFile};
use sys::process::{Background, Directory, Keep, Parting, Stream, User};
use sys::signals::HeldSignals;
use telemetry::Level;
use terms::{Instant, Timeouts};
use tokio::signal::unix::SignalKind;

/// What a personality requires besides its configuration.
pub struct Setup {
    /// The configuration of listeners and the process.
    pub config: Config,
    /// The path of the admin socket.
    pub admin: PathBuf,
    /// The reporter of what happens.
    pub reporter: Box<dyn Reporter>,
    /// What is observed besides ended sessions.
    pub observe: Observe,
    /// What signals mean.
    pub signals: Signals,
    /// The working directory of a process in the background.
    pub directory: Directory,
    /// Whether the start fails if a backend is one of the listening addresses. The classics
    /// document examples that refer to their own port.
    pub refuse_loops: bool,
    /// Whether the start fails if there is one pool, and none of its names can be resolved.
    pub refuse_unresolved: bool,
    /// Where the state is kept over restarts, if at all.
    pub state: Option<StatePlace>,
    /// The file from which `config` was read, if it was, and the hash of its text.
    pub origin: Option<(Origin, ContentHash)>,
    /// What runs beside the control plane, if anything.
    pub companion: Option<Box<dyn Companion>>,
    /// The service manager that has started this process.
    pub manager: ServiceManager,
}

/// A start that has succeeded as far as the user can see: all sockets are bound, and the admin
/// socket is claimed.
pub struct Prepared {
    /// As configured.
    given: Config,
    /// With what was changed before a restart.
    config: Config,
    kept: Kept,
    names: FirstNames,
    discoveries: Discoveries,
    ids: Ids,
    bound: Bound,
    pools: Vec<Pool>,
    workers: usize,
    admin: AdminSocket,
    metrics: Option<TcpSocket>,
    beacon: Beacon,
    reporter: Box<dyn Reporter>,
    observe: Observe,
    signals: Signals,
    directory: Directory,
    companion: Option<Box<dyn Companion>>,
    manager: ServiceManager,
    /// The sockets that the service manager has passed and no listener has, in words.
    unwanted: Vec<String>,
    origin: Option<(Origin, ContentHash)>,
    user: Option<(String, User)>,
    countries: CountryBook,
    certificates: Certificates,
    predecessor: Option<Predecessor>,
    /// From before anybody can see that this instance listens until it can handle them.
    held: HeldSignals,
}

impl Prepared {
    /// Resolves names, listens, and claims the admin socket.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left behind.
    pub fn new(setup: Setup) -> Result<Self, StartError> {
        let Setup { config: mut given, reporter, observe, signals, directory, .. } = setup;
        // By default, they would end the process. Those that shut down may do so yet.
        let ignored = signals.ignored.iter().map(|(kind, _)| kind);
        let harmless = ignored.chain(&signals.reload).chain(&signals.reopen);
        let held = HeldSignals::new(harmless.map(SignalKind::as_raw_value));
        sys::process::raise_descriptor_limit();
        sys::process::return_large_blocks();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = given.process.workers.unwrap_or(cores).max(1);
        // Looked up now: under another root directory there may be no list of users.
        let user = given.process.user.as_deref().map(find_user).transpose()?;
        let roles = Roles::find(&given.process.access)?;
        let owner = user.as_ref().map(|(_, user)| user);
        let mut kept = Kept::read(setup.state.as_ref(), owner);
        let mut manager = setup.manager;
        let mut predecessor = manager.predecessor.take();
        report_progress(&predecessor); // the file has been read
        if let Some(old) = &mut predecessor {
            refuse_other_user(old, owner)?;
            kept.replace(old.described.standing.kept.clone());
            manager.passed.inherit(std::mem::take(&mut old.passed));
            manager.reports.keeps(old.sockets().filter_map(name_of));
        }
        let first = FirstAnswers::look_up(&given, kept.answers());
        report_progress(&predecessor);
        given = first.discoveries.expand(&given);
        let mut ids = Ids::default();
        given.identify(None, &mut ids);
        let mut config = kept.apply(&given);
        config.identify(None, &mut ids);
        let mut certificates = Certificates::default();
        if let Some(keys) = predecessor.as_ref().and_then(|it| it.described.ticket_keys.as_ref()) {
            certificates.inherit_tickets(keys);
        }
        certificates.take(&config, &certificates::read_all(&config))?;
        report_progress(&predecessor);
        let names = FirstNames::look_up(&config, kept.names());
        report_progress(&predecessor);
        let bound =
            bind_all(&config, (&mut manager.passed, predecessor.as_mut()), workers, &names)?;
        let unwanted = manager.passed.close_unused(&config)?;
        if setup.refuse_unresolved {
            names.refuse_unresolved(&config)?;
            first.refuse_unresolved(&config)?;
        }
        let pools =
            config.pools.iter().map(|pool| first_pool(pool, workers, &names, &certificates));
        let pools: Vec<_> = pools.collect();
        if setup.refuse_loops {
            loops::refuse(&bound, &pools)?;
        }
        kept.restore_health(&config, &pools);
        match &predecessor {
            Some(old) => restore(&config, pools.iter(), &old.described.standing),
            None => kept.restore_clients(&config, &pools),
        }
        for (pool, endpoint, found) in names.last_known(&config) {
            let addresses: Vec<_> = found.iter().map(ToString::to_string).collect();
            let fields =
                vec![("pool", pool), ("backend", endpoint), ("addresses", addresses.join(" "))];
            let message = "backend does not resolve; using its last known addresses";
            kept.remark(Level::Warn, message, fields);
        }
        for (name, error) in first.last_known {
            let message = "name not resolved; using its last known backends";
            kept.remark(Level::Warn, message, vec![("name", name), ("error", error)]);
        }
        let mut admin = claim_admin(&setup.admin, &given, predecessor.as_mut(), owner)?;
        admin.admit((&given.process.access, roles), predecessor.is_some())?;
        let metrics = given.process.metrics.map(open_metrics).transpose()?;
        let beacon = open_beacon(&given.process, predecessor.as_mut())?;
        report_progress(&predecessor);
        let mut countries = CountryBook::default();
        for pool in &config.pools {
            countries.find(pool); // under another root directory it may be out of reach
        }
        Ok(Self {
            given,
            config,
            kept,
            names,
            discoveries: first.discoveries,
            ids,
            bound,
            pools,
            workers,
            admin,
            metrics,
            beacon,
            reporter,
            observe,
            signals,
            directory,
            companion: setup.companion,
            manager,
            unwanted,
            origin: setup.origin,
            user,
            countries,
            certificates,
            predecessor,
            held,
        })
    }

    /// The privileges of root that the process must keep after changing the user.
    fn keep(&self) -> Keep {
        let foreign = |listener: &config::Listener| listener.source == terms::Source::Client;
        match self.config.listeners.iter().any(foreign) {
            true => Keep::ForeignSources,
            false => Keep::Nothing,
        }
    }

    /// Serves until the instance is shut down, and returns the exit status.
    ///
    /// # Errors
    /// If going into the background, writing the process id, or changing the user fails.
    pub fn run(mut self) -> Result<u8, StartError> {
        let system = |what| move |source| StartError::System { what, source };
        let keep = self.keep();
        let process = &self.config.process;
        // Going into the background may change the directory.
        let pid_path = process.pid_file.as_ref().map(|path| absolute(path));
        let reports = &mut self.manager.reports;
        let is_detached = self.predecessor.as_ref().is_some_and(|old| old.is_detached);
        // The old process says itself who follows it.
        let farewell = |parting| match parting {
            Parting::Ready(child) if !is_detached => reports.ready_in_background(child),
            Parting::Ready(_) => {}
            Parting::Hung => {
                let error = TakeOverError::Failed("the new process hung, and was ended".to_owned());
                let _ = writeln!(Stream::Err, "evenkeel: {error}");
            }
        };
        let needed = self.predecessor.as_ref().map(Predecessor::needed);
        let detach = || sys::process::detach(self.directory, needed, farewell);
        let background = (process.daemon || is_detached).then(detach).transpose();
        let background = background.map_err(system("in the background"))?;
        report_progress(&self.predecessor);
        // What is visible from here on, such as the pid file, is removed by an orderly end.
        let ending = self.signals.shut_down.iter();
        let held = HeldSignals::new(ending.map(|kind| kind.as_raw_value()));
        let pid_file = pid_path.map(open_pid).transpose()?;
        if self.predecessor.is_none() {
            pid_file.as_ref().map_or(Ok(()), |(file, path)| note_pid(file, path))?;
            self.admin.note_pid();
            // If that fails, the log says so.
            let _ = self.admin.claim_for_upgrades(self.user.as_ref().map(|(_, user)| user));
        }
        let user = self.user.as_ref().map(|(_, user)| user);
        let helper = Begun::new(&self.config, self.admin.path(), user, self.predecessor.is_some());
        let broker = broker::Begun::new(&self.config, user);
        change_identity(process.root.as_deref(), self.user.as_ref(), &self.admin, keep)?;
        sys::process::renounce_privileges();
        if process.root.is_some() || self.user.is_some() {
            self.certificates.note_out_of_reach();
        }
        self.reporter.open()?;
        if let Some(companion) = &mut self.companion {
            companion.open()?;
        }
        let unusable_sources: Vec<_> =
            self.config.listeners.iter().filter_map(unusable_source).collect();
        let (sinks, mut backlog) = Backlog::new();
        let options = Options { workers: self.workers, spin: process.spin };
        let connectors = self.certificates.connectors();
        let plane = DataPlane::start(options, connectors, |_| sinks.sink())
            .map_err(system("the workers"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(system("the control plane"))?;
        let mut probes = Probes::new(self.certificates.connectors());
        probes.use_broker(broker);
        probes.update(&self.config, self.pools.iter());
        report_progress(&self.predecessor);
        // Clients that come meanwhile wait in the queues of the listening sockets.
        runtime.block_on(probes.first_verdicts(&self.config));
        if self.predecessor.is_some() {
            try_out(&plane, &mut backlog, &self.config)?;
            report_progress(&self.predecessor);
        }
        let switched = self.predecessor.as_mut().map(Predecessor::await_switch).transpose()?;
        background.iter().for_each(Background::stand_alone);
        if let Some(standing) = &switched {
            self.kept.replace(standing.kept.clone());
            self.kept.restore_health(&self.config, &self.pools);
            restore(&self.config, self.pools.iter(), standing);
            plane.mover().number_from(standing.counts.next_number);
            if standing.flows_follow {
                plane.mover().await_flows();
            }
        }
        let remarks = std::mem::take(&mut self.kept.remarks);
        let kept = self.kept.into_parts(self.names.all_listening(&self.config));
        let keeper = Keeper::new(kept);
        let serve = (self.bound, self.pools);
        let configs = (self.given, self.config);
        let books = (self.countries, self.certificates);
        let mut instance = Instance::start(plane, configs, self.ids, serve, self.observe, books);
        instance.probes = probes;
        instance.keep_limits();
        instance.discoveries = self.discoveries;
        instance.plane.settle();
        instance.passed = self.manager.passed;
        let mut revisions = self.origin.as_ref().map(|(it, hash)| Revisions::new(it, *hash));
        if let (Some(standing), Some(old)) = (&switched, &self.predecessor) {
            instance.started = Instant::from_nanos(old.described.started);
            instance.count_listeners(&standing.counts);
            instance.keep_files(false);
            if let (Some(revisions), Some(earlier)) = (&mut revisions, &old.described.revision) {
                revisions.follow(earlier);
            }
            let _ = sys::process::use_streams(if is_detached { &old.streams } else { &[] });
        }
        let (mover, roll_call) = (instance.plane.mover(), instance.plane.roll_call());
        let mut owner =
            Owner::new(instance, self.reporter, self.admin, self.manager.reports, revisions);
        owner.beacon = self.beacon;
        owner.pid_file = pid_file.map(|(file, _)| file);
        owner.use_helper(helper, switched.is_some());
        if let Some(standing) = &switched {
            owner.inherit(&standing.counts);
            owner.predecessor = self.predecessor.as_ref().map(Predecessor::row);
            owner.others_names = self.predecessor.as_ref().map(Predecessor::flag);
            owner.farewell = self.predecessor.as_ref().map(Predecessor::farewell);
        }
        let origin = self.origin.map(|(origin, _)| origin);
        let (caller, calls) = Caller::new();
        let caller = self.companion.is_some().then_some(caller);
        let (desk, requests) = Desk::new(origin, self.manager.invocation, caller);
        let (mut serving, companion) = {
            let _inside = runtime.enter();
            let caught = Caught::new(&self.signals);
            let run = |it: Box<dyn Companion>| it.run(Operator::new(desk.clone()), calls);
            let companion = self.companion.map(run);
            let watchdog = Watchdog::new(self.manager.patience);
            let (requests, helpers) = ((desk.clone(), requests), (watchdog, keeper));
            (Serving::new(owner, requests, backlog, caught, helpers), companion)
        };
        drop(held);
        drop(self.held);
        let is_in_background = background.is_some();
        match self.predecessor {
            Some(old) => bring_in(old, background, desk.clone(), (mover, roll_call)),
            None => {
                let ready = background.map_or(Ok(()), Background::ready);
                ready.map_err(system("in the background"))?;
            }
        }
        let ending = runtime.block_on(async {
            serving.open(desk, self.metrics, &remarks, &unusable_sources);
            serving.note_unwanted(&self.unwanted);
            if !is_in_background {
                serving.report_ready();
            }
            serving.until_the_end(self.signals.exit, companion).await
        });
        // The companion ends here, with its files. A lookup that is under way is not waited for.
        runtime.shutdown_background();
        match ending {
            Ending::Status(status) => Ok(status),
            Ending::Signal(signal) => sys::signals::die_of(signal),
        }
    }
}

/// Listens on all addresses of all listeners, where possible with what the service manager has
/// passed.
pub(crate) fn bind_all(
    config: &Config,
    (passed, mut predecessor): (&mut PassedSockets, Option<&mut Predecessor>),
    workers: usize,
    names: &FirstNames,
) -> Result<Bound, StartError> {
    refuse_duplicates(config)?;
    passed.assign(config)?;
    let binds = config.listeners.iter().flat_map(|it| it.binds.iter().map(move |bind| (it, bind)));
    let find = |host: &Host, port| names.listening(host, port);
    let mut open = |(it, bind): (&config::Listener, &Bind)| {
        let inherited = predecessor.as_mut().and_then(|old| old.take(bind));
        let sockets = match inherited {
            Some((fds, has_file)) => inherit(bind, fds, has_file)?,
            None => listen(it, bind, passed, workers, &find)?,
        };
        Ok((bind.clone(), sockets))
    };
    binds.map(&mut open).collect()
}

/// The sockets of the process that this one takes over. Their files stay if this process ends before
/// it has done so.
fn inherit(bind: &Bind, fds: Vec<OwnedFd>, has_file: bool) -> Result<Sockets, StartError> {
    let file = match bind {
        Bind::Unix(path) if has_file => {
            let failed = |source| StartError::Listen { bind: bind.to_string(), source };
            let mut file = OwnFile::at(path).map_err(failed)?;
            file.keep(true);
            Some(file)
        }
        _ => None,
    };
    Ok(Sockets { fds, file })
}

/// The admin socket of the process that this one takes over, unless another path is configured.
fn claim_admin(
    path: &Path,
    config: &Config,
    predecessor: Option<&mut Predecessor>,
    owner: Option<&User>,
) -> Result<AdminSocket, StartError> {
    if let Some(old) = predecessor {
        let is_other = config.process.admin.as_ref().is_some_and(|it| *it != old.described.admin);
        if let Some(socket) = old.admin.take().filter(|_| !is_other) {
            return AdminSocket::inherit(&old.described.admin, socket);
        }
    }
    AdminSocket::claim(path, owner)
}

/// Has each worker relay a session for trial. If that fails, the old process goes on as if nothing had
/// been.
fn try_out(plane: &DataPlane, backlog: &mut Backlog, config: &Config) -> Result<(), TakeOverError> {
    let settings = |it| snapshot::settings(it, Observe::default(), None, None);
    let Some(settings) = config.listeners.first().map(settings) else { return Ok(()) };
    // Time-outs are not what is tried.
    let settings = Settings { timeouts: Timeouts::default(), ..settings };
    canary::try_out(plane, backlog, settings).map_err(|error| {
        TakeOverError::Failed(format!("a trial of the new process did not succeed: {error}"))
    })
}

/// Reports progress to the old process, if this one takes over from it. Call it between all steps that
/// may take a second or more.
fn report_progress(predecessor: &Option<Predecessor>) {
    if let Some(old) = predecessor {
        old.report_progress();
    }
}

/// Refuses to go on as root where the old process has another user.
fn refuse_other_user(old: &Predecessor, user: Option<&User>) -> Result<(), StartError> {
    let own = user.map_or_else(sys::process::user_id, User::uid);
    match own == old.described.uid {
        true => Ok(()),
        false => Err(TakeOverError::Failed(format!(
            "it runs as user {}, and this process would as user {own}; run this as that user",
            old.described.uid
        ))
        .into()),
    }
}

/// Brings the sessions of the old process in, on a thread of its own. Whoever has started this
/// process is released when all that could move at once has moved, or when the old process serves
/// again.
fn bring_in(
    old: Predecessor,
    background: Option<Background>,
    desk: Desk,
    (mover, roll_call): (Mover, RollCall),
) {
    let report = |report: Result<&Report, TakeOverError>| match (background, report) {
        (Some(background), Ok(report)) => background.release(&format!("{report}\n")),
        (Some(background), Err(error)) => background.fail(&format!("evenkeel: {error}\n")),
        (None, _) => {}
    };
    let run = move || old.bring_in(&desk, (&mover, &roll_call), report);
    // Without a thread, the old process takes everything back.
    let _ = std::thread::Builder::new().name("take-over".to_owned()).spawn(run);
}

/// A listener's source address, if this machine does not have it now. It may come later, as one that
/// two machines share does, so the start goes on.
fn unusable_source(listener: &config::Listener) -> Option<(String, IpAddr, io::Error)> {
    let terms::Source::Fixed(source) = listener.source else { return None };
    let error = UdpSocket::bind((source, 0)).err()?;
    Some((listener.bound_to(), source, error))
}

fn open_metrics(address: SocketAddr) -> Result<TcpSocket, StartError> {
    TcpSocket::open(address).map_err(|source| StartError::Metrics { address, source })
}

/// The interface that says whether this instance is ready: the old process's, if it has the same name.
fn open_beacon(process: &Process, old: Option<&mut Predecessor>) -> Result<Beacon, StartError> {
    let name = process.ready_interface.as_deref();
    let inherited = old.and_then(|old| old.ready_interface.take());
    let inherited = inherited.filter(|(inherited, _)| Some(inherited.as_str()) == name);
    let device = inherited.map(|(_, device)| device);
    Beacon::new(name, device).map_err(|source| StartError::ReadyInterface {
        name: name.unwrap_or_default().to_owned(),
        source,
    })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn open_pid(path: PathBuf) -> Result<(PidFile, PathBuf), StartError> {
    match PidFile::open(&path, "\n") {
        Ok(file) => Ok((file, path)),
        Err(source) => Err(StartError::PidFile { path, source }),
    }
}

fn note_pid(file: &PidFile, path: &Path) -> Result<(), StartError> {
    file.note().map_err(|source| StartError::PidFile { path: path.to_owned(), source })
}

fn find_user(name: &str) -> Result<(String, User), StartError> {
    match User::find(name) {
        Ok(user) => Ok((name.to_owned(), user)),
        Err(source) => Err(StartError::User { user: name.to_owned(), source }),
    }
}

/// Changes the root directory and the user, if configured.
fn change_identity(
    root: Option<&Path>,
    user: Option<&(String, User)>,
    admin: &AdminSocket,
    keep: Keep,
) -> Result<(), StartError> {
    let failed = |name: &str| {
        let user = name.to_owned();
        |source| StartError::User { user, source }
    };
    if let Some((name, user)) = user {
        admin.give_to(user).map_err(failed(name))?;
    }
    if let Some(root) = root {
        let failed = |source| StartError::Root { path: root.to_owned(), source };
        sys::process::change_root(root).map_err(failed)?;
    }
    match user {
        Some((name, user)) => user.assume(keep).map_err(failed(name)),
        None => Ok(()),
    }
}
