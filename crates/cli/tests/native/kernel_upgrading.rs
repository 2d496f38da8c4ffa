//! Upgrades from and to configurations in which the kernel forwards.

use super::kernel::{BACKENDS, Rig, echoes, said};
use super::upgrading::until_gone;
use crate::support::until;

const TO: &str = "192.0.2.254:8080";

/// Writes the configuration of one pool.
pub fn write(rig: &Rig, to: &str, engine: &str, backends: &[&str]) {
    let text = format!(
        "[listeners.web]\nbind = '{to}'\npool = 'web'\n\
         [pools.web]\nengine = '{engine}'\nbackends = {backends:?}\n"
    );
    std::fs::write(rig.place.file("proxy.toml"), text).unwrap();
}

/// The configuration file is the new process's, too.
#[track_caller]
pub fn upgrade(rig: &Rig) {
    rig.network.within("balancer", || rig.place.run("evenkeel", "upgrade").check(0));
}

/// Whether clients are led to the kernel's targets.
pub fn has_doors(rig: &Rig) -> bool {
    rig.nft("list ruleset").contains(" : goto ")
}

/// Has the instance end in order, which leaves nothing.
#[track_caller]
pub fn shut_down(rig: &Rig) {
    rig.ctl("shutdown");
    until("all rules to be gone", || rig.nft("list tables").is_empty());
}

#[test]
fn an_upgrade_to_a_configuration_without_the_engine_takes_the_rules_over() {
    let Some(rig) = Rig::new() else { return };
    let [one, two] = [BACKENDS[0], BACKENDS[1]];
    write(&rig, TO, "kernel", &[one]);
    let mut program = rig.start(&format!("run {}", rig.place.file("proxy.toml").display()));
    let open = rig.connect("client", TO);
    assert_eq!(said(&open.0).0, one);
    write(&rig, TO, "user", &[two]);
    upgrade(&rig);
    until_gone(&mut program);
    until("clients to be led to the process", || !has_doors(&rig));
    assert_eq!(rig.ask("client", TO).0, two);
    assert_eq!(rig.own(), 1);
    echoes(&open);
    // The next process has them, too.
    upgrade(&rig);
    assert_eq!(rig.ask("client", TO).0, two);
    echoes(&open);
    drop(open);
    shut_down(&rig);
}
