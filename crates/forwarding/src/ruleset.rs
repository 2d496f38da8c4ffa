//! The rules of one instance.

use crate::direct::Path;
use crate::door::Door;
use crate::pit::Pit;
use crate::service::{Memory, Name, Service};
use crate::target::{Mark, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// All rules of one instance, for three tables. A part that is absent has no table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Address translation.
    pub translated: Option<Rules<Target>>,
    /// Direct return.
    pub direct: Option<Direct>,
    /// The tarpit.
    pub pit: Option<Pit>,
}

/// The rules for direct return.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Direct {
    /// Targets without a path are known, but nothing can be sent to them at present.
    pub rules: Rules<Option<Path>>,
    /// The interfaces through which clients come, by their numbers.
    pub interfaces: BTreeMap<u32, String>,
    /// Addresses that are answered for (ARP), although no interface has them. Whatever comes for them
    /// at other doors is lost.
    pub hosted: BTreeSet<Ipv4Addr>,
}

/// What a table says about sessions, with `T` about each target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules<T> {
    /// Where connections may be sent, those included that get no new ones but are counted.
    pub targets: BTreeMap<Mark, T>,
    /// What is remembered about clients.
    pub memories: BTreeMap<Name, Memory>,
    /// How they are chosen.
    pub services: BTreeMap<Name, Service>,
    /// Where clients come in, and which service they meet there.
    pub doors: BTreeMap<Door, Name>,
}

impl<T> Default for Rules<T> {
    fn default() -> Self {
        Self {
            targets: BTreeMap::new(),
            memories: BTreeMap::new(),
            services: BTreeMap::new(),
            doors: BTreeMap::new(),
        }
    }
}

impl<T> Rules<T> {
    /// Opens a door, if it is not open already, and has this service choose for those who come in.
    pub fn open(&mut self, door: Door, service: Service) {
        let name = service.name();
        self.services.insert(name, service);
        self.doors.insert(door, name);
    }
}
