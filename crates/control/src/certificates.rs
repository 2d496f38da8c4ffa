//! What TLS is terminated with, and what connections to backends use: certificates and keys, read
//! from their files.
//!
//! The files are read before anything depends on them, and never on the control thread: at the start
//! while the user is watching, at a reload by the [`Desk`](crate::desk::Desk), and by [`Renewals`]
//! when they have changed.

use crate::ticket_keys::TicketKeys;
use config::{ClientTls, Config, Tls, TlsVersion};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use sys::errors::with_causes;
use terms::{ClientCertificates, ConnectorId, Encryption, Instant};
use tls::{
    Acceptor, CertificateFile, ClientsMaterial, Concern, Connector, ConnectorMaterial, Connectors,
    Material, MaterialError, PemFile, Tickets, review,
};

mod renewals;

pub(crate) use renewals::{News, Renewal, Renewals};

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
    Contents(#[from] MaterialError),
    /// The system has no file of authorities, or none that we know of.
    #[error("this system has no list of trusted authorities; name one with backend-tls-ca")]
    NoAuthorities,
    /// A directory has no certificate.
    #[error("there is no certificate in {}; it needs files *.pem or *.crt", path.display())]
    EmptyDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// A directory has too many files.
    #[error("there are more than {DIRECTORY_FILES_MAX} files in {}", path.display())]
    FullDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The files have not been read.
    #[error("certificates have not been read: {0}")]
    Unread(String),
}

/// A way to use TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// With clients.
    Listener(Tls),
    /// With backends.
    Backends(ClientTls),
}

impl Way {
    /// The files that are named, for people.
    pub fn files(&self) -> String {
        let paths: Vec<&PathBuf> = match self {
            Self::Listener(tls) => tls.certificates.iter().collect(),
            Self::Backends(tls) => tls.authorities.iter().chain(&tls.certificate).collect(),
        };
        let paths: Vec<_> = paths.into_iter().map(|it| it.display().to_string()).collect();
        if paths.is_empty() { "the system's authorities".to_owned() } else { paths.join(" ") }
    }
}

/// What was read for each way.
pub(crate) type Read = HashMap<Way, Contents>;

/// What is in the files of one way.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    /// A hash of the files, or of the reason why they cannot be read.
    pub hash: u64,
    /// What is made of them, or why nothing can be.
    pub made: Result<Made, Arc<CertificateError>>,
}

/// What is made of files.
#[derive(Clone, Debug)]
pub(crate) enum Made {
    /// What a listener needs.
    Acceptor(Acceptor),
    /// What connections to backends need.
    Connector(Connector),
}

/// Reads all certificates and keys of a configuration. Blocks, but waits for no other process: only
/// regular files are read, of at most one megabyte.
pub(crate) fn read_all(config: &Config) -> Read {
    let mut all = Read::new();
    for way in ways(config) {
        all.entry(way).or_insert_with_key(|way| Files::read(way).into_contents());
    }
    all
}

/// Whether TLS could be terminated now: reads the files, as a start would. Blocks like one.
///
/// # Errors
/// Which file cannot be used, and why.
pub fn can_terminate(tls: &Tls) -> Result<(), Arc<CertificateError>> {
    Files::read(&Way::Listener(tls.clone())).into_contents().made.map(drop)
}

/// What clients may not like about the certificates that would be shown to them now. Blocks, as
/// [`can_terminate`].
#[must_use]
pub fn concerns(tls: &Tls) -> Vec<Concern> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    material(tls).map(|material| review(&material, now)).unwrap_or_default()
}

/// Whether connections to backends could use TLS now, as [`can_terminate`].
///
/// # Errors
/// Which file cannot be used, and why.
pub fn can_originate(tls: &ClientTls) -> Result<(), Arc<CertificateError>> {
    Files::read(&Way::Backends(tls.clone())).into_contents().made.map(drop)
}

/// The files of one way, as they are now.
struct Files {
    hash: u64,
    material: Result<Either, CertificateError>,
}

/// What one of the two sides is made of.
enum Either {
    Acceptor(Material),
    Connector(ConnectorMaterial),
}

