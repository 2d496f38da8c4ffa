//! A client's bytes in pieces, on the way to TLS: each answer is to a request that came alone, there
//! are two at most, and after the second nothing but a ClientHello is taken. A backend's answer is
//! taken only if it came alone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay::{CLIENT_HELLO_BYTES_MAX, Grant, Upgrade, UpgradeStep, grant, request};
use terms::Starttls;

fuzz_target!(|input: (bool, Vec<&[u8]>)| {
    let (asks, pieces) = input;
    let protocol = asks.then_some(Starttls::Postgresql);
    let mut upgrade = Upgrade::new(protocol);
    let (mut queue, mut answers) = (Vec::new(), Vec::new());
    for piece in &pieces {
        queue.extend_from_slice(piece);
        let granted = upgrade.granted();
        match upgrade.next_step(&mut queue.clone()) {
            UpgradeStep::Wait(needed) => {
                assert!(needed > queue.len() && needed <= CLIENT_HELLO_BYTES_MAX);
            }
            UpgradeStep::Answer(count, answer) => {
                assert!(granted.is_none() && count == queue.len());
                let asked = request(Starttls::Postgresql);
                assert_eq!(answer == b"S", queue == asked);
                assert_eq!(upgrade.granted().is_some(), answer == b"S");
                answers.push(answer);
                queue.clear();
            }
            UpgradeStep::Hello(_) => {
                assert_eq!(queue[0], 22);
                break;
            }
            UpgradeStep::Plain => {
                assert!(granted.is_none());
                break;
            }
            UpgradeStep::Refuse => {
                assert!(protocol.is_some());
                break;
            }
        }
    }
    assert!(answers.len() <= 2 && (asks || answers.is_empty()));
    for piece in pieces {
        let is_granted = matches!(grant(Starttls::Postgresql, piece), Grant::Granted(_));
        assert_eq!(is_granted, piece == b"S");
    }
});
