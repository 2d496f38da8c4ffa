//! A probe's dialogue inside TLS.

use probing::{Dialogue, Progress};
use terms::{ConnectFailure, Encryption};
use tls::{Channel, Connectors, Failure, RECORDS_ROOM};

/// The TLS of a probe's connection.
pub(super) struct Encrypted {
    channel: Channel,
    /// An incomplete record.
    held: Vec<u8>,
    is_shaking: bool,
}

/// Plain bytes that are read at once.
const PLAIN_BYTES: usize = 16 << 10;

impl Encrypted {
    /// TLS that has not begun; `None` if certificates or the name cannot be used.
    pub fn new(connectors: &Connectors, encryption: &Encryption) -> Option<Self> {
        let connector = connectors.find(encryption.connector)?;
        let channel = Channel::connect(&connector, &encryption.name).ok()?;
        Some(Self { channel, held: Vec::new(), is_shaking: true })
    }

    /// Whether the handshake is under way.
    pub fn is_shaking(&self) -> bool {
        self.is_shaking
    }

    /// The connection has been made.
    pub fn begin(&mut self, send: &mut Vec<u8>) -> Progress {
        match self.channel.shake(&mut [], send) {
            Ok(_) => Progress::Waiting,
            Err(failure) => failed(&failure),
        }
    }

    /// These records have come. The dialogue starts when the handshake is complete.
    pub fn read(&mut self, bytes: &[u8], dialogue: &mut Dialogue, send: &mut Vec<u8>) -> Progress {
        self.held.extend_from_slice(bytes);
        self.go_on(dialogue, send).unwrap_or_else(|failure| failed(&failure))
    }

    fn go_on(&mut self, dialogue: &mut Dialogue, send: &mut Vec<u8>) -> Result<Progress, Failure> {
        let mut say = Vec::new();
        if self.is_shaking {
            let shaken = self.channel.shake(&mut self.held, send)?;
            self.held.drain(..shaken.used);
            if !shaken.is_done {
                return Ok(Progress::Waiting);
            }
            self.is_shaking = false;
            let progress = dialogue.start(&mut say);
            self.seal(&say, send)?;
            if progress != Progress::Waiting {
                return Ok(progress);
            }
        }
        let mut plain = vec![0; PLAIN_BYTES];
        loop {
            let opened = self.channel.open(&mut self.held, &mut plain, send)?;
            self.held.drain(..opened.used);
            if opened.plain > 0 {
                say.clear();
                let progress = dialogue.read(&plain[..opened.plain], &mut say);
                self.seal(&say, send)?;
                if progress != Progress::Waiting {
                    return Ok(progress);
                }
            } else if self.channel.has_peer_closed() {
                return Ok(dialogue.end());
            } else if !self.channel.is_waiting() {
                return Ok(Progress::Waiting);
            }
        }
    }

    fn seal(&mut self, plain: &[u8], send: &mut Vec<u8>) -> Result<(), Failure> {
        if plain.is_empty() {
            return Ok(());
        }
        let mut records = vec![0; plain.len() + RECORDS_ROOM];
        let length = self.channel.seal(plain, &mut records, &mut self.held)?;
        send.extend_from_slice(&records[..length]);
        Ok(())
    }

    /// Says that nothing follows.
    pub fn close(mut self, send: &mut Vec<u8>) {
        if !self.is_shaking {
            self.channel.close(send, &mut self.held);
        }
    }
}

fn failed(failure: &Failure) -> Progress {
    Progress::Failed(ConnectFailure::Tls(failure.fault()).to_string())
}
