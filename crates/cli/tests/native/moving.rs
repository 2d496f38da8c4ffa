//! Clients of QUIC whose address changes in the middle of a connection: `--hash-on quic-cid`.

use super::upgrading::{until_gone, upgrade};
use crate::support::{Place, port};
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const NAME: &str = "service.test";
const LOCALHOST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// How long an answer may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Servers that answer each stream with their names, until they are dropped.
struct Servers {
    runtime: Option<Runtime>,
    addresses: Vec<SocketAddr>,
    certificate: CertificateDer<'static>,
}

impl Servers {
    fn start(count: usize) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let start = |number: usize| {
            let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
            let config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into());
            let _entered = runtime.enter();
            let endpoint = Endpoint::server(config.unwrap(), LOCALHOST).unwrap();
            let address = endpoint.local_addr().unwrap();
            runtime.spawn(async move {
                while let Some(incoming) = endpoint.accept().await {
                    tokio::spawn(async move {
                        if let Ok(connection) = incoming.await {
                            answer(connection, number).await;
                        }
                    });
                }
            });
            address
        };
        let addresses = (0..count).map(start).collect();
        Self { runtime: Some(runtime), addresses, certificate }
    }

    fn words(&self) -> String {
        self.addresses.iter().map(|it| format!(" {it}")).collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

async fn answer(connection: Connection, number: usize) {
    while let Ok((mut to, mut from)) = connection.accept_bi().await {
        let question = from.read_to_end(100).await;
        if question.is_err() || to.write_all(number.to_string().as_bytes()).await.is_err() {
            return;
        }
        let _ = to.finish();
    }
}

/// A client behind a NAT.
struct Client {
    runtime: Runtime,
    _endpoint: Endpoint,
    connection: Connection,
    /// Has the NAT forget it.
    forget: UnboundedSender<()>,
}

/// Passes a client's datagrams on from an address of its own, and from another one after each
/// message.
async fn translate(inside: UdpSocket, target: SocketAddr, mut forget: UnboundedReceiver<()>) {
    let open = || async {
        let outside = UdpSocket::bind(LOCALHOST).await.unwrap();
        outside.connect(target).await.unwrap();
        outside
    };
    let (mut outside, mut client) = (open().await, None);
    // Addresses that it has had are nobody else's: their flows are still there.
    let mut given_up = Vec::new();
    let (mut sent, mut received) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            biased;
            message = forget.recv() => match message {
                Some(()) => given_up.push(mem::replace(&mut outside, open().await)),
                None => return,
            },
            Ok((length, from)) = inside.recv_from(&mut sent) => {
                client = Some(from);
                let _ = outside.send(&sent[..length]).await;
            }
            Ok(length) = outside.recv(&mut received) => {
                let client = client.expect("it has sent something");
                let _ = inside.send_to(&received[..length], client).await;
            }
        }
    }
}

impl Client {
    fn connect(servers: &Servers, port: u16) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(servers.certificate.clone()).unwrap();
        let config = ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
        let (forget, orders) = unbounded_channel();
        let background = servers.runtime.as_ref().unwrap();
        let inside = background.block_on(UdpSocket::bind(LOCALHOST)).unwrap();
        let nat = inside.local_addr().unwrap();
        background.spawn(translate(inside, (Ipv4Addr::LOCALHOST, port).into(), orders));
        let (endpoint, connection) = runtime.block_on(async {
            let mut endpoint = Endpoint::client(LOCALHOST).unwrap();
            endpoint.set_default_client_config(config);
            let connecting = endpoint.connect(nat, NAME).unwrap();
            let connection = tokio::time::timeout(PATIENCE, connecting).await;
            (endpoint, connection.expect("in time").unwrap())
        });
        Self { runtime, _endpoint: endpoint, connection, forget }
    }

    /// Which server answers.
    fn ask(&self) -> String {
        let talk = async {
            let (mut to, mut from) = self.connection.open_bi().await.unwrap();
            to.write_all(b"who?").await.unwrap();
            to.finish().unwrap();
            String::from_utf8(from.read_to_end(100).await.unwrap()).unwrap()
        };
        let timed = async { tokio::time::timeout(PATIENCE, talk).await };
        self.runtime.block_on(timed).expect("an answer in time")
    }

    /// From now on it has another address, and does not know.
    fn rebind(&self) {
        self.forget.send(()).unwrap();
    }
}

#[test]
fn a_client_keeps_its_backend_at_another_address() {
    let (place, udp) = (Place::new(), port());
    let servers = Servers::start(3);
    let line = format!("{udp}/udp{} --hash-on quic-cid --workers 2", servers.words());
    let mut old = place.native(&line);
    let clients: Vec<_> = (0..6).map(|_| Client::connect(&servers, udp.number())).collect();
    let names: Vec<_> = clients.iter().map(Client::ask).collect();
    assert_eq!(names.concat().matches('0').count(), 2, "they take turns: {names:?}");
    for (client, name) in clients.iter().zip(&names) {
        for _ in 0..3 {
            client.rebind();
            assert_eq!(&client.ask(), name);
        }
    }
    // A disabled backend keeps its clients, and their ids are learned again after an upgrade.
    place.ctl("disable 0.0").check(0);
    upgrade(&place, "");
    until_gone(&mut old);
    thread::scope(|scope| {
        for (client, name) in clients.into_iter().zip(&names) {
            scope.spawn(move || {
                for _ in 0..4 {
                    assert_eq!(&client.ask(), name);
                }
                client.rebind();
                assert_eq!(&client.ask(), name);
            });
        }
    });
}
