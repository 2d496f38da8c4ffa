//! Other programs that speak the PROXY protocol, before and behind the balancer: HAProxy, nginx,
//! Dovecot, and dnsdist, which speaks it in datagrams, too.

use crate::support::{
    Backend, Client, Place, Port, Program, TlsClient, UdpClient, certified, connect_from, port,
    skip_unless, until,
};
use rustix::process::Signal;
use rustls::version::TLS12;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Whether these programs are here; says so if not.
fn are_missing(programs: &[&str]) -> bool {
    let paths = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let is_here =
        |program: &&&str| paths.iter().any(|path| fs::exists(format!("{path}/{program}")).unwrap());
    let missing: Vec<_> = programs.iter().filter(|it| !is_here(it)).copied().collect();
    skip_unless(missing.is_empty(), &format!("not installed: {}", missing.join(", ")))
}

/// Starts a program with a configuration file, and returns when it listens on this port.
#[track_caller]
fn start(place: &Place, program: &str, config: &str, port: &Port) -> Program {
    let dir = place.file(program);
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join("config");
    fs::write(&file, config.replace("{dir}", dir.to_str().unwrap())).unwrap();
    let mut command = Command::new(program);
    match program {
        "haproxy" => command.args(["-db", "-f"]).arg(&file),
        "dnsdist" => command.args(["--supervised", "--disable-syslog", "-C"]).arg(&file),
        "nginx" => command.args(["-e", "stderr", "-p"]).arg(&dir).arg("-c").arg(&file),
        _ => command.args(["-F", "-c"]).arg(&file),
    };
    let mut started = Program::spawn(&mut command);
    until("the server to listen", || {
        assert!(!started.has_ended(), "{program}: {:?}", started.log.all());
        TcpStream::connect(("127.0.0.1", port.number())).is_ok()
    });
    started
}

const HAPROXY: &str = "
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
";

const NGINX: &str = "
daemon off;
master_process off;
user root;
worker_processes 1;
pid {dir}/pid;
error_log stderr;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
events {}
";

/// A client with an address of its own is served through the proxy before us, and known to us.
#[track_caller]
fn check_behind(program: &str, config: &str) {
    if are_missing(&[program]) {
        return;
    }
    let (place, front, port, a) = (Place::new(), port(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("127.0.0.1:{port} {a} --accept-proxy 127.0.0.0/8"));
    let config = config.replace("{front}", &front.to_string()).replace("{us}", &port.to_string());
    let _proxy = start(&place, program, &config, &front);
    let client = connect_from(&front, [127, 0, 0, 7]);
    let from = client.0.local_addr().unwrap();
    assert_eq!(client.line(), "a");
    client.send("ping");
    client.expect("ping");
    drop(client);
    let line = evenkeel.log.wait(&format!("client={from} peer=127.0.0.1:"));
    assert!(line.contains("sent=4 received=6 "), "{line}");
    assert_eq!(evenkeel.log.with("reason=proxy-"), [""; 0]);
}

#[test]
fn haproxy_announces_its_clients_to_us() {
    for send in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
        "send-proxy-v2 check inter 50ms check-send-proxy",
    ] {
        let ids = "unique-id-format %[uuid()]";
        let listen = "listen l\n    bind 127.0.0.1:{front}";
        let server = format!("server us 127.0.0.1:{{us}} {send}");
        check_behind("haproxy", &format!("{HAPROXY}\n    {ids}\n{listen}\n    {server}\n"));
    }
}

#[test]
fn nginx_announces_its_clients_to_us() {
    let server = "listen 127.0.0.1:{front}; proxy_pass 127.0.0.1:{us}; proxy_protocol on;";
    check_behind("nginx", &format!("{NGINX} stream {{ server {{ {server} }} }}"));
}

