//! Which instance is meant, and who may speak to it.

use crate::support::{Backend, Done, Place, Program, port, skip_unless};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

#[test]
fn without_an_instance_the_status_is_69() {
    let place = Place::new();
    let done = place.ctl("status").check(69);
    assert!(done.stderr.contains(&place.runtime().display().to_string()), "{}", done.stderr);
    assert!(!place.runtime().exists(), "asking creates nothing");
    let done = place.ctl("--listen 8080 status").check(69);
    assert!(done.stderr.contains("no running instance found in"), "{}", done.stderr);
    assert!(done.stderr.contains("listens on port 8080"), "{}", done.stderr);
    let done = place.ctl("--admin /no/such/socket status").check(69);
    assert!(done.stderr.contains("/no/such/socket"), "{}", done.stderr);
}

#[test]
fn with_two_instances_both_are_named() {
    let (place, first, second) = (Place::new(), port(), port());
    let a = Backend::named("a");
    let _first = place.native(&format!("{first} {a}"));
    place.ctl("status").check(0);
    let _second = place.native(&format!("127.0.0.1:{second} {a}"));
    let done = place.ctl("status").check(69);
    for name in [format!("*:{first}"), format!("127.0.0.1:{second}"), "--listen".to_owned()] {
        assert!(done.stderr.contains(&name), "{:?} lacks {name:?}", done.stderr);
    }
    let done = place.ctl(&format!("--listen {second} status")).check(0);
    assert!(done.stdout.contains(&second.to_string()) && !done.stdout.contains(&first.to_string()));
    let done = place.ctl(&format!("status --listen {first}")).check(0);
    assert!(done.stdout.contains(&first.to_string()));
    let sockets = place.sockets();
    for socket in &sockets {
        place.ctl(&format!("--admin {} status", socket.display())).check(0);
    }
    assert_eq!(sockets.len(), 2);
}

#[test]
fn a_socket_that_never_answers_holds_nobody_up() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{port} {a}"));
    let silent: Vec<_> = (1..4)
        .map(|it| UnixListener::bind(place.runtime().join(format!("evenkeel.{it}.sock"))).unwrap())
        .collect();
    let begun = Instant::now();
    place.ctl("status").check(0);
    place.ctl(&format!("--listen {port} status")).check(0);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    drop(evenkeel);
    let said = place.ctl("status").check(69).stderr;
    assert!(said.contains("nothing was heard"), "{said}");
    drop(silent);
}

#[test]
fn listen_takes_what_status_prints() {
    let (place, first, second) = (Place::new(), port(), port());
    let a = Backend::named("a");
    let unix = format!("unix:{}", place.file("front").display());
    let binds = [format!("*:{first}"), format!("127.0.0.1:{second}"), unix];
    let listens = [first.to_string(), binds[1].clone(), binds[2].clone()];
    let _running = listens.map(|listen| place.native(&format!("{listen} {a}")));
    for bind in &binds {
        let done = place.ctl(&format!("--listen {bind} status")).check(0);
        assert!(done.stdout.contains(&format!("{bind}: 0 sessions open")), "{bind}: {done:?}");
    }
    place.ctl(&format!("--listen 127.0.0.1:{first} status")).check(69);
    place.ctl("--listen http status").check(2);
}

