//! Writes a configuration as a native command line.

use super::access;
use super::services::{SEPARATOR, listen_word};
use crate::duration::{Deadline, Grace, Patience, Span};
use crate::words::Choice;
use crate::{Backend, Config, Listener, LogFormat, Pool, Process, StateDirectory};
use balancing::{AdminState, FailoverScope, Policy};
use std::fmt::{self, Display};
use std::path::Path;
use std::time::Duration;
use terms::{Cut, KeepAlive, Source, SpliceMode, Timeouts};

impl Config {
    /// The arguments of `evenkeel` that mean this configuration: the options that differ from the
    /// default, then the operands with every port.
    ///
    /// Reading them gives this configuration again, except for what [`Config::inexpressible`]
    /// returns, and for `-6` together with a name, which only balance(1) knows.
    pub fn to_arguments(&self) -> Vec<String> {
        let mut words = Words(Vec::new());
        if self.listeners.is_empty() {
            process_options(&mut words, &self.process);
        }
        for (number, listener) in self.listeners.iter().enumerate() {
            if number > 0 {
                words.0.push(SEPARATOR.to_owned());
            }
            let pool = self.pool(&listener.pool);
            service_options(&mut words, listener, pool);
            if number == 0 {
                process_options(&mut words, &self.process);
            }
            operands(&mut words, listener, pool);
        }
        words.0
    }

    /// [`Config::to_arguments`] as one line for a POSIX shell, after a comment for each part that
    /// cannot be expressed.
    pub fn to_command_line(&self) -> String {
        let mut line = String::new();
        for what in self.inexpressible() {
            let what = what.replace(char::is_control, "?"); // a path can have a line end
            line.push_str(&format!("# not expressible: {what}\n"));
        }
        line.push_str("evenkeel");
        for word in self.to_arguments() {
            line.push(' ');
            line.push_str(&Quoted(&word).to_string());
        }
        line
    }

    /// What [`Config::to_arguments`] cannot express. Only the classics and files produce such
    /// things.
    pub fn inexpressible(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.listeners.is_empty() {
            all.push("there is no listening address".to_owned());
            return all;
        }
        for listener in &self.listeners {
            self.names_inexpressible(&mut all, listener);
            let mut own = Vec::new();
            inexpressible(&mut own, listener, self.pool(&listener.pool));
            match self.listeners.len() {
                1 => all.extend(own),
                _ => all.extend(own.iter().map(|what| format!("{}: {what}", listener.name))),
            }
        }
        let is_used = |pool: &&Pool| self.listeners.iter().any(|it| it.pool == pool.name);
        let idle = self.pools.iter().filter(|pool| !is_used(pool));
        all.extend(idle.map(|pool| format!("pool {} has no listener", pool.name)));
        all
    }

    /// Of a line's listeners and pools, each has one address, and the names follow from it.
    fn names_inexpressible(&self, all: &mut Vec<String>, listener: &Listener) {
        let Listener { name, binds, pool, .. } = listener;
        if binds.len() != 1 {
            all.push(format!("listener {name} has {} addresses", binds.len()));
        }
        if self.listeners.iter().take_while(|it| it.name != *name).any(|it| it.pool == *pool) {
            all.push(format!("listener {name} shares its pool {pool}"));
        }
        let implied = match (self.listeners.len(), binds.first()) {
            (1, _) => Listener::DEFAULT_NAME.to_owned(),
            (_, first) => first.map(listen_word).unwrap_or_default(),
        };
        if *name != implied {
            all.push(format!("the listener's name, {name}"));
        }
        if *pool != implied {
            all.push(format!("the pool's name, {pool}"));
        }
    }
}

fn inexpressible(all: &mut Vec<String>, listener: &Listener, pool: Option<&Pool>) {
    if listener.dummy {
        all.push("clients are answered with a fixed page, without a backend".to_owned());
    }
    let Some(pool) = pool else {
        return all.push("there are no backends".to_owned());
    };
    let entries = pool.access.entries().iter().filter(|entry| access::words(entry).is_none());
    let lost = entries.count();
    if lost > 0 {
        all.push(format!(
            "{lost} entr{} of the access list; to be safe, the command line serves nobody",
            if lost == 1 { "y" } else { "ies" }
        ));
    }
    if pool.tiers.is_empty() {
        all.push("there are no backends".to_owned());
    }
    let plain = || pool.tiers.iter().filter(|tier| tier.policy != Policy::Hash);
    let first = plain().next();
    if first.is_some_and(|first| plain().any(|tier| tier.policy != first.policy)) {
        all.push("tiers have several policies".to_owned());
    }
    for (number, tier) in pool.tiers.iter().enumerate() {
        if tier.backends.is_empty() {
            all.push(format!("tier {number} has no backends"));
        }
        for (index, backend) in tier.backends.iter().enumerate() {
            let name = format!("backend {number}.{index} ({})", backend.endpoint);
            // Every client that reaches a backend has passed the listener's list.
            let is_asked = backend.access != pool.access;
            backend_inexpressible(all, &name, backend, is_asked);
        }
    }
    if let Some(backend) = &pool.reject {
        backend_inexpressible(all, "the reject backend", backend, true);
    }
}

