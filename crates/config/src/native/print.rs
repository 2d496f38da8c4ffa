//! Writes a configuration as a native command line.

use super::access;
use super::services::{SEPARATOR, listen_words};
use super::writing::{Options, listener_options, pool_options, process_options};
use crate::words::Choice;
use crate::{Backend, Config, Listener, Pool, Route};
use balancing::{AdminState, Policy};
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

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
            if let Some(pool) = pool {
                pool_words(&mut words, pool);
            }
            listener_options(&mut words, listener);
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
        let is_used = |pool: &&Pool| {
            self.listeners.iter().flat_map(Listener::pools).any(|it| it == pool.name)
        };
        let idle = self.pools.iter().filter(|pool| !is_used(pool));
        all.extend(idle.map(|pool| format!("pool {} has no listener", pool.name)));
        all
    }

    /// Of a line's listeners and pools, each has one address, and the names follow from it.
    fn names_inexpressible(&self, all: &mut Vec<String>, listener: &Listener) {
        let Listener { name, binds, pool, .. } = listener;
        let words = listen_words(binds);
        if words.len() != 1 {
            all.push(format!("listener {name} has {} addresses", words.len()));
        }
        if self.listeners.iter().take_while(|it| it.name != *name).any(|it| it.pool == *pool) {
            all.push(format!("listener {name} shares its pool {pool}"));
        }
        let implied = match (self.listeners.len(), words.into_iter().next()) {
            (1, _) => Listener::DEFAULT_NAME.to_owned(),
            (_, first) => first.unwrap_or_default(),
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
    for Route { rule, pool } in &listener.routes {
        let names = rule.names.iter().map(ToString::to_string);
        let asked: Vec<_> = names.chain(rule.protocols.iter().cloned()).collect();
        all.push(format!("clients that ask for {} go to the pool {pool}", asked.join(", ")));
    }
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
    if backend.tls.is_some() || backend.tls_name.is_some() {
        all.push(format!("{name} has TLS settings of its own"));
    }
    if is_asked && !backend.access.entries().is_empty() {
        all.push(format!("{name} has an access list of its own"));
    }
}

struct Words(Vec<String>);

impl Options for Words {
    fn set(&mut self, name: &'static str) {
        self.0.push(format!("--{name}"));
    }

    fn set_number(&mut self, name: &'static str, number: i64) {
        self.set_text(name, &number.to_string());
    }

    fn set_text(&mut self, name: &'static str, text: &str) {
        self.0.extend([format!("--{name}"), text.to_owned()]);
    }

    fn set_list(&mut self, name: &'static str, values: &str) {
        self.set_text(name, values);
    }

    fn set_path(&mut self, name: &'static str, path: &Path) {
        self.set_text(name, &path.display().to_string());
    }

    fn set_paths(&mut self, name: &'static str, paths: &[PathBuf]) {
        paths.iter().for_each(|path| self.set_path(name, path));
    }
}

fn pool_words(words: &mut Words, pool: &Pool) {
    let policy = pool.tiers.iter().map(|tier| tier.policy).find(|policy| *policy != Policy::Hash);
    words.choice("policy", policy.unwrap_or_default(), Policy::default());
    pool_options(words, pool);
    let entries = pool.access.entries();
    match entries.iter().map(access::words).collect::<Option<Vec<_>>>() {
        Some(all) => words.0.extend(all.into_iter().flatten()),
        // Part of a list could admit clients whom the whole list denies.
        None => words.0.extend(["--deny", "0.0.0.0/0", "--deny", "::/0"].map(str::to_owned)),
    }
    if let Some(reject) = &pool.reject {
        words.set_text("reject", &reject.to_string());
    }
    if let Some(form) = pool.send_proxy {
        words.set_text("send-proxy", form.word());
    }
}

fn operands(words: &mut Words, listener: &Listener, pool: Option<&Pool>) {
    words.0.extend(listen_words(&listener.binds).into_iter().next());
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
