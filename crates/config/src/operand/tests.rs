//! The address grammar, a line per case.

use super::*;
use proptest::prelude::*;

fn services(name: &str) -> Option<u16> {
    match name {
        "http" => Some(80),
        "smtp" => Some(25),
        _ => None,
    }
}

/// Shows what an operand means, or the complaint about it.
#[track_caller]
fn check(role: Role, operand: &str, expected: &str) {
    let seen = match role {
        Role::Listen => parse_listen(operand, &services).map(|bind| bind.to_string()),
        Role::Backend => {
            parse_backend(operand, Some(8080), &services).map(|backend| backend.to_string())
        }
        Role::Endpoint => parse_endpoint(operand, &services).map(|it| it.to_string()),
    };
    let seen = seen.unwrap_or_else(|error| format!("error: {error}"));
    assert!(
        seen == expected || (seen.starts_with("error") && seen.contains(expected)),
        "{operand:?} gave {seen:?}, not {expected:?}"
    );
}

#[track_caller]
fn listen(operand: &str, expected: &str) {
    check(Role::Listen, operand, expected);
}

#[track_caller]
fn backend(operand: &str, expected: &str) {
    check(Role::Backend, operand, expected);
}

#[test]
fn what_can_be_listened_on() {
    listen("8080", "*:8080");
    listen("http", "*:80");
    listen("*:8080", "*:8080");
    listen("*:http", "*:80");
    listen("0.0.0.0:8080", "0.0.0.0:8080");
    listen("[::]:8080", "[::]:8080");
    listen("127.0.0.1:8080", "127.0.0.1:8080");
    listen("localhost:smtp", "localhost:25");
    listen("[::1]:80", "[::1]:80");
    listen("[fe80::1%eth0]:80", "[fe80::1%eth0]:80");
    listen("unix:/run/app.sock", "unix:/run/app.sock");
    listen("unix:/run/app:5", "unix:/run/app:5");
}

#[test]
fn names_that_stand_for_several_backends() {
    backend("dns:app.test:http", "dns:app.test:80");
    backend("dns:app.test", "dns:app.test:8080");
    backend("dns:app.test::5", "dns:app.test:8080:5");
    backend("dns:app.test:81:5::2", "dns:app.test:81:5:0:2");
    backend("srv:_app._tcp.test", "srv:_app._tcp.test");
    backend("srv:app.test:5::2", "srv:app.test:5:0:2");
    // Hosts that are called so.
    backend("dns:53", "dns:53");
    backend("srv::7", "srv:8080:7");
    backend("dns", "dns:8080");
    backend("dns:", "error: backend 'dns:': '' is not a host name");
    backend("dns:10.0.0.1:80", "'10.0.0.1' is an address already");
    backend("srv:app.test:http", "'http' is not a number of sessions");
    check(Role::Endpoint, "dns:app.test:80", "stands for several backends");
    check(Role::Endpoint, "srv:app.test", "stands for several backends");
}

#[test]
fn what_clients_speak() {
    listen("53/udp", "*:53/udp");
    listen("http/udp", "*:80/udp");
    listen("udp://127.0.0.1:53", "127.0.0.1:53/udp");
    listen("udp://[::1]:53", "[::1]:53/udp");
    listen("tcp://127.0.0.1:53", "127.0.0.1:53");
    listen("[::]:53/udp", "[::]:53/udp");
    listen("53/tcp", "*:53");
    listen("53/sctp", "is neither a port");
    listen("53/udp/udp", "is not an address for UDP");
    listen("udp://unix:/run/a", "is not an address for UDP");
    listen("unix:/run/udp", "unix:/run/udp");
    listen("unix:/run/a/udp", "unix:/run/a/udp");
    let each = |operand, default| each_protocol(operand, default).join(" ");
    assert_eq!(each("53/tcp+udp", None), "53 53/udp");
    assert_eq!(each("53", Some(Protocol::Both)), "53 53/udp");
    assert_eq!(each("53/tcp", Some(Protocol::Udp)), "53");
    assert_eq!(each("[::1]:53", Some(Protocol::Udp)), "[::1]:53/udp");
    assert_eq!(each("unix:/run/a", Some(Protocol::Udp)), "unix:/run/a");
}

