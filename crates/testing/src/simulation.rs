//! Seeded simulations: the random numbers, and the loop over seeds.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// SplitMix64 (Steele et al., 2014). The same seed gives the same numbers on every machine.
#[derive(Clone, Debug, Default)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose numbers follow from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, any of 2^64.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from zero to `limit - 1`.
    ///
    /// # Panics
    /// If `limit` is zero.
    pub const fn below(&mut self, limit: usize) -> usize {
        (self.draw() % limit as u64) as usize
    }

    /// True once in `chances` calls, on average.
    ///
    /// # Panics
    /// If `chances` is zero.
    pub const fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

/// Plays the seeds from zero to `seeds - 1`. `play` gets the seed, and a cell in which it may keep
/// the number of its step for the message that a failure prints.
///
/// `EVENKEEL_SIM_SEED=n` plays only seed `n`; `EVENKEEL_SIM_SEEDS=n` plays `n` seeds.
///
/// # Panics
/// If `play` does.
pub fn sweep(seeds: u64, play: impl Fn(u64, &Cell<usize>)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("EVENKEEL_SIM_SEED") {
        Some(seed) => seed..=seed,
        None => 0..=number("EVENKEEL_SIM_SEEDS").unwrap_or(seeds).saturating_sub(1),
    };
    for seed in seeds {
        let step = Cell::new(0);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| play(seed, &step))) {
            let step = step.get();
            eprintln!("seed {seed}, step {step}: replay with EVENKEEL_SIM_SEED={seed}");
            resume_unwind(panic);
        }
    }
}
