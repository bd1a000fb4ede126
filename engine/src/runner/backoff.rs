//! Pauses: between tries, and between looks while something takes hold. Seeded, so repeatable.

use std::time::Duration;

use crate::id::{Attempt, Instance};
use crate::kind::Settle;
use crate::workflow::RetryPolicy;

/// How far a pause between tries may differ from its nominal length.
const RETRY_SPREAD: f64 = 0.2;
/// The same for a pause between looks.
const SETTLE_SPREAD: f64 = 0.1;

/// The pause after a failed try: `backoff` × 2 each time up to `max`, ± 20 %.
pub(crate) fn after_failure(
    policy: &RetryPolicy,
    seed: u64,
    instance: Instance,
    attempt: Attempt,
) -> Duration {
    let doublings = attempt.0.saturating_sub(1).min(30);
    let nominal = policy.backoff.saturating_mul(1 << doublings).min(policy.max);
    let draw = Draws::new(seed, instance, attempt).spread(RETRY_SPREAD);
    nominal.mul_f64(draw)
}

/// The pauses between looks of one settle.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    max: Duration,
    draws: Draws,
}

impl Pauses {
    pub(crate) fn new(settle: &Settle, seed: u64, instance: Instance, attempt: Attempt) -> Self {
        let draws = Draws::new(!seed, instance, attempt);
        Self { next: settle.first, max: settle.max, draws }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next.mul_f64(self.draws.spread(SETTLE_SPREAD));
        self.next = self.next.mul_f64(1.5).min(self.max);
        pause
    }
}

/// A small seeded sequence (splitmix64): jitter needs spread, not secrecy.
#[derive(Debug)]
struct Draws(u64);

impl Draws {
    fn new(seed: u64, instance: Instance, attempt: Attempt) -> Self {
        Self(seed ^ (u64::from(instance.0) << 32) ^ u64::from(attempt.0))
    }

    /// A factor between `1 - spread` and `1 + spread`.
    fn spread(&mut self, spread: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let high = u32::try_from(z >> 32).expect("the upper half of a u64 fits a u32");
        1.0 - spread + 2.0 * spread * (f64::from(high) / f64::from(u32::MAX))
    }
}
