//! Every byte arrives, and silence ends a session.

use crate::support::{Backend, Client, End, until};
use crate::{Pen, silent};
use std::io::Read;
use std::net::Shutdown;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn fault_2_the_last_bytes_are_never_lost() {
    const ANSWER: &[u8] = &[b'x'; 20_000];
    let server = Backend::new(|client| {
        let (asked, end) = client.rest();
        if (asked.as_slice(), end) == (b"question".as_slice(), End::Eof) {
            client.send(ANSWER);
        }
    });
    for options in ["-r", "-r -P", "-H"] {
        let pen = Pen::start(options, &format!("{server}"));
        for round in 0..100 {
            let client = Client::connect(&pen.port);
            client.send("question");
            client.finish();
            let (answer, end) = client.rest();
            assert_eq!((answer.len(), end), (ANSWER.len(), End::Eof), "{options}, round {round}");
        }
    }
}

#[test]
fn fault_2_the_other_way_round() {
    let (tell, told) = mpsc::channel();
    let server = Backend::new(move |client| {
        client.send("greeting");
        client.finish();
        tell.send(client.rest()).unwrap();
    });
    let pen = Pen::start("-r", &format!("{server}"));
    for round in 0..100 {
        let client = Client::connect(&pen.port);
        assert_eq!(client.rest(), (b"greeting".to_vec(), End::Eof), "round {round}");
        client.send("last words");
        drop(client);
        assert_eq!(told.recv().unwrap(), (b"last words".to_vec(), End::Eof), "round {round}");
    }
}

/// How long until this client's session is cut.
#[track_caller]
fn time_until_cut(client: &Client) -> Duration {
    let begin = Instant::now();
    assert_ne!(client.end(), End::Silence);
    begin.elapsed()
}

#[track_caller]
fn check_prompt(time: Duration, seconds: u64) {
    let least = Duration::from_millis(seconds * 1000 - 300);
    let most = Duration::from_millis(seconds * 1000 + 2500);
    assert!(time >= least && time < most, "{time:?} instead of {seconds} s");
}

#[test]
fn fault_6_an_idle_session_ends_on_time() {
    let server = silent();
    let pen = Pen::start("", &format!("{server}"));
    assert_eq!(pen.ctl("idle_timeout 1"), "Idle timeout: 1 seconds\n");
    let clients: Vec<_> = (0..20).map(|_| Client::connect(&pen.port)).collect();
    until("all to be connected", || server.accepted() == 20);
    let begin = Instant::now();
    for client in &clients {
        client.send("x");
    }
    for client in &clients {
        assert_ne!(client.end(), End::Silence);
    }
    check_prompt(begin.elapsed(), 1);
}

#[test]
fn fault_6_a_half_closed_session_ends_on_time() {
    let server = silent();
    let pen = Pen::start("", &format!("{server}"));
    pen.ctl("idle_timeout 1");
    let client = Client::connect(&pen.port);
    client.send("x");
    client.finish();
    check_prompt(time_until_cut(&client), 1);
}

#[test]
fn fault_6_so_does_one_half_closed_by_the_server() {
    let (tell, told) = mpsc::channel();
    let server = Backend::new(move |client| {
        client.0.shutdown(Shutdown::Write).unwrap();
        let begin = Instant::now();
        let _ = (&client.0).read(&mut [0]);
        tell.send(begin.elapsed()).unwrap();
    });
    let pen = Pen::start("", &format!("{server}"));
    pen.ctl("idle_timeout 1");
    let client = Client::connect(&pen.port);
    assert_eq!(client.end(), End::Eof);
    check_prompt(told.recv_timeout(crate::PATIENCE).unwrap(), 1);
}

#[test]
fn fault_6_a_timeout_above_the_table_size_works() {
    let server = silent();
    let pen = Pen::start("-x 2", &format!("{server}"));
    pen.ctl("idle_timeout 3");
    let client = Client::connect(&pen.port);
    check_prompt(time_until_cut(&client), 3);
}

#[test]
fn fault_6_traffic_in_either_direction_counts() {
    let server = Backend::new(|client| {
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(300)); // the traffic that counts
            client.send("tick\n");
        }
    });
    let pen = Pen::start("", &format!("{server}"));
    pen.ctl("idle_timeout 1");
    let client = Client::connect(&pen.port);
    for _ in 0..10 {
        assert_eq!(client.line(), "tick");
    }
    assert_eq!(client.end(), End::Eof);
}

#[test]
fn a_listening_address_changed_at_run_time_keeps_open_connections() {
    let echo = Backend::echo();
    let pen = Pen::start("", &format!("{echo}"));
    let client = Client::connect(&pen.port);
    client.send("before");
    client.expect("before");
    let other = crate::port();
    let to = format!("127.0.0.1:{other}");
    assert_eq!(pen.ctl(&format!("listen {to}")), format!("{to}\n"));
    client.send("after");
    client.expect("after");
    let fresh = Client::connect(&other);
    fresh.send("new");
    fresh.expect("new");
    assert_eq!(crate::support::ask(&pen.port), "refused");
}
