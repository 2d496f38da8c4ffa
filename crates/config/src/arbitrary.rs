//! Any configuration, for property tests: all that a file can express.

use crate::words::Choice;
use crate::{
    AdminAccess, Affinity, Backend, Bind, Checks, Config, Discovery, Endpoint, Engine, Family,
    Host, Limits, Listener, LogFormat, LogSessions, MetricsDetail, OnDown, OnUp, PeriodicAgent,
    PeriodicProbe, Pool, PoolTls, Process, Route, StateDirectory, Tier, Tls, TlsVersion,
};
use balancing::{
    AccessEntry, AccessList, AdminState, ClientLimits, Country, FailoverScope, LoadBound, Percent,
    Policy, ProxyPeers, RouteRule, Subject, Subset, Thin, Verdict,
};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use terms::{
    BackendTls, ClientCertificates, Cut, FlowRules, HashOn, KeepAlive, Limit, SendProxy, Source,
    SpliceMode, Starttls, Timeouts,
};

/// A configuration. Names are unique, and so are the ports of listeners.
pub(crate) fn config() -> impl Strategy<Value = Config> {
    let listeners = (1u16..4).prop_flat_map(|count| (0..count).map(listener).collect::<Vec<_>>());
    let pools = prop::collection::vec(pool(), 1..4);
    let chosen = any::<[prop::sample::Index; 3]>();
    (listeners, pools, process(), chosen).prop_map(|(mut listeners, mut pools, process, chosen)| {
        // Names are unique.
        listeners.iter_mut().enumerate().for_each(|(at, it)| it.name.push_str(&at.to_string()));
        pools.iter_mut().enumerate().for_each(|(at, it)| it.name.push_str(&at.to_string()));
        for (listener, chosen) in listeners.iter_mut().zip(chosen) {
            listener.pool.clone_from(&chosen.get(&pools).name);
            for (at, route) in listener.routes.iter_mut().enumerate() {
                route.pool.clone_from(&pools[at % pools.len()].name);
            }
        }
        // Version 1 of the PROXY protocol is not for datagrams.
        for listener in listeners.iter().filter(|it| it.binds.iter().any(Bind::is_udp)) {
            let served = pools.iter_mut().filter(|it| it.name == listener.pool);
            served.for_each(without_version_1);
        }
        Config { listeners, pools, process }
    })
}

fn without_version_1(pool: &mut Pool) {
    let is_other = |it: &SendProxy| *it != SendProxy::V1;
    pool.send_proxy = pool.send_proxy.filter(is_other);
    let backends = pool.tiers.iter_mut().flat_map(|tier| &mut tier.backends);
    for backend in backends.chain(&mut pool.reject) {
        backend.send_proxy = backend.send_proxy.filter(is_other);
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,9}", "[ -~]{1,9}", "[a-zé\\]\\[:/.${}\"']{1,9}"]
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1u64..90_000).prop_map(Duration::from_secs),
        (1u64..9_999_999_999).prop_map(Duration::from_nanos)
    ]
}

fn path() -> impl Strategy<Value = PathBuf> {
    "/[a-z0-9: é\"'$\\{\\}\\\\]{1,20}".prop_map(PathBuf::from)
}

fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|it| Host::Address(Ipv4Addr::from(it).into())),
        any::<[u16; 8]>().prop_map(|it| Host::Address(Ipv6Addr::from(it).into())),
        "[a-z][a-z0-9-]{0,5}(\\.[a-z]{1,3})?".prop_map(Host::Name),
        Just(Host::Name("fe80::1%eth0".to_owned())),
    ]
}

/// A listening address as it is read, with this family for a name.
fn bind(port: u16, family: Family) -> impl Strategy<Value = Bind> {
    let of_host = move |host: Option<Host>| match host {
        None => Bind::Tcp { host: None, port, family },
        Some(Host::Address(address)) if address.is_unspecified() => {
            Bind::Tcp { host: None, port, family }
        }
        Some(Host::Address(address @ IpAddr::V4(_))) => {
            Bind::Tcp { host: Some(Host::Address(address)), port, family: Family::V4 }
        }
        Some(Host::Address(address)) => {
            Bind::Tcp { host: Some(Host::Address(address)), port, family: Family::V6 }
        }
        Some(name) => Bind::Tcp { host: Some(name), port, family },
    };
    prop_oneof![
        9 => (of(host()), any::<bool>()).prop_map(move |(host, is_udp)| match of_host(host) {
            Bind::Tcp { host, port, family } if is_udp => Bind::Udp { host, port, family },
            bind => bind,
        }),
        1 => path().prop_map(move |path| Bind::Unix(path.join(port.to_string()))),
    ]
}