#[test]
fn an_unspecified_address_is_no_host() {
    let any = |family| Bind::Tcp { host: None, port: 80, family };
    assert_eq!(parse_listen("80", &services), Ok(any(Family::Any)));
    assert_eq!(parse_listen("0.0.0.0:80", &services), Ok(any(Family::V4)));
    assert_eq!(parse_listen("[::]:80", &services), Ok(any(Family::V6)));
}

#[test]
fn what_cannot_be_listened_on() {
    listen("", "listening address '': is empty");
    listen("0", "listening address '0': '0' is neither a port (1 to 65535) nor a service");
    listen("65536", "'65536' is neither a port");
    listen("80x", "'80x' is neither a port (1 to 65535) nor a service known to this machine");
    listen("nosuchservice", "'nosuchservice' is neither a port");
    listen("10.0.0.1", "has no port; add one, as in 10.0.0.1:80");
    listen("localhost:", "has no port; add one, as in localhost:80");
    listen("[::1]", "has no port; add one, as in [::1]:80");
    listen(":80", "has no host before ':'");
    listen("::1", "has no host before ':'; write IPv6 addresses in brackets");
    listen("2001:db8::1", "write IPv6 addresses in brackets, as in [::1]:80");
    listen("a:80:5", "has more fields than host:port; ");
    listen("a:80:1:2:3:4:5", "has more fields than host:port; ");
    listen("*", "neither a port");
    listen("unix:app.sock", "needs the full path");
    listen("unix:", "needs the full path");
    listen(&format!("unix:/{}", "x".repeat(107)), "longer than 107 bytes");
}

#[test]
fn what_can_be_a_backend() {
    backend("db1", "db1:8080");
    backend("db1:", "db1:8080");
    backend("db1:5432", "db1:5432");
    backend("db1:5432:", "db1:5432");
    backend("db1:5432:100", "db1:5432:100");
    backend("db1:5432:-1", "db1:5432:-1");
    backend("db1::2", "db1:8080:2");
    backend("a::2", "a:8080:2"); // not the IPv6 address of the same spelling
    backend("db1:http:3", "db1:80:3");
    backend("10.0.0.1", "10.0.0.1:8080");
    backend("[2001:db8::1]", "[2001:db8::1]:8080");
    backend("[2001:db8::1]:80:7", "[2001:db8::1]:80:7");
    backend("[2001:db8::1]::7", "[2001:db8::1]:8080:7");
    backend("[fe80::1%eth0]:80", "[fe80::1%eth0]:80");
    backend("unix:/run/db", "unix:/run/db");
    backend("unix:/run/db:5", "unix:/run/db:5");
    backend("unix:/run/db:5:0", "unix:/run/db:5:0");
    backend("unix:/run/db:5:7", "unix:/run/db:5:7");
    backend("unix:/run/db:", "unix:/run/db:");
    backend("host.example.", "host.example.:8080");
    backend("_srv-1.example", "_srv-1.example:8080");
}

#[test]
fn a_limit_of_a_unix_backend_comes_last() {
    let backend = parse_backend("unix:/run/db:5", None, &services).unwrap();
    assert_eq!(backend.endpoint, Endpoint::Unix("/run/db".into()));
    assert_eq!(backend.limits.sessions_max, Limit::AtMost(5));
}

#[test]
fn a_backend_has_up_to_four_numbers() {
    backend("db1:80:1:2:3:4", "db1:80:1:2:3:4");
    backend("db1:80:1:2", "db1:80:1:2");
    backend("app::0:0:3", "app:8080:0:0:3");
    backend("db1:80:::3", "db1:80:0:0:3");
    backend("db1:80:-1:0:0:-4", "db1:80:-1:0:0:-4");
    backend("[::1]:80:1:2:3:4", "[::1]:80:1:2:3:4");
    backend("db1:80:1:0:1:0", "db1:80:1");
    backend("db1:80:1:0:0:0", "db1:80:1:0:0"); // of weight 0: no share
    backend("db1:80::::4", "db1:80:0:0:1:4");
    backend("unix:/db:1:2:3:4", "unix:/db:1:2:3:4");
    backend("unix:/db:0:0:3:0", "unix:/db:0:0:3:0");
    backend("unix:/db:9:1:2:3:4", "unix:/db:9:1:2:3:4");
    // Fewer than four numbers are a path and one number, which is written so again.
    backend("unix:/db:1:2:3", "unix:/db:1:2:3");
    let path = |text| match parse_backend(text, None, &services).unwrap() {
        Backend { endpoint: Endpoint::Unix(path), limits, .. } => (path, limits.sessions_max),
        other => panic!("{other:?}"),
    };
    assert_eq!(path("unix:/db:1:2:3"), ("/db:1:2".into(), Limit::AtMost(3)));
    assert_eq!(path("unix:/db:1:2:3:4"), ("/db".into(), Limit::AtMost(1)));
    assert_eq!(path("unix:/db:9:1:2:3:4"), ("/db:9".into(), Limit::AtMost(1)));
}

