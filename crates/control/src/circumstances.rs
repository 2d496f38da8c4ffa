//! Gathers what is needed to say where a client would be sent.

use crate::instance::{Instance, Listening};
use crate::why::{Circumstances, WhyQuery};
use balancing::{Client, Routes};
use config::native::ListenName;
use config::{Bind, CommandError, Family};
use std::net::{IpAddr, SocketAddr};

impl Instance {
    /// Gathers what is needed to answer.
    pub(crate) fn circumstances(&self, query: &WhyQuery) -> Result<Circumstances, CommandError> {
        let (config, listening) = self.listener_for(query.listener.as_deref())?;
        let mut client = parse_client(&query.client, &config.binds)?;
        let offers = query.alpn.as_deref().unwrap_or_default();
        let offers = |protocol: &str| offers.split(',').any(|offer| offer == protocol);
        let routes = Routes::new(config.routes.iter().map(|route| &route.rule));
        let route = routes.find(query.sni.as_deref(), offers);
        let pool_name = route.map_or(&config.pool, |route| &config.routes[route].pool).clone();
        let pool = self.pool_called(&pool_name);
        let given = self.config.pool(&pool_name);
        let called = given.into_iter().flat_map(|it| &it.tiers).map(|tier| {
            let backends = tier.backends.iter();
            backends.map(|it| it.name.clone().unwrap_or_else(|| it.endpoint.to_string())).collect()
        });
        let reject = given.and_then(|it| it.reject.as_ref());
        client.country = client.address.and_then(|it| listening.listener.country(&pool, it));
        let mut notes = Vec::new();
        if self.shutting_down {
            notes.push("the instance is shutting down and takes no clients".to_owned());
        }
        if self.is_paused {
            notes.push("the instance is being drained and takes no clients".to_owned());
        }
        let open = listening.listener.sessions();
        if config.sessions_max.is_some_and(|most| open >= most) {
            notes.push(format!("the listener is full ({open} sessions): the client has to wait"));
        }
        if config.accept_proxy.is_some() {
            notes.push("a proxy must announce the client: only proxies may connect".to_owned());
        }
        if config.dummy {
            notes.push("the listener answers clients itself (pen's dummy server)".to_owned());
        }
        if pool.needs_country() && client.country.is_none() && client.address.is_some() {
            notes.push("the client's country is not known: country rules do not match".to_owned());
        }
        let says = |id| Some((id, self.probes.agent_says(id)?));
        Ok(Circumstances {
            agents: pool.backends().filter_map(|(_, _, it)| says(it.id)).collect(),
            client,
            listener: config.name.clone(),
            binds: config.binds.iter().map(ToString::to_string).collect(),
            pool_because: pool_because(config, route, query),
            called: called.collect(),
            reject: reject.map(|it| it.name.clone().unwrap_or_else(|| it.endpoint.to_string())),
            pool_name,
            pool,
            notes,
            now: sys::clock::now(),
        })
    }

    /// The listener of this name, or with this port or address; without one, the only listener.
    pub(crate) fn listener_for(
        &self,
        wanted: Option<&str>,
    ) -> Result<(&config::Listener, &Listening), CommandError> {
        let all = self.config.listeners.iter().zip(&self.listeners);
        let name = wanted.map(|it| (it, it.parse::<ListenName>().ok()));
        let fits = |config: &config::Listener| match &name {
            None => true,
            Some((text, bind)) => {
                let is_bound =
                    |it: &Bind| bind.as_ref().is_some_and(|bind| bind.fits(&it.to_string()));
                config.name == *text || config.binds.iter().any(is_bound)
            }
        };
        let mut fitting = all.filter(|(config, _)| fits(config));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => {
                let names = self.config.listeners.iter().filter(|it| fits(it));
                let names: Vec<_> = names.map(|it| it.name.as_str()).collect();
                Err(CommandError::AmbiguousListener(names.join(", ")))
            }
            (None, _) => Err(CommandError::UnknownListener(wanted.unwrap_or_default().to_owned())),
        }
    }
}

fn pool_because(config: &config::Listener, route: Option<usize>, query: &WhyQuery) -> String {
    match (route, &query.sni) {
        (Some(_), Some(name)) => format!("a route is for TLS clients that ask for {name}"),
        (Some(_), None) => "a route is for TLS clients that ask for no name".to_owned(),
        (None, _) if config.routes.is_empty() => "the only pool of the listener".to_owned(),
        (None, Some(name)) => format!("no route is for TLS clients that ask for {name}"),
        (None, None) => {
            "no route is for this client; --sni and --alpn say what a TLS client asks for"
                .to_owned()
        }
    }
}

/// The client as the listener sees it: a dual-stack socket sees IPv4 clients as IPv6 ones, which
/// matters to balance's hash.
fn parse_client(text: &str, binds: &[Bind]) -> Result<Client, CommandError> {
    if text == "unix" {
        return Ok(Client::default());
    }
    let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 0));
    let address = address.or_else(|_| text.parse::<SocketAddr>());
    let address = address.map_err(|_| CommandError::InvalidClient(text.to_owned()))?;
    let is_any = |bind: &Bind| {
        matches!(bind, Bind::Tcp { host: None, family: Family::Any, .. })
            || matches!(bind, Bind::Udp { host: None, family: Family::Any, .. })
    };
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) if binds.iter().any(is_any) => IpAddr::V6(ip.to_ipv6_mapped()),
        ip => ip,
    };
    Ok(Client::new(Some(SocketAddr::new(ip, address.port()))))
}