/// The answer to a request through us to an HTTP server that says who it thinks the client is.
#[track_caller]
fn check_in_front_of(program: &str, config: &str, form: &str) {
    let (place, back, port) = (Place::new(), port(), port());
    let config = config.replace("{back}", &back.to_string());
    let _server = start(&place, program, &config, &back);
    let words = format!("127.0.0.1:{port} 127.0.0.1:{back} --send-proxy {form}");
    let _evenkeel = place.native(&words);
    // With its first bytes, and after them.
    for is_late in [false, true] {
        let client = connect_from(&port, [127, 0, 0, 7]);
        let from = client.0.local_addr().unwrap();
        if is_late {
            until("the session to be open", || place.sessions() == 1);
        }
        client.send("GET / HTTP/1.0\r\n\r\n");
        let answer = String::from_utf8(client.rest().0).unwrap();
        assert!(
            answer.ends_with(&format!("\r\n\r\n{from} 127.0.0.1:{port}\n")),
            "{form}: {answer}"
        );
        drop(client);
        until("the session to be over", || place.sessions() == 0);
    }
}

const FORMS: [&str; 5] = ["v1", "v2", "v2-unique-id", "v2-crc32c", "v2-unique-id-crc32c"];

#[test]
fn haproxy_hears_of_our_clients() {
    if are_missing(&["haproxy"]) {
        return;
    }
    let config = format!(
        "{HAPROXY}
listen l
    mode http
    bind 127.0.0.1:{{back}} accept-proxy
    http-request return status 200 content-type text/plain lf-string \
        \"%[src]:%[src_port] %[dst]:%[dst_port]\\n\"
"
    );
    FORMS.iter().for_each(|form| check_in_front_of("haproxy", &config, form));
}

#[test]
fn haproxy_hears_of_the_name_that_a_client_asks_for() {
    if are_missing(&["haproxy"]) {
        return;
    }
    let (place, authority) = certified();
    let (back, port) = (port(), port());
    let answer = "http-request return status 200 content-type text/plain lf-string";
    let bind = format!("mode http\n    bind 127.0.0.1:{back} accept-proxy");
    let config = format!("{HAPROXY}\nlisten l\n    {bind}\n    {answer} %[fc_pp_authority]\n");
    let _haproxy = start(&place, "haproxy", &config, &back);
    let words = format!("--tls-cert a.pem 127.0.0.1:{port} 127.0.0.1:{back} --send-proxy v2");
    let _evenkeel = place.native(&words);
    let mut client = TlsClient::connect(&port, &Arc::new(authority.trust()), "a.test");
    client.send("GET / HTTP/1.0\r\n\r\n");
    let said = String::from_utf8(client.rest().0).unwrap();
    assert!(said.ends_with("\r\n\r\na.test"), "{said}");
}

#[test]
fn nginx_hears_of_our_clients() {
    if are_missing(&["nginx"]) {
        return;
    }
    let says = "$proxy_protocol_addr:$proxy_protocol_port \
        $proxy_protocol_server_addr:$proxy_protocol_server_port\\n";
    let server = format!("listen 127.0.0.1:{{back}} proxy_protocol; return 200 \"{says}\";");
    let config = format!("{NGINX} http {{ access_log off; server {{ {server} }} }}");
    FORMS.iter().for_each(|form| check_in_front_of("nginx", &config, form));
}

#[test]
fn a_mail_server_that_speaks_first_hears_of_our_clients() {
    if are_missing(&["dovecot"]) {
        return;
    }
    for form in ["v1", "v2"] {
        let (place, back, port) = (Place::new(), port(), port());
        let config = DOVECOT.replace("{back}", &back.to_string());
        let mut dovecot = start(&place, "dovecot", &config, &back);
        let words = format!("127.0.0.1:{port} 127.0.0.1:{back} --send-proxy {form}");
        let _evenkeel = place.native(&words);
        let client = connect_from(&port, [127, 0, 0, 7]);
        let greeting = client.line();
        assert!(greeting.starts_with("* OK "), "{greeting}");
        client.send("a LOGOUT\r\n");
        while !client.line().starts_with("a OK ") {}
        dovecot.log.wait("rip=127.0.0.7, lip=127.0.0.1");
        dovecot.signal(Signal::TERM); // it ends its children
        dovecot.wait();
    }
}

