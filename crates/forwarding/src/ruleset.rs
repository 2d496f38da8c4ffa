//! All that the kernel is told.

use crate::door::Door;
use crate::service::{Memory, Name, Service};
use crate::target::{Mark, Target};
use std::collections::BTreeMap;

/// All that the kernel is told by one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Where connections may be sent, those included that get no new ones but are counted.
    pub targets: BTreeMap<Mark, Target>,
    /// What is remembered about clients.
    pub memories: BTreeMap<Name, Memory>,
    /// How they are chosen.
    pub services: BTreeMap<Name, Service>,
    /// Where clients come in, and which service they meet there.
    pub doors: BTreeMap<Door, Name>,
}

impl Ruleset {
    /// Opens a door, if it is not open already, and has this service choose for those who come in.
    pub fn open(&mut self, door: Door, service: Service) {
        let name = service.name();
        self.services.insert(name, service);
        self.doors.insert(door, name);
    }
}
