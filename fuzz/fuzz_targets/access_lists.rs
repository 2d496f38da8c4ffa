//! Access lists as `--allow` and `--deny` write them, and as pen's `acl` lines do: whoever is let
//! in is let in by the naive reading of the same text, and nobody else.
//!
//! Each line of input is an entry: `+` or `-` and clients. The address of the client is the last.

#![no_main]

use balancing::{AccessEntry, AccessList, Client, Subject, Verdict};
use classics::pen::{Names, PenCommand, PenSettings};
use config::native::NativeCli;
use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, Ipv4Addr};

fuzz_target!(|text: &str| {
    let Some((entries, address)) = text.trim_end().rsplit_once('\n') else { return };
    let Ok(address) = address.parse::<IpAddr>() else { return };
    let client = Client { address: Some(address), ..Client::default() };
    let entries: Vec<(bool, &str)> = entries
        .lines()
        .filter_map(|line| match line.as_bytes().first()? {
            b'+' => Some((true, &line[1..])),
            b'-' => Some((false, &line[1..])),
            _ => None,
        })
        .collect();
    native(&entries, &client);
    pen(&entries, &client);
});

fn native(entries: &[(bool, &str)], client: &Client) {
    let words = entries.iter().map(|(permit, clients)| {
        let option = if *permit { "allow" } else { "deny" };
        format!("--{option}={clients}")
    });
    let words = ["evenkeel".to_owned()].into_iter().chain(words);
    let words = words.chain(["8080".to_owned(), "10.0.0.1:80".to_owned()]);
    let Ok(cli) = <NativeCli as clap::Parser>::try_parse_from(words) else { return };
    let Ok(config) = cli.start.to_config(&|_| None) else { return };
    let list = &config.pools[0].access;
    assert_eq!(list.permits(client), naive(list, client), "{entries:?} {client:?}");
    let read: Vec<_> = entries.iter().filter_map(|entry| network(*entry)).collect();
    if read.len() == entries.len() && client.address.is_some_and(|address| address.is_ipv4()) {
        assert_eq!(list.permits(client), literal(&read, client), "{entries:?} {client:?}");
    }
}

fn pen(entries: &[(bool, &str)], client: &Client) {
    let names = Names { hosts: &|_| None, services: &|_| None };
    let mut settings = PenSettings::default();
    let lines = ["listen 8080".to_owned(), "server 0 address 10.0.0.1 port 80".to_owned()];
    let acl = entries.iter().map(|(permit, clients)| {
        let verdict = if *permit { "permit" } else { "deny" };
        format!("acl 1 {verdict} {}", clients.replace('/', " "))
    });
    for line in lines.into_iter().chain(acl).chain(["client_acl 1".to_owned()]) {
        let _ = settings.apply(&PenCommand::parse(line.as_bytes()), names);
    }
    let config = settings.to_config();
    let Some(pool) = config.pools.first() else { return };
    let list = &pool.access;
    assert_eq!(list.permits(client), naive(list, client), "{entries:?} {client:?}");
}

/// The first entry that matches decides; without one, the opposite of the last does.
fn naive(list: &AccessList, client: &Client) -> bool {
    let Some(address) = client.address.map(|address| address.to_canonical()) else { return true };
    let matches = |entry: &&AccessEntry| match (entry.subject, address) {
        (Subject::V4 { address: network, mask }, IpAddr::V4(address)) => address & mask == network,
        (Subject::V6 { address: network, prefix }, IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            prefix <= 128 && address.to_bits() & mask == network.to_bits()
        }
        _ => false, // nobody knows the client's country here
    };
    match (list.entries().iter().find(matches), list.entries().last()) {
        (Some(entry), _) => entry.verdict == Verdict::Permit,
        (None, Some(last)) => last.verdict == Verdict::Deny,
        (None, None) => true,
    }
}

/// An entry for `ADDR` or `ADDR/LEN` of IPv4, read again without a word of the parser's.
fn network((permit, clients): (bool, &str)) -> Option<(bool, u32, u32)> {
    let (address, length) = clients.split_once('/').unwrap_or((clients, "32"));
    let address = address.parse::<Ipv4Addr>().ok()?.to_bits();
    let length = length.parse::<u32>().ok().filter(|length| *length <= 32)?;
    Some((permit, address, u32::MAX.checked_shl(32 - length).unwrap_or(0)))
}

fn literal(entries: &[(bool, u32, u32)], client: &Client) -> bool {
    let Some(IpAddr::V4(address)) = client.address else { return true };
    let found = entries.iter().find(|(_, network, mask)| address.to_bits() & mask == *network);
    match (found, entries.last()) {
        (Some((permit, ..)), _) => *permit,
        (None, Some((permit, ..))) => !permit,
        (None, None) => true,
    }
}
