//! Probes: whatever a server sends, in whatever pieces, a dialogue ends or waits, and sends little.
//!
//! The first line of input is the probe, the rest is what the server sends. The first byte says how
//! long the pieces are.

#![no_main]

use libfuzzer_sys::fuzz_target;
use probing::{Dialogue, Probe, Progress};

fuzz_target!(|data: &[u8]| {
    let Some((size, data)) = data.split_first() else { return };
    let Some(end) = data.iter().position(|it| *it == b'\n') else { return };
    let Ok(text) = std::str::from_utf8(&data[..end]) else { return };
    let Ok(probe) = text.parse::<Probe>() else { return };
    assert_eq!(probe.to_string().parse::<Probe>(), Ok(probe.clone()), "{probe}");
    let mut send = Vec::new();
    let mut dialogue = Dialogue::new(&probe, "192.0.2.1:80", 7);
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
    let _ = dialogue.end();
    assert!(send.len() < 2 * text.len() + 4096, "{}", send.len());
});
