//! Mail and directory servers whose clients ask for TLS in plain text (STARTTLS): ended here,
//! encrypted again, and passed through by name, with real clients and servers.

use crate::probing_servers::{Server, find, is_root};
use crate::support::{
    Backend, Client, Done, End, Place, Port, certified, port, skip_unless, until,
};
use std::fs;
use std::process::Command;
use std::time::Duration;

const PROTOCOLS: [&str; 4] = ["smtp", "imap", "pop3", "ldap"];

/// A server of this protocol, with TLS if it has a certificate for a name.
fn server(place: &Place, protocol: &str, name: Option<&str>) -> Option<Server> {
    let dir = place.file("").display().to_string();
    let pem = format!("{dir}/{}.pem", name.unwrap_or_default());
    let tls = |text: String| name.map_or(String::new(), |_| text);
    match protocol {
        "smtp" if name.is_some() => {
            let args = format!(
                "-m aiosmtpd -n -l 127.0.0.1:{{port}} --tlscert {pem} --tlskey {pem} \
                 -c aiosmtpd.handlers.Debugging stdout"
            );
            Server::start("/usr/bin/python3", &args, "")
        }
        "smtp" => {
            if find("smtpd").is_none() {
                return Server::start("smtpd", "", ""); // which says that it is missing
            }
            // Its control socket has a fixed place in `/run`, where only one of them could run.
            fs::write(place.file("smtpd.sh"), "mount -t tmpfs none /run\nexec smtpd -d -f $1\n")
                .unwrap();
            let args = format!("-m --propagation private sh {dir}/smtpd.sh {{dir}}/conf");
            let config = "listen on 127.0.0.1 port {port}\naction a relay\n\
                          match from any for any reject\n";
            Server::start("unshare", &args, config)
        }
        "ldap" => {
            let tls = tls(format!("TLSCertificateFile {pem}\nTLSCertificateKeyFile {pem}\n"));
            let config = format!(
                "include /etc/ldap/schema/core.schema\nmodulepath /usr/lib/ldap\n\
                 moduleload back_mdb\npidfile {{dir}}/pid\nargsfile {{dir}}/args\n{tls}\
                 database mdb\nsuffix dc=example,dc=org\ndirectory {{dir}}\n"
            );
            Server::start("slapd", "-f {dir}/conf -h ldap://127.0.0.1:{port} -d 0", &config)
        }
        _ => {
            let ssl = match name {
                Some(_) => format!("ssl = yes\nssl_cert = <{pem}\nssl_key = <{pem}\n"),
                None => "ssl = no\ndisable_plaintext_auth = no\n".to_owned(),
            };
            let config = format!(
                "base_dir = {{dir}}/run\nlog_path = {{dir}}/dovecot.log\nprotocols = {protocol}\n\
                 {ssl}listen = 127.0.0.1\npassdb {{\n driver = static\n args = password=secret\n}}\n\
                 userdb {{\n driver = static\n args = uid=nobody gid=nogroup home={{dir}}/home\n}}\n\
                 service {protocol}-login {{\n inet_listener {protocol} {{\n port = {{port}}\n }}\n \
                 inet_listener {protocol}s {{\n port = 0\n }}\n}}\n"
            );
            Server::start("dovecot", "-F -c {dir}/conf", &config)
        }
    }
}

/// A session of an ordinary client that verifies the server's name, asks for TLS, and then has to be
/// served. That of LDAP takes `localhost` for the name of the machine, so it gets the address.
#[track_caller]
fn check_client(place: &Place, protocol: &str, port: &Port, name: &str) {
    let done = if protocol == "ldap" {
        let mut search = Command::new("ldapsearch");
        search.env("LDAPTLS_CACERT", place.file("ca.pem")).env("LDAPTLS_REQCERT", "demand");
        let url = format!("ldap://127.0.0.1:{port}");
        search.args(["-ZZ", "-x", "-LLL", "-H", &url, "-s", "base", "-b", "", "namingContexts"]);
        Done::run(&mut search, "")
    } else {
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", CLIENT, protocol, &port.to_string(), name]);
        Done::run(python.arg(place.file("ca.pem")), "")
    };
    let said = if protocol == "ldap" { "namingContexts: dc=example,dc=org" } else { "served" };
    let all = format!("{}{}", done.stdout, done.stderr);
    assert!(done.check(0).stdout.contains(said), "{protocol}: {all}");
}

