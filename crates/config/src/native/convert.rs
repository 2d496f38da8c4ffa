//! Turns the options of the start form into the configuration they mean.

use super::{NativeArgs, Patience, Proxies};

use crate::operand::{
    OperandError, Separator, Services, each_protocol, parse_backend, parse_listen, parse_reject,
    split_tiers,
};
use crate::{
    AdminAccess, Affinity, Backend, Bind, Checks, Config, Listener, PeriodicAgent, PeriodicProbe,
    Pool, PoolTls, Process, Tier, Tls,
};
use balancing::{Policy, Thin};
use std::sync::Arc;
use terms::{FlowRules, KeepAlive, Source, Timeouts};

/// Why a native command line is invalid. The exit status is that of usage errors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NativeError {
    /// An operand was not understood.
    #[error(transparent)]
    Operand(#[from] OperandError),
    /// No listening address.
    #[error("no listening address; give a port such as 8080, and then the backends")]
    NoListener,
    /// No backends.
    #[error("'{listen}' has no backends; name at least one, as in `evenkeel {listen} app1 app2`")]
    NoBackends {
        /// The listening address.
        listen: String,
    },
    /// A separator without a backend before it.
    #[error("tier {tier} has no backends; '!' and '%' end a tier and need a backend before them")]
    EmptyTier {
        /// The tier's number, from zero.
        tier: usize,
    },
    /// An option that has no effect on the clients of the listening address.
    #[error("'{listen}': --{option} {why}")]
    Misfit {
        /// The listening address.
        listen: String,
        /// The option's name.
        option: String,
        /// Why it has none.
        why: String,
    },
    /// A backend that clients of UDP cannot reach.
    #[error("'{listen}': the backend {backend} is a Unix socket, and cannot take datagrams")]
    UnixBackend {
        /// The listening address.
        listen: String,
        /// The backend.
        backend: String,
    },
    /// Two services have the same listening address.
    #[error("two services listen on {listen}; each needs an address of its own")]
    SameAddress {
        /// The listening address.
        listen: String,
    },
    /// Two services set an option of the process to different values.
    #[error(
        "--{option} is {} for '{}' and {} for '{}', but there is one process; give it once",
        values[0], listens[0], values[1], listens[1]
    )]
    TwoValues {
        /// The option's name.
        option: String,
        /// The values as typed.
        values: [String; 2],
        /// The listening addresses of the two services, as typed.
        listens: [String; 2],
    },
}

impl NativeArgs {
    /// The configuration that the options and operands mean. Names stay unresolved. The listener
    /// and its pool are called `main`.
    ///
    /// # Errors
    /// If an operand is not understood or a tier is empty.
    pub fn to_config(&self, services: Services<'_>) -> Result<Config, NativeError> {
        let (listener, pool) = self.to_service(services)?;
        Ok(Config { listeners: vec![listener], pools: vec![pool], process: self.process() })
    }

    /// The listener and the pool of [`NativeArgs::to_config`].
    ///
    /// # Errors
    /// If an operand is not understood or a tier is empty.
    pub fn to_service(&self, services: Services<'_>) -> Result<(Listener, Pool), NativeError> {
        let operand = self.listen.as_deref().ok_or(NativeError::NoListener)?;
        let binds = each_protocol(operand, None);
        let binds = binds.iter().map(|it| parse_listen(it, services));
        let binds = binds.collect::<Result<Vec<_>, _>>()?;
        let port = binds.first().and_then(Bind::port);
        let pool = Pool {
            name: Pool::DEFAULT_NAME.to_owned(),
            tiers: self.tiers(port, services)?,
            load_bound: self.load_bound,
            subset: self.subset,
            quarantine: self.quarantine.0,
            warm_up: self.warm_up.map(|time| time.0),
            age_max: self.max_age.0,
            auto_disable: self.auto_disable,
            checks: self.checks(),
            failover: self.failover,
            hash_failover: self.hash_failover,
            last_resort: !self.no_last_resort,
            essential: self.essential,
            engine: self.engine,
            send_proxy: self.send_proxy,
            tls: PoolTls {
                mode: self.backend_tls,
                name: self.backend_tls_name.clone(),
                authorities: self.backend_tls_ca.clone(),
                certificate: self.backend_tls_cert.clone(),
                key: self.backend_tls_key.clone(),
                protocols: self.backend_tls_alpn.clone(),
            },
            access: Arc::new(self.access.list()),
            reject: self.reject(port, services)?,
            affinity: self.affinity.map(|clients_max| Affinity {
                clients_max,
                time_limit: self.affinity_time.0,
                sticky: !self.affinity_count_only,
            }),
            fixed_places: false,
        };
        let listener = Listener {
            id: None,
            name: Listener::DEFAULT_NAME.to_owned(),
            binds,
            segment: None,
            pool: pool.name.clone(),
            routes: Vec::new(),
            hello_wait: Listener::DEFAULT_HELLO_WAIT,
            starttls: None,
            shared_port: self.share_port,
            sessions_max: self.max_sessions,
            connecting_max: self.max_connecting,
            rate_max: self.max_rate,
            clients: self.client_limits,
            timeouts: Timeouts {
                connect: self.connect_timeout.0,
                idle: self.idle_timeout.0,
                first_byte: self.first_byte_timeout.0,
                half_close: self.half_close_timeout.0,
                backend_half_close: self
                    .backend_half_close_timeout
                    .unwrap_or(self.half_close_timeout)
                    .0,
                linger: self.linger.0,
                keep_alive: match self.keep_alive {
                    None => KeepAlive::System,
                    Some(Patience(None)) => KeepAlive::Never,
                    Some(Patience(Some(idle))) => KeepAlive::After(idle),
                },
                user_timeout: self.user_timeout.0,
                shutdown: self.shutdown_timeout.0,
            },
            flows: FlowRules {
                timeout: self.flow_timeout.0,
                requests: self.requests,
                responses: self.responses,
                retry_after: self.retry_after.map(|time| time.0),
                hash_on: self.hash_on,
            },
            source: match self.source {
                Some(address) => Source::Fixed(address),
                None if self.transparent => Source::Client,
                None => Source::System,
            },
            accept_proxy: Proxies::peers(&self.accept_proxy),
            tls: self.tls(),
            forwarded_headers: self.forwarded_headers,
            dummy: false,
            splice: self.splice,
            cut: self.cut,
        };
        Ok((listener, pool))
    }

