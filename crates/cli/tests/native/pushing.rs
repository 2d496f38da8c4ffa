//! Metrics that are pushed to a collector of OpenTelemetry.

use super::metrics::{address, scrape};
use super::support::{Backend, Client, PATIENCE, Place, Port, ask_times, port, until};
use super::upgrading::upgrade;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

/// A request that a collector has had.
struct Request {
    head: String,
    body: Value,
}

/// A collector, which answers with what `answer` holds, and the requests that it gets. With an empty
/// answer it keeps the client waiting.
fn collector(answer: &Arc<Mutex<&'static str>>) -> (Backend, Receiver<Request>) {
    let (requests, arrive) = channel();
    let answer = Arc::clone(answer);
    let collector = Backend::new(move |client| {
        if let Some(request) = read(&client) {
            let answer = *answer.lock().unwrap();
            let _ = (&client.0).write_all(answer.as_bytes());
            let _ = requests.send(request);
            if answer.is_empty() {
                let _ = (&client.0).read(&mut [0]);
            }
        }
    });
    (collector, arrive)
}

fn read(client: &Client) -> Option<Request> {
    let mut stream = BufReader::new(&client.0);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        stream.read_line(&mut head).ok().filter(|count| *count > 0)?;
    }
    let length = head.lines().find_map(|it| it.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    let body = serde_json::from_reader(flate2::read::GzDecoder::new(&*body)).ok()?;
    Some(Request { head, body })
}

/// The points of a request by their names and labels, as the text format writes them.
fn points(request: &Value) -> BTreeMap<String, f64> {
    let list = |it: &Value| it.as_array().cloned().unwrap_or_default();
    let number = |it: &Value| it.as_f64().or_else(|| it.as_str()?.parse().ok());
    let mut found = BTreeMap::new();
    for metric in list(&request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]) {
        let name = metric["name"].as_str().unwrap();
        let data = ["gauge", "sum", "histogram"].into_iter().find_map(|it| metric.get(it));
        for point in list(&data.unwrap()["dataPoints"]) {
            let labels = list(&point["attributes"]).into_iter().map(|it| {
                format!("{}={}", it["key"].as_str().unwrap(), it["value"]["stringValue"])
            });
            let labels = labels.collect::<Vec<_>>().join(",");
            let (name, value) = match point.get("count") {
                Some(count) => (format!("{name}_count"), number(count)),
                None => (name.to_owned(), number(&point["asInt"]).or(number(&point["asDouble"]))),
            };
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            assert!(found.insert(format!("{name}{labels}"), value.unwrap()).is_none(), "{name}");
        }
    }
    found
}

/// Those that count what sessions have done.
fn counters(of: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let is_meant = |series: &str| {
        series.contains("_total") && !series.contains("cpu") && !series.contains("busy")
    };
    of.iter()
        .filter(|(series, _)| is_meant(series))
        .map(|(it, value)| (it.clone(), *value))
        .collect()
}

