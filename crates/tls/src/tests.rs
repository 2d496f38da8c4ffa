//! Peers that send what ordinary ones do not.

use crate::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, SideData,
};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// A server's configuration, and what a client needs that trusts it.
fn server_and_trust() -> (ServerConfig, ConnectorMaterial) {
    let issuer = authority();
    let (certificate, key) = certificate(&issuer, 2100);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let (chain, key) = identity(&certificate, &key);
    let config = builder.with_single_cert(chain, key).unwrap();
    let authority = PemFile { path: "ca.pem".into(), text: issuer.pem().into_bytes() };
    let material =
        ConnectorMaterial { authorities: Some(vec![authority]), ..ConnectorMaterial::default() };
    (config, material)
}

/// What the peer has to say.
fn said<D: SideData>(peer: &mut ConnectionCommon<D>) -> Vec<u8> {
    let mut records = Vec::new();
    while peer.wants_write() {
        peer.write_tls(&mut records).unwrap();
    }
    records
}

fn tell<D: SideData>(peer: &mut ConnectionCommon<D>, mut records: &[u8]) {
    while !records.is_empty() {
        peer.read_tls(&mut records).unwrap();
        peer.process_new_packets().unwrap();
    }
}

/// Goes through the handshake byte by byte, and returns what the server says after it.
#[track_caller]
fn shake(channel: &mut Channel, server: &mut ServerConnection) -> Vec<u8> {
    let (mut held, mut hello) = (Vec::new(), Vec::new());
    channel.shake(&mut [], &mut hello).unwrap();
    tell(server, &hello);
    loop {
        let records = said(server);
        for (at, byte) in records.iter().enumerate() {
            held.push(*byte);
            let mut answer = Vec::new();
            let shaken = channel.shake(&mut held, &mut answer).unwrap();
            held.drain(..shaken.used);
            tell(server, &answer);
            if shaken.is_done {
                let mut rest = records[at + 1..].to_vec();
                rest.extend(said(server));
                return rest;
            }
        }
    }
}

#[test]
fn bytes_can_be_sent_while_a_message_of_the_peer_is_incomplete() {
    let (mut config, material) = server_and_trust();
    config.max_fragment_size = Some(64); // so that its tickets come in several records
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    let mut channel = Channel::connect(&Connector::new(&material).unwrap(), "a.test").unwrap();
    let tickets = shake(&mut channel, &mut server);
    assert!(tickets.len() > 200, "{}", tickets.len());
    let (mut held, mut plain, mut answer) = (Vec::new(), [0; 100], Vec::new());
    for byte in tickets {
        held.push(byte);
        let opened = channel.open(&mut held, &mut plain, &mut answer).unwrap();
        held.drain(..opened.used);
        let mut records = vec![0; 1 + RECORDS_ROOM];
        let length = channel.seal(b"x", &mut records, &mut held).unwrap();
        tell(&mut server, &records[..length]);
        let mut seen = [0; 2];
        assert_eq!(server.reader().read(&mut seen).unwrap(), 1);
    }
    server.writer().write_all(b"hello").unwrap();
    let mut records = said(&mut server);
    let opened = channel.open(&mut records, &mut plain, &mut answer).unwrap();
    assert_eq!(&plain[..opened.plain], b"hello");
    let mut end = Vec::new();
    channel.close(&mut end, &mut held);
    tell(&mut server, &end);
    assert_eq!(server.reader().read(&mut plain).unwrap(), 0);
}

#[test]
fn a_certificate_that_is_refused_brings_an_alert_wherever_the_records_are_cut() {
    let (config, _) = server_and_trust();
    let (_, other) = server_and_trust();
    let (config, connector) = (Arc::new(config), Connector::new(&other).unwrap());
    for cut in [1, 5, 100, 200, 400, 800, 2000] {
        let mut server = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut channel = Channel::connect(&connector, "a.test").unwrap();
        let mut hello = Vec::new();
        channel.shake(&mut [], &mut hello).unwrap();
        tell(&mut server, &hello);
        let mut held = Vec::new();
        let failure = said(&mut server).chunks(cut).find_map(|piece| {
            held.extend_from_slice(piece);
            let mut alert = Vec::new();
            match channel.shake(&mut held, &mut alert) {
                Ok(shaken) => {
                    held.drain(..shaken.used);
                    None
                }
                Err(failure) => Some((failure, alert)),
            }
        });
        let (failure, alert) = failure.unwrap();
        assert_eq!(failure.fault(), terms::TlsFault::Untrusted);
        assert!(!alert.is_empty());
    }
}

