//! What the kernel's engine can do, each ability on each way in which clients can come, in a
//! network of namespaces with real rules.
//!
//! Where a way is not for the kernel, the process serves, and clients must see the same.

use super::kernel_ways::{Session, Table, Way};
use crate::support::until;

/// One tier with both servers.
fn both(way: &Way) -> String {
    format!("backends = {:?}", way.servers)
}

#[test]
fn turns_are_exact_and_sessions_and_bytes_are_counted() {
    let Some(table) = Table::start(both) else { return };
    table.each(|way| {
        let sessions: Vec<_> = (0..6).map(|_| table.open(way)).collect();
        let is_first = |it: &&Session| way.place(&it.server) == 0;
        assert_eq!(sessions.iter().filter(is_first).count(), 3);
        sessions.iter().for_each(Session::goes_on);
    });
    table.each(|way| {
        until("all to be counted", || table.counted(way, "attempts_total") == [3, 3]);
        for field in ["sent_bytes_total", "received_bytes_total"] {
            until(field, || table.counted(way, field).iter().all(|it| *it >= 12));
        }
    });
    // By now, all have been read once more.
    table.each(|way| assert_eq!(table.counted(way, "attempts_total"), [3, 3]));
    table.check_who_served();
}

#[test]
fn weights_are_obeyed() {
    let pool = |way: &Way| {
        let [a, b] = way.servers;
        let backends = format!("backends = [{{ to = '{a}', weight = 3 }}, {{ to = '{b}' }}]");
        format!("policy = 'weighted-turn'\n{backends}")
    };
    let Some(table) = Table::start(pool) else { return };
    table.each(|way| assert_eq!(table.spread(way, 8), [6, 2]));
    table.check_who_served();
}

const PROBE: &str = "probe = 'tcp'\nprobe-interval = '100ms'\nfall = 1\nrise = 1";

/// The first backend of each way goes down and comes back.
#[track_caller]
fn check_outage(pool: fn(&Way) -> String, usual: [usize; 2]) {
    let Some(mut table) = Table::start(pool) else { return };
    let old = table.open_all();
    table.stop_first();
    table.each(|way| table.wait_for(way, [0, 4]));
    old.iter().for_each(Session::goes_on);
    table.start_first();
    table.each(|way| table.wait_for(way, usual));
    old.iter().for_each(Session::goes_on);
    table.check_who_served();
}

#[test]
fn a_backend_that_is_down_gets_nobody_new() {
    check_outage(|way| format!("{}\n{PROBE}", both(way)), [2, 2]);
}

#[test]
fn the_second_tier_serves_while_the_first_is_down() {
    let pool = |way: &Way| {
        let [a, b] = way.servers;
        format!("tiers = [['{a}'], ['{b}']]\n{PROBE}")
    };
    check_outage(pool, [4, 0]);
}

#[test]
fn a_backend_that_is_disabled_or_drained_gets_nobody_new() {
    let Some(table) = Table::start(both) else { return };
    let old = table.open_all();
    for verb in ["disable", "drain"] {
        table.each(|way| {
            table.rig.ctl(&format!("{verb} {}/0.0", way.name));
            table.wait_for(way, [0, 4]);
        });
        old.iter().for_each(Session::goes_on);
        table.each(|way| {
            table.rig.ctl(&format!("enable {}/0.0", way.name));
            table.wait_for(way, [2, 2]);
        });
    }
    old.iter().for_each(Session::goes_on);
    table.check_who_served();
}
