//! The addresses that this machine answers for because of the tables of an instance.

use super::nft_calls::list;
use forwarding::{Edit, Kind, Pit, TableName, networks};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use sys::nftables::has_tables;

/// A network, with the length of its prefix.
pub(super) type Network = (Ipv4Addr, u8);

/// Which addresses this machine is to answer for, and which it answers for now.
#[derive(Default)]
pub(super) struct Hosting {
    /// The addresses of direct return.
    addresses: BTreeSet<Ipv4Addr>,
    pit: Option<Pit>,
    /// What this machine answers for, also because of tables that somebody else has removed.
    present: BTreeSet<Network>,
}

impl Hosting {
    /// Nothing is wanted, and there is what the tables say.
    pub fn begin(&mut self, nft: &Path, table: &TableName) {
        (self.addresses, self.pit) = Default::default();
        self.present.extend(hosted(nft, table));
    }

    /// What these edits want.
    pub fn want(&mut self, edits: &[Edit]) {
        for edit in edits {
            match edit {
                Edit::Host(address) => drop(self.addresses.insert(*address)),
                Edit::Unhost(address) => drop(self.addresses.remove(address)),
                Edit::Dig(pit) => self.pit = Some(pit.clone()),
                Edit::FillIn => self.pit = None,
                _ => {}
            }
        }
    }

    /// Has this machine answer for what is wanted, and no longer for anything else.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn carry_out(&mut self) -> io::Result<()> {
        let pit = self.pit.iter().flat_map(Pit::networks);
        let wanted: BTreeSet<_> = self.addresses.iter().map(|it| (*it, 32)).chain(pit).collect();
        // First what goes: it may overlap with what comes.
        let failed = |(address, len): &Network, error: io::Error| {
            io::Error::new(error.kind(), format!("the route of {address}/{len}: {error}"))
        };
        for network in self.present.difference(&wanted) {
            sys::routes::unhost(*network).map_err(|error| failed(network, error))?;
        }
        for network in &wanted {
            // Also one that is known: somebody else may have removed it.
            sys::routes::host(*network).map_err(|error| failed(network, error))?;
        }
        self.present = wanted;
        Ok(())
    }
}

/// What this machine answers for because of these tables.
pub(super) fn hosted(nft: &Path, table: &TableName) -> Vec<Network> {
    let sets = [(Kind::Direct, "hosted4"), (Kind::Pit, "pit")];
    let name = table.to_string();
    let elements = |(kind, set): (Kind, _)| match has_tables(&[(kind.family(), &name)]) {
        Ok(false) => Vec::new(),
        // A table of an older version has no such set.
        _ => list(nft, table, kind, set).unwrap_or_default(),
    };
    sets.into_iter().flat_map(elements).flat_map(|it| element(&it)).collect()
}

/// An element of a set of addresses: one, a network or a range.
fn element(value: &Value) -> Vec<Network> {
    let address = |value: &Value| value.as_str()?.parse::<Ipv4Addr>().ok();
    let prefix = &value["prefix"];
    let len = prefix["len"].as_u64().and_then(|len| u8::try_from(len).ok());
    match (address(value), address(&prefix["addr"]), len) {
        (Some(one), ..) => vec![(one, 32)],
        (_, Some(network), Some(len)) => vec![(network, len)],
        _ => match (address(&value["range"][0]), address(&value["range"][1])) {
            (Some(first), Some(last)) => networks(&[(first, last)]),
            _ => Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(value: &Value, expected: &[(&str, u8)]) {
        let expected: Vec<_> =
            expected.iter().map(|(address, len)| (address.parse().unwrap(), *len)).collect();
        assert_eq!(element(value), expected, "{value}");
    }

    #[test]
    fn elements_are_networks() {
        check(&json!("10.0.0.1"), &[("10.0.0.1", 32)]);
        check(&json!({"prefix": {"addr": "10.0.0.0", "len": 24}}), &[("10.0.0.0", 24)]);
        check(&json!({"range": ["10.0.0.1", "10.0.0.2"]}), &[("10.0.0.1", 32), ("10.0.0.2", 32)]);
        check(&json!({"other": 1}), &[]);
    }
}
