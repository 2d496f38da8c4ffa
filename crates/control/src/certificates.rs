//! What listeners terminate TLS with: certificates and keys, read from their files.
//!
//! The files are read before anything depends on them, and never on the control thread: at the start
//! while the user is watching, and at a reload by the [`Desk`](crate::desk::Desk).

use config::{Config, Tls};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tls::{Acceptor, AcceptorError, Material, PemFile, Tickets};

/// The longest file of certificates or keys.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// What is in the files cannot be used.
    #[error("cannot use {0}")]
    Contents(#[from] AcceptorError),
    /// The files have not been read.
    #[error("the certificates in {} have not been read", path.display())]
    Unread {
        /// The first file.
        path: PathBuf,
    },
}

/// What was read for each way of terminating TLS, or why it cannot be used.
pub(crate) type Read = HashMap<Tls, Result<Acceptor, Arc<CertificateError>>>;

/// Reads all certificates and keys of a configuration. Blocks, but waits for no other process: only
/// regular files are read, of at most one megabyte.
pub(crate) fn read_all(config: &Config) -> Read {
    let mut all = Read::new();
    for tls in ways(config) {
        all.entry(tls.clone()).or_insert_with(|| read(tls).map_err(Arc::new));
    }
    all
}

fn read(tls: &Tls) -> Result<Acceptor, CertificateError> {
    let files =
        |paths: &[PathBuf]| paths.iter().map(|path| read_file(path)).collect::<Result<Vec<_>, _>>();
    let material = Material {
        certificates: files(&tls.certificates)?,
        keys: files(&tls.keys)?,
        protocols: tls.protocols.clone(),
    };
    Ok(Acceptor::new(&material)?)
}

fn read_file(path: &Path) -> Result<PemFile, CertificateError> {
    let path = path.to_owned();
    match sys::bounded_files::read(&path, FILE_BYTES_MAX, None) {
        Ok(text) => Ok(PemFile { path, text }),
        Err(source) => Err(CertificateError::File { path, source }),
    }
}

/// The certificates in use.
#[derive(Default)]
pub(crate) struct Certificates {
    known: HashMap<Tls, Acceptor>,
    /// Made when the first listener needs them. They outlive changes of certificates, so that
    /// clients can resume.
    tickets: Option<Tickets>,
}

impl Certificates {
    /// Takes over what was `read` for `config`.
    ///
    /// # Errors
    /// Why a listener could not terminate TLS; nothing has changed then.
    pub fn take(&mut self, config: &Config, read: &Read) -> Result<(), Arc<CertificateError>> {
        let mut next = HashMap::new();
        for tls in ways(config) {
            match read.get(tls) {
                Some(Ok(acceptor)) => {
                    let acceptor = acceptor.with_tickets(self.tickets()?);
                    next.insert(tls.clone(), acceptor);
                }
                Some(Err(error)) => return Err(Arc::clone(error)),
                None if self.known.contains_key(tls) => {}
                None => {
                    let path = tls.certificates.first().cloned().unwrap_or_default();
                    return Err(Arc::new(CertificateError::Unread { path }));
                }
            }
        }
        if self.known.len() > KNOWN_MAX {
            self.known.retain(|tls, _| ways(config).any(|it| it == tls));
        }
        self.known.extend(next);
        Ok(())
    }

    fn tickets(&mut self) -> Result<&Tickets, Arc<CertificateError>> {
        Ok(match &mut self.tickets {
            Some(tickets) => tickets,
            none => none.insert(Tickets::new().map_err(|error| Arc::new(error.into()))?),
        })
    }

    /// What this listener terminates TLS with.
    pub fn find(&self, tls: &Tls) -> Option<Acceptor> {
        self.known.get(tls).cloned()
    }
}

/// What was used before is kept for reloads that are taken back, unless there is more than this.
const KNOWN_MAX: usize = 64;

fn ways(config: &Config) -> impl Iterator<Item = &Tls> {
    config.listeners.iter().filter_map(|listener| listener.tls.as_ref())
}
