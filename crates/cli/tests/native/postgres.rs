//! A fail-over of a real PostgreSQL pair, and a restart of the balancer after it.

use crate::routing::Authority;
use crate::support::{Client, Done, End, PATIENCE, Place, Port, Program, port, skip_unless, until};
use rustix::process::Signal;
use std::fs::{self, Metadata, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// A primary and its standby, in a directory of their own.
pub struct Pair {
    dir: tempfile::TempDir,
    pub ports: [Port; 2],
}

impl Pair {
    /// Of which the first node is initialized.
    pub fn new() -> Option<Self> {
        let can = bin("initdb").is_some() && bin("pg_basebackup").is_some();
        if skip_unless(can, "this needs PostgreSQL (postgresql)") {
            return None;
        }
        let dir = tempfile::Builder::new().prefix("ekpg").tempdir().unwrap();
        if rustix::process::geteuid().is_root() {
            chown(dir.path(), Some(home().uid()), None).unwrap();
        }
        let pair = Self { dir, ports: [port(), port()] };
        pair.initialize(0);
        Some(pair)
    }

    pub fn initialize(&self, node: usize) {
        let data = self.data(node);
        let init = ["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C"];
        Done::run(&mut postgres("initdb", &init), "").check(0);
    }

    fn data(&self, node: usize) -> String {
        self.dir.path().join(format!("node{node}")).display().to_string()
    }

    pub fn start(&self, node: usize) -> Program {
        self.start_with(node, &[])
    }

    fn start_with(&self, node: usize, more: &[&str]) -> Program {
        let (data, port) = (self.data(node), self.ports[node].to_string());
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "log_connections=on",
        ];
        let mut args = vec!["-D", &data, "-p", &port];
        args.extend(settings.iter().chain(more).flat_map(|setting| ["-c", setting]));
        let program = Program::spawn(&mut postgres("postgres", &args));
        program.log.wait("ready to accept");
        program
    }

    /// Starts the first node, and the second one as its standby.
    fn replicate(&self) -> [Program; 2] {
        let primary = self.start(0);
        let (data, port) = (self.data(1), self.ports[0].to_string());
        let copy =
            ["-D", &data, "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-R", "-c", "fast"];
        Done::run(&mut postgres("pg_basebackup", &copy), "").check(0);
        [primary, self.start(1)]
    }
}

/// Where a program of PostgreSQL is.
pub fn bin(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let clusters = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let clusters = clusters.map(|entry| entry.path().join("bin"));
    std::env::split_paths(&path).chain(clusters).map(|dir| dir.join(name)).find(|it| it.is_file())
}

/// PostgreSQL refuses to run as root.
pub fn postgres(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(bin(name).unwrap());
    command.args(args).current_dir("/");
    if rustix::process::geteuid().is_root() {
        let home = home();
        command.uid(home.uid()).gid(home.gid());
    }
    command
}

/// The directory of the user postgres.
pub fn home() -> Metadata {
    fs::metadata("/var/lib/postgresql").unwrap()
}

/// The answer of whoever is behind this port; an error's text if there is none.
fn sql(port: &Port, text: &str) -> String {
    let url = format!(
        "postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable&connect_timeout={}",
        PATIENCE.as_secs()
    );
    let mut psql = Command::new("psql");
    let done = Done::run(psql.args(["-X", "-q", "-A", "-t", &url, "-c", text]), "");
    (done.stdout + &done.stderr).trim().to_owned()
}

#[test]
fn no_session_goes_to_the_old_primary_after_a_restart() {
    let Some(pair) = Pair::new() else { return };
    let place = Place::new();
    let [old, new] = &pair.ports;
    let [mut primary, standby] = pair.replicate();
    let port = port();
    let state = place.file("state");
    let words = format!(
        "{port} 127.0.0.1:{old} ! 127.0.0.1:{new} --auto-disable --state {}",
        state.display()
    );
    let mut evenkeel = place.native(&words);
    assert_eq!(sql(&port, "create table t (i int); insert into t values (1)"), "");
    assert_eq!(sql(&port, "show port"), old.to_string());
    until("the standby to have it", || sql(new, "select i from t") == "1");

    // The primary dies, and somebody promotes the standby.
    primary.signal(Signal::QUIT);
    primary.wait();
    assert_eq!(sql(new, "select pg_promote()"), "t");
    assert_eq!(sql(&port, "insert into t values (2); show port"), new.to_string());
    let file = state.join(format!("evenkeel.{port}.json"));
    until("the decision to be on disk", || {
        fs::read_to_string(&file).is_ok_and(|it| it.contains("disabled"))
    });

    // It comes back and would take writes, which nobody else would ever see.
    let primary = pair.start(0);
    assert_eq!(sql(old, "select pg_is_in_recovery()"), "f");
    let before = primary.log.with("connection received").len();
    for is_sudden in [true, false] {
        if is_sudden {
            evenkeel.kill();
        } else {
            evenkeel.signal(Signal::TERM);
            evenkeel.wait();
        }
        evenkeel = place.native(&words);
        for _ in 0..20 {
            assert_eq!(sql(&port, "insert into t values (3); show port"), new.to_string());
        }
    }
    assert_eq!(primary.log.with("connection received").len(), before);
    assert_eq!(sql(old, "select count(*) from t"), "1");
    assert_eq!(sql(new, "select count(*) from t"), "42");
    drop(standby);

    // Until an operator says that it can be used again.
    place.ctl("enable 0.0").check(0);
    assert_eq!(sql(&port, "show port"), old.to_string());
}

