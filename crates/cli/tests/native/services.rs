//! Several services on one command line.

use crate::support::{Backend, Place, ask, ask_times, port, until};
use std::fs;

#[test]
fn services_have_backends_and_settings_of_their_own() {
    let (place, web, db) = (Place::new(), port(), port());
    let [a, b, c, d] = ["a", "b", "c", "d"].map(Backend::named);
    let line = format!("{web} {a} {b} --workers 2 -- {db} --policy priority {c}::9 ! {d}");
    let evenkeel = place.native(&line);
    assert_eq!(ask_times(&web, 4), "a b a b");
    assert_eq!(ask_times(&db, 3), "c c c");
    c.stop();
    assert_eq!(ask_times(&db, 2), "d d");
    assert_eq!(ask_times(&web, 2), "a b");
    assert_eq!(evenkeel.log.with("listening").len(), 2);
    let ended = || evenkeel.log.with("session ended");
    until("all sessions to be logged", || ended().len() == 11);
    let of = |listener: &str| ended().iter().filter(|line| line.contains(listener)).count();
    assert_eq!((of(&format!("listener=*:{web} ")), of(&format!("listener=*:{db} "))), (6, 5));
}

#[test]
fn commands_say_which_service() {
    let (place, web, db) = (Place::new(), port(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let _evenkeel = place.native(&format!("{web} {a} -- 127.0.0.1:{db} {b}"));
    let several = "evenkeel ctl: several backends are called 0.0; use the place that `evenkeel ctl status` shows\n";
    assert_eq!(place.ctl("disable 0.0").check(1).stderr, several);
    let status = place.ctl("status").check(0).stdout;
    for place in [format!("{web}/0.0 "), format!("127.0.0.1:{db}/0.0 ")] {
        assert!(status.contains(&place), "{status}");
    }
    place.ctl(&format!("disable 127.0.0.1:{db}/0.0")).check(0);
    place.ctl(&format!("add {web}/1 {b}")).check(0);
    place.ctl(&format!("enable {web}/{b}")).check(0);
    place.ctl(&format!("disable {web}/0.0")).check(0);
    assert_eq!((ask(&web), ask(&db)), ("b".to_owned(), "reset".to_owned()));
    // The instance is found by any of its addresses.
    for listen in [web.to_string(), db.to_string(), format!("127.0.0.1:{db}")] {
        place.ctl(&format!("--listen {listen} status")).check(0);
    }
    place.ctl("--listen 1 status").check(69);
}

#[test]
fn a_service_that_cannot_be_started_starts_none() {
    let (place, elsewhere, web, db) = (Place::new(), Place::new(), port(), port());
    let a = Backend::named("a");
    let _other = elsewhere.native(&format!("{db} {a}"));
    let failed = place.run("evenkeel", &format!("{web} {a} -- {db} {a}")).check(1);
    assert!(failed.stderr.starts_with(&format!("evenkeel: cannot listen on *:{db} ")));
    assert_eq!(ask(&web), "refused");
    let circle = place.run("evenkeel", &format!("{web} {a} -- 127.0.0.1:{web} {a}"));
    assert!(circle.check(1).stderr.contains("cannot listen on"));
    let words = format!("{web} {a} -- unix:{} 127.0.0.1:{web}", place.file("l").display());
    let circle = place.run("evenkeel", &words).check(1);
    assert!(circle.stderr.contains("is this process's own listener"), "{}", circle.stderr);
    let twice = place.run("evenkeel", &format!("{web} {a} -- *:{web} {a}")).check(2);
    let says = "two services listen on *:";
    assert!(twice.stderr.contains(says), "{}", twice.stderr);
}

#[test]
fn the_printed_line_has_all_services() {
    let place = Place::new();
    let line = "80 a --daemon -- [::1]:81 b ! c --policy random -- unix:/run/l d:1";
    let printed = place.run("evenkeel", &format!("{line} --print-config")).check(0).stdout;
    let expected =
        "evenkeel --daemon 80 a:80 -- --policy random '[::1]:81' b:81 ! c:81 -- unix:/run/l d:1\n";
    assert_eq!(printed, expected);
    let words = printed.trim_start_matches("evenkeel ").replace('\'', "");
    assert_eq!(place.run("evenkeel", &format!("{words} --print-config")).check(0).stdout, expected);
}

#[test]
fn what_a_further_service_costs() {
    let a = Backend::named("a");
    // Behind Unix sockets, since a hundred free ports are hard to come by.
    let pss = |services: usize| {
        let place = Place::new();
        let service =
            |number: usize| format!("unix:{} {a}", place.file(&number.to_string()).display());
        let line: Vec<_> = (0..services).map(service).collect();
        let evenkeel = place.native(&format!("{} --workers 2", line.join(" -- ")));
        let pid = evenkeel.pid().as_raw_nonzero();
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let (one, many) = (pss(1), pss(101));
    eprintln!("{one} kB with one service, {many} kB with 101");
    let each = many.saturating_sub(one).div_ceil(100);
    assert!(each <= 8, "{each} kB for each further service");
}
