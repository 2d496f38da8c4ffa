//! Writes a configuration as a file: what differs from the defaults.

use crate::duration::{Deadline, Grace, Patience, Span};
use crate::native::{entry_words, proxies};
use crate::operand::parse_backend;
use crate::words::{Choice, PrintForm};
use crate::{
    Affinity, Backend, Bind, Config, Endpoint, Family, Host, Limits, Listener, LogFormat, Pool,
    Process, StateDirectory, Tier,
};
use balancing::{AccessList, AdminState, FailoverScope, Policy};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use terms::{Cut, KeepAlive, Source, SpliceMode, Timeouts};
use toml_edit::Value;

impl Config {
    /// The configuration in this form, with a newline at its end.
    pub fn printed(&self, form: PrintForm) -> String {
        match form {
            PrintForm::Line => format!("{}\n", self.to_command_line()),
            PrintForm::Toml => self.to_file(),
        }
    }

    /// The file that means this configuration, as `evenkeel fmt` would write it: what differs from
    /// the defaults, and a comment for each part that a file cannot express.
    ///
    /// Reading it gives this configuration again, without ids and those parts: paths that are not
    /// UTF-8, and what only the classics can say of access lists and reject backends.
    pub fn to_file(&self) -> String {
        let Self { listeners, pools, process } = self;
        let mut file = File::default();
        file.table("[process]", process_keys(process));
        let mut printed = BTreeSet::new();
        let of_listener = listeners.iter().flat_map(|listener| {
            [Some(Part::Listener(listener)), self.pool(&listener.pool).map(Part::Pool)]
        });
        let parts = of_listener.flatten().chain(pools.iter().map(Part::Pool));
        for part in parts {
            match part {
                Part::Listener(listener) => {
                    let keys = listener_keys(listener);
                    file.named(&format!("[listeners.{}]", key(&listener.name)), keys);
                }
                Part::Pool(pool) if printed.insert(&pool.name) => {
                    let keys = pool_keys(pool, &mut file.lost);
                    file.named(&format!("[pools.{}]", key(&pool.name)), keys);
                }
                Part::Pool(_) => {}
            }
        }
        let text = file.text();
        crate::format(&text).unwrap_or(text)
    }
}

