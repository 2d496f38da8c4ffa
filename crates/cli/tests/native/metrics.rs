//! Metrics by HTTP, and whether they agree with the log.

use super::support::{
    Authority, Backend, Client, Place, Program, ask, ask_times, port, skip_unless, until,
};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// An answer by HTTP.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// Where an instance serves its metrics.
#[track_caller]
pub fn address(evenkeel: &Program) -> SocketAddr {
    let line = evenkeel.log.wait(" metrics address=");
    line.rsplit_once("address=").unwrap().1.parse().unwrap()
}

#[track_caller]
fn get(address: SocketAddr, path: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(super::support::PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: answer[end + 4..].to_vec() }
}

/// The samples of a page by their names and labels.
#[track_caller]
pub fn scrape(address: SocketAddr, query: &str) -> BTreeMap<String, f64> {
    let answer = get(address, &format!("/metrics{query}"), "");
    assert_eq!(answer.status, 200, "{}", answer.head);
    let text = String::from_utf8(answer.body).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    });
    let count = samples.clone().count();
    let samples: BTreeMap<_, _> = samples.collect();
    assert_eq!(samples.len(), count, "no series comes twice:\n{text}");
    samples
}

fn sum(samples: &BTreeMap<String, f64>, start: &str) -> f64 {
    let meant = samples.iter().filter(|(series, _)| series.starts_with(start));
    meant.map(|(_, value)| value).sum()
}

#[test]
fn metrics_say_what_happens() {
    let (place, port, a, down) = (Place::new(), port(), Backend::named("a"), Backend::refusing());
    let evenkeel =
        place.native(&format!("{port} {a}:7 {down} --metrics 127.0.0.1:0 --max-sessions 90"));
    let address = address(&evenkeel);
    assert_eq!(ask_times(&port, 4), "a a a a");
    let client = Client::connect(&port);
    assert_eq!(client.line(), "a");
    evenkeel.log.wait_nth("session ended", 3);
    let samples = scrape(address, "");
    let listener =
        format!("listener=\"{}\"", place.status()["listeners"][0]["name"].as_str().unwrap());
    let value = |series: &str| {
        let found = samples.get(&format!("evenkeel_{series}"));
        *found.unwrap_or_else(|| panic!("no {series} in {samples:#?}"))
    };
    assert_eq!(value(&format!("listener_sessions{{{listener}}}")), 1.0);
    assert_eq!(value(&format!("listener_sessions_max{{{listener}}}")), 90.0);
    assert_eq!(value(&format!("listener_accepted_total{{{listener}}}")), 5.0);
    assert_eq!(value(&format!("listener_received_bytes_total{{{listener}}}")), 10.0);
    assert_eq!(sum(&samples, "evenkeel_listener_ended_total"), 4.0);
    assert_eq!(value(&format!("listener_session_seconds_count{{{listener}}}")), 4.0);
    let labels = format!("pool=\"main\",tier=\"0\",backend=\"{a}\"");
    assert_eq!(value(&format!("backend_up{{{labels}}}")), 1.0);
    assert_eq!(value(&format!("backend_sessions_max{{{labels}}}")), 7.0);
    assert_eq!(value(&format!("backend_connects_total{{{labels}}}")), 5.0);
    assert_eq!(value(&format!("backend_connect_seconds_count{{{labels}}}")), 5.0);
    assert_eq!(value(&format!("backend_first_byte_seconds_bucket{{{labels},le=\"+Inf\"}}")), 5.0);
    let labels = format!("pool=\"main\",tier=\"0\",backend=\"{down}\"");
    assert_eq!(value(&format!("backend_up{{{labels}}}")), 0.0);
    assert_eq!(value(&format!("backend_offered{{{labels}}}")), 0.0);
    assert_eq!(value(&format!("backend_connect_failures_total{{{labels},kind=\"refused\"}}")), 1.0);
    assert_eq!(value("pool_backends{pool=\"main\",state=\"down\"}"), 1.0);
    assert_eq!(value("pool_tier_in_use{pool=\"main\"}"), 0.0);
    assert!(value("process_cpu_seconds_total") > 0.0);
    assert!(value("open_descriptors") > 5.0);
    assert_eq!(value("log_lines_lost_total{kind=\"lines\"}"), 0.0);
    let client_address = client.0.local_addr().unwrap().to_string();
    assert!(!samples.keys().any(|it| it.contains(&client_address)), "no label has a client");
}

