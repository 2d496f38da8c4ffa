//! What a personality runs beside the control plane.

use crate::bind::StartError;
use crate::calls::Call;
use crate::operator::Operator;
use crate::serving::Beside;
use tokio::sync::mpsc;

/// What a personality does besides serving: its own files and sockets, a control protocol, signals
/// with a special meaning.
pub trait Companion: Send {
    /// Opens the files that the user of the process is to open, under its root directory. The
    /// process that started this one still waits, and sees the error.
    ///
    /// # Errors
    /// The file that could not be opened. The start then fails.
    fn open(&mut self) -> Result<(), StartError>;

    /// Runs until the process ends, on the control thread. It must not block, and must answer
    /// `calls`. If another process was taken over, that one does not accept any more.
    fn run(self: Box<Self>, operator: Operator, calls: mpsc::Receiver<Call>) -> Beside;
}
