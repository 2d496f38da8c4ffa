//! From one rule set to another.

use crate::direct::Path;
use crate::door::Door;
use crate::pit::Pit;
use crate::ruleset::{Direct, Rules, Ruleset};
use crate::service::{Memory, Name, Service};
use crate::target::{Mark, Target};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// What makes another rule set of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// What is done at once, and either wholly or not at all.
    pub change: Vec<Edit>,
    /// What is done a while later: packets that are on their way may still need it.
    pub retire: Vec<Edit>,
}

/// Which of an instance's tables it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The one for address translation.
    Translated,
    /// The one for direct return.
    Direct,
    /// The one for the tarpit.
    Pit,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Translated, Self::Direct, Self::Pit];
}

/// A change to one of the tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// There is a table for address translation, with nothing in it.
    BeginTranslated,
    /// There is none any more.
    EndTranslated,
    /// A step there.
    Translated(Step<Target>),
    /// There is a table for direct return, with nothing in it.
    BeginDirect,
    /// There is none any more.
    EndDirect,
    /// A step there.
    Direct(Step<Option<Path>>),
    /// What comes in by this interface is looked at.
    Watch(u32, String),
    /// It is not looked at any more.
    Unwatch(u32),
    /// This address is answered for.
    Host(Ipv4Addr),
    /// It is not answered for any more.
    Unhost(Ipv4Addr),
    /// This is the table for the tarpit.
    Dig(Pit),
    /// There is none any more.
    FillIn,
}

impl Edit {
    /// The table that it changes.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::BeginTranslated | Self::EndTranslated | Self::Translated(_) => Kind::Translated,
            Self::BeginDirect
            | Self::EndDirect
            | Self::Direct(_)
            | Self::Watch(..)
            | Self::Unwatch(_)
            | Self::Host(_)
            | Self::Unhost(_) => Kind::Direct,
            Self::Dig(_) | Self::FillIn => Kind::Pit,
        }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step<T> {
    /// A target is new.
    AddTarget(Mark, T),
    /// A target is counted no longer.
    RemoveTarget(Mark, T),
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

    /// Adds what makes `next` of `running` in one table.
    fn add<T: Copy + PartialEq>(
        &mut self,
        running: Option<&Rules<T>>,
        next: Option<&Rules<T>>,
        [begin, end]: [Edit; 2],
        edit: fn(Step<T>) -> Edit,
    ) {
        let none = Rules::default();
        let (change, retire) = running.unwrap_or(&none).steps_to(next.unwrap_or(&none));
        if running.is_none() && next.is_some() {
            self.change.push(begin);
        }
        self.change.extend(change.into_iter().map(edit));
        match running.is_some() && next.is_none() {
            true => self.retire.push(end),
            false => self.retire.extend(retire.into_iter().map(edit)),
        }
    }
}

impl Ruleset {
    /// What makes `next` of this.
    #[must_use]
    pub fn diff(&self, next: &Self) -> Transaction {
        let mut all = Transaction::default();
        all.add(
            self.translated.as_ref(),
            next.translated.as_ref(),
            [Edit::BeginTranslated, Edit::EndTranslated],
            Edit::Translated,
        );
        let [running, new] = [self, next].map(|it| it.direct.as_ref());
        all.add(
            running.map(|it| &it.rules),
            new.map(|it| &it.rules),
            [Edit::BeginDirect, Edit::EndDirect],
            Edit::Direct,
        );
        match &next.pit {
            pit if *pit == self.pit => {}
            Some(pit) => all.change.push(Edit::Dig(pit.clone())),
            None => all.change.push(Edit::FillIn),
        }
        let nothing = Direct::default();
        let old = running.unwrap_or(&nothing);
        let hosted = new.map_or(&nothing.hosted, |it| &it.hosted);
        let gone = old.hosted.difference(hosted);
        all.change.extend(gone.map(|address| Edit::Unhost(*address)));
        let added = hosted.difference(&old.hosted);
        all.change.extend(added.map(|address| Edit::Host(*address)));
        if let Some(new) = new {
            let (old, new) = (&old.interfaces, &new.interfaces);
            let is_same = |(number, name): &(&u32, &String)| new.get(number) == Some(name);
            let gone = old.iter().filter(|it| !is_same(it));
            all.change.extend(gone.map(|(number, _)| Edit::Unwatch(*number)));
            let added = new.iter().filter(|(number, name)| old.get(number) != Some(name));
            all.change.extend(added.map(|(number, name)| Edit::Watch(*number, name.clone())));
        }
        all
    }

