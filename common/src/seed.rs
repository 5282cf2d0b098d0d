//! Seeds derived by name, and the one named generator that everything draws from.
//!
//! `seed_for(run_seed, "shuffle", epoch)` gives a stream of its own to every purpose, so adding a new consumer of
//! randomness never shifts the draws of another one.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// A 64-bit seed for one purpose of a run: the first eight bytes of BLAKE3 over run seed, name and index.
pub fn seed_for(run_seed: u64, name: &str, index: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&run_seed.to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.update(&[0]);
    hasher.update(&index.to_le_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// PCG64 seeded with [`seed_for`].
pub fn rng_for(run_seed: u64, name: &str, index: u64) -> Pcg64 {
    Pcg64::seed_from_u64(seed_for(run_seed, name, index))
}

/// Draws with replacement of `count` places below `below`.
pub fn places(rng: &mut Pcg64, count: usize, below: usize) -> Vec<usize> {
    (0..count).map(|_| rng.random_range(0..below)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_indices_give_streams_of_their_own() {
        let shuffle = seed_for(47, "shuffle", 0);
        assert_eq!(shuffle, seed_for(47, "shuffle", 0));
        assert_ne!(shuffle, seed_for(47, "shuffle", 1));
        assert_ne!(shuffle, seed_for(47, "dropout", 0));
        assert_ne!(shuffle, seed_for(48, "shuffle", 0));
    }
}
