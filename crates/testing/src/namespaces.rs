//! Network namespaces with roles, and what is done in them.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

/// Namespaces, removed when it is dropped.
pub(crate) struct Namespaces {
    /// Of this process and of this test.
    id: String,
    roles: Vec<String>,
}

impl Namespaces {
    /// Makes one for each role, with a loopback interface.
    ///
    /// # Errors
    /// Why this machine cannot have them.
    pub fn new(roles: &[&str]) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err("this needs root".to_owned());
        }
        let id = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let roles: Vec<_> = roles.iter().map(ToString::to_string).collect();
        let namespaces = Self { id, roles };
        for role in &namespaces.roles {
            run(&["netns", "add", &namespaces.name(role)])?;
            namespaces.ip(role, "link set lo up")?;
        }
        Ok(namespaces)
    }

    /// The name of a namespace for other programs.
    pub fn name(&self, role: &str) -> String {
        format!("evenkeel-{}-{role}", self.id)
    }

    /// Changes a namespace with `ip` (ip(8)).
    ///
    /// # Errors
    /// What the program says.
    pub fn ip(&self, role: &str, words: &str) -> Result<(), String> {
        let name = self.name(role);
        run(&["-n", &name].into_iter().chain(words.split(' ')).collect::<Vec<_>>())
    }

    /// Does something in a namespace. Sockets, threads and programs that it starts stay there.
    ///
    /// # Panics
    /// If `what` does, or if the namespace is gone.
    pub fn within<T: Send>(&self, role: &str, what: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name(role)));
        let file = file.expect("a namespace lives as long as its network");
        // A thread of its own, since a thread never gets back.
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(file.as_fd(), network)
                    .expect("root may enter namespaces");
                what()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for role in &self.roles {
            let _ = run(&["netns", "delete", &self.name(role)]);
        }
    }
}

fn run(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