impl Files {
    fn read(way: &Way) -> Self {
        let material = match way {
            Way::Listener(tls) => material(tls).map(Either::Acceptor),
            Way::Backends(tls) => connector_material(tls).map(Either::Connector),
        };
        let mut hasher = DefaultHasher::new();
        match &material {
            Ok(Either::Acceptor(it)) => {
                (&it.certificates, &it.keys, &it.clients, &it.ticket_keys).hash(&mut hasher);
            }
            Ok(Either::Connector(it)) => {
                (&it.authorities, &it.certificate, &it.key).hash(&mut hasher);
            }
            Err(error) => format!("{error:?}").hash(&mut hasher),
        }
        Self { hash: hasher.finish(), material }
    }

    fn into_contents(self) -> Contents {
        let made = self.material.and_then(|material| {
            Ok(match material {
                Either::Acceptor(it) => Made::Acceptor(Acceptor::new(&it)?),
                Either::Connector(it) => Made::Connector(Connector::new(&it)?),
            })
        });
        Contents { hash: self.hash, made: made.map_err(Arc::new) }
    }
}

fn material(tls: &Tls) -> Result<Material, CertificateError> {
    let mut keys = read_files(&tls.keys)?;
    let mut certificates = Vec::new();
    for (path, place) in tls.certificates.iter().zip(0..) {
        let first = certificates.len();
        match path.is_dir() {
            true => read_directory(path, &mut certificates, &mut keys)?,
            false => {
                let (file, name) = (read_file(path)?, None);
                certificates.push(CertificateFile { file, name, staple: None });
            }
        }
        if let (Some(staple), Some(it)) = (tls.staples.get(place), certificates.get_mut(first)) {
            it.staple = Some(read_file(staple)?.text);
        }
    }
    let clients = match tls.clients {
        ClientCertificates::Off => None,
        mode => Some(ClientsMaterial {
            are_required: mode == ClientCertificates::Require,
            authorities: authorities(&tls.client_authorities)?,
            revocations: read_files(&tls.revocations)?,
        }),
    };
    Ok(Material {
        certificates,
        keys,
        protocols: tls.protocols.clone(),
        clients,
        ticket_keys: tls.ticket_keys.as_deref().map(read_file).transpose()?,
        is_1_3_only: tls.oldest == TlsVersion::V1_3,
        ciphers: tls.ciphers,
    })
}

/// Reads what is in a directory: certificates in `*.pem` and `*.crt`, which are also for the names
/// that their files have, with their OCSP answers in `*.ocsp`, and keys in `*.key`.
fn read_directory(
    directory: &Path,
    certificates: &mut Vec<CertificateFile>,
    keys: &mut Vec<PemFile>,
) -> Result<(), CertificateError> {
    let before = certificates.len();
    for path in files_in(directory)? {
        match path.extension().and_then(|it| it.to_str()) {
            Some("pem" | "crt") => {
                let name = path.file_stem().and_then(|it| it.to_str()).map(str::to_owned);
                let staple = path.with_extension("ocsp");
                let staple = match staple.exists() {
                    true => Some(read_file(&staple)?.text),
                    false => None,
                };
                certificates.push(CertificateFile { file: read_file(&path)?, name, staple });
            }
            Some("key") => keys.push(read_file(&path)?),
            _ => {}
        }
    }
    match certificates.len() > before {
        true => Ok(()),
        false => Err(CertificateError::EmptyDirectory { path: directory.to_owned() }),
    }
}

/// The files of a directory, by name.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, CertificateError> {
    let failed = |source| CertificateError::File { path: directory.to_owned(), source };
    let mut paths = Vec::new();
    for entry in directory.read_dir().map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
        if paths.len() > DIRECTORY_FILES_MAX {
            return Err(CertificateError::FullDirectory { path: directory.to_owned() });
        }
    }
    paths.sort();
    Ok(paths)
}

/// The most files that a directory of certificates may have.
const DIRECTORY_FILES_MAX: usize = 10_000;

