//! TLS towards pen's clients: its options and `ssl_` commands, and what they mean.

use config::{Tls, TlsVersion};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use terms::{Ciphers, ClientCertificates, NoCiphers};

/// pen's TLS settings, from its options and `ssl_` commands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PenTls {
    /// `-E`; without it, nothing else counts.
    pub certificate: Option<String>,
    /// `-K`
    pub key: Option<String>,
    /// `-G`
    pub authority_file: Option<String>,
    /// `-A`
    pub authority_directory: Option<String>,
    /// `-R`
    pub requires_certificates: bool,
    /// `ssl_sni_path`
    pub sni_path: Option<String>,
    /// `ssl_ocsp_response`
    pub ocsp_response: Option<String>,
    /// `ssl_option no_tlsv1.2`
    pub is_1_3_only: bool,
    /// `ssl_ciphers`
    pub ciphers: Option<String>,
    /// Whether pen has started. Commands no longer change anything then; files are read again
    /// whenever their contents change.
    pub is_fixed: bool,
}

/// One of the `ssl_` commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsCommand {
    /// `ssl_ciphers [LIST]`
    Ciphers(Option<String>),
    /// `ssl_ocsp_response FILE`
    OcspResponse(Option<String>),
    /// `ssl_option OPTION`
    Option(Option<String>),
    /// `ssl_sni_path DIR`
    SniPath(Option<String>),
}

impl PenTls {
    /// What TLS is terminated with, if it is.
    pub(super) fn to_config(&self) -> Option<Tls> {
        let paths = |texts: [&Option<String>; 2]| -> Vec<PathBuf> {
            texts.into_iter().flatten().map(PathBuf::from).collect()
        };
        let certificate = self.certificate.as_ref()?;
        Some(Tls {
            certificates: paths([&Some(certificate.clone()), &self.sni_path]),
            keys: paths([&self.key, &None]),
            oldest: if self.is_1_3_only { TlsVersion::V1_3 } else { TlsVersion::V1_2 },
            ciphers: self.allowed_ciphers().unwrap_or_default(),
            clients: match self.requires_certificates {
                true => ClientCertificates::Require,
                false => ClientCertificates::Off,
            },
            client_authorities: match self.requires_certificates {
                true => paths([&self.authority_file, &self.authority_directory]),
                false => Vec::new(),
            },
            staples: paths([&self.ocsp_response, &None]),
            ticket_keys: None,
            ..Tls::default()
        })
    }

    /// The ciphers of TLS 1.2 that the list allows.
    ///
    /// # Errors
    /// If it allows none.
    pub fn allowed_ciphers(&self) -> Result<Ciphers, NoCiphers> {
        self.ciphers.as_deref().map_or(Ok(Ciphers::ALL), str::parse)
    }

    /// Carries out a command. Returns what to complain of, if anything.
    pub(super) fn apply(&mut self, command: &TlsCommand) -> Option<&'static str> {
        let before = self.clone();
        match command {
            TlsCommand::Ciphers(list) => self.ciphers.clone_from(list),
            TlsCommand::Option(option) => match option.as_deref() {
                Some("no_tlsv1.2") => self.is_1_3_only = true,
                Some("cipher_server_preference") => {
                    let text = "ssl_option cipher_server_preference: ignored; the client's first \
                                choice among safe ciphers counts";
                    return Some(text);
                }
                // SSL 2 and 3 and TLS 1.0 and 1.1 do not exist here. Others are ignored by pen, too.
                _ => {}
            },
            TlsCommand::OcspResponse(None) | TlsCommand::SniPath(None) => {}
            TlsCommand::OcspResponse(Some(path)) => self.ocsp_response = Some(path.clone()),
            TlsCommand::SniPath(Some(path)) => self.sni_path = Some(path.clone()),
        }
        if self.is_fixed && *self != before {
            *self = before;
            let text = "this is about TLS, which is set up at the start; nothing was changed";
            return Some(text);
        }
        None
    }
}
