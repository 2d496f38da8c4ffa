//! What listeners terminate TLS with: certificates and keys, read from their files.
//!
//! The files are read before anything depends on them, and never on the control thread: at the start
//! while the user is watching, at a reload by the [`Desk`](crate::desk::Desk), and by [`Renewals`]
//! when they have changed.

use config::{Config, Tls};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tls::{Acceptor, AcceptorError, Material, PemFile, Tickets};

mod renewals;

pub(crate) use renewals::{Renewal, Renewals};

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
    #[error(transparent)]
    Contents(#[from] AcceptorError),
    /// The files have not been read.
    #[error("the certificates in {} have not been read", path.display())]
    Unread {
        /// The first file.
        path: PathBuf,
    },
}

/// What was read for each way of terminating TLS.
pub(crate) type Read = HashMap<Tls, Contents>;

/// What is in the files of one way of terminating TLS.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    /// A hash of the files, or of the reason why they cannot be read.
    pub hash: u64,
    /// What is made of them, or why nothing can be.
    pub acceptor: Result<Acceptor, Arc<CertificateError>>,
}

/// Reads all certificates and keys of a configuration. Blocks, but waits for no other process: only
/// regular files are read, of at most one megabyte.
pub(crate) fn read_all(config: &Config) -> Read {
    let mut all = Read::new();
    for tls in ways(config) {
        all.entry(tls.clone()).or_insert_with(|| Files::read(tls).into_contents());
    }
    all
}

/// Whether TLS could be terminated now: reads the files, as a start would. Blocks like one.
///
/// # Errors
/// Which file cannot be used, and why.
pub fn can_terminate(tls: &Tls) -> Result<(), Arc<CertificateError>> {
    Files::read(tls).into_contents().acceptor.map(drop)
}

/// The files of one way of terminating TLS, as they are now.
struct Files {
    hash: u64,
    material: Result<Material, CertificateError>,
}

impl Files {
    fn read(tls: &Tls) -> Self {
        let material = Self::material(tls);
        let mut hasher = DefaultHasher::new();
        match &material {
            Ok(material) => (&material.certificates, &material.keys).hash(&mut hasher),
            Err(error) => format!("{error:?}").hash(&mut hasher),
        }
        Self { hash: hasher.finish(), material }
    }

    fn material(tls: &Tls) -> Result<Material, CertificateError> {
        let files = |paths: &[PathBuf]| {
            paths.iter().map(|path| read_file(path)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Material {
            certificates: files(&tls.certificates)?,
            keys: files(&tls.keys)?,
            protocols: tls.protocols.clone(),
        })
    }

    fn into_contents(self) -> Contents {
        let acceptor = self.material.and_then(|material| Ok(Acceptor::new(&material)?));
        Contents { hash: self.hash, acceptor: acceptor.map_err(Arc::new) }
    }
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
    known: HashMap<Tls, Known>,
    /// Made when the first listener needs them. They outlive changes of certificates, so that
    /// clients can resume.
    tickets: Option<Tickets>,
}

struct Known {
    acceptor: Acceptor,
    /// What was read last, whether or not it could be used.
    hash: u64,
}

impl Certificates {
    /// Takes over what was `read` for `config`, where nothing is known yet.
    ///
    /// # Errors
    /// Why a listener could not terminate TLS; nothing has changed then.
    pub fn take(&mut self, config: &Config, read: &Read) -> Result<(), Arc<CertificateError>> {
        let mut next = HashMap::new();
        for tls in ways(config) {
            if self.known.contains_key(tls) {
                continue;
            }
            let Some(Contents { hash, acceptor }) = read.get(tls) else {
                let path = tls.certificates.first().cloned().unwrap_or_default();
                return Err(Arc::new(CertificateError::Unread { path }));
            };
            let acceptor = acceptor.as_ref().map_err(Arc::clone)?.with_tickets(self.tickets()?);
            next.insert(tls.clone(), Known { acceptor, hash: *hash });
        }
        if self.known.len() > KNOWN_MAX {
            self.known.retain(|tls, _| ways(config).any(|it| it == tls));
        }
        self.known.extend(next);
        Ok(())
    }

    /// Takes over what the files of a known way have become. Returns whether that is another content
    /// than before.
    ///
    /// # Errors
    /// Why it cannot be used; what was known stays in use.
    pub fn renew(&mut self, tls: &Tls, contents: Contents) -> Result<bool, Arc<CertificateError>> {
        let tickets = self.tickets()?.clone();
        match self.known.get_mut(tls) {
            Some(known) if known.hash != contents.hash => {
                known.hash = contents.hash;
                known.acceptor = contents.acceptor?.with_tickets(&tickets);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The ways of terminating TLS that `config` has, with the hash of what was read last.
    pub fn ways(&self, config: &Config) -> HashMap<Tls, u64> {
        let known = ways(config).filter_map(|tls| Some((tls.clone(), self.known.get(tls)?.hash)));
        known.collect()
    }

    fn tickets(&mut self) -> Result<&Tickets, Arc<CertificateError>> {
        Ok(match &mut self.tickets {
            Some(tickets) => tickets,
            none => none.insert(Tickets::new().map_err(|error| Arc::new(error.into()))?),
        })
    }

    /// What this listener terminates TLS with.
    pub fn find(&self, tls: &Tls) -> Option<Acceptor> {
        self.known.get(tls).map(|known| known.acceptor.clone())
    }
}

/// What was used before is kept for reloads that are taken back, unless there is more than this.
const KNOWN_MAX: usize = 64;

fn ways(config: &Config) -> impl Iterator<Item = &Tls> {
    config.listeners.iter().filter_map(|listener| listener.tls.as_ref())
}