#[test]
fn only_pages_that_change_nothing_are_served() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut evenkeel = place.native(&format!("{port} {a} --metrics 127.0.0.1:0"));
    let address = address(&evenkeel);
    for path in ["/", "/v1/status", "/v1/sessions", "/v1/commands"] {
        assert_eq!(get(address, path, "").status, 404, "{path}");
    }
    assert_eq!(get(address, "/metrics?pool=none", "").status, 404);
    assert_eq!(get(address, "/metrics?colour=red", "").status, 400);
    let of_pool = scrape(address, "?pool=main");
    assert!(of_pool.keys().any(|it| it.contains("pool=\"main\"")));
    let (live, ready) = (get(address, "/livez", ""), get(address, "/readyz", ""));
    assert_eq!((live.status, live.body), (200, b"alive\n".to_vec()));
    assert_eq!((ready.status, ready.body), (200, b"ready\n".to_vec()));
    let plain = get(address, "/metrics", "");
    assert!(plain.head.contains("text/plain; version=0.0.4"), "{}", plain.head);
    let zipped = get(address, "/metrics", "Accept-Encoding: br, gzip\r\n");
    assert!(zipped.head.to_lowercase().contains("content-encoding: gzip"), "{}", zipped.head);
    assert!(zipped.body.len() < plain.body.len() / 3, "{}", zipped.body.len());
    assert_eq!(zipped.body[..2], [0x1f, 0x8b]);
    // The same on the admin socket.
    let answer = super::support::http(&place.socket(), "GET", "/readyz", "").unwrap();
    assert_eq!(answer.status, 200);

    let client = Client::connect(&port);
    assert_eq!(client.line(), "a");
    evenkeel.signal(Signal::TERM);
    evenkeel.log.wait("waiting for open sessions");
    assert_eq!(get(address, "/readyz", "").status, 503, "while sessions end");
    assert_eq!(get(address, "/livez", "").status, 200);
    assert_eq!(scrape(address, "")["evenkeel_shutting_down"], 1.0);
    drop(client);
    assert_eq!(evenkeel.wait().code(), Some(0));
}

#[test]
fn an_address_in_use_is_taken_when_it_is_free() {
    let (first_port, second_port, a) = (port(), port(), Backend::named("a"));
    let (first_place, second_place) = (Place::new(), Place::new());
    let mut first = first_place.native(&format!("{first_port} {a} --metrics 127.0.0.1:0"));
    let address = address(&first);
    let second = second_place.native(&format!("{second_port} {a} --metrics {address}"));
    second.log.wait("warn the address of the metrics is in use");
    assert_eq!(ask(&second_port), "a", "it serves nevertheless");
    first.signal(Signal::TERM);
    first.wait();
    until("the second one to have the address", || TcpStream::connect(address).is_ok());
    assert_eq!(get(address, "/readyz", "").status, 200);
    let refused = Place::new();
    let error = refused.run("evenkeel", &format!("{} {a} --metrics 192.0.2.1:9188", port()));
    assert!(error.check(1).stderr.contains("cannot serve metrics at 192.0.2.1:9188"));
    let error = refused.run("evenkeel", "80 127.0.0.1:81 --metrics here").check(2).stderr;
    assert!(error.contains("127.0.0.1:9188"), "{error}");
}

#[test]
fn metrics_say_when_certificates_expire() {
    let (place, authority, port) = (Place::new(), Authority::new(), port());
    let write = |name: &str, year| {
        let issued = authority.issue_until(&["a.test"], year);
        fs::write(place.file("new"), format!("{}{}", issued.certificate, issued.key)).unwrap();
        fs::rename(place.file("new"), place.file(name)).unwrap();
    };
    fs::create_dir(place.file("several")).unwrap();
    write("one.pem", 2034);
    write("several/a.pem", 2036);
    write("several/b.pem", 2035);
    let [one, several] = ["one.pem", "several"].map(|name| place.file(name));
    let evenkeel = place.native(&format!(
        "{port} {} --metrics 127.0.0.1:0 --tls-cert {} --tls-cert {}",
        Backend::named("a"),
        one.display(),
        several.display()
    ));
    let address = address(&evenkeel);
    let expires = |path: &std::path::Path| {
        let samples = scrape(address, "");
        let path = format!("path=\"{}\"", path.display());
        let mut found = samples.iter().filter(|(series, _)| {
            series.starts_with("evenkeel_certificate_expiry_timestamp_seconds{")
                && series.contains(&path)
        });
        *found.next().expect("a sample").1
    };
    // `date -ud 2034-01-01 +%s`
    assert_eq!(expires(&one), 2_019_686_400.0);
    assert_eq!(expires(&several), 2_051_222_400.0);
    write("several/b.pem", 2037);
    evenkeel.log.wait("certificates renewed");
    assert_eq!(expires(&several), 2_082_758_400.0);
}

