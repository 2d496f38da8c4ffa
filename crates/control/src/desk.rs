//! The way to the task that owns the instance.

use crate::answers::Answers;
use crate::beacon::NotReady;
use crate::bind::StartError;
use crate::calls::Caller;
use crate::counts::Figures;
use crate::events::Feed;
use crate::found::Found;
use crate::hand_over::request::HandOver;
use crate::invocation::Invocation;
use crate::origin::{Loaded, Origin, ReadError};
use crate::tap::{Tally, TapFeed};
use crate::why::{Circumstances, WhyQuery};
use balancing::Pool;
use config::{
    Bind, Command, CommandError, Config, Drained, EventQuery, Reply, Role, SessionQuery, TapQuery,
};
use dataplane::{Observe, SessionFilter, SessionInfo};
use hickory_resolver::TokioResolver;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use telemetry::{InstanceRow, Status};
use terms::{Address, ListenerId};
use tokio::sync::{Mutex, mpsc, oneshot};

/// A request to the owner of the instance, with the place for its answer.
pub(crate) enum Request {
    Status(Answer<Status>),
    /// What the metrics of all pools, or of one, are made of.
    Figures(Option<String>, Answer<Result<Box<Figures>, CommandError>>),
    /// What metrics are pushed now, if any.
    PushedFigures(Answer<Option<Box<Figures>>>),
    /// What came of pushing them.
    Pushed(Result<(), String>),
    Instance(Answer<InstanceRow>),
    /// Whether clients should be sent here.
    Readiness(Answer<Result<(), NotReady>>),
    /// What was given, and what runs.
    Configs(Answer<Box<(Config, Config)>>),
    /// What is needed to say where a client would be sent, and why.
    Why(WhyQuery, Answer<Result<Circumstances, CommandError>>),
    Sessions(Box<SessionQuery>, Answer<Result<Listing, CommandError>>),
    /// To follow what happens, unless too many do.
    Follow(EventQuery, Answer<Option<Feed>>),
    /// To watch sessions.
    Tap(Box<TapQuery>, Who, Answer<Tapping>),
    /// Nobody watches sessions any more; who did, what was asked, and what came of it.
    TapOver(Who, String, Tally),
    /// The first pool.
    Pool(Answer<Arc<Pool>>),
    /// The resolver for DNS, if there are usable settings.
    Resolver(Answer<Option<TokioResolver>>),
    Command(Asked),
    /// Asks for what has become of the sessions when the drain ends.
    Drained(Answer<Drained>),
    /// A command was not taken: from whom, what was sent as far as it is known, and why.
    Refused(Who, String, Answer<()>),
    Known(Answer<Known>),
    /// A reload begins; [`Request::Reload`] follows.
    Reloading(Answer<()>),
    Reload(Box<Reload>),
    Reconfigure(Box<Config>, Answer<Result<(), StartError>>),
    Observe(Observe, Answer<()>),
    /// A step of a hand-over to or from another process.
    HandOver(Box<HandOver>),
}

impl Request {
    /// Whether it may change what a restart is to know.
    pub fn may_change_state(&self) -> bool {
        matches!(self, Self::Command(_) | Self::Reconfigure(..) | Self::Reload(_))
    }

    /// Whether it makes the instance stop listening.
    pub fn shuts_down(&self) -> bool {
        matches!(self, Self::Command(Asked { command: Command::Shutdown {}, .. }))
    }
}

/// Where an answer goes. It is lost if whoever asked has gone.
pub(crate) type Answer<T> = oneshot::Sender<T>;

/// What comes of the wish to watch sessions.
pub(crate) enum Tapping {
    /// The configuration does not allow it.
    Off,
    /// Too many do so already.
    TooMany,
    Refused(CommandError),
    /// What is seen; and, if one open session is meant, whether it is watched, from the worker that
    /// has it.
    Begun(Box<TapFeed>, Answers<Option<bool>>),
}

/// A command with everything that is needed to carry it out.
pub(crate) struct Asked {
    pub command: Command,
    /// Those of its endpoint, if it has one.
    pub addresses: Vec<Address>,
    pub who: Who,
    pub answer: Answer<Result<Reply, CommandError>>,
}

/// A reload that is ready to be applied, or whose file cannot be used.
pub(crate) struct Reload {
    pub who: Who,
    /// The time after which it is taken back, unless it is confirmed.
    pub confirm: Option<Duration>,
    pub read: Result<(Loaded, Found), ReadError>,
    pub answer: Answer<Result<Reply, CommandError>>,
}

