//! Signals that are held for a while, and the one that ends the process.

/// Signals that wait. When this is dropped, those that came meanwhile are delivered.
///
/// It holds for this thread and for threads started in the meantime, for the latter for good.
#[derive(Debug)]
pub struct HeldSignals {
    before: libc::sigset_t,
}

impl HeldSignals {
    /// Holds signals, by number, from now on.
    #[must_use]
    pub fn new(signals: impl IntoIterator<Item = i32>) -> Self {
        Self { before: mask(libc::SIG_BLOCK, signals) }
    }
}

/// Holds or passes these signals, by number, and returns the ones that were held before.
pub(crate) fn mask(how: libc::c_int, signals: impl IntoIterator<Item = i32>) -> libc::sigset_t {
    // SAFETY: a signal set is plain numbers, for which zeros are valid; sigemptyset(3) makes it empty
    // whatever its form.
    let (mut set, mut before) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: both point to sets that live longer than the calls, which keep no pointer. A number
    // that is no signal is refused and changes nothing.
    unsafe {
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::pthread_sigmask(how, &raw const set, &raw mut before);
    }
    before
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        // SAFETY: the set was filled by the call that began to hold, and is only read.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut());
        }
    }
}

/// Ends this process by `signal`, as if it had not been caught, so that the parent sees it.
pub fn die_of(signal: i32) -> ! {
    // SAFETY: restores the default action and raises; both take plain numbers. If the signal
    // does not end the process, the exit below does.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
        libc::_exit(128 + signal)
    }
}
