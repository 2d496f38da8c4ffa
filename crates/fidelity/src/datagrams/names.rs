//! DNS: dnsmasq and dig.

use std::net::UdpSocket;

use super::echo::open;
use crate::{
    Check,
    servers::place::{Place, Servers, check, command, tried},
};

/// One dnsmasq per port, which knows one name.
pub fn start(place: &Place, ports: &[u16]) -> Check<Servers> {
    let mut servers: Servers = Vec::new();
    for &port in ports {
        let [listen, port_option] =
            [format!("--listen-address={}", place.host()), format!("--port={port}")];
        let pid_file = format!("--pid-file={}", place.text(&format!("dnsmasq-{port}.pid")));
        let args = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--bind-interfaces"];
        let args = args.into_iter().chain(["--conf-file=/dev/null", "--user=root"]);
        let args = args.chain(["--address=/service.test/192.0.2.7"]);
        let args = args.chain([&*listen, &*port_option, &*pid_file]);
        servers.push(Box::new(place.server(&[port], &mut command("dnsmasq", args))?));
    }
    Ok(servers)
}

/// A dnsmasq at the last port. Whatever is sent to the others stays unanswered.
pub fn start_one_silent(place: &Place, ports: &[u16]) -> Check<Servers> {
    let (&last, others) = ports.split_last().unwrap_or((&0, &[]));
    let mut servers = start(place, &[last])?;
    for &port in others {
        let silent: UdpSocket = tried("a port", open((place.host(), port).into()))?;
        servers.push(Box::new(silent));
    }
    Ok(servers)
}

/// A hundred queries, each from a port of its own.
pub fn exercise(place: &Place, port: u16, _servers: &mut Servers) -> Check {
    ask(place, port, 100)
}

/// A thousand of them.
pub fn exercise_often(place: &Place, port: u16, _servers: &mut Servers) -> Check {
    ask(place, port, 1_000)
}

fn ask(place: &Place, port: u16, times: u32) -> Check {
    let [server, port] = [format!("@{}", place.host()), port.to_string()];
    for query in 1..=times {
        let mut dig = command("dig", [&*server, "-p", &*port, "service.test", "A", "+short"]);
        let answer = place.client(&mut dig)?;
        let expected = format!("an answer to query {query}");
        check(answer.trim() == "192.0.2.7", &expected, answer.trim())?;
    }
    Ok(())
}
