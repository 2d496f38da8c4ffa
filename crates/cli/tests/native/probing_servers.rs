//! Probes of real servers: up, stopped as by SIGSTOP, and dead; and what their logs say of probes.

use crate::postgres::{bin, home, postgres};
use crate::support::{Done, PATIENCE, Place, Port, port, skip_unless, until};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server with all its processes, killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub port: Port,
    dir: tempfile::TempDir,
}

impl Server {
    /// Starts `program` in a directory of its own, with `{port}` and `{dir}` filled in; `config`
    /// becomes the file `{dir}/conf`. `None` if it is not installed.
    pub fn start(program: &str, args: &str, config: &str) -> Option<Self> {
        let found = find(program);
        if skip_unless(found.is_some(), &format!("this needs {program}")) {
            return None;
        }
        let (dir, port) = (directory(), port());
        let fill = |text: &str| {
            let text = text.replace("{port}", &port.to_string());
            text.replace("{dir}", &dir.path().display().to_string())
        };
        fs::write(dir.path().join("conf"), fill(config)).unwrap();
        let mut command = Command::new(found?);
        command.args(fill(args).split_whitespace());
        Some(Self::run(&mut command, dir, port))
    }

    fn spawn(command: &mut Command, dir: tempfile::TempDir, port: Port) -> Self {
        let log = fs::File::create(dir.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.process_group(0).spawn().unwrap();
        Self { child, port, dir }
    }

    fn run(command: &mut Command, dir: tempfile::TempDir, port: Port) -> Self {
        let server = Self::spawn(command, dir, port);
        let address = ([127, 0, 0, 1], server.port.number()).into();
        let tries = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_ok();
        until(&format!("the server to listen: {}", server.log()), tries);
        server
    }

    fn signal(&self, signal: Signal) {
        let group = Pid::from_child(&self.child);
        kill_process_group(group, signal).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    dirs.map(|dir| dir.join(program)).find(|it| it.is_file())
}

/// One that servers can enter when they have given up their privileges.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("ekprobe").tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// The server is healthy; down while it is stopped; healthy again; and down when it is dead.
#[track_caller]
fn check(probe: &str, server: Option<Server>) {
    let Some(server) = server else { return };
    let (place, listen) = (Place::new(), port());
    let mut command = place.command("evenkeel", "");
    let backend = format!("127.0.0.1:{}", server.port);
    command.args([&listen.to_string(), &backend, "--probe", probe]);
    command.args(["--probe-interval", "200ms", "--probe-timeout", "500ms", "--fall", "2"]);
    let evenkeel = crate::support::Program::spawn(&mut command);
    evenkeel.log.wait("admin socket");
    let wait_for = |health: &str, error: &str| {
        let mut row = place.backend(0, 0);
        let begin = std::time::Instant::now();
        while row["health"] != health && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
            row = place.backend(0, 0);
        }
        assert_eq!(row["health"], health, "{probe}: {row:#}\n{}", server.log());
        let is = row["probe"]["last_error"].as_str().unwrap_or_default();
        assert!(is.contains(error), "{probe}: {is}");
    };
    wait_for("healthy", "");
    server.signal(Signal::STOP);
    wait_for("down", "no answer within 500ms");
    server.signal(Signal::CONT);
    wait_for("healthy", "");
    let port = server.port.number();
    let pid = Pid::from_child(&server.child);
    kill_process_group(pid, Signal::KILL).unwrap();
    until("the port to be closed", || TcpStream::connect(("127.0.0.1", port)).is_err());
    wait_for("down", "");
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn nginx() {
    let config = "daemon off; worker_processes 1; error_log stderr; pid {dir}/pid;\n\
                  events {} http { access_log off; server { listen 127.0.0.1:{port};\n\
                  location = /healthz { return 204; } location / { return 404; } } }";
    check("http:/healthz", Server::start("nginx", "-c {dir}/conf -e stderr", config));
}

#[test]
fn redis() {
    let args = "--port {port} --dir {dir} --save  --bind 127.0.0.1";
    check("redis", Server::start("redis-server", args, ""));
    check("redis role=primary", Server::start("redis-server", args, ""));
}

#[test]
fn slapd() {
    let config = "include /etc/ldap/schema/core.schema\nmodulepath /usr/lib/ldap\n\
                  moduleload back_mdb\npidfile {dir}/pid\nargsfile {dir}/args\ndatabase mdb\n\
                  suffix dc=example,dc=org\ndirectory {dir}\n";
    let args = "-f {dir}/conf -h ldap://127.0.0.1:{port} -d 0";
    check("ldap", Server::start("slapd", args, config));
}

#[test]
fn vsftpd() {
    let user = if is_root() { "" } else { "run_as_launching_user=YES\n" };
    let config = format!(
        "listen=YES\nbackground=NO\nlisten_address=127.0.0.1\nlisten_port={{port}}\n\
         anonymous_enable=YES\nsecure_chroot_dir={{dir}}\nseccomp_sandbox=NO\n{user}"
    );
    check("ftp", Server::start("vsftpd", "{dir}/conf", &config));
}

#[test]
fn sshd() {
    if skip_unless(find("sshd").is_some() && is_root(), "this needs sshd, and root") {
        return;
    }
    let _ = fs::create_dir("/run/sshd"); // as Debian's init script does
    let keys = directory();
    let key = keys.path().join("key").display().to_string();
    let mut keygen = Command::new("ssh-keygen");
    Done::run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &key]), "").check(0);
    let config = format!("Port {{port}}\nListenAddress 127.0.0.1\nHostKey {key}\nUsePAM no\n");
    check("ssh", Server::start("sshd", "-D -e -f {dir}/conf", &config));
}