#[test]
fn a_silent_client_of_the_metrics_holds_nothing_up() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{port} {a} --metrics 127.0.0.1:0"));
    let address = address(&evenkeel);
    let idle: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(get(address, "/readyz", "").status, 200);
    assert_eq!(ask(&port), "a");
    drop(idle);
}

/// Sessions of all kinds, while the file is reloaded again and again: backends and a listener go
/// and come back under their names. Whatever the log says, the counters say, to the byte.
#[test]
fn counters_equal_the_log_and_never_go_back() {
    const SESSIONS: usize = 10_000;
    const RELOADS: usize = 10;
    let (web, mail) = (port(), port());
    let (a, b, down) = (Backend::echo(), Backend::named("b"), Backend::refusing());
    let place = Place::new();
    let write = |round: usize| {
        let backends = match round % 3 {
            0 => format!("'{a}', '{b}', '{down}'"),
            1 => format!("'{a}', '{down}'"),
            _ => format!("'{b}', '{a}'"),
        };
        let second = match round % 2 {
            0 => format!("[listeners.mail]\nbind = '127.0.0.1:{mail}'\npool = 'mail'\n"),
            _ => String::new(),
        };
        let text = format!(
            "[process]\nmetrics = '127.0.0.1:0'\nlog-format = 'json'\n\
             [listeners.web]\nbind = '127.0.0.1:{web}'\npool = 'web'\n{second}\
             [pools.web]\nbackends = [{backends}]\nquarantine = '50ms'\n\
             [pools.mail]\nbackends = ['{b}']\n# {round}\n"
        );
        fs::write(place.file("lb.toml"), text).unwrap();
    };
    write(0);
    let evenkeel = place.native("run lb.toml");
    let line = evenkeel.log.wait("\"message\":\"metrics\"");
    let line: Value = serde_json::from_str(&line).unwrap();
    let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    let mut highest = BTreeMap::new();
    for round in 1..=RELOADS {
        let share = SESSIONS / RELOADS;
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (web, mail) = (&web, &mail);
                scope.spawn(move || {
                    for number in 0..share / 4 {
                        let is_leaving = number % 8 == 7 && round % 2 == 1;
                        session(if is_leaving { mail } else { web }, number + worker, is_leaving);
                    }
                });
            }
            write(round);
            place.run("evenkeel", "reload").check(0);
        });
        for (series, value) in scrape(address, "") {
            let name = series.split('{').next().unwrap();
            if ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end)) {
                let before = highest.insert(series.clone(), value).unwrap_or(0.0);
                assert!(value >= before, "{series} went back from {before} to {value}");
            }
        }
    }
    write(0); // every name is there again
    place.run("evenkeel", "reload").check(0);
    until("all sessions to have ended, in the log too", || {
        let samples = scrape(address, "");
        let accepted = sum(&samples, "evenkeel_listener_accepted_total");
        let logged = evenkeel.log.with("session ended").len() as f64;
        sum(&samples, "evenkeel_listener_sessions{") == 0.0 && accepted == logged
    });
    let mut counted = BTreeMap::<String, f64>::new();
    for line in evenkeel.log.with("session ended") {
        let line: Value = serde_json::from_str(&line).unwrap();
        let listener = match line["listener"].as_str().unwrap() {
            it if it.ends_with(&web.to_string()) => "web",
            _ => "mail",
        };
        let mut add =
            |name: &str, value: f64| *counted.entry(name.to_owned()).or_default() += value;
        let (sent, received) = (line["sent"].as_f64().unwrap(), line["received"].as_f64().unwrap());
        let reason = line["reason"].as_str().unwrap();
        add(&format!("listener_ended_total{{listener=\"{listener}\",reason=\"{reason}\"}}"), 1.0);
        add(&format!("listener_accepted_total{{listener=\"{listener}\"}}"), 1.0);
        add(&format!("listener_sent_bytes_total{{listener=\"{listener}\"}}"), sent);
        add(&format!("listener_received_bytes_total{{listener=\"{listener}\"}}"), received);
        let backend = line["backend"].as_str().unwrap();
        if backend != "-" {
            let labels = format!("pool=\"{listener}\",tier=\"0\",backend=\"{backend}\"");
            add(&format!("backend_sent_bytes_total{{{labels}}}"), sent);
            add(&format!("backend_received_bytes_total{{{labels}}}"), received);
            add(&format!("pool_sent_bytes_total{{pool=\"{listener}\"}}"), sent);
        }
        if let Some(first_byte) = line.get("first-byte") {
            assert!(first_byte.as_f64().unwrap() >= 0.0);
            add(&format!("pool_first_byte_seconds_count{{pool=\"{listener}\"}}"), 1.0);
        }
    }
    let ended = counted.iter().filter(|it| it.0.starts_with("listener_ended_total"));
    let total: f64 = ended.map(|it| it.1).sum();
    assert!(total > 0.9 * SESSIONS as f64, "only {total} sessions");
    let samples = scrape(address, "");
    for (series, value) in counted {
        let found = samples.get(&format!("evenkeel_{series}")).copied().unwrap_or_default();
        assert_eq!(found, value, "{series}");
    }
    assert_eq!(sum(&samples, "evenkeel_listener_sessions{"), 0.0);
    assert_eq!(samples["evenkeel_config_reloads_total{outcome=\"done\"}"], 1.0 + RELOADS as f64);
}