/// Sends a message over TLS.
fn send_mail(place: &Place, port: &Port, name: &str) {
    let words = format!(
        "--server 127.0.0.1:{port} --tls --tls-sni {name} --tls-verify --tls-ca-path ca.pem \
         --ehlo me.example.org --from me@example.org --to you@example.org"
    );
    let mut swaks = Command::new("swaks");
    let swaks = swaks.args(words.split_whitespace()).args(["--body", "carried whole"]);
    let done = Done::run(swaks.current_dir(place.file("")), "");
    assert!(done.check(0).stdout.contains("=== TLS started"));
}

/// Takes a protocol, a port, the server's name and the authority's file.
const CLIENT: &str = r"
import imaplib, poplib, smtplib, ssl, sys
protocol, port, name, authority = sys.argv[1:]
trust = ssl.create_default_context(cafile=authority)
if protocol == 'smtp':
    client = smtplib.SMTP(timeout=30)
    client._host = name
    client.connect('127.0.0.1', int(port))
    assert client.docmd('AUTH PLAIN AG1lAHNlY3JldA==')[0] == 530
    client.starttls(context=trust)
    code, text = client.ehlo('me.example.org')
    assert code == 250 and b'evenkeel' not in text and b'STARTTLS' not in text, text
    assert client.noop()[0] == 250
    client.quit()
elif protocol == 'imap':
    client = imaplib.IMAP4('127.0.0.1', int(port))
    assert 'STARTTLS' in client.capabilities and 'LOGINDISABLED' in client.capabilities
    client.host = name
    client.starttls(trust)
    assert 'LOGINDISABLED' not in client.capabilities
    client.login('me', 'secret')
    client.logout()
else:
    client = poplib.POP3('127.0.0.1', int(port), timeout=30)
    client.host = name
    assert 'STLS' in client.capa()
    client.stls(trust)
    assert 'STLS' not in client.capa()
    client.user('me')
    client.quit()
print('served')
";

#[test]
fn tls_ends_here_before_servers_with_and_without_it() {
    if skip_unless(is_root(), "dovecot and opensmtpd need root") {
        return;
    }
    let (place, authority) = certified();
    for name in ["localhost", "behind.test"] {
        authority.issue(&[name, "127.0.0.1"]).write(&place.file(&format!("{name}.pem")));
    }
    for protocol in PROTOCOLS {
        for is_encrypted in [false, true] {
            let name = is_encrypted.then_some("behind.test");
            let Some(server) = server(&place, protocol, name) else { continue };
            let port = port();
            let more = if is_encrypted {
                "backend-tls = 'verify'\nbackend-tls-ca = 'ca.pem'\n\
                 backend-tls-name = 'behind.test'\n"
            } else {
                ""
            };
            let file = format!(
                "[listeners.mail]\nbind = '127.0.0.1:{port}'\npool = 'mail'\n\
                 starttls = '{protocol}'\ntls-cert = 'localhost.pem'\n\
                 [pools.mail]\nbackends = ['127.0.0.1:{}']\n{more}",
                server.port
            );
            fs::write(place.file("lb.toml"), file).unwrap();
            let evenkeel = place.native("run lb.toml");
            check_client(&place, protocol, &port, "localhost");
            let line = evenkeel.log.wait("session ended");
            assert!(protocol == "ldap" || line.contains(" sni=localhost "), "{line}");
            assert_eq!(line.contains("backend-tls=1."), is_encrypted, "{line}");
        }
    }
}

