//! Probes: whatever a server sends, in whatever pieces, a dialogue ends or waits, and sends little.
//!
//! The first line of input is the probe, or `agent` and then how it is asked; the rest is what the
//! server sends. The first byte says how long the pieces are.

#![no_main]

use libfuzzer_sys::fuzz_target;
use probing::{Advice, AgentCheck, Dialogue, Probe, Progress};

fuzz_target!(|data: &[u8]| {
    let Some((size, data)) = data.split_first() else { return };
    let Some(end) = data.iter().position(|it| *it == b'\n') else { return };
    let Ok(text) = std::str::from_utf8(&data[..end]) else { return };
    let mut dialogue = match text.strip_prefix("agent ") {
        Some(text) => {
            let Ok(check) = text.parse::<AgentCheck>() else { return };
            assert_eq!(check.to_string().parse::<AgentCheck>(), Ok(check.clone()), "{check}");
            Dialogue::with_agent(&check.question("db1"), Advice::default())
        }
        None => {
            let Ok(probe) = text.parse::<Probe>() else { return };
            assert_eq!(probe.to_string().parse::<Probe>(), Ok(probe.clone()), "{probe}");
            Dialogue::new(&probe, "192.0.2.1:80", 7)
        }
    };
    let mut send = Vec::new();
    let mut progress = dialogue.start(&mut send);
    for piece in data[end + 1..].chunks(usize::from(*size).max(1)) {
        if progress != Progress::Waiting {
            break;
        }
        progress = dialogue.read(piece, &mut send);
    }
    if let Progress::Failed(why) = &progress {
        assert!(why.len() < 2000 && !why.contains(char::is_control), "{why:?}");
    }
    if progress == Progress::Waiting {
        let _ = dialogue.end();
    }
    assert!(dialogue.advice().is_none_or(|it| it.share_percent <= 100));
    assert!(send.len() < 2 * text.len() + 4096, "{}", send.len());
});
