//! Keys of the tickets by which clients resume their sessions. A ticket is
//!
//! ~~~text
//!   name of the key (16 bytes) | salt (32) | AES-256-GCM of the session, and its tag (16)
//! ~~~
//!
//! where the key that encrypts is made of the secret and the salt (HKDF, RFC 5869), so that it is
//! used once and needs no nonce.

use crate::clients::ClientsMaterial;
use crate::error::MaterialError;
use crate::identity::{IdentityError, PemFile};
use crate::validity::first_end_within;
use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::Error;
use rustls::crypto::GetRandomFailed;
use rustls::server::ProducesTickets;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use std::fmt;
use std::sync::Arc;

/// Keys that tickets for resumption are encrypted with. The last but one encrypts and all decrypt,
/// so that a new key can be known to all processes before it is used.
#[derive(Clone)]
pub struct Tickets(Arc<ArcSwap<Vec<Secret>>>);

/// One key: what others are made of, and what tickets call it.
#[derive(Clone)]
struct Secret {
    name: [u8; NAME_BYTES],
    bytes: Vec<u8>,
}

/// The shortest secret that is accepted, and the length of those made here.
const SECRET_BYTES: usize = 32;
/// How many secrets are kept: one that will encrypt, one that does, and those of tickets that are
/// still valid.
const SECRETS_KEPT: usize = 4;
/// How long a client may resume with a ticket, in seconds.
const LIFETIME: u32 = 12 * 60 * 60;
const NAME_BYTES: usize = 16;
const SALT_BYTES: usize = 32;

impl Tickets {
    /// A new key.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn new() -> Result<Self, MaterialError> {
        Ok(Self::of(vec![Secret::random()?]))
    }

    fn of(secrets: Vec<Secret>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(secrets)))
    }

    /// Those of another process, which [`Tickets::secrets`] has returned. `None` if there are none.
    #[must_use]
    pub fn inherit(secrets: impl IntoIterator<Item = Vec<u8>>) -> Option<Self> {
        let secrets: Vec<_> = secrets.into_iter().filter_map(Secret::new).collect();
        (!secrets.is_empty()).then(|| Self::of(secrets))
    }

    /// The secrets, for another process.
    #[must_use]
    pub fn secrets(&self) -> Vec<Vec<u8>> {
        self.0.load().iter().map(|secret| secret.bytes.clone()).collect()
    }

    /// Adds a new key, and forgets the oldest if there are too many. This is to be done every half of
    /// the twelve hours for which a ticket is valid.
    ///
    /// # Errors
    /// If the system has no random numbers; the keys stay as they are.
    pub fn renew(&self) -> Result<(), MaterialError> {
        let mut secrets = self.0.load().to_vec();
        secrets.push(Secret::random()?);
        let surplus = secrets.len().saturating_sub(SECRETS_KEPT);
        secrets.drain(..surplus);
        self.0.store(Arc::new(secrets));
        Ok(())
    }

    /// Reads keys, one to a line, in base64; empty lines and those after `#` are passed over.
    pub(crate) fn read(text: &[u8]) -> Result<Self, IdentityError> {
        let text = String::from_utf8_lossy(text);
        let mut secrets = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let secret = BASE64_STANDARD.decode(line).ok().and_then(Secret::new);
            secrets.push(secret.ok_or(IdentityError::TicketKey(number))?);
        }
        if secrets.is_empty() { Err(IdentityError::NoTicketKey) } else { Ok(Self::of(secrets)) }
    }

    /// For use where clients are verified like this. Who resumes is not verified again, so that a
    /// ticket is only valid for the same verification, and as long as the client's certificates.
    pub(crate) fn with(&self, purpose: Purpose) -> Arc<dyn ProducesTickets> {
        Arc::new(Ticketer { tickets: self.clone(), purpose })
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Secret {
    /// `None` if it is too short.
    fn new(bytes: Vec<u8>) -> Option<Self> {
        let name = derive(&[], &bytes, b"name")?;
        (bytes.len() >= SECRET_BYTES).then_some(Self { name, bytes })
    }

    fn random() -> Result<Self, MaterialError> {
        let mut bytes = vec![0; SECRET_BYTES];
        let failed = || MaterialError::Library(Error::from(GetRandomFailed));
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| failed())?;
        Self::new(bytes).ok_or_else(failed)
    }

    fn cipher(&self, salt: &[u8], purpose: &Purpose) -> Option<LessSafeKey> {
        let key: [u8; 32] = derive(salt, &self.bytes, &purpose.0)?;
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).ok()?))
    }
}

/// What tickets are valid for, besides their keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purpose([u8; SHA256_OUTPUT_LEN]);

impl Purpose {
    /// For clients that are verified like this.
    pub fn new(clients: Option<&ClientsMaterial>) -> Self {
        let mut context = Context::new(&SHA256);
        if let Some(ClientsMaterial { are_required, authorities, revocations }) = clients {
            context.update(&[u8::from(*are_required)]);
            for files in [authorities, revocations] {
                context.update(&files.len().to_le_bytes());
                for PemFile { text, .. } in files {
                    context.update(&text.len().to_le_bytes());
                    context.update(text);
                }
            }
        }
        let mut purpose = [0; SHA256_OUTPUT_LEN];
        purpose.copy_from_slice(context.finish().as_ref());
        Self(purpose)
    }
}

/// [`Tickets`] for one purpose.
#[derive(Debug)]
struct Ticketer {
    tickets: Tickets,
    purpose: Purpose,
}

