//! The PROXY protocol in the configuration file.

use balancing::ProxyPeers;
use config::Config;
use config::file::{Source, read};
use terms::SendProxy;

#[track_caller]
fn config(text: &str) -> Config {
    let source = Source { name: "evenkeel.toml".to_owned(), text: text.to_owned() };
    let reading = read(&[source], &|_| None, &|_| None);
    reading.config.unwrap_or_else(|| panic!("{:?}", reading.reports))
}

#[track_caller]
fn peers(line: &str) -> Option<ProxyPeers> {
    let text = format!(
        "[listeners.web]\nbind = 80\npool = \"web\"\n{line}\n[pools.web]\nbackends = [\"app1\"]"
    );
    config(&text).listeners.remove(0).accept_proxy
}

#[test]
fn proxies_are_one_or_a_list() {
    let several = peers("accept-proxy = [\"10.0.0.0/8\", \"::1\", \"unix\"]").unwrap();
    assert_eq!((several.networks().count(), several.unix), (2, true));
    assert_eq!(peers("accept-proxy = \"10.0.0.0/8,::1,unix\""), Some(several));
    let one = peers("accept-proxy = \"10.0.0.0/8\"").unwrap();
    assert_eq!((one.networks().count(), one.unix), (1, false));
    assert_eq!(peers(""), None);
}

#[test]
fn a_backend_can_differ_from_its_pool() {
    let config = config(
        "[defaults]\nsend-proxy = \"v2\"\n[listeners.web]\nbind = 80\npool = \"web\"\n\
         [pools.web]\nbackends = [\"app1\", { to = \"app2\", send-proxy = \"v1\" }]",
    );
    let pool = &config.pools[0];
    assert_eq!(pool.send_proxy, Some(SendProxy::V2 { unique_id: false, crc32c: false }));
    let own: Vec<_> = pool.backends().map(|(_, _, backend)| backend.send_proxy).collect();
    assert_eq!(own, [None, Some(SendProxy::V1)]);
    let lost = config.to_command_line();
    assert!(lost.contains("# not expressible: backend 0.1 (app2:80) has a PROXY header"), "{lost}");
}