#[test]
fn clients_that_verify_names_reach_the_server_of_their_name() {
    let Some(pair) = Pair::new() else { return };
    let place = Place::new();
    let Some(authority) = Authority::new(&place) else { return };
    pair.initialize(1);
    let names = ["one.test", "two.test"];
    let servers = [0, 1].map(|node| {
        authority.certify(names[node]);
        let settings = ["pem", "key"].map(|kind| {
            let file = pair.dir.path().join(format!("{}.{kind}", names[node]));
            fs::copy(place.file(&format!("{}.{kind}", names[node])), &file).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            if rustix::process::geteuid().is_root() {
                chown(&file, Some(home().uid()), Some(home().gid())).unwrap();
            }
            let setting = if kind == "pem" { "ssl_cert_file" } else { "ssl_key_file" };
            format!("{setting}={}", file.display())
        });
        pair.start_with(node, &["ssl=on", &settings[0], &settings[1]])
    });
    let (port, [one, two]) = (port(), &pair.ports);
    let file = format!(
        "[listeners.db]\nbind = '127.0.0.1:{port}'\npool = 'one'\nstarttls = 'postgresql'\n\
         routes = [{{ sni = 'two.test', pool = 'two' }}]\n[pools]\n\
         one.backends = ['127.0.0.1:{one}']\ntwo.backends = ['127.0.0.1:{two}']\n"
    );
    fs::write(place.file("lb.toml"), file).unwrap();
    let evenkeel = place.native("run lb.toml");
    let ask = |name: &str, mode: &str| {
        let url = format!(
            "host={name} hostaddr=127.0.0.1 port={port} user=postgres sslmode={mode} \
             sslrootcert={} connect_timeout={}",
            place.file("ca.pem").display(),
            PATIENCE.as_secs()
        );
        let mut psql = Command::new("psql");
        let query = "select current_setting('port'), ssl from pg_stat_ssl \
                     where pid = pg_backend_pid()";
        let done = Done::run(psql.args(["-X", "-q", "-A", "-t", &url, "-c", query]), "");
        (done.stdout + &done.stderr).trim().to_owned()
    };
    assert_eq!(ask("one.test", "verify-full"), format!("{one}|t"));
    assert_eq!(ask("two.test", "verify-full"), format!("{two}|t"));
    assert_eq!(ask("two.test", "prefer"), format!("{two}|t"));
    assert_eq!(ask("two.test", "disable"), format!("{one}|f"));
    let refused = ask("three.test", "verify-full");
    assert!(refused.contains("does not match host name"), "{refused}");
    let line = evenkeel.log.wait("sni=two.test");
    assert!(line.contains(&format!("backend=127.0.0.1:{two}")), "{line}");
    // OpenSSL asks in the same way, and then speaks of the protocol, too.
    let words = format!(
        "s_client -connect 127.0.0.1:{port} -starttls postgres -servername two.test -brief \
         -CAfile ca.pem -verify_return_error"
    );
    let mut openssl = Command::new("openssl");
    let done = Done::run(openssl.args(words.split_whitespace()).current_dir(place.file("")), "");
    let said = done.stdout + &done.stderr;
    assert!(said.contains("CN = two.test") && said.contains("Verification: OK"), "{said}");
    drop(servers);
}

