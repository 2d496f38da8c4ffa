//! Agents of HAProxy's protocol: programs beside a backend that say in a line what is to become of
//! it. Source: HAProxy's configuration manual, section 5.2, `agent-check`.

mod check;

pub use check::{AgentAddress, AgentCheck};

use crate::text::shown;
use std::time::Duration;
use terms::Instant;

/// What an agent has said so far, taken together: what a line does not mention stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Whether it said `drain` or `maint`, rather than `ready`.
    pub standing: Standing,
    /// Whether it said `down`, `fail` or `stopped`, rather than `up`.
    pub is_down: bool,
    /// The share of its usual sessions that the backend is to get, from 0 to 100.
    pub share_percent: u8,
    /// The maximum number of sessions, if it said one; zero for no limit.
    pub sessions_max: Option<u32>,
    /// Its last line, printable and short.
    pub text: Option<String>,
}

/// What an agent wants done with new sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// They may come.
    #[default]
    Ready,
    /// They go elsewhere.
    Drain,
    /// Likewise, for maintenance.
    Maint,
}

/// An agent that nobody has heard of says nothing.
impl Default for Advice {
    fn default() -> Self {
        Self {
            standing: Standing::Ready,
            is_down: false,
            share_percent: 100,
            sessions_max: None,
            text: None,
        }
    }
}

impl Advice {
    /// Whether the backend is to get no new sessions.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.standing != Standing::Ready || self.share_percent == 0
    }

    /// Folds in a line. The error says what is wrong with it; nothing has changed then.
    ///
    /// It consists of words between spaces, tabs and commas, in any order. A word that is not known
    /// is passed over if there is one that is. What follows a `#` is for people.
    ///
    /// # Errors
    /// If there is no word that is known.
    pub fn fold(&mut self, line: &[u8]) -> Result<(), String> {
        let words = line.split(|it| *it == b'#').next().unwrap_or_default();
        let words = words.split(|it| matches!(it, b' ' | b'\t' | b','));
        let mut next = self.clone();
        let mut is_known = false;
        for word in words.filter(|it| !it.is_empty()) {
            is_known |= next.fold_word(&word.to_ascii_lowercase()).is_some();
        }
        if !is_known {
            return Err(format!("said nothing that is known: \"{}\"", shown(line)));
        }
        *self = Self { text: Some(shown(line)), ..next };
        Ok(())
    }

    fn fold_word(&mut self, word: &[u8]) -> Option<()> {
        match word {
            b"up" => self.is_down = false,
            b"down" | b"fail" | b"stopped" => self.is_down = true,
            b"ready" => self.standing = Standing::Ready,
            b"drain" => self.standing = Standing::Drain,
            b"maint" => self.standing = Standing::Maint,
            _ => match (word.strip_suffix(b"%"), word.strip_prefix(b"maxconn:")) {
                (Some(digits), _) => self.share_percent = number(digits)?.min(100) as u8,
                (None, Some(digits)) => self.sessions_max = Some(number(digits)?),
                (None, None) => return None,
            },
        }
        Some(())
    }
}

/// A number in digits. One that is too large is as large as can be.
fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |sum: u32, it: &u8| sum.saturating_mul(10).saturating_add((it - b'0').into());
    Some(digits.iter().fold(0, digit))
}

/// An agent, and what it has said.
///
/// ~~~text
///           a line                          a line: folded in
///   silent ---------> says something <------------------------.
///      ^                |          `---------------------------'
///      `----------------'
///        no answer, and none for three intervals
/// ~~~
///
/// That an agent cannot be reached says nothing about its backend, which is why it changes nothing
/// at first. But an agent that said `down` and was then removed must not keep its backend down for
/// ever.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    advice: Advice,
    heard: Instant,
}

/// How many intervals what an agent has said holds without another answer.
const HOLDS: u32 = 3;

impl Agent {
    /// An agent that has just said all this.
    #[must_use]
    pub fn new(advice: Advice, now: Instant) -> Self {
        Self { advice, heard: now }
    }

    /// What it has said.
    #[must_use]
    pub fn advice(&self) -> &Advice {
        &self.advice
    }