#[test]
fn mosquitto() {
    let config = "listener {port} 127.0.0.1\nallow_anonymous true\n";
    check("mqtt", Server::start("mosquitto", "-c {dir}/conf", config));
    let config = "listener {port} 127.0.0.1\nallow_anonymous false\n";
    check("mqtt", Server::start("mosquitto", "-c {dir}/conf", config));
}

#[test]
fn memcached() {
    let args = "-u nobody -l 127.0.0.1 -p {port} -U 0";
    check("memcached", Server::start("memcached", args, ""));
}

#[test]
fn dnsmasq() {
    let args = "-k -C /dev/null -p {port} -a 127.0.0.1 -z --no-resolv --no-hosts \
                --address=/test.example/192.0.2.1 --user=root --pid-file={dir}/pid";
    check("dns:test.example", Server::start("dnsmasq", args, ""));
    check("dns:test.example over=udp", Server::start("dnsmasq", args, ""));
}

#[test]
fn chrony() {
    if skip_unless(find("chronyd").is_some() && is_root(), "this needs chronyd, and root") {
        return;
    }
    let (dir, port) = (directory(), port());
    // A clock of its own, which counts as synchronized; `-x` leaves that of the system alone.
    let config = format!(
        "port {port}\nbindaddress 127.0.0.1\ncmdport 0\nallow 127.0.0.1\nlocal stratum 8\n\
         pidfile {0}/pid\n",
        dir.path().display()
    );
    fs::write(dir.path().join("conf"), config).unwrap();
    let mut command = Command::new(find("chronyd").unwrap());
    command.args(["-x", "-d", "-u", "root", "-f"]).arg(dir.path().join("conf"));
    let server = Server::spawn(&mut command, dir, port);
    until("chronyd to start", || {
        server.log().contains("Frequency") || server.log().contains("version")
    });
    check("ntp", Some(server));
}

#[test]
fn dovecot() {
    if skip_unless(is_root(), "dovecot needs root") {
        return;
    }
    let mut config = String::from(
        "base_dir = {dir}/run\nlog_path = {dir}/dovecot.log\nprotocols = PROTOCOL\nssl = no\n\
         disable_plaintext_auth = no\nlisten = 127.0.0.1\npassdb {\n driver = static\n}\n\
         userdb {\n driver = static\n args = uid=nobody gid=nogroup home={dir}\n}\n",
    );
    for protocol in ["imap", "pop3"] {
        config.push_str(&format!(
            "service {protocol}-login {{\n inet_listener {protocol} {{\n port = {{port}}\n }}\n \
             inet_listener {protocol}s {{\n port = 0\n }}\n}}\n"
        ));
    }
    // Only one of the two, since they would have one port.
    for (protocol, other) in [("imap", "pop3"), ("pop3", "imap")] {
        if skip_unless(
            PathBuf::from(format!("/usr/lib/dovecot/{protocol}-login")).exists(),
            &format!("this needs dovecot-{protocol}d"),
        ) {
            continue;
        }
        let config = config.replace("PROTOCOL", protocol);
        let begin = config.find(&format!("service {other}-login")).unwrap();
        let end = begin + config[begin..].find("\n}\n").unwrap() + 3;
        let config = format!("{}{}", &config[..begin], &config[end..]);
        check(protocol, Server::start("dovecot", "-F -c {dir}/conf", &config));
    }
}

#[test]
fn opensmtpd() {
    let is_it = find("smtpd").is_some_and(|_| PathBuf::from("/etc/smtpd.conf").exists());
    if skip_unless(is_it && is_root(), "this needs opensmtpd, and root") {
        return;
    }
    let config = "listen on 127.0.0.1 port {port}\naction a relay\nmatch from any for any reject\n";
    check("smtp", Server::start("smtpd", "-d -f {dir}/conf", config));
}

