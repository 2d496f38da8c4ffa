//! webresolve against a real name server, behind a proxy that delays every answer.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test")]

mod common;

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::{run, stderr, stdout, tool, wait_for};

/// dnsmasq with names for some addresses, and a delay in front of it.
struct Names {
    dnsmasq: Child,
    address: SocketAddr,
    asked: Arc<AtomicU64>,
    _files: tempfile::TempDir,
}

impl Drop for Names {
    fn drop(&mut self) {
        let _ = self.dnsmasq.kill();
        let _ = self.dnsmasq.wait();
    }
}

impl Names {
    /// `None` where dnsmasq is not installed. `hosts` is as in `/etc/hosts`.
    fn start(hosts: &str, delay: Duration) -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("hosts");
        std::fs::write(&path, hosts).unwrap();
        let (dnsmasq, upstream) = start_dnsmasq(&path)?;
        let asked = Arc::new(AtomicU64::new(0));
        let address = delayed(upstream, delay, Arc::clone(&asked));
        Some(Self { dnsmasq, address, asked, _files: files })
    }

    fn webresolve(&self) -> Command {
        let mut command = tool("webresolve");
        command.args(["--no-hosts", "--rate", "0", "--nameserver", &self.address.to_string()]);
        command
    }
}

/// Starts dnsmasq on a port that it gets; another program may be faster.
fn start_dnsmasq(hosts: &Path) -> Option<(Child, SocketAddr)> {
    let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
    probe.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    loop {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let upstream = free.local_addr().unwrap();
        drop(free);
        let dnsmasq = Command::new("dnsmasq")
            .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--bind-interfaces"])
            .args(["--listen-address=127.0.0.1", "--pid-file=", "--cache-size=0", "--user=root"])
            .args(["--conf-file=/dev/null", "--local=/in-addr.arpa/", "--local=/net/"])
            .args(["--local-ttl=300", "--dns-forward-max=9999"])
            .arg(format!("--port={}", upstream.port()))
            .arg(format!("--addn-hosts={}", hosts.display()))
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut dnsmasq) = dnsmasq else {
            eprintln!("skipped: dnsmasq is not installed");
            return None;
        };
        let query = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
        let mut answers = false;
        wait_for("dnsmasq", || {
            answers = probe.send_to(query, upstream).is_ok() && probe.recv(&mut [0; 512]).is_ok();
            answers || matches!(dnsmasq.try_wait(), Ok(Some(_)))
        });
        if answers {
            return Some((dnsmasq, upstream));
        }
    }
}

/// By our identifier: the client's own, and its address.
type Clients = HashMap<[u8; 2], ([u8; 2], SocketAddr)>;

/// Passes queries on after `delay`. Identifiers are exchanged, since several clients may choose
/// the same.
fn delayed(upstream: SocketAddr, delay: Duration, asked: Arc<AtomicU64>) -> SocketAddr {
    let front = UdpSocket::bind("127.0.0.1:0").unwrap();
    let back = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = front.local_addr().unwrap();
    let (sender, queue) = mpsc::channel::<(Instant, Vec<u8>, SocketAddr)>();
    let clients: Arc<Mutex<Clients>> = Arc::default();
    let (answers, replies) = (back.try_clone().unwrap(), front.try_clone().unwrap());
    let pending = Arc::clone(&clients);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = front.recv_from(&mut buffer) {
            asked.fetch_add(1, Ordering::Relaxed);
            let due = Instant::now() + delay;
            let _ = sender.send((due, buffer[..length].to_vec(), from));
        }
    });
    thread::spawn(move || {
        for (number, (due, mut query, from)) in queue.into_iter().enumerate() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let id = (number as u16).to_be_bytes();
            clients.lock().unwrap().insert(id, ([query[0], query[1]], from));
            query[..2].copy_from_slice(&id);
            let _ = back.send_to(&query, upstream);
        }
    });
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, _)) = answers.recv_from(&mut buffer) {
            let client = pending.lock().unwrap().remove(&[buffer[0], buffer[1]]);
            if let Some((id, from)) = client {
                buffer[..2].copy_from_slice(&id);
                let _ = replies.send_to(&buffer[..length], from);
            }
        }
    });
    address
}

