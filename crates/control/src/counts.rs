//! What the control plane counts.

use config::{CommandError, Reply};
use dataplane::{Event, Trouble};
use telemetry::metrics::Detail;
use telemetry::{ControlCounts, Status};
use terms::Instant;

/// What metrics are made of.
pub(crate) struct Figures {
    pub status: Status,
    pub counts: ControlCounts,
    pub detail: Detail,
    /// When the process started, in nanoseconds since 1970.
    pub started: i64,
}

/// What the control plane counts.
pub(crate) struct Counts {
    /// When the process started, in nanoseconds since 1970.
    pub started: i64,
    reloads: [u64; 3],
    has_last_succeeded: bool,
    last_success: i64,
    pub lost_events: u64,
    shortages: [Shortage; 3],
}

/// How long something has been lacking.
#[derive(Clone, Copy, Default)]
struct Shortage {
    /// How many workers lack it.
    workers: u32,
    since: Instant,
    seconds: f64,
}

const DONE: usize = 0;
const UNCHANGED: usize = 1;
const REFUSED: usize = 2;

impl Default for Counts {
    fn default() -> Self {
        let now = sys::clock::wall_nanos();
        Self {
            started: now,
            reloads: [0; 3],
            has_last_succeeded: true,
            last_success: now,
            lost_events: 0,
            shortages: [Shortage::default(); 3],
        }
    }
}

impl Counts {
    /// A reload is over.
    pub fn note_reload(&mut self, result: &Result<Reply, CommandError>) {
        let outcome = match result {
            Ok(Reply::Done) => DONE,
            Ok(Reply::Unchanged) => UNCHANGED,
            Err(_) => REFUSED,
        };
        self.reloads[outcome] += 1;
        self.has_last_succeeded = outcome != REFUSED;
        if self.has_last_succeeded {
            self.last_success = sys::clock::wall_nanos();
        }
    }

    /// Takes in the events about shortages.
    pub fn note_event(&mut self, event: &Event) {
        match event {
            Event::Trouble(trouble) => {
                let shortage = &mut self.shortages[place(*trouble)];
                if shortage.workers == 0 {
                    shortage.since = sys::clock::now();
                }
                shortage.workers += 1;
            }
            Event::TroubleOver(trouble) => {
                let shortage = &mut self.shortages[place(*trouble)];
                shortage.workers = shortage.workers.saturating_sub(1);
                if shortage.workers == 0 {
                    let lasted = sys::clock::now().since(shortage.since);
                    shortage.seconds += lasted.as_secs_f64();
                }
            }
            _ => {}
        }
    }

    /// All of it, with the numbers of lines that the log has lost and of sessions that it leaves out.
    pub fn row(&self, lost_lines: u64, left_out: u64) -> ControlCounts {
        let now = sys::clock::now();
        let lasting = |it: &Shortage| match it.workers {
            0 => it.seconds,
            _ => it.seconds + now.since(it.since).as_secs_f64(),
        };
        let kinds = ["descriptors", "ports", "flows"].into_iter().zip(&self.shortages);
        ControlCounts {
            reloads_done: self.reloads[DONE],
            reloads_unchanged: self.reloads[UNCHANGED],
            reloads_refused: self.reloads[REFUSED],
            has_last_succeeded: self.has_last_succeeded,
            last_success_seconds: self.last_success as f64 / 1e9,
            lost_lines,
            left_out,
            lost_events: self.lost_events,
            shortages: kinds.map(|(kind, it)| (kind, lasting(it))).collect(),
        }
    }
}

fn place(trouble: Trouble) -> usize {
    match trouble {
        Trouble::Descriptors => 0,
        Trouble::Ports => 1,
        Trouble::Flows => 2,
    }
}
