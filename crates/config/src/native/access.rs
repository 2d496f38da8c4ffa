//! Clients by address: `--allow` and `--deny`, an access list from the order in which they were
//! given, and the networks of `--accept-proxy`.

use balancing::{AccessEntry, AccessList, Country, ProxyPeers, Subject, Verdict};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// The entries in the order in which they were typed, whichever option each came by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRules(pub Vec<AccessEntry>);

impl AccessRules {
    /// The access list made of these entries.
    #[must_use]
    pub fn list(&self) -> AccessList {
        AccessList::new(self.0.clone())
    }
}

impl Args for AccessRules {
    fn augment_args(command: Command) -> Command {
        let option = |name: &'static str, help: &'static str| {
            Arg::new(name)
                .long(name)
                .value_name("CLIENTS")
                .value_parser(Clients::from_str)
                .action(ArgAction::Append)
                .help(help)
                .help_heading(super::ADMISSION)
        };
        command.arg(option(ALLOW, ALLOW_HELP)).arg(option(DENY, DENY_HELP))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for AccessRules {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut entries: Vec<(usize, AccessEntry)> = Vec::new();
        for (name, verdict) in [(ALLOW, Verdict::Permit), (DENY, Verdict::Deny)] {
            let places = matches.indices_of(name).into_iter().flatten();
            let clients = matches.get_many::<Clients>(name).into_iter().flatten();
            entries.extend(
                places
                    .zip(clients)
                    .map(|(place, clients)| (place, AccessEntry { verdict, subject: clients.0 })),
            );
        }
        entries.sort_by_key(|(place, _)| *place);
        Ok(Self(entries.into_iter().map(|(_, entry)| entry).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The arguments that append this entry; `None` for an entry that no client can match, or that
/// only the classics can write.
pub(super) fn words(entry: &AccessEntry) -> Option<[String; 2]> {
    let option = match entry.verdict {
        Verdict::Permit => ALLOW,
        Verdict::Deny => DENY,
    };
    let text = Clients(entry.subject).to_string();
    let is_read_again = text.parse().is_ok_and(|clients: Clients| clients.0 == entry.subject);
    is_read_again.then(|| [format!("--{option}"), text])
}

/// The entry as the key `access` has it: `allow 10.0.0.0/8`. `None` as for the arguments.
pub fn entry_words(entry: &AccessEntry) -> Option<String> {
    words(entry).map(|[option, clients]| format!("{} {clients}", option.trim_start_matches('-')))
}

/// The clients that an option names: `ADDR`, `ADDR/LEN`, `ADDR/MASK` or `country:XX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clients(pub(crate) Subject);

/// Why a text does not name clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientsError {
    #[error("clients are an address, a network such as 10.0.0.0/8 or 2001:db8::/32, or country:SE")]
    Form,
    #[error("a country has two letters, as in country:SE")]
    Country,
    #[error("no client can match, because the address has bits set after the network's; write {0}")]
    BitsBeyond(String),
}

impl ClientsError {
    /// Whether the text is nothing like clients.
    pub(crate) fn is_about_form(&self) -> bool {
        matches!(self, Self::Form | Self::Country)
    }
}

impl FromStr for Clients {
    type Err = ClientsError;

    fn from_str(text: &str) -> Result<Self, ClientsError> {
        if let Some(letters) = text.strip_prefix(COUNTRY) {
            let letters = letters.to_ascii_uppercase();
            let letters = <[u8; 2]>::try_from(letters.as_bytes());
            return match letters {
                Ok(letters) if letters.iter().all(u8::is_ascii_alphanumeric) => {
                    Ok(Self(Subject::Country(Country(letters))))
                }
                _ => Err(ClientsError::Country),
            };
        }
        let (address, network) = match text.split_once('/') {
            Some((address, network)) => (address, Some(network)),
            None => (text, None),
        };
        let subject = match address.parse().map_err(|_| ClientsError::Form)? {
            IpAddr::V4(address) => {
                let mask = network.map_or(Some(Ipv4Addr::BROADCAST), mask);
                Subject::V4 { address, mask: mask.ok_or(ClientsError::Form)? }
            }
            IpAddr::V6(address) => {
                let prefix = network.map_or(Some(128), |it| prefix(it, 128));
                Subject::v6(address, prefix.ok_or(ClientsError::Form)?)
            }
        };
        let possible = without_bits_beyond(subject);
        if possible != subject {
            return Err(ClientsError::BitsBeyond(Self(possible).to_string()));
        }
        Ok(Self(subject))
    }
}

/// Proxies, as `--accept-proxy` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxies {
    /// Those in a network.
    Network(Subject),
    /// Those that connect through a Unix socket.
    Unix,
}

impl Proxies {
    /// The peers of all of these; `None` if these are none.
    pub(super) fn peers(all: &[Self]) -> Option<ProxyPeers> {
        let networks = all.iter().filter_map(|proxies| match proxies {
            Self::Network(network) => Some(*network),
            Self::Unix => None,
        });
        (!all.is_empty()).then(|| ProxyPeers::new(networks.collect(), all.contains(&Self::Unix)))
    }
}

impl FromStr for Proxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<Clients>() {
            _ if text == UNIX => Ok(Self::Unix),
            Ok(Clients(Subject::Country(_))) | Err(ClientsError::Form | ClientsError::Country) => {
                Err("proxies are an address, a network such as 10.0.0.0/8 or 2001:db8::/32, or unix"
                    .to_owned())
            }
            Ok(Clients(network)) => Ok(Self::Network(network)),
            Err(error) => Err(error.to_string().replace("client", "proxy")),
        }
    }
}

/// The words of `--accept-proxy` that mean these peers.
pub(crate) fn proxies(peers: &ProxyPeers) -> String {
    let networks = peers.networks().map(|network| Clients(network).to_string());
    networks.chain(peers.unix.then(|| UNIX.to_owned())).collect::<Vec<_>>().join(",")
}

const UNIX: &str = "unix";

/// The same network, with an address that can match.
fn without_bits_beyond(subject: Subject) -> Subject {
    match subject {
        Subject::V4 { address, mask } => Subject::V4 { address: address & mask, mask },
        Subject::V6 { address, prefix } => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Subject::V6 { address: (address.to_bits() & mask).into(), prefix }
        }
        country @ Subject::Country(_) => country,
    }
}

