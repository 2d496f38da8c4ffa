//! A configuration said back as a native command line.

use crate::Source;
use crate::duration::{Deadline, Patience, Span};
use crate::words::Choice;
use crate::{Bind, Config, CutStyle, Family, Listener, LogFormat, Pool, Process, Timeouts};
use balancing::{FailoverScope, Policy};
use relay::SpliceMode;
use std::fmt::{self, Display};
use std::path::Path;
use std::time::Duration;

impl Config {
    /// The words behind `evenkeel` that mean this configuration: only options that differ from
    /// the default, then the operands with every port written out.
    ///
    /// Reading them gives this configuration again, with three exceptions that no native command
    /// line can express and only balance(1) produces: no backends at all; `-6` together with a
    /// name; and, later, tiers of several policies other than hash.
    pub fn to_arguments(&self) -> Vec<String> {
        let mut words = Words(Vec::new());
        for listener in &self.listeners {
            listener_options(&mut words, listener);
        }
        process_options(&mut words, &self.process);
        for listener in &self.listeners {
            operands(&mut words, listener);
        }
        words.0
    }

    /// [`Config::to_arguments`] as one line for a POSIX shell.
    pub fn to_command_line(&self) -> String {
        let mut line = String::from("evenkeel");
        for word in self.to_arguments() {
            line.push(' ');
            line.push_str(&Quoted(&word).to_string());
        }
        line
    }
}

struct Words(Vec<String>);

impl Words {
    /// `--name value`, unless the value is the default.
    fn option<T: PartialEq>(
        &mut self,
        name: &str,
        value: T,
        default: T,
        text: impl Fn(T) -> String,
    ) {
        if value != default {
            self.0.extend([name.to_owned(), text(value)]);
        }
    }

    fn choice<T: Choice>(&mut self, name: &str, value: T, default: T) {
        self.option(name, value, default, |value| value.word().to_owned());
    }

    fn optional<T: Display>(&mut self, name: &str, value: Option<T>) {
        if let Some(value) = value {
            self.0.extend([name.to_owned(), value.to_string()]);
        }
    }

    fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.0.push(name.to_owned());
        }
    }
}

fn listener_options(words: &mut Words, listener: &Listener) {
    let tiers = &listener.pool.tiers;
    let span = |duration: Duration| Span(duration).to_string();
    let policy = tiers.iter().map(|tier| tier.policy).find(|policy| *policy != Policy::Hash);
    words.choice("--policy", policy.unwrap_or_default(), Policy::default());
    words.option("--quarantine", listener.pool.quarantine, Pool::DEFAULT_QUARANTINE, span);
    words.choice("--hash-failover", listener.pool.hash_failover, FailoverScope::default());
    words.flag("--auto-disable", listener.pool.auto_disable);
    words.optional("--max-sessions", listener.sessions_max);

    let (times, default) = (&listener.timeouts, Timeouts::default());
    let patience = |limit| Patience(limit).to_string();
    words.option("--connect-timeout", times.connect, default.connect, span);
    words.option("--idle-timeout", times.idle, default.idle, patience);
    words.option("--half-close-timeout", times.half_close, default.half_close, patience);
    let name = "--backend-half-close-timeout";
    words.option(name, times.backend_half_close, times.half_close, patience);
    words.option("--linger", times.linger, default.linger, span);
    let deadline = |limit| Deadline(limit).to_string();
    words.option("--shutdown-timeout", times.shutdown, default.shutdown, deadline);

    if let Source::Fixed(address) = listener.source {
        words.optional("--source", Some(address));
    }
    words.choice("--splice", listener.splice, SpliceMode::default());
    words.choice("--cut", listener.cut, CutStyle::Reset);
}

fn process_options(words: &mut Words, process: &Process) {
    words.optional("--workers", process.workers);
    words.optional("--spin", process.spin.map(Span));
    words.flag("--daemon", process.daemon);
    words.optional("--pid-file", process.pid_file.as_deref().map(Path::display));
    words.optional("--user", process.user.as_deref());
    words.optional("--admin", process.admin.as_deref().map(Path::display));
    words.choice("--log-format", process.log_format, LogFormat::Text);
}

fn operands(words: &mut Words, listener: &Listener) {
    words.0.push(match &listener.bind {
        // A star would have to be quoted.
        Bind::Tcp { host: None, port, family: Family::Any } => port.to_string(),
        bind => bind.to_string(),
    });
    let last = listener.pool.tiers.len().saturating_sub(1);
    for (index, tier) in listener.pool.tiers.iter().enumerate() {
        words.0.extend(tier.backends.iter().map(ToString::to_string));
        match tier.policy {
            Policy::Hash => words.0.push("%".to_owned()),
            _ if index < last => words.0.push("!".to_owned()),
            _ => {}
        }
    }
}

/// A word as a POSIX shell needs it.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || "!%+,-./:=@_".contains(c);
        if !self.0.is_empty() && self.0.chars().all(plain) {
            f.write_str(self.0)
        } else {
            write!(f, "'{}'", self.0.replace('\'', r"'\''"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        let check = |word: &str, expected: &str| assert_eq!(Quoted(word).to_string(), expected);
        check("10.0.0.1:80:5", "10.0.0.1:80:5");
        check("!", "!");
        check("[::1]:80", "'[::1]:80'");
        check("unix:/a b", "'unix:/a b'");
        check("it's", r"'it'\''s'");
        check("", "''");
    }
}