    /// It has answered, and `advice` is what that comes to; returns whether it is something else.
    pub fn hear(&mut self, advice: Advice, now: Instant) -> bool {
        let is_new = self.advice != advice;
        *self = Self { advice, heard: now };
        is_new
    }

    /// It has not answered when it was asked, which is known for sure; returns whether what it said
    /// no longer holds.
    pub fn miss(&mut self, interval: Duration, now: Instant) -> bool {
        let silent = Advice::default();
        if self.advice == silent || now.since(self.heard) < interval * HOLDS {
            return false;
        }
        self.advice = silent;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Says lines one after the other, and describes what they come to.
    #[track_caller]
    fn check(lines: &[&str], expected: &str) {
        let mut advice = Advice::default();
        for line in lines {
            if let Err(error) = advice.fold(line.as_bytes()) {
                assert_eq!(error, expected, "{line}");
                return;
            }
        }
        let Advice { standing, is_down, share_percent, sessions_max, .. } = advice;
        let health = if is_down { "down" } else { "up" };
        let limit = sessions_max.map(|it| format!(" max {it}")).unwrap_or_default();
        assert_eq!(format!("{standing:?} {health} {share_percent}%{limit}"), expected, "{lines:?}");
    }

    #[test]
    fn words_are_read_in_any_order() {
        check(&["75%"], "Ready up 75%");
        check(&["down"], "Ready down 100%");
        check(&["stopped"], "Ready down 100%");
        check(&["fail#disk is full, up it is not"], "Ready down 100%");
        check(&["maint\tup,50% , maxconn:30"], "Maint up 50% max 30");
        check(&["maxconn:0 drain"], "Drain up 100% max 0");
        check(&["READY 99%"], "Ready up 99%"); // as some agents say it
        check(&["250%"], "Ready up 100%");
        check(&["99999999999%  maxconn:99999999999"], "Ready up 100% max 4294967295");
        check(&["up gone"], "Ready up 100%");
        check(&["down up"], "Ready up 100%");
    }

    #[test]
    fn what_a_line_does_not_mention_stays() {
        check(&["drain down 10% maxconn:7", "up"], "Drain up 10% max 7");
        check(&["drain down 10%", "ready", "100%"], "Ready down 100%");
    }

    #[test]
    fn a_line_without_a_known_word_is_an_error() {
        check(&["# up"], "said nothing that is known: \"# up\"");
        check(&["75"], "said nothing that is known: \"75\"");
        check(&["-5% maxconn: %"], "said nothing that is known: \"-5% maxconn: %\"");
        check(&[""], "said nothing that is known: \"\"");
    }

    #[test]
    fn an_advice_holds_for_three_intervals() {
        let at = |seconds: u64| Instant::from_millis(1_000_000 + seconds * 1000);
        let interval = Duration::from_secs(5);
        let mut agent = Agent::default();
        assert!(!agent.miss(interval, at(0)));
        let mut drain = Advice::default();
        drain.fold(b"drain").unwrap();
        assert!(agent.hear(drain.clone(), at(0)));
        assert!(!agent.hear(drain.clone(), at(5)));
        assert!(!agent.miss(interval, at(10)));
        assert!(!agent.miss(interval, at(19)));
        assert_eq!(*agent.advice(), drain);
        // However much time has passed, only a question without an answer ends it.
        assert!(!agent.hear(drain.clone(), at(100)));
        assert!(!agent.miss(interval, at(105)));
        assert!(agent.miss(interval, at(115)));
        assert_eq!(*agent.advice(), Advice::default());
        assert!(!agent.miss(interval, at(120)));
    }

    proptest! {
        #[test]
        fn whatever_is_said_leaves_a_usable_advice(
            lines in prop::collection::vec("[a-z0-9%:,# \t\\PC]{0,30}", 0..5)
        ) {
            let mut advice = Advice::default();
            for line in lines {
                let before = advice.clone();
                if advice.fold(line.as_bytes()).is_err() {
                    prop_assert_eq!(&advice, &before);
                }
                prop_assert!(advice.share_percent <= 100);
                let text = advice.text.clone().unwrap_or_default();
                prop_assert!(!text.contains(char::is_control));
            }
        }
    }
}