/// A prefix length or a dotted mask.
fn mask(text: &str) -> Option<Ipv4Addr> {
    let bits = |prefix: u8| u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    let of_prefix = prefix(text, 32).map(|prefix| Ipv4Addr::from_bits(bits(prefix)));
    of_prefix.or_else(|| text.parse().ok())
}

fn prefix(text: &str, most: u8) -> Option<u8> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|prefix| plain && *prefix <= most)
}

impl Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Subject::V4 { address, mask: Ipv4Addr::BROADCAST } => address.fmt(f),
            Subject::V4 { address, mask } => {
                let bits = mask.to_bits();
                if bits.leading_ones() + bits.trailing_zeros() == u32::BITS || bits == 0 {
                    write!(f, "{address}/{}", bits.leading_ones())
                } else {
                    write!(f, "{address}/{mask}")
                }
            }
            Subject::V6 { address, prefix: 128 } => address.fmt(f),
            Subject::V6 { address, prefix } => write!(f, "{address}/{prefix}"),
            Subject::Country(country) => write!(f, "{COUNTRY}{country}"),
        }
    }
}

const ALLOW: &str = "allow";
const DENY: &str = "deny";
const COUNTRY: &str = "country:";
const ALLOW_HELP: &str = "Serve these clients: ADDR, ADDR/LEN or country:SE. Of --allow and --deny, the \
     first match decides; without one, the opposite of the last rule applies";
const DENY_HELP: &str = "Do not serve these clients; see --allow";

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a text and shows the result, or the error.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let seen = match text.parse::<Clients>() {
            Ok(clients) => {
                assert_eq!(clients.to_string().parse(), Ok(clients));
                clients.to_string()
            }
            Err(error) => format!("error: {error}"),
        };
        assert!(seen.starts_with(expected), "{text:?} gave {seen:?}, not {expected:?}");
    }

    #[test]
    fn clients_are_networks_and_countries() {
        check("10.0.0.1", "10.0.0.1");
        check("10.0.0.1/32", "10.0.0.1");
        check("10.0.0.0/8", "10.0.0.0/8");
        check("10.0.0.0/255.0.0.0", "10.0.0.0/8");
        check("0.0.0.0/0", "0.0.0.0/0");
        check("1.0.3.0/255.0.255.0", "1.0.3.0/255.0.255.0");
        check("2001:db8::/32", "2001:db8::/32");
        check("::1", "::1");
        check("::/0", "::/0");
        check("::ffff:10.0.0.1", "10.0.0.1");
        check("::ffff:10.0.0.0/104", "10.0.0.0/8");
        check("::ffff:0:0/96", "0.0.0.0/0");
        check("::ffff:10.0.0.1/104", "error: no client can match");
        check("country:se", "country:SE");
        check(
            "10.0.0.1/8",
            "error: no client can match, because the address has bits set after the network's; write 10.0.0.0/8",
        );
        check("2001:db8::1/32", "error: no client can match");
        for text in ["10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0.0/", "127.1", "", "a", "SE"] {
            check(text, "error: clients are an address, a network such as");
        }
        check("country:SWE", "error: a country has two letters");
        check("country:", "error: a country has two letters");
    }

    #[test]
    fn what_cannot_be_matched_cannot_be_written() {
        let entry = |subject| AccessEntry { verdict: Verdict::Deny, subject };
        let (address, mask) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(255, 0, 0, 0));
        assert_eq!(words(&entry(Subject::V4 { address, mask })), None);
        assert_eq!(words(&entry(Subject::Country(Country(*b"se")))), None);
        let expected = ["--deny", "country:SE"].map(str::to_owned);
        assert_eq!(words(&entry(Subject::Country(Country(*b"SE")))), Some(expected));
    }
}