#[test]
fn a_runtime_directory_of_another_user_is_not_trusted() {
    if skip_unless(rustix::process::geteuid().is_root(), "this needs root") {
        return;
    }
    let place = Place::new();
    std::fs::set_permissions(place.file(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(place.runtime()).unwrap();
    std::os::unix::fs::chown(place.runtime(), Some(1), Some(1)).unwrap();
    std::fs::set_permissions(place.runtime(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let done = Done::run(&mut place.as_nobody("evenkeel", "ctl status"), "").check(1);
    assert!(done.stderr.contains("belongs to user 1"), "{}", done.stderr);
}

#[test]
fn what_an_answer_says_does_not_reach_the_terminal_raw() {
    let place = Place::new();
    let socket = place.file("fake.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The request fits into one read, and the answer must not come before it.
        std::io::Read::read(&mut stream, &mut [0; 4096]).unwrap();
        let body = concat!(
            r#"{"version":"\u001b[2J","pid":1,"uptime_seconds":0,"#,
            r#""shutting_down":false,"revision":1,"workers":[],"listeners":[],"departed_listeners":[],"departed_backends":[],"names":[],"pools":[]}"#
        );
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        std::io::Write::write_all(&mut stream, format!("{head}{body}").as_bytes()).unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    });
    let done = place.ctl(&format!("--admin {} status", socket.display())).check(0);
    assert!(done.stdout.starts_with("evenkeel ?[2J, pid 1"), "{:?}", done.stdout);
}

#[test]
fn an_instance_that_died_is_not_counted() {
    let (place, first, second) = (Place::new(), port(), port());
    let a = Backend::named("a");
    let mut dead = place.native(&format!("{first} {a}"));
    dead.kill();
    let _alive = place.native(&format!("{second} {a}"));
    let done = place.ctl("status").check(0);
    assert!(done.stdout.contains(&format!("*:{second}")), "{}", done.stdout);
}

#[test]
fn only_the_owner_may_speak_to_it() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}"));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&place.socket()) & 0o7777, 0o600);
    assert_eq!(mode(&place.runtime()) & 0o7777, 0o700);
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(std::fs::metadata(place.socket()).unwrap().uid(), uid);
}

#[test]
fn another_user_is_refused() {
    if skip_unless(rustix::process::geteuid().is_root(), "this needs root") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}"));
    for path in [place.runtime(), place.file("")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let words = format!("ctl --admin {} status", place.socket().display());
    let done = Done::run(&mut place.as_nobody("evenkeel", &words), "").check(1);
    assert!(done.stderr.contains("that instance runs as another user"), "{}", done.stderr);
    assert_eq!(done.stdout, "");
    // Found by itself, too, and where not even the directory can be read.
    let done = Done::run(&mut place.as_nobody("evenkeel", "ctl status"), "").check(1);
    assert!(done.stderr.contains("another user"), "{}", done.stderr);
    std::fs::set_permissions(place.runtime(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let done = Done::run(&mut place.as_nobody("evenkeel", "ctl status"), "").check(1);
    assert!(done.stderr.contains("run as another user"), "{}", done.stderr);
}

#[test]
fn an_ordinary_user_can_run_and_control_one() {
    if skip_unless(rustix::process::geteuid().is_root(), "this needs root") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    std::fs::set_permissions(place.file(""), std::fs::Permissions::from_mode(0o777)).unwrap();
    let evenkeel = Program::spawn(&mut place.as_nobody("evenkeel", &format!("{port} {a}")));
    evenkeel.log.wait("admin socket");
    let done = Done::run(&mut place.as_nobody("evenkeel", "ctl disable 0.0"), "").check(0);
    assert_eq!(done.stdout, "done\n");
    assert!(evenkeel.log.wait("command").contains("by=65534 "));
    // Root may too, and says where.
    let done = place.ctl("enable 0.0").check(0);
    assert_eq!(done.stdout, "done\n");
    Done::run(&mut place.as_nobody("evenkeel", "ctl shutdown"), "").check(0);
}

#[test]
fn another_user_is_refused_even_where_the_file_would_let_them_in() {
    if skip_unless(rustix::process::geteuid().is_root(), "this needs root") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}"));
    for (path, mode) in [(place.file(""), 0o755), (place.runtime(), 0o755), (place.socket(), 0o666)]
    {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let words = format!("ctl --admin {} status", place.socket().display());
    let done = Done::run(&mut place.as_nobody("evenkeel", &words), "").check(1);
    assert_eq!(done.stdout, "");
    place.ctl("status").check(0);
}

#[test]
fn a_service_with_its_own_runtime_directory_is_found_by_root_and_by_its_user() {
    if skip_unless(rustix::process::geteuid().is_root(), "this needs root") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let open = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(place.file(""), open(0o755)).unwrap();
    let service = place.runtime().join("service");
    std::fs::create_dir_all(&service).unwrap();
    std::os::unix::fs::chown(&service, Some(65_534), Some(65_534)).unwrap();
    std::fs::set_permissions(&service, open(0o700)).unwrap();
    let directories = format!("{}:/run/another", service.display());
    let as_service = |words: &str| {
        let mut command = place.as_nobody("evenkeel", words);
        command.env_remove("EVENKEEL_RUNTIME_DIR").env("RUNTIME_DIRECTORY", &directories);
        command
    };
    let evenkeel = Program::spawn(&mut as_service(&format!("{port} {a}")));
    let line = evenkeel.log.wait("admin socket");
    assert!(line.contains(&service.display().to_string()), "{line}");
    place.ctl("status").check(0);
    Done::run(&mut as_service("ctl status"), "").check(0);
    Done::run(&mut place.as_nobody("evenkeel", "ctl status"), "").check(0);
}
