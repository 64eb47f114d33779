//! When a probe costs the program too much.
//!
//! A probe may take a share of one processor core. One that takes more than that for a while is switched off, and one that takes many times as much is at
//! once: a logpoint in a function that is called a million times a second must not take a service down. Pure logic: whoever measures says what was spent.

use std::time::Duration;

/// How much more than the limit trips without a delay.
const AT_ONCE: f64 = 5.0;
/// How long the limit may be exceeded.
const SUSTAINED: Duration = Duration::from_secs(1);
/// The time over which the share is smoothed: what was spent so long ago counts for a third.
const MEMORY: Duration = Duration::from_millis(500);
/// Of a shorter time than this nothing is concluded.
const SHORTEST: Duration = Duration::from_millis(20);

/// Watches one probe.
#[derive(Clone, Debug, Default)]
pub(super) struct Breaker {
    /// The smoothed share of one core.
    average: f64,
    /// For how long the average has been above the limit.
    excess: Duration,
}

/// What a look at a probe comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// It may stay.
    Stay,
    /// It is to be switched off; it took this share of one core.
    Trip(f64),
}

impl Breaker {
    /// In the last `elapsed`, the probe has `spent` so much time, on all cores together. `limit` is a share of one core, above 0.
    pub(super) fn observe(&mut self, elapsed: Duration, spent: Duration, limit: f64) -> Verdict {
        if elapsed < SHORTEST {
            return Verdict::Stay;
        }
        let share = spent.as_secs_f64() / elapsed.as_secs_f64();
        let kept = (-elapsed.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        self.average = share + (self.average - share) * kept;
        if share > limit * AT_ONCE {
            return Verdict::Trip(share);
        }
        if self.average > limit {
            self.excess += elapsed;
        } else {
            self.excess = Duration::ZERO;
        }
        if self.excess >= SUSTAINED {
            Verdict::Trip(self.average)
        } else {
            Verdict::Stay
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(250);

    /// The tick at which a probe that takes these shares trips, from 1.
    fn trips(shares: impl IntoIterator<Item = f64>) -> Option<usize> {
        let mut breaker = Breaker::default();
        let trips = |share: f64| breaker.observe(TICK, TICK.mul_f64(share), 0.2) != Verdict::Stay;
        shares
            .into_iter()
            .map(trips)
            .position(|tripped| tripped)
            .map(|at| at + 1)
    }

    #[test]
    fn what_stays_below_the_limit_stays() {
        assert_eq!(trips([0.19; 1000]), None);
    }

    #[test]
    fn a_sustained_excess_trips_after_a_second() {
        let at = trips([0.3; 100]).expect("it trips");
        assert!((4..=8).contains(&at), "after {at} quarters of a second");
    }

    #[test]
    fn many_times_the_limit_trips_at_once() {
        assert_eq!(trips([0.0, 0.0, 1.1]), Some(3));
    }

    #[test]
    fn short_bursts_do_not_trip() {
        let burst = [0.5, 0.0, 0.0, 0.0].into_iter().cycle().take(400);
        assert_eq!(trips(burst), None);
    }

    #[test]
    fn nothing_is_concluded_from_a_moment() {
        let mut breaker = Breaker::default();
        let moment = Duration::from_micros(10);
        assert_eq!(breaker.observe(moment, moment, 0.2), Verdict::Stay);
        assert_eq!(breaker.observe(Duration::ZERO, Duration::ZERO, 0.2), Verdict::Stay);
    }

    #[test]
    fn the_share_is_told() {
        let mut breaker = Breaker::default();
        let Verdict::Trip(share) = breaker.observe(TICK, TICK.mul_f64(1.5), 0.2) else {
            panic!("1.5 cores are more than 5 times 0.2")
        };
        assert!((share - 1.5).abs() < 1e-9, "{share}");
    }
}
