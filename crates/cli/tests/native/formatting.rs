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
