//! Who may do what over which socket.

use crate::support::{Backend, Client, Place, Program, port};
use config::{Command, Role};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Who asks.
#[derive(Clone, Copy, Debug)]
enum Asker {
    /// A user and a group, whoever they are.
    User(u32, u32),
    /// With this token.
    Token(&'static str),
}

const VIEWER: Asker = Asker::User(54_001, 54_900);
const OPERATOR: Asker = Asker::User(54_901, 54_002);
const ADMIN: Asker = Asker::User(54_003, 54_902);
const STRANGER: Asker = Asker::User(54_002, 54_001); // the numbers of a group and of a user
const VIEW: Asker = Asker::Token("0123456789abcdef0123456789abcde0");
const OPERATE: Asker = Asker::Token("0123456789abcdef0123456789abcde1");
const ALL: Asker = Asker::Token("0123456789abcdef0123456789abcde2");
const WRONG: Asker = Asker::Token("0123456789abcdef0123456789abcde3");

/// Each command, in an order in which all can be carried out, and the role that it needs.
const COMMANDS: [(&str, Role); 14] = [
    (r#"{"command":"set-admin-state","backend":"0.0","state":"disabled"}"#, Role::Operate),
    (r#"{"command":"set-sessions-max","backend":"0.0","sessions_max":7}"#, Role::Operate),
    (r#"{"command":"quarantine","backend":"0.0","seconds":1}"#, Role::Operate),
    (r#"{"command":"reset-counters","backend":"0.0"}"#, Role::Operate),
    (r#"{"command":"kill-session","session":999}"#, Role::Operate),
    (r#"{"command":"add-backend","tier":0,"endpoint":"127.0.0.1:1"}"#, Role::Admin),
    (r#"{"command":"remove-backend","backend":"0.1"}"#, Role::Admin),
    (r#"{"command":"set-endpoint","backend":"0.0","endpoint":"127.0.0.1:2"}"#, Role::Admin),
    (r#"{"command":"set-policy","tier":0,"policy":"hash"}"#, Role::Admin),
    (r#"{"command":"reload"}"#, Role::Admin),
    (r#"{"command":"confirm"}"#, Role::Admin),
    (r#"{"command":"drain-all","seconds":3600}"#, Role::Admin),
    (r#"{"command":"cancel-drain-all"}"#, Role::Admin),
    (r#"{"command":"shutdown"}"#, Role::Admin),
];

/// What can be read, and the role that it needs.
const PAGES: [(&str, Role); 11] = [
    ("/", Role::View),
    ("/v1/status", Role::View),
    ("/v1/instance", Role::View),
    ("/v1/sessions", Role::View),
    ("/v1/config", Role::View),
    ("/v1/why?client=192.0.2.1", Role::View),
    ("/metrics", Role::View),
    ("/livez", Role::View),
    ("/readyz", Role::View),
    ("/v1/start", Role::Admin),
    ("/v1/tap?for=1ms", Role::Admin),
];

/// The status of the answer, or 0 if there is none.
fn ask(mut stream: impl Read + Write, method: &str, path: &str, head: &str, body: &str) -> u16 {
    let request = format!(
        "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         {head}\r\n{body}",
        body.len()
    );
    let mut answer = Vec::new();
    if stream.write_all(request.as_bytes()).is_ok() {
        let _ = stream.read_to_end(&mut answer);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
}

/// An instance with two Unix sockets and a TCP port for its administration.
struct Served {
    place: Place,
    evenkeel: Program,
    tcp: u16,
    /// Has a session with the backend, so that a drain does not end at once.
    client: Client,
    _backend: Backend,
}

impl Served {
    fn start() -> Self {
        let (place, a) = (Place::new(), Backend::echo());
        fs::set_permissions(place.file(""), Permissions::from_mode(0o711)).unwrap();
        let (listen, tcp) = (port(), port().number());
        let tokens = "# role, name, token\n\
                      view grafana 0123456789abcdef0123456789abcde0\n\
                      operate oncall 0123456789abcdef0123456789abcde1\n\
                      admin deploy 0123456789abcdef0123456789abcde2\n";
        fs::write(place.file("tokens"), tokens).unwrap();
        fs::set_permissions(place.file("tokens"), Permissions::from_mode(0o600)).unwrap();
        let file = format!(
            "[process]\nadmin = \"admin.sock\"\nview-socket = \"view.sock\"\n\
             viewers = \"54001\"\noperators = [\"@54002\"]\nadmins = [\"54003\"]\n\
             admin-listen = \"{tcp}\"\nadmin-tokens = \"tokens\"\n\
             [listeners]\nweb = \"{listen} {a}\"\n"
        );
        fs::write(place.file("file.toml"), file).unwrap();
        let evenkeel = place.native("run file.toml");
        let client = Client::connect(&listen);
        Self { place, evenkeel, tcp, client, _backend: a }
    }

    fn ask(&self, asker: Asker, socket: &str, method: &str, path: &str, body: &str) -> u16 {
        match asker {
            Asker::Token(token) => {
                let stream = TcpStream::connect(("127.0.0.1", self.tcp)).unwrap();
                let head = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\n");
                ask(stream, method, path, &head, body)
            }
            Asker::User(user, group) => {
                let socket = self.place.file(socket);
                as_user(user, group, || match UnixStream::connect(&socket) {
                    Ok(stream) => ask(stream, method, path, "", body),
                    Err(error) => panic!("{}: {error}", socket.display()),
                })
            }
        }
    }
}

/// Runs something with other ids of user and group, which only its thread gets.
fn as_user<T: Send>(user: u32, group: u32, run: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
    let alone = || {
        set_thread_groups(&[]).unwrap();
        set_thread_gid(rustix::process::Gid::from_raw(group)).unwrap();
        set_thread_uid(rustix::process::Uid::from_raw(user)).unwrap();
        run()
    };
    std::thread::scope(|scope| scope.spawn(alone).join().unwrap())
}

fn is_root() -> bool {
    !testing::skip_unless(rustix::process::geteuid().is_root(), "only root can be other users")
}

#[test]
fn every_command_needs_its_role_on_every_socket() {
    if !is_root() {
        return;
    }
    for (body, needs) in COMMANDS {
        let command: Command = serde_json::from_str(body).unwrap();
        assert_eq!(command.needs(), needs, "{body}");
    }
    let served = Served::start();
    let rows: [(Asker, &str, Option<Role>); 12] = [
        (STRANGER, "admin.sock", None),
        (STRANGER, "view.sock", None),
        (VIEWER, "admin.sock", Some(Role::View)),
        (VIEWER, "view.sock", Some(Role::View)),
        (OPERATOR, "admin.sock", Some(Role::Operate)),
        (OPERATOR, "view.sock", Some(Role::View)),
        (ADMIN, "view.sock", Some(Role::View)),
        (Asker::User(0, 0), "view.sock", Some(Role::View)),
        (VIEW, "", Some(Role::View)),
        (OPERATE, "", Some(Role::Operate)),
        (WRONG, "", None),
        (ADMIN, "admin.sock", Some(Role::Admin)), // shuts it down
    ];
    let pid = std::process::id();
    for (asker, socket, has) in rows {
        // On a Unix socket, a stranger is not even heard.
        let unheard = if matches!(asker, Asker::Token(_)) { 401 } else { 0 };
        for (path, needs) in PAGES {
            let expected = match has {
                None => unheard,
                Some(has) if has >= needs => 200,
                Some(_) => 403,
            };
            let status = served.ask(asker, socket, "GET", path, "");
            // An operator before has disabled the backend: that is an answer, too.
            let status = if (path, status) == ("/readyz", 503) { 200 } else { status };
            assert_eq!(status, expected, "{asker:?} {socket} GET {path}");
        }
        for (body, needs) in COMMANDS {
            let status = served.ask(asker, socket, "POST", "/v1/commands", body);
            let is_done = matches!(status, 200 | 404 | 409); // there is no such session, for one
            let is_right = match has {
                None => status == unheard,
                Some(has) if has >= needs => is_done,
                Some(_) => status == 403,
            };
            assert!(is_right, "{asker:?} {socket} {body}: {status}");
        }
    }
    served.client.finish();
    let log = &served.evenkeel.log;
    log.wait("stopped");
    let count = |text: &str| log.with(text).len();
    let done = COMMANDS.iter().filter(|(_, needs)| *needs == Role::Operate).count();
    let by = format!(" command by=54901 role=operate process={pid} ");
    assert_eq!(count(&by), done, "each command that was carried out: {:?}", log.all());
    assert_eq!(count(" command by=token:oncall role=operate "), done);
    assert_eq!(count(&format!(" command by=54003 role=admin process={pid} ")), COMMANDS.len() - 1);
    let refused = format!(" command refused by=54001 role=view process={pid} ");
    assert!(count(&refused) > 0, "{:?}", log.all());
    assert!(log.all().iter().all(|line| !line.contains("0123456789abcdef")), "tokens are secret");
}

#[test]
fn without_roles_nobody_else_comes_in() {
    if !is_root() {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    fs::set_permissions(place.file(""), Permissions::from_mode(0o711)).unwrap();
    let admin = place.file("admin.sock");
    let _evenkeel = place.native(&format!("--admin {} {port} {a}", admin.display()));
    let connect = |path: &Path| UnixStream::connect(path).map(drop).map_err(|error| error.kind());
    let denied = Err(std::io::ErrorKind::PermissionDenied);
    assert_eq!(as_user(54_003, 54_002, || connect(&admin)), denied);
    // Even if somebody changes the file.
    fs::set_permissions(&admin, Permissions::from_mode(0o777)).unwrap();
    let status = as_user(54_003, 54_002, || {
        ask(UnixStream::connect(&admin).unwrap(), "GET", "/v1/status", "", "")
    });
    assert_eq!(status, 0);
}

#[test]
fn pages_of_other_origins_neither_read_nor_write_by_tcp() {
    let served = Served::start();
    let Asker::Token(token) = ALL else { unreachable!() };
    let authorized = format!("Authorization: Bearer {token}\r\n");
    let body = r#"{"command":"set-admin-state","backend":"0.0","state":"disabled"}"#;
    let asked = |method: &str, path: &str, head: &str| {
        let stream = TcpStream::connect(("127.0.0.1", served.tcp)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        ask(stream, method, path, head, if method == "POST" { body } else { "" })
    };
    for (method, path) in [("GET", "/v1/status"), ("GET", "/metrics"), ("POST", "/v1/commands")] {
        let local = "Host: 127.0.0.1:9189\r\n";
        for (head, expected) in [
            (local.to_owned(), 401),
            (format!("{local}Authorization: Basic {token}\r\n"), 401),
            (format!("{local}Authorization: Bearer\r\n"), 401),
            (format!("{local}{authorized}Origin: https://evil.example\r\n"), 403),
            (format!("{local}{authorized}Sec-Fetch-Site: cross-site\r\n"), 403),
            // A name that leads to 127.0.0.1.
            (format!("Host: evil.example:{}\r\n{authorized}", served.tcp), 421),
        ] {
            assert_eq!(asked(method, path, &head), expected, "{method} {path} {head}");
        }
        assert_eq!(asked(method, path, &format!("{local}{authorized}")), 200, "{method} {path}");
    }
    served.evenkeel.log.wait("wrong token");
}

#[test]
fn metrics_of_this_machine_are_not_for_the_pages_of_others() {
    let (place, listen, metrics, a) = (Place::new(), port(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("--metrics {metrics} {listen} {a}"));
    let asked = |host: &str| {
        let stream = TcpStream::connect(("127.0.0.1", metrics.number())).unwrap();
        ask(stream, "GET", "/metrics", &format!("Host: {host}\r\n"), "")
    };
    assert_eq!(asked("evil.example"), 421);
    assert_eq!(asked(&format!("127.0.0.1:{metrics}")), 200);
    assert_eq!(asked("localhost"), 200);
}

#[test]
fn tokens_that_others_can_read_are_refused() {
    let served = |mode: u32, tokens: &str| {
        let (place, a) = (Place::new(), Backend::named("a"));
        fs::write(place.file("tokens"), tokens).unwrap();
        fs::set_permissions(place.file("tokens"), Permissions::from_mode(mode)).unwrap();
        let file = format!(
            "[process]\nadmin-listen = \"{}\"\nadmin-tokens = \"tokens\"\n[listeners]\nweb = \"{} {a}\"\n",
            port(),
            port()
        );
        fs::write(place.file("file.toml"), file).unwrap();
        place.run("evenkeel", "run file.toml")
    };
    let token = "admin deploy 0123456789abcdef0123456789abcde2\n";
    let done = served(0o640, token);
    assert!(done.status == 1 && done.stderr.contains("chmod 600"), "{}", done.stderr);
    let done = served(0o600, "admin deploy short\n");
    assert!(done.status == 1 && done.stderr.contains("line 1: a token has 32"), "{}", done.stderr);
}
