//! Which row stands where in an epoch, as a pure function of (seed, epoch, position).
//!
//! Nothing is ever permuted in memory: a position is sent through a keyed Feistel network, a bijection on a power of
//! four that is walked until it lands inside the wanted range. Any position is therefore found in O(1), which makes
//! resuming in the middle of an epoch free, and the order does not depend on how many workers read.
//!
//! Upstream draws a full permutation from a generator that model creation has used before, so its order cannot be
//! reproduced and is not worth it; golden runs give theirs explicitly ([`Order::given`]).

use std::sync::{Arc, Mutex, PoisonError};

use common::seed::seed_for;
use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the rows of an epoch are ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Shuffle {
    /// As stored.
    Sequential,
    /// Every row anywhere: the best mixing, and a random read for each row.
    Global,
    /// The permutation that torch's distributed sampler draws on one device, from seed plus epoch: the order of published
    /// runs. It is held in memory, 8 bytes a row.
    Torch,
    /// Contiguous blocks in random order, rows mixed inside windows of several blocks. Reads stay inside one window
    /// of `rows * window` rows, so a data set larger than memory streams from disk.
    Block {
        /// Rows of a block, >= 1.
        rows: u64,
        /// Blocks of a window, >= 1.
        window: u64,
    },
}

impl Default for Shuffle {
    fn default() -> Self {
        Self::Block { rows: 4096, window: 16 }
    }
}

/// The order of rows for every epoch of a run.
#[derive(Debug, Clone)]
pub struct Order {
    rows: u64,
    seed: u64,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    Shuffle(Shuffle),
    /// One list per epoch; epochs beyond the last repeat it.
    Given(Vec<Arc<Vec<u64>>>),
    /// Lists that are made when their epoch begins.
    Made(Arc<Made>),
}

/// Makes the list of an epoch.
type Make = dyn Fn(u64) -> Result<Vec<u64>> + Send + Sync;

struct Made {
    make: Box<Make>,
    /// The newest two: readers may be ahead by an epoch.
    kept: Mutex<Vec<(u64, Arc<Vec<u64>>)>>,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Made")
    }
}

impl Order {
    /// The order of `rows` rows under `shuffle`, drawn from `seed`.
    pub fn new(rows: u64, shuffle: &Shuffle, seed: u64) -> Result<Self> {
        if let Shuffle::Block { rows: 0, .. } | Shuffle::Block { window: 0, .. } = shuffle {
            return Err(Error::usage("block shuffle: `rows` and `window` are at least 1"));
        }
        if *shuffle == Shuffle::Torch {
            let order = move |epoch| crate::replay::distributed_order(rows as usize, 1, 0, seed, epoch);
            return Ok(Self::made(rows, move |epoch| Ok(order(epoch)?.into_iter().map(|row| row as u64).collect())));
        }
        Ok(Self { rows, seed, rule: Rule::Shuffle(shuffle.clone()) })
    }

    /// An explicit order: `epochs[e]` lists the rows of epoch e. All lists have the same length.
    pub fn given(epochs: Vec<Vec<u64>>) -> Result<Self> {
        let Some(rows) = epochs.first().map(|e| e.len() as u64) else {
            return Err(Error::usage("given order: no epoch is listed"));
        };
        if epochs.iter().any(|e| e.len() as u64 != rows) {
            return Err(Error::usage("given order: the epochs differ in length"));
        }
        Ok(Self { rows, seed: 0, rule: Rule::Given(epochs.into_iter().map(Arc::new).collect()) })
    }

    /// An order whose lists of `rows` rows are made epoch by epoch: sampling rules that look at the rows themselves,
    /// such as batches of events of similar length. `make` must give the same list whenever it is asked for an epoch.
    pub fn made(rows: u64, make: impl Fn(u64) -> Result<Vec<u64>> + Send + Sync + 'static) -> Self {
        let made = Made { make: Box::new(make), kept: Mutex::default() };
        Self { rows, seed: 0, rule: Rule::Made(Arc::new(made)) }
    }

