use super::*;
use crate::prober::Definition;
use probing::Rules;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use sys::epoll::Poller;

/// An SSH probe, and the server's end of its connection.
fn begin() -> (Conversation, TcpStream, Poller) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let second = Duration::from_secs(1);
    let rules = Rules { interval: second, timeout: second, rise: 1, fall: 1 };
    let question = Question::Probe(Probe::Ssh);
    let definition = Definition { question, rules, source: None, header: None, encryption: None };
    let address = Address::Ip(listener.local_addr().unwrap());
    let target = Target { address, definition: Arc::new(definition) };
    let conversation =
        Conversation::begin(&target, &Advice::default(), 0, &Connectors::default()).unwrap();
    let poller = Poller::new(1).unwrap();
    poller.add_stream(conversation.socket(), 0).unwrap();
    (conversation, listener.accept().unwrap().0, poller)
}

/// The outcome, and how many events it took.
fn hear(conversation: &mut Conversation, poller: &mut Poller) -> (Heard, usize) {
    for count in 1.. {
        poller.wait(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(poller.len(), 1, "no event has come");
        match conversation.handle(poller.event(0), &mut [0]) {
            Heard::Nothing => {}
            Heard::Much => poller.watch_end_only(conversation.socket(), 0, false).unwrap(),
            other => return (other, count),
        }
    }
    unreachable!()
}

#[test]
fn what_is_not_read_in_one_turn_is_read_in_the_next_ones() {
    let (mut conversation, mut server, mut poller) = begin();
    server.write_all(&b"hello\r\n".repeat(READS_MAX)).unwrap();
    server.write_all(b"SSH-2.0-a\r\n").unwrap();
    let (heard, count) = hear(&mut conversation, &mut poller);
    assert!(matches!(heard, Heard::Passed));
    assert!(count > 7, "{count}"); // a byte is read at a time here
}

#[test]
fn what_a_dialogue_never_sees_is_bounded_too() {
    let (mut conversation, mut server, mut poller) = begin();
    conversation.received = RECEIVED_MAX - 1;
    server.write_all(b"he").unwrap();
    let (heard, _) = hear(&mut conversation, &mut poller);
    let Heard::Failed(why) = heard else { panic!() };
    assert_eq!(why, "has sent 256 kB without an answer");
}
