//! A pipe whose output is blocked is filled up, and what is found behind it keeps its
//! meaning.

use relay::{Link, Ready, Step, Verdict};
use terms::{CloseReason, Instant, Side, SpliceMode, Timeouts};

const MEGABYTE: usize = 1 << 20;

/// A link from whose backend a megabyte was read, of which the client took one byte.
fn backed_up() -> Link {
    let ready = Ready { writable: true, ..Ready::default() };
    let mut link = Link::new(ready, ready, SpliceMode::Always, Instant::ZERO);
    link.handle_ready(Side::Upstream, Ready { readable: true, ..Ready::default() });
    assert!(matches!(link.next_step(Side::Upstream), Step::Splice(_)));
    link.on_spliced(Side::Upstream, MEGABYTE, Instant::ZERO);
    assert_eq!(link.next_step(Side::Upstream), Step::FlushPipe);
    link.on_pipe_written(Side::Upstream, 1, Instant::ZERO);
    link.on_blocked(Side::Upstream);
    link
}

/// The client takes everything.
fn flush(link: &mut Link) {
    link.handle_ready(Side::Downstream, Ready { writable: true, ..Ready::default() });
    assert_eq!(link.next_step(Side::Upstream), Step::FlushPipe);
    link.on_pipe_written(Side::Upstream, link.in_pipe(Side::Upstream), Instant::ZERO);
}

#[test]
fn a_pipe_is_filled_up_once_while_its_output_is_blocked() {
    let mut link = backed_up();
    for _ in 0..2 {
        let Step::Splice(size) = link.next_step(Side::Upstream) else {
            panic!("nothing more is read");
        };
        link.on_spliced(Side::Upstream, size / 4, Instant::ZERO);
        assert_eq!(link.next_step(Side::Upstream), Step::Wait);
        // The client takes a part of it.
        link.handle_ready(Side::Downstream, Ready { writable: true, ..Ready::default() });
        assert_eq!(link.next_step(Side::Upstream), Step::FlushPipe);
        link.on_pipe_written(Side::Upstream, size / 2, Instant::ZERO);
        link.on_blocked(Side::Upstream);
    }
    flush(&mut link);
    assert!(matches!(link.next_step(Side::Upstream), Step::Splice(_)));
}

#[test]
fn a_full_pipe_is_not_tried_again_before_some_of_it_was_written() {
    let mut link = backed_up();
    link.on_pipe_full(Side::Upstream);
    assert_eq!(link.next_step(Side::Upstream), Step::Wait);
    flush(&mut link);
    // Nothing was said about the source.
    assert!(matches!(link.next_step(Side::Upstream), Step::Splice(_)));
}

#[test]
fn a_reset_found_behind_a_pipe_is_passed_on_as_a_reset_after_it() {
    let mut link = backed_up();
    link.on_source_failed(Side::Upstream);
    assert_eq!(link.next_step(Side::Upstream), Step::Wait);
    assert_eq!(link.verdict(&Timeouts::default()), Verdict::Open, "bytes are held back");
    flush(&mut link);
    assert!(matches!(link.next_step(Side::Upstream), Step::Splice(_)));
    link.on_ended(Side::Upstream); // the error was taken before
    let (victim, reason) = (Side::Downstream, CloseReason::BackendReset);
    assert_eq!(link.verdict(&Timeouts::default()), Verdict::Abort { victim, reason });
}