/// The certificates of authorities in these files and directories, or of the system.
fn authorities(paths: &[PathBuf]) -> Result<Vec<PemFile>, CertificateError> {
    if paths.is_empty() {
        return Ok(vec![read_file(&system_authorities()?)?]);
    }
    let mut all = Vec::new();
    for path in paths {
        match path.is_dir() {
            false => all.push(read_file(path)?),
            true => {
                // Directories of authorities have links by hash, and whatever else.
                let files = files_in(path)?.into_iter().filter(|it| it.is_file());
                let files = files.map(|it| read_file(&it)).collect::<Result<Vec<_>, _>>()?;
                let has_certificate =
                    |it: &PemFile| it.text.windows(BEGIN.len()).any(|text| text == BEGIN);
                all.extend(files.into_iter().filter(has_certificate));
            }
        }
    }
    Ok(all)
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

fn connector_material(tls: &ClientTls) -> Result<ConnectorMaterial, CertificateError> {
    let one = |path: &Option<PathBuf>| path.as_deref().map(read_file).transpose();
    let authorities = match tls.verifies {
        true => Some(authorities(&tls.authorities)?),
        false => None,
    };
    Ok(ConnectorMaterial {
        authorities,
        certificate: one(&tls.certificate)?,
        key: one(&tls.key)?,
        protocols: tls.protocols.clone(),
    })
}

/// Where systems have the certificates of the authorities that they trust, in one file.
const SYSTEM_AUTHORITIES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The system's file of authorities; OpenSSL's variable for it takes precedence.
fn system_authorities() -> Result<PathBuf, CertificateError> {
    let own = env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let mut usual = SYSTEM_AUTHORITIES.iter().map(PathBuf::from);
    own.or_else(|| usual.find(|path| path.exists())).ok_or(CertificateError::NoAuthorities)
}

fn read_files(paths: &[PathBuf]) -> Result<Vec<PemFile>, CertificateError> {
    paths.iter().map(|path| read_file(path)).collect()
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
    known: HashMap<Way, Known>,
    /// What connections to backends use, as the workers and the prober see it.
    connectors: Arc<Connectors>,
    /// The last number of a connector.
    last_id: u64,
    /// Made when the first listener needs them. They outlive changes of certificates, so that
    /// clients can resume.
    tickets: Option<OwnTickets>,
}

/// Keys of tickets that replace themselves.
struct OwnTickets {
    tickets: Tickets,
    renewed: Instant,
}

/// How often a new key of tickets is made.
const TICKETS_RENEWED_AFTER: Duration = Duration::from_hours(6);

struct Known {
    made: Made,
    /// The number of a connector.
    id: ConnectorId,
    /// What was read last, whether or not it could be used.
    hash: u64,
    /// Whether the privileges that this process has given up at its start would be needed to read
    /// the files again.
    is_out_of_reach: bool,
}

impl Certificates {
    /// Takes over what was `read` for `config`, where nothing is known yet.
    ///
    /// # Errors
    /// Why a listener could not terminate TLS; nothing has changed then.
    pub fn take(&mut self, config: &Config, read: &Read) -> Result<(), Arc<CertificateError>> {
        let mut next = HashMap::new();
        for way in ways(config) {
            if self.known.contains_key(&way) {
                continue;
            }
            let Some(Contents { hash, made }) = read.get(&way) else {
                return Err(Arc::new(CertificateError::Unread(way.files())));
            };
            let made = self.with_tickets(made.as_ref().map_err(Arc::clone)?.clone())?;
            self.last_id += 1;
            let id = ConnectorId(self.last_id);
            next.insert(way, Known { made, id, hash: *hash, is_out_of_reach: false });
        }
        self.known.extend(next);
        self.publish();
        Ok(())
    }

    /// Why what was `read` cannot be used: each reason once. Files that this process has only been
    /// able to read at its start are no reason, as long as they cannot be read.
    pub fn unusable(&self, read: &Read) -> Vec<Arc<CertificateError>> {
        let refused = |(way, contents): (&Way, &Contents)| {
            let error = contents.made.as_ref().err()?;
            let is_out_of_reach = self.known.get(way).is_some_and(|known| known.is_out_of_reach);
            let is_read = matches!(**error, CertificateError::Contents(_));
            (is_read || !is_out_of_reach).then(|| (with_causes(&**error), Arc::clone(error)))
        };
        let reasons: BTreeMap<_, _> = read.iter().filter_map(refused).collect();
        reasons.into_values().collect()
    }

    /// Notes which files cannot be read any more, after this process has given up privileges. Blocks,
    /// as [`read_all`].
    pub fn note_out_of_reach(&mut self) {
        for (way, known) in &mut self.known {
            known.is_out_of_reach = Files::read(way).material.is_err();
        }
    }

    /// Forgets what none of these configurations has, if there is much of it.
    pub fn forget_except(&mut self, configs: &[&Config]) {
        if self.known.len() > KNOWN_MAX {
            let wanted: HashSet<_> = configs.iter().flat_map(|config| ways(config)).collect();
            self.known.retain(|way, _| wanted.contains(way));
            self.publish();
        }
    }

    /// Takes over what the files of a known way have become. Returns whether that is another content
    /// than before.
    ///
    /// # Errors
    /// Why it cannot be used; what was known stays in use.
    pub fn renew(&mut self, way: &Way, contents: Contents) -> Result<bool, Arc<CertificateError>> {
        match self.known.get_mut(way) {
            Some(known) if known.hash != contents.hash => known.hash = contents.hash,
            _ => return Ok(false),
        }
        let made = self.with_tickets(contents.made?)?;
        if let Some(known) = self.known.get_mut(way) {
            (known.made, known.is_out_of_reach) = (made, false);
        }
        self.publish();
        Ok(true)
    }

    fn with_tickets(&mut self, made: Made) -> Result<Made, Arc<CertificateError>> {
        Ok(match made {
            Made::Acceptor(acceptor) => Made::Acceptor(acceptor.with_tickets(self.tickets()?)),
            made @ Made::Connector(_) => made,
        })
    }

    /// Has connections that begin from now on use what is known.
    fn publish(&self) {
        let connectors = self.known.values().filter_map(|known| match &known.made {
            Made::Connector(connector) => Some((known.id, connector.clone())),
            Made::Acceptor(_) => None,
        });
        self.connectors.replace(connectors.collect());
    }

    /// The ways that `config` has, with the hash of what was read last.
    pub fn ways(&self, config: &Config) -> HashMap<Way, u64> {
        let known = ways(config).into_iter();
        known.filter_map(|way| self.known.get(&way).map(|it| it.hash).map(|it| (way, it))).collect()
    }

    /// What connections to backends use.
    pub fn connectors(&self) -> Arc<Connectors> {
        Arc::clone(&self.connectors)
    }

    /// How connections to a backend of this pool are encrypted.
    pub fn encryption(&self, pool: &config::Pool, backend: &config::Backend) -> Option<Encryption> {
        let (tls, name) = pool.tls_of(backend)?;
        // An unknown way has a number that no connector has: it cannot be used.
        let id = self.known.get(&Way::Backends(tls)).map_or(ConnectorId(0), |known| known.id);
        Some(Encryption { connector: id, name: name.into() })
    }

    fn tickets(&mut self) -> Result<&Tickets, Arc<CertificateError>> {
        let renewed = sys::clock::now();
        let own = match &mut self.tickets {
            Some(own) => own,
            none => {
                let tickets = Tickets::new().map_err(|error| Arc::new(error.into()))?;
                none.insert(OwnTickets { tickets, renewed })
            }
        };
        Ok(&own.tickets)
    }

    /// Makes a new key of tickets if it is time for one.
    pub fn renew_tickets(&mut self, now: Instant) {
        if let Some(own) = &mut self.tickets
            && now >= own.renewed + TICKETS_RENEWED_AFTER
            && own.tickets.renew().is_ok()
        {
            own.renewed = now;
        }
    }

    /// The keys of tickets, for another process.
    pub fn ticket_keys(&self) -> Option<TicketKeys> {
        let OwnTickets { tickets, renewed } = self.tickets.as_ref()?;
        Some(TicketKeys { secrets: tickets.secrets(), renewed: renewed.as_nanos() })
    }

    /// Takes over the keys of tickets of another process.
    pub fn inherit_tickets(&mut self, keys: &TicketKeys) {
        let renewed = Instant::from_nanos(keys.renewed);
        let tickets = Tickets::inherit(keys.secrets.iter().cloned());
        self.tickets = tickets.map(|tickets| OwnTickets { tickets, renewed });
    }

    /// What this listener terminates TLS with.
    pub fn find(&self, tls: &Tls) -> Option<Acceptor> {
        match &self.known.get(&Way::Listener(tls.clone()))?.made {
            Made::Acceptor(acceptor) => Some(acceptor.clone()),
            Made::Connector(_) => None,
        }
    }
}

/// What was used before is kept for a while, unless there is more than this.
const KNOWN_MAX: usize = 64;

fn ways(config: &Config) -> HashSet<Way> {
    let listeners = config.listeners.iter().filter_map(|listener| listener.tls.clone());
    let backends = config.pools.iter().flat_map(config::Pool::tls_ways);
    listeners.map(Way::Listener).chain(backends.map(Way::Backends)).collect()
}
