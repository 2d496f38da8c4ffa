//! TLS at the other end: an authority, the certificates that it issues, clients that trust it, and
//! servers that it vouches for.

use super::{Client, Place, Port};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::client::ClientConnectionData;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerConnectionData, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig,
    ServerConnection, SideData, StreamOwned,
};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::DerefMut;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Numbers of certificates.
static SERIALS: AtomicU64 = AtomicU64::new(1);

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
    pub serial: SerialNumber,
}

impl Issued {
    /// Both in one file.
    pub fn write(&self, path: &Path) {
        fs::write(path, format!("{}{}", self.certificate, self.key)).unwrap();
    }
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "An Authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for these names.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_until(names, 2099)
    }

    /// A certificate for these names that expires when that year begins.
    pub fn issue_until(&self, names: &[&str], year: i32) -> Issued {
        let all: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(all).unwrap();
        params.distinguished_name.push(DnType::CommonName, names[0]);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let number = SERIALS.fetch_add(1, Relaxed);
        params.serial_number = Some(SerialNumber::from(number));
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let serial = SerialNumber::from(number);
        Issued { certificate: certificate.pem(), key: key.serialize_pem(), serial }
    }

    /// A list, in PEM, that says that these are revoked.
    pub fn revoke(&self, issued: &[&Issued]) -> String {
        let [begin, end] = [2025, 2099].map(|year| date_time_ymd(year, 1, 1));
        let revoked = issued.iter().map(|it| RevokedCertParams {
            serial_number: it.serial.clone(),
            revocation_time: begin,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: begin,
            next_update: end,
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }

    /// What a client needs that shows this certificate.
    pub fn trust_showing(&self, issued: &Issued) -> ClientConfig {
        let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(self.roots());
        builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
    }

    /// What a server needs that has a certificate for these names.
    pub fn serve(&self, names: &[&str]) -> ServerConfig {
        self.serve_with(names, &[&TLS13, &TLS12], WebPkiClientVerifier::no_client_auth())
    }

    /// What a server needs that wants to see certificates of clients.
    pub fn serve_verified(&self, names: &[&str]) -> ServerConfig {
        self.serve_with(names, &[&TLS13, &TLS12], self.verified_clients())
    }

    /// Has clients show certificates of this authority.
    pub fn verified_clients(&self) -> Arc<dyn ClientCertVerifier> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(self.roots().into(), provider);
        builder.build().unwrap()
    }

    /// The same, with these versions of the protocol.
    pub fn serve_with(
        &self,
        names: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
        clients: Arc<dyn ClientCertVerifier>,
    ) -> ServerConfig {
        let Issued { certificate, key, .. } = self.issue(names);
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap);
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).unwrap();
        let builder = builder.with_client_cert_verifier(clients);
        builder.with_single_cert(chain.collect(), key).unwrap()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.0.der().to_vec())).unwrap();
        roots
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// What a client needs to trust it.
    pub fn trust(&self) -> ClientConfig {
        self.trust_with(&[&TLS13, &TLS12])
    }

    /// The same, with these versions of the protocol.
    pub fn trust_with(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let roots = self.roots();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).unwrap();
        builder.with_root_certificates(roots).with_no_client_auth()
    }
}

/// A peer that speaks TLS.
pub struct TlsPeer<C, S: SideData>(pub StreamOwned<C, TcpStream>)
where
    C: DerefMut<Target = ConnectionCommon<S>>;

/// A client that speaks TLS.
pub type TlsClient = TlsPeer<ClientConnection, ClientConnectionData>;
/// A server that speaks TLS.
pub type TlsServer = TlsPeer<ServerConnection, ServerConnectionData>;

impl TlsServer {
    /// Completes the handshake with a client.
    pub fn accept(client: Client, config: &Arc<ServerConfig>) -> std::io::Result<Self> {
        let connection = ServerConnection::new(Arc::clone(config)).unwrap();
        let mut stream = StreamOwned::new(connection, client.0);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(stream))
    }
}

impl TlsClient {
    /// Connects, and completes the handshake with whoever has a certificate for `name`.
    pub fn try_connect(
        port: &Port,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<Self> {
        Self::try_over(Client::connect(port), config, name)
    }

    /// The same, with a connection that was made already.
    pub fn try_over(
        client: Client,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, client.0);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(stream))
    }

    #[track_caller]
    pub fn connect(port: &Port, config: &Arc<ClientConfig>, name: &str) -> Self {
        Self::try_connect(port, config, name).unwrap()
    }
}

impl<C, S: SideData> TlsPeer<C, S>
where
    C: DerefMut<Target = ConnectionCommon<S>>,
{
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
        self.0.flush().unwrap();
    }

    /// Says that nothing follows, and ends its direction of the socket.
    #[track_caller]
    pub fn finish(&mut self) {
        self.0.conn.deref_mut().send_close_notify();
        self.0.flush().unwrap();
        self.0.sock.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// All until the end, and whether that was announced. Otherwise something may be missing.
    pub fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => (bytes, true),
            Err(error) => {
                let kind = error.kind();
                assert!(
                    matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
                    "{error}"
                );
                (bytes, false)
            }
        }
    }

    /// As many bytes as are expected.
    #[track_caller]
    pub fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let mut read = vec![0; bytes.as_ref().len()];
        self.0.read_exact(&mut read).unwrap();
        assert!(read == bytes.as_ref(), "{:?}", String::from_utf8_lossy(&read));
    }
}

/// A place where `ca.pem` is the certificate of this authority, and `a.pem` one for `a.test` that
/// it has signed.
pub fn certified() -> (Place, Authority) {
    let (place, authority) = (Place::new(), Authority::new());
    authority.issue(&["a.test"]).write(&place.file("a.pem"));
    fs::write(place.file("ca.pem"), authority.pem()).unwrap();
    (place, authority)
}
