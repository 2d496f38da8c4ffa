//! Names that stand for backends, in a network namespace with a name server of its own.

use crate::support::{Place, Program, skip_unless};
use std::path::PathBuf;
use std::process::Command;

/// A network namespace whose programs ask 127.0.0.1 for names; removed when dropped.
struct Namespace {
    name: String,
}

impl Namespace {
    /// `None` where there is no root, no `ip` or no dnsmasq.
    fn new() -> Option<Self> {
        let name = format!("evenkeel-{}", std::process::id());
        let namespace = Self { name };
        let has = |program: &str| {
            Command::new(program).arg("--version").output().is_ok_and(|it| it.status.success())
        };
        let is_root = rustix::process::geteuid().is_root();
        if !is_root || !has("dnsmasq") || !run(&["ip", "netns", "add", &namespace.name]) {
            return None;
        }
        std::fs::create_dir_all(namespace.etc()).ok()?;
        std::fs::write(namespace.etc().join("resolv.conf"), "nameserver 127.0.0.1\n").ok()?;
        let up = namespace.command(&["ip", "link", "set", "lo", "up"]).status();
        up.is_ok_and(|status| status.success()).then_some(namespace)
    }

    /// ip-netns(8) puts the files in here in the place of those in /etc.
    fn etc(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(words);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        run(&["ip", "netns", "del", &self.name]);
        let _ = std::fs::remove_dir_all(self.etc());
    }
}

fn run(words: &[&str]) -> bool {
    Command::new(words[0]).args(&words[1..]).status().is_ok_and(|status| status.success())
}

#[test]
fn a_name_is_looked_up_again_when_its_time_to_live_is_over() {
    let namespace = Namespace::new();
    if skip_unless(namespace.is_some(), "this needs root, ip (iproute2) and dnsmasq (dnsmasq-base)")
    {
        return;
    }
    let namespace = namespace.unwrap();
    let place = Place::new();
    let hosts = place.file("hosts");
    std::fs::write(&hosts, "127.0.0.2 app.test\n").unwrap();
    let option = format!("--addn-hosts={}", hosts.display());
    let words = "dnsmasq --keep-in-foreground --log-facility=- --no-resolv --no-hosts \
                 --local-ttl=1 --listen-address=127.0.0.1 --bind-interfaces --pid-file= --user=root";
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.push(&option);
    let mut names = Program::spawn(&mut namespace.command(&words));
    names.log.wait("read");

    let evenkeel = place.command("evenkeel", "");
    let mut words = vec![evenkeel.get_program().to_str().unwrap()];
    words.extend(["127.0.0.1:8000", "app.test:9000"]);
    let mut command = namespace.command(&words);
    let evenkeel = Program::spawn(command.env("EVENKEEL_RUNTIME_DIR", place.runtime()));
    evenkeel.log.wait("admin socket");
    assert_eq!(place.backend(0, 0)["addresses"][0], "127.0.0.2:9000");

    std::fs::write(&hosts, "127.0.0.3 app.test\n").unwrap();
    names.signal(rustix::process::Signal::HUP);
    evenkeel.log.wait("addresses=127.0.0.3:9000");
    assert_eq!(place.backend(0, 0)["addresses"][0], "127.0.0.3:9000");
    names.kill();
}
