//! What direct return has begun. It goes on when a backend, a listener or a pool's engine is gone,
//! for as long as packets pass.

use super::around::{Around, Way};
use forwarding::{Choice, Direct, Door, Mark, Path, Service};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use terms::Instant;

/// Doors and targets that may have flows.
#[derive(Default)]
pub(super) struct Kept {
    targets: BTreeMap<Mark, Target>,
    /// With the names of their pools.
    doors: BTreeMap<Door, String>,
}

struct Target {
    pool: String,
    address: IpAddr,
    /// The last one known.
    path: Option<Path>,
    /// When it was last wanted, or a packet was last seen to have passed.
    moved: Instant,
}

/// The kernel forgets a silent flow by then.
pub(super) const SILENCE: Duration = Duration::from_hours(3);

impl Kept {
    /// A backend of a pool may get sessions.
    pub fn know(&mut self, mark: Mark, pool: &str, address: IpAddr, now: Instant) {
        let new = || Target { pool: pool.to_owned(), address, path: None, moved: now };
        self.targets.entry(mark).or_insert_with(new).moved = now;
    }

    /// Packets for a target have passed.
    pub fn note_passed(&mut self, mark: Mark, now: Instant) {
        if let Some(target) = self.targets.get_mut(&mark) {
            target.moved = now;
        }
    }

    /// Clients of a pool come in here.
    pub fn open(&mut self, door: Door, pool: &str) {
        self.doors.insert(door, pool.to_owned());
    }

    /// Whose ways it is good to know.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut all: Vec<_> = self.targets.values().map(|it| it.address).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Has flows go on: adds their targets, and has doors that are closed to others lead to them.
    pub fn complete(&mut self, direct: &mut Direct, around: &Around, now: Instant) {
        self.targets.retain(|_, target| now.since(target.moved) <= SILENCE);
        let targets = &self.targets;
        self.doors.retain(|_, pool| targets.values().any(|it| it.pool == *pool));
        for (mark, target) in &mut self.targets {
            if let Way::Known(path) = around.way(target.address) {
                target.path = Some(path);
            }
            direct.rules.targets.insert(*mark, target.path);
        }
        for door in self.doors.keys() {
            if !direct.rules.doors.contains_key(door) {
                let slots = Vec::new();
                let service = Service {
                    family: door.family,
                    choice: Choice::Turn,
                    slots,
                    permitted: None,
                    memory: None,
                    flow_seconds: None,
                    adopts: false,
                };
                direct.rules.open(*door, service);
            }
        }
        direct.interfaces.clone_from(&around.interfaces);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forwarding::{Family, Protocol};

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn what_has_flows_is_kept_until_they_must_have_ended() {
        let address: std::net::SocketAddr = "10.0.0.2:80".parse().unwrap();
        let mark = Mark::of(&forwarding::TableName::of("test"), "web", address, 0);
        let at = Some("10.0.0.1".parse().unwrap());
        let door =
            Door { family: Family::V4, address: at, protocol: Protocol::Tcp, port: Some(80) };
        let mut kept = Kept::default();
        let begin = Instant::from_millis(1);
        kept.know(mark, "web", address.ip(), begin);
        kept.open(door, "web");
        let mut check = |hours: u32, passed: bool, expected: bool| {
            let now = begin + HOUR * hours;
            if passed {
                kept.note_passed(mark, now);
            }
            let mut direct = Direct::default();
            kept.complete(&mut direct, &Around::default(), now);
            assert_eq!(direct.rules.doors.contains_key(&door), expected, "{hours}");
            assert_eq!(direct.rules.targets.contains_key(&mark), expected, "{hours}");
            assert!(direct.rules.services.values().all(|it| it.slots.is_empty()));
        };
        check(3, false, true);
        check(3, true, true);
        check(6, false, true);
        check(7, false, false);
    }
}