const DOVECOT: &str = "
base_dir = {dir}/run
state_dir = {dir}/state
log_path = /dev/stderr
protocols = imap
ssl = no
listen = 127.0.0.1
haproxy_trusted_networks = 127.0.0.0/8
login_log_format_elements = rip=%r lip=%l
passdb {
    driver = static
    args = nopassword=y
}
service imap-login {
    chroot =
    inet_listener imap {
        port = {back}
        haproxy = yes
    }
    inet_listener imaps {
        port = 0
    }
}
";

/// The fields of a header of version 2 that names a client with IPv4, by type.
fn fields(client: &Client) -> BTreeMap<u8, Vec<u8>> {
    let mut bytes = [0; 16];
    (&client.0).read_exact(&mut bytes).unwrap();
    let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    let mut block = vec![0; length];
    (&client.0).read_exact(&mut block).unwrap();
    split_fields(&block[12..])
}

fn split_fields(mut bytes: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut fields = BTreeMap::new();
    while let [kind, high, low, rest @ ..] = bytes {
        let (value, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        fields.insert(*kind, value.to_vec());
        bytes = rest;
    }
    fields
}

#[test]
fn a_backend_hears_of_the_clients_tls() {
    let (place, authority) = certified();
    let backend = Backend::new(|client| {
        let fields = fields(&client);
        let ssl = &fields[&0x20];
        let inner = split_fields(&ssl[5..]);
        let text = |field: Option<&Vec<u8>>| {
            field.map_or("-".to_owned(), |it| String::from_utf8(it.clone()).unwrap())
        };
        let all = [0x21, 0x22, 0x23].map(|kind| text(inner.get(&kind))).join(" ");
        let [alpn, name] = [1, 2].map(|kind| text(fields.get(&kind)));
        client.send(format!("{:?} {alpn} {name} {all}", &ssl[..5]));
    });
    let port = port();
    let words = "--tls-clients request --tls-clients-ca ca.pem --tls-alpn x-b --send-proxy v2";
    let _evenkeel = place.native(&format!("--tls-cert a.pem {words} 127.0.0.1:{port} {backend}"));
    let mut showing = authority.trust_showing(&authority.issue(&["the client"]));
    showing.alpn_protocols = vec![b"x-a".to_vec(), b"x-b".to_vec()];
    let showing = Arc::new(showing);
    let hear = |config: &Arc<_>| {
        let mut client = TlsClient::connect(&port, config, "a.test");
        client.finish();
        String::from_utf8(client.rest().0).unwrap()
    };
    let suite = "TLS_AES_256_GCM_SHA384";
    // The second one continues the TLS session of the first, in which the certificate was shown.
    for client in [7, 5] {
        let expected = format!("[{client}, 0, 0, 0, 0] x-b a.test TLSv1.3 the client {suite}");
        assert_eq!(hear(&showing), expected);
    }
    let config = Arc::new(authority.trust_with(&[&TLS12]));
    let suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    assert_eq!(hear(&config), format!("[1, 0, 0, 0, 1] - a.test TLSv1.2 - {suite}"));
}

/// Dovecot takes passwords in plain text only from clients whose TLS has ended before it.
#[test]
fn a_mail_server_believes_that_a_client_speaks_tls() {
    if are_missing(&["dovecot"]) {
        return;
    }
    let (place, authority) = certified();
    let (back, port, plain) = (port(), port(), port());
    let config = DOVECOT.replace("{back}", &back.to_string());
    let config = config.replace("ssl = no\n", "disable_plaintext_auth = yes\n");
    let mut dovecot = start(&place, "dovecot", &config, &back);
    let _evenkeel = place.native(&format!(
        "--tls-cert a.pem 127.0.0.1:{port} 127.0.0.1:{back} --send-proxy v2 \
         -- 127.0.0.1:{plain} 127.0.0.1:{back} --send-proxy v2"
    ));
    let client = connect_from(&plain, [127, 0, 0, 7]);
    let greeting = client.line();
    assert!(greeting.contains("LOGINDISABLED"), "{greeting}");
    let client = connect_from(&port, [127, 0, 0, 7]);
    let mut client = TlsClient::try_over(client, &Arc::new(authority.trust()), "a.test").unwrap();
    client.send("a LOGOUT\r\n");
    let said = String::from_utf8(client.rest().0).unwrap();
    assert!(said.contains("AUTH=PLAIN") && !said.contains("LOGINDISABLED"), "{said}");
    dovecot.signal(Signal::TERM); // it ends its children
    dovecot.wait();
}

#[test]
fn clients_are_known_through_a_chain_of_proxies() {
    if are_missing(&["haproxy", "nginx"]) {
        return;
    }
    let (place, front, port, back) = (Place::new(), port(), port(), port());
    let server = "return 200 \"$proxy_protocol_addr $proxy_protocol_port\\n\";";
    let server = format!("listen 127.0.0.1:{back} proxy_protocol; {server}");
    let config = format!("{NGINX} http {{ access_log off; server {{ {server} }} }}");
    let _nginx = start(&place, "nginx", &config, &back);
    let words = "--accept-proxy 127.0.0.0/8 --send-proxy v2";
    let _evenkeel = place.native(&format!("127.0.0.1:{port} 127.0.0.1:{back} {words}"));
    let server = format!("server us 127.0.0.1:{port} send-proxy-v2");
    let config = format!("{HAPROXY}\nlisten l\n    bind 127.0.0.1:{front}\n    {server}\n");
    let _haproxy = start(&place, "haproxy", &config, &front);
    let client: Client = connect_from(&front, [127, 0, 0, 7]);
    let from = client.0.local_addr().unwrap().port();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let answer = String::from_utf8(client.rest().0).unwrap();
    assert!(answer.ends_with(&format!("127.0.0.7 {from}\n")), "{answer}");
}

/// A question for the address of `a.test`.
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";

/// dnsdist passes clients on to us, and we to another dnsdist, whose answers depend on who asks.
/// Both sides also ask whether we or it are well.
#[test]
fn dnsdist_hears_of_clients_that_another_one_announces_to_us() {
    if are_missing(&["dnsdist"]) {
        return;
    }
    let (place, front_place, back_place) = (Place::new(), Place::new(), Place::new());
    let [front, us, back] = [(); 3].map(|()| port());
    let common = |port: &Port| {
        format!(
            "setLocal(\"127.0.0.1:{port}\")\nsetACL(\"127.0.0.0/8\")\nsetSecurityPollSuffix(\"\")\n"
        )
    };
    let answers = "setProxyProtocolACL(\"127.0.0.0/8\")\n\
        addAction(makeRule(\"127.0.0.7/32\"), SpoofAction(\"192.0.2.7\"))\n\
        addAction(AllRule(), SpoofAction(\"192.0.2.99\"))\n";
    let config = format!("{}{answers}", common(&back));
    let _back = start(&back_place, "dnsdist", &config, &back);
    let words = "--accept-proxy 127.0.0.0/8 --send-proxy v2 --responses 1 --rise 1";
    let words = format!("127.0.0.1:{us}/tcp+udp 127.0.0.1:{back} {words} --probe");
    let evenkeel = Program::spawn(place.command("evenkeel", &words).arg("dns:a.test over=udp"));
    evenkeel.log.wait("admin socket");
    until("the probe to pass", || place.backend(0, 0)["health"] == "healthy");
    let server = format!("newServer({{address=\"127.0.0.1:{us}\", useProxyProtocol=true}})\n");
    let _front = start(&front_place, "dnsdist", &format!("{}{server}", common(&front)), &front);
    for (own, answer) in [([127, 0, 0, 7], [192, 0, 2, 7]), ([127, 0, 0, 5], [192, 0, 2, 99])] {
        let client = UdpClient::from(own.into(), ([127, 0, 0, 1], front.number()));
        until("an answer", || {
            client.send(QUERY);
            let said = client.answer_within(Duration::from_millis(500));
            said.is_ok_and(|said| said.ends_with(&answer))
        });
        let client = connect_from(&front, own);
        client.send([&[0, QUERY.len() as u8], QUERY].concat());
        client.finish();
        assert!(client.rest().0.ends_with(&answer), "over TCP");
    }
}