fn entry() -> impl Strategy<Value = AccessEntry> {
    let subject = prop_oneof![
        (any::<u32>(), any::<u32>()).prop_map(|(address, mask)| Subject::V4 {
            address: Ipv4Addr::from_bits(address & mask),
            mask: Ipv4Addr::from_bits(mask)
        }),
        (any::<u32>(), 0u32..33).prop_map(|(address, prefix)| {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            Subject::V4 {
                address: Ipv4Addr::from_bits(address & mask),
                mask: Ipv4Addr::from_bits(mask),
            }
        }),
        (any::<u128>(), 0u8..129).prop_map(|(address, prefix)| {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Subject::v6(Ipv6Addr::from_bits(address & mask), prefix)
        }),
        select(vec![*b"SE", *b"X1"]).prop_map(|it| Subject::Country(Country(it))),
    ];
    let verdict = prop_oneof![Just(Verdict::Permit), Just(Verdict::Deny)];
    (verdict, subject).prop_map(|(verdict, subject)| AccessEntry { verdict, subject })
}

fn access() -> impl Strategy<Value = Arc<AccessList>> {
    prop::collection::vec(entry(), 0..4).prop_map(|entries| Arc::new(AccessList::new(entries)))
}

fn discovered(port: u16) -> Endpoint {
    let name = "a.test".to_owned();
    Endpoint::Discovered(match port % 2 {
        0 => Discovery::Dns { name, port },
        _ => Discovery::Srv { name },
    })
}

fn backend() -> impl Strategy<Value = Backend> {
    let endpoint = prop_oneof![
        6 => (host(), 1u16..).prop_map(|(host, port)| Endpoint::Tcp { host, port }),
        1 => path().prop_map(Endpoint::Unix),
        1 => (1u16..).prop_map(discovered),
    ];
    let numbers = (any::<i32>(), 0..=i32::MAX.unsigned_abs(), any::<u32>(), any::<i32>());
    let admin = select(vec![AdminState::Enabled, AdminState::Draining, AdminState::Disabled]);
    let tls = (of(backend_tls()), of(Just("app.test".to_owned())));
    (endpoint, of(numbers), of((access(), admin, send_proxy(), tls))).prop_map(
        |(endpoint, numbers, table)| {
            let mut backend = Backend::new(endpoint, Limits::default());
            if let Some((max, affine, weight, priority)) = numbers {
                let sessions_max = Limit::from_number(max);
                backend.limits = Limits { sessions_max, sessions_max_affine: affine };
                (backend.weight, backend.priority) = (weight, priority);
            }
            if let Some((access, admin, send_proxy, tls)) = table {
                (backend.tls, backend.tls_name) = tls;
                (backend.access, backend.admin, backend.send_proxy) = (access, admin, send_proxy);
            }
            backend
        },
    )
}

fn backend_tls() -> impl Strategy<Value = BackendTls> {
    select(BackendTls::WORDS.iter().map(|(_, mode)| *mode).collect::<Vec<_>>())
}

fn pool_tls() -> impl Strategy<Value = PoolTls> {
    let names = prop::collection::vec(select(vec!["h2", "http/1.1"]), 0..3);
    let paths = (prop::collection::vec(path(), 0..3), of(path()), of(path()));
    (backend_tls(), of(Just("a.test".to_owned())), paths, names).prop_map(
        |(mode, name, (authorities, certificate, key), names)| PoolTls {
            mode,
            name,
            authorities,
            key: key.filter(|_| certificate.is_some()),
            certificate,
            protocols: names.into_iter().map(str::to_owned).collect(),
        },
    )
}

fn policy() -> impl Strategy<Value = Policy> {
    select(Policy::WORDS.iter().map(|(_, policy)| *policy).collect::<Vec<_>>())
}

