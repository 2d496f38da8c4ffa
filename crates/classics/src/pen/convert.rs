//! From the settings of a moment to the configuration they mean.

use super::settings::FastClose;
use super::{PenServer, PenSettings, ServerAddress};
use balancing::{AdminState, FailoverScope, Policy};
use config::{
    Affinity, Backend, Bind, Checks, Config, Endpoint, Engine, Host, Limits, Listener, Pool,
    Process, Segment, Tier,
};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use terms::{Cut, FlowRules, Limit, Source, SpliceMode, Timeouts};

impl PenSettings {
    /// What the settings mean. Servers are the backends of tier 0 at their places, empty places
    /// included, the emergency server is tier 1, the abuse server the reject backend. Without
    /// anything to listen on there is no listener, but still a pool.
    pub fn to_config(&self) -> Config {
        let path = |text: &Option<String>| text.as_ref().map(PathBuf::from);
        let process = Process {
            daemon: !self.foreground,
            pid_file: self.pid_path(),
            user: self.user.clone(),
            root: path(&self.chroot),
            ..Process::default()
        };
        let listeners = self.listener().into_iter().collect();
        Config { listeners, pools: vec![self.pool()], process }
    }

    /// Where the process id goes, as it is seen before the root directory changes.
    fn pid_path(&self) -> Option<PathBuf> {
        let path = PathBuf::from(self.pid_file.as_ref()?);
        Some(match &self.chroot {
            Some(root) => PathBuf::from(root).join(path.strip_prefix("/").unwrap_or(&path)),
            None => path,
        })
    }

    fn listener(&self) -> Option<Listener> {
        let source = match self.source {
            Some(address) => Source::Fixed(address),
            None if self.transparent => Source::Client,
            None => Source::System,
        };
        let listener = Listener {
            id: None,
            name: Listener::DEFAULT_NAME.to_owned(),
            binds: vec![self.listen.as_ref()?.bind.clone()],
            segment: None,
            shared_port: true,
            pool: Pool::DEFAULT_NAME.to_owned(),
            sessions_max: Some(at_least_one(self.conn_max)),
            connecting_max: Some(at_least_one(self.pending_max)),
            clients: Default::default(),
            rate_max: None,
            timeouts: self.timeouts(),
            flows: FlowRules::default(),
            source,
            accept_proxy: None,
            tls: self.tls.to_config(),
            forwarded_headers: self.http,
            dummy: self.dummy,
            routes: Vec::new(),
            hello_wait: Listener::DEFAULT_HELLO_WAIT,
            starttls: None,
            splice: if self.looks_at_data() { SpliceMode::Never } else { SpliceMode::Auto },
            cut: Cut::Close,
        };
        let listener = if self.udp { for_datagrams(listener) } else { listener };
        Some(match &self.segment {
            Some(segment) => Listener {
                binds: Vec::new(),
                segment: Some(Segment {
                    by_port: self.roundrobin,
                    pit: self.pit().unwrap_or_default(),
                    ..segment.clone()
                }),
                ..for_frames(listener)
            },
            None => listener,
        })
    }

    /// Why there is no tarpit, if one is asked for.
    pub fn no_tarpit(&self) -> Option<String> {
        let is_wanted = self.segment.is_some() && self.pit().is_none();
        is_wanted.then(|| {
            format!(
                "tarpit_acl: there is no tarpit, because list {} permits more than {PIT_MAX} \
                 addresses, or has countries or masks that are no prefixes",
                self.tarpit_acl
            )
        })
    }

    /// The ranges of addresses that the list of the tarpit permits; `None` if that cannot be said, or
    /// if they are too many.
    fn pit(&self) -> Option<Vec<(Ipv4Addr, Ipv4Addr)>> {
        if self.tarpit_acl < 0 {
            return Some(Vec::new());
        }
        let ranges = self.access_list(self.tarpit_acl).permitted(false)?;
        let ranges = ranges.into_iter().filter_map(|range| match range {
            (IpAddr::V4(first), IpAddr::V4(last)) => Some((first, last)),
            _ => None,
        });
        let ranges: Vec<_> = ranges.collect();
        let len = |(first, last): &(Ipv4Addr, Ipv4Addr)| {
            u64::from(last.to_bits()) - u64::from(first.to_bits()) + 1
        };
        (ranges.iter().map(len).sum::<u64>() <= PIT_MAX).then_some(ranges)
    }

    /// Whether what clients send is logged or dumped.
    pub fn looks_at_data(&self) -> bool {
        self.log.is_some() || self.dumps_data()
    }

    /// Whether all traffic is dumped to standard error.
    pub fn dumps_data(&self) -> bool {
        self.foreground && self.debug >= 3
    }

    fn pool(&self) -> Pool {
        let failover = match self.stubborn {
            true => FailoverScope::Nothing,
            false => FailoverScope::WholeTier,
        };
        let policy = self.policy();
        let backends = self.servers.iter().map(|server| self.backend(server)).collect();
        let mut tiers = vec![Tier { policy, backends }];
        if let Some(server) = &self.emergency {
            // Of one backend every policy chooses that, but by weight it needs one.
            let backends = vec![Backend { weight: 1, ..self.backend(server) }];
            tiers.push(Tier { policy, backends });
        }
        let pool = Pool {
            name: Pool::DEFAULT_NAME.to_owned(),
            tiers,
            load_bound: None,
            subset: None,
            quarantine: seconds(self.blacklist),
            warm_up: None,
            age_max: None,
            auto_disable: false,
            checks: Checks::default(),
            failover,
            hash_failover: failover,
            send_proxy: None,
            tls: Default::default(),
            last_resort: false,
            essential: false,
            engine: Default::default(),
            access: self.lists[self.client_acl].list(),
            reject: self.abuse.as_ref().map(|server| self.backend(server)),
            affinity: Some(Affinity {
                clients_max: at_least_one(self.clients_max),
                time_limit: Some(seconds(self.tracking)).filter(|limit| !limit.is_zero()),
                sticky: !self.roundrobin,
            }),
            fixed_places: true,
        };
        match self.segment {
            Some(_) => Pool {
                engine: Engine::Direct,
                failover: FailoverScope::default(),
                hash_failover: FailoverScope::default(),
                reject: None,
                affinity: None,
                ..pool
            },
            None => pool,
        }
    }