    /// Positions of one epoch.
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Whether an epoch has no position.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Everything of one epoch that lookups need, computed in O(1) but for [`Order::made`].
    ///
    /// # Errors
    /// What the maker of the list reports.
    pub fn epoch(&self, epoch: u64) -> Result<EpochOrder> {
        let kind = match &self.rule {
            Rule::Given(epochs) => Kind::Given(Arc::clone(&epochs[(epoch as usize).min(epochs.len() - 1)])),
            Rule::Made(made) => Kind::Given(made.epoch(epoch, self.rows)?),
            Rule::Shuffle(Shuffle::Sequential) => Kind::Sequential,
            // `new` has made a rule of its own of it.
            Rule::Shuffle(Shuffle::Torch) => return Err(Error::failed("torch's order is made epoch by epoch")),
            Rule::Shuffle(Shuffle::Global) => {
                Kind::Global(Permutation::new(self.rows, seed_for(self.seed, "shuffle", epoch)))
            }
            Rule::Shuffle(Shuffle::Block { rows, window }) => {
                let blocks = self.rows.div_ceil(*rows);
                let permutation = Permutation::new(blocks, seed_for(self.seed, "shuffle-blocks", epoch));
                let short = self.rows - blocks.saturating_sub(1) * rows;
                Kind::Block {
                    block: *rows,
                    window: rows * window,
                    short_at: if blocks == 0 { 0 } else { permutation.inverse(blocks - 1) * rows },
                    short,
                    permutation,
                    seed: seed_for(self.seed, "shuffle-window", epoch),
                }
            }
        };
        Ok(EpochOrder { rows: self.rows, kind })
    }
}

impl Made {
    fn epoch(&self, epoch: u64, rows: u64) -> Result<Arc<Vec<u64>>> {
        // Held while the list is made, so that workers that arrive together make it once.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, list)) = kept.iter().find(|(known, _)| *known == epoch) {
            return Ok(Arc::clone(list));
        }
        let list = Arc::new((self.make)(epoch)?);
        if list.len() as u64 != rows {
            return Err(Error::failed(format!("the order of epoch {epoch} has {} rows, expected {rows}", list.len())));
        }
        if kept.len() == 2 {
            kept.remove(0);
        }
        kept.push((epoch, Arc::clone(&list)));
        Ok(list)
    }
}

/// The order of one epoch.
pub struct EpochOrder {
    rows: u64,
    kind: Kind,
}

enum Kind {
    Given(Arc<Vec<u64>>),
    Sequential,
    Global(Permutation),
    Block {
        block: u64,
        window: u64,
        /// Where the one block that may be shorter begins in the permuted stream, and its length.
        short_at: u64,
        short: u64,
        permutation: Permutation,
        seed: u64,
    },
}

impl EpochOrder {
    /// The row at `position` (< rows).
    pub fn row(&self, position: u64) -> u64 {
        debug_assert!(position < self.rows);
        match &self.kind {
            Kind::Given(rows) => rows[position as usize],
            Kind::Sequential => position,
            Kind::Global(permutation) => permutation.at(position),
            Kind::Block { block, window, short_at, short, permutation, seed } => {
                let index = position / window;
                let start = index * window;
                let inside = Permutation::new((self.rows - start).min(*window), seed_for(*seed, "window", index));
                let stream = start + inside.at(position - start);
                // The stream is the blocks one after the other in permuted order; only one of them may be short.
                let (at, offset) = if stream < *short_at {
                    (stream / block, stream % block)
                } else if stream < short_at + short {
                    (short_at / block, stream - short_at)
                } else {
                    let after = stream - short_at - short;
                    (short_at / block + 1 + after / block, after % block)
                };
                permutation.at(at) * block + offset
            }
        }
    }

    /// The rows at positions `from..to`.
    pub fn rows(&self, from: u64, to: u64) -> Vec<u64> {
        // Building the window's permutation hashes; a batch mostly stays inside one window, but eight rounds of
        // mixing per row are cheap beside copying 3.7 kB of that row, so no cache is kept.
        (from..to).map(|position| self.row(position)).collect()
    }
}

/// A keyed bijection on `0..n`.
#[derive(Debug, Clone)]
struct Permutation {
    n: u64,
    half: u32,
    keys: [u64; ROUNDS],
}

/// Four rounds make a pseudo-random permutation in theory; small halves mix slower, so twice as many.
const ROUNDS: usize = 8;

