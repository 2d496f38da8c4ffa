//! Cipher suites of TLS 1.2.

use std::fmt;
use std::str::FromStr;

/// Which cipher suites of TLS 1.2 are allowed. Those of TLS 1.3 always are.
///
/// As text, it is a list in the language of OpenSSL (`openssl-ciphers(1)`), as other programs take
/// it: names of suites, and groups such as `ECDHE+AESGCM`, with `:`, `,`, `;` or blanks between them.
/// `!` before one forbids it for good, `-` removes it, and without a prefix it is added. `+` before
/// one and `@STRENGTH` change the order in OpenSSL; here they do nothing, because the client's order
/// counts. As there, words that are not known are ignored. Names of RFC 5289 and RFC 7905, such as
/// `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`, are understood, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ciphers(u8);

/// None of the suites that are spoken here is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCiphers;

/// A suite: its name for OpenSSL and its own, and the groups in which not all others are, too.
struct Suite(&'static str, &'static str, &'static [&'static str]);

const SUITES: [Suite; 6] = [
    Suite(
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        &["ECDSA", "aECDSA", "AES", "AES256", "AESGCM", "FIPS"],
    ),
    Suite(
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        &["aRSA", "AES", "AES256", "AESGCM", "FIPS"],
    ),
    Suite(
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        &["ECDSA", "aECDSA", "CHACHA20"],
    ),
    Suite(
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        &["aRSA", "CHACHA20"],
    ),
    Suite(
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        &["ECDSA", "aECDSA", "AES", "AES128", "AESGCM", "FIPS"],
    ),
    Suite(
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        &["aRSA", "AES", "AES128", "AESGCM", "FIPS"],
    ),
];

/// Groups in which all of them are.
const EVERY: [&str; 8] = ["ALL", "HIGH", "ECDH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "TLSv1.2"];

/// What a list that begins with one of these stands for. The rest of a list for Suite B is ignored.
const BEGINNINGS: [(&str, &str, bool); 5] = [
    ("DEFAULT", "ALL", true),
    ("SUITEB128ONLY", SUITE_B_128, false),
    ("SUITEB128C2", SUITE_B_256, false),
    ("SUITEB128", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384", false),
    ("SUITEB192", SUITE_B_256, false),
];
const SUITE_B_128: &str = "ECDHE-ECDSA-AES128-GCM-SHA256";
const SUITE_B_256: &str = "ECDHE-ECDSA-AES256-GCM-SHA384";

impl Ciphers {
    /// All that are spoken here: ECDHE with AES-GCM or ChaCha20-Poly1305.
    pub const ALL: Self = Self((1 << SUITES.len()) - 1);

    /// Whether the suite with this name is allowed, such as
    /// `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        let place = SUITES.iter().position(|suite| suite.1 == name);
        place.is_some_and(|place| self.0 & 1 << place != 0)
    }

    fn apply(self, list: &str, forbidden: &mut Self) -> Self {
        let items = list.split([':', ',', ';', ' ']).filter(|item| !item.is_empty());
        items.fold(self, |Self(before), item| match item.as_bytes()[0] {
            b'!' => {
                forbidden.0 |= group(&item[1..]).0;
                Self(before & !forbidden.0)
            }
            b'-' => Self(before & !group(&item[1..]).0),
            b'+' | b'@' => Self(before),
            _ => Self(before | group(item).0 & !forbidden.0),
        })
    }
}

/// The suites that belong to all of these groups, with `+` between them.
fn group(words: &str) -> Ciphers {
    let of = |word: &str| {
        let has = |suite: &Suite| word == suite.0 || word == suite.1 || suite.2.contains(&word);
        let bit = |(place, suite)| u8::from(has(suite)) << place;
        match EVERY.contains(&word) {
            true => Ciphers::ALL.0,
            false => SUITES.iter().enumerate().map(bit).sum(),
        }
    };
    Ciphers(words.split('+').map(of).fold(Ciphers::ALL.0, |all, each| all & each))
}

impl Default for Ciphers {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromStr for Ciphers {
    type Err = NoCiphers;

    fn from_str(list: &str) -> Result<Self, NoCiphers> {
        let begun = BEGINNINGS.iter().find_map(|(word, meaning, goes_on)| {
            list.strip_prefix(word).map(|rest| (*meaning, if *goes_on { rest } else { "" }))
        });
        let (begin, rest) = begun.unwrap_or(("", list));
        let mut forbidden = Self(0);
        match Self(0).apply(begin, &mut forbidden).apply(rest, &mut forbidden) {
            Self(0) => Err(NoCiphers),
            some => Ok(some),
        }
    }
}

impl fmt::Display for Ciphers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = SUITES.iter().filter(|suite| self.has(suite.1)).map(|suite| suite.0);
        f.write_str(&names.collect::<Vec<_>>().join(":"))
    }
}

