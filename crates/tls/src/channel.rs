//! One connection's records: the handshake, plain bytes from records, and records from plain bytes.

use crate::acceptor::Acceptor;
use crate::clients::common_name;
use crate::connector::Connector;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{
    AlertDescription, CertificateError, CommonState, Error, HandshakeKind, InvalidMessage,
    ProtocolVersion,
};
use std::sync::Arc;
use terms::TlsFault;

/// A TLS connection, from its first record to its last. It has no buffer of its own: records are in
/// the caller's memory, and those that are incomplete stay there.
pub struct Channel {
    engine: Engine,
    /// Plain bytes that the caller had no room for.
    waiting: Vec<u8>,
    /// Whether the peer has sent its close_notify, after which nothing follows.
    peer_closed: bool,
}

enum Engine {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// How far a handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shaken {
    /// Bytes of the records that were used up.
    pub used: usize,
    /// Whether plain bytes may be sent and received from now on.
    pub is_done: bool,
}

/// A certificate that was shown, and was found valid if that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its common name.
    pub name: Option<String>,
    /// Whether it was shown in an earlier connection, whose session this one continues.
    pub is_resumed: bool,
}

/// What a piece of the records contained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Bytes of the records that were used up. The rest is an incomplete record, or what comes after
    /// the peer's end.
    pub used: usize,
    /// Plain bytes.
    pub plain: usize,
}

/// Why a connection cannot go on. An alert that says so may have been added to what is to be sent.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The peer has sent this alert.
    #[error("the peer sent the alert {0:?}")]
    Alert(AlertDescription),
    /// The peer does not come to the end of a message.
    #[error("a handshake message is too long")]
    TooLong,
    /// The peer violated the protocol, or has nothing in common with us.
    #[error("{0}")]
    Refused(Error),
}

impl Failure {
    /// What it says about a backend.
    #[must_use]
    pub fn fault(&self) -> TlsFault {
        use CertificateError as Bad;
        match self {
            Self::Alert(alert) => TlsFault::Alert(alert.as_str().unwrap_or("unknown")),
            Self::TooLong => TlsFault::Refused,
            Self::Refused(Error::InvalidMessage(message)) => match message {
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload => TlsFault::NotTls,
                _ => TlsFault::Refused,
            },
            Self::Refused(Error::InvalidCertificate(problem)) => match problem {
                Bad::UnknownIssuer | Bad::BadSignature => TlsFault::Untrusted,
                Bad::NotValidForName | Bad::NotValidForNameContext { .. } => TlsFault::OtherName,
                Bad::Expired | Bad::ExpiredContext { .. } => TlsFault::Expired,
                Bad::NotValidYet | Bad::NotValidYetContext { .. } => TlsFault::NotYetValid,
                _ => TlsFault::Certificate,
            },
            Self::Refused(_) => TlsFault::Refused,
        }
    }
}

/// How much longer records may be than the plain bytes in them, for every 16 kB, and once for what
/// the protocol itself has to say.
const RECORD_OVERHEAD: usize = 64;
/// Room for what the protocol itself has to say: an alert, a key update.
const PROTOCOL_ROOM: usize = 512;
/// The most plain bytes that a record has.
const RECORD_PLAIN: usize = 16 << 10;
/// The room that the records of `n` plain bytes need is at most `n + RECORDS_ROOM` for up to 1 MiB.
pub const RECORDS_ROOM: usize = PROTOCOL_ROOM + RECORD_OVERHEAD * ((1 << 20) / RECORD_PLAIN + 1);

impl Channel {
    /// The server's side of a connection that was just accepted.
    ///
    /// # Errors
    /// None, unless the configuration is broken.
    pub fn accept(acceptor: &Acceptor) -> Result<Self, Failure> {
        let server = UnbufferedServerConnection::new(Arc::clone(&acceptor.config));
        Ok(Self::new(Engine::Server(Box::new(server.map_err(Failure::Refused)?))))
    }

    /// The client's side of a connection that was just made, to a server with this name. It has
    /// something to say at once: see [`Channel::shake`].
    ///
    /// # Errors
    /// If nobody can have such a name.
    pub fn connect(connector: &Connector, name: &str) -> Result<Self, Failure> {
        let name = ServerName::try_from(name.to_owned());
        let name = name.map_err(|error| Failure::Refused(Error::General(error.to_string())))?;
        let client = UnbufferedClientConnection::new(Arc::clone(&connector.config), name);
        Ok(Self::new(Engine::Client(Box::new(client.map_err(Failure::Refused)?))))
    }

