//! PostgreSQL: 80 MB in and out again over `COPY`.

use std::{os::unix::fs::chown, process::Command};

use super::{
    files::{check_same, write_rows},
    place::{Place, Servers, check, command, find, is_root, tried},
};
use crate::{Check, Failure};

/// A fresh cluster; both backends lead to it, because each COPY is a connection of its own.
pub fn start(place: &Place, ports: &[u16]) -> Check<Servers> {
    let data = place.make_dir("data")?;
    if is_root() {
        tried("the cluster's directory to be postgres's", chown(&data, Some(user_id()?), None))?;
    }
    let init = ["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C", "-E"];
    place.client(&mut as_postgres("initdb", init.into_iter().chain(["UTF8"])))?;
    let port = ports[0].to_string();
    // A sequential scan may otherwise start in the middle of a large table.
    let settings = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "max_wal_size=4GB",
        "synchronize_seqscans=off",
    ];
    let settings = settings.into_iter().flat_map(|setting| ["-c", setting]);
    let args = ["-D", &data, "-p", &port].into_iter().chain(settings);
    let server = place.server(&ports[..1], &mut as_postgres("postgres", args))?;
    Ok(vec![Box::new(server)])
}

/// In, counted, out, compared.
pub fn exercise(place: &Place, port: u16, _servers: &mut Servers) -> Check {
    let rows = write_rows(place, "rows", ROWS)?;
    let back = place.text("rows-back");
    let psql = |sql: &str| {
        let url = format!("postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
        place.client(&mut command("psql", ["-X", "-q", "-A", "-t", &url, "-c", sql]))
    };
    psql("create table rows (id bigint, text text)")?;
    psql(&format!("\\copy rows from '{rows}'"))?;
    let count = psql("select count(*), sum(id) from rows")?;
    let expected = format!("{ROWS}|{}", ROWS * (ROWS - 1) / 2);
    check(count.trim() == expected, &expected, count.trim())?;
    psql(&format!("\\copy rows to '{back}'"))?;
    check_same(place, "rows", "rows-back")
}

/// PostgreSQL refuses to run as root.
fn as_postgres<'a>(program: &'a str, args: impl Iterator<Item = &'a str>) -> Command {
    let path = find(program).unwrap_or_else(|| program.into()).to_string_lossy().into_owned();
    let args: Vec<&str> = args.collect();
    let mut command = if is_root() {
        command("runuser", [&["-u", "postgres", "--", &path][..], &args].concat())
    } else {
        command(&path, args)
    };
    // Not where the postgres user may not look.
    command.current_dir("/");
    command
}

fn user_id() -> Check<u32> {
    let users = tried("/etc/passwd to be read", std::fs::read_to_string("/etc/passwd"))?;
    let entry = users.lines().find_map(|line| line.strip_prefix("postgres:"));
    entry
        .and_then(|entry| entry.split(':').nth(1)?.parse().ok())
        .ok_or_else(|| Failure::new("a user postgres", "none in /etc/passwd"))
}

/// At about 215 bytes each, a little over 80 MB.
const ROWS: u64 = 390_000;
