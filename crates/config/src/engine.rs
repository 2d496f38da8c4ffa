//! What the kernel's forwarding cannot do for a listener and its pool, and what it does only
//! approximately.
//!
//! Each field is named here, so that a new one must be decided about. What depends on addresses or
//! on the present state of backends is not; the control plane sees to that.

use crate::words::policy_word;
use crate::{
    Affinity, Backend, Bind, Checks, Endpoint, Engine, Host, Limits, Listener, OnDown, OnUp, Pool,
    PoolTls, Tier,
};
use terms::{BackendTls, FlowRules, Limit, Source, Timeouts};

/// The options that only this process can carry out, as their words; empty if the kernel can forward
/// the sessions of this listener to this pool.
#[must_use]
pub fn needs_user(listener: &Listener, pool: &Pool) -> Vec<String> {
    let mut needs = of_listener(listener);
    needs.extend(of_pool(pool));
    if pool.engine == Engine::Direct {
        needs.extend(of_direct(listener, pool));
    }
    needs
}

/// The options of a pool that the kernel follows only approximately, as their words: open sessions are
/// counted once a second.
#[must_use]
pub fn approximations(pool: &Pool) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    if pool.engine == Engine::Kernel {
        let policies = pool.tiers.iter().map(|tier| tier.policy);
        for policy in policies.filter(|it| it.has_turns_by_sessions()) {
            let word = format!("policy {}", policy_word(policy));
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    words
}

/// What direct return cannot do: frames are sent on as they are.
fn of_direct(listener: &Listener, pool: &Pool) -> Vec<String> {
    let mut needs = words(&[
        (listener.source == Source::Client, "transparent"),
        (matches!(listener.source, Source::Fixed(_)), "source"),
    ]);
    let backends = || pool.tiers.iter().flat_map(|tier| &tier.backends);
    for bind in &listener.binds {
        let (Bind::Tcp { host, port, .. } | Bind::Udp { host, port, .. }) = bind else { continue };
        let why = match host {
            None => Some("all addresses"),
            Some(Host::Name(_)) => Some("a name"),
            Some(Host::Address(it)) if it.is_unspecified() => Some("all addresses"),
            Some(Host::Address(it)) if it.is_loopback() => Some("a loopback address"),
            Some(Host::Address(_)) => None,
        };
        if let Some(why) = why {
            needs.push(format!("direct return from {bind}, which is {why}"));
        }
        let other = backends().find_map(|backend| match &backend.endpoint {
            Endpoint::Tcp { port: its, .. } if its != port => Some(&backend.endpoint),
            _ => None,
        });
        if let Some(endpoint) = other {
            needs.push(format!("direct return from {bind} to another port, as of {endpoint}"));
        }
    }
    needs
}

fn of_listener(listener: &Listener) -> Vec<String> {
    let Listener {
        id: _,
        name: _,
        binds,
        segment: _, // of which only the kernel can do anything
        shared_port,
        pool: _,
        routes,
        hello_wait: _,
        starttls,
        sessions_max,
        connecting_max,
        clients,
        rate_max,
        timeouts,
        flows,
        source: _,
        accept_proxy,
        tls,
        forwarded_headers,
        dummy,
        splice: _, // there is nothing to copy
        cut: _,
    } = listener;
    // The others are about what the kernel leaves to client and backend.
    let Timeouts { connect: _, idle, first_byte, user_timeout, .. } = timeouts;
    let FlowRules { timeout: _, requests, responses, retry_after, hash_on } = flows;
    words(&[
        (binds.iter().any(|bind| matches!(bind, Bind::Unix(_))), "unix"),
        (*shared_port, "share-port"),
        (!routes.is_empty(), "routes"),
        (starttls.is_some(), "starttls"),
        (sessions_max.is_some(), "max-sessions"),
        (connecting_max.is_some(), "max-connecting"),
        (rate_max.is_some(), "max-rate"),
        (clients.are_any(), "client-limits"),
        (idle.is_some(), "idle-timeout"),
        (first_byte.is_some(), "first-byte-timeout"),
        (user_timeout.is_some(), "user-timeout"),
        (requests.is_some(), "requests"),
        (responses.is_some(), "responses"),
        (retry_after.is_some(), "retry-after"),
        (hash_on.is_some(), "hash-on"),
        (accept_proxy.is_some(), "accept-proxy"),
        (tls.is_some(), "tls-cert"),
        (*forwarded_headers, "forwarded-headers"),
        (*dummy, "dummy"),
    ])
}

fn of_pool(pool: &Pool) -> Vec<String> {
    let Pool {
        name: _,
        tiers,
        load_bound,
        subset: _,
        quarantine: _,
        warm_up,
        age_max,
        auto_disable: _,
        checks,
        failover,
        hash_failover: _, // only of `hash`, which this process carries out
        last_resort: _,   // then this process serves
        essential: _,
        engine,
        access,
        reject: _, // denied clients are left to this process
        send_proxy,
        tls: PoolTls { mode, .. },
        affinity,
        fixed_places: _,
    } = pool;
    let Checks { probe: _, agent, rise: _, fall: _, on_down, on_up, eject, thin: _ } = checks;
    let only_counts = matches!(affinity, Some(Affinity { sticky: false, .. }));
    let is_unwritable = [false, true].iter().any(|is_v6| access.permitted(*is_v6).is_none());
    let mut needs = words(&[
        (load_bound.is_some(), "load-bound"),
        (*failover != Default::default(), "failover"),
        (*on_down != OnDown::Keep && *engine == Engine::Direct, "on-down"),
        (*on_up != OnUp::Keep, "on-up"),
        (warm_up.is_some(), "warm-up"),
        (age_max.is_some(), "max-age"),
        (agent.is_some(), "agent"),
        (eject.is_some(), "eject"),
        (is_unwritable, "access by country or with a mask that is no prefix"),
        (send_proxy.is_some(), "send-proxy"),
        (*mode != BackendTls::Off, "backend-tls"),
        (only_counts, "affinity-count-only"),
    ]);
    for Tier { policy, backends } in tiers {
        // Of direct return, nobody knows how many sessions are open.
        let is_counted = *engine != Engine::Direct;
        if !(policy.has_slots() || is_counted && policy.has_turns_by_sessions()) {
            needs.push(format!("policy {}", policy_word(*policy)));
        }
        for word in backends.iter().flat_map(of_backend) {
            if !needs.contains(&word) {
                needs.push(word);
            }
        }
    }
    needs
}

fn of_backend(backend: &Backend) -> Vec<String> {
    let Backend {
        id: _,
        name: _,
        endpoint: _,
        limits: Limits { sessions_max, sessions_max_affine: _ },
        weight: _,
        priority: _,
        access,
        send_proxy,
        tls,
        tls_name: _,
        admin: _,
    } = backend;
    words(&[
        (*sessions_max != Limit::None, "max-sessions"),
        (!access.entries().is_empty(), "access"),
        (send_proxy.is_some(), "send-proxy"),
        (tls.is_some_and(|tls| tls != BackendTls::Off), "backend-tls"),
    ])
}

fn words(all: &[(bool, &str)]) -> Vec<String> {
    all.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::native::{Typed, parse};
    use std::ffi::OsString;

    #[track_caller]
    fn config(line: &str) -> Config {
        let words: Vec<OsString> = line.split(" ").map(OsString::from).collect();
        let Ok(Typed::Start(typed)) = parse(&words) else { panic!("{line} is a start") };
        typed.to_config(&|_| None).unwrap()
    }

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        let config = config(line);
        assert_eq!(needs_user(&config.listeners[0], &config.pools[0]), expected, "{line}");
    }

    #[test]
    fn what_only_this_process_can_do_is_named() {
        check("80 a b", &[]);
        check("80 a ! b --policy maglev --source 192.0.2.1 --quarantine 1s", &[]);
        check("unix:/a a:1", &["unix"]);
        check(
            "80 a --policy fastest --send-proxy v2 --tls-cert c",
            &["tls-cert", "send-proxy", "policy fastest"],
        );
        check("80 a --policy two --engine kernel", &[]);
        check("192.0.2.1:80 a --policy two --engine direct", &["policy two"]);
        check("80 a::5 b::6", &["max-sessions"]);
        check("80 a b %", &["policy hash"]);
        check("443/udp a --hash-on quic-cid:8 --policy maglev", &["hash-on"]);
        check("192.0.2.1:80 a b:80 --engine direct", &[]);
        check(
            "192.0.2.1:80 a b:81 --engine direct --source 192.0.2.1",
            &["source", "direct return from 192.0.2.1:80 to another port, as of b:81"],
        );
        check("80 a --engine direct", &["direct return from *:80, which is all addresses"]);
        check(
            "0.0.0.0:80 a --engine direct",
            &["direct return from 0.0.0.0:80, which is all addresses"],
        );
        check(
            "localhost:80 a --engine direct --transparent",
            &["transparent", "direct return from localhost:80, which is a name"],
        );
        check(
            "127.0.0.1:80 a --engine direct",
            &["direct return from 127.0.0.1:80, which is a loopback address"],
        );
        check("80 a --affinity 5 --allow 10.0.0.0/8 --reject b", &[]);
        check(
            "80 a --affinity 5 --affinity-count-only --allow country:SE --max-sessions 9",
            &[
                "max-sessions",
                "access by country or with a mask that is no prefix",
                "affinity-count-only",
            ],
        );
    }

    #[test]
    fn policies_by_sessions_are_approximate() {
        let check = |line, expected: &[&str]| {
            assert_eq!(approximations(&config(line).pools[0]), expected, "{line}");
        };
        check("80 a ! b --policy least-sessions --engine kernel", &["policy least-sessions"]);
        check("80 a --policy least-sessions", &[]);
        check("80 a --policy maglev --engine kernel", &[]);
    }
}
