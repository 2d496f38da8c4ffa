//! Numbers that operators read.

use crate::Pen;
use crate::support::{Backend, Client, End, Place, until};
use rustix::process::Signal;
use std::fs;
use std::io::{ErrorKind, Write};
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn fault_15_the_report_tells_of_clients() {
    let echo = Backend::echo();
    let mut pen = Pen::start("", &format!("{echo}"));
    let client = pen.connect_from([127, 0, 0, 9]);
    client.send("hello");
    client.expect("hello");
    pen.program.signal(Signal::USR1);
    let log = &pen.program.log;
    for line in [
        "1 servers",
        "Server 0 status:",
        "Active clients:",
        "Client 0 status:",
        "address 127.0.0.9",
        "last server 0",
        "connects  1",
        "sent  5",
        "received  5",
        "Active connections:",
        "Connection 0 status:",
        "client 0, server 0",
    ] {
        log.wait(line);
    }
    assert!(log.with("%p").is_empty() && log.with("family").is_empty(), "{:?}", log.all());
    pen.check_alive();
}

#[test]
fn the_status_page_goes_to_its_file_and_is_sent() {
    let echo = Backend::echo();
    let place = Place::new();
    let page = place.file("status.html");
    let mut pen = Pen::start_in(place, &format!("-w {}", page.display()), &format!("{echo}"));
    let client = pen.connect_from([127, 0, 0, 9]);
    client.send("hello");
    client.expect("hello");
    pen.program.signal(Signal::USR1);
    until("the page", || {
        fs::read_to_string(&page).is_ok_and(|text| text.trim_end().ends_with("</html>"))
    });
    let sent = pen.ctl("status");
    for text in [sent, fs::read_to_string(&page).unwrap()] {
        assert!(text.contains("Pen status page"), "{text}");
        assert!(text.contains("<td>127.0.0.9</td>"), "{text}");
        assert!(text.contains("Number of connections: 500 max, 1 used"), "{text}");
    }
}

#[test]
fn fault_32_counters_are_of_bytes_that_were_delivered() {
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let server = Backend::new(move |client| {
        wait.lock().unwrap().recv().unwrap();
        tell.send(client.rest()).unwrap();
        client.send(vec![b'y'; 300_000]);
    });
    let pen = Pen::start("", &format!("{server}"));
    let client = Client::connect(&pen.port);
    // Until nothing goes any further; what waits inside must not count as delivered.
    client.0.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    loop {
        match (&client.0).write(&[b'x'; 1 << 16]) {
            Ok(count) => sent += count as u64,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    let so_far = pen.server_number(0, "sx");
    assert!(so_far < sent, "{so_far} of {sent}, and the server has not read a byte");
    go.send(()).unwrap();
    client.finish();
    let (received, end) = told.recv().unwrap();
    assert_eq!((received.len() as u64, end), (sent, End::Eof));
    assert_eq!(client.rest().0.len(), 300_000);
    until("the counters", || pen.server_number(0, "rx") == 300_000);
    assert_eq!(pen.server_number(0, "sx"), sent);
    let recent = pen.ctl("recent");
    assert_eq!(recent, format!("127.0.0.1 connects 1 sx 300000 rx {sent}\n"));
}

#[test]
fn counters_are_exact_for_many_sessions() {
    let echo = Backend::echo();
    let pen = Pen::start("", &format!("{echo}"));
    for round in 1..=50_u64 {
        let client = Client::connect(&pen.port);
        client.send(vec![b'z'; round as usize * 100]);
        client.finish();
        assert_eq!(client.rest().1, End::Eof);
    }
    let total = (1..=50_u64).map(|round| round * 100).sum::<u64>();
    until("the counters", || {
        (pen.server_number(0, "sx"), pen.server_number(0, "rx")) == (total, total)
    });
    assert_eq!(pen.ctl("recent"), format!("127.0.0.1 connects 50 sx {total} rx {total}\n"));
    until("no session", || pen.server_number(0, "conn") == 0);
}