fn send_proxy() -> impl Strategy<Value = Option<SendProxy>> {
    of(select(SendProxy::WORDS.iter().map(|(_, form)| *form).collect::<Vec<_>>()))
}

fn accept_proxy() -> impl Strategy<Value = Option<ProxyPeers>> {
    let networks = prop::collection::vec(entry(), 0..3).prop_map(|entries| {
        let subjects = entries.into_iter().map(|entry| entry.subject);
        subjects.filter(|it| !matches!(it, Subject::Country(_))).collect::<Vec<_>>()
    });
    let peers = (networks, any::<bool>()).prop_map(|(networks, unix)| {
        (unix || !networks.is_empty()).then(|| ProxyPeers::new(networks, unix))
    });
    prop_oneof![Just(None), peers]
}

fn tier() -> impl Strategy<Value = Tier> {
    (policy(), prop::collection::vec(backend(), 0..4))
        .prop_map(|(policy, backends)| Tier { policy, backends })
}

fn scope() -> impl Strategy<Value = FailoverScope> {
    select(FailoverScope::WORDS.iter().map(|(_, scope)| *scope).collect::<Vec<_>>())
}

fn checks() -> impl Strategy<Value = Checks> {
    let probes = select(vec![
        "tcp",
        "http:/a?b=${c}#d host=a.example status=200-299,404",
        "send=\"a\\r\\n\\xff'\" expect=b",
        "pgsql user=\"a b\" role=primary",
        "mysql user=a",
        "command:/usr/lib/check arg=-v arg=\"${b} 'c'#\"",
    ]);
    let long = || (100u64..90_000).prop_map(Duration::from_millis);
    let probe =
        (probes, of(1u16..), long(), long()).prop_map(|(probe, port, interval, timeout)| {
            PeriodicProbe { probe: probe.parse().unwrap(), port, interval, timeout }
        });
    let streak = || of(1u32..=1000);
    let share = || (1u8..=100).prop_map(|it| Percent::new(it).unwrap());
    let thin =
        prop_oneof![share().prop_map(Thin::FailOpenBelow), share().prop_map(Thin::RefuseBelow)];
    let quality = (of(share()), of(thin));
    let agents = select(vec!["9100", "192.0.2.9:80", "[::1]:80 send=\"{backend} ${a}#\\n\""]);
    let agent = (agents, long())
        .prop_map(|(check, interval)| PeriodicAgent { check: check.parse().unwrap(), interval });
    let all = (of(probe), of(agent), streak(), streak(), any::<[bool; 2]>(), quality);
    all.prop_map(|(probe, agent, rise, fall, [ends, returns], (eject, thin))| {
        let on_down = if ends && probe.is_some() { OnDown::EndSessions } else { OnDown::Keep };
        let on_up = if returns && probe.is_some() { OnUp::Return } else { OnUp::Keep };
        Checks { probe, agent, rise, fall, on_down, on_up, eject, thin }
    })
}

