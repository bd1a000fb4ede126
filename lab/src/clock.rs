//! The world's clock: how much faster than a real one its delays pass.

use std::time::Duration;

/// Scales the delays of the world. Timestamps in APIs and certificates are real time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    speed: f64,
}

impl Clock {
    /// A speed that is not a positive number counts as 1.
    pub(crate) fn new(speed: f64) -> Self {
        let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
        Self { speed }
    }

    /// How many seconds of the world pass in one real second.
    pub(crate) fn speed(self) -> f64 {
        self.speed
    }

    /// The real duration of a duration of the world.
    pub(crate) fn scaled(self, world: Duration) -> Duration {
        world.div_f64(self.speed)
    }

    /// Waits for a duration of the world.
    pub(crate) async fn sleep(self, world: Duration) {
        tokio::time::sleep(self.scaled(world)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_at_speed_sixty_is_a_second() {
        assert_eq!(Clock::new(60.0).scaled(Duration::from_mins(1)), Duration::from_secs(1));
        assert_eq!(Clock::new(f64::NAN).speed().to_bits(), 1.0_f64.to_bits());
    }

    #[tokio::test(start_paused = true)]
    async fn sleeping_is_scaled() {
        let before = tokio::time::Instant::now();
        Clock::new(10.0).sleep(Duration::from_secs(20)).await;
        assert_eq!(before.elapsed(), Duration::from_secs(2));
    }
}
