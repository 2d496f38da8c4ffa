//! Sessions that end so that their clients connect again: by age, on command, or because a backend
//! is up again.

use crate::support::{Backend, Client, End, Place, port, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// A backend that echoes lines while it is well, and closes connections at once otherwise.
fn echo(is_well: &Arc<AtomicBool>) -> Backend {
    let is_well = Arc::clone(is_well);
    Backend::new(move |client| {
        if !is_well.load(SeqCst) {
            return;
        }
        client.send("hello\n");
        loop {
            let line = client.line();
            if ["eof", "reset", "silence"].contains(&&*line) {
                return;
            }
            client.send(line + "\n");
        }
    })
}

fn well(is_well: bool) -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(is_well))
}

fn clients(place: &Place, port: &crate::support::Port, count: u64) -> Vec<Client> {
    let clients: Vec<_> = (0..count).map(|_| Client::connect(port)).collect();
    clients.iter().for_each(|client| assert_eq!(client.line(), "hello"));
    until("all sessions", || place.sessions() == count);
    clients
}

#[test]
fn sessions_return_to_an_earlier_tier_that_is_up_again() {
    let (place, port, up) = (Place::new(), port(), well(false));
    let [primary, standby] = [echo(&up), echo(&well(true))];
    let probe = "--probe expect=hello --probe-interval 100ms --probe-timeout 1s";
    let words = format!("{port} {primary}::1 ! {standby} {probe} --on-up return --workers 1");
    let evenkeel = place.native(&words);
    until("down", || place.backend(0, 0)["health"] == "down");
    let clients = clients(&place, &port, 2);
    assert_eq!(place.backend(1, 0)["sessions"], 2);
    up.store(true, SeqCst);
    evenkeel.log.wait("reason=backend-up");
    until("one is cut", || place.sessions() == 1);
    let back = Client::connect(&port);
    assert_eq!(back.line(), "hello");
    assert_eq!(place.backend(0, 0)["sessions"], 1, "the primary has room for one");
    assert_eq!(place.backend(1, 0)["sessions"], 1, "so the other stays");
    assert_eq!(evenkeel.log.with("reason=backend-up").len(), 1);
    drop(clients);
}

#[test]
fn a_command_ends_the_sessions_that_are_too_many() {
    let (place, port) = (Place::new(), port());
    let [one, two] = [(); 2].map(|()| echo(&well(true)));
    let evenkeel = place.native(&format!("{port} {one} {two}"));
    place.ctl("disable 0.1").check(0);
    let old = clients(&place, &port, 4);
    assert_eq!(place.ctl("rebalance").check(0).stdout, "nothing to change\n");
    place.ctl("enable 0.1").check(0);
    place.ctl("rebalance --over 0s --share 25%").check(0);
    until("one has ended", || place.sessions() == 3);
    place.ctl("rebalance --over 0s").check(0);
    evenkeel.log.wait_nth("reason=rebalance", 1);
    until("a second one has ended", || place.sessions() == 2);
    let cut = old.iter().filter(|it| !it.is_silent_for(Duration::from_millis(50)));
    assert_eq!(cut.count(), 2);
    assert_eq!(place.backend(0, 0)["sessions"], 2);
    let refused = place.ctl("rebalance nowhere").check(1);
    assert!(refused.stderr.contains("no pool nowhere"), "{}", refused.stderr);
}

#[test]
fn a_session_ends_at_its_greatest_age_when_it_is_silent() {
    let (place, port, up) = (Place::new(), port(), well(true));
    let backend = echo(&up);
    let evenkeel = place.native(&format!("{port} {backend} --max-age 1s"));
    let client = Client::connect(&port);
    assert_eq!(client.line(), "hello");
    assert_eq!(client.end(), End::Reset);
    let line = evenkeel.log.wait("reason=max-age");
    let duration = line.split("duration=").nth(1).unwrap();
    assert!(duration.starts_with("1.") && duration.contains('s'), "{line}");
}

#[test]
fn a_backend_that_is_enabled_again_gets_its_share_step_by_step() {
    let (place, port) = (Place::new(), port());
    let [one, two] = ["a", "b"].map(Backend::named);
    let ports = [one.port(), two.port()];
    let words = format!("{port} 127.0.0.1:{} 127.0.0.1:{} --warm-up 1h", ports[0], ports[1]);
    let _evenkeel = place.native(&words);
    let of_a = || (0..60).filter(|_| Client::connect(&port).line() == "a").count();
    assert_eq!(of_a(), 30, "at the start all get their shares");
    place.ctl("disable 0.0").check(0);
    place.ctl("enable 0.0").check(0);
    let warming = of_a();
    assert!(warming < 22, "{warming} of 60");
    place.ctl("disable 0.1").check(0);
    assert_eq!(of_a(), 60, "it is the only one");
}