#[test]
fn any_backend_is_read_as_it_was_written() {
    let number = prop_oneof![Just(0), Just(7), Just(-3)];
    let numbers = (number.clone(), 0u32..3, 0u32..3, number);
    let places = ["/db", "/db:1", "/db:1:2", "/db:1:2:-3", "/a:1:2:3:4", "/1:x:4", "db1"];
    proptest!(|(place in prop::sample::select(places.to_vec()), numbers in numbers)| {
        let endpoint = match place {
            "db1" => Endpoint::Tcp { host: Host::Name(place.to_owned()), port: 80 },
            path => Endpoint::Unix(path.into()),
        };
        let (sessions_max, sessions_max_affine, weight, priority) = numbers;
        let sessions_max = Limit::from_number(sessions_max);
        let limits = Limits { sessions_max, sessions_max_affine };
        let backend = Backend { weight, priority, ..Backend::new(endpoint, limits) };
        prop_assert_eq!(parse_backend(&backend.to_string(), None, &services), Ok(backend));
    });
}

#[test]
fn what_cannot_be_a_backend() {
    backend("", "backend '': is empty");
    backend("::1", "write IPv6 addresses in brackets, as in [::1]:80");
    backend("2001:db8::1:80", "write IPv6 addresses in brackets, as in [::1]:80");
    backend("[::1", "has no ']' at the end of the IPv6 address");
    backend("[::1]80", "has '80' after ']'; only ':port' may follow");
    backend("[db1]:80", "'db1' is not an IPv6 address");
    backend("[fe80::1%]:80", "'fe80::1%' is not an IPv6 address");
    backend("10.0.0.256", "'10.0.0.256' is not an IPv4 address; these are four numbers");
    backend("127.1:80", "'127.1' is not an IPv4 address");
    backend("bad host", "'bad host' is not a host name");
    backend("-x", "'-x' is not a host name");
    backend("a..b", "'a..b' is not a host name");
    backend("db1:0", "'0' is neither a port");
    backend("db1:nosuch", "'nosuch' is neither a port");
    backend("db1:80:many", "'many' is not a number of sessions");
    backend("db1:80:99999999999", "'99999999999' is not a number of sessions");
    let fields = "has more fields than host:port:max:max_affine:weight:priority; ";
    backend("db1:80:1:2:3:4:5", fields);
    backend("db1:80:1:x", "'x' is not a number of sessions");
    backend("db1:80:1:-2", "'-2' is not a number of sessions");
    backend("db1:80:1:2:-3", "'-3' is not a number; write host:port:max:max_affine:weight:");
    backend("db1:80:1:2:3:+4", "'+4' is not a number; write host:port:max:max_affine:weight:");
    backend("db1::0:0:3", "write IPv6 addresses in brackets, as in [::1]:80");
    backend("*:80", "'*' means every address of this machine");
    backend("unix:db", "needs the full path");
    backend("unix", "backend 'unix': needs the full path"); // found by fuzzing
    assert_eq!(
        parse_backend("db1", None, &services).unwrap_err().to_string(),
        "backend 'db1': has no port; add one, as in db1:80"
    );
}

#[test]
fn commands_carry_addresses_with_ports() {
    check(Role::Endpoint, "db1:5432", "db1:5432");
    check(Role::Endpoint, "[::1]:http", "[::1]:80");
    check(Role::Endpoint, "unix:/run/db:5", "unix:/run/db:5");
    check(Role::Endpoint, "db1", "address 'db1': has no port");
    check(Role::Endpoint, "db1:80:5", "has more fields than host:port; ");
    check(Role::Endpoint, "127.0.0.1:80:1:2:3:4:5", "has more fields than host:port; ");
    check(Role::Endpoint, "dns:db1:80:5", "has more fields than dns:name:port; ");
    check(Role::Endpoint, "srv:db1:5", "has more fields than srv:name; ");
    check(Role::Endpoint, "300.300.300.300:80", "'300.300.300.300' is not an IPv4 address");
}