/// A PostgreSQL that listens on all addresses, with what it says at its defaults in its log.
fn postgresql() -> Option<Server> {
    if skip_unless(bin("initdb").is_some(), "this needs PostgreSQL (postgresql)") {
        return None;
    }
    let (dir, port) = (directory(), port());
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    if is_root() {
        chown(&data, Some(home().uid()), Some(home().gid())).unwrap();
    }
    let data = data.display().to_string();
    let init = ["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C"];
    Done::run(&mut postgres("initdb", &init), "").check(0);
    let port_text = port.to_string();
    let settings = ["listen_addresses=*", "unix_socket_directories=", "fsync=off"];
    let mut args = vec!["-D", &data, "-p", &port_text];
    args.extend(settings.iter().flat_map(|setting| ["-c", setting]));
    let server = Server::run(&mut postgres("postgres", &args), dir, port);
    until("PostgreSQL to be ready", || server.log().contains("ready to accept"));
    Some(server)
}

#[test]
fn postgres_up_stopped_and_dead() {
    check("pgsql", postgresql());
    check("pgsql role=primary", postgresql());
}

/// Probes the server at twenty of its addresses, ten times a second.
fn probe_much(place: &Place, server: &Server, probe: &str) -> crate::support::Program {
    let mut command = place.command("evenkeel", "");
    command.arg(port().to_string());
    command.args((1..=20).map(|host| format!("127.0.1.{host}:{}", server.port)));
    command.args(["--probe", probe, "--probe-interval", "100ms", "--probe-timeout", "5s"]);
    let evenkeel = crate::support::Program::spawn(&mut command);
    evenkeel.log.wait("admin socket");
    evenkeel
}

#[test]
fn a_thousand_probes_leave_no_line_in_the_log_of_postgresql() {
    let Some(server) = postgresql() else { return };
    let place = Place::new();
    let log = server.log();
    let evenkeel = probe_much(&place, &server, "pgsql");
    let query = "select sum(sessions) from pg_stat_database";
    let url = format!("postgresql://postgres@127.0.0.1:{}/postgres?sslmode=disable", server.port);
    let sessions = || {
        let mut psql = Command::new("psql");
        let done = Done::run(psql.args(["-X", "-q", "-A", "-t", &url, "-c", query]), "");
        done.stdout.trim().parse().unwrap_or(0)
    };
    until("a thousand sessions", || sessions() >= 1000);
    assert!((0..20).all(|index| place.backend(0, index)["health"] == "healthy"));
    assert_eq!(server.log(), log);
    drop(evenkeel); // cuts the probes under way, which may leave a line
}

/// A MariaDB with a user `probe` that has no password and blocks hosts after ten errors.
fn mariadb() -> Option<Server> {
    let can = find("mariadbd").is_some() && find("mariadb-install-db").is_some();
    if skip_unless(can && is_root(), "this needs mariadbd (mariadb-server), and root") {
        return None;
    }
    let (dir, port) = (directory(), port());
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let (data, socket) = (data.display().to_string(), dir.path().join("socket"));
    let mut install = Command::new("mariadb-install-db");
    let user = ["--no-defaults", "--user=root", "--auth-root-authentication-method=normal"];
    Done::run(install.args(user).args([&format!("--datadir={data}")]), "").check(0);
    let mut command = Command::new(find("mariadbd")?);
    command.args(["--no-defaults", "--user=root", "--max-connect-errors=10"]);
    command.args(["--bind-address=0.0.0.0", &format!("--port={port}")]);
    command.args([&format!("--datadir={data}"), &format!("--socket={}", socket.display())]);
    let server = Server::run(&mut command, dir, port);
    until("MariaDB to be ready", || server.log().contains("ready for connections"));
    assert_eq!(mariadb_says(&server, "create user probe"), "");
    Some(server)
}

fn mariadb_says(server: &Server, text: &str) -> String {
    let socket = format!("--socket={}", server.dir.path().join("socket").display());
    let mut client = Command::new("mariadb");
    let done =
        Done::run(client.args(["--no-defaults", &socket, "-uroot", "-N", "-B", "-e", text]), "");
    (done.stdout + &done.stderr).trim().to_owned()
}

#[test]
fn mariadb_up_stopped_and_dead() {
    check("mysql user=probe", mariadb());
    check("mysql user=probe role=primary", mariadb());
}

#[test]
fn a_thousand_probes_of_mariadb_block_nobody_and_leave_no_line() {
    let Some(server) = mariadb() else { return };
    let place = Place::new();
    let log = server.log();
    let status = |name: &str| {
        let answer = mariadb_says(&server, &format!("show global status like '{name}'"));
        answer.split_whitespace().last().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0)
    };
    let aborted = || (status("Aborted_connects"), status("Aborted_clients"));
    let before = aborted(); // this test has only looked whether it listens
    let _evenkeel = probe_much(&place, &server, "mysql user=probe");
    until("a thousand connections", || status("Connections") >= 1000);
    assert!((0..20).all(|index| place.backend(0, index)["health"] == "healthy"));
    assert_eq!(aborted(), before);
    assert_eq!(server.log(), log);
}
