//! Keys of the tickets by which clients resume their sessions.

use crate::clients::ClientsMaterial;
use crate::error::MaterialError;
use crate::identity::{IdentityError, PemFile};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;
use std::fmt;
use std::sync::Arc;

/// Keys that tickets for resumption are encrypted with. They replace themselves every six hours, and
/// outlive a change of certificates.
#[derive(Clone, Debug)]
pub struct Tickets(pub(crate) Arc<dyn ProducesTickets>);

impl Tickets {
    /// New keys.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn new() -> Result<Self, MaterialError> {
        Ok(Self(Ticketer::new()?))
    }
}

/// The shortest secret.
const KEY_BYTES_MIN: usize = 32;
/// How long a client may resume with a ticket, in seconds.
const LIFETIME: u32 = 12 * 60 * 60;

/// Ticket keys that several hosts share. A ticket is
///
/// ~~~text
///   name of the key (16 bytes) | salt (32) | AES-256-GCM of the session, and its tag (16)
/// ~~~
///
/// where the key that encrypts is made of the secret and the salt (HKDF, RFC 5869), so that it is
/// used once and needs no nonce.
pub(crate) struct SharedKeys {
    secrets: Vec<Secret>,
    /// Which of them encrypts.
    current: usize,
    /// What tickets are valid for, besides the keys.
    purpose: [u8; SHA256_OUTPUT_LEN],
}

struct Secret {
    name: [u8; NAME_BYTES],
    bytes: Vec<u8>,
}

const NAME_BYTES: usize = 16;
const SALT_BYTES: usize = 32;

/// So many bytes are asked of HKDF.
#[derive(Clone, Copy)]
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl SharedKeys {
    /// Reads keys, one to a line, in base64; empty lines and those after `#` are passed over. The last
    /// but one encrypts, so that a new key can be known on all hosts before it is used. Who resumes
    /// is not verified again, so tickets are only valid for the same verification of `clients`.
    pub fn new(text: &[u8], clients: Option<&ClientsMaterial>) -> Result<Self, IdentityError> {
        let text = String::from_utf8_lossy(text);
        let mut secrets = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes =
                BASE64_STANDARD.decode(line).map_err(|_| IdentityError::TicketKey(number))?;
            if bytes.len() < KEY_BYTES_MIN {
                return Err(IdentityError::TicketKey(number));
            }
            let name = derive(&[], &bytes, b"name").ok_or(IdentityError::TicketKey(number))?;
            secrets.push(Secret { name, bytes });
        }
        let last = secrets.len().checked_sub(1).ok_or(IdentityError::NoTicketKey)?;
        Ok(Self { secrets, current: last.saturating_sub(1), purpose: purpose(clients) })
    }

    fn cipher(&self, secret: &Secret, salt: &[u8]) -> Option<LessSafeKey> {
        let key: [u8; 32] = derive(salt, &secret.bytes, &self.purpose)?;
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).ok()?))
    }
}

/// What tickets of clients that are verified in this way are valid for.
fn purpose(clients: Option<&ClientsMaterial>) -> [u8; SHA256_OUTPUT_LEN] {
    let mut context = Context::new(&SHA256);
    if let Some(ClientsMaterial { are_required, authorities, revocations }) = clients {
        context.update(&[u8::from(*are_required)]);
        for PemFile { text, .. } in authorities.iter().chain(revocations) {
            context.update(&text.len().to_le_bytes());
            context.update(text);
        }
    }
    let mut purpose = [0; SHA256_OUTPUT_LEN];
    purpose.copy_from_slice(context.finish().as_ref());
    purpose
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

impl ProducesTickets for SharedKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let secret = &self.secrets[self.current];
        let mut salt = [0; SALT_BYTES];
        aws_lc_rs::rand::fill(&mut salt).ok()?;
        let mut sealed = plain.to_vec();
        let cipher = self.cipher(secret, &salt)?;
        cipher.seal_in_place_append_tag(nonce(), Aad::from(&secret.name), &mut sealed).ok()?;
        Some([&secret.name[..], &salt, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (salt, sealed) = rest.split_first_chunk::<SALT_BYTES>()?;
        let secret = self.secrets.iter().find(|it| it.name == *name)?;
        let mut plain = sealed.to_vec();
        let cipher = self.cipher(secret, salt)?;
        let length = cipher.open_in_place(nonce(), Aad::from(name), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

impl fmt::Debug for SharedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKeys").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const SECOND: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const THIRD: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    #[track_caller]
    fn keys(lines: &[&str]) -> SharedKeys {
        SharedKeys::new(lines.join("\n").as_bytes(), None).unwrap()
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
        let of =
            |clients: Option<&ClientsMaterial>| SharedKeys::new(FIRST.as_bytes(), clients).unwrap();
        let ticket = of(Some(&with(&[]))).encrypt(b"session").unwrap();
        assert!(of(Some(&with(&[]))).decrypt(&ticket).is_some());
        for other in [None, Some(&with(&["list"]))] {
            assert_eq!(of(other).decrypt(&ticket), None);
        }
    }

    #[test]
    fn what_is_no_key_is_named() {
        let wrong = |text: &str| SharedKeys::new(text.as_bytes(), None).unwrap_err();
        for text in ["", "# nothing\n\n"] {
            assert!(matches!(wrong(text), IdentityError::NoTicketKey), "{text:?}");
        }
        for text in [format!("{FIRST}\nAAAA\n"), format!("\n{FIRST}!\n")] {
            assert!(matches!(wrong(&text), IdentityError::TicketKey(2)), "{text:?}");
        }
    }
}