    /// What makes this of nothing.
    #[must_use]
    pub fn steps(&self) -> Vec<Edit> {
        Self::default().diff(self).change
    }

    /// The rule set after these edits.
    pub fn apply(&mut self, edits: &[Edit]) {
        for edit in edits {
            match edit {
                Edit::BeginTranslated => self.translated = Some(Rules::default()),
                Edit::EndTranslated => self.translated = None,
                Edit::Translated(step) => {
                    self.translated.iter_mut().for_each(|rules| rules.apply(step));
                }
                Edit::BeginDirect => self.direct = Some(Direct::default()),
                Edit::EndDirect => self.direct = None,
                Edit::Direct(step) => {
                    self.direct.iter_mut().for_each(|direct| direct.rules.apply(step));
                }
                Edit::Watch(number, name) => self.direct.iter_mut().for_each(|direct| {
                    direct.interfaces.insert(*number, name.clone());
                }),
                Edit::Unwatch(number) => self.direct.iter_mut().for_each(|direct| {
                    direct.interfaces.remove(number);
                }),
                Edit::Dig(pit) => self.pit = Some(pit.clone()),
                Edit::FillIn => self.pit = None,
                Edit::Host(address) => self.direct.iter_mut().for_each(|direct| {
                    direct.hosted.insert(*address);
                }),
                Edit::Unhost(address) => self.direct.iter_mut().for_each(|direct| {
                    direct.hosted.remove(address);
                }),
            }
        }
    }
}

impl<T: Copy + PartialEq> Rules<T> {
    /// What makes `next` of this: at once, and a while later.
    fn steps_to(&self, next: &Self) -> (Vec<Step<T>>, Vec<Step<T>>) {
        let (mut change, mut retire) = (Vec::new(), Vec::new());
        for (&mark, &target) in &next.targets {
            match self.targets.get(&mark) {
                Some(running) if *running == target => {}
                // It cannot wait: a mark means one target.
                Some(running) => {
                    change.push(Step::RemoveTarget(mark, *running));
                    change.push(Step::AddTarget(mark, target));
                }
                None => change.push(Step::AddTarget(mark, target)),
            }
        }
        for (name, memory) in &next.memories {
            if !self.memories.contains_key(name) {
                change.push(Step::AddMemory(*name, *memory));
            }
        }
        for (name, service) in &next.services {
            if !self.services.contains_key(name) {
                change.push(Step::AddService(*name, service.clone()));
            }
        }
        for (&door, name) in &self.doors {
            if next.doors.get(&door) != Some(name) {
                change.push(Step::CloseDoor(door));
            }
        }
        for (&door, &name) in &next.doors {
            if self.doors.get(&door) != Some(&name) {
                change.push(Step::OpenDoor(door, name));
            }
        }
        let gone = self.services.iter().filter(|(name, _)| !next.services.contains_key(name));
        retire.extend(gone.map(|(name, it)| Step::RemoveService(*name, it.clone())));
        let gone = self.memories.keys().filter(|name| !next.memories.contains_key(name));
        retire.extend(gone.map(|name| Step::RemoveMemory(*name)));
        let gone = self.targets.iter().filter(|(mark, _)| !next.targets.contains_key(mark));
        retire.extend(gone.map(|(mark, target)| Step::RemoveTarget(*mark, *target)));
        (change, retire)
    }

    fn apply(&mut self, step: &Step<T>) {
        match step {
            Step::AddTarget(mark, target) => drop(self.targets.insert(*mark, *target)),
            Step::RemoveTarget(mark, _) => drop(self.targets.remove(mark)),
            Step::AddMemory(name, memory) => drop(self.memories.insert(*name, *memory)),
            Step::RemoveMemory(name) => drop(self.memories.remove(name)),
            Step::AddService(name, service) => {
                self.services.insert(*name, service.clone());
            }
            Step::RemoveService(name, _) => drop(self.services.remove(name)),
            Step::OpenDoor(door, name) => drop(self.doors.insert(*door, *name)),
            Step::CloseDoor(door) => drop(self.doors.remove(door)),
        }
    }
}