fn pool() -> impl Strategy<Value = Pool> {
    let affinity = (1u32.., of(span()), any::<bool>())
        .prop_map(|(clients_max, time_limit, sticky)| Affinity { clients_max, time_limit, sticky });
    let flags = any::<[bool; 4]>();
    let rest = (flags, access(), of(backend()), of(affinity), (send_proxy(), pool_tls()), checks());
    (name(), prop::collection::vec(tier(), 0..4), of(span()), scope(), scope(), rest).prop_map(
        |(
            name,
            mut tiers,
            quarantine,
            failover,
            hash_failover,
            (flags, access, reject, affinity, (send_proxy, tls), checks),
        )| {
            let backends = tiers.iter_mut().flat_map(|tier| &mut tier.backends);
            for (number, backend) in backends.enumerate().filter(|(number, _)| number % 3 == 1) {
                if backend.endpoint.discovery().is_none() {
                    backend.name = Some(format!("{name} {number}"));
                }
            }
            Pool {
                name,
                tiers,
                subset: quarantine.and_then(|it| Subset::new(it.subsec_millis(), 3, 10)),
                load_bound: quarantine
                    .and_then(|it| LoadBound::from_hundredths(it.subsec_millis())),
                quarantine: quarantine.unwrap_or_default(),
                warm_up: quarantine.filter(|it| flags[1] && !it.is_zero()),
                age_max: quarantine.filter(|it| flags[0] && !it.is_zero()),
                auto_disable: flags[0],
                checks,
                failover,
                hash_failover,
                last_resort: flags[1],
                essential: flags[3],
                engine: [Engine::User, Engine::Kernel, Engine::Direct]
                    [usize::from(flags[2]) + usize::from(flags[0] && flags[2])],
                access,
                reject: reject.filter(|it| it.endpoint.discovery().is_none()),
                affinity,
                send_proxy,
                tls,
                fixed_places: flags[2],
            }
        },
    )
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    let keep_alive = prop_oneof![
        Just(KeepAlive::System),
        Just(KeepAlive::Never),
        span().prop_map(KeepAlive::After)
    ];
    let grace = || of(prop_oneof![Just(Duration::ZERO), span()]);
    (span(), of(span()), grace(), grace(), of(span()), keep_alive, of(span()), grace()).prop_map(
        |(connect, idle, half_close, backend, linger, keep_alive, user_timeout, shutdown)| {
            Timeouts {
                connect,
                idle,
                half_close,
                backend_half_close: backend,
                linger: linger.unwrap_or_default(),
                keep_alive,
                user_timeout,
                first_byte: idle.or(user_timeout),
                shutdown,
            }
        },
    )
}

fn flow_rules() -> impl Strategy<Value = FlowRules> {
    let number = || of(1u32..).prop_map(|number| number.and_then(NonZeroU32::new));
    (span(), number(), number(), of(span()), of(4u8..=20)).prop_map(
        |(timeout, requests, responses, retry_after, cid_bytes)| FlowRules {
            timeout,
            requests,
            responses,
            retry_after,
            hash_on: cid_bytes.and_then(HashOn::quic_cid).filter(|_| requests.is_none()),
        },
    )
}

/// Routes that no two clients could take both of. Their pools are chosen later.
fn routes() -> impl Strategy<Value = (Vec<Route>, Duration, Option<Starttls>)> {
    let names =
        prop::sample::subsequence(vec!["a.org", "*.a.org", "*.org", "b-1.a.org", "org"], 0..5);
    let protocols = prop::sample::subsequence(vec!["h2", "http/1.1", "${x}\"'"], 0..3);
    let routes = (names, protocols, 1usize..4).prop_map(|(names, protocols, size)| {
        let of_names = names.chunks(size).map(|names| RouteRule {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            protocols: Vec::new(),
        });
        let of_protocols = protocols.chunks(size).map(|protocols| RouteRule {
            names: Vec::new(),
            protocols: protocols.iter().map(ToString::to_string).collect(),
        });
        let rules = of_names.chain(of_protocols);
        rules.map(|rule| Route { rule, pool: String::new() }).collect::<Vec<_>>()
    });
    let protocols = select(Starttls::WORDS.to_vec()).prop_map(|(_, protocol)| protocol);
    (routes, of(span()), of(protocols)).prop_map(|(routes, wait, protocol)| {
        let wait = wait.filter(|_| !routes.is_empty()).unwrap_or(Listener::DEFAULT_HELLO_WAIT);
        let starttls = protocol.filter(|_| !routes.is_empty());
        (routes, wait, starttls)
    })
}

fn tls() -> impl Strategy<Value = Tls> {
    let paths = |least: usize| prop::collection::vec(path(), least..3);
    let protocols = prop::collection::vec(select(vec!["h2", "http/1.1", "postgresql"]), 0..3);
    let modes = select(vec![ClientCertificates::Request, ClientCertificates::Require]);
    let clients = of((modes, paths(0), paths(0)));
    let lists = select(vec!["ALL", "AESGCM", "ECDHE-RSA-CHACHA20-POLY1305"]);
    let ciphers = lists.prop_map(|list| list.parse().expect("it is a list"));
    let versions = (select(vec![TlsVersion::V1_2, TlsVersion::V1_3]), ciphers);
    let files = (paths(1), paths(0), of(path()), of(path()));
    (files, protocols, span(), clients, versions).prop_map(
        |(
            (certificates, keys, staple, ticket_keys),
            protocols,
            timeout,
            clients,
            (oldest, ciphers),
        )| {
            let protocols = protocols.into_iter().map(str::to_owned).collect();
            let timeout = timeout.max(Duration::from_millis(1));
            let (clients, client_authorities, revocations) = clients.unwrap_or_default();
            let staples = staple.into_iter().collect();
            Tls {
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
            }
        },
    )
}

