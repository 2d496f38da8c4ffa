//! A limit on how long a process may take for its next step. It goes on when the process becomes
//! another program (alarm(2)), so that whoever starts a program can set it; a copy of the process has
//! none.

use crate::signals::mask;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// What the process says at the end: where it is, and how long.
static TEXT: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static LEN: AtomicUsize = AtomicUsize::new(0);

/// Has this process end when `time` has passed, in seconds, rounded up.
pub fn set(time: Duration) {
    alarm(seconds(time));
}

/// Begins the time anew, if there is a limit.
pub fn extend(time: Duration) {
    if alarm(seconds(time)) == 0 {
        lift();
    }
}

/// Takes the limit away.
pub fn lift() {
    alarm(0);
}

/// Has this process write `text` to standard error and exit with status 1 when its time is over. A
/// program that does not say this is ended by the signal.
pub fn explain(text: &'static str) {
    TEXT.store(text.as_ptr().cast_mut(), Relaxed);
    LEN.store(text.len(), Relaxed);
    let handler = end as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler calls only what a handler may (signal-safety(7)).
    unsafe { libc::signal(libc::SIGALRM, handler) };
    mask(libc::SIG_UNBLOCK, [libc::SIGALRM]); // whoever has started this process may have held it
}

extern "C" fn end(_: libc::c_int) {
    // SAFETY: the text is static, and was stored with its length before this became the handler. Both
    // calls may be made in a handler.
    unsafe {
        libc::write(2, TEXT.load(Relaxed).cast(), LEN.load(Relaxed));
        libc::_exit(1)
    }
}

fn seconds(time: Duration) -> libc::c_uint {
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// Sets the number of seconds, or none, and returns what was left of the last one.
fn alarm(seconds: libc::c_uint) -> libc::c_uint {
    // SAFETY: takes and returns plain numbers.
    unsafe { libc::alarm(seconds) }
}