/// A session that ends in one of several ways. If its listener is being removed, it may be refused, or
/// reset before it was accepted.
fn session(port: &super::support::Port, number: usize, is_leaving: bool) {
    let address = SocketAddr::from(([127, 0, 0, 1], port.to_string().parse().unwrap()));
    let check = |done: io::Result<()>| assert!(is_leaving || done.is_ok(), "{done:?}");
    let client = match Client::try_to(address) {
        Ok(client) => client,
        Err(error) => return check(Err(error)),
    };
    let finish = || {
        check(client.0.shutdown(Shutdown::Write));
        client.rest();
    };
    match number % 4 {
        0 => {
            check((&client.0).write_all(&vec![b'x'; number % 3000]));
            finish();
        }
        1 => {
            check((&client.0).write_all(b"abc"));
            client.reset();
        }
        2 => drop(client),
        _ => finish(),
    }
}

#[test]
fn promtool_finds_no_fault() {
    let promtool = Command::new("promtool").arg("--version").output().is_ok();
    if skip_unless(promtool, "promtool is not installed") {
        return;
    }
    let (place, port, a, down) = (Place::new(), port(), Backend::named("a"), Backend::refusing());
    let evenkeel = place.native(&format!("{port} {a} {down} --metrics 127.0.0.1:0"));
    assert_eq!(ask_times(&port, 4), "a a a a");
    let page = get(address(&evenkeel), "/metrics", "").body;
    let mut check = Command::new("promtool");
    let check = check.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.stdout(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(&page).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

/// A thousand backends are scraped within milliseconds, ten thousand do not flood the monitoring.
#[test]
fn many_backends_stay_within_bounds() {
    let (place, port) = (Place::new(), port());
    let write = |count: usize, detail: &str| {
        let backends: Vec<_> = (0..count)
            .map(|it| format!("'127.{}.{}.{}:9'", 1 + it / 60_000, it / 250 % 250, 1 + it % 250))
            .collect();
        let text = format!(
            "[process]\nmetrics = '127.0.0.1:0'\nmetrics-detail = '{detail}'\n\
             [listeners.web]\nbind = '127.0.0.1:{port}'\npool = 'web'\n\
             [pools.web]\nbackends = [{}]\n",
            backends.join(", ")
        );
        fs::write(place.file("lb.toml"), text).unwrap();
    };
    let zipped = |address| get(address, "/metrics", "Accept-Encoding: gzip\r\n");
    write(1000, "auto");
    let mut evenkeel = place.native("run lb.toml");
    let address_ = address(&evenkeel);
    let samples = scrape(address_, "");
    let backends = samples.keys().filter(|it| it.starts_with("evenkeel_backend_up{")).count();
    assert_eq!(backends, 1000);
    assert_eq!(samples["evenkeel_metrics_detail{detail=\"backends\"}"], 1.0);
    assert!(zipped(address_).body.len() < 300_000, "{}", zipped(address_).body.len());
    let begin = Instant::now();
    let rounds = 10;
    (0..rounds).for_each(|_| drop(zipped(address_)));
    let took = begin.elapsed() / rounds;
    eprintln!("a scrape of 1000 backends takes {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    evenkeel.signal(Signal::TERM);
    evenkeel.wait();
    write(10_000, "auto");
    let evenkeel = place.native("run lb.toml");
    let address_ = address(&evenkeel);
    let page = get(address_, "/metrics", "");
    assert!(page.body.len() < 1_000_000, "{}", page.body.len());
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.starts_with("# Backends have no series of their own"), "{text:.200}");
    assert!(text.contains("evenkeel_pool_backends{pool=\"web\",state=\"up\"} 10000"));
}
