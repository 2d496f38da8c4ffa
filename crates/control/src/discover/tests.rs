use super::*;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use std::net::{Ipv4Addr, UdpSocket};

/// What a question is answered with: a response code, and an address.
type Reply = (u8, Option<IpAddr>);

const NO_NAME: Reply = (3, None);
const NO_RECORDS: Reply = (0, None);
const FAILURE: Reply = (2, None);

/// What is found for `app.test`, with the search domain `zone`, if a name server replies like this to
/// questions about a name and IPv4 (`A`) or IPv6 (`AAAA`).
async fn find(reply: fn(&str, &str) -> Reply) -> Discovered {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
    server.connections[0].port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut question) {
            let _ = socket.send_to(&answer(&question[..length], reply), client);
        }
    });
    let search = vec![Name::from_ascii("zone.").unwrap()];
    let config = ResolverConfig::from_parts(None, search, vec![server]);
    let provider = TokioRuntimeProvider::default();
    let builder = TokioResolver::builder_with_config(config, provider);
    let discovery = Discovery::Dns { name: "app.test".to_owned(), port: 80 };
    discover_with(&discovery, builder.build().ok()).await
}

/// RFC 1035, section 4.
fn answer(asked: &[u8], reply: fn(&str, &str) -> Reply) -> Vec<u8> {
    let end = 12 + asked[12..].iter().position(|it| *it == 0).unwrap();
    let mut labels = Vec::new();
    let mut rest = &asked[12..end];
    while let Some((length, more)) = rest.split_first() {
        let (label, more) = more.split_at(usize::from(*length));
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        rest = more;
    }
    let kind = if asked[end + 2] == 1 { "A" } else { "AAAA" };
    let (code, address) = reply(&labels.join("."), kind);
    let mut answer = vec![asked[0], asked[1], 0x85, 0x80 | code, 0, 1];
    answer.extend([0, u8::from(address.is_some()), 0, 0, 0, 0]);
    answer.extend(&asked[12..end + 5]);
    let data = match address {
        None => return answer,
        Some(IpAddr::V4(it)) => it.octets().to_vec(),
        Some(IpAddr::V6(it)) => it.octets().to_vec(),
    };
    answer.extend([0xc0, 12, 0, asked[end + 2], 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
    answer.extend(data);
    answer
}

fn address(text: &str) -> Reply {
    (0, text.parse().ok())
}

/// With an IPv6 address only: whether IPv4 addresses are kept, as the question about them has no
/// answer.
#[track_caller]
fn check(found: &Discovered, keeps_v4: bool) {
    let addresses: Vec<_> = found.records.iter().map(|it| it.address.to_string()).collect();
    assert_eq!(addresses, ["[::1]:80"]);
    assert_eq!(found.error, None);
    assert_eq!(found.unanswered, [Unanswered { host: None, v4: keeps_v4, v6: false }]);
}

#[tokio::test]
async fn a_name_that_does_not_exist_for_a_family_says_nothing_about_it() {
    let found = find(|name, kind| match (name, kind) {
        ("app.test", "AAAA") => address("::1"),
        _ => NO_NAME,
    });
    check(&found.await, true);
    let found = find(|name, kind| match (name, kind) {
        ("app.test", "AAAA") => address("::1"),
        ("app.test", _) => FAILURE,
        _ => NO_NAME,
    });
    check(&found.await, true);
}

#[tokio::test]
async fn a_name_without_records_of_a_family_has_no_addresses_of_it() {
    // Asked for in the search domain, too, where there is no such name.
    let found = find(|name, kind| match (name, kind) {
        ("app.test", "AAAA") => address("::1"),
        ("app.test", _) => NO_RECORDS,
        _ => NO_NAME,
    });
    check(&found.await, false);
    let found = find(|name, kind| match (name, kind) {
        ("app.test.zone", "AAAA") => address("::1"),
        ("app.test.zone", _) => NO_RECORDS,
        _ => NO_NAME,
    });
    check(&found.await, false);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_not_found() {
    let found = find(|_, _| NO_NAME).await;
    assert_eq!((found.records.len(), &*found.error.unwrap()), (0, "the name does not exist"));
    let found = find(|_, _| NO_RECORDS).await;
    assert_eq!((found.records.len(), &*found.error.unwrap()), (0, "it has no addresses"));
}
