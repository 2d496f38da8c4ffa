//! What mergelogs says on standard error: a summary at the end, statistics, and a progress line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::input::Progress;
use crate::lines::Millis;

/// Counts of one run.
#[derive(Debug, Default)]
pub struct Report {
    /// Lines written.
    pub lines: u64,
    /// Lines whose client was found.
    pub matched: u64,
    /// Lines for which several clients came into question.
    pub ambiguous: u64,
    /// Lines that fit no format and were left out.
    pub rejected: u64,
    /// Lines of the balancer's log that could not be used.
    pub damaged: u64,
    /// Files that could not be read to their end.
    pub unread: u64,
    /// Per server: lines, matched lines, and how often which clock difference was seen.
    pub servers: Vec<PerServer>,
}

/// Counts of one server.
#[derive(Debug, Default)]
pub struct PerServer {
    lines: u64,
    matched: u64,
    /// Seconds that the balancer's stamp is after the server's.
    distances: BTreeMap<i64, u64>,
}

impl Report {
    /// Counts a line; `distance` is that of the origin which told its client.
    pub fn count(&mut self, server: usize, distance: Option<Millis>) {
        self.lines += 1;
        self.matched += u64::from(distance.is_some());
        if let Some(counts) = self.servers.get_mut(server) {
            counts.lines += 1;
            counts.matched += u64::from(distance.is_some());
            if let Some(distance) = distance {
                *counts.distances.entry(distance.div_euclid(1000)).or_default() += 1;
            }
        }
    }

    /// One line: what became of everything.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "mergelogs: {} lines, {} matched, {} unmatched",
            self.lines,
            self.matched,
            self.lines - self.matched
        );
        if self.ambiguous > 0 {
            let _ = write!(text, " (of these {} with several possible clients)", self.ambiguous);
        }
        if self.rejected > 0 {
            let _ = write!(text, ", {} unreadable and left out (see --rejects)", self.rejected);
        }
        if self.damaged > 0 {
            let _ = write!(text, "; {} lines of the balancer's log not usable", self.damaged);
        }
        text
    }

    /// A line per server, with the difference of its clock to the balancer's.
    pub fn statistics(&self, names: impl Fn(usize) -> String) -> String {
        let mut text = String::new();
        for (i, server) in self.servers.iter().enumerate() {
            let clock = match median(&server.distances) {
                None => "clock difference unknown".to_owned(),
                Some(0) => "clocks agree".to_owned(),
                Some(late) if late > 0 => format!("clock {late} s behind the balancer's"),
                Some(early) => format!("clock {} s ahead of the balancer's", -early),
            };
            let _ = writeln!(
                text,
                "mergelogs: server {}: {} lines, {} matched, {} unmatched, {clock}",
                names(i),
                server.lines,
                server.matched,
                server.lines - server.matched
            );
        }
        text
    }
}

fn median(counts: &BTreeMap<i64, u64>) -> Option<i64> {
    let half = counts.values().sum::<u64>().div_ceil(2);
    let mut seen = 0;
    counts.iter().find_map(|(distance, count)| {
        seen += count;
        (seen >= half).then_some(*distance)
    })
}

/// A line on the terminal that is written over several times a second.
pub struct ProgressLine {
    progress: Progress,
    started: Instant,
    shown: Instant,
    calls: u32,
    on: bool,
}

impl ProgressLine {
    /// Shows nothing unless standard error is a terminal.
    pub fn new(progress: Progress, wanted: bool) -> Self {
        let on = wanted && std::io::stderr().is_terminal();
        let now = Instant::now();
        Self { progress, started: now, shown: now, calls: 0, on }
    }

    /// To be called with every line; looks at the clock now and then.
    pub fn tick(&mut self, lines: u64) {
        self.calls = self.calls.wrapping_add(1);
        if !self.on || !self.calls.is_multiple_of(1024) || self.shown.elapsed() < EVERY {
            return;
        }
        self.shown = Instant::now();
        let text = progress_text(
            self.progress.done(),
            self.progress.total(),
            lines,
            self.started.elapsed(),
        );
        let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.on {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

const EVERY: Duration = Duration::from_millis(200);

fn progress_text(done: u64, total: u64, lines: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let speed = lines as f64 / seconds;
    if total == 0 {
        return format!("{lines} lines, {speed:.0} lines/s");
    }
    let share = (done as f64 / total as f64).clamp(0.0, 1.0);
    let filled = (share * 30.0) as usize;
    let left = if share > 0.0 { (seconds / share - seconds) as u64 } else { 0 };
    format!(
        "[{}{}] {:3.0} %  {lines} lines, {speed:.0} lines/s, {}:{:02} left",
        "#".repeat(filled),
        "-".repeat(30 - filled),
        share * 100.0,
        left / 60,
        left % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_only_what_happened() {
        let mut report = Report { servers: vec![PerServer::default()], ..Report::default() };
        report.count(0, Some(-2000));
        report.count(0, Some(-2000));
        report.count(0, Some(60_000));
        report.count(0, None);
        assert_eq!(report.summary(), "mergelogs: 4 lines, 3 matched, 1 unmatched");
        report.rejected = 2;
        assert!(report.summary().contains("2 unreadable and left out"));
        assert_eq!(
            report.statistics(|_| "10.0.0.1".to_owned()),
            "mergelogs: server 10.0.0.1: 4 lines, 3 matched, 1 unmatched, \
             clock 2 s ahead of the balancer's\n"
        );
    }

    #[test]
    fn progress_shows_share_speed_and_time_left() {
        let text = progress_text(25, 100, 1000, Duration::from_secs(10));
        assert_eq!(
            text,
            "[#######-----------------------]  25 %  1000 lines, 100 lines/s, 0:30 left"
        );
        assert_eq!(progress_text(5, 0, 10, Duration::from_secs(1)), "10 lines, 10 lines/s");
    }
}
