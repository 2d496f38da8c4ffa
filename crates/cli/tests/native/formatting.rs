//! `evenkeel fmt` and `evenkeel schema`.

use crate::support::{Done, Place};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

const UGLY: &str = "# The web.\n[pools.web]\nbackends=['app1']   # one\npolicy='hash'\n";
const NEAT: &str = "# The web.\n[pools.web]\npolicy = \"hash\"\nbackends = [\"app1\"]   # one\n";

#[test]
fn a_file_is_rewritten_once_with_its_mode_and_comments() {
    let place = Place::new();
    let file = place.file("a.toml");
    fs::write(&file, UGLY).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("a.toml", place.file("link.toml")).unwrap();
    let check = place.run("evenkeel", "fmt --check a.toml").check(1);
    assert_eq!(check.stderr, "a.toml: not as `evenkeel fmt` writes it\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), UGLY);
    place.run("evenkeel", "fmt link.toml").check(0);
    assert_eq!(fs::read_to_string(&file).unwrap(), NEAT);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(place.file("link.toml")).unwrap().is_symlink());
    place.run("evenkeel", "fmt --check a.toml").check(0);
    let left = fs::read_dir(place.file("")).unwrap().count();
    assert_eq!(left, 2, "a temporary file is left");
}

#[test]
fn standard_input_goes_to_standard_output() {
    let place = Place::new();
    let done = Done::run(&mut place.command("evenkeel", "fmt -"), UGLY).check(0);
    assert_eq!(done.stdout, NEAT);
    Done::run(&mut place.command("evenkeel", "fmt --check -"), UGLY).check(1);
    Done::run(&mut place.command("evenkeel", "fmt --check -"), NEAT).check(0);
}

#[test]
fn what_cannot_be_formatted_is_left_alone() {
    let place = Place::new();
    fs::write(place.file("a.toml"), "[pools\n").unwrap();
    fs::write(place.file("b.toml"), b"a = '\xff'\n").unwrap();
    fs::create_dir(place.file("dir")).unwrap();
    for (name, reason) in [
        ("a.toml", "line 1"),
        ("b.toml", "not a text file"),
        ("dir", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        ("none.toml", "No such file or directory"),
    ] {
        let done = place.run("evenkeel", &format!("fmt {name}")).check(1);
        assert!(done.stderr.contains(name) && done.stderr.contains(reason), "{done:?}");
    }
    assert_eq!(fs::read_to_string(place.file("a.toml")).unwrap(), "[pools\n");
    place.run("evenkeel", "fmt a b").check(2);
}

#[test]
fn the_schema_is_json() {
    let done = Place::new().run("evenkeel", "schema").check(0);
    let schema: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

#[test]
fn every_start_form_prints_itself_as_a_file() {
    let place = Place::new();
    for (words, expected) in [
        (
            "--print-config=toml 80 app1 -- --log-format json 81 app2",
            "[process]\nlog-format = \"json\"\n\n[listeners.80]\nbind = 80\npool = \"80\"\n\n\
             [pools.80]\nbackends = [\"app1:80\"]\n\n[listeners.81]\nbind = 81\npool = \"81\"\n\n\
             [pools.81]\nbackends = [\"app2:81\"]\n",
        ),
        (
            "balance --print-config=toml -f 80 127.0.0.1 % 127.0.0.2",
            "[listeners.main]\nbind = \"0.0.0.0:80\"\npool = \"main\"\nhalf-close-timeout = \"never\"\n\
             backend-half-close-timeout = \"1s\"\nshutdown-timeout = \"never\"\ncut = \"close\"\n\n\
             [pools.main]\nquarantine = \"0s\"\nhash-failover = \"later-tiers\"\nfixed-places = true\n\
             tiers = [{ policy = \"hash\", backends = [\"127.0.0.1:80\"] }, [\"127.0.0.2:80\"]]\n",
        ),
        (
            "pen --print-config=toml -f 80 127.0.0.1:81:5",
            "[listeners.main]\nbind = \"0.0.0.0:80\"\npool = \"main\"\nshare-port = true\n\
             max-sessions = 500\nmax-connecting = 100\nconnect-timeout = \"3s\"\n\
             shutdown-timeout = \"0s\"\ncut = \"close\"\n\n[pools.main]\npolicy = \"rotation\"\n\
             quarantine = \"30s\"\nno-last-resort = true\naffinity = 2048\nfixed-places = true\n\
             backends = [\"127.0.0.1:81:5\"]\n",
        ),
    ] {
        let done = place.run("evenkeel", words).check(0);
        assert_eq!(done.stdout, expected, "{words}: {}", done.stdout);
        let neat = Done::run(&mut place.command("evenkeel", "fmt --check -"), &done.stdout);
        neat.check(0);
    }
    let done = place.run("evenkeel", "--print-config=yaml 80 app1").check(2);
    assert!(done.stderr.contains("line, toml"), "{done:?}");
}
