//! Threads for work that may block, beside the control thread.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

/// A few threads. Nothing waits for one that hangs.
#[derive(Clone)]
pub struct Threads(Arc<Semaphore>);

/// Threads at one time: those that hang, on a dead file system say, must not become many.
const THREADS_MAX: usize = 16;
/// How long work may take, from asking for a thread to the result.
const LIMIT: Duration = Duration::from_secs(60);

impl Default for Threads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(THREADS_MAX)))
    }
}

impl Threads {
    /// Runs `work` in a thread.
    ///
    /// # Errors
    /// In words, when the work takes too long or no thread is available. The work may still finish.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let result = timeout(LIMIT, async {
            let permit = Arc::clone(&self.0).acquire_owned().await.ok()?;
            let (tell, told) = oneshot::channel();
            let thread = std::thread::Builder::new().name("pen-files".to_owned());
            let spawned = thread.spawn(move || {
                let result = work();
                drop(permit);
                let _ = tell.send(result);
            });
            spawned.ok()?;
            told.await.ok()
        });
        match result.await {
            Ok(Some(result)) => Ok(result),
            Ok(None) => Err("there is no thread for it".to_owned()),
            Err(_) => Err(format!("it took longer than {} s", LIMIT.as_secs())),
        }
    }
}
