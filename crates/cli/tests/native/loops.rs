//! Backends that are the balancer itself.

use crate::support::{Place, port};

#[test]
fn a_backend_that_is_the_listener_is_refused_at_the_start() {
    let place = Place::new();
    let port = port();
    let unix = format!("unix:{}", place.file("loop").display());
    for (listen, backend) in [
        (format!("{port}"), "127.0.0.1".to_owned()),
        (format!("{port}"), "localhost".to_owned()),
        (format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}")),
        (format!("{port}"), format!("[::1]:{port}")),
        (format!("127.0.0.1:{port}"), format!("10.255.255.1:{port} ! 127.0.0.1")),
        (format!("127.0.0.1:{port}"), format!("127.0.0.2 --reject 127.0.0.1:{port}")),
        (unix.clone(), unix),
    ] {
        let done = place.run("evenkeel", &format!("{listen} {backend}")).check(1);
        assert!(done.stderr.contains("it would connect to itself"), "{backend}: {done:?}");
        assert_eq!(done.stderr.lines().count(), 1, "{done:?}");
        assert!(place.sockets().is_empty(), "{done:?}");
    }
}

#[test]
fn another_port_or_address_of_this_machine_is_no_loop() {
    let (place, port) = (Place::new(), port());
    let evenkeel = place.native(&format!("127.0.0.1:{port} 127.0.0.2:{port} 127.0.0.1:1"));
    evenkeel.log.wait("listening");
}
