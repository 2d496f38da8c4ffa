//! Messages that another process might send: recorded ones with random changes. Each is read or
//! refused, and what was read can be said again.

use super::frame::{self, Frame};
use super::protocol::Kind;
use super::record::{Batch, Described, Hello, Standing};
use relay::{Link, LinkState};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sys::channel::Channel;
use terms::{Side, SpliceMode, Timeouts};
use testing::{Rng, sweep};

const STATE: &str = include_str!("../../../cli/tests/native/transcript/state.json");
const SWITCH: &str = include_str!("../../../cli/tests/native/transcript/switch.json");
const BATCH: &str = include_str!("../../../cli/tests/native/transcript/batch.json");
const HELLO: &str = r#"{"program":"x","boot":"b","descriptors":9,"takes_flows":true}"#;
const FLOWS: &str = r#"{"sessions":[],"flows":[{"listener":"main","backend":null,"kept":[3],"state":
    {"number":7,"door":9,"client":"127.0.0.1:9","is_bound":true,"is_trying":true,"counts":{"started":1,
    "active":2,"requests":1,"responses":0,"sent":3,"received":0,"is_proven":false},
    "connect_micros":1}}]}"#;

/// Numbers and words that are more likely to matter than random bytes.
const PIECES: [&str; 12] = [
    "null",
    "-1",
    "0",
    "18446744073709551615",
    "1e999",
    "\"",
    "[]",
    "{}",
    "true",
    ",",
    "[[[[[[",
    "\\u0000",
];

fn mutate(text: &str, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = text.replace("@UID@", "1").into_bytes();
    for _ in 0..=rng.below(3) {
        let at = rng.below(bytes.len());
        match rng.below(4) {
            0 => bytes[at] = rng.below(256) as u8,
            1 => drop(bytes.splice(at..at, PIECES[rng.below(PIECES.len())].bytes())),
            2 => {
                let end = (at + 1 + rng.below(20)).min(bytes.len());
                bytes.splice(at..end, PIECES[rng.below(PIECES.len())].bytes()).for_each(drop);
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

/// What is understood can be said, and is understood again.
fn read<T: Serialize + DeserializeOwned>(kind: Kind, text: &[u8]) -> Option<T> {
    let frame = Frame { kind, text: text.to_vec(), tail: Vec::new(), descriptors: Vec::new() };
    let record: T = frame.record().ok()?;
    let said = serde_json::to_vec(&record).unwrap();
    let again: T = serde_json::from_slice(&said).unwrap();
    assert_eq!(serde_json::to_vec(&again).unwrap(), said);
    Some(record)
}

#[test]
fn changed_messages_are_read_or_refused() {
    sweep(2000, |seed, _| {
        let mut rng = Rng::new(seed);
        drop(read::<Hello>(Kind::Hello, &mutate(HELLO, &mut rng)));
        drop(read::<Described>(Kind::State, &mutate(STATE, &mut rng)));
        drop(read::<Standing>(Kind::Switch, &mutate(SWITCH, &mut rng)));
        drop(read::<Batch>(Kind::Batch, &mutate(FLOWS, &mut rng)));
        let batch = read::<Batch>(Kind::Batch, &mutate(BATCH, &mut rng));
        for session in batch.into_iter().flat_map(|it| it.sessions) {
            let state = serde_json::to_value(&session.state).unwrap()["link"].take();
            let state: LinkState = serde_json::from_value(state).unwrap();
            let mut link = Link::resume(&state, [b"held", b"back"], SpliceMode::Auto);
            for side in [Side::Downstream, Side::Upstream] {
                let _ = link.next_step(side);
            }
            let _ = link.verdict(&Timeouts::default());
            link = Link::resume(&link.state(), [b"", b""], SpliceMode::Never);
            let _ = link.next_step(Side::Upstream);
        }
    });
}

#[test]
fn the_recorded_messages_are_understood_as_they_are() {
    assert!(read::<Described>(Kind::State, STATE.replace("@UID@", "1").as_bytes()).is_some());
    assert!(read::<Standing>(Kind::Switch, SWITCH.as_bytes()).is_some());
    assert_eq!(read::<Batch>(Kind::Batch, BATCH.as_bytes()).unwrap().sessions.len(), 1);
    assert_eq!(read::<Batch>(Kind::Batch, FLOWS.as_bytes()).unwrap().flows.len(), 1);
    assert!(read::<Hello>(Kind::Hello, HELLO.as_bytes()).unwrap().takes_flows);
}

#[test]
fn a_channel_with_anything_in_it_comes_to_an_end() {
    let (one, other) = Channel::pair().unwrap();
    frame::send(&one, Kind::Hello, &7, &[b"tail"], &[], None).unwrap();
    let mut good = vec![0; 21];
    other.receive(&mut good, &mut Vec::new(), None).unwrap();
    sweep(2000, |seed, _| {
        let mut rng = Rng::new(seed);
        let (one, other) = Channel::pair().unwrap();
        let mut bytes = good.repeat(1 + rng.below(3));
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len());
            bytes[at] = rng.below(256) as u8;
        }
        one.send(&bytes, &[], None).unwrap();
        drop(one);
        let read = std::iter::from_fn(|| frame::receive(&other, None).ok());
        assert!(read.count() <= 3);
    });
}
