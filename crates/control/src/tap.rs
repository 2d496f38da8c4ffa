//! What an operator watches of sessions, as the body of an answer: one JSON object on each line.

use crate::shown::{EndOf, plain};
use config::{TapAccess, TapQuery};
use dataplane::{Tap, TapEnd, TapFilter, TapLimits, Tapped};
use hyper::body::{Body, Bytes, Frame};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use telemetry::Stamp;
use terms::{Instant, ListenerId, Side};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Sleep, sleep};

/// The maximum number of taps at a time.
pub(crate) const TAPS_MAX: usize = 4;

/// What came of a tap, once it is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub sessions: u64,
    pub bytes: u64,
    pub lost: u64,
}

/// What is seen, until a limit or whoever watches ends it.
pub(crate) struct TapFeed {
    tap: Arc<Tap>,
    seen: UnboundedReceiver<Tapped>,
    listeners: HashMap<ListenerId, String>,
    sessions_max: u64,
    /// How many sessions are being watched.
    open: u64,
    tally: Tally,
    time: Duration,
    deadline: Pin<Box<Sleep>>,
    stamp: Stamp,
    is_over: bool,
    /// Called when it is over.
    then: Option<Box<dyn FnOnce(Tally) + Send>>,
}

impl TapFeed {
    /// A feed for the sessions in `which`. Needs a runtime.
    pub fn new(
        which: TapFilter,
        query: &TapQuery,
        access: TapAccess,
        listeners: HashMap<ListenerId, String>,
    ) -> Self {
        let sessions_max = if query.session.is_some() { 1 } else { query.sessions };
        let limits = TapLimits {
            sessions: sessions_max as usize,
            bytes: query.bytes.0 as usize,
            shows_tls: access == TapAccess::Decrypted,
            until: sys::clock::now() + query.time.0,
        };
        let (sender, seen) = unbounded_channel();
        // `Tap` bounds what waits.
        let tap = Tap::new(which, limits, move |tapped| drop(sender.send(tapped)));
        let time = query.time.0;
        Self {
            tap: Arc::new(tap),
            seen,
            listeners,
            sessions_max: sessions_max.into(),
            open: 0,
            tally: Tally::default(),
            time,
            deadline: Box::pin(sleep(time)),
            stamp: Stamp::default(),
            is_over: false,
            then: None,
        }
    }

    /// What workers are given.
    pub fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// Has `then` called when it is over.
    pub fn at_end(&mut self, then: impl FnOnce(Tally) + Send + 'static) {
        self.then = Some(Box::new(then));
    }

    /// What is seen, as a line.
    fn line(&mut self, tapped: Tapped) -> Bytes {
        let address = |it: Option<_>| it.map(|it| plain(it).to_string());
        match tapped {
            Tapped::Begun { at, info } => {
                self.open += 1;
                self.tally.sessions += 1;
                let value = json!({
                    "session": info.session,
                    "event": "begun",
                    "listener": self.listeners.get(&info.listener),
                    "client": EndOf(info.client).to_string(),
                    "backend": info.backend.as_ref().map(|backend| &backend.name),
                    "source": address(info.source),
                });
                self.written(at, value)
            }
            Tapped::Served { at, info } => {
                let value = json!({
                    "session": info.session,
                    "event": "served",
                    "backend": info.backend.as_ref().map(|backend| &backend.name),
                    "source": address(info.source),
                });
                self.written(at, value)
            }
            Tapped::Data { at, session, from, offset, size, bytes } => {
                self.tally.bytes += bytes.as_ref().map_or(0, |bytes| bytes.len()) as u64;
                let value = json!({ "session": session, "event": "data", "from": sender(from),
                    "offset": offset, "size": size, "hex": bytes.map(|bytes| hex(&bytes)) });
                self.written(at, value)
            }
            Tapped::EndOfFile { at, session, from, offset } => {
                let value = json!({ "session": session, "event": "end-of-file",
                    "from": sender(from), "offset": offset });
                self.written(at, value)
            }
            Tapped::Ended { at, session, why, lost } => {
                self.open = self.open.saturating_sub(1);
                let why = match why {
                    TapEnd::Closed(reason) => reason.name(),
                    TapEnd::Full => "bytes",
                    TapEnd::Left => "moved",
                };
                let value =
                    json!({ "session": session, "event": "ended", "why": why, "lost": lost });
                self.written(at, value)
            }
        }
    }

    fn written(&mut self, at: Instant, value: Value) -> Bytes {
        let ago = sys::clock::now().since(at).as_nanos();
        let wall = sys::clock::wall_nanos().saturating_sub(i64::try_from(ago).unwrap_or(0));
        let mut text = "{\"time\":\"".to_owned();
        self.stamp.write(wall, &mut text);
        let rest = value.to_string();
        let _ = writeln!(text, "\",{}", rest.trim_start_matches('{'));
        text.into()
    }

    /// Watches nothing more. Returns what came of the tap.
    fn close(&mut self) -> Tally {
        self.tap.end();
        Tally { lost: self.tap.lost_bytes(), ..self.tally }
    }

    /// The last line.
    fn last(&mut self, why: &str) -> Bytes {
        self.is_over = true;
        let Tally { sessions, bytes, lost } = self.close();
        let value = json!({ "event": "over", "why": why, "sessions": sessions, "bytes": bytes,
            "lost": lost, "seconds": self.time.as_secs_f64() });
        self.written(sys::clock::now(), value)
    }
}

fn sender(side: Side) -> &'static str {
    match side {
        Side::Downstream => "client",
        Side::Upstream => "backend",
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |it: u8| char::from(DIGITS[usize::from(it)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

impl Body for TapFeed {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let line = if self.deadline.as_mut().poll(context).is_ready() {
            self.last("time")
        } else if self.open == 0 && self.tally.sessions >= self.sessions_max {
            self.last("sessions")
        } else if let Poll::Ready(Some(tapped)) = self.seen.poll_recv(context) {
            self.tap.taken(&tapped);
            self.line(tapped)
        } else {
            return Poll::Pending;
        };
        Poll::Ready(Some(Ok(Frame::data(line))))
    }
}

impl Drop for TapFeed {
    fn drop(&mut self) {
        let tally = self.close();
        if let Some(then) = self.then.take() {
            then(tally);
        }
    }
}
