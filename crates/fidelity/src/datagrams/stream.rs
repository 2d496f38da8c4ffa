//! iperf3, whose datagrams go through the proxy. Its control connection of TCP goes to the same
//! port: through the proxy if that serves TCP there, too, or else past it.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    Check, procnet,
    servers::{
        place::{Place, Servers, check, tried},
        web,
    },
};

/// The one server, whose address is needed for the control connection.
struct Iperf3 {
    address: SocketAddr,
}

/// A server at the port.
pub fn start(place: &Place, ports: &[u16]) -> Check<Servers> {
    let mut servers = web::start_iperf3(place, ports)?;
    let address = SocketAddr::new(place.host(), ports[0]);
    servers.push(Box::new(Iperf3 { address }));
    Ok(servers)
}

/// A second in each direction, two streams each, at a rate that loopback sustains.
pub fn exercise(place: &Place, port: u16, servers: &mut Servers) -> Check {
    let mut known = servers.iter().filter_map(|it| it.downcast_ref::<Iperf3>());
    let passes_tcp = procnet::is_listening(port);
    let _past_the_proxy = match known.next() {
        Some(iperf3) if !passes_tcp => {
            let proxy = SocketAddr::new(place.host(), port);
            Some(tried("a relay for TCP", Relay::start(proxy, iperf3.address))?)
        }
        _ => None,
    };
    web::run_iperf3(place, port, &["-u", "-b", "50M"], check_report)
}

fn check_report(output: &str) -> Check {
    let result: serde_json::Value = serde_json::from_str(output).unwrap_or_default();
    let sum = &result["end"]["sum"];
    let [packets, lost] = ["packets", "lost_packets"].map(|key| sum[key].as_u64());
    let error = &result["error"];
    // Those under way at the end of the test count as lost.
    let arrived = packets.zip(lost).is_some_and(|(packets, lost)| packets > 50 * lost);
    let seen = || format!("{packets:?} datagrams, {lost:?} lost, error {error}");
    check(
        error.is_null() && arrived,
        "datagrams, of which hardly any is lost, and no error",
        seen(),
    )
}

/// Passes on TCP connections, as long as it lives.
struct Relay {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    fn start(at: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(at)?;
        listener.set_nonblocking(true)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            while !over.load(Relaxed) {
                match listener.accept() {
                    Ok((client, _)) => drop(pass_on(client, to)),
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        Ok(Self { is_over, thread: Some(thread) })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn pass_on(client: TcpStream, to: SocketAddr) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let server = TcpStream::connect(to)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let pairs = [(client.try_clone()?, server.try_clone()?), (server, client)];
    for (mut from, mut to) in pairs {
        thread::spawn(move || {
            drop(io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_in_reports_is_noticed() {
        let report = |packets, lost| {
            format!(r#"{{"end":{{"sum":{{"packets":{packets},"lost_packets":{lost}}}}}}}"#)
        };
        assert!(check_report(&report(400, 0)).is_ok());
        assert!(check_report(&report(400, 4)).is_ok());
        assert!(check_report(&report(400, 9)).is_err());
        assert!(check_report(&report(0, 0)).is_err());
        assert!(check_report("").is_err());
    }
}
