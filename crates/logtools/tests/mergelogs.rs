//! mergelogs as a user runs it. The names of the tests in the middle are faults of the classic
//! program that must not come back.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test")]

mod common;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use common::{run, stderr, stdout, tool};

/// A directory with logs.
struct Logs(tempfile::TempDir);

const SECOND: i64 = 1_739_209_600; // 10/Feb/2025:17:46:40

impl Logs {
    /// Files by name.
    fn new(files: &[(&str, &str)]) -> Self {
        let logs = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            fs::write(logs.path(name), text).unwrap();
        }
        logs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, words: &str) -> Command {
        let mut command = tool("mergelogs");
        command.current_dir(self.0.path()).args(words.split_whitespace());
        command
    }

    fn run(&self, words: &str) -> Output {
        run(&mut self.command(words), b"")
    }

    #[track_caller]
    fn check(&self, words: &str, expected: &str) -> String {
        let output = self.run(words);
        assert_eq!(stdout(&output), expected, "{}", stderr(&output));
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    }
}

/// A line of an access log, `after` seconds after the beginning, in the zone UTC.
fn line(client: &str, after: i64, request: &str) -> String {
    let mut stamp = Vec::new();
    logtools::lines::stamp::write_access(&mut stamp, (SECOND + after) * 1000);
    format!("{client} - - [{}] \"{request}\" 200 5\n", String::from_utf8(stamp).unwrap())
}

/// A line of the balancer's log.
fn entry(client: &str, after: i64, server: &str, data: &str) -> String {
    format!("{client} {} {server} {data}\n", SECOND + after)
}

/// One server, one request, and its client.
fn one(request: &str, data: &str) -> Logs {
    Logs::new(&[
        ("pen.log", &entry("192.0.2.1", 0, "10.0.0.1", data)),
        ("www", &line("lb", 0, request)),
    ])
}

#[test]
fn lines_of_all_servers_come_in_order_with_their_clients() {
    let logs = Logs::new(&[
        (
            "pen.log",
            &(entry("192.0.2.1", 0, "10.0.0.1", "GET /a") + &entry("::1", 2, "10.0.0.2", "GET /b")),
        ),
        ("www1", &(line("lb", 0, "GET /a") + &line("lb", 9, "GET /none"))),
        ("www2", &line("lb", 2, "GET /b")),
    ]);
    let expected = line("192.0.2.1", 0, "GET /a")
        + &line("::1", 2, "GET /b")
        + &line("10.0.0.1", 9, "GET /none");
    let summary = logs.check("-p pen.log 10.0.0.2:www2 10.0.0.1:www1", &expected);
    assert_eq!(summary, "mergelogs: 3 lines, 2 matched, 1 unmatched\n");
    assert_eq!(logs.check("-q -p pen.log 10.0.0.1:www1 10.0.0.2:www2", &expected), "");
}

#[test]
fn no_stamp_is_an_hour_early() {
    let log: String = (0..5).map(|i| line("lb", i, "GET /a")).collect();
    let logs = Logs::new(&[("pen.log", ""), ("www", &log)]);
    logs.check("-p pen.log 10.0.0.1:www", &log.replace("lb", "10.0.0.1"));
    let legacy = stdout(&logs.run("--legacy -p pen.log 10.0.0.1:www"));
    assert_eq!(legacy.matches(":16:46:41").count(), 1);
}

#[test]
fn requests_of_more_than_a_hundred_bytes_match() {
    let long = format!("GET /{} HTTP/1.1", "x".repeat(200));
    let logs = one(&long, &long[..100]);
    logs.check("-p pen.log 10.0.0.1:www", &line("192.0.2.1", 0, &long));
    // But a whole shorter entry is not the beginning of a longer request.
    let logs = one("GET /abc", "GET /a");
    logs.check("-p pen.log 10.0.0.1:www", &line("10.0.0.1", 0, "GET /abc"));
}

