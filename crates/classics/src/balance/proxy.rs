//! The proxy form of balance(1): from operands to a configuration.

use super::{BalanceArgs, BalanceError, Instance, MAX_CHANNELS, MAX_GROUPS};
use crate::classic::{address, leading_number};
use balancing::{AccessList, FailoverScope, Policy};
use config::operand::{Separator, Services, TierWords, parse_classic_ipv4, split_tiers};
use config::{
    Backend, Bind, Checks, Config, Endpoint, Family, Host, Limits, Listener, Pool, Process, Tier,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use terms::{Cut, FlowRules, Limit, Source, SpliceMode, Timeouts};

/// How long a client may be silent after its server has finished. The original closes it at
/// once, and loses what a client that goes on sending has to say.
const BACKEND_HALF_CLOSE: Duration = Duration::from_secs(1);

/// A proxy to start; its channels have not been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceProxy {
    /// The name it will have for `-i` and `-c`.
    pub instance: Instance,
    /// Whether the port was a number followed by something else, which cannot be listened on.
    pub port_has_junk: bool,
    /// Channels and separators as typed.
    pub channels: Vec<String>,
    /// The options.
    pub args: BalanceArgs,
}

impl BalanceProxy {
    /// What to listen on; bind this before the channels are looked at.
    ///
    /// # Errors
    /// [`BalanceError::Resolve`] for what the resolver would refuse: trailing junk after the
    /// port, `-6` with an IPv4 address, an empty `-b`.
    pub fn bind(&self) -> Result<Bind, BalanceError> {
        let refuse = |reason: &str| Err(BalanceError::Resolve(reason.to_owned()));
        if self.port_has_junk {
            return refuse("Servname not supported for ai_socktype");
        }
        let unspecified = if self.args.ipv6 { Family::V6 } else { Family::V4 };
        let (host, family) = match self.args.bind_text.as_deref() {
            None => (None, unspecified),
            Some("") => return refuse("Name or service not known"),
            Some(text) => match address(text) {
                Some(IpAddr::V4(_)) if self.args.ipv6 => {
                    return refuse("Address family for hostname not supported");
                }
                Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => (None, Family::V4),
                Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => (None, Family::V6),
                Some(address @ IpAddr::V4(_)) => (Some(Host::Address(address)), Family::V4),
                Some(address @ IpAddr::V6(_)) => (Some(Host::Address(address)), Family::V6),
                // "A name: the first address it has", of the family that -6 asks for.
                None => {
                    let family = if self.args.ipv6 { Family::V6 } else { Family::Any };
                    (Some(Host::Name(text.to_owned())), family)
                }
            },
        };
        Ok(Bind::Tcp { host, port: self.instance.port, family })
    }

    /// Everything the command line means. Channels given by name keep it; see [`resolve`]. So
    /// does `-B`: an address is in the configuration, a name is for [`resolve`] to put there.
    ///
    /// # Errors
    /// In the original's order: what [`BalanceProxy::bind`] refuses, too many channels or
    /// groups, a bad `-B`, then channel by channel.
    pub fn to_config(&self, services: Services<'_>) -> Result<Config, BalanceError> {
        let args = &self.args;
        let bind = self.bind()?;
        let groups = split_tiers(&self.channels);
        let too_long = |group: &TierWords<'_>| group.operands.len() > MAX_CHANNELS;
        if groups.len() > MAX_GROUPS || groups.iter().any(too_long) {
            return Err(BalanceError::TooMany);
        }
        let source = match args.source.as_deref() {
            None => Source::System,
            Some(text) => match address(text) {
                Some(address @ IpAddr::V4(_)) => Source::Fixed(address),
                None if !text.is_empty() => Source::System,
                // The original closes every client with these.
                _ => return Err(BalanceError::UnknownAddress(text.to_owned())),
            },
        };
        let tiers = groups.iter().map(|group| self.tier(group, services));
        let pool = Pool {
            name: Pool::DEFAULT_NAME.to_owned(),
            tiers: tiers.collect::<Result<_, _>>()?,
            load_bound: None,
            subset: None,
            quarantine: Duration::ZERO,
            warm_up: None,
            age_max: None,
            auto_disable: args.auto_disable,
            checks: Checks::default(),
            failover: FailoverScope::WholeTier,
            hash_failover: if args.hash_failover {
                FailoverScope::WholeTier
            } else {
                FailoverScope::LaterTiers
            },
            send_proxy: None,
            tls: Default::default(),
            last_resort: true,
            essential: false,
            engine: Default::default(),
            access: AccessList::everyone(),
            reject: None,
            affinity: None,
            fixed_places: true,
        };
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let default = Timeouts::default();
        let timeouts = Timeouts {
            connect: args.connect_seconds.map_or(default.connect, seconds),
            idle: args.idle_seconds.map(seconds),
            half_close: None,
            backend_half_close: Some(BACKEND_HALF_CLOSE),
            linger: default.linger,
            keep_alive: default.keep_alive,
            user_timeout: default.user_timeout,
            first_byte: default.first_byte,
            shutdown: None,
        };
        let listener = Listener {
            id: None,
            name: Listener::DEFAULT_NAME.to_owned(),
            binds: vec![bind],
            segment: None,
            shared_port: false,
            pool: pool.name.clone(),
            sessions_max: None,
            connecting_max: None,
            clients: Default::default(),
            rate_max: None,
            timeouts,
            flows: FlowRules::default(),
            source,
            accept_proxy: None,
            tls: None,
            forwarded_headers: false,
            dummy: false,
            routes: Vec::new(),
            hello_wait: Listener::DEFAULT_HELLO_WAIT,
            starttls: None,
            splice: if args.dump { SpliceMode::Never } else { SpliceMode::Auto },
            cut: Cut::Close,
        };
        let process = Process { daemon: !args.foreground, ..Process::default() };
        Ok(Config { listeners: vec![listener], pools: vec![pool], process })
    }

