//! Writes a configuration as a file: what differs from the defaults.

use crate::duration::Span;
use crate::native::writing::{Options, listener_options, pool_options, process_options};
use crate::native::{entry_words, listen_words};
use crate::operand::parse_backend;
use crate::words::{Choice, PrintForm};
use crate::{
    AdminAccess, Backend, Bind, Config, Endpoint, Family, Host, Limits, Listener, Pool, Process,
    Push, Route, TapAccess, Tier,
};
use balancing::{AccessList, AdminState, Policy};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
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
    fn put(&mut self, key: &'static str, value: impl Into<Value>) {
        self.pairs.push((key, value.into().to_string()));
    }

    /// The keys as a table in braces.
    fn inline(&self) -> Value {
        let pairs = self.pairs.iter().map(|(key, value)| format!("{key} = {value}"));
        let text = format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "));
        text.parse().unwrap_or_else(|_| Value::from(text))
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
        self.put("access", texts.into_iter().collect::<Value>());
    }
}

impl Options for Keys {
    fn set(&mut self, key: &'static str) {
        self.put(key, true);
    }

    fn set_number(&mut self, key: &'static str, number: i64) {
        self.put(key, number);
    }

    fn set_text(&mut self, key: &'static str, text: &str) {
        self.put(key, plain(text));
    }

    fn set_list(&mut self, key: &'static str, values: &str) {
        self.put(key, values.split(',').map(plain).collect::<Value>());
    }

    fn set_path(&mut self, key: &'static str, path: &Path) {
        match path.to_str() {
            Some(text) => self.set_text(key, text),
            None => self.lost.push(format!("{key}: {} is not UTF-8", path.display())),
        }
    }

    fn set_paths(&mut self, key: &'static str, paths: &[PathBuf]) {
        match (paths, paths.iter().map(|path| path.to_str()).collect::<Option<Vec<_>>>()) {
            ([], _) => {}
            ([only], _) => self.set_path(key, only),
            (_, Some(texts)) => self.put(key, texts.into_iter().map(plain).collect::<Value>()),
            (_, None) => self.lost.push(format!("{key}: a path is not UTF-8")),
        }
    }
}

fn process_keys(process: &Process) -> Keys {
    let mut keys = Keys::default();
    process_options(&mut keys, process);
    keys.flag("watch", process.watch);
    if let Some(limit) = process.upgrade_drain {
        keys.set_text("upgrade-drain", &limit.to_string());
    }
    if let Some(Push { collector, interval }) = &process.push {
        keys.set_text("otlp", &collector.to_string());
        if *interval != Push::DEFAULT_INTERVAL {
            keys.set_text("otlp-interval", &Span(*interval).to_string());
        }
    }
    let AdminAccess { viewers, operators, admins, view_socket, listen, tap } = &process.access;
    for (key, names) in [("viewers", viewers), ("operators", operators), ("admins", admins)] {
        if !names.is_empty() {
            keys.put(key, names.iter().map(|name| plain(name)).collect::<Value>());
        }
    }
    keys.path("view-socket", view_socket.as_deref());
    if let Some((address, tokens)) = listen {
        keys.set_text("admin-listen", &address.to_string());
        keys.set_path("admin-tokens", tokens);
    }
    keys.choice("tap", *tap, TapAccess::default());
    keys
}

fn listener_keys(listener: &Listener) -> Keys {
    let mut keys = Keys::default();
    let mut values: Vec<Value> =
        listen_words(&listener.binds).iter().map(|word| bind(word)).collect();
    match values.pop() {
        Some(only) if values.is_empty() => keys.put("bind", only),
        last => keys.put("bind", values.into_iter().chain(last).collect::<Value>()),
    }
    keys.choice("family", family(&listener.binds), Family::Any);
    keys.set_text("pool", &listener.pool);
    if !listener.routes.is_empty() {
        keys.put("routes", listener.routes.iter().map(route).collect::<Value>());
        if listener.hello_wait != Listener::DEFAULT_HELLO_WAIT {
            keys.set_text("hello-wait", &Span(listener.hello_wait).to_string());
        }
    }
    if let Some(protocol) = listener.starttls {
        keys.set_text("starttls", protocol.word());
    }
    listener_options(&mut keys, listener);
    keys.flag("dummy", listener.dummy);
    keys
}