    fn checks(&self) -> Checks {
        let probe = self.probe.as_ref().map(|probe| PeriodicProbe {
            probe: probe.clone(),
            port: self.probe_port,
            interval: self.probe_interval.0,
            timeout: self.probe_timeout.0,
        });
        let agent = self
            .agent
            .as_ref()
            .map(|check| PeriodicAgent { check: check.clone(), interval: self.agent_interval.0 });
        let open = self.fail_open_below.map(Thin::FailOpenBelow);
        Checks {
            probe,
            agent,
            rise: self.rise,
            fall: self.fall,
            on_down: self.on_down,
            on_up: self.on_up,
            eject: self.eject,
            thin: open.or(self.refuse_below.map(Thin::RefuseBelow)),
        }
    }

    fn tls(&self) -> Option<Tls> {
        (!self.tls_cert.is_empty()).then(|| Tls {
            certificates: self.tls_cert.clone(),
            keys: self.tls_key.clone(),
            protocols: self.tls_alpn.clone(),
            timeout: self.tls_timeout.0,
            oldest: self.tls_min,
            ciphers: self.tls_ciphers,
            clients: self.tls_clients,
            client_authorities: self.tls_clients_ca.clone(),
            revocations: self.tls_clients_crl.clone(),
            staples: self.tls_ocsp.clone(),
            ticket_keys: self.tls_ticket_keys.clone(),
        })
    }

    /// What the options say of the process.
    pub(super) fn process(&self) -> Process {
        Process {
            workers: self.workers,
            spin: Some(self.spin.0).filter(|spin| !spin.is_zero()),
            daemon: self.daemon,
            pid_file: self.pid_file.clone(),
            user: self.user.clone(),
            root: self.root.clone(),
            state: self.state.clone().unwrap_or_default(),
            admin: self.admin.clone(),
            log_format: self.log_format,
            log_sessions: self.log_sessions,
            log_sample: self.log_sample,
            log_start: self.log_start,
            log_every: self.log_every.map(|time| time.0),
            log_slow_connect: self.log_slow_connect.map(|time| time.0),
            log_file: self.log_file.clone(),
            metrics: self.metrics,
            metrics_detail: self.metrics_detail,
            ready_interface: self.ready_interface.clone(),
            pre_stop: self.pre_stop.map(|time| time.0),
            watch: false,
            push: None,
            upgrade_drain: None,
            access: AdminAccess::default(),
        }
    }

    fn reject(
        &self,
        port: Option<u16>,
        services: Services<'_>,
    ) -> Result<Option<Backend>, NativeError> {
        let parse = |text: &String| parse_reject(text, port, services);
        Ok(self.reject.as_ref().map(parse).transpose()?)
    }

    fn tiers(&self, port: Option<u16>, services: Services<'_>) -> Result<Vec<Tier>, NativeError> {
        let mut tiers = Vec::new();
        for (tier, words) in split_tiers(&self.backends).into_iter().enumerate() {
            if words.operands.is_empty() {
                return Err(NativeError::EmptyTier { tier });
            }
            let policy = match words.end {
                Some(Separator::Hash) => Policy::Hash,
                Some(Separator::Turn) | None => self.policy,
            };
            let backends = words.operands.iter();
            let backends = backends.map(|it| parse_backend(it, port, services));
            tiers.push(Tier { policy, backends: backends.collect::<Result<_, _>>()? });
        }
        if tiers.is_empty() {
            return Err(NativeError::NoBackends {
                listen: self.listen.clone().unwrap_or_default(),
            });
        }
        Ok(tiers)
    }
}
