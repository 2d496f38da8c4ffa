//! Resolving names as the system's own programs do. Everything here blocks.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Mutex;

/// Names that are resolved at the same time.
const AT_ONCE: usize = 16;

/// The first address of a host.
pub fn first_address(host: &str) -> Option<IpAddr> {
    (host, 0).to_socket_addrs().ok()?.map(|address| address.ip()).next()
}

/// The first addresses of many hosts, except those that have none. A slow name delays few of the
/// others.
pub fn first_addresses(hosts: &BTreeSet<String>) -> HashMap<String, IpAddr> {
    let left = Mutex::new(hosts.iter());
    let next = || left.lock().ok().and_then(|mut left| left.next());
    let found = Mutex::new(HashMap::new());
    let work = || {
        while let Some(host) = next() {
            if let (Some(address), Ok(mut found)) = (first_address(host), found.lock()) {
                found.insert(host.clone(), address);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..hosts.len().min(AT_ONCE) {
            // Without a thread this one does it all.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    found.into_inner().unwrap_or_default()
}