#[test]
fn tls_ends_before_a_server_that_has_none() {
    let Some(pair) = Pair::new() else { return };
    let place = Place::new();
    let Some(authority) = Authority::new(&place) else { return };
    authority.certify("db.test");
    let _server = pair.start(0);
    let (port, server) = (port(), &pair.ports[0]);
    let file = format!(
        "[listeners.db]\nbind = '127.0.0.1:{port}'\npool = 'db'\nstarttls = 'postgresql'\n\
         tls-cert = 'db.test.pem'\ntls-key = 'db.test.key'\n\
         [pools.db]\nbackends = ['127.0.0.1:{server}']\n"
    );
    fs::write(place.file("lb.toml"), file).unwrap();
    let evenkeel = place.native("run lb.toml");
    let ask = |mode: &str| {
        let url = format!(
            "host=db.test hostaddr=127.0.0.1 port={port} user=postgres sslmode={mode} \
             sslrootcert={} connect_timeout={}",
            place.file("ca.pem").display(),
            PATIENCE.as_secs()
        );
        let mut psql = Command::new("psql");
        let query = "\\conninfo \\\\ select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        let done = Done::run(psql.args(["-X", "-q", "-A", "-t", &url]), query);
        (done.stdout + &done.stderr).trim().to_owned()
    };
    let said = ask("verify-full");
    assert!(said.contains("SSL connection (protocol: TLSv1.3") && said.ends_with("\nf"), "{said}");
    let refused = ask("disable");
    assert!(refused.starts_with("psql: error: ") && refused.contains(" failed: "), "{refused}");
    evenkeel.log.wait("reason=tls-handshake-failed");
}

/// Evenkeel in front of a pair, whose primary probes find.
fn probed(pair: &Pair, place: &Place, port: &Port, words: &str) -> Program {
    let [first, second] = &pair.ports;
    let mut evenkeel = place.command("evenkeel", words);
    evenkeel.args([
        &port.to_string(),
        &format!("127.0.0.1:{first}"),
        &format!("127.0.0.1:{second}"),
    ]);
    evenkeel.args(["--probe", "pgsql role=primary", "--no-last-resort", "--fall", "2"]);
    let evenkeel = Program::spawn(&mut evenkeel);
    evenkeel.log.wait("admin socket");
    evenkeel
}

#[test]
fn writers_follow_the_primary_that_probes_find() {
    let Some(pair) = Pair::new() else { return };
    let (place, port) = (Place::new(), port());
    let [old, new] = &pair.ports;
    let [mut primary, _standby] = pair.replicate();
    let _evenkeel = probed(&pair, &place, &port, "--probe-interval 200ms");
    for _ in 0..4 {
        assert_eq!(sql(&port, "show port"), old.to_string());
    }
    until("the standby to be known", || place.backend(0, 1)["health"] == "down");
    assert_eq!(place.backend(0, 1)["probe"]["last_error"], "is a replica");
    primary.signal(Signal::QUIT);
    primary.wait();
    assert_eq!(sql(new, "select pg_promote()"), "t");
    until("the new primary to be known", || place.backend(0, 1)["health"] == "healthy");
    assert_eq!(sql(&port, "create table t (i int); show port"), new.to_string());
}

/// A session with PostgreSQL, in its protocol, up to the first "ready for query".
fn log_in(port: &Port) -> Client {
    let client = Client::connect(port);
    let parameters = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    let length = (parameters.len() as u32 + 4).to_be_bytes();
    client.send([length.as_slice(), parameters].concat());
    let mut answer = Vec::new();
    while !answer.ends_with(b"Z\0\0\0\x05I") {
        let mut piece = [0; 4096];
        let count = (&client.0).read(&mut piece).unwrap();
        assert!(count > 0, "the session ended after {answer:?}");
        answer.extend_from_slice(&piece[..count]);
    }
    client
}

/// The postmaster hangs, while the sessions that it has begun go on and could still write.
#[test]
fn nobody_stays_with_a_primary_that_hangs() {
    let Some(pair) = Pair::new() else { return };
    let (place, port) = (Place::new(), port());
    let [_, new] = &pair.ports;
    let [mut primary, _standby] = pair.replicate();
    let words = "--probe-interval 500ms --probe-timeout 400ms --on-down end-sessions";
    let evenkeel = probed(&pair, &place, &port, words);
    until("the standby to be known", || place.backend(0, 1)["health"] == "down");
    let writers = [(); 3].map(|()| log_in(&port));
    assert_eq!(place.backend(0, 0)["sessions"], 3);
    primary.signal(Signal::STOP);
    let stopped = Instant::now();
    for writer in &writers {
        assert_eq!(writer.end(), End::Reset);
    }
    let ended = stopped.elapsed();
    for _ in &writers {
        evenkeel.log.wait("reason=backend-down");
    }
    assert_eq!(sql(new, "select pg_promote()"), "t");
    until("writers on the new primary", || {
        sql(&port, "create table if not exists t (i int); show port") == new.to_string()
    });
    eprintln!("sessions ended after {ended:?}, writers elsewhere after {:?}", stopped.elapsed());
    assert_eq!(place.backend(0, 0)["sessions"], 0);
    primary.signal(Signal::CONT);
}
