//! The random orders of published runs, bit for bit: torch's shuffled loader and NumPy's legacy generator.
//!
//! Our own runs draw their orders from (seed, epoch) with [`common::seed`]; this is for replaying what others ran.

use common::Result;
use tch::{Device, Tensor};

use crate::errors::Doing;
use crate::shim;

/// Seeds the library's CPU generator, as `torch.manual_seed` does.
pub fn manual_seed(seed: u64) -> Result<()> {
    shim::manual_seed(Device::Cpu, seed)
}

/// The rows of the next epoch of torch's shuffled loader. The loader draws a number for its workers, which is of no
/// use here, then one that seeds the generator of the permutation.
pub fn loader_order(rows: usize) -> Result<Vec<i64>> {
    shim::random_int64()?;
    sampler_order(rows)
}

/// The rows of the next epoch of torch's random sampler without a loader around it.
pub fn sampler_order(rows: usize) -> Result<Vec<i64>> {
    let seed = shim::random_int64()?;
    permutation(rows, seed as u64)
}

/// `torch.randperm(rows)` from a fresh generator with this seed.
pub fn permutation(rows: usize, seed: u64) -> Result<Vec<i64>> {
    let order: Tensor = shim::randperm(rows as i64, seed)?;
    Vec::try_from(order).doing("reading a permutation")
}

/// The rows of an epoch that one process of `world` sees under torch's distributed sampler: a permutation seeded with
/// seed plus epoch, filled up from its beginning to a multiple of `world`, every `world`-th row from `rank` on.
pub fn distributed_order(rows: usize, world: usize, rank: usize, seed: u64, epoch: u64) -> Result<Vec<i64>> {
    let order = permutation(rows, seed.wrapping_add(epoch))?;
    let length = if rows == 0 { 0 } else { rows.div_ceil(world) * world };
    Ok((rank..length).step_by(world).map(|i| order[i % rows]).collect())
}

/// A `torch.Generator` of the CPU: the same twister as NumPy's, with torch's way of drawing permutations.
#[derive(Debug, Clone)]
pub struct TorchRandom(NumpyRandom);

impl TorchRandom {
    /// `torch.Generator().manual_seed(seed)`; only the lower 32 bits count, as there.
    pub fn new(seed: u64) -> Self {
        Self(NumpyRandom::new(seed as u32))
    }

    /// `torch.empty((), dtype=torch.int64).random_()`: 0 to 2^63 - 1.
    pub fn random_i64(&mut self) -> i64 {
        let high = u64::from(self.0.next_u32());
        ((high << 32 | u64::from(self.0.next_u32())) & (u64::MAX >> 1)) as i64
    }

    /// `torch.randperm(items)`, for less than 2^32 / 20 items.
    pub fn permutation(&mut self, items: usize) -> Vec<u32> {
        debug_assert!(items < u32::MAX as usize / 20);
        let mut order: Vec<u32> = (0..items as u32).collect();
        for i in 0..items.saturating_sub(1) {
            let other = self.0.next_u32() as usize % (items - i);
            order.swap(i, i + other);
        }
        order
    }
}

const N: usize = 624;
const M: usize = 397;

/// `numpy.random.RandomState`: the Mersenne Twister MT19937 with the legacy way of shuffling.
///
/// Source: Matsumoto and Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998).
#[derive(Debug, Clone)]
pub struct NumpyRandom {
    words: [u32; N],
    next: usize,
}

impl NumpyRandom {
    /// `numpy.random.RandomState(seed)`.
    pub fn new(seed: u32) -> Self {
        let mut words = [seed; N];
        for i in 1..N {
            let before = words[i - 1];
            words[i] = (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { words, next: N }
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.next == N {
            for i in 0..N {
                let joined = (self.words[i] & 0x8000_0000) | (self.words[(i + 1) % N] & 0x7fff_ffff);
                let twist = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                self.words[i] = self.words[(i + M) % N] ^ (joined >> 1) ^ twist;
            }
            self.next = 0;
        }
        let mut word = self.words[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// `numpy.random.shuffle`, for up to 2^32 items.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.up_to(last as u32) as usize;
            items.swap(last, other);
        }
    }

    /// A number in `0..=max`, by masking and drawing again.
    fn up_to(&mut self, max: u32) -> u32 {
        let mask = u32::MAX >> max.leading_zeros();
        loop {
            let value = self.next_u32() & mask;
            if value <= max {
                return value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_twister_gives_the_published_numbers() {
        // The standard's test value: the 10000th number with the default seed 5489.
        let mut random = NumpyRandom::new(5489);
        let last = (0..10_000).map(|_| random.next_u32()).last();
        assert_eq!(last, Some(4_123_659_995));
    }

    #[test]
    fn a_torch_generator_gives_the_permutations_of_the_library() {
        for (rows, seed) in [(1, 0), (2, 7), (57, 5), (1000, 1 << 33 | 41)] {
            let mine: Vec<i64> = TorchRandom::new(seed).permutation(rows).into_iter().map(i64::from).collect();
            assert_eq!(mine, permutation(rows, seed).unwrap());
        }
        let mut random = TorchRandom::new(6);
        assert_ne!(random.permutation(30), random.permutation(30));
        assert!(random.random_i64() >= 0);
    }

    #[test]
    fn a_shuffle_keeps_all_items_and_the_empty_one_draws_nothing() {
        let mut random = NumpyRandom::new(1103);
        let mut items: Vec<u32> = (0..100).collect();
        random.shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
        let mut idle = random.clone();
        idle.shuffle::<u8>(&mut []);
        idle.shuffle(&mut [1]);
        assert_eq!(idle.next_u32(), random.next_u32());
    }
}
