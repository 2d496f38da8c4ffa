//! A start, and everything until the end.

use crate::admin::{Desk, serve};
use crate::bind::StartError;
use crate::countries::CountryBook;
use crate::instance::{Bound, Instance, bind_listener};
use crate::loops;
use crate::names::{Names, keep_names};
use crate::operator::Operator;
use crate::report::Reporter;
use crate::socket::AdminSocket;
use config::Config;
use dataplane::{DataPlane, Event, Observe, Options};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use sys::process::{Directory, Keep, User};
use telemetry::{Level, Value};
use terms::CloseReason;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep};

/// What a personality asks for beside its configuration.
pub struct Setup {
    /// Everything about listeners and the process.
    pub config: Config,
    /// Where to put the admin socket.
    pub admin: PathBuf,
    /// Who says what happens.
    pub reporter: Box<dyn Reporter>,
    /// What is observed beside ended sessions.
    pub observe: Observe,
    /// What signals mean.
    pub signals: Signals,
    /// Whether a backend that is one of the listening addresses fails the start. The classics
    /// document examples that refer to their own port.
    pub refuse_loops: bool,
    /// What runs beside the control plane, if anything.
    pub companion: Option<Box<dyn Companion>>,
}

/// What a personality does beside serving: files and sockets of its own, a control protocol,
/// signals with a meaning of their own.
pub trait Companion: Send {
    /// Opens what is to be opened by the user the process runs as, under its root directory.
    /// Whoever started the process still waits for it, and sees the error.
    ///
    /// # Errors
    /// What could not be opened; the start then fails.
    fn open(&mut self) -> Result<(), StartError>;

    /// Runs until the process ends, on the control thread: it must not block.
    fn run(self: Box<Self>, operator: Operator) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// What signals mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signals {
    /// TERM and INT shut down within the deadline, status 0; a second one ends at once.
    Native,
    /// As in the classics: the default action of TERM, INT, HUP, QUIT, USR2 and ALRM, except
    /// that open sessions go on until they end; USR1 does nothing.
    Classic,
    /// TERM, INT and QUIT end at once, status 0. HUP, USR1 and USR2 are left to the companion, all
    /// others to their default action. Source: pen(1).
    Pen,
}

/// A start that has succeeded as far as the user can see: everything is bound and claimed.
pub struct Prepared {
    config: Config,
    bound: Vec<Bound>,
    workers: usize,
    admin: AdminSocket,
    reporter: Box<dyn Reporter>,
    observe: Observe,
    signals: Signals,
    companion: Option<Box<dyn Companion>>,
    countries: CountryBook,
}

/// How many bytes of events may wait for the reporter before further ones are dropped.
const EVENTS_BYTES_MAX: usize = 32 << 20;

impl Prepared {
    /// Resolves names, listens, and claims the admin socket.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left behind.
    pub fn new(setup: Setup) -> Result<Self, StartError> {
        let Setup { config, admin, reporter, observe, signals, refuse_loops, companion } = setup;
        sys::process::raise_descriptor_limit();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = config.process.workers.unwrap_or(cores).max(1);
        let bind = |listener| bind_listener(listener, workers);
        let bound: Vec<_> = config.listeners.iter().map(bind).collect::<Result<_, _>>()?;
        if refuse_loops {
            loops::refuse(&bound)?;
        }
        let admin = AdminSocket::claim(admin)?;
        let mut countries = CountryBook::default();
        for listener in &config.listeners {
            countries.find(&listener.pool); // under another root directory it may be out of reach
        }
        Ok(Self { config, bound, workers, admin, reporter, observe, signals, companion, countries })
    }

    /// What the user the process becomes must keep of root's privileges.
    fn keep(&self) -> Keep {
        let foreign = |listener: &config::Listener| listener.source == terms::Source::Client;
        match self.config.listeners.iter().any(foreign) {
            true => Keep::ForeignSources,
            false => Keep::Nothing,
        }
    }