#[test]
fn escaped_requests_match_and_keep_their_spelling() {
    let written = r#"GET /sm\xC3\xB6r?a=\"q\"\t\\ HTTP/1.1"#;
    let logs = one(written, "GET /sm..r?a=\"q\"\t\\ HTTP/1.1");
    logs.check("-p pen.log 10.0.0.1:www", &line("192.0.2.1", 0, written));
}

#[test]
fn empty_requests_are_kept_and_match_nothing() {
    let logs = one("", "GET /");
    logs.check("-p pen.log 10.0.0.1:www", &line("10.0.0.1", 0, ""));
}

#[test]
fn long_lines_pass_whole_and_longer_ones_are_reported() {
    let agent = "U".repeat(5_000);
    let long = line("lb", 0, "GET /a").replace(" 5\n", &format!(" 5 \"-\" \"{agent}\"\n"));
    let endless = format!("{}\n", "x".repeat((1 << 20) + 1));
    let log = long.clone() + &endless + &line("lb", 1, "GET /b");
    let logs = Logs::new(&[("pen.log", ""), ("www", &log)]);
    let expected = (long + &line("lb", 1, "GET /b")).replace("lb ", "10.0.0.1 ");
    let messages = logs.check("-p pen.log 10.0.0.1:www", &expected);
    assert!(messages.contains("'www', line 2: longer than 1048576 bytes, skipped"), "{messages}");
    assert!(messages.contains("1 unreadable and left out"), "{messages}");
}

#[test]
fn the_window_is_exact() {
    let entries = entry("192.0.2.1", 0, "10.0.0.1", "GET /a");
    let log = line("lb", 600, "GET /a") + &line("lb", 601, "GET /a");
    let logs = Logs::new(&[("pen.log", &entries), ("www", &log)]);
    let expected = line("192.0.2.1", 600, "GET /a") + &line("10.0.0.1", 601, "GET /a");
    logs.check("-p pen.log 10.0.0.1:www", &expected);
    logs.check("-c -p pen.log 10.0.0.1:www", &log.replace("lb", "192.0.2.1"));
}

#[test]
fn ipv6_servers_can_be_named() {
    let logs = Logs::new(&[
        ("pen.log", &entry("192.0.2.1", 0, "2001:db8::a", "GET /a")),
        ("www", &line("lb", 0, "GET /a")),
    ]);
    logs.check("-p pen.log [2001:DB8::A]:www", &line("192.0.2.1", 0, "GET /a"));
}

#[test]
fn damaged_lines_are_left_out_counted_and_can_be_kept() {
    let damaged = "lb - - [99/Feb/2025:17:46:40 +0000] \"GET /a\" 200 5\n\u{0}\u{1}junk\n";
    let log = line("lb", 0, "GET /a") + damaged + &line("lb", 1, "GET /b");
    let logs = Logs::new(&[("pen.log", ""), ("www", &log)]);
    let expected = line("10.0.0.1", 0, "GET /a") + &line("10.0.0.1", 1, "GET /b");
    let messages = logs.check("-p pen.log --rejects left 10.0.0.1:www", &expected);
    assert!(messages.contains("2 unreadable and left out"), "{messages}");
    assert_eq!(fs::read_to_string(logs.path("left")).unwrap(), damaged);
}

#[test]
fn numbers_that_are_none_are_wrong_usage() {
    for words in ["-j -5 -p pen.log a:b", "-t x -p pen.log a:b", "", "--widow 3 a:b"] {
        let output = Logs::new(&[]).run(words);
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(stderr(&output).contains("--help") && output.stdout.is_empty());
    }
    assert!(stderr(&Logs::new(&[]).run("--windo 3")).contains("did you mean '--window'?"));
}

#[test]
fn errors_name_the_file_and_the_reason() {
    let logs = Logs::new(&[("pen.log", ""), ("www", "")]);
    for (words, message) in [
        ("a:www", "give one with -p FILE"),
        ("-p none a:www", "cannot open 'none': No such file"),
        ("-p pen.log a:none", "cannot open 'none': No such file"),
        ("-p pen.log www", "Bogus server 'www': SERVER:FILE expected"),
        ("-p pen.log -o /no/such/out a:www", "cannot write the result"),
    ] {
        let output = logs.run(words);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(stderr(&output).contains(message), "{words}: {}", stderr(&output));
    }
}

