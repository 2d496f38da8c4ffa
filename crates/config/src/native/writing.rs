//! The options that a configuration stands for, whether as words of a command line or as keys of a
//! file: those that differ from their defaults, in the order of the command line.
//!
//! What the two forms do not have in common is written by [`print`](super::print) and by
//! [`Config::to_file`](crate::Config::to_file): operands, access lists and reject backends.

use super::access::proxies;
use crate::duration::{Deadline, Grace, Patience, Span};
use crate::words::Choice;
use crate::{
    Affinity, Checks, Engine, Listener, LogFormat, LogSessions, MetricsDetail, OnDown, OnUp,
    PeriodicAgent, PeriodicProbe, Pool, PoolTls, Process, StateDirectory, Tls, TlsVersion,
};
use balancing::{ClientLimits, FailoverScope, Percent, Thin};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;
use terms::{Ciphers, ClientCertificates, Cut, FlowRules, KeepAlive, Source, SpliceMode, Timeouts};

/// Takes options, by their names without dashes.
pub(crate) trait Options {
    /// An option without a value.
    fn set(&mut self, name: &'static str);
    fn set_number(&mut self, name: &'static str, number: i64);
    fn set_text(&mut self, name: &'static str, text: &str);
    /// An option whose values a command line separates by commas.
    fn set_list(&mut self, name: &'static str, values: &str);
    fn set_path(&mut self, name: &'static str, path: &Path);
    /// An option that a command line repeats for each of several values.
    fn set_paths(&mut self, name: &'static str, paths: &[PathBuf]);

    /// Unless the value is the default.
    fn option<T: PartialEq>(
        &mut self,
        name: &'static str,
        value: T,
        default: T,
        text: impl Fn(T) -> String,
    ) {
        if value != default {
            self.set_text(name, &text(value));
        }
    }

    fn choice<T: Choice>(&mut self, name: &'static str, value: T, default: T) {
        self.option(name, value, default, |value| value.word().to_owned());
    }

    fn number<T: Into<i64>>(&mut self, name: &'static str, value: Option<T>) {
        if let Some(value) = value {
            self.set_number(name, value.into());
        }
    }

    fn flag(&mut self, name: &'static str, is_set: bool) {
        if is_set {
            self.set(name);
        }
    }

    fn path(&mut self, name: &'static str, path: Option<&Path>) {
        if let Some(path) = path {
            self.set_path(name, path);
        }
    }
}

/// The options of a pool from `--load-bound` to `--affinity-count-only`.
pub(crate) fn pool_options(to: &mut impl Options, pool: &Pool) {
    // What is `_` is written by the callers. A new field must be one or the other; likewise below.
    let Pool {
        load_bound,
        subset,
        quarantine,
        auto_disable,
        checks: Checks { probe, agent, rise, fall, on_down, on_up, eject, thin },
        warm_up,
        age_max,
        failover,
        hash_failover,
        last_resort,
        essential,
        engine,
        tls,
        affinity,
        name: _,
        tiers: _,
        access: _,
        reject: _,
        send_proxy: _,
        fixed_places: _,
    } = pool;
    let span = |duration: Duration| Span(duration).to_string();
    let share = |it: Option<Percent>| it.map(|it| it.to_string()).unwrap_or_default();
    if let Some(bound) = load_bound {
        to.set_text("load-bound", &bound.to_string());
    }
    if let Some(subset) = subset {
        to.set_text("subset", &subset.to_string());
    }
    to.option("quarantine", *quarantine, Pool::DEFAULT_QUARANTINE, span);
    to.flag("no-last-resort", !last_resort);
    to.flag("essential", *essential);
    to.choice("engine", *engine, Engine::default());
    to.choice("failover", *failover, FailoverScope::default());
    to.choice("hash-failover", *hash_failover, FailoverScope::default());
    to.flag("auto-disable", *auto_disable);
    if let Some(PeriodicProbe { probe, port, interval, timeout }) = probe {
        to.set_text("probe", &probe.to_string());
        to.option("probe-interval", *interval, PeriodicProbe::DEFAULT_INTERVAL, span);
        to.option("probe-timeout", *timeout, PeriodicProbe::DEFAULT_TIMEOUT, span);
        to.number("probe-port", *port);
    }
    if let Some(PeriodicAgent { check, interval }) = agent {
        to.set_text("agent", &check.to_string());
        to.option("agent-interval", *interval, PeriodicAgent::DEFAULT_INTERVAL, span);
    }
    to.choice("on-down", *on_down, OnDown::default());
    to.choice("on-up", *on_up, OnUp::default());
    to.option("eject", *eject, None, share);
    let (open, refuse) = match *thin {
        Some(Thin::FailOpenBelow(least)) => (Some(least), None),
        Some(Thin::RefuseBelow(least)) => (None, Some(least)),
        None => (None, None),
    };
    to.option("fail-open-below", open, None, share);
    to.option("refuse-below", refuse, None, share);
    to.number("fall", *fall);
    to.number("rise", *rise);
    to.option("warm-up", *warm_up, None, |time| span(time.unwrap_or_default()));
    to.option("max-age", *age_max, None, |age| Patience(age).to_string());
    if let Some(Affinity { clients_max, time_limit, sticky }) = affinity {
        to.number("affinity", Some(*clients_max));
        to.option("affinity-time", *time_limit, None, |limit| Patience(limit).to_string());
        to.flag("affinity-count-only", !sticky);
    }
    pool_tls(to, tls);
}

fn pool_tls(to: &mut impl Options, tls: &PoolTls) {
    let PoolTls { mode, name, authorities, certificate, key, protocols } = tls;
    if *tls != PoolTls::default() {
        to.set_text("backend-tls", mode.word()); // even if it is off: single backends may differ
    }
    to.set_paths("backend-tls-ca", authorities);
    to.option("backend-tls-name", name.as_ref(), None, |name| name.cloned().unwrap_or_default());
    to.path("backend-tls-cert", certificate.as_deref());
    to.path("backend-tls-key", key.as_deref());
    if !protocols.is_empty() {
        to.set_list("backend-tls-alpn", &protocols.join(","));
    }
}

pub(crate) fn listener_options(to: &mut impl Options, listener: &Listener) {
    let Listener {
        sessions_max,
        connecting_max,
        rate_max,
        clients,
        shared_port,
        timeouts,
        flows,
        source,
        accept_proxy,
        tls,
        forwarded_headers,
        splice,
        cut,
        id: _,
        name: _,
        binds: _,
        segment: _,
        pool: _,
        routes: _,
        hello_wait: _,
        starttls: _,
        dummy: _,
    } = listener;
    to.number("max-sessions", *sessions_max);
    to.number("max-connecting", *connecting_max);
    if let Some(rate) = rate_max {
        to.set_text("max-rate", &rate.to_string());
    }
    to.option("client-limits", *clients, ClientLimits::default(), |it| it.to_string());
    to.flag("share-port", *shared_port);
    times(to, timeouts);
    flow_rules(to, flows);
    if let Source::Fixed(address) = source {
        to.set_text("source", &address.to_string());
    }
    to.flag("transparent", *source == Source::Client);
    if let Some(peers) = accept_proxy {
        to.set_list("accept-proxy", &proxies(peers));
    }
    if let Some(tls) = tls {
        tls_options(to, tls);
    }
    to.flag("forwarded-headers", *forwarded_headers);
    to.choice("splice", *splice, SpliceMode::default());
    to.choice("cut", *cut, Cut::Reset);
}

fn tls_options(to: &mut impl Options, tls: &Tls) {
    let Tls {
        certificates,
        keys,
        protocols,
        timeout,
        oldest,
        ciphers,
        clients,
        client_authorities,
        revocations,
        staples,
        ticket_keys,
    } = tls;
    to.set_paths("tls-cert", certificates);
    to.set_paths("tls-key", keys);
    if !protocols.is_empty() {
        to.set_list("tls-alpn", &protocols.join(","));
    }
    to.option("tls-timeout", *timeout, Tls::DEFAULT_TIMEOUT, |limit| Span(limit).to_string());
    to.choice("tls-min", *oldest, TlsVersion::default());
    to.option("tls-ciphers", *ciphers, Ciphers::ALL, |list| list.to_string());
    to.set_paths("tls-ocsp", staples);
    if let Some(path) = ticket_keys {
        to.set_path("tls-ticket-keys", path);
    }
    to.choice("tls-clients", *clients, ClientCertificates::default());
    to.set_paths("tls-clients-ca", client_authorities);
    to.set_paths("tls-clients-crl", revocations);
}

fn times(to: &mut impl Options, times: &Timeouts) {
    let Timeouts {
        connect,
        idle,
        half_close,
        backend_half_close,
        linger,
        keep_alive,
        user_timeout,
        first_byte,
        shutdown,
    } = times;
    let default = Timeouts::default();
    let span = |duration: Duration| Span(duration).to_string();
    let patience = |limit| Patience(limit).to_string();
    let grace = |limit| Grace(limit).to_string();
    to.option("connect-timeout", *connect, default.connect, span);
    to.option("idle-timeout", *idle, default.idle, patience);
    to.option("first-byte-timeout", *first_byte, default.first_byte, patience);
    to.option("half-close-timeout", *half_close, default.half_close, grace);
    to.option("backend-half-close-timeout", *backend_half_close, *half_close, grace);
    to.option("linger", *linger, default.linger, span);
    match keep_alive {
        KeepAlive::System => {}
        KeepAlive::Never => to.set_text("keep-alive", &patience(None)),
        KeepAlive::After(idle) => to.set_text("keep-alive", &patience(Some(*idle))),
    }
    to.option("user-timeout", *user_timeout, default.user_timeout, patience);
    to.option("shutdown-timeout", *shutdown, default.shutdown, |limit| Deadline(limit).to_string());
}

fn flow_rules(to: &mut impl Options, rules: &FlowRules) {
    let FlowRules { timeout, requests, responses, retry_after, hash_on } = rules;
    let span = |duration: Duration| Span(duration).to_string();
    to.option("flow-timeout", *timeout, FlowRules::DEFAULT_TIMEOUT, span);
    to.number("requests", requests.map(NonZeroU32::get));
    to.number("responses", responses.map(NonZeroU32::get));
    if let Some(time) = retry_after {
        to.set_text("retry-after", &span(*time));
    }
    if let Some(what) = hash_on {
        to.set_text("hash-on", &what.to_string());
    }
}

pub(crate) fn process_options(to: &mut impl Options, process: &Process) {
    let Process { workers, spin, daemon, pid_file, user, root, state, admin, .. } = process;
    // Only a file can say the rest.
    let Process { log_format, log_sessions, log_file, metrics, metrics_detail, .. } = process;
    let Process { log_sample, log_start, log_every, log_slow_connect, .. } = process;
    let Process { ready_interface, pre_stop, .. } = process;
    to.number("workers", workers.and_then(|it| i64::try_from(it).ok()));
    if let Some(spin) = spin {
        to.set_text("spin", &Span(*spin).to_string());
    }
    to.flag("daemon", *daemon);
    to.path("pid-file", pid_file.as_deref());
    if let Some(user) = user {
        to.set_text("user", user);
    }
    to.path("root", root.as_deref());
    match state {
        StateDirectory::Usual => {}
        StateDirectory::None => to.set_text("state", "none"),
        StateDirectory::At(path) if path.as_os_str() == "none" => to.set_text("state", "./none"),
        StateDirectory::At(path) => to.set_path("state", path),
    }
    to.path("admin", admin.as_deref());
    to.choice("log-format", *log_format, LogFormat::Text);
    to.choice("log-sessions", *log_sessions, LogSessions::All);
    let is_sample = *log_sample != NonZeroU32::MIN;
    to.number("log-sample", is_sample.then_some(log_sample.get()));
    to.flag("log-start", *log_start);
    let time = |time: Option<Duration>| Span(time.unwrap_or_default()).to_string();
    to.option("log-every", *log_every, None, time);
    to.option("log-slow-connect", *log_slow_connect, None, time);
    to.path("log-file", log_file.as_deref());
    if let Some(address) = metrics {
        to.set_text("metrics", &address.to_string());
    }
    to.choice("metrics-detail", *metrics_detail, MetricsDetail::Auto);
    if let Some(name) = ready_interface {
        to.set_text("ready-interface", name);
    }
    to.option("pre-stop", *pre_stop, None, time);
}
