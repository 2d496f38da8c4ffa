//! What is wrong with certificates that can be used all the same: dates, names, and the order of a
//! chain. Servers start with such certificates, and clients refuse them.

use crate::acceptor::{CertificateFile, Material};
use crate::identity::{PemFile, certificates};
use crate::validity::{DAY, validity};
use std::fmt;
use std::path::PathBuf;
use webpki::EndEntityCert;

/// Something that clients may not like about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concern {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub kind: ConcernKind,
}

/// What clients may not like. Certificates of a chain are counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConcernKind {
    /// A certificate has expired.
    Expired(usize),
    /// A certificate expires in so many days.
    Expires(usize, u64),
    /// A certificate is not valid yet.
    NotYetValid(usize),
    /// A certificate does not belong to the issuer of the one before it.
    Order(usize),
    /// The first certificate has no name of a server.
    NoName,
}

/// Certificates that expire in fewer days are reported.
pub const EXPIRY_DAYS: u64 = 14;

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let which = |number: usize| match number {
            1 => "the certificate".to_owned(),
            number => format!("certificate {number}"),
        };
        match self.kind {
            ConcernKind::Expired(it) => write!(f, "{} in {path} has expired", which(it)),
            ConcernKind::Expires(it, 0) => write!(f, "{} in {path} expires today", which(it)),
            ConcernKind::Expires(it, days) => {
                let plural = if days == 1 { "" } else { "s" };
                write!(f, "{} in {path} expires in {days} day{plural}", which(it))
            }
            ConcernKind::NotYetValid(it) => write!(f, "{} in {path} is not valid yet", which(it)),
            ConcernKind::Order(it) => {
                write!(f, "certificate {it} in {path} is not the issuer's of the one before it")
            }
            ConcernKind::NoName => {
                write!(f, "the certificate in {path} has no name of a server (subjectAltName)")
            }
        }
    }
}

/// Looks at the certificates that servers show. `now` is in seconds since 1970. Those that cannot be
/// read are passed over.
#[must_use]
pub fn review(material: &Material, now: u64) -> Vec<Concern> {
    let mut concerns = Vec::new();
    for CertificateFile { file: PemFile { path, text }, name, .. } in &material.certificates {
        let chain = certificates(text).unwrap_or_default();
        let chain: Vec<_> =
            chain.iter().filter_map(|it| EndEntityCert::try_from(it).ok()).collect();
        let mut add = |kind| concerns.push(Concern { path: path.clone(), kind });
        for (certificate, number) in chain.iter().zip(1..) {
            let Some([begin, end]) = validity(&certificate.der()) else { continue };
            if end < now {
                add(ConcernKind::Expired(number));
            } else if begin > now {
                add(ConcernKind::NotYetValid(number));
            } else if end - now < EXPIRY_DAYS * DAY {
                add(ConcernKind::Expires(number, (end - now) / DAY));
            }
        }
        for (pair, number) in chain.windows(2).zip(2..) {
            if pair[0].issuer() != pair[1].subject() {
                add(ConcernKind::Order(number));
            }
        }
        let has_name = |it: &EndEntityCert<'_>| it.valid_dns_names().next().is_some();
        if name.is_none() && !chain.first().is_none_or(has_name) {
            add(ConcernKind::NoName);
        }
    }
    concerns
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair, date_time_ymd};

    const NOW: u64 = 1_795_000_000; // 2026-11-18

    /// A file of certificates for `a.test` and what is in `more`, valid for these days.
    fn file(names: &[&str], [begin, end]: [(i32, u8, u8); 2], more: &[&str]) -> Material {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "An Authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "a.test");
        params.not_before = date_time_ymd(begin.0, begin.1, begin.2);
        params.not_after = date_time_ymd(end.0, end.1, end.2);
        let own = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().pem();
        let more = more.iter().map(|it| if *it == "own" { own.clone() } else { issuer.pem() });
        let text = own.clone() + &more.collect::<String>();
        let file = PemFile { path: "a.pem".into(), text: text.into_bytes() };
        let certificates = vec![CertificateFile { file, ..CertificateFile::default() }];
        Material { certificates, ..Material::default() }
    }

    #[track_caller]
    fn check(material: &Material, expected: &[&str]) {
        let found: Vec<_> = review(material, NOW).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_clients_would_refuse_is_found() {
        let (old, next_week, later) = ((2026, 1, 1), (2026, 11, 25), (2027, 11, 25));
        let a: &[&str] = &["a.test"];
        check(&file(a, [old, later], &["issuer"]), &[]);
        check(&file(a, [old, later], &[]), &[]);
        check(&file(a, [old, next_week], &[]), &["the certificate in a.pem expires in 6 days"]);
        check(&file(a, [old, old], &[]), &["the certificate in a.pem has expired"]);
        check(&file(a, [later, later], &[]), &["the certificate in a.pem is not valid yet"]);
        check(
            &file(a, [old, later], &["own", "issuer"]),
            &["certificate 2 in a.pem is not the issuer's of the one before it"],
        );
        check(
            &file(&[], [old, later], &[]),
            &["the certificate in a.pem has no name of a server (subjectAltName)"],
        );
    }
}