/// A file with a backend, whose metrics are pushed.
fn file(place: &Place, port: &Port, backend: &Backend, process: &str) -> String {
    let text = format!(
        "[process]\nmetrics = \"127.0.0.1:0\"\n{process}\n[listeners]\nweb = \"{port} {backend}\"\n"
    );
    let path = place.file("evenkeel.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

#[test]
fn a_collector_gets_what_metrics_say() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let (first, requests) = collector(&Arc::new(Mutex::new(TAKEN)));
    let (second, later) = collector(&Arc::new(Mutex::new(TAKEN)));
    let process = format!("otlp = \"http://{first}/in/\"\notlp-interval = \"100ms\"");
    let evenkeel = place.native(&format!("run {}", file(&place, &port, &a, &process)));
    assert_eq!(ask_times(&port, 3), "a a a");
    evenkeel.log.wait_nth("session ended", 2);
    let scraped = scrape(address(&evenkeel), "");
    // One that is on its way may have been written while the last session was still there.
    let mut request = None;
    until("the same to be pushed", || {
        request = requests.recv_timeout(PATIENCE).ok();
        let pushed = request.as_ref().map(|it| counters(&points(&it.body)));
        pushed.is_some_and(|it| it == counters(&scraped))
    });
    let request = request.unwrap();
    assert!(request.head.starts_with("POST /in/v1/metrics HTTP/1.1\r\n"), "{}", request.head);
    assert!(request.head.contains(&format!("host: {first}\r\n")), "{}", request.head);
    assert!(request.head.contains("content-type: application/json\r\n"), "{}", request.head);
    let resource = request.body["resourceMetrics"][0]["resource"].to_string();
    assert!(resource.contains("\"service.name\""), "{resource}");
    let names = |of: BTreeMap<String, f64>| of.into_keys().collect::<Vec<_>>();
    let is_point = |series: &String| !series.contains("_bucket{") && !series.contains("_sum{");
    let scraped = scraped.into_iter().filter(|(series, _)| is_point(series)).collect();
    assert_eq!(names(points(&request.body)), names(scraped));
    file(&place, &port, &a, &format!("otlp = \"http://{second}\"\notlp-interval = \"100ms\""));
    place.ctl("reload").check(0);
    let request = later.recv().unwrap();
    assert!(request.head.starts_with("POST /v1/metrics HTTP/1.1\r\n"), "{}", request.head);
    file(&place, &port, &a, "");
    place.ctl("reload").check(0);
}

#[test]
fn pushed_counts_never_go_back_in_an_upgrade() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let (collector, requests) = collector(&Arc::new(Mutex::new(TAKEN)));
    let process = format!("otlp = \"http://{collector}\"\notlp-interval = \"100ms\"");
    let evenkeel = place.native(&format!("run {}", file(&place, &port, &a, &process)));
    assert_eq!(ask_times(&port, 3), "a a a");
    evenkeel.log.wait_nth("session ended", 2);
    upgrade(&place, "");
    assert_eq!(ask_times(&port, 1), "a");
    let mut before = 0.0;
    while before < 4.0 {
        let request = requests.recv_timeout(PATIENCE).unwrap();
        let points = points(&request.body);
        let now = points.get("evenkeel_listener_accepted_total{listener=\"web\"}");
        let now = *now.unwrap_or(&0.0);
        assert!(now >= before, "{now} after {before}");
        before = now;
    }
}

#[test]
fn a_collector_that_fails_or_never_answers_disturbs_nobody() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let failure = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let answer = Arc::new(Mutex::new(failure));
    let (collector, requests) = collector(&answer);
    let process = format!("otlp = \"http://{collector}\"\notlp-interval = \"100ms\"");
    let mut evenkeel = place.native(&format!("run {}", file(&place, &port, &a, &process)));
    let line = evenkeel.log.wait("metrics cannot be pushed");
    assert!(line.contains("status 503"), "{line}");
    *answer.lock().unwrap() = TAKEN;
    evenkeel.log.wait("metrics are pushed again");
    *answer.lock().unwrap() = "220 mail.example.org ESMTP\r\n";
    evenkeel.log.wait_nth("metrics cannot be pushed", 1);
    *answer.lock().unwrap() = "";
    requests.try_iter().for_each(drop);
    drop(requests.recv().unwrap());
    assert_eq!(ask_times(&port, 2), "a a");
    evenkeel.signal(Signal::TERM);
    assert!(evenkeel.wait().success());
}

#[test]
fn a_collector_that_cannot_be_used_is_an_error_of_the_file() {
    let (place, port, a) = (Place::new(), port(), Backend::refusing());
    let check = |process: &str, expected: &str| {
        let path = file(&place, &port, &a, process);
        let done = place.run("evenkeel", &format!("check {path}")).check(1);
        assert!(done.stdout.contains(expected), "{}{}", done.stdout, done.stderr);
    };
    check("otlp = \"https://otel\"", "let a collector on this machine pass the metrics on");
    check("otlp = \"otel:4318\"", "a collector is written http://HOST:PORT/PATH");
    check("otlp = \"http://a:b\"", "is not a port");
    check("otlp = 4318", "");
    let both = "otlp = \"https://otel\"\notlp-interval = \"soon\"";
    check(both, "2 errors");
    check("otlp-interval = \"10s\"", "`otlp-interval` needs `otlp`");
    check("otlp = \"http://a\"\notlp-interval = \"1ms\"", "must be at least 100ms");
}
