//! Whether a worker has been called to take the orders in its inbox.

use crate::sync::AtomicBool;
use crate::sync::Ordering::AcqRel;

/// Whether a worker has been woken for orders that it has not begun to take.
///
/// Senders put an order into the inbox and then call; the worker answers and then looks into the
/// inbox. Each step reads what the other wrote (`AcqRel`): a sender that finds a call unanswered
/// need not wake, since the worker will answer it and then see the order, too.
#[derive(Debug)]
pub(crate) struct Call(AtomicBool);

impl Call {
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Calls the worker after an order was sent. Returns whether the worker must be woken.
    pub fn call(&self) -> bool {
        !self.0.swap(true, AcqRel)
    }

    /// Answers, before orders are taken. Returns whether there was a call.
    pub fn answer(&self) -> bool {
        // A plain store would not see what was sent before the call that it overwrites.
        self.0.swap(false, AcqRel)
    }
}
