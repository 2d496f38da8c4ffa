//! From one rule set to another.

use crate::door::Door;
use crate::ruleset::Ruleset;
use crate::service::{Memory, Name, Service};
use crate::target::{Mark, Target};
use serde::{Deserialize, Serialize};

/// What makes another rule set of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// What is done at once, and either wholly or not at all.
    pub change: Vec<Edit>,
    /// What is done a while later: packets that are on their way may still need it.
    pub retire: Vec<Edit>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// A target is new.
    AddTarget(Mark, Target),
    /// A target is counted no longer.
    RemoveTarget(Mark, Target),
    /// A memory is new.
    AddMemory(Name, Memory),
    /// No service uses a memory any more.
    RemoveMemory(Name),
    /// A service is new.
    AddService(Name, Service),
    /// No door leads to a service any more.
    RemoveService(Name, Service),
    /// A door opens.
    OpenDoor(Door, Name),
    /// A door closes. The service is the one that it led to.
    CloseDoor(Door),
}

impl Transaction {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.change.is_empty() && self.retire.is_empty()
    }
}

impl Ruleset {
    /// What makes `next` of this.
    #[must_use]
    pub fn diff(&self, next: &Self) -> Transaction {
        let (mut change, mut retire) = (Vec::new(), Vec::new());
        for (&mark, &target) in &next.targets {
            match self.targets.get(&mark) {
                Some(running) if *running == target => {}
                // It cannot wait: a mark means one target.
                Some(running) => {
                    change.push(Edit::RemoveTarget(mark, *running));
                    change.push(Edit::AddTarget(mark, target));
                }
                None => change.push(Edit::AddTarget(mark, target)),
            }
        }
        for (name, memory) in &next.memories {
            if !self.memories.contains_key(name) {
                change.push(Edit::AddMemory(*name, *memory));
            }
        }
        for (name, service) in &next.services {
            if !self.services.contains_key(name) {
                change.push(Edit::AddService(*name, service.clone()));
            }
        }
        for (&door, name) in &self.doors {
            if next.doors.get(&door) != Some(name) {
                change.push(Edit::CloseDoor(door));
            }
        }
        for (&door, &name) in &next.doors {
            if self.doors.get(&door) != Some(&name) {
                change.push(Edit::OpenDoor(door, name));
            }
        }
        let gone = self.services.iter().filter(|(name, _)| !next.services.contains_key(name));
        retire.extend(gone.map(|(name, it)| Edit::RemoveService(*name, it.clone())));
        let gone = self.memories.keys().filter(|name| !next.memories.contains_key(name));
        retire.extend(gone.map(|name| Edit::RemoveMemory(*name)));
        let gone = self.targets.iter().filter(|(mark, _)| !next.targets.contains_key(mark));
        retire.extend(gone.map(|(mark, target)| Edit::RemoveTarget(*mark, *target)));
        Transaction { change, retire }
    }

    /// What makes this of nothing.
    #[must_use]
    pub fn steps(&self) -> Vec<Edit> {
        Self::default().diff(self).change
    }

    /// The rule set after these steps.
    pub fn apply(&mut self, edits: &[Edit]) {
        for edit in edits {
            match edit {
                Edit::AddTarget(mark, target) => drop(self.targets.insert(*mark, *target)),
                Edit::RemoveTarget(mark, _) => drop(self.targets.remove(mark)),
                Edit::AddMemory(name, memory) => drop(self.memories.insert(*name, *memory)),
                Edit::RemoveMemory(name) => drop(self.memories.remove(name)),
                Edit::AddService(name, service) => {
                    self.services.insert(*name, service.clone());
                }
                Edit::RemoveService(name, _) => drop(self.services.remove(name)),
                Edit::OpenDoor(door, name) => drop(self.doors.insert(*door, *name)),
                Edit::CloseDoor(door) => drop(self.doors.remove(door)),
            }
        }
    }
}