fn backend_inexpressible(all: &mut Vec<String>, name: &str, backend: &Backend, is_asked: bool) {
    if backend.admin != AdminState::Enabled {
        all.push(format!("{name} is out of service"));
    }
    if let Some(called) = &backend.name {
        all.push(format!("{name} has a name of its own, {called}"));
    }
    if let Some(form) = backend.send_proxy {
        all.push(format!("{name} has a PROXY header of its own, {}", form.word()));
    }
    if is_asked && !backend.access.entries().is_empty() {
        all.push(format!("{name} has an access list of its own"));
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

fn service_options(words: &mut Words, listener: &Listener, pool: Option<&Pool>) {
    if let Some(pool) = pool {
        pool_options(words, pool);
    }
    listener_options(words, listener);
}

fn pool_options(words: &mut Words, pool: &Pool) {
    let tiers = &pool.tiers;
    let span = |duration: Duration| Span(duration).to_string();
    let policy = tiers.iter().map(|tier| tier.policy).find(|policy| *policy != Policy::Hash);
    words.choice("--policy", policy.unwrap_or_default(), Policy::default());
    words.option("--quarantine", pool.quarantine, Pool::DEFAULT_QUARANTINE, span);
    words.flag("--no-last-resort", !pool.last_resort);
    words.choice("--failover", pool.failover, FailoverScope::default());
    words.choice("--hash-failover", pool.hash_failover, FailoverScope::default());
    words.flag("--auto-disable", pool.auto_disable);
    if let Some(affinity) = pool.affinity {
        words.optional("--affinity", Some(affinity.clients_max));
        let patience = |limit| Patience(limit).to_string();
        words.option("--affinity-time", affinity.time_limit, None, patience);
        words.flag("--affinity-count-only", !affinity.sticky);
    }
    let entries = pool.access.entries();
    match entries.iter().map(access::words).collect::<Option<Vec<_>>>() {
        Some(all) => words.0.extend(all.into_iter().flatten()),
        // Part of a list could admit clients whom the whole list denies.
        None => words.0.extend(["--deny", "0.0.0.0/0", "--deny", "::/0"].map(str::to_owned)),
    }
    words.optional("--reject", pool.reject.as_ref());
    words.optional("--send-proxy", pool.send_proxy.map(Choice::word));
}

fn listener_options(words: &mut Words, listener: &Listener) {
    words.optional("--max-sessions", listener.sessions_max);
    words.optional("--max-connecting", listener.connecting_max);
    words.flag("--share-port", listener.shared_port);
    listener_times(words, &listener.timeouts);
    if let Source::Fixed(address) = listener.source {
        words.optional("--source", Some(address));
    }
    words.flag("--transparent", listener.source == Source::Client);
    words.optional("--accept-proxy", listener.accept_proxy.as_ref().map(access::proxies));
    words.flag("--forwarded-headers", listener.forwarded_headers);
    words.choice("--splice", listener.splice, SpliceMode::default());
    words.choice("--cut", listener.cut, Cut::Reset);
}

fn listener_times(words: &mut Words, times: &Timeouts) {
    let span = |duration: Duration| Span(duration).to_string();
    let default = Timeouts::default();
    let patience = |limit| Patience(limit).to_string();
    words.option("--connect-timeout", times.connect, default.connect, span);
    words.option("--idle-timeout", times.idle, default.idle, patience);
    let grace = |limit| Grace(limit).to_string();
    words.option("--half-close-timeout", times.half_close, default.half_close, grace);
    let name = "--backend-half-close-timeout";
    words.option(name, times.backend_half_close, times.half_close, grace);
    words.option("--linger", times.linger, default.linger, span);
    let keep_alive = match times.keep_alive {
        KeepAlive::System => None,
        KeepAlive::Never => Some(Patience(None)),
        KeepAlive::After(idle) => Some(Patience(Some(idle))),
    };
    words.optional("--keep-alive", keep_alive);
    words.option("--user-timeout", times.user_timeout, default.user_timeout, patience);
    let deadline = |limit| Deadline(limit).to_string();
    words.option("--shutdown-timeout", times.shutdown, default.shutdown, deadline);
}

fn process_options(words: &mut Words, process: &Process) {
    words.optional("--workers", process.workers);
    words.optional("--spin", process.spin.map(Span));
    words.flag("--daemon", process.daemon);
    words.optional("--pid-file", process.pid_file.as_deref().map(Path::display));
    words.optional("--user", process.user.as_deref());
    words.optional("--root", process.root.as_deref().map(Path::display));
    match &process.state {
        StateDirectory::Usual => {}
        StateDirectory::None => words.optional("--state", Some("none")),
        StateDirectory::At(path) if path.as_os_str() == "none" => {
            words.optional("--state", Some("./none"));
        }
        StateDirectory::At(path) => words.optional("--state", Some(path.display())),
    }
    words.optional("--admin", process.admin.as_deref().map(Path::display));
    words.choice("--log-format", process.log_format, LogFormat::Text);
}

fn operands(words: &mut Words, listener: &Listener, pool: Option<&Pool>) {
    words.0.extend(listener.binds.first().map(listen_word));
    let tiers = || {
        let tiers = pool.into_iter().flat_map(|pool| &pool.tiers);
        tiers.filter(|tier| !tier.backends.is_empty())
    };
    let last = tiers().count().saturating_sub(1);
    for (index, tier) in tiers().enumerate() {
        words.0.extend(tier.backends.iter().map(ToString::to_string));
        match tier.policy {
            Policy::Hash => words.0.push("%".to_owned()),
            _ if index < last => words.0.push("!".to_owned()),
            _ => {}
        }
    }
}

/// A word, quoted for a POSIX shell if necessary.
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
