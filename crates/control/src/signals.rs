//! What signals do to a running instance.

use std::task::Poll;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What signals mean to a personality. Other signals keep their default action.
#[derive(Clone, Debug)]
pub struct Signals {
    /// Signals that shut down the instance. A second one ends it without waiting for sessions.
    pub shut_down: Vec<SignalKind>,
    /// Signals that change nothing, each with a line for the log. Without a line, the companion
    /// handles the signal.
    pub ignored: Vec<(SignalKind, Option<&'static str>)>,
    /// Signals that have the configuration file reloaded, if the instance was started from one.
    pub reload: Vec<SignalKind>,
    /// Signals that have the file of the log opened again.
    pub reopen: Vec<SignalKind>,
    /// How the process exits after a signal.
    pub exit: Exit,
}

/// How the process exits after a signal has shut it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With status 0.
    Status,
    /// Killed by the signal, as if it had not been caught.
    Signal,
}

/// A received signal.
pub(crate) enum Came {
    /// A signal that shuts down, by number.
    ShutDown(i32),
    /// A signal that reloads the configuration file.
    Reload,
    /// A signal that has the file of the log opened again.
    Reopen,
    /// A signal that changes nothing, with its line for the log.
    Ignored(&'static str),
}

/// The signals that are caught.
pub(crate) struct Caught {
    streams: Vec<(Meaning, Signal)>,
}

#[derive(Clone, Copy)]
enum Meaning {
    ShutDown(i32),
    Reload,
    Reopen,
    Ignored(Option<&'static str>),
}

impl Caught {
    /// Catches the signals from now on. Needs a runtime.
    pub fn new(signals: &Signals) -> Self {
        let shut_down = signals.shut_down.iter();
        let shut_down = shut_down.map(|&kind| (Meaning::ShutDown(kind.as_raw_value()), kind));
        let ignored = signals.ignored.iter().map(|&(kind, line)| (Meaning::Ignored(line), kind));
        let reload = signals.reload.iter().map(|&kind| (Meaning::Reload, kind));
        let reopen = signals.reopen.iter().map(|&kind| (Meaning::Reopen, kind));
        let catch = |(meaning, kind)| Some((meaning, signal(kind).ok()?));
        Self {
            streams: shut_down
                .chain(reload)
                .chain(reopen)
                .chain(ignored)
                .filter_map(catch)
                .collect(),
        }
    }

    /// The next signal.
    pub async fn next(&mut self) -> Came {
        std::future::poll_fn(|context| {
            for (meaning, stream) in &mut self.streams {
                while stream.poll_recv(context).is_ready() {
                    match *meaning {
                        Meaning::ShutDown(number) => return Poll::Ready(Came::ShutDown(number)),
                        Meaning::Reload => return Poll::Ready(Came::Reload),
                        Meaning::Reopen => return Poll::Ready(Came::Reopen),
                        Meaning::Ignored(Some(line)) => return Poll::Ready(Came::Ignored(line)),
                        Meaning::Ignored(None) => {}
                    }
                }
            }
            Poll::Pending
        })
        .await
    }
}