fn listener(number: u16) -> impl Strategy<Value = Listener> {
    let families = select(vec![Family::Any, Family::V4, Family::V6]);
    let binds = families.prop_flat_map(move |family| {
        (1u16..4).prop_flat_map(move |count| {
            (0..count).map(|at| bind(1000 + number * 10 + at, family)).collect::<Vec<_>>()
        })
    });
    let source = prop_oneof![
        Just(Source::System),
        Just(Source::Client),
        any::<u32>().prop_map(|it| Source::Fixed(Ipv4Addr::from_bits(it).into())),
    ];
    let limits = (of(1u32..), of(1u32..), accept_proxy(), routes(), of(tls()));
    let words = (select(vec![Cut::Reset, Cut::Close]), select(SpliceMode::WORDS.to_vec()));
    (name(), binds, limits, (timeouts(), flow_rules()), source, any::<[bool; 3]>(), words).prop_map(
        |(name, binds, limits, (timeouts, flows), source, flags, (cut, (_, splice)))| Listener {
            id: None,
            name,
            binds,
            segment: None,
            shared_port: flags[0],
            pool: String::new(),
            routes: limits.3.0,
            hello_wait: limits.3.1,
            starttls: limits.3.2,
            sessions_max: limits.0,
            clients: clients_of(limits.0),
            rate_max: limits.0.map(|number| format!("{}/m", number % 9 + 1).parse().unwrap()),
            connecting_max: limits.1,
            timeouts,
            flows,
            source,
            accept_proxy: limits.2,
            tls: limits.4,
            forwarded_headers: flags[1],
            dummy: flags[2],
            splice,
            cut,
        },
    )
}

fn process() -> impl Strategy<Value = Process> {
    let words = (of(name()), select(vec![LogFormat::Text, LogFormat::Json]), any::<bool>());
    let paths = (of(path()), of(path()), of(path()));
    let state = prop_oneof![
        Just(StateDirectory::Usual),
        Just(StateDirectory::None),
        path().prop_map(StateDirectory::At)
    ];
    let log_sessions = vec![LogSessions::All, LogSessions::Problems, LogSessions::None];
    let every = (100u64..90_000_000).prop_map(Duration::from_millis);
    let log_lines = (any::<NonZeroU32>(), any::<bool>(), of(every), of(span()));
    let log = (select(log_sessions), of(path()), log_lines);
    let details = vec![MetricsDetail::Auto, MetricsDetail::Backend, MetricsDetail::Pool];
    let metrics = (of(any::<SocketAddr>().prop_map(plain)), select(details));
    let ready = (of("[a-z0-9.-]{2,15}"), of(span()));
    (of(1usize..1025), of(span()), words, paths, state, log, metrics, ready).prop_map(
        |(workers, spin, words, paths, state, log, metrics, ready)| Process {
            workers,
            spin,
            daemon: words.2,
            pid_file: paths.0,
            user: words.0,
            root: paths.1,
            state,
            admin: paths.2,
            log_format: words.1,
            log_sessions: log.0,
            log_file: log.1,
            log_sample: log.2.0,
            log_start: log.2.1,
            log_every: log.2.2,
            log_slow_connect: log.2.3,
            metrics: metrics.0,
            metrics_detail: metrics.1,
            // No command line can say these.
            watch: false,
            push: None,
            upgrade_drain: None,
            access: AdminAccess::default(),
            ready_interface: ready.0,
            pre_stop: ready.1,
        },
    )
}

/// Without what no text says: the flow information and the zone of an IPv6 address.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

/// Some limits of clients, which follow from a number.
fn clients_of(number: Option<u32>) -> ClientLimits {
    match number {
        Some(number) => {
            format!("sessions={},rate=7/{}s", number % 1000 + 1, number % 3600 + 1).parse().unwrap()
        }
        None => ClientLimits::default(),
    }
}
