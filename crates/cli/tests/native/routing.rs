//! TLS passed through to the pool of the name that a client asks for, with real clients and servers.

use crate::support::{Backend, Client, Done, Place, Port, Program, ask, port, skip_unless, until};
use std::fs;
use std::net::TcpStream;
use std::process::Command;

/// A certificate authority in a directory, and servers with certificates of it.
pub(crate) struct Authority<'p>(&'p Place);

impl<'p> Authority<'p> {
    /// None if OpenSSL is missing.
    pub(crate) fn new(place: &'p Place) -> Option<Self> {
        let is_here = Command::new("openssl").arg("version").output().is_ok();
        if skip_unless(is_here, "this needs openssl") {
            return None;
        }
        let authority = Self(place);
        let subject = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca \
                       -keyout ca.key -out ca.pem";
        authority.openssl(subject);
        Some(authority)
    }

    /// Makes `NAME.key` and `NAME.pem`.
    pub(crate) fn certify(&self, name: &str) {
        let request = format!(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -CA ca.pem -CAkey ca.key \
             -addext subjectAltName=DNS:{name} -keyout {name}.key -out {name}.pem"
        );
        self.openssl(&request);
    }

    fn openssl(&self, words: &str) {
        let mut command = Command::new("openssl");
        command.args(words.split_whitespace()).current_dir(self.0.file(""));
        Done::run(&mut command, "").check(0);
    }

    /// A web server with a certificate for this name that describes the connection in its answer.
    fn serve(&self, name: &str, more: &str) -> (Program, Port) {
        self.certify(name);
        let port = port();
        let words = format!(
            "s_server -accept 127.0.0.1:{port} -cert {name}.pem -key {name}.key -www -quiet {more}"
        );
        let mut command = Command::new("openssl");
        let program =
            Program::spawn(command.args(words.split_whitespace()).current_dir(self.0.file("")));
        until("the server to listen", || TcpStream::connect(("127.0.0.1", port.number())).is_ok());
        (program, port)
    }
}

/// What `openssl s_client` says of the server at this port.
fn s_client(place: &Place, port: &Port, more: &str) -> String {
    let words = format!("s_client -connect 127.0.0.1:{port} -CAfile ca.pem -verify 1 {more}");
    let mut command = Command::new("openssl");
    let done = Done::run(command.args(words.split_whitespace()).current_dir(place.file("")), "Q\n");
    done.stdout + &done.stderr
}

#[test]
fn openssl_and_curl_reach_the_server_that_they_ask_for() {
    let place = Place::new();
    let Some(authority) = Authority::new(&place) else { return };
    let servers = ["a.test", "b.test", "other.test"].map(|name| authority.serve(name, ""));
    let [a, b, other] = servers.each_ref().map(|(_, port)| port);
    let port = port();
    let file = format!(
        "[listeners.tls]\nbind = '127.0.0.1:{port}'\npool = 'other'\nroutes = [\n\
         {{ sni = 'a.test', pool = 'a' }},\n{{ sni = '*.test', alpn = 'x-b', pool = 'b' }},\n]\n\
         [pools]\na.backends = ['127.0.0.1:{a}']\nb.backends = ['127.0.0.1:{b}']\n\
         other.backends = ['127.0.0.1:{other}']\n"
    );
    fs::write(place.file("lb.toml"), file).unwrap();
    let evenkeel = place.native("run lb.toml");
    for version in ["-tls1_2", "-tls1_3"] {
        let check = |more: &str, name: &str| {
            let said = s_client(&place, &port, &format!("{version} {more}"));
            assert!(said.contains(&format!("subject=CN = {name}")), "{more}: {said}");
        };
        check("-servername a.test", "a.test");
        check("-servername A.TEST", "a.test");
        check("-servername b.test -alpn x-b", "b.test");
        check("-servername b.test", "other.test");
        check("-noservername", "other.test");
        check("-servername a.b.test -alpn x-b", "other.test");
    }
    let line = evenkeel.log.wait("sni=b.test");
    assert!(line.contains(&format!("sni=b.test backend=127.0.0.1:{b}")), "{line}");
    // With the certificate and the name verified.
    for name in ["a.test", "other.test"] {
        let words =
            format!("-sS --cacert ca.pem --resolve {name}:{port}:127.0.0.1 https://{name}:{port}/");
        let mut curl = Command::new("curl");
        let done = Done::run(curl.args(words.split_whitespace()).current_dir(place.file("")), "");
        assert!(done.check(0).stdout.contains("s_server"), "{name}");
    }
}

#[test]
fn plain_clients_and_servers_that_speak_first_do_not_stall() {
    let (place, port, own, routed) =
        (Place::new(), port(), Backend::named("own"), Backend::named("r"));
    let file = |pool: &str| {
        format!(
            "[listeners.tls]\nbind = '127.0.0.1:{port}'\npool = 'own'\nhello-wait = '20ms'\n\
             routes = [{{ sni = 'a.test', pool = '{pool}' }}]\n[pools]\n\
             own.backends = ['{own}']\nrouted.backends = ['{routed}']\n"
        )
    };
    fs::write(place.file("lb.toml"), file("own")).unwrap();
    let evenkeel = place.native("run lb.toml");
    assert_eq!(ask(&port), "own");
    let client = Client::connect(&port);
    client.send("EHLO me\r\n");
    client.expect("own\nEHLO me\r\n");
    // A hello that is never finished holds one socket, and nobody up.
    let hello = include_bytes!("../../../relay/src/client_hello/recorded/openssl-tls13.bin");
    let half = Client::connect(&port);
    half.send(&hello[..100]);
    assert_eq!(ask(&port), "own");
    let rows = &place.status()["listeners"][0];
    assert_eq!(rows["routes"][0]["sni"][0], "a.test");
    // The rest comes after a reload, and goes where the routes lead now.
    let text = file("routed").replace("a.test", "db.example.org");
    fs::write(place.file("lb.toml"), text).unwrap();
    place.run("evenkeel", "reload").check(0);
    half.send(&hello[100..]);
    half.expect([b"r\n", &hello[..]].concat());
    drop(half);
    let line = evenkeel.log.wait("sni=db.example.org");
    assert!(line.contains(&format!("backend={routed}")), "{line}");
    let printed = place.run("evenkeel", "ctl config").check(0).stdout;
    assert!(
        printed.contains("routes = [{ sni = \"db.example.org\", pool = \"routed\" }]"),
        "{printed}"
    );
}