    /// Serves until told to end; tells the exit status.
    ///
    /// # Errors
    /// When going into the background, writing the process id, or becoming the user fails.
    pub fn run(mut self) -> Result<u8, StartError> {
        let process = &self.config.process;
        // Going into the background may change the directory.
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let pid_file = process.pid_file.as_ref().map(absolute);
        let system = |what| move |source| StartError::System { what, source };
        let directory = match self.signals {
            Signals::Pen => Directory::Kept, // its relative paths go on meaning the same
            Signals::Native | Signals::Classic => Directory::Root,
        };
        let background = process.daemon.then(|| sys::process::detach(directory)).transpose();
        let background = background.map_err(system("in the background"))?;
        let pid_file = pid_file.map(PidFile::write).transpose()?;
        self.admin.note_pid();
        change_identity(process, &self.admin, self.keep())?;
        sys::process::renounce_privileges();
        if let Some(companion) = &mut self.companion {
            companion.open()?;
        }
        let (sender, events) = unbounded_channel();
        let backlog = Arc::new(Backlog::default());
        let options = Options { workers: self.workers, spin: process.spin };
        let plane = DataPlane::start(options, |_| backlog.sink(sender.clone()))
            .map_err(system("the workers"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(system("the control plane"))?;
        let instance = Instance::start(plane, self.bound, self.observe, self.countries);
        let desk = Arc::new(Desk {
            instance: Mutex::new(instance),
            reporter: Mutex::new(self.reporter),
            names: tokio::sync::Mutex::new(Names::default()),
            shutdown: tokio::sync::Notify::new(),
            socket: Mutex::new(self.admin),
        });
        let caught = {
            let _inside = runtime.enter();
            Caught::new(self.signals)
        };
        let companion = self.companion.map(|it| it.run(Operator::new(Arc::clone(&desk))));
        let serving = Serving { desk, backlog, signals: self.signals, failed: None };
        if let Some(background) = background {
            background.ready().map_err(system("in the background"))?;
        }
        let status = runtime.block_on(serving.until_the_end(events, caught, companion));
        drop(pid_file);
        match status {
            Ending::Status(status) => Ok(status),
            Ending::Signal(signal) => sys::process::die_of(signal),
        }
    }
}

/// Changes the root directory and the user, where that is asked for.
fn change_identity(
    process: &config::Process,
    admin: &AdminSocket,
    keep: Keep,
) -> Result<(), StartError> {
    let failed = |user: &str| {
        let user = user.to_owned();
        |source| StartError::User { user, source }
    };
    // Looked up first: under another root directory there may be no list of users.
    let user = process.user.as_deref().map(|name| (name, User::find(name)));
    let user = match user {
        Some((name, found)) => Some((name, found.map_err(failed(name))?)),
        None => None,
    };
    if let Some((name, _)) = &user {
        admin.give_to(name).map_err(failed(name))?;
    }
    if let Some(root) = &process.root {
        let failed = |source| StartError::Root { path: root.clone(), source };
        sys::process::change_root(root).map_err(failed)?;
    }
    match &user {
        Some((name, user)) => user.assume(keep).map_err(failed(name)),
        None => Ok(()),
    }
}

/// How the process ends.
enum Ending {
    Status(u8),
    /// As if this signal had not been caught.
    Signal(i32),
}

/// The control plane at work.
struct Serving {
    desk: Arc<Desk>,
    backlog: Arc<Backlog>,
    signals: Signals,
    /// Told of backends whose connects failed, while names are kept fresh.
    failed: Option<UnboundedSender<String>>,
}

impl Serving {
    async fn until_the_end(
        mut self,
        mut events: UnboundedReceiver<Vec<Event>>,
        mut caught: Caught,
        companion: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    ) -> Ending {
        self.tell_start();
        if let Some(listener) = self.desk.socket().take_listener() {
            let async_listener = listener
                .set_nonblocking(true)
                .and_then(|()| tokio::net::UnixListener::from_std(listener));
            match async_listener {
                Ok(listener) => drop(tokio::spawn(serve(listener, Arc::clone(&self.desk)))),
                Err(error) => self.desk.note(
                    Level::Error,
                    "no admin socket",
                    &[("error", Value::Text(&error))],
                ),
            }
        }
        let (failed, failures) = unbounded_channel();
        self.failed = Some(failed);
        let refresh = tokio::spawn(keep_names(Arc::clone(&self.desk), failures));
        let companion = companion.map(tokio::spawn);
        tokio::spawn(async {
            sleep(SETTLED).await;
            sys::process::forget_startup_code();
        });
        let ending = loop {
            tokio::select! {
                Some(batch) = events.recv() => self.report(&batch),
                number = caught.next() => {
                    let fields = [("signal", Value::Count(number as u64))];
                    self.desk.note(Level::Info, "signal received, shutting down", &fields);
                    self.desk.shut_down();
                    break match self.signals {
                        Signals::Native | Signals::Pen => Ending::Status(0),
                        Signals::Classic => Ending::Signal(number),
                    };
                }
                () = self.desk.shutdown.notified() => break Ending::Status(0),
            }
        };
        refresh.abort();
        if let Some(companion) = companion {
            companion.abort();
        }
        self.drain(&mut events, &mut caught).await;
        ending
    }

    /// Waits for sessions to end, as long as configured; a further signal cuts the wait short.
    async fn drain(&mut self, events: &mut UnboundedReceiver<Vec<Event>>, caught: &mut Caught) {
        let limit = self.desk.instance().shutdown_limit();
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            self.report_waiting(events);
            if self.desk.instance().plane().sessions() == 0 {
                break;
            }
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let again = tokio::select! {
                _ = caught.next() => true,
                () = sleep(DRAIN_LOOK) => false,
            };
            if is_over || again {
                let cut = self.desk.instance().plane().cut(None, CloseReason::Shutdown);
                let fields = [("sessions", Value::Count(cut as u64))];
                self.desk.note(Level::Warn, "shutdown cut sessions that were still open", &fields);
                break;
            }
        }
        sleep(DRAIN_LOOK).await; // the last sessions' lines are on their way
        self.report_waiting(events);
        self.desk.note(Level::Info, "stopped", &[]);
        self.desk.reporter().finish();
    }

    /// Reports what waits now; more may come meanwhile.
    fn report_waiting(&self, events: &mut UnboundedReceiver<Vec<Event>>) {
        for _ in 0..events.len() {
            if let Ok(batch) = events.try_recv() {
                self.report(&batch);
            }
        }
    }

    fn tell_start(&self) {
        self.desk.note_country_error();
        let status = self.desk.instance().status();
        for listener in &status.listeners {
            let backends: Vec<_> = listener
                .tiers
                .iter()
                .map(|tier| {
                    let names: Vec<_> = tier.backends.iter().map(|it| it.name.as_str()).collect();
                    names.join(" ")
                })
                .collect();
            let backends = backends.join(" ! ");
            let fields = [
                ("listener", Value::Text(&listener.bind)),
                ("backends", Value::Text(&backends)),
                ("workers", Value::Count(status.workers.len() as u64)),
                ("pid", Value::Count(status.pid.into())),
            ];
            self.desk.note(Level::Info, "listening", &fields);
            for backend in listener.tiers.iter().flat_map(|tier| &tier.backends) {
                if backend.addresses.is_empty() {
                    let fields = [("backend", Value::Text(&backend.name))];
                    let message = "backend does not resolve; trying again";
                    self.desk.note(Level::Warn, message, &fields);
                }
            }
        }
        let socket = self.desk.socket();
        let path = socket.path().display();
        self.desk.note(Level::Info, "admin socket", &[("path", Value::Text(&path))]);
    }

    fn report(&self, batch: &[Event]) {
        self.backlog.taken(batch);
        let instance = self.desk.instance();
        let mut reporter = self.desk.reporter();
        for event in batch {
            reporter.event(event, &instance);
        }
        let dropped = self.backlog.dropped.swap(0, Relaxed);
        if dropped > 0 {
            reporter.dropped(dropped as u64);
        }
        reporter.flush();
        for event in batch {
            if let (Event::ConnectFailed(backend), Some(failed)) = (event, &self.failed) {
                let _ = failed.send(backend.name.clone());
            }
        }
    }
}

/// How long after the start nothing of it goes on any more.
const SETTLED: Duration = Duration::from_secs(1);

/// How often to look whether the last session has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// What workers have reported and the reporter has not taken yet.
#[derive(Default)]
struct Backlog {
    bytes: AtomicUsize,
    dropped: AtomicUsize,
}

impl Backlog {
    /// A worker's sink: never blocks, and drops events rather than grow.
    fn sink(
        self: &Arc<Self>,
        sender: UnboundedSender<Vec<Event>>,
    ) -> Box<dyn FnMut(Vec<Event>) + Send> {
        let backlog = Arc::clone(self);
        Box::new(move |batch| {
            let bytes = held_bytes(&batch);
            if backlog.bytes.fetch_add(bytes, Relaxed) > EVENTS_BYTES_MAX {
                backlog.bytes.fetch_sub(bytes, Relaxed);
                backlog.dropped.fetch_add(batch.len(), Relaxed);
            } else {
                let _ = sender.send(batch);
            }
        })
    }