    /// What `-B` gives, when it is a name.
    pub fn source_name(&self) -> Option<&str> {
        self.args.source.as_deref().filter(|text| address(text).is_none())
    }

    fn tier(&self, group: &TierWords<'_>, services: Services<'_>) -> Result<Tier, BalanceError> {
        if group.operands.is_empty() {
            return Err(BalanceError::EmptyGroup);
        }
        let policy = match group.end {
            Some(Separator::Hash) => Policy::Hash,
            Some(Separator::Turn) | None => Policy::RoundRobin,
        };
        let channels = group.operands.iter();
        let channels = channels.map(|text| channel(text, self.instance.port, services));
        Ok(Tier { policy, backends: channels.collect::<Result<_, _>>()? })
    }
}

/// The names that [`resolve`] will ask for, without repetitions: `-B` first, then the channels.
pub fn hosts_to_resolve<'a>(proxy: &'a BalanceProxy, config: &'a Config) -> Vec<&'a str> {
    let mut names: Vec<&str> = proxy.source_name().into_iter().collect();
    for backend in config.pools.iter().flat_map(Pool::backends).map(|(_, _, backend)| backend) {
        if let Endpoint::Tcp { host: Host::Name(name), .. } = &backend.endpoint
            && !names.contains(&name.as_str())
        {
            names.push(name);
        }
    }
    names
}

/// Puts addresses in the place of names: `first_ipv4` gives the first IPv4 address of a name.
///
/// # Errors
/// [`BalanceError::UnknownAddress`] for the first name without one.
pub fn resolve(
    proxy: &BalanceProxy,
    config: &mut Config,
    first_ipv4: &dyn Fn(&str) -> Option<Ipv4Addr>,
) -> Result<(), BalanceError> {
    let look_up = |name: &str| {
        let unknown = || BalanceError::UnknownAddress(name.to_owned());
        first_ipv4(name).map(IpAddr::V4).ok_or_else(unknown)
    };
    let source = proxy.source_name().map(look_up).transpose()?;
    if let Some(source) = source {
        config.listeners.iter_mut().for_each(|it| it.source = Source::Fixed(source));
    }
    let tiers = config.pools.iter_mut().flat_map(|pool| &mut pool.tiers);
    for backend in tiers.flat_map(|tier| &mut tier.backends) {
        if let Endpoint::Tcp { host, .. } = &mut backend.endpoint
            && let Host::Name(name) = host
        {
            *host = Host::Address(look_up(name)?);
        }
    }
    Ok(())
}

/// `host[:port[:maxc]]`, cut at the first two colons, or the same with an IPv6 address in
/// brackets, which the original does not have.
fn channel(text: &str, default_port: u16, services: Services<'_>) -> Result<Backend, BalanceError> {
    let (host, rest) = cut_host(text);
    let mut parts = rest.split(':');
    let (port, maxc) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    if host_is_hopeless(&host) {
        return Err(BalanceError::UnknownAddress(host.to_string()));
    }
    let port = match port {
        "" => default_port,
        port => channel_port(port, services)
            .ok_or_else(|| BalanceError::InvalidChannelPort(port.to_owned()))?,
    };
    let sessions_max = Limit::from_number(leading_number(maxc).unwrap_or(0));
    Ok(Backend::new(Endpoint::Tcp { host, port }, Limits { sessions_max, ..Limits::default() }))
}

/// The host of a channel, and what follows its colon.
pub(super) fn cut_host(text: &str) -> (Host, &str) {
    if let Some((inside, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        && let Ok(address) = inside.parse::<Ipv6Addr>()
        && (rest.is_empty() || rest.starts_with(':'))
    {
        return (Host::Address(address.into()), rest.strip_prefix(':').unwrap_or(rest));
    }
    let (host, rest) = text.split_once(':').unwrap_or((text, ""));
    let literal = parse_classic_ipv4(host).map(|address| Host::Address(address.into()));
    (literal.unwrap_or_else(|| Host::Name(host.to_owned())), rest)
}

/// A service, or the leading number.
pub(super) fn channel_port(text: &str, services: Services<'_>) -> Option<u16> {
    services(text)
        .or_else(|| leading_number(text).and_then(|number| u16::try_from(number).ok()))
        .filter(|port| *port != 0)
}

/// Whether a name need not be looked up to know that it has no address.
pub(super) fn host_is_hopeless(host: &Host) -> bool {
    match host {
        Host::Address(_) => false,
        // Four numbers that are no address, or characters that no name has (also: another '[').
        Host::Name(name) => {
            let last = name.rsplit('.').next().unwrap_or(name);
            name.is_empty()
                || last.bytes().all(|b| b.is_ascii_digit())
                || name
                    .contains(|c: char| c.is_whitespace() || c.is_control() || "[]!%/".contains(c))
        }
    }
}
