//! The owner's part of draining the instance.

use crate::drain::{Drain, Step};
use crate::kernel::Kernel;
use crate::owner::Owner;
use config::{CommandError, Reply};
use dataplane::Victims;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use telemetry::{Level, Value};
use terms::CloseReason;
use tokio::time::Instant;

impl Owner {
    /// Begins to drain the instance, or changes the time of a drain under way.
    pub fn drain_all(&mut self, time: Duration, by: &str) {
        let now = Instant::now();
        match &mut self.drain {
            Some(drain) => drain.change_time(now, time),
            None => {
                let pre_stop = self.instance.config.process.pre_stop();
                self.drain = Some(Drain::new(now, pre_stop, time));
            }
        }
        let fields = [("by", Value::Text(&by)), ("seconds", Value::Count(time.as_secs()))];
        self.note(Level::Info, "draining", &fields);
        self.report_status();
    }

    /// Takes the next step of the drain.
    pub fn drain_on(&mut self) {
        let now = Instant::now();
        let Some(drain) = &mut self.drain else { return };
        match drain.next_step(now) {
            Step::Wait => {}
            Step::EndSilent(turns, ended) => {
                let note = move |count| {
                    ended.fetch_add(count, Relaxed);
                };
                self.instance.plane.cut(Victims::Silent(turns), CloseReason::Drain, note);
            }
            Step::Pause => {
                self.instance.pause();
                let sessions = self.instance.session_count();
                drain.begin_emptying(now, sessions);
                let fields = [("sessions", Value::Count(sessions as u64))];
                let message = "no more clients accepted; sessions end as they fall silent";
                self.note(Level::Info, message, &fields);
                self.engage();
                self.kernel.iter().for_each(Kernel::count_open);
                self.report_status();
            }
        }
    }

    /// Whether the drain is over, so that the process is to end.
    pub fn is_drained(&self) -> bool {
        let Some(drain) = &self.drain else { return false };
        let is_counted = |since: Instant| {
            let mut kernel = self.kernel.iter();
            kernel.all(|kernel| kernel.has_counted_open_since(since.into_std()))
        };
        let sessions = match drain.emptying_since().is_some_and(is_counted) {
            true => self.instance.session_count(),
            false => 1, // of which nobody knows yet
        };
        drain.is_over(Instant::now(), sessions)
    }

    /// After how many seconds the drain is over at the latest.
    pub fn drain_seconds(&self) -> Option<u64> {
        Some(self.drain.as_ref()?.time_left(Instant::now()).as_secs())
    }

    /// Calls the drain off, and accepts clients again.
    pub fn cancel_drain(&mut self, by: &str) -> Result<Reply, CommandError> {
        if self.drain.is_none() {
            return Err(CommandError::NotDraining);
        }
        if self.instance.is_paused {
            let resumed = self.instance.resume();
            resumed.map_err(|errors| CommandError::NotResumable(errors.texts()))?;
        }
        self.give_drain_up();
        self.have_sockets_kept();
        self.note(Level::Info, "drain called off", &[("by", Value::Text(&by))]);
        self.engage();
        self.report_status();
        Ok(Reply::Done)
    }

    /// Forgets the drain. Whoever waits for its end learns that there will be none.
    pub fn give_drain_up(&mut self) {
        self.drain = None;
        self.await_drained.clear();
    }

    /// Reports what has become of the sessions. `cut` is the number of those that were cut at the end.
    pub fn report_drained(&mut self, cut: usize) {
        let Some(drained) = self.drain.take().map(|drain| drain.result(cut)) else { return };
        let counts =
            [("finished", drained.finished), ("ended", drained.ended), ("cut", drained.cut)];
        let fields = counts.map(|(name, count)| (name, Value::Count(count)));
        self.note(Level::Info, "drained", &fields);
        for answer in self.await_drained.drain(..) {
            let _ = answer.send(drained);
        }
    }
}