#[test]
fn a_virtual_host_in_front_stays() {
    let logs = Logs::new(&[
        ("pen.log", &entry("192.0.2.1", 0, "10.0.0.1", "GET /a")),
        ("www", &format!("www:80 {}", line("lb", 0, "GET /a"))),
    ]);
    let words = "-p pen.log --format vhost_combined 10.0.0.1:www";
    logs.check(words, &format!("www:80 {}", line("192.0.2.1", 0, "GET /a")));
}

#[test]
fn a_full_disk_is_noticed_and_a_closed_pipe_ends_quietly() {
    let log: String = (0..20_000).map(|i| line("lb", i, "GET /a")).collect();
    let logs = Logs::new(&[("pen.log", ""), ("www", &log)]);
    let full = logs.run("-p pen.log -o /dev/full 10.0.0.1:www");
    assert_eq!(full.status.code(), Some(1));
    assert!(stderr(&full).contains("cannot write the result"), "{}", stderr(&full));
    let mut closed = logs.command("-p pen.log 10.0.0.1:www");
    let mut child = closed.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(1), String::new()));
}

#[test]
fn compressed_inputs_standard_input_and_compressed_output() {
    let logs = Logs::new(&[]);
    let gzip = fs::File::create(logs.path("pen.gz")).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(gzip, flate2::Compression::fast());
    gzip.write_all(entry("192.0.2.1", 0, "10.0.0.1", "GET /a").as_bytes()).unwrap();
    gzip.finish().unwrap();
    let zipped = zstd::encode_all(line("lb", 0, "GET /a").as_bytes(), 1).unwrap();
    let expected = line("192.0.2.1", 0, "GET /a");
    let output = run(&mut logs.command("-p pen.gz 10.0.0.1:-"), &zipped);
    assert_eq!(stdout(&output), expected);
    for (name, words) in [("out.zst", "-o out.zst"), ("out.gz", "-o out.gz --compress zstd")] {
        run(&mut logs.command(&format!("-p pen.gz {words} 10.0.0.1:-")), &zipped);
        let out = zstd::decode_all(fs::File::open(logs.path(name)).unwrap()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn a_truncated_file_gives_its_good_lines_and_status_1() {
    let log: String = (0..20_000).map(|i| line("lb", i, &format!("GET /{}", i * i))).collect();
    let logs = Logs::new(&[("pen.log", ""), ("other", &line("lb", 50_000, "GET /last"))]);
    let zipped = zstd::encode_all(log.as_bytes(), 3).unwrap();
    fs::write(logs.path("www"), &zipped[..zipped.len() / 2]).unwrap();
    let output = logs.run("-p pen.log 10.0.0.1:www 10.0.0.2:other");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("'www' cannot be read beyond line"), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.lines().count() > 1_000 && text.ends_with(&line("10.0.0.2", 50_000, "GET /last")));
}

#[test]
fn hundreds_of_rotated_logs_by_pattern() {
    let files: Vec<_> =
        (0..300).map(|i| (format!("www.{i:03}"), line("lb", i, "GET /a"))).collect();
    let mut all: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let entries = entry("192.0.2.1", 0, "10.0.0.1", "GET /a");
    all.push(("pen.log", &entries));
    let expected: String = (0..300).map(|i| line("192.0.2.1", i, "GET /a")).collect();
    Logs::new(&all).check("-p pen.log 10.0.0.1:www.*", &expected);
}

#[test]
fn zones_offsets_and_clocks_that_are_off() {
    let entries = entry("192.0.2.1", 3600, "10.0.0.1", "GET /a");
    let logs = Logs::new(&[("pen.log", &entries), ("www", &line("lb", 0, "GET /a"))]);
    let found = line("192.0.2.1", 0, "GET /a");
    let missed = line("10.0.0.1", 0, "GET /a");
    logs.check("-j 5 -p pen.log 10.0.0.1:www", &missed);
    logs.check("-j 5 -t 3600 -p pen.log 10.0.0.1:www", &found);
    logs.check("-j 5 --pen-offset 3600 -p pen.log 10.0.0.1:www", &found);
    let skewed = line("192.0.2.1", 3600, "GET /a");
    logs.check("-j 5 --skew 10.0.0.1=-3600 -p pen.log 10.0.0.1:www", &skewed);
    logs.check("-j 5 --keep-stamps --skew 10.0.0.1=-3600 -p pen.log 10.0.0.1:www", &found);
    // The classic's users in a zone of two hours give -t 7200, which corrects nothing here.
    let mut local = logs.command("-j 5 -t 10800 -p pen.log 10.0.0.1:www");
    assert_eq!(stdout(&run(local.env("TZ", "EET-2"), b"")), found);
    // West of UTC the offset is negative.
    let mut local = logs.command("-j 5 -t -1800 -p pen.log 10.0.0.1:www");
    assert_eq!(stdout(&run(local.env("TZ", "NST1:30"), b"")), found);
}

#[test]
fn late_lines_can_be_put_in_order() {
    let log = line("lb", 5, "GET /a") + &line("lb", 2, "GET /late") + &line("lb", 9, "GET /b");
    let logs = Logs::new(&[("pen.log", ""), ("www", &log)]);
    logs.check("-p pen.log x:www", &log.replace("lb", "x"));
    let sorted = line("x", 2, "GET /late") + &line("x", 5, "GET /a") + &line("x", 9, "GET /b");
    logs.check("--sort 5 -p pen.log x:www", &sorted);
}

#[test]
fn one_to_one_tells_two_clients_of_the_same_second_apart() {
    let entries =
        entry("192.0.2.1", 0, "10.0.0.1", "GET /a") + &entry("192.0.2.2", 0, "10.0.0.1", "GET /a");
    let logs = Logs::new(&[("pen.log", &entries), ("www", &line("lb", 0, "GET /a").repeat(3))]);
    let same = line("192.0.2.1", 0, "GET /a");
    logs.check("-p pen.log 10.0.0.1:www", &same.repeat(3));
    let expected = same + &line("192.0.2.2", 0, "GET /a") + &line("10.0.0.1", 0, "GET /a");
    let summary = logs.check("--one-to-one -p pen.log 10.0.0.1:www", &expected);
    assert!(summary.contains("2 matched, 1 unmatched"), "{summary}");
}

#[test]
fn json_in_and_out() {
    let json =
        r#"{"time":"2025-02-10T17:46:40Z","remote_addr":"lb","request":"GET /a","status":200}"#;
    let log =
        format!("{json}\n{}", line("lb", 1, "GET /b").replace(" 5\n", " 5 \"ref\" \"agent\"\n"));
    let entries = entry("192.0.2.1", 0, "10.0.0.1", "GET /a");
    let logs = Logs::new(&[("pen.log", &entries), ("www", &log)]);
    let output = stdout(&logs.run("-p pen.log 10.0.0.1:www"));
    assert_eq!(output.lines().next().unwrap(), json.replace("lb", "192.0.2.1"));
    let objects = stdout(&logs.run("--json -p pen.log 10.0.0.1:www"));
    let objects: Vec<serde_json::Value> =
        objects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects[0]["client"], "192.0.2.1");
    assert_eq!(objects[0]["status"], 200);
    assert_eq!(
        objects[1],
        serde_json::json!({
            "time": "2025-02-10T17:46:41.000Z", "server": "10.0.0.1", "client": null,
            "matched": false, "logged_client": "lb", "request": "GET /b", "status": 200,
            "bytes": 5, "referer": "ref", "agent": "agent",
        })
    );
}

/// A session that lasted from `start` to `end` seconds after the beginning.
fn session(client: &str, source: &str, start: i64, end: i64) -> String {
    let mut stamp = Vec::new();
    logtools::lines::stamp::write_rfc3339(&mut stamp, (SECOND + end) * 1000);
    format!(
        "{} info session ended session=1 listener=web client={client} backend=10.0.0.1:80 \
         source={source} reason=client-fin sent=5 received=7 connect=0.001 duration={}\n",
        String::from_utf8(stamp).unwrap(),
        end - start
    )
}

#[test]
fn our_session_log_tells_clients_by_the_port_the_server_saw() {
    let sessions = session("192.0.2.1:5000", "10.0.0.9:4001", 0, 10)
        + &session("[2001:db8::1]:6000", "10.0.0.9:4002", 0, 10);
    let log = line("10.0.0.9:4002", 3, "GET /a")
        + &line("10.0.0.9:4001", 3, "GET /a")
        + &line("10.0.0.9:4003", 3, "GET /a");
    let logs = Logs::new(&[("sessions", &sessions), ("www", &log)]);
    let expected = line("[2001:db8::1]:6000", 3, "GET /a")
        + &line("192.0.2.1:5000", 3, "GET /a")
        + &line("10.0.0.1", 3, "GET /a");
    let summary = logs.check("-p sessions 10.0.0.1:www", &expected);
    assert!(
        summary.contains("1 unmatched (of these 1 with several possible clients)"),
        "{summary}"
    );
}

#[test]
fn without_a_port_only_certain_clients_are_named() {
    let sessions = session("192.0.2.1:5000", "10.0.0.9:4001", 0, 10)
        + &session("192.0.2.2:5000", "10.0.0.9:4002", 8, 30);
    let log: String = [5, 9, 20, 90].iter().map(|at| line("10.0.0.9", *at, "GET /a")).collect();
    let logs = Logs::new(&[("sessions", &sessions), ("www", &log)]);
    let expected = line("192.0.2.1", 5, "GET /a")
        + &line("10.0.0.1", 9, "GET /a")
        + &line("192.0.2.2", 20, "GET /a")
        + &line("10.0.0.1", 90, "GET /a");
    logs.check("-p sessions 10.0.0.1:www", &expected);
    logs.check("-p sessions [10.0.0.1:80]:www", &expected.replace("10.0.0.1 ", "10.0.0.1:80 "));
}

#[test]
fn proxy_protocol_logs_tell_clients_too() {
    let proxies = "2025-02-10T17:46:40Z 10.0.0.9:4001: PROXY TCP4 192.0.2.1 10.0.0.9 5000 80\n";
    let log = line("10.0.0.9:4001", 600, "GET /a");
    let logs = Logs::new(&[("proxies", proxies), ("www", &log)]);
    logs.check("-p proxies 10.0.0.1:www", &line("192.0.2.1:5000", 600, "GET /a"));
}

#[test]
fn statistics_show_clocks_that_differ() {
    let (mut entries, mut log) = (String::new(), String::new());
    for i in 0..9 {
        entries += &entry("192.0.2.1", i * 10, "10.0.0.1", &format!("GET /{i}"));
        log += &line("lb", i * 10 + 95, &format!("GET /{i}"));
    }
    let logs = Logs::new(&[("pen.log", &entries), ("www", &log)]);
    let messages = stderr(&logs.run("--stats -p pen.log 10.0.0.1:www"));
    assert!(
        messages.contains("server 10.0.0.1: 9 lines, 9 matched, 0 unmatched, clock 95 s ahead"),
        "{messages}"
    );
}

#[test]
fn a_clock_that_was_wrong_for_a_moment_does_not_stop_the_matching() {
    let mut entries = entry("192.0.2.9", 9_999_999, "10.0.0.1", "GET /x");
    let mut log = String::new();
    for i in 0..100 {
        entries += &entry("192.0.2.1", i * 100, "10.0.0.1", &format!("GET /{i}"));
        log += &line("lb", i * 100, &format!("GET /{i}"));
    }
    let logs = Logs::new(&[("pen.log", &entries), ("www", &log)]);
    logs.check("-p pen.log 10.0.0.1:www", &log.replace("lb", "192.0.2.1"));
}
