//! Options that have no effect on what the clients of a listener speak.

use crate::native::writing::{Options, listener_options};
use crate::{Backend, Bind, Endpoint, Listener, Pool};
use std::path::{Path, PathBuf};
use terms::SendProxy;

/// Options of listeners that only TCP has a use for.
const TCP_ONLY: [&str; 12] = [
    "max-connecting",
    "connect-timeout",
    "idle-timeout",
    "first-byte-timeout",
    "half-close-timeout",
    "backend-half-close-timeout",
    "linger",
    "keep-alive",
    "user-timeout",
    "forwarded-headers",
    "splice",
    "cut",
];
/// Options of listeners that clients of UDP must not get around.
const NEVER_UDP: [&str; 11] = [
    "tls-cert",
    "tls-key",
    "tls-alpn",
    "tls-timeout",
    "tls-min",
    "tls-ciphers",
    "tls-ocsp",
    "tls-ticket-keys",
    "tls-clients",
    "tls-clients-ca",
    "tls-clients-crl",
];
/// Options of listeners that only UDP has a use for.
const UDP_ONLY: [&str; 5] = ["flow-timeout", "requests", "responses", "retry-after", "hash-on"];

/// Why an option does not fit these addresses, if it does not.
pub(crate) fn misfit(option: &str, binds: &[Bind]) -> Option<&'static str> {
    let is_udp = binds.iter().any(Bind::is_udp);
    let is_tcp = binds.iter().any(|bind| !bind.is_udp());
    match option {
        _ if !is_tcp && TCP_ONLY.contains(&option) => Some("is for TCP, and the clients speak UDP"),
        _ if !is_udp && UDP_ONLY.contains(&option) => Some("is for UDP, and the clients speak TCP"),
        // They would be served in plain text.
        _ if is_udp && NEVER_UDP.contains(&option) => {
            Some("is for TCP, and there are clients that speak UDP")
        }
        _ => None,
    }
}

/// The first option of a service that does not fit its addresses, and why.
pub(crate) fn first_misfit(listener: &Listener, pool: &Pool) -> Option<(&'static str, String)> {
    let mut names = Names::default();
    listener_options(&mut names, listener);
    let misfits = names.0.into_iter();
    let mut misfits =
        misfits.filter_map(|name| Some((name, misfit(name, &listener.binds)?.into())));
    misfits.next().or_else(|| {
        let is_udp = listener.binds.iter().all(Bind::is_udp);
        let why = "is for TCP, and the clients speak UDP";
        let has_tls = pool.all_backends().any(|backend| pool.tls_of(backend).is_some());
        (is_udp && has_tls).then(|| ("backend-tls", why.to_owned()))
    })
}

/// The UDP address of a listener whose clients cannot be announced as the pool wants: version 1 of
/// the PROXY protocol is for connections only.
pub(crate) fn unannounced<'l>(listener: &'l Listener, pool: &Pool) -> Option<&'l Bind> {
    let is_v1 = |it: &Backend| it.send_proxy.or(pool.send_proxy) == Some(SendProxy::V1);
    let bind = listener.binds.iter().find(|bind| bind.is_udp())?;
    pool.all_backends().any(is_v1).then_some(bind)
}

/// The first Unix socket among the backends, which clients of UDP cannot reach.
pub(crate) fn unreachable<'p>(listener: &Listener, pool: &'p Pool) -> Option<&'p Endpoint> {
    let is_udp = listener.binds.iter().any(Bind::is_udp);
    let mut endpoints = pool.all_backends().map(|backend| &backend.endpoint);
    endpoints.find(|it| is_udp && matches!(it, Endpoint::Unix(_)))
}

/// The names of the options that differ from their defaults.
#[derive(Default)]
struct Names(Vec<&'static str>);

impl Options for Names {
    fn set(&mut self, name: &'static str) {
        self.0.push(name);
    }

    fn set_number(&mut self, name: &'static str, _number: i64) {
        self.0.push(name);
    }

    fn set_text(&mut self, name: &'static str, _text: &str) {
        self.0.push(name);
    }

    fn set_list(&mut self, name: &'static str, _values: &str) {
        self.0.push(name);
    }

    fn set_path(&mut self, name: &'static str, _path: &Path) {
        self.0.push(name);
    }

    fn set_paths(&mut self, name: &'static str, _paths: &[PathBuf]) {
        self.0.push(name);
    }
}