impl Permutation {
    fn new(n: u64, seed: u64) -> Self {
        let bits = u64::BITS - n.saturating_sub(1).leading_zeros();
        let mut state = seed;
        let keys = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(state)
        });
        Self { n, half: bits.div_ceil(2).max(1), keys }
    }

    fn at(&self, x: u64) -> u64 {
        self.walk(x, |half, mask, x| {
            let (mut left, mut right) = (x >> half, x & mask);
            for key in &self.keys {
                (left, right) = (right, left ^ (mix(right ^ key) & mask));
            }
            left << half | right
        })
    }

    fn inverse(&self, y: u64) -> u64 {
        self.walk(y, |half, mask, y| {
            let (mut left, mut right) = (y >> half, y & mask);
            for key in self.keys.iter().rev() {
                (left, right) = (right ^ (mix(left ^ key) & mask), left);
            }
            left << half | right
        })
    }

    /// Applies the bijection on the enclosing power of four until the value is inside `0..n`.
    fn walk(&self, x: u64, step: impl Fn(u32, u64, u64) -> u64) -> u64 {
        if self.n <= 1 {
            return x;
        }
        let mask = (1 << self.half) - 1;
        let mut x = step(self.half, mask, x);
        while x >= self.n {
            x = step(self.half, mask, x);
        }
        x
    }
}

/// The finaliser of `SplitMix64`.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn all(order: &Order, epoch: u64) -> Vec<u64> {
        order.epoch(epoch).unwrap().rows(0, order.len())
    }

    #[test]
    fn every_order_visits_every_row_once() {
        for rows in [0, 1, 2, 3, 7, 63, 64, 65, 1000] {
            for shuffle in [
                Shuffle::Sequential,
                Shuffle::Global,
                Shuffle::Block { rows: 7, window: 3 },
                Shuffle::Block { rows: 1, window: 1 },
                Shuffle::Block { rows: 4096, window: 16 },
            ] {
                let order = Order::new(rows, &shuffle, 47).unwrap();
                for epoch in 0..3 {
                    let mut seen = all(&order, epoch);
                    seen.sort_unstable();
                    assert_eq!(seen, (0..rows).collect::<Vec<_>>(), "{rows} rows, {shuffle:?}");
                }
            }
        }
    }

    #[test]
    fn the_order_depends_on_seed_and_epoch_only() {
        let shuffle = Shuffle::Block { rows: 10, window: 4 };
        let order = Order::new(1003, &shuffle, 47).unwrap();
        assert_eq!(all(&order, 0), all(&Order::new(1003, &shuffle, 47).unwrap(), 0));
        assert_ne!(all(&order, 0), all(&order, 1));
        assert_ne!(all(&order, 0), all(&Order::new(1003, &shuffle, 48).unwrap(), 0));
    }

    #[test]
    fn a_block_shuffle_reads_few_blocks_at_a_time() {
        let order = Order::new(10_000, &Shuffle::Block { rows: 100, window: 5 }, 1).unwrap();
        let epoch = order.epoch(0).unwrap();
        let mut first: Vec<u64> = epoch.rows(0, 500).iter().map(|row| row / 100).collect();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 5);
        assert_ne!(first, [0, 1, 2, 3, 4], "blocks are permuted too");
    }

    #[test]
    fn a_global_shuffle_looks_uniform() {
        // Mean displacement of a random permutation of n is n/3; each row hits a given tenth with chance 0.1.
        let rows = 10_000;
        let order = Order::new(rows, &Shuffle::Global, 3).unwrap();
        let seen = all(&order, 0);
        let displacement: f64 =
            seen.iter().enumerate().map(|(i, &r)| (i as f64 - r as f64).abs()).sum::<f64>() / rows as f64;
        assert!((displacement / rows as f64 - 1.0 / 3.0).abs() < 0.01, "{displacement}");
        let first_tenth = seen[..1000].iter().filter(|&&r| r < 1000).count();
        assert!((70..130).contains(&first_tenth), "{first_tenth}");
    }

    #[test]
    fn the_inverse_undoes_the_permutation() {
        for n in [1, 2, 5, 100, 4097] {
            let permutation = Permutation::new(n, 9);
            assert!((0..n).all(|x| permutation.inverse(permutation.at(x)) == x));
        }
    }

    #[test]
    fn a_given_order_is_kept_and_its_last_epoch_repeats() {
        let order = Order::given(vec![vec![3, 1], vec![0, 2]]).unwrap();
        assert_eq!(all(&order, 0), [3, 1]);
        assert_eq!(all(&order, 7), [0, 2]);
        assert!(Order::given(vec![vec![1], vec![]]).is_err());
    }

    #[test]
    fn a_made_order_is_made_once_an_epoch_and_must_have_the_declared_length() {
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        let order = Order::made(3, move |epoch| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(if epoch < 5 { vec![epoch, epoch + 1, epoch + 2] } else { vec![0] })
        });
        assert_eq!((all(&order, 0), all(&order, 4), all(&order, 0)), (vec![0, 1, 2], vec![4, 5, 6], vec![0, 1, 2]));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        assert!(order.epoch(5).is_err());
    }
}
