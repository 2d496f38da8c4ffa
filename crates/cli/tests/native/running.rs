//! A start from a configuration file.

use super::support::{Backend, Place, ask, port};
use std::fs;

#[test]
fn variables_and_the_files_beside_it_belong_to_a_file() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    fs::create_dir(place.file("conf.d")).unwrap();
    let listener = format!("[listeners.web]\nbind = {port}\npool = 'web'\n");
    fs::write(place.file("lb.toml"), listener).unwrap();
    fs::write(place.file("conf.d/web.toml"), "[pools.web]\nbackends = ['${APP}']\n").unwrap();
    let mut command = place.command("evenkeel", "run lb.toml");
    let program = super::support::Program::spawn(command.env("APP", a.to_string()));
    program.log.wait("admin socket");
    assert_eq!(ask(&port), "a");
    let status = place.status();
    assert_eq!(status["file"], place.file("lb.toml").display().to_string());
    assert_eq!(status["revision"], 1);
}

#[test]
fn everything_that_is_wrong_with_a_file_is_said_and_nothing_starts() {
    let (place, port) = (Place::new(), port());
    let text = format!("[listeners.web]\nbnid = {port}\npool = 'web'\n[pools.web]\nbackend = 1\n");
    fs::write(place.file("lb.toml"), text).unwrap();
    let said = place.run("evenkeel", "run lb.toml").check(1).stderr;
    for position in ["lb.toml:2:1", "lb.toml:5:1"] {
        assert!(said.contains(position), "{said}");
    }
    let checked = place.run("evenkeel", "check --offline lb.toml").check(1).stdout;
    let reports = checked.rsplit_once("lb.toml: ").unwrap().0;
    let dir = format!("{}/", place.file("").display().to_string().trim_end_matches('/'));
    assert_eq!(said.replace(&dir, ""), reports);
    assert!(place.all_sockets().is_empty());
}

#[test]
fn what_is_not_a_file_is_refused_at_once() {
    let place = Place::new();
    assert!(std::process::Command::new("mkfifo").arg(place.file("f")).status().unwrap().success());
    for (name, reason) in [("f", "not a regular file"), ("none", "No such file")] {
        let said = place.run("evenkeel", &format!("run {name}")).check(1).stderr;
        assert!(said.contains(reason) && said.contains(name), "{said}");
        assert!(said.starts_with("evenkeel: cannot read "), "{said}");
    }
}
