//! Random moments and choices, which can be had again: the seed is said, and `SPELUNK_SEED` sets it.

use std::time::Duration;

/// Whether tests of what may go wrong are to run for as long as it takes (`SPELUNK_STRESS=1`, `make stress`), or for a moment.
pub fn is_long() -> bool {
    std::env::var_os("SPELUNK_STRESS").is_some_and(|value| value == "1")
}

/// Random numbers good enough to choose moments (xorshift64).
pub struct Moments(u64);

impl Moments {
    /// Says the seed under the name of what is chosen for. Different names have different moments.
    pub fn new(what: &str) -> Moments {
        let seed = std::env::var("SPELUNK_SEED")
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or_else(|| std::process::id().into());
        println!("{what}: SPELUNK_SEED={seed}");
        // Seeds that lie side by side would begin alike (FNV-1a mixes them); and 0 would stay 0.
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let bytes = seed.to_le_bytes().into_iter().chain(what.bytes());
        Moments(bytes.fold(0xcbf2_9ce4_8422_2325, mix) | 1)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// True once in `count` times.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Waits for up to so many microseconds.
    pub fn pass(&mut self, limit: u64) {
        std::thread::sleep(self.within(limit));
    }

    /// Up to so many microseconds.
    pub fn within(&mut self, limit: u64) -> Duration {
        Duration::from_micros(self.below(limit))
    }
}
