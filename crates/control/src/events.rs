//! Who follows what happens, through `GET /v1/events`.

use config::{EventKind, EventQuery};
use hyper::body::{Body, Bytes, Frame};
use std::pin::Pin;
use std::task::{Context, Poll};
use telemetry::{Level, Line, LineFormat, Stamp, Value};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The maximum number of followers.
pub(crate) const FOLLOWERS_MAX: usize = 16;

/// The maximum number of lines that wait for one follower. Further ones are lost to it.
const LINES_MAX: usize = 4096;

/// Everybody who follows.
#[derive(Default)]
pub(crate) struct Followers {
    all: Vec<Follower>,
    stamp: Stamp,
}

struct Follower {
    only: Option<EventKind>,
    lines: Sender<Bytes>,
    /// Lines lost since the last one that was not.
    lost: u64,
}

impl Followers {
    /// Lets another one follow, unless there are too many.
    pub fn add(&mut self, EventQuery { only }: EventQuery) -> Option<Feed> {
        self.all.retain(|it| !it.lines.is_closed());
        if self.all.len() >= FOLLOWERS_MAX {
            return None;
        }
        let (lines, feed) = channel(LINES_MAX);
        self.all.push(Follower { only, lines, lost: 0 });
        Some(Feed { lines: feed })
    }

    /// Whether there is nobody.
    pub fn are_none(&self) -> bool {
        self.all.is_empty()
    }

    /// Passes a line on to all who want it.
    pub fn tell(&mut self, kind: EventKind, line: &Line<'_>) {
        self.all.retain(|it| !it.lines.is_closed());
        let wanted = |it: &&mut Follower| it.only.is_none_or(|only| only == kind);
        if !self.all.iter_mut().any(|it| wanted(&it)) {
            return;
        }
        let text = render(line, &mut self.stamp);
        for follower in self.all.iter_mut().filter(wanted) {
            follower.tell(&text, &mut self.stamp);
        }
    }
}

fn render(line: &Line<'_>, stamp: &mut Stamp) -> Bytes {
    let mut text = String::new();
    line.write(LineFormat::Json, sys::clock::wall_nanos(), stamp, &mut text);
    text.into()
}

impl Follower {
    fn tell(&mut self, line: &Bytes, stamp: &mut Stamp) {
        if self.lost > 0 && self.lines.capacity() > 1 {
            let fields = &[("lines", Value::Count(self.lost))];
            let message = "events lost: they were not read in time";
            let lost = render(&Line { level: Level::Warn, message, fields }, stamp);
            if self.lines.try_send(lost).is_ok() {
                self.lost = 0;
            }
        }
        if self.lost > 0 || self.lines.try_send(line.clone()).is_err() {
            self.lost += 1;
        }
    }
}

/// What one follower gets, as the body of an answer without an end.
pub(crate) struct Feed {
    lines: Receiver<Bytes>,
}

impl Body for Feed {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.lines.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(session: u64) -> [(&'static str, Value<'static>); 1] {
        [("session", Value::Count(session))]
    }

    #[tokio::test]
    async fn a_slow_follower_loses_lines_with_a_count_and_others_lose_none() {
        let mut followers = Followers::default();
        let mut slow = followers.add(EventQuery { only: Some(EventKind::Ends) }).unwrap();
        let mut quick = followers.add(EventQuery::default()).unwrap();
        let mut tell = |session| {
            let fields = &line(session);
            let line = Line { level: Level::Info, message: "session ended", fields };
            followers.tell(EventKind::Ends, &line);
        };
        let total = LINES_MAX as u64 + 100;
        for session in 0..total {
            tell(session);
            let text = quick.lines.recv().await.unwrap();
            assert!(String::from_utf8_lossy(&text).contains(&format!("\"session\":{session}}}")));
        }
        for _ in 0..LINES_MAX {
            slow.lines.recv().await.unwrap();
        }
        tell(total);
        let lost = slow.lines.recv().await.unwrap();
        assert!(String::from_utf8_lossy(&lost).contains("\"lines\":100}"), "{lost:?}");
        let next = slow.lines.recv().await.unwrap();
        assert!(String::from_utf8_lossy(&next).contains(&format!("\"session\":{total}}}")));
    }

    #[tokio::test]
    async fn only_so_many_can_follow_and_those_who_went_make_room() {
        let mut followers = Followers::default();
        let add = |followers: &mut Followers| followers.add(EventQuery::default());
        let mut feeds: Vec<_> = (0..FOLLOWERS_MAX).map(|_| add(&mut followers).unwrap()).collect();
        assert!(add(&mut followers).is_none());
        feeds.pop();
        assert!(add(&mut followers).is_some());
    }
}