fn route(Route { rule, pool }: &Route) -> Value {
    let mut keys = Keys::default();
    let names: Vec<_> = rule.names.iter().map(ToString::to_string).collect();
    for (key, texts) in [("sni", &names), ("alpn", &rule.protocols)] {
        match texts.as_slice() {
            [] => {}
            [only] => keys.set_text(key, only),
            several => keys.put(key, several.iter().map(|text| plain(text)).collect::<Value>()),
        }
    }
    keys.set_text("pool", pool);
    keys.inline()
}

fn bind(word: &str) -> Value {
    match word.parse::<u16>() {
        Ok(port) => i64::from(port).into(),
        Err(_) => plain(word).into(),
    }
}

/// The family of the names among the addresses; of other addresses, it follows from the address.
fn family(binds: &[Bind]) -> Family {
    let names = binds.iter().filter_map(|bind| match bind {
        Bind::Tcp { host: Some(Host::Name(_)), family, .. }
        | Bind::Udp { host: Some(Host::Name(_)), family, .. } => Some(*family),
        _ => None,
    });
    names.into_iter().find(|family| *family != Family::Any).unwrap_or(Family::Any)
}

fn pool_keys(pool: &Pool, lost: &mut Vec<String>) -> Keys {
    let mut keys = Keys::default();
    let tiers = &pool.tiers;
    // As on a command line, where `%` ends single tiers that hash.
    let policies = || tiers.iter().map(|tier| tier.policy);
    let policy = policies().find(|it| *it != Policy::Hash).or_else(|| policies().next());
    let policy = policy.unwrap_or_default();
    keys.choice("policy", policy, Policy::default());
    pool_options(&mut keys, pool);
    keys.access(&pool.access, &format!("pool {}", pool.name));
    if let Some(reject) = &pool.reject {
        keys.put("reject", backend(reject, lost));
    }
    if let Some(form) = pool.send_proxy {
        keys.set_text("send-proxy", form.word());
    }
    keys.flag("fixed-places", pool.fixed_places);
    match tiers.as_slice() {
        [only] => keys.put("backends", backends(only, lost)),
        tiers => {
            let tiers = tiers.iter().map(|tier| match backends(tier, lost) {
                backends if tier.policy == policy => backends,
                backends => {
                    let pairs = [("policy", tier.policy.word().into()), ("backends", backends)];
                    pairs.into_iter().collect()
                }
            });
            keys.put("tiers", tiers.collect::<Value>());
        }
    }
    keys
}

fn backends(tier: &Tier, lost: &mut Vec<String>) -> Value {
    tier.backends.iter().map(|it| backend(it, lost)).collect()
}

/// A string if an operand can say it all, otherwise a table.
fn backend(backend: &Backend, lost: &mut Vec<String>) -> Value {
    let Backend {
        id: _,
        name,
        endpoint,
        limits,
        weight,
        priority,
        access,
        send_proxy,
        tls,
        tls_name,
        admin,
    } = backend;
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
    keys.set_text("to", &endpoint.to_string());
    if let Some(name) = name {
        keys.set_text("name", name);
    }
    let number = |value: i64, default: i64| Some(value).filter(|it| *it != default);
    keys.number("max-sessions", number(sessions_max.number().into(), 0));
    keys.number("max-affine", number((*sessions_max_affine).into(), 0));
    keys.number("weight", number((*weight).into(), 1));
    keys.number("priority", number((*priority).into(), 0));
    keys.access(access, &format!("backend {endpoint}"));
    if let Some(form) = send_proxy {
        keys.set_text("send-proxy", form.word());
    }
    if let Some(tls) = tls {
        keys.set_text("backend-tls", tls.word());
    }
    if let Some(name) = tls_name {
        keys.set_text("backend-tls-name", name);
    }
    keys.choice("admin", *admin, AdminState::Enabled);
    lost.append(&mut keys.lost);
    keys.inline()
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