/// What need not be looked up for a reload.
#[derive(Default)]
pub(crate) struct Known {
    /// The addresses of all named backends, by their endpoints.
    pub backends: HashMap<String, Vec<Address>>,
    /// Where the instance listens.
    pub binds: HashSet<Bind>,
    /// The names that stand for several backends.
    pub discovered: HashSet<String>,
}

/// The sessions, as soon as the workers have listed them, and the names of their listeners.
pub(crate) struct Listing {
    pub filter: Arc<SessionFilter>,
    pub sessions: Answers<Vec<SessionInfo>>,
    /// Those that the kernel forwards, if it can.
    pub forwarded: Option<oneshot::Receiver<Vec<SessionInfo>>>,
    pub listeners: HashMap<ListenerId, String>,
}

/// The origin of a command.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    /// A user of this machine.
    User {
        /// The user's id.
        id: u32,
        /// The process, if the system says.
        pid: Option<i32>,
        /// What the user may do.
        role: Role,
    },
    /// A client of TCP, by its token.
    Token {
        /// The name of the token.
        name: Arc<str>,
        /// What it allows.
        role: Role,
    },
    /// A client of TCP without one.
    Unknown,
    /// A client of the personality's own control protocol, which has no user ids.
    Companion,
    /// The signal HUP.
    Signal,
    /// The watch on the configuration file.
    Watch,
}

impl Who {
    /// The process that asked, if that is known.
    pub fn pid(&self) -> Option<u64> {
        match self {
            Self::User { pid, .. } => pid.and_then(|pid| u64::try_from(pid).ok()),
            Self::Token { .. } | Self::Unknown | Self::Companion | Self::Signal | Self::Watch => {
                None
            }
        }
    }

    /// What it may do.
    pub fn role(&self) -> Role {
        match self {
            Self::User { role, .. } | Self::Token { role, .. } => *role,
            Self::Unknown => Role::View,
            Self::Companion | Self::Signal | Self::Watch => Role::Admin,
        }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User { id, .. } => id.fmt(f),
            Self::Token { name, .. } => write!(f, "token:{name}"),
            Self::Unknown | Self::Companion => f.write_str("unknown"),
            Self::Signal => f.write_str("SIGHUP"),
            Self::Watch => f.write_str("watch"),
        }
    }
}

/// Sends requests to the owner of the instance. What takes time is done by whoever asks: see
/// [`crate::asking`]. The owner itself must not use it: it would wait for itself.
#[derive(Clone)]
pub(crate) struct Desk {
    requests: mpsc::Sender<Request>,
    /// The file that the instance was started from. Reloads of it take turns.
    pub(crate) origin: Option<Arc<Mutex<Origin>>>,
    pub(crate) invocation: Arc<Invocation>,
    /// The way to what the personality runs beside the instance.
    pub(crate) companion: Option<Caller>,
}

/// The maximum number of requests that wait; further ones wait to be sent.
const REQUESTS_MAX: usize = 64;

impl Desk {
    /// A desk, and where its requests arrive.
    pub fn new(
        origin: Option<Origin>,
        invocation: Invocation,
        companion: Option<Caller>,
    ) -> (Self, mpsc::Receiver<Request>) {
        let (requests, arrive) = mpsc::channel(REQUESTS_MAX);
        let origin = origin.map(|origin| Arc::new(Mutex::new(origin)));
        (Self { requests, origin, invocation: Arc::new(invocation), companion }, arrive)
    }

    /// Sends a request and returns the answer; `None` when the process is about to exit.
    pub async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.send(request(answer)).await;
        answered.await.ok()
    }

    /// Sends a request; it is dropped when the process is about to exit.
    pub async fn send(&self, request: Request) {
        let _ = self.requests.send(request).await;
    }

    /// As [`Self::ask`], from a thread that may block.
    pub fn ask_blocking<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.tell(request(answer))?;
        answered.blocking_recv().ok()
    }

    /// Sends a request that has no answer, as soon as there is room for it.
    pub fn send_later(&self, request: Request) {
        let requests = self.requests.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { requests.send(request).await });
        }
    }

    /// Sends a request that has no answer, from a thread that may block.
    pub fn tell(&self, request: Request) -> Option<()> {
        self.requests.blocking_send(request).ok()
    }
}
