//! Why files cannot be used for TLS.

use crate::identity::IdentityError;
use rustls::Error;
use rustls::server::VerifierBuilderError;
use std::path::{Path, PathBuf};

/// Why there is no [`Acceptor`](crate::Acceptor), or no [`Connector`](crate::Connector).
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// A file cannot be used.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: IdentityError,
    },
    /// The certificates of clients could not be verified with this.
    #[error("certificates of clients cannot be verified")]
    Clients(#[from] VerifierBuilderError),
    /// The library refuses the whole.
    #[error("TLS cannot be set up")]
    Library(#[from] Error),
}

/// Says in which file something is wrong.
pub(crate) fn at(path: &Path) -> impl Fn(IdentityError) -> MaterialError {
    let path = path.to_owned();
    move |source| MaterialError::File { path: path.clone(), source }
}
