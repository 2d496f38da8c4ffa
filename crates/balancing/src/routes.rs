//! Which pool serves a client: by the name of the server that it asks for, and the protocols that
//! it offers.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Which clients a route is for. Those that it is not for are left to the other routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteRule {
    /// The names that a client may ask for; if there are none, any, or no name at all.
    pub names: Vec<ServerName>,
    /// The protocols of which a client must offer one; if there are none, it need not offer any.
    pub protocols: Vec<String>,
}

/// The name of a server, or a wildcard for the names with one more label: `*.example.org`. Upper and
/// lower case are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerName {
    /// In lower case; of a wildcard, without the star and the dot.
    name: Box<str>,
    is_wildcard: bool,
}

/// A text that is not a [`ServerName`]: what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidServerName {
    /// Clients do not ask for addresses.
    #[error("clients send names of servers, never addresses")]
    Address,
    /// The star is not alone in the first of several labels.
    #[error("a wildcard stands for the first label: `*.example.org`")]
    Wildcard,
    /// The name has other characters than host names have.
    #[error("a name has letters, digits, hyphens and dots; others in their `xn--` form")]
    Characters,
    /// A label is empty or too long, or the name is too long.
    #[error("a name has at most 253 characters, and 1 to 63 between two dots")]
    Length,
}

/// Finds the route of a client among many.
///
/// The most specific name decides: the one that the client asks for, then its wildcard, then none.
/// Of the routes with that name, those for a protocol come first, in their order. If none of them
/// is for the client, the next less specific name follows.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    exact: BTreeMap<Box<str>, Vec<Candidate>>,
    wildcards: BTreeMap<Box<str>, Vec<Candidate>>,
    any: Vec<Candidate>,
}

/// A route under one of its names and one of its protocols.
#[derive(Clone, Debug)]
struct Candidate {
    protocol: Option<Box<str>>,
    route: usize,
}

const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

impl Routes {
    /// The routes with these rules. [`find`](Self::find) returns their numbers in this order.
    pub fn new<'r>(rules: impl IntoIterator<Item = &'r RouteRule>) -> Self {
        let mut routes = Self::default();
        for (route, rule) in rules.into_iter().enumerate() {
            for name in &rule.names {
                let of_kind =
                    if name.is_wildcard { &mut routes.wildcards } else { &mut routes.exact };
                add(of_kind.entry(name.name.clone()).or_default(), route, &rule.protocols);
            }
            if rule.names.is_empty() {
                add(&mut routes.any, route, &rule.protocols);
            }
        }
        let lists = routes.exact.values_mut().chain(routes.wildcards.values_mut());
        for list in lists.chain([&mut routes.any]) {
            list.sort_by_key(|candidate| candidate.protocol.is_none());
        }
        routes
    }

    /// The number of the route of a client that asks for the server `name`, and for which `offers`
    /// says whether it offers a protocol. `None` if no route is for this client.
    pub fn find(&self, name: Option<&str>, offers: impl Fn(&str) -> bool) -> Option<usize> {
        let name = name.map(lower_case);
        let exact = name.as_ref().and_then(|name| self.exact.get(&**name));
        let parent = name.as_ref().and_then(|name| name.split_once('.'));
        let wildcard = parent.and_then(|(_, parent)| self.wildcards.get(parent));
        let lists = [exact, wildcard, Some(&self.any)].into_iter().flatten();
        let is_for = |it: &&Candidate| it.protocol.as_ref().is_none_or(|protocol| offers(protocol));
        lists.flatten().find(is_for).map(|candidate| candidate.route)
    }
}

fn add(list: &mut Vec<Candidate>, route: usize, protocols: &[String]) {
    let some = protocols.iter().map(|protocol| Some(protocol.as_str().into()));
    let any = protocols.is_empty().then_some(None);
    list.extend(some.chain(any).map(|protocol| Candidate { protocol, route }));
}

/// The name as it is compared: without the dot that may end it.
fn lower_case(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}

impl FromStr for ServerName {
    type Err = InvalidServerName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.parse::<IpAddr>().is_ok() {
            return Err(InvalidServerName::Address);
        }
        let (name, is_wildcard) = match text.strip_prefix("*.") {
            Some(parent) => (parent, true),
            None => (text, false),
        };
        if name.contains('*') {
            return Err(InvalidServerName::Wildcard);
        }
        let name = lower_case(name);
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !name.chars().all(is_allowed) {
            return Err(InvalidServerName::Characters);
        }
        let mut labels = name.split('.');
        if name.len() > NAME_BYTES_MAX
            || !labels.all(|it| (1..=LABEL_BYTES_MAX).contains(&it.len()))
        {
            return Err(InvalidServerName::Length);
        }
        Ok(Self { name, is_wildcard })
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_wildcard { "*." } else { "" }, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(names: &str, protocols: &str) -> RouteRule {
        RouteRule {
            names: names.split_whitespace().map(|name| name.parse().unwrap()).collect(),
            protocols: protocols.split_whitespace().map(str::to_owned).collect(),
        }
    }