#[test]
fn clients_of_mail_and_directory_servers_reach_the_one_of_their_name() {
    if skip_unless(is_root(), "dovecot and opensmtpd need root") {
        return;
    }
    let (place, authority) = certified();
    for name in ["localhost", "b.test"] {
        authority.issue(&[name, "127.0.0.1"]).write(&place.file(&format!("{name}.pem")));
    }
    for protocol in PROTOCOLS {
        let servers = ["localhost", "b.test"].map(|name| server(&place, protocol, Some(name)));
        let [Some(a), Some(b)] = servers else { continue };
        let port = port();
        let file = format!(
            "[listeners.mail]\nbind = '127.0.0.1:{port}'\npool = 'a'\nstarttls = '{protocol}'\n\
             routes = [{{ sni = 'b.test', pool = 'b' }}]\n[pools]\n\
             a.backends = ['127.0.0.1:{}']\nb.backends = ['127.0.0.1:{}']\n",
            a.port, b.port
        );
        fs::write(place.file("lb.toml"), file).unwrap();
        let evenkeel = place.native("run lb.toml");
        check_client(&place, protocol, &port, "localhost");
        for name in ["b.test", "localhost"] {
            let words = format!(
                "s_client -connect 127.0.0.1:{port} -starttls {protocol} -servername {name} \
                 -brief -CAfile ca.pem -verify_return_error -verify_hostname {name}"
            );
            let mut openssl = Command::new("openssl");
            let openssl = openssl.args(words.split_whitespace()).current_dir(place.file(""));
            let done = Done::run(openssl, "");
            let said = done.stdout + &done.stderr;
            let is_it = said.contains(&format!("CN = {name}")) && said.contains("Verification: OK");
            assert!(is_it, "{protocol}, {name}: {said}");
        }
        if protocol == "smtp" {
            send_mail(&place, &port, "b.test");
            assert!(b.log().contains("carried whole"), "{}", b.log());
        } else if protocol != "ldap" {
            check_client(&place, protocol, &port, "b.test");
        }
        let line = evenkeel.log.wait("sni=b.test");
        assert!(line.contains(&format!("backend=127.0.0.1:{}", b.port)), "{line}");
    }
}

#[test]
fn whoever_slips_plain_text_in_before_tls_is_cut() {
    let (place, authority) = certified();
    authority.issue(&["localhost"]).write(&place.file("localhost.pem"));
    let ldap = "0\x1d\x02\x01\x01w\x18\x10\x161.3.6.1.4.1.1466.20037".as_bytes();
    let mut ldap = ldap.to_vec();
    ldap[7] = 0x80;
    let requests: [(&str, &[u8], &str); 4] = [
        ("smtp", b"STARTTLS\r\n", "220 evenkeel ESMTP\r\n"),
        ("imap", b"a STARTTLS\r\n", "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] "),
        ("pop3", b"STLS\r\n", "+OK evenkeel ready\r\n"),
        ("ldap", &ldap, ""),
    ];
    for (protocol, request, greeting) in requests {
        let port = port();
        let file = format!(
            "[listeners.mail]\nbind = '127.0.0.1:{port}'\npool = 'mail'\n\
             starttls = '{protocol}'\ntls-cert = 'localhost.pem'\n\
             [pools.mail]\nbackends = ['127.0.0.1:9']\n"
        );
        fs::write(place.file("lb.toml"), file).unwrap();
        let evenkeel = place.native("run lb.toml");
        // With the request, and after it.
        let client = Client::connect(&port);
        client.expect(greeting);
        client.send([request, b"RSET\r\n"].concat());
        let (said, _) = client.rest();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(!said.contains("TLS\r\n") && !said.contains('x'), "{protocol}: {said}");
        evenkeel.log.wait("reason=tls-handshake-failed");
        let client = Client::connect(&port);
        client.expect(greeting);
        client.send(request);
        client.send("MAIL FROM:<me>\r\n");
        let (_, end) = client.rest();
        assert!(matches!(end, End::Eof | End::Reset));
        evenkeel.log.wait("reason=tls-handshake-failed");
    }
}

/// PostgreSQL's request for encryption by GSSAPI is eight bytes, which are waited for together.
#[test]
fn a_session_whose_request_was_declined_gets_every_byte_at_once() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let text = format!(
        "[listeners.db]\nbind = '127.0.0.1:{port}'\npool = 'db'\nstarttls = 'postgresql'\n\
         hello-wait = '100ms'\nroutes = [{{ sni = 'two.example.org', pool = 'db' }}]\n\
         [pools.db]\nbackends = ['{echo}']\n"
    );
    fs::write(place.file("lb.toml"), text).unwrap();
    let _evenkeel = place.native("run lb.toml");
    let client = Client::connect(&port);
    let request = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x30];
    client.send(&request[..4]);
    assert!(client.is_silent_for(Duration::from_millis(50)));
    client.send(&request[4..]);
    client.expect("N");
    until("the wait for a hello to be over", || echo.accepted() == 1);
    client.send("sync\n");
    client.expect("sync\n");
}