    fn new(engine: Engine) -> Self {
        Self { engine, waiting: Vec::new(), peer_closed: false }
    }

    /// Whether the peer is a client.
    #[must_use]
    pub fn is_server(&self) -> bool {
        matches!(self.engine, Engine::Server(_))
    }

    /// The version of the protocol and the cipher suite, once they have been agreed upon.
    #[must_use]
    pub fn agreed(&self) -> Option<(&'static str, &'static str)> {
        let common = self.common();
        let version = match common.protocol_version()? {
            ProtocolVersion::TLSv1_2 => "1.2",
            ProtocolVersion::TLSv1_3 => "1.3",
            _ => return None,
        };
        Some((version, common.negotiated_cipher_suite()?.suite().as_str()?))
    }

    /// The peer's certificate, if it has shown one.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<PeerCertificate> {
        let common = self.common();
        let name = common_name(common.peer_certificates()?.first()?);
        let is_resumed = common.handshake_kind() == Some(HandshakeKind::Resumed);
        Some(PeerCertificate { name, is_resumed })
    }

    /// The protocol that was agreed upon (ALPN).
    #[must_use]
    pub fn protocol(&self) -> Option<&[u8]> {
        self.common().alpn_protocol()
    }

    fn common(&self) -> &CommonState {
        match &self.engine {
            Engine::Server(server) => server,
            Engine::Client(client) => client,
        }
    }

    /// Continues the handshake with the records received so far, and adds what is to be sent to
    /// `out`.
    ///
    /// # Errors
    /// If the handshake has failed; `out` then has the alert.
    pub fn shake(&mut self, records: &mut [u8], out: &mut Vec<u8>) -> Result<Shaken, Failure> {
        let Opened { used, .. } = self.drive(records, &mut [], out)?;
        Ok(Shaken { used, is_done: !self.common().is_handshaking() })
    }

    /// Decrypts complete records into `plain`. What it has no room for is kept for the next call,
    /// and [`Channel::is_waiting`] until then. What the protocol has to answer is added to `out`.
    ///
    /// # Errors
    /// If the peer violates the protocol or has sent an alert; `out` then has the answer.
    pub fn open(
        &mut self,
        records: &mut [u8],
        plain: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Opened, Failure> {
        let kept = self.waiting.len().min(plain.len());
        if kept == 0 {
            return self.drive(records, plain, out);
        }
        plain[..kept].copy_from_slice(&self.waiting[..kept]);
        self.waiting.drain(..kept);
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
        Ok(Opened { used: 0, plain: kept })
    }

    /// Whether there are plain bytes that the caller had no room for.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the peer has said that nothing follows.
    #[must_use]
    pub fn has_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Encrypts `plain` into `records`, which must have room for it and [`RECORDS_ROOM`] more.
    /// Returns how long the records are. `held` is what the last call has left of the records that
    /// were received: the library refers to a message that is incomplete.
    ///
    /// # Errors
    /// If the keys have been used for too much data, and cannot be replaced: TLS 1.2.
    pub fn seal(
        &mut self,
        plain: &[u8],
        records: &mut [u8],
        held: &mut [u8],
    ) -> Result<usize, Failure> {
        match &mut self.engine {
            Engine::Server(server) => seal(server.as_mut(), plain, records, held),
            Engine::Client(client) => seal(client.as_mut(), plain, records, held),
        }
    }

    /// Adds the close_notify to `out`, after which nothing can be sealed. `held` as for
    /// [`Channel::seal`].
    pub fn close(&mut self, out: &mut Vec<u8>, held: &mut [u8]) {
        match &mut self.engine {
            Engine::Server(server) => close(server.as_mut(), out, held),
            Engine::Client(client) => close(client.as_mut(), out, held),
        }
    }

    fn drive(
        &mut self,
        records: &mut [u8],
        plain: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Opened, Failure> {
        let Self { engine, waiting, peer_closed } = self;
        let mut sink = Sink { plain, count: 0, waiting, peer_closed };
        let used = match engine {
            Engine::Server(server) => drive(server.as_mut(), records, &mut sink, out)?,
            Engine::Client(client) => drive(client.as_mut(), records, &mut sink, out)?,
        };
        Ok(Opened { used, plain: sink.count })
    }
}

/// Where plain bytes go.
struct Sink<'a> {
    plain: &'a mut [u8],
    count: usize,
    waiting: &'a mut Vec<u8>,
    peer_closed: &'a mut bool,
}

