//! QUIC: quinn on both sides, whose servers return what each stream brings.

use std::{
    any::Any,
    io,
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use quinn::{
    ClientConfig, Connection, Endpoint, ServerConfig,
    rustls::{
        RootCertStore,
        pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    },
};
use tokio::{runtime::Builder, select, sync::oneshot};

use crate::{
    Check, Failure,
    pattern::Pattern,
    servers::place::{Place, Servers, check, tried},
};

const NAME: &str = "service.test";
/// What a stream may bring.
const STREAM_BYTES_MAX: usize = 4 << 20;

/// What the client trusts.
struct Certificate(CertificateDer<'static>);

/// One endpoint per port, with one certificate.
pub fn start(place: &Place, ports: &[u16]) -> Check<Servers> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]);
    let made = made.map_err(|error| Failure::new("a certificate", error))?;
    let certificate = made.cert.der().clone();
    let mut servers: Servers = vec![Box::new(Certificate(certificate.clone()))];
    for &port in ports {
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into());
        let config = config.map_err(|error| Failure::new("a server's configuration", error))?;
        let address = SocketAddr::new(place.host(), port);
        servers.push(tried("a server of QUIC", serve(config, address))?);
    }
    Ok(servers)
}

fn serve(config: ServerConfig, address: SocketAddr) -> io::Result<Box<dyn Any>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let endpoint = Endpoint::server(config, address)?;
    drop(entered);
    let (running, mut over) = oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        runtime.block_on(async {
            while let Some(incoming) = select! {
                incoming = endpoint.accept() => incoming,
                _ = &mut over => None,
            } {
                if let Ok(connection) = incoming.await {
                    tokio::spawn(return_streams(connection));
                }
            }
        });
    });
    Ok(Box::new(Background { running: Some(running), thread: Some(thread) }))
}

/// A thread that ends when it is no longer needed.
struct Background {
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.running.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

async fn return_streams(connection: Connection) {
    while let Ok((mut to, mut from)) = connection.accept_bi().await {
        let Ok(bytes) = from.read_to_end(STREAM_BYTES_MAX).await else { return };
        if to.write_all(&bytes).await.is_ok() {
            let _ = to.finish();
        }
    }
}

/// Three connections, each with a long stream and many short ones.
pub fn exercise(place: &Place, port: u16, servers: &mut Servers) -> Check {
    let known = servers.iter().find_map(|it| it.downcast_ref::<Certificate>());
    let Certificate(certificate) =
        known.ok_or_else(|| Failure::new("a certificate", "none"))?.to_owned();
    let runtime = tried("a runtime", Builder::new_current_thread().enable_all().build())?;
    let proxy = SocketAddr::new(place.host(), port);
    for seed in 1..=3 {
        let talk = talk(proxy, certificate.clone(), seed);
        let result =
            runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), talk).await });
        let talk = result.map_err(|_| Failure::new("an end within 20 seconds", "none"))?;
        talk.map_err(|error| Failure::new("a conversation over QUIC", error))??;
    }
    Ok(())
}

async fn talk(
    proxy: SocketAddr,
    certificate: CertificateDer<'static>,
    seed: u64,
) -> Result<Check, Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let config = ClientConfig::with_root_certificates(Arc::new(roots))?;
    let mut endpoint = Endpoint::client(SocketAddr::new(proxy.ip(), 0))?;
    endpoint.set_default_client_config(config);
    let connection = endpoint.connect(proxy, NAME)?.await?;
    let mut pattern = Pattern::new(seed);
    let mut outcome = Ok(());
    for len in std::iter::once(2_000_000).chain(std::iter::repeat_n(100, 100)) {
        let sent = pattern.take(len);
        let (mut to, mut from) = connection.open_bi().await?;
        to.write_all(&sent).await?;
        to.finish()?;
        let received = from.read_to_end(STREAM_BYTES_MAX).await?;
        outcome = check(received == sent, "what was sent", format!("{} bytes", received.len()));
        if outcome.is_err() {
            break;
        }
    }
    connection.close(0_u32.into(), b"");
    endpoint.wait_idle().await;
    Ok(outcome)
}
