//! What the kernel's engine leaves behind when the process dies, and `evenkeel engine-clear`, which
//! removes it.

use super::kernel::{BACKENDS, Rig, answered, echoes, said};
use crate::support::{Done, Place, Program, until};
use std::os::unix::fs::PermissionsExt;

const TO: &str = "192.0.2.254:8080";

/// `evenkeel engine-clear` with these words, in the balancer's namespace.
#[track_caller]
fn clear(rig: &Rig, words: &str) -> Done {
    let words = format!("engine-clear {words}");
    rig.network.within("balancer", || rig.place.run("evenkeel", &words))
}

/// The instances' tables, as `nft` lists them.
fn tables(rig: &Rig) -> Vec<String> {
    let all = rig.nft("list tables");
    let names = all.lines().filter_map(|line| line.strip_prefix("table inet "));
    names.filter(|name| name.starts_with("evenkeel_")).map(str::to_owned).collect()
}

#[track_caller]
fn only_table(rig: &Rig) -> String {
    let mut tables = tables(rig);
    assert_eq!(tables.len(), 1, "{tables:?}");
    tables.remove(0)
}

/// Kills the instance with this table, and waits until its helper has noticed.
fn kill(rig: &Rig, program: &mut Program, table: &str) {
    program.kill();
    until("the helper to end", || clear(rig, &format!("{table} --dry-run")).status == 0);
}

#[test]
fn nothing_is_left_of_an_instance_that_is_gone() {
    let Some(rig) = Rig::new() else { return };
    let done = clear(&rig, "").check(0);
    assert_eq!(done.stdout, "no instance has left rules in the kernel\n");
    let words = format!("8080/tcp+udp {} {} --engine kernel", BACKENDS[0], BACKENDS[1]);
    let mut program = rig.start(&words);
    let admin = rig.place.socket().display().to_string();
    // With other rules that translate addresses, what the kernel remembers outlives the table.
    rig.nft("add table ip other");
    rig.nft("add chain ip other pre { type nat hook prerouting priority 0 ; }");
    rig.nft("add rule ip other pre ct state established counter");
    let flow = rig.flow("client", TO);
    let backend = answered(&flow).0;
    assert!(BACKENDS.contains(&&*backend), "{backend}");
    let table = &only_table(&rig);
    kill(&rig, &mut program, table);
    assert_eq!(clear(&rig, "--dry-run").check(0).stdout, format!("would remove {table}\n"));
    assert_eq!(answered(&flow).0, backend, "the rules are still there");
    assert_eq!(clear(&rig, &admin).check(0).stdout, format!("removed {table}\n"));
    assert_eq!(rig.nft("list tables"), "table ip other\n");
    // The same client reaches whoever listens there now.
    rig.serve("balancer", TO);
    assert_eq!(answered(&flow).0, TO);
    let done = clear(&rig, &admin).check(1);
    assert!(done.stderr.contains("neither has any other instance"), "{done:?}");
}

#[test]
fn what_cannot_be_taken_over_is_replaced() {
    let Some(rig) = Rig::new() else { return };
    let words = format!("{TO} {} {} --engine kernel", BACKENDS[0], BACKENDS[1]);
    let mut gone = rig.start(&words);
    let table = &only_table(&rig);
    kill(&rig, &mut gone, table);
    // As if another version had counted otherwise.
    rig.nft(&format!("delete table inet {table}"));
    rig.nft(&format!("add table inet {table}"));
    rig.nft(&format!("add set inet {table} passed {{ type ipv4_addr; }}"));
    let _program = rig.start(&words);
    assert_eq!(rig.spread(TO, 4).len(), 2);
    until("the kernel to have served all", || rig.sum("attempts_total") == 4);
    assert_eq!(rig.own(), 0);
}

#[test]
fn instances_that_are_running_are_spared() {
    let Some(rig) = Rig::new() else { return };
    let backends = format!("{} {} --engine kernel", BACKENDS[0], BACKENDS[1]);
    let mut gone = rig.start(&format!("{TO} {backends}"));
    let left = &only_table(&rig);
    // Its pool has the same name and backends, but its connections have other marks.
    let other = Place::new();
    let words = format!("192.0.2.254:8081 {backends}");
    let running = rig.network.within("balancer", || other.native(&words));
    running.log.wait("the kernel forwards");
    let client = rig.connect("client", "192.0.2.254:8081");
    said(&client.0);
    kill(&rig, &mut gone, left);
    let kept: Vec<_> = tables(&rig).into_iter().filter(|it| it != left).collect();
    let [kept] = &*kept else { panic!("{kept:?}") };
    let marks = |table: &str| {
        let set = rig.nft(&format!("--stateless list set inet {table} begun"));
        set.split_once("elements = ").expect("elements").1.to_owned()
    };
    assert_ne!(marks(left), marks(kept));
    let done = clear(&rig, "--dry-run").check(1);
    assert_eq!(done.stdout, format!("would remove {left}\n"));
    let done = clear(&rig, "").check(1);
    assert_eq!(done.stdout, format!("removed {left}\n"));
    assert!(done.stderr.contains(&format!("{kept} was left alone: its instance is running")));
    assert_eq!(tables(&rig), std::slice::from_ref(kept));
    echoes(&client);
    // By name, it is no different, and one that is not there is an error.
    clear(&rig, kept).check(1);
    let done = clear(&rig, &format!("{kept} nobody --force")).check(1);
    let says = format!("'nobody' has no rules in the kernel; there are {kept}");
    assert!(done.stderr.contains(&says), "{done:?}");
    echoes(&client);
    // With force it goes, and comes back: the instance wants it.
    rig.nft(&format!("add chain inet {kept} seen"));
    assert_eq!(clear(&rig, "--force").check(0).stdout, format!("removed {kept}\n"));
    until("the rules to come back", || {
        tables(&rig) == std::slice::from_ref(kept)
            && !rig.nft("list chains inet").contains("chain seen ")
    });
}

/// An instance that asks for no kernel does not touch what an earlier one of its name has left.
#[test]
fn a_running_instance_without_the_engine_is_no_obstacle() {
    let Some(rig) = Rig::new() else { return };
    let mut program = rig.start(&format!("{TO} {} --engine kernel", BACKENDS[0]));
    kill(&rig, &mut program, &only_table(&rig));
    let words = format!("{TO} {}", BACKENDS[1]);
    let _program = rig.network.within("balancer", || rig.place.native(&words));
    assert_eq!(rig.ask("client", TO).0, BACKENDS[0]);
    clear(&rig, "").check(0);
    assert_eq!(tables(&rig), Vec::<String>::new());
    assert_eq!(rig.ask("client", TO).0, BACKENDS[1]);
}

#[test]
fn it_takes_the_privilege() {
    let Some(rig) = Rig::new() else { return };
    let place = Place::new();
    std::fs::set_permissions(place.file(""), std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = place.as_nobody("evenkeel", "engine-clear");
    let done = rig.network.within("balancer", || Done::run(&mut command, "")).check(1);
    assert_eq!(done.stderr, "evenkeel engine-clear: CAP_NET_ADMIN is missing; run this as root\n");
}
