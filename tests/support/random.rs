//! Chance that can be had again by its seed.

use std::time::{SystemTime, UNIX_EPOCH};

/// xorshift64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same sequence.
    pub fn seeded(seed: u64) -> Random {
        // Neighbours as seeds are to have nothing in common, and zero would stay zero.
        let mut random = Random((seed ^ 0x5851_f42d_4c95_7f2d).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.below(2);
        random
    }

    /// The seed that the environment gives under `name`, else one of this moment; it is printed.
    #[allow(clippy::disallowed_methods, reason = "a seed of its own for every run of the test")]
    pub fn seed(name: &str) -> u64 {
        let given = std::env::var(name).ok().and_then(|seed| seed.parse().ok());
        let nanos = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = given.unwrap_or_else(nanos);
        println!("{name}={seed}");
        seed
    }

    /// Below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The low bits of a xorshift are its worst.
        (self.0 >> 11) % bound
    }

    /// Whether it happens, in so many of a hundred cases.
    pub fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        let length = u64::try_from(among.len()).ok().filter(|length| *length > 0)?;
        among.get(self.below(length) as usize)
    }
}
