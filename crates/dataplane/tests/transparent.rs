//! Backends see the clients' own addresses (`Source::Client`), in three network namespaces: a
//! client's, the balancer's and a backend's. The routing is what a guide would recommend.

use balancing::{AdminState, Backend, BackendState, Pool, Tier};
use dataplane::{DataPlane, Event, Listener, Observe, Options, Settings};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use terms::{Address, Cut, Limit, ListenerId, Source, SpliceMode, Timeouts};
use testing::{Network, or_skip};

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn backends_see_the_addresses_of_clients() {
    let Some(network) = or_skip(Network::new()) else { return };
    for (address, backend, client) in [
        ("192.0.2.254:8080", "198.51.100.1:8080", "192.0.2.1"),
        ("[2001:db8:1::fe]:8080", "[2001:db8:2::1]:8080", "2001:db8:1::1"),
        // Through a dual-stack listener, whose IPv4 clients are IPv4 clients.
        ("[::]:8081", "198.51.100.1:8081", "192.0.2.1"),
    ] {
        network.tell_addresses(backend);
        let faults = network
            .within("balancer", || balancer(address.parse().unwrap(), backend.parse().unwrap()));
        let seen = network.ask(&address.replace("[::]", "192.0.2.254"));
        let faults = faults.lock().unwrap();
        assert_eq!(seen, client, "what the backend at {backend} saw; faults: {faults:?}");
        assert!(faults.is_empty(), "{faults:?}");
    }
}

/// Starts a balancer in this thread's namespace, and gives the faults that it will report.
fn balancer(address: SocketAddr, backend: SocketAddr) -> Arc<Mutex<Vec<String>>> {
    let faults = Arc::new(Mutex::new(Vec::new()));
    let sink = |_| -> Box<dyn FnMut(Vec<Event>) + Send> {
        let faults = Arc::clone(&faults);
        Box::new(move |events| {
            for event in events {
                if let Event::SourceUnusable { fault, .. } = event {
                    faults.lock().expect("no sink panics").push(fault.to_string());
                }
            }
        })
    };
    let plane = DataPlane::start(Options { workers: 1, spin: None }, Default::default(), sink)
        .expect("threads");
    let state = Arc::new(BackendState::new(1, AdminState::Enabled, Limit::None));
    let backend = Backend::new(backend.to_string(), vec![Address::Ip(backend)], state);
    let tier = Tier { backends: [Arc::new(backend)].into_iter().collect(), ..Tier::default() };
    let settings = Settings {
        timeouts: Timeouts {
            idle: None,
            half_close: None,
            backend_half_close: None,
            connect: PATIENCE,
            linger: PATIENCE,
            ..Timeouts::default()
        },
        sessions_max: None,
        connecting_max: None,
        clients: Default::default(),
        rate_max: None,
        source: Source::Client,
        splice: SpliceMode::Auto,
        cut: Cut::Reset,
        forwarded_headers: false,
        dummy: false,
        accept_proxy: None,
        flows: terms::FlowRules::default(),
        hello_wait: None,
        tls: None,
        starttls: None,
        countries: None,
        observe: Observe::default(),
    };
    let pool = Arc::new(Pool { tiers: vec![tier], ..Pool::default() });
    let listener = Arc::new(Listener::new(ListenerId::new(0), settings, pool, plane.workers()));
    let socket = sys::net::listen_tcp(address, true, false).expect("a free port");
    plane.listen(&listener, vec![socket]);
    faults
}