enum Part<'c> {
    Listener(&'c Listener),
    Pool(&'c Pool),
}

/// The file so far.
#[derive(Default)]
struct File {
    text: String,
    /// What cannot be expressed.
    lost: Vec<String>,
}

impl File {
    /// A table, unless it is empty.
    fn table(&mut self, header: &str, keys: Keys) {
        if !keys.pairs.is_empty() {
            self.named(header, keys);
        }
    }

    fn named(&mut self, header: &str, keys: Keys) {
        self.text.push_str(&format!("\n{header}\n"));
        self.lost.extend(keys.lost);
        for (key, value) in keys.pairs {
            self.text.push_str(&format!("{key} = {value}\n"));
        }
    }

    fn text(self) -> String {
        let lost = self.lost.iter().map(|what| {
            let what = what.replace(char::is_control, "?");
            format!("# not expressible: {what}\n")
        });
        lost.collect::<String>() + &self.text
    }
}

/// Keys of one table with their values in TOML.
#[derive(Default)]
struct Keys {
    pairs: Vec<(&'static str, String)>,
    lost: Vec<String>,
}

impl Keys {
    fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.pairs.push((key, value.into().to_string()));
    }

    /// Unless the value is the default.
    fn text<T: PartialEq>(
        &mut self,
        key: &'static str,
        value: T,
        default: T,
        text: impl Fn(T) -> String,
    ) {
        if value != default {
            self.set(key, text(value));
        }
    }

    fn choice<T: Choice>(&mut self, key: &'static str, value: T, default: T) {
        self.text(key, value, default, |value| value.word().to_owned());
    }

    fn number<T: Into<i64>>(&mut self, key: &'static str, value: Option<T>) {
        if let Some(value) = value {
            self.set(key, value.into());
        }
    }

    fn flag(&mut self, key: &'static str, set: bool) {
        if set {
            self.set(key, true);
        }
    }

    fn path(&mut self, key: &'static str, path: Option<&Path>) {
        match path.map(|path| (path.to_str(), path)) {
            None => {}
            Some((Some(text), _)) => self.set(key, plain(text)),
            Some((None, path)) => self.lost.push(format!("{key}: {} is not UTF-8", path.display())),
        }
    }

    fn access(&mut self, list: &AccessList, whose: &str) {
        let entries = list.entries();
        if entries.is_empty() {
            return;
        }
        let texts = entries.iter().map(entry_words).collect::<Option<Vec<_>>>();
        let texts = texts.unwrap_or_else(|| {
            let what =
                "an entry of the access list that no client matches; to be safe, nobody is served";
            self.lost.push(format!("{whose}: {what}"));
            // Part of a list could admit clients whom the whole list denies.
            ["deny 0.0.0.0/0", "deny ::/0"].map(str::to_owned).to_vec()
        });
        self.set("access", texts.into_iter().collect::<Value>());
    }
}

fn process_keys(process: &Process) -> Keys {
    let Process { workers, spin, daemon, pid_file, user, root, state, admin, log_format, watch } =
        process;
    let mut keys = Keys::default();
    if let Some(user) = user {
        keys.set("user", plain(user));
    }
    keys.path("root", root.as_deref());
    keys.flag("daemon", *daemon);
    keys.path("pid-file", pid_file.as_deref());
    match state {
        StateDirectory::Usual => {}
        StateDirectory::None => keys.set("state", "none"),
        StateDirectory::At(path) if path.as_os_str() == "none" => keys.set("state", "./none"),
        StateDirectory::At(path) => keys.path("state", Some(path)),
    }
    keys.path("admin", admin.as_deref());
    keys.choice("log-format", *log_format, LogFormat::Text);
    keys.flag("watch", *watch);
    keys.number("workers", workers.and_then(|it| i64::try_from(it).ok()));
    keys.text("spin", spin.unwrap_or_default(), Duration::ZERO, |it| Span(it).to_string());
    keys
}

fn listener_keys(listener: &Listener) -> Keys {
    let Listener {
        id: _,
        name: _,
        binds,
        shared_port,
        pool,
        sessions_max,
        connecting_max,
        timeouts,
        source,
        accept_proxy,
        forwarded_headers,
        dummy,
        splice,
        cut,
    } = listener;
    let mut keys = Keys::default();
    let mut values: Vec<Value> = binds.iter().map(bind).collect();
    match values.pop() {
        Some(only) if values.is_empty() => keys.set("bind", only),
        last => keys.set("bind", values.into_iter().chain(last).collect::<Value>()),
    }
    keys.choice("family", family(binds), Family::Any);
    keys.set("pool", plain(pool));
    keys.flag("share-port", *shared_port);
    keys.number("max-sessions", *sessions_max);
    keys.number("max-connecting", *connecting_max);
    times(&mut keys, timeouts);
    if let Source::Fixed(address) = source {
        keys.set("source", address.to_string());
    }
    keys.flag("transparent", *source == Source::Client);
    if let Some(peers) = accept_proxy {
        let words = proxies(peers);
        keys.set("accept-proxy", words.split(',').collect::<Value>());
    }
    keys.flag("forwarded-headers", *forwarded_headers);
    keys.choice("splice", *splice, SpliceMode::default());
    keys.choice("cut", *cut, Cut::Reset);
    keys.flag("dummy", *dummy);
    keys
}

fn bind(bind: &Bind) -> Value {
    match bind {
        Bind::Tcp { host: None, port, family: Family::Any } => i64::from(*port).into(),
        bind => plain(&bind.to_string()).into(),
    }
}

/// The family of the names among the addresses; of other addresses, it follows from the address.
fn family(binds: &[Bind]) -> Family {
    let names = binds.iter().filter_map(|bind| match bind {
        Bind::Tcp { host: Some(Host::Name(_)), family, .. } => Some(*family),
        _ => None,
    });
    names.into_iter().find(|family| *family != Family::Any).unwrap_or(Family::Any)
}

fn times(keys: &mut Keys, times: &Timeouts) {
    let Timeouts {
        connect,
        idle,
        half_close,
        backend_half_close,
        linger,
        keep_alive,
        user_timeout,
        shutdown,
    } = times;
    let default = Timeouts::default();
    let span = |duration: Duration| Span(duration).to_string();
    let patience = |limit| Patience(limit).to_string();
    let grace = |limit| Grace(limit).to_string();
    keys.text("connect-timeout", *connect, default.connect, span);
    keys.text("idle-timeout", *idle, default.idle, patience);
    keys.text("half-close-timeout", *half_close, default.half_close, grace);
    keys.text("backend-half-close-timeout", *backend_half_close, *half_close, grace);
    keys.text("linger", *linger, default.linger, span);
    match keep_alive {
        KeepAlive::System => {}
        KeepAlive::Never => keys.set("keep-alive", patience(None)),
        KeepAlive::After(idle) => keys.set("keep-alive", patience(Some(*idle))),
    }
    keys.text("user-timeout", *user_timeout, default.user_timeout, patience);
    keys.text("shutdown-timeout", *shutdown, default.shutdown, |it| Deadline(it).to_string());
}

fn pool_keys(pool: &Pool, lost: &mut Vec<String>) -> Keys {
    let Pool {
        name,
        tiers,
        quarantine,
        auto_disable,
        failover,
        hash_failover,
        last_resort,
        access,
        reject,
        affinity,
        send_proxy,
        fixed_places,
    } = pool;
    let mut keys = Keys::default();
    // As on a command line, where `%` ends single tiers that hash.
    let policies = || tiers.iter().map(|tier| tier.policy);
    let policy = policies().find(|it| *it != Policy::Hash).or_else(|| policies().next());
    let policy = policy.unwrap_or_default();
    keys.choice("policy", policy, Policy::default());
    let span = |duration: Duration| Span(duration).to_string();
    keys.text("quarantine", *quarantine, Pool::DEFAULT_QUARANTINE, span);
    keys.flag("no-last-resort", !last_resort);
    keys.choice("failover", *failover, FailoverScope::default());
    keys.choice("hash-failover", *hash_failover, FailoverScope::default());
    keys.flag("auto-disable", *auto_disable);
    if let Some(Affinity { clients_max, time_limit, sticky }) = affinity {
        keys.number("affinity", Some(*clients_max));
        keys.text("affinity-time", *time_limit, None, |limit| Patience(limit).to_string());
        keys.flag("affinity-count-only", !sticky);
    }
    keys.access(access, &format!("pool {name}"));
    if let Some(reject) = reject {
        keys.set("reject", backend(reject, lost));
    }
    if let Some(form) = send_proxy {
        keys.set("send-proxy", form.word());
    }
    keys.flag("fixed-places", *fixed_places);
    match tiers.as_slice() {
        [only] => keys.set("backends", backends(only, lost)),
        tiers => {
            let tiers = tiers.iter().map(|tier| match backends(tier, lost) {
                backends if tier.policy == policy => backends,
                backends => {
                    let pairs = [("policy", tier.policy.word().into()), ("backends", backends)];
                    pairs.into_iter().collect()
                }
            });
            keys.set("tiers", tiers.collect::<Value>());
        }
    }
    keys
}

fn backends(tier: &Tier, lost: &mut Vec<String>) -> Value {
    tier.backends.iter().map(|it| backend(it, lost)).collect()
}

/// A string if an operand can say it all, otherwise a table.
fn backend(backend: &Backend, lost: &mut Vec<String>) -> Value {
    let Backend { id: _, name, endpoint, limits, weight, priority, access, send_proxy, admin } =
        backend;
    let Limits { sessions_max, sessions_max_affine } = limits;
    if let Endpoint::Unix(path) = endpoint
        && path.to_str().is_none()
    {
        lost.push(format!("{endpoint} is not UTF-8"));
    }
    let plain_backend = Backend { id: None, ..backend.clone() };
    let operand = backend.to_string();
    if parse_backend(&operand, None, &|_| None) == Ok(plain_backend) {
        return plain(&operand).into();
    }
    let mut keys = Keys::default();
    keys.set("to", plain(&endpoint.to_string()));
    if let Some(name) = name {
        keys.set("name", plain(name));
    }
    let number = |value: i64, default: i64| Some(value).filter(|it| *it != default);
    keys.number("max-sessions", number(sessions_max.number().into(), 0));
    keys.number("max-affine", number((*sessions_max_affine).into(), 0));
    keys.number("weight", number((*weight).into(), 1));
    keys.number("priority", number((*priority).into(), 0));
    keys.access(access, &format!("backend {endpoint}"));
    if let Some(form) = send_proxy {
        keys.set("send-proxy", form.word());
    }
    keys.choice("admin", *admin, AdminState::Enabled);
    lost.append(&mut keys.lost);
    let text = keys.pairs.iter().map(|(key, value)| format!("{key} = {value}"));
    let text = format!("{{ {} }}", text.collect::<Vec<_>>().join(", "));
    text.parse().unwrap_or_else(|_| Value::from(text))
}

/// A string in which nothing looks like a variable.
fn plain(text: &str) -> String {
    text.replace("${", "$${")
}

/// A name as a key, in quotes if necessary.
fn key(name: &str) -> String {
    toml_edit::Key::new(name).display_repr().into_owned()
}

#[cfg(test)]
mod tests;
