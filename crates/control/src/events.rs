//! Who follows what happens, through `GET /v1/events`.

use crate::door;
use config::{EventKind, EventQuery};
use hyper::body::{Body, Bytes, Frame};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use telemetry::{Level, Line, LineFormat, Stamp, Value};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The maximum number of followers.
pub(crate) const FOLLOWERS_MAX: usize = 16;

/// The maximum number of lines that wait for one follower. Further ones are lost to it.
const LINES_MAX: usize = 4096;

/// How long the followers may take to read the last lines before the process exits.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// How often to check whether they have.
const FINISH_LOOK: Duration = Duration::from_millis(5);

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
    /// Fails when the feed has been dropped: after its end, or because nobody reads it any more.
    over: oneshot::Receiver<()>,
}

impl Followers {
    /// Lets another one follow, unless there are too many.
    pub fn add(&mut self, EventQuery { only }: EventQuery) -> Option<Feed> {
        self.all.retain(|it| !it.lines.is_closed());
        if self.all.len() >= FOLLOWERS_MAX {
            return None;
        }
        let (lines, feed) = channel(LINES_MAX);
        let (is_there, over) = oneshot::channel();
        self.all.push(Follower { only, lines, lost: 0, over });
        Some(Feed { lines: feed, _is_there: is_there })
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

    /// Ends all feeds, and waits until what they have left has been sent, but no longer than a
    /// second: those who do not read are not to keep the process from exiting.
    pub async fn finish(&mut self) {
        if self.all.is_empty() {
            return;
        }
        let mut ends: JoinSet<()> = JoinSet::new();
        for follower in self.all.drain(..) {
            let lost = (follower.lost > 0).then(|| mention(follower.lost, &mut self.stamp));
            ends.spawn(follower.finish(lost));
        }
        let all_sent = async {
            while ends.join_next().await.is_some() {}
            while door::is_sending() {
                sleep(FINISH_LOOK).await;
            }
        };
        let _ = timeout(FINISH_WITHIN, all_sent).await; // whoever is late gets no more
    }
}

fn render(line: &Line<'_>, stamp: &mut Stamp) -> Bytes {
    let mut text = String::new();
    line.write(LineFormat::Json, sys::clock::wall_nanos(), stamp, &mut text);
    text.into()
}

/// The line about `lost` lines.
fn mention(lost: u64, stamp: &mut Stamp) -> Bytes {
    let fields = &[("lines", Value::Count(lost))];
    let message = "events lost: they were not read in time";
    render(&Line { level: Level::Warn, message, fields }, stamp)
}

impl Follower {
    fn tell(&mut self, line: &Bytes, stamp: &mut Stamp) {
        if self.lost > 0
            && self.lines.capacity() > 1
            && self.lines.try_send(mention(self.lost, stamp)).is_ok()
        {
            self.lost = 0;
        }
        if self.lost > 0 || self.lines.try_send(line.clone()).is_err() {
            self.lost += 1;
        }
    }

    /// Ends the feed, with a line about those that were `lost` at last, and waits until it is over.
    async fn finish(self, lost: Option<Bytes>) {
        if let Some(lost) = lost {
            let _ = self.lines.send(lost).await;
        }
        drop(self.lines);
        let _ = self.over.await;
    }
}

/// What one follower gets, as the body of an answer that ends with the process.
pub(crate) struct Feed {
    lines: Receiver<Bytes>,
    /// Dropped with this.
    _is_there: oneshot::Sender<()>,
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

    #[tokio::test(start_paused = true)]
    async fn at_the_end_feeds_are_read_to_the_end_but_nobody_is_waited_for_for_long() {
        let mut followers = Followers::default();
        let [mut reader, stuck, gone] = [(); 3].map(|()| followers.add(EventQuery::default()));
        drop(gone);
        let fields = &line(1);
        let end = Line { level: Level::Info, message: "session ended", fields };
        (0..LINES_MAX + 2).for_each(|_| followers.tell(EventKind::Ends, &end));
        let reading = async {
            let mut lines = Vec::new();
            while let Some(line) = reader.as_mut().unwrap().lines.recv().await {
                lines.push(line);
            }
            assert_eq!(lines.len(), LINES_MAX + 1);
            let last = String::from_utf8_lossy(&lines[LINES_MAX]);
            assert!(last.contains("\"lines\":2}"), "{last}");
            reader = None;
        };
        let begin = tokio::time::Instant::now();
        tokio::join!(followers.finish(), reading);
        assert_eq!(begin.elapsed().as_secs(), FINISH_WITHIN.as_secs());
        drop(stuck);
        assert!(followers.are_none());

        let reader = followers.add(EventQuery::default());
        followers.tell(EventKind::Ends, &end);
        let begin = tokio::time::Instant::now();
        let reading = async {
            let mut reader = reader.unwrap();
            while reader.lines.recv().await.is_some() {}
        };
        tokio::join!(followers.finish(), reading);
        assert_eq!(begin.elapsed(), Duration::ZERO);
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