    fn taken(&self, batch: &[Event]) {
        self.bytes.fetch_sub(held_bytes(batch), Relaxed);
    }
}

fn held_bytes(batch: &[Event]) -> usize {
    batch.iter().map(|event| size_of::<Event>() + event.copied_bytes()).sum()
}

/// A file with the process id; it goes when the process does.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: PathBuf) -> Result<Self, StartError> {
        match std::fs::write(&path, format!("{}\n", std::process::id())) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(StartError::PidFile { path, source }),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The signals that end the process.
struct Caught {
    streams: Vec<(i32, Signal)>,
    /// Caught so that their default action, which is to end, is not taken.
    _ignored: Vec<Signal>,
}

impl Caught {
    fn new(signals: Signals) -> Self {
        let (ending, ignored) = match signals {
            Signals::Native => {
                (vec![SignalKind::terminate(), SignalKind::interrupt()], vec![SignalKind::hangup()])
            }
            Signals::Classic => (
                vec![
                    SignalKind::terminate(),
                    SignalKind::interrupt(),
                    SignalKind::hangup(),
                    SignalKind::quit(),
                    SignalKind::user_defined2(),
                    SignalKind::alarm(),
                ],
                vec![SignalKind::user_defined1()],
            ),
            Signals::Pen => (
                vec![SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()],
                vec![
                    SignalKind::hangup(),
                    SignalKind::user_defined1(),
                    SignalKind::user_defined2(),
                ],
            ),
        };
        let catch = |kind: SignalKind| Some((kind.as_raw_value(), signal(kind).ok()?));
        Self {
            streams: ending.into_iter().filter_map(catch).collect(),
            _ignored: ignored.into_iter().filter_map(|kind| signal(kind).ok()).collect(),
        }
    }

    /// The next one's number.
    async fn next(&mut self) -> i32 {
        std::future::poll_fn(|context| {
            for (number, stream) in &mut self.streams {
                if stream.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}