fn address(i: usize) -> String {
    format!("198.18.{}.{}", i / 250, i % 250 + 1)
}

/// Every tenth address has no name.
fn hosts(count: usize) -> String {
    (0..count)
        .filter(|i| i % 10 != 9)
        .map(|i| format!("{} host-{i}.example.net\n", address(i)))
        .collect()
}

/// A log in which addresses come in no particular order, and the same log with names.
fn logs(lines: usize, addresses: usize) -> (String, String) {
    let (mut plain, mut resolved) = (String::new(), String::new());
    for line in 0..lines {
        let i = line.wrapping_mul(7919) % addresses;
        let rest = format!(" - - [10/Feb/2025:17:46:51 +0000] \"GET /{line} HTTP/1.1\" 200 5\n");
        plain += &(address(i) + &rest);
        resolved +=
            &if i % 10 == 9 { address(i) + &rest } else { format!("host-{i}.example.net{rest}") };
    }
    (plain, resolved)
}

#[test]
fn names_are_put_in_and_every_line_keeps_its_place() {
    let Some(names) = Names::start(&hosts(100), Duration::from_millis(20)) else { return };
    let (plain, resolved) = logs(2_000, 100);
    let output = run(names.webresolve().arg("--stats"), plain.as_bytes());
    assert_eq!(stdout(&output), resolved);
    assert!(output.status.success());
    assert!(stderr(&output).contains("2000 lines, 100 addresses: 90 with a name, 10 without"));
    assert_eq!(names.asked.load(Ordering::Relaxed), 100, "each address is looked up once");
}

#[test]
fn all_but_the_address_stays_byte_for_byte() {
    let Some(names) = Names::start(&hosts(2), Duration::ZERO) else { return };
    let mut input = b"198.18.0.1\n\n 198.18.0.1 x\nwww x\n198.18.0.1  \xff\"\t\r\n".to_vec();
    input.extend_from_slice(b"::ffff:198.18.0.2 y\n198.18.0.1 end");
    let output = run(&mut names.webresolve(), &input);
    let mut expected = b"host-0.example.net\n\n 198.18.0.1 x\nwww x\n".to_vec();
    expected.extend_from_slice(b"host-0.example.net  \xff\"\t\r\nhost-1.example.net y\n");
    expected.extend_from_slice(b"host-0.example.net end\n");
    assert_eq!(output.stdout, expected, "{}", stdout(&output));
    let second = run(names.webresolve().args(["--field", "2"]), b"www 198.18.0.1 x\n");
    assert_eq!(stdout(&second), "www host-0.example.net x\n");
    let skipped = run(names.webresolve().args(["--skip", "198.18.0.0/24"]), b"198.18.0.1 x\n");
    assert_eq!(stdout(&skipped), "198.18.0.1 x\n");
}

#[test]
fn a_name_that_does_not_lead_back_is_not_believed() {
    let hosts = "198.18.0.1 good.example.net\n";
    let Some(names) = Names::start(hosts, Duration::ZERO) else { return };
    let output = run(names.webresolve().arg("--verify"), b"198.18.0.1 x\n198.18.0.2 y\n");
    assert_eq!(stdout(&output), "good.example.net x\n198.18.0.2 y\n");
}

#[test]
fn names_are_remembered_between_runs() {
    let Some(names) = Names::start(&hosts(10), Duration::ZERO) else { return };
    let files = tempfile::tempdir().unwrap();
    let cache = files.path().join("cache");
    let (plain, resolved) = logs(50, 10);
    for run_number in 1..=2 {
        let output = run(names.webresolve().arg("-c").arg(&cache), plain.as_bytes());
        assert_eq!(stdout(&output), resolved, "run {run_number}");
        assert_eq!(names.asked.load(Ordering::Relaxed), 10, "run {run_number}");
    }
    let text = std::fs::read_to_string(&cache).unwrap();
    assert!(text.contains("198.18.0.1 host-0.example.net "), "{text}");
    assert!(text.contains("198.18.0.10 - "), "{text}");
}