impl fmt::Display for NoCiphers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "none of the ciphers of TLS 1.2 that are spoken here is in it: {}", Ciphers::ALL)
    }
}

impl std::error::Error for NoCiphers {}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `openssl ciphers` of OpenSSL 3.0 says of these lists, as far as it is spoken here.
    #[test]
    fn lists_mean_what_they_mean_to_openssl() {
        const ECDSA_256: &str = "ECDHE-ECDSA-AES256-GCM-SHA384";
        const RSA_256: &str = "ECDHE-RSA-AES256-GCM-SHA384";
        const ECDSA_CHACHA: &str = "ECDHE-ECDSA-CHACHA20-POLY1305";
        const RSA_CHACHA: &str = "ECDHE-RSA-CHACHA20-POLY1305";
        const ECDSA_128: &str = "ECDHE-ECDSA-AES128-GCM-SHA256";
        const RSA_128: &str = "ECDHE-RSA-AES128-GCM-SHA256";
        let all = [ECDSA_256, RSA_256, ECDSA_CHACHA, RSA_CHACHA, ECDSA_128, RSA_128];
        let cases: &[(&str, &[&str])] = &[
            ("DEFAULT", &all),
            ("HIGH:!aNULL:!MD5", &all),
            ("ALL:!ADH:@STRENGTH", &all),
            ("DEFAULT:!AES128", &all[..4]),
            ("ECDHE+AESGCM", &[ECDSA_256, RSA_256, ECDSA_128, RSA_128]),
            ("ECDHE+AESGCM:ECDHE+CHACHA20:!aECDSA", &[RSA_256, RSA_CHACHA, RSA_128]),
            ("ECDHE-RSA-AES128-GCM-SHA256", &[RSA_128]),
            ("AES128-SHA ECDHE-RSA-AES128-GCM-SHA256,nonsense", &[RSA_128]),
            ("AES256+ECDSA;CHACHA20", &[ECDSA_256, ECDSA_CHACHA, RSA_CHACHA]),
            ("!AES:ALL", &[ECDSA_CHACHA, RSA_CHACHA]),
            ("ALL:-AES:AES128", &[ECDSA_CHACHA, RSA_CHACHA, ECDSA_128, RSA_128]),
            ("CHACHA20:+aRSA", &[ECDSA_CHACHA, RSA_CHACHA]),
            ("FIPS:-aRSA", &[ECDSA_256, ECDSA_128]),
            ("SUITEB128:ALL", &[ECDSA_256, ECDSA_128]),
            ("SUITEB128ONLY", &[ECDSA_128]),
            ("SUITEB192", &[ECDSA_256]),
            ("RSA:ECDHE-ECDSA-AES128-GCM-SHA256", &[ECDSA_128]),
            ("SHA256:CHACHA20+aRSA", &[RSA_CHACHA]),
            ("TLSv1.2+aECDSA:!CHACHA20", &[ECDSA_256, ECDSA_128]),
        ];
        for (list, names) in cases {
            let ciphers: Ciphers = list.parse().unwrap_or_else(|it| panic!("{list}: {it}"));
            assert_eq!(ciphers.to_string(), names.join(":"), "{list}");
            assert_eq!(ciphers.to_string().parse(), Ok(ciphers), "{list}");
        }
    }

    #[test]
    fn a_list_that_allows_nothing_is_an_error() {
        for list in
            ["", "nonsense", "RSA", "AES128-SHA", "ALL:!ALL", "!AES:AES", "+ALL", "ecdhe", "!"]
        {
            assert_eq!(list.parse::<Ciphers>(), Err(NoCiphers), "{list}");
        }
    }

    #[test]
    fn suites_have_names_of_their_own() {
        let one: Ciphers = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".parse().unwrap();
        assert_eq!(one.to_string(), "ECDHE-RSA-AES128-GCM-SHA256");
        assert!(one.has("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
        assert!(!one.has("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"));
        assert!(!one.has("TLS_RSA_WITH_AES_128_CBC_SHA"));
    }
}
