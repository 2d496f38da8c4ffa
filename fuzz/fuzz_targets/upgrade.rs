//! A client's bytes in pieces, on the way to TLS: a request for TLS is granted only if it came
//! alone, after which nothing but a ClientHello is taken, and no dialogue is endless. A backend's
//! answer is taken only if it came alone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay::{ASKING_BYTES_MAX, Asking, AskingStep, CLIENT_HELLO_BYTES_MAX, Upgrade, UpgradeStep};
use terms::Starttls;

const PROTOCOLS: [Starttls; 5] =
    [Starttls::Postgresql, Starttls::Ldap, Starttls::Smtp, Starttls::Imap, Starttls::Pop3];

fuzz_target!(|input: (u8, bool, Vec<&[u8]>)| {
    let (choice, wants_tls, pieces) = input;
    let protocol = PROTOCOLS.get(usize::from(choice % 8)).copied();
    play_client(protocol, &pieces);
    if let Some(asking) = protocol.and_then(|protocol| Asking::new(protocol, wants_tls)) {
        play_backend(asking, &pieces);
    }
});

fn play_client(protocol: Option<Starttls>, pieces: &[&[u8]]) {
    let mut upgrade = Upgrade::new(protocol);
    assert_eq!(upgrade.greeting().is_some(), upgrade.is_bound());
    let is_greeted = upgrade.is_bound();
    let (mut queue, mut answers) = (Vec::new(), 0);
    for piece in pieces {
        queue.extend_from_slice(piece);
        loop {
            let was_granted = upgrade.granted().is_some();
            match upgrade.next_step(&mut queue.clone()) {
                UpgradeStep::Wait(needed) => {
                    assert!(needed > queue.len() && needed <= CLIENT_HELLO_BYTES_MAX);
                    break;
                }
                UpgradeStep::Answer(count, answer) => {
                    assert!(!was_granted && (1..=queue.len()).contains(&count));
                    // A line of a client must not become more than the lines of its answer.
                    assert!(!answer.is_empty() && answer.len() < 200);
                    queue.drain(..count);
                    assert!(upgrade.granted().is_none() || queue.is_empty());
                    answers += 1;
                    assert!(answers <= 32);
                }
                UpgradeStep::Goodbye(count, _) => {
                    assert!(!was_granted && is_greeted && (1..=queue.len()).contains(&count));
                    return;
                }
                UpgradeStep::Hello(_) => {
                    assert_eq!(queue[0], 22);
                    assert!(was_granted || !is_greeted);
                    return;
                }
                UpgradeStep::Plain => {
                    assert!(!was_granted && !is_greeted);
                    return;
                }
                UpgradeStep::Refuse => {
                    assert!(protocol.is_some());
                    return;
                }
            }
        }
    }
}

fn play_backend(mut asking: Asking, pieces: &[&[u8]]) {
    let (mut queue, mut steps) = (Vec::new(), 0);
    for piece in [&b""[..]].iter().chain(pieces) {
        queue.extend_from_slice(piece);
        loop {
            let seen = &queue[..queue.len().min(ASKING_BYTES_MAX)];
            match asking.next_step(seen) {
                AskingStep::Wait => {
                    assert!(seen.len() < ASKING_BYTES_MAX);
                    break;
                }
                AskingStep::Say(count, text) => {
                    assert!(count <= seen.len() && (count > 0 || !text.is_empty()));
                    queue.drain(..count);
                    steps += 1;
                    assert!(steps <= 101);
                }
                AskingStep::Done(count) => {
                    assert!(count > 0 && count <= seen.len());
                    assert!(count == seen.len() || !asking.wants_tls());
                    return;
                }
                AskingStep::Refused => return,
            }
        }
    }
}
