//! Machines on one network segment, each in a namespace of its own.

use crate::namespaces::Namespaces;

/// The machines, removed when it is dropped.
pub struct Segment(Namespaces);

impl Segment {
    /// Makes machines with these names, which have at most 12 letters. The first is 192.0.2.1, the
    /// second 192.0.2.2, and so on; their interface is `eth0`.
    ///
    /// # Errors
    /// Why this machine cannot have them.
    pub fn new(machines: &[&str]) -> Result<Self, String> {
        let all: Vec<_> = ["switch"].iter().chain(machines).copied().collect();
        let namespaces = Namespaces::new(&all)?;
        namespaces.ip("switch", "link add bridge type bridge")?;
        namespaces.ip("switch", "link set bridge up")?;
        let switch = namespaces.name("switch");
        for (machine, number) in machines.iter().zip(1..) {
            let ip = |words: String| namespaces.ip(machine, &words);
            ip(format!("link add eth0 type veth peer name {machine} netns {switch}"))?;
            ip(format!("address add 192.0.2.{number}/24 dev eth0"))?;
            ip("link set eth0 up".to_owned())?;
            namespaces.ip("switch", &format!("link set dev {machine} master bridge up"))?;
        }
        Ok(Self(namespaces))
    }

    /// Changes a machine with `ip` (ip(8)).
    ///
    /// # Errors
    /// What the program says.
    pub fn ip(&self, machine: &str, words: &str) -> Result<(), String> {
        self.0.ip(machine, words)
    }

    /// Does something on a machine. Sockets, threads and programs that it starts stay there.
    ///
    /// # Panics
    /// If `what` does.
    pub fn within<T: Send>(&self, machine: &str, what: impl FnOnce() -> T + Send) -> T {
        self.0.within(machine, what)
    }
}