    /// A client that asks for the name and offers the protocols takes the route of this number.
    #[track_caller]
    fn check(routes: &Routes, name: &str, protocols: &str, expected: Option<usize>) {
        let name = Some(name).filter(|name| !name.is_empty());
        let found = routes.find(name, |it| protocols.split_whitespace().any(|offer| offer == it));
        assert_eq!(found, expected, "{name:?} with {protocols:?}");
    }

    #[test]
    fn the_most_specific_name_decides() {
        let routes = Routes::new(&[
            rule("*.example.org", ""),
            rule("db.example.org a.b.example.org", ""),
            rule("*.b.example.org", ""),
        ]);
        check(&routes, "db.example.org", "", Some(1));
        check(&routes, "DB.Example.ORG.", "", Some(1));
        check(&routes, "www.example.org", "", Some(0));
        check(&routes, "a.b.example.org", "", Some(1));
        check(&routes, "c.b.example.org", "", Some(2));
        check(&routes, "example.org", "", None);
        check(&routes, "a.b.c.example.org", "", None);
        check(&routes, ".example.org", "", Some(0));
        check(&routes, "", "h2", None);
    }

    #[test]
    fn a_route_for_a_protocol_comes_before_one_for_all() {
        let routes = Routes::new(&[
            rule("a.test", ""),
            rule("a.test", "h2 postgresql"),
            rule("a.test", "http/1.1"),
            rule("", "acme-tls/1"),
            rule("b.test", "h2"),
            rule("*.test", ""),
        ]);
        check(&routes, "a.test", "", Some(0));
        check(&routes, "a.test", "http/1.1 h2", Some(1));
        check(&routes, "a.test", "http/1.1", Some(2));
        check(&routes, "a.test", "acme-tls/1", Some(0));
        check(&routes, "b.test", "h2", Some(4));
        check(&routes, "b.test", "http/1.1", Some(5));
        check(&routes, "", "acme-tls/1", Some(3));
        check(&routes, "x.example", "acme-tls/1", Some(3));
        check(&routes, "x.example", "h2", None);
    }

    #[test]
    fn a_name_is_written_as_clients_send_it() {
        let check = |text: &str, expected: Result<&str, InvalidServerName>| {
            let read = text.parse::<ServerName>().map(|name| name.to_string());
            assert_eq!(read, expected.map(str::to_owned), "{text}");
        };
        check("DB.example.org.", Ok("db.example.org"));
        check("*.Example.org", Ok("*.example.org"));
        check("localhost", Ok("localhost"));
        check("*.org", Ok("*.org"));
        check("192.0.2.1", Err(InvalidServerName::Address));
        check("::1", Err(InvalidServerName::Address));
        for wildcard in ["*", "db*.example.org", "*.*.org", "a.*.org"] {
            check(wildcard, Err(InvalidServerName::Wildcard));
        }
        check("b\u{fc}cher.example", Err(InvalidServerName::Characters));
        check("a b", Err(InvalidServerName::Characters));
        for empty in ["", ".", "a..b", ".a", "*."] {
            check(empty, Err(InvalidServerName::Length));
        }
        check(&format!("{}.org", "a".repeat(64)), Err(InvalidServerName::Length));
        check(&["a"; 128].join("."), Err(InvalidServerName::Length));
    }

    /// The route as the documentation describes it, found slowly.
    fn slowly(rules: &[RouteRule], name: &str, offers: &[&str]) -> Option<usize> {
        let wildcard = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        for wanted in [Some(name.to_owned()), wildcard, None] {
            let has_name = |rule: &RouteRule| match &wanted {
                Some(wanted) => rule.names.iter().any(|name| name.to_string() == *wanted),
                None => rule.names.is_empty(),
            };
            let fits = |for_protocol: bool| {
                rules.iter().position(|rule| {
                    let is_offered = rule.protocols.iter().any(|it| offers.contains(&it.as_str()));
                    has_name(rule)
                        && (if for_protocol { is_offered } else { rule.protocols.is_empty() })
                })
            };
            if let Some(found) = fits(true).or_else(|| fits(false)) {
                return Some(found);
            }
        }
        None
    }

    proptest! {
        #[test]
        fn the_table_finds_what_a_reader_of_the_list_finds(
            rules in prop::collection::vec(
                (
                    prop::sample::subsequence(vec!["a.x", "b.x", "*.x", "x", "*.a.x"], 0..4),
                    prop::sample::subsequence(vec!["h2", "h3", "smtp"], 0..3),
                ),
                0..6,
            ),
            name in prop::sample::select(vec!["a.x", "b.x", "c.x", "x", "b.a.x", "y"]),
            offers in prop::sample::subsequence(vec!["h2", "h3", "smtp", "ftp"], 0..4),
        ) {
            let rules: Vec<_> =
                rules.iter().map(|(names, to)| rule(&names.join(" "), &to.join(" "))).collect();
            let found = Routes::new(&rules).find(Some(name), |it| offers.contains(&it));
            prop_assert_eq!(found, slowly(&rules, name, &offers));
        }
    }
}