/// Shows tiers as `a b! c%`, an empty tier as nothing before its separator.
#[track_caller]
fn tiers(words: &str, expected: &str) {
    let words: Vec<&str> = words.split_whitespace().collect();
    let shown = split_tiers(&words).into_iter().map(|tier| {
        let end = match tier.end {
            Some(Separator::Turn) => "!",
            Some(Separator::Hash) => "%",
            None => "",
        };
        format!("{}{end}", tier.operands.join(" "))
    });
    assert_eq!(shown.collect::<Vec<_>>().join(" | "), expected);
}

#[test]
fn separators_end_tiers() {
    tiers("", "");
    tiers("a b", "a b");
    tiers("a ! b", "a! | b");
    tiers("a b %", "a b%"); // a trailing separator opens no tier
    tiers("a % b !", "a% | b!");
    tiers("! a", "! | a");
    tiers("a ! ! b", "a! | ! | b");
    tiers("!% a!", "!% a!"); // only a word of its own is a separator
}

#[test]
fn classic_number_forms() {
    let check = |text: &str, expected: Option<&str>| {
        let seen = parse_classic_ipv4(text).map(|address| address.to_string());
        assert_eq!(seen.as_deref(), expected, "{text}");
    };
    check("127.0.0.1", Some("127.0.0.1"));
    check("127.1", Some("127.0.0.1")); // inet_aton(3)
    check("127.0.1", Some("127.0.0.1"));
    check("10.258", Some("10.0.1.2"));
    check("0x7f000002", Some("127.0.0.2"));
    check("0X7F.1", Some("127.0.0.1"));
    check("0177.0.0.01", Some("127.0.0.1"));
    check("2130706433", Some("127.0.0.1"));
    check("0", Some("0.0.0.0"));
    check("4294967295", Some("255.255.255.255"));
    check("4294967296", None);
    check("1.16777216", None);
    check("1.2.3.256", None);
    check("256.1", None);
    check("300.300.300.300", None);
    check("1.2.3.4.5", None);
    check("08.0.0.1", None);
    check("0x.1", None);
    check("+1.2", None);
    check("1..2", None);
    check("", None);
    check("localhost", None);
}

fn any_host() -> impl Strategy<Value = Host> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(|it| Host::Address(it.into())),
        any::<Ipv6Addr>().prop_map(|it| Host::Address(it.into())),
        any::<Ipv6Addr>().prop_map(|it| Host::Name(format!("{it}%eth0"))),
        "[a-z][a-z0-9_-]{0,8}(\\.[a-z][a-z0-9]{0,4}){0,2}".prop_map(Host::Name),
    ]
}

fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    prop_oneof![
        (any_host(), 1..=u16::MAX).prop_map(|(host, port)| Endpoint::Tcp { host, port }),
        "/[a-z:0-9 ./-]{0,20}".prop_map(|path| Endpoint::Unix(path.into())),
    ]
}

proptest! {
    #[test]
    fn a_shown_backend_reads_as_itself(endpoint in any_endpoint(), sessions_max in any::<i32>()) {
        let sessions_max = Limit::from_number(sessions_max);
        let backend = Backend::new(endpoint, Limits { sessions_max, ..Limits::default() });
        prop_assert_eq!(parse_backend(&backend.to_string(), None, &services), Ok(backend));
    }

    #[test]
    fn a_shown_endpoint_reads_as_itself(endpoint in any_endpoint()) {
        prop_assert_eq!(parse_endpoint(&endpoint.to_string(), &services), Ok(endpoint));
    }

    #[test]
    fn a_shown_listener_reads_as_itself(endpoint in any_endpoint()) {
        if let Ok(bind) = parse_listen(&endpoint.to_string(), &services) {
            prop_assert_eq!(parse_listen(&bind.to_string(), &services), Ok(bind));
        }
    }

    #[test]
    fn no_text_is_a_panic(text in "[a:.0-9\\[\\]%*!x/é -]{0,24}") {
        let _ = parse_listen(&text, &services);
        let _ = parse_backend(&text, Some(1), &services);
        let _ = parse_endpoint(&text, &services);
        let _ = parse_classic_ipv4(&text);
    }
}
