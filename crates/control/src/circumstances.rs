//! Gathers what is needed to say where a client would be sent.

use crate::instance::{Instance, Listening};
use crate::why::{Circumstances, WhyQuery};
use balancing::{Client, Routes};
use config::native::ListenName;
use config::{Bind, CommandError, Family, Host};
use std::net::{IpAddr, SocketAddr};

impl Instance {
    /// Gathers what is needed to answer.
    pub(crate) fn circumstances(&self, query: &WhyQuery) -> Result<Circumstances, CommandError> {
        let (config, listening) = self.listener_for(query.listener.as_deref())?;
        let mut client = client(&query.client, config, query.listener.as_deref())?;
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

/// The client as the listener sees it, at the address that is wanted, or else at its first one.
fn client(
    text: &str,
    listener: &config::Listener,
    wanted: Option<&str>,
) -> Result<Client, CommandError> {
    if text == "unix" {
        return Ok(Client::default());
    }
    let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 0));
    let address = address.or_else(|_| text.parse::<SocketAddr>());
    let mut address = address.map_err(|_| CommandError::InvalidClient(text.to_owned()))?;
    // A proxy announces an address in one form or the other.
    if listener.accept_proxy.is_none() {
        address.set_ip(as_seen(address.ip(), &listener.binds, wanted));
    }
    Ok(Client::new(Some(address)))
}

/// The address of a client as a socket sees it: one of both protocols sees an IPv4 client as an IPv6
/// one, which matters to balance's hash.
fn as_seen(client: IpAddr, binds: &[Bind], wanted: Option<&str>) -> IpAddr {
    let IpAddr::V4(v4) = client.to_canonical() else { return client };
    let wanted = wanted.and_then(|it| it.parse::<ListenName>().ok());
    let is_wanted = |it: &&Bind| wanted.as_ref().is_some_and(|name| name.fits(&it.to_string()));
    let mut reached = binds.iter().filter(is_wanted).chain(binds).filter_map(takes_v4);
    match reached.next() {
        Some(Seen::Mapped) => IpAddr::V6(v4.to_ipv6_mapped()),
        Some(Seen::Plain) | None => IpAddr::V4(v4),
    }
}

/// How IPv4 clients are seen.
enum Seen {
    /// As what they are.
    Plain,
    /// As IPv6 clients.
    Mapped,
}

/// How a socket with this address sees them, if it takes them.
fn takes_v4(bind: &Bind) -> Option<Seen> {
    let (Bind::Tcp { host, family, .. } | Bind::Udp { host, family, .. }) = bind else {
        return None;
    };
    match (host, family) {
        (None, Family::V4) | (Some(Host::Address(IpAddr::V4(_)) | Host::Name(_)), _) => {
            Some(Seen::Plain)
        }
        (None, Family::Any | Family::V6) => Some(Seen::Mapped),
        (Some(Host::Address(IpAddr::V6(v6))), _) => v6.to_ipv4_mapped().map(|_| Seen::Mapped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_the_form_that_the_socket_sees() {
        let bind = |host: Option<&str>, port, family| Bind::Tcp {
            host: host.map(|it| Host::Address(it.parse().unwrap())),
            port,
            family,
        };
        let seen = |client: &str, binds: &[Bind], wanted| {
            as_seen(client.parse().unwrap(), binds, wanted).to_string()
        };
        let all = bind(None, 80, Family::Any);
        let one = bind(Some("127.0.0.1"), 81, Family::Any);
        let (v4, mapped) = ("10.0.0.2", "::ffff:10.0.0.2");
        for client in [v4, mapped] {
            assert_eq!(seen(client, std::slice::from_ref(&all), None), mapped);
            assert_eq!(seen(client, &[bind(None, 80, Family::V6)], None), mapped);
            assert_eq!(seen(client, &[bind(None, 80, Family::V4)], None), v4);
            assert_eq!(seen(client, std::slice::from_ref(&one), None), v4);
            let v6 = bind(Some("::1"), 80, Family::Any);
            assert_eq!(seen(client, &[v6, all.clone()], None), mapped);
            let both = [one.clone(), all.clone()];
            assert_eq!(seen(client, &both, None), v4);
            assert_eq!(seen(client, &both, Some("127.0.0.1:81")), v4);
            assert_eq!(seen(client, &both, Some("80")), mapped);
        }
        assert_eq!(seen("fd00::1", &[all], None), "fd00::1");
    }
}