    fn policy(&self) -> Policy {
        match self {
            // Slots decide, whatever it is.
            Self { segment: Some(_), .. } => Policy::Rotation,
            Self { prio: true, .. } => Policy::Priority,
            Self { weight: true, .. } => Policy::Weighted,
            Self { hash: true, roundrobin: true, .. } => Policy::AddressPortHash,
            Self { hash: true, .. } => Policy::AddressHash,
            _ => Policy::Rotation,
        }
    }

    fn backend(&self, server: &PenServer) -> Backend {
        // A port must be one, also where it is never used.
        let tcp = |host| Endpoint::Tcp { host, port: server.port.max(1) };
        let endpoint = match &server.address {
            ServerAddress::Ip(address) => tcp(Host::Address(*address)),
            ServerAddress::Name(name) => tcp(Host::Name(name.clone())),
            ServerAddress::Unix(path) => Endpoint::Unix(PathBuf::from(path)),
        };
        let limits = match self.segment {
            Some(_) => Limits::default(),
            None => Limits {
                sessions_max: Limit::from_number(server.max),
                // A hard limit alone is ignored.
                sessions_max_affine: match server.max {
                    0 => 0,
                    _ => u32::try_from(server.hard).unwrap_or(0),
                },
            },
        };
        // Only where weights count is 0, which is pen's default, no share.
        let weight = u32::try_from(server.weight).unwrap_or(0);
        let weight = if self.policy() == Policy::Weighted { weight } else { weight.max(1) };
        Backend {
            weight,
            priority: server.prio,
            access: match self.segment {
                Some(_) => Arc::default(),
                None => self.access_list(server.acl),
            },
            admin: match self.is_out_of_use(server) {
                true => AdminState::Disabled,
                false => AdminState::Enabled,
            },
            ..Backend::new(endpoint, limits)
        }
    }

    /// Whether a server never gets a client. Direct server return needs no port of it.
    fn is_out_of_use(&self, server: &PenServer) -> bool {
        match (&self.segment, &server.address) {
            (Some(_), ServerAddress::Ip(address)) => address.is_unspecified(),
            _ => server.is_out_of_use(),
        }
    }

    fn timeouts(&self) -> Timeouts {
        let default = Timeouts::default();
        let at_once = Some(Duration::ZERO);
        let (by_client, by_server) = match self.tcp_fastclose {
            FastClose::Off => (default.half_close, default.backend_half_close),
            FastClose::Up => (default.half_close, at_once),
            FastClose::Down => (at_once, default.backend_half_close),
            FastClose::Both => (at_once, at_once),
        };
        Timeouts {
            connect: seconds(self.timeout.max(1)),
            idle: Some(seconds(self.idle_timeout)).filter(|limit| !limit.is_zero()),
            half_close: by_client,
            backend_half_close: by_server,
            linger: default.linger,
            keep_alive: default.keep_alive,
            user_timeout: default.user_timeout,
            first_byte: default.first_byte,
            shutdown: at_once,
        }
    }
}

/// As many addresses as 10.0.0.0/8 has.
const PIT_MAX: u64 = 1 << 24;

/// The listener of `dsr_if`. What is about connections and flows is left to clients and servers.
fn for_frames(listener: Listener) -> Listener {
    Listener {
        shared_port: false,
        sessions_max: None,
        connecting_max: None,
        timeouts: Timeouts { idle: None, ..listener.timeouts },
        flows: FlowRules::default(),
        source: Source::System,
        tls: None,
        forwarded_headers: false,
        dummy: false,
        ..listener
    }
}

/// The listener of `-U`. What is about connections has no effect.
fn for_datagrams(listener: Listener) -> Listener {
    let Timeouts { idle, shutdown, .. } = listener.timeouts;
    let binds = listener.binds.into_iter().map(|bind| match bind {
        Bind::Tcp { host, port, family } => Bind::Udp { host, port, family },
        bind => bind,
    });
    Listener {
        binds: binds.collect(),
        connecting_max: None,
        clients: Default::default(),
        rate_max: None,
        tls: None,
        timeouts: Timeouts { shutdown, ..Timeouts::default() },
        flows: FlowRules { timeout: idle.unwrap_or(FLOW_TIMEOUT), ..FlowRules::default() },
        forwarded_headers: false,
        dummy: false,
        splice: SpliceMode::Auto,
        cut: Cut::Reset,
        ..listener
    }
}

/// How long a UDP session may be silent, unless `idle_timeout` says so. The original never ends
/// them; this is the least that RFC 4787 (REQ-5) asks of those who keep mappings of UDP.
const FLOW_TIMEOUT: Duration = Duration::from_secs(120);

/// A number of seconds; none for a negative one.
fn seconds(number: i32) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

fn at_least_one(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(1).max(1)
}