impl Sink<'_> {
    fn take(&mut self, payload: &[u8]) {
        let room = &mut self.plain[self.count..];
        if payload.len() <= room.len() && self.waiting.is_empty() {
            room[..payload.len()].copy_from_slice(payload);
            self.count += payload.len();
        } else {
            self.waiting.extend_from_slice(payload);
        }
    }
}

/// Either side's connection.
trait Side {
    type Data;
    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8])
    -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

/// Processes records until more are needed; returns how many of their bytes were used up.
fn drive<S: Side>(
    side: &mut S,
    records: &mut [u8],
    sink: &mut Sink<'_>,
    out: &mut Vec<u8>,
) -> Result<usize, Failure> {
    let mut used = 0;
    loop {
        let UnbufferedStatus { discard, state } = side.process(&mut records[used..]);
        let mut goes_on = true;
        match state {
            Ok(ConnectionState::EncodeTlsData(mut message)) => encode(&mut message, out),
            Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    sink.take(record.map_err(failure)?.payload);
                }
            }
            Ok(ConnectionState::PeerClosed) => *sink.peer_closed = true,
            Ok(_) => goes_on = false,
            Err(error) => {
                add_alert(side, &mut records[used + discard..], out);
                return Err(failure(error));
            }
        }
        used += discard;
        if !goes_on {
            return Ok(used);
        }
    }
}

/// Adds the alert that goes with an error, after what was to be sent before. `rest` is what was not
/// used up: the library may refer to it, and must not find less. After the alert it is not asked
/// again, because it would look at the same record once more.
fn add_alert<S: Side>(side: &mut S, rest: &mut [u8], out: &mut Vec<u8>) {
    while let Ok(ConnectionState::EncodeTlsData(mut message)) = side.process(rest).state {
        let start = out.len();
        encode(&mut message, out);
        if is_alert(&out[start..]) {
            return;
        }
    }
}

/// Whether a record is an alert, also one that TLS 1.3 has encrypted: nothing else is so short.
fn is_alert(record: &[u8]) -> bool {
    match record.first() {
        Some(&ALERT) => true,
        Some(&APPLICATION_DATA) => record.len() == ENCRYPTED_ALERT_BYTES,
        _ => false,
    }
}

/// Types of records (RFC 8446, section 5.1).
const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;
/// Its header, level and description, the inner type, and the tag.
const ENCRYPTED_ALERT_BYTES: usize = 5 + 2 + 1 + 16;

fn encode<D>(message: &mut rustls::unbuffered::EncodeTlsData<'_, D>, out: &mut Vec<u8>) {
    let Err(EncodeError::InsufficientSize(short)) = message.encode(&mut []) else { return };
    let start = out.len();
    out.resize(start + short.required_size, 0);
    if message.encode(&mut out[start..]).is_err() {
        out.truncate(start);
    }
}

fn seal<S: Side>(
    side: &mut S,
    plain: &[u8],
    records: &mut [u8],
    held: &mut [u8],
) -> Result<usize, Failure> {
    let mut start = 0;
    loop {
        match side.process(held).state.map_err(failure)? {
            ConnectionState::EncodeTlsData(mut message) => {
                start += message.encode(&mut records[start..]).map_err(exhausted)?;
            }
            ConnectionState::TransmitTlsData(sent) => sent.done(),
            ConnectionState::WriteTraffic(mut traffic) => {
                let length = traffic.encrypt(plain, &mut records[start..]).map_err(exhausted)?;
                return Ok(start + length);
            }
            ConnectionState::PeerClosed => {}
            _ => return Err(Failure::Refused(Error::HandshakeNotComplete)),
        }
    }
}

fn close<S: Side>(side: &mut S, out: &mut Vec<u8>, held: &mut [u8]) {
    loop {
        match side.process(held).state {
            Ok(ConnectionState::EncodeTlsData(mut message)) => encode(&mut message, out),
            Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
            Ok(ConnectionState::PeerClosed) => {}
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                let start = out.len();
                out.resize(start + PROTOCOL_ROOM, 0);
                let length = traffic.queue_close_notify(&mut out[start..]).unwrap_or(0);
                out.truncate(start + length);
                return;
            }
            _ => return,
        }
    }
}

fn exhausted(error: impl std::fmt::Display) -> Failure {
    Failure::Refused(Error::General(error.to_string()))
}

fn failure(error: Error) -> Failure {
    match error {
        Error::AlertReceived(alert) => Failure::Alert(alert),
        error => Failure::Refused(error),
    }
}
