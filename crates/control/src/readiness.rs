//! Whether clients should be sent to this instance.

use crate::beacon::NotReady;
use crate::instance::Instance;
use crate::summary::Backends;
use balancing::Pool;
use terms::Instant;

impl Instance {
    /// Whether clients should be sent here: it listens, and can serve. Takes time in proportion to
    /// the number of unavailable backends.
    pub(crate) fn readiness(&self) -> Result<(), NotReady> {
        if self.is_shutting_down() || self.is_leaving {
            return Err(NotReady::Ending);
        }
        let now = sys::clock::now();
        let pools = || self.config.pools.iter().zip(&self.pools);
        let essential = || pools().filter(|(config, _)| config.essential);
        if let Some((config, _)) = essential().find(|(_, pool)| !can_serve(pool, now)) {
            return Err(NotReady::NoBackend(Some(config.name.clone())));
        }
        match essential().next().is_some() || pools().any(|(_, pool)| can_serve(pool, now)) {
            true => Ok(()),
            false => Err(NotReady::NoBackend(None)),
        }
    }
}

/// Whether any backend of the pool is available.
fn can_serve(pool: &Pool, now: Instant) -> bool {
    pool.backends().any(|(_, _, backend)| Backends::of(backend, &pool.health, now).available > 0)
}