/// How many bytes HKDF is to return.
#[derive(Clone, Copy)]
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive<const N: usize>(salt: &[u8], secret: &[u8], purpose: &[u8]) -> Option<[u8; N]> {
    let mut key = [0; N];
    let made = Salt::new(HKDF_SHA256, salt).extract(secret);
    made.expand(&[b"evenkeel ticket", purpose], Bytes(N)).ok()?.fill(&mut key).ok()?;
    Some(key)
}

/// Each key is used once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let secrets = self.tickets.0.load();
        let secret = secrets.get(secrets.len().saturating_sub(2))?;
        let mut salt = [0; SALT_BYTES];
        aws_lc_rs::rand::fill(&mut salt).ok()?;
        let mut sealed = plain.to_vec();
        let cipher = secret.cipher(&salt, &self.purpose)?;
        cipher.seal_in_place_append_tag(nonce(), Aad::from(&secret.name), &mut sealed).ok()?;
        Some([&secret.name[..], &salt, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (salt, sealed) = rest.split_first_chunk::<SALT_BYTES>()?;
        let secrets = self.tickets.0.load();
        let cipher = secrets.iter().find(|it| it.name == *name)?.cipher(salt, &self.purpose)?;
        let mut plain = sealed.to_vec();
        let length = cipher.open_in_place(nonce(), Aad::from(name), &mut plain).ok()?.len();
        plain.truncate(length);
        let now = DefaultTimeProvider.current_time()?.as_secs();
        // The client's certificates are in it, but the library does not say where.
        first_end_within(&plain).is_none_or(|end| now <= end).then_some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const SECOND: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const THIRD: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    #[track_caller]
    fn keys(lines: &[&str]) -> Arc<dyn ProducesTickets> {
        Tickets::read(lines.join("\n").as_bytes()).unwrap().with(Purpose::new(None))
    }

    #[test]
    fn a_key_can_be_added_on_one_host_after_the_other() {
        let stages = [keys(&[FIRST]), keys(&[FIRST, SECOND]), keys(&[FIRST, SECOND, THIRD])];
        for pair in stages.windows(2) {
            for (from, to) in [(&pair[0], &pair[1]), (&pair[1], &pair[0]), (&pair[1], &pair[1])] {
                let ticket = from.encrypt(b"session").unwrap();
                assert_eq!(to.decrypt(&ticket).unwrap(), b"session");
            }
        }
        let old = stages[0].encrypt(b"session").unwrap();
        assert_eq!(keys(&[SECOND, THIRD]).decrypt(&old), None, "the key is gone");
    }

    #[test]
    fn a_ticket_outlives_two_renewals_and_another_process() {
        let tickets = Tickets::new().unwrap();
        let own = tickets.with(Purpose::new(None));
        let mut old = own.encrypt(b"session").unwrap();
        for _ in 0..5 {
            // A ticket from just before a renewal is valid until the second one after it.
            for _ in 0..2 {
                tickets.renew().unwrap();
                assert!(own.decrypt(&old).is_some());
            }
            let heir = Tickets::inherit(tickets.secrets()).unwrap().with(Purpose::new(None));
            assert!(heir.decrypt(&old).is_some());
            assert!(own.decrypt(&heir.encrypt(b"session").unwrap()).is_some());
            let before = std::mem::replace(&mut old, own.encrypt(b"session").unwrap());
            (0..4).for_each(|_| tickets.renew().unwrap());
            assert_eq!(own.decrypt(&before), None);
            old = own.encrypt(b"session").unwrap();
        }
        assert!(tickets.secrets().len() <= SECRETS_KEPT);
        assert!(Tickets::inherit([]).is_none());
        assert!(Tickets::inherit([vec![1; 31]]).is_none());
    }

    #[test]
    fn a_ticket_that_was_changed_is_refused() {
        let keys = keys(&["# a comment", "", FIRST]);
        let ticket = keys.encrypt(b"session").unwrap();
        for length in 0..ticket.len() {
            assert_eq!(keys.decrypt(&ticket[..length]), None);
            let mut changed = ticket.clone();
            changed[length] ^= 1;
            assert_eq!(keys.decrypt(&changed), None);
        }
        assert_ne!(keys.encrypt(b"session").unwrap(), ticket);
    }

    #[test]
    fn who_would_be_verified_otherwise_does_not_resume() {
        let file = |text: &str| PemFile { text: text.into(), ..PemFile::default() };
        let with = |revocations: &[&str]| ClientsMaterial {
            are_required: true,
            authorities: vec![file("ca")],
            revocations: revocations.iter().map(|text| file(text)).collect(),
        };
        let tickets = Tickets::new().unwrap();
        let of = |clients: Option<&ClientsMaterial>| tickets.with(Purpose::new(clients));
        let ticket = of(Some(&with(&[]))).encrypt(b"session").unwrap();
        assert!(of(Some(&with(&[]))).decrypt(&ticket).is_some());
        for other in [None, Some(&with(&["list"]))] {
            assert_eq!(of(other).decrypt(&ticket), None);
        }
    }

    #[test]
    fn what_is_no_key_is_named() {
        let wrong = |text: &str| Tickets::read(text.as_bytes()).unwrap_err();
        for text in ["", "# nothing\n\n"] {
            assert!(matches!(wrong(text), IdentityError::NoTicketKey), "{text:?}");
        }
        for text in [format!("{FIRST}\nAAAA\n"), format!("\n{FIRST}!\n")] {
            assert!(matches!(wrong(&text), IdentityError::TicketKey(2)), "{text:?}");
        }
    }
}