#[test]
fn a_server_that_does_not_speak_tls_is_told_apart() {
    let (_, material) = server_and_trust();
    let connector = Connector::new(&material).unwrap();
    for bytes in
        ["HTTP/1.0 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH\r\n", "220 mail\r\n", "id\n....."]
    {
        let mut channel = Channel::connect(&connector, "a.test").unwrap();
        let (mut hello, mut alert) = (Vec::new(), Vec::new());
        channel.shake(&mut [], &mut hello).unwrap();
        let failure = channel.shake(&mut bytes.as_bytes().to_vec(), &mut alert).unwrap_err();
        assert_eq!(failure.fault(), terms::TlsFault::NotTls, "{bytes}");
    }
}

/// A day on which certificates of old are still valid.
#[derive(Debug)]
struct InYear2000;

impl TimeProvider for InYear2000 {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(960_000_000)))
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate that is valid until the end of a year, and its key.
fn certificate(issuer: &Issuer<'_, KeyPair>, last_year: i32) -> (String, KeyPair) {
    let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    params.not_after = date_time_ymd(last_year, 12, 31);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, issuer).unwrap().pem(), key)
}

/// A certificate and its key, as the library takes them.
fn identity(
    certificate: &str,
    key: &KeyPair,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    (chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

/// Whether a client with a certificate that is valid until the end of a year continues an earlier
/// session.
fn resumes(last_year: i32, version: &'static rustls::SupportedProtocolVersion) -> bool {
    let issuer = authority();
    let (own, key) = certificate(&issuer, 2100);
    let file = |text: String| PemFile { path: "a.pem".into(), text: text.into_bytes() };
    let material = Material {
        certificates: vec![CertificateFile {
            file: file(own + &key.serialize_pem()),
            ..CertificateFile::default()
        }],
        clients: Some(ClientsMaterial {
            are_required: true,
            authorities: vec![file(issuer.pem())],
            revocations: Vec::new(),
        }),
        ..Material::default()
    };
    let mut acceptor = Acceptor::new(&material).unwrap().with_tickets(&Tickets::new().unwrap());
    let mut config = ServerConfig::clone(&acceptor.config);
    config.time_provider = Arc::new(InYear2000);
    acceptor.config = Arc::new(config);

    let (shown, key) = certificate(&issuer, last_year);
    let (chain, key) = identity(&shown, &key);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider);
    let client = client.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots);
    let mut client = client.with_client_auth_cert(chain, key).unwrap();
    client.time_provider = Arc::new(InYear2000);
    let client = Arc::new(client);
    let results = [(); 2].map(|()| {
        let name = "a.test".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::clone(&client), name).unwrap();
        let mut channel = Channel::accept(&acceptor).unwrap();
        let (mut held, mut plain) = (Vec::new(), [0; 100]);
        for _ in 0..4 {
            held.extend(said(&mut client));
            let mut answer = Vec::new();
            let used = if client.is_handshaking() {
                channel.shake(&mut held, &mut answer).unwrap().used
            } else {
                channel.open(&mut held, &mut plain, &mut answer).unwrap().used
            };
            held.drain(..used);
            tell(&mut client, &answer);
        }
        assert!(!client.is_handshaking());
        channel.peer_certificate().unwrap().is_resumed
    });
    assert!(!results[0]);
    results[1]
}

#[test]
fn a_client_resumes_as_long_as_its_certificate_is_valid() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        assert!(resumes(2100, version), "{version:?}");
        assert!(!resumes(2001, version), "{version:?}");
    }
}