#[test]
fn a_dead_name_server_leaves_addresses_and_says_so() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = silent.local_addr().unwrap().to_string();
    let (plain, _) = logs(2_000, 500);
    let start = Instant::now();
    let mut command = tool("webresolve");
    command.args(["--no-hosts", "-t", "500ms", "--rate", "0", "--server", &server]);
    let output = run(&mut command, plain.as_bytes());
    assert_eq!(stdout(&output), plain);
    assert!(output.status.success());
    let message = stderr(&output);
    assert!(message.contains(&format!("no answer from {server} for 500 of 500")), "{message}");
    // One at a time it would be more than four minutes.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn compressed_logs_come_in_and_go_out() {
    let Some(names) = Names::start(&hosts(10), Duration::ZERO) else { return };
    let files = tempfile::tempdir().unwrap();
    let (plain, resolved) = logs(50, 10);
    let zipped = files.path().join("log.zst");
    std::fs::write(&zipped, zstd::encode_all(plain.as_bytes(), 1).unwrap()).unwrap();
    let result = files.path().join("out.gz");
    let output = run(names.webresolve().arg(&zipped).arg("-o").arg(&result), b"");
    assert!(output.status.success(), "{}", stderr(&output));
    let again =
        run(tool("webresolve").args(["--skip", "0.0.0.0/0", "--no-hosts"]).arg(&result), b"");
    assert_eq!(stdout(&again), resolved);
}

#[test]
fn splitwr_is_the_same_program_on_a_file_or_a_pipe() {
    let Some(names) = Names::start(&hosts(10), Duration::ZERO) else { return };
    let (plain, resolved) = logs(50, 10);
    let files = tempfile::tempdir().unwrap();
    let log = files.path().join("log");
    std::fs::write(&log, &plain).unwrap();
    let mut splitwr = tool("splitwr");
    splitwr.args(["--no-hosts", "--server", &names.address.to_string()]);
    assert_eq!(stdout(&run(&mut splitwr, plain.as_bytes())), resolved);
    assert_eq!(stdout(&run(splitwr.arg(&log), b"")), resolved);
}

#[test]
fn a_missing_file_is_reported_and_the_others_are_copied() {
    let files = tempfile::tempdir().unwrap();
    let good = files.path().join("good");
    std::fs::write(&good, "www x\n").unwrap();
    let output = run(tool("webresolve").arg("/no/such/log").arg(&good), b"");
    assert_eq!(stdout(&output), "www x\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("'/no/such/log'"), "{}", stderr(&output));
    let usage = run(tool("webresolve").args(["-n", "0"]), b"");
    assert_eq!(usage.status.code(), Some(2));
}

/// `cargo test --release --test webresolve -- --ignored --nocapture`
#[test]
#[ignore = "takes two minutes: looks 5,000 addresses up one at a time"]
fn at_least_fifty_times_faster_than_one_at_a_time() {
    let Some(names) = Names::start(&hosts(5_000), Duration::from_millis(20)) else { return };
    let (plain, resolved) = logs(100_000, 5_000);
    let timed = |parallel: &str| {
        let start = Instant::now();
        let output = run(names.webresolve().args(["-n", parallel]), plain.as_bytes());
        assert_eq!(stdout(&output), resolved);
        start.elapsed()
    };
    let many = timed("128");
    let one = timed("1");
    eprintln!(
        "one at a time {one:?}, 128 at a time {many:?}: {:.0} times",
        one.as_secs_f64() / many.as_secs_f64()
    );
    assert!(one > many * 50);
}
