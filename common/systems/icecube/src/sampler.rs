//! The order of events in an epoch: files in random order, events of a file in random order, batches of events of
//! similar length (section 6).

use common::seed::seed_for;
use common::{Error, Result};
use neural::loader::Order;
use neural::replay::TorchRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::dataset::Events;
use crate::visit;

/// Pulses of a length bucket.
const BUCKET: usize = 16;

/// How a pass over the training events is cut into sub-epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Partition {
    /// As published: every sub-epoch draws its own order of files and takes the beginning, so files repeat.
    #[default]
    Compat,
    /// The sub-epochs of a pass share one order and divide it: every event is seen once a pass.
    Exact,
}

/// Which events an epoch visits, and in which batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplerConfig {
    /// Sub-epochs of a pass: an epoch visits one such part of the events. Published: 8 (`reduce_size` 0.125).
    pub sub_epochs: u64,
    /// How the parts are drawn.
    pub partition: Partition,
    /// Whether batches hold events of similar length, as published; else they follow the random order.
    pub match_lengths: bool,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self { sub_epochs: 8, partition: Partition::Compat, match_lengths: true }
    }
}

/// The published order: one permutation of the files, then one of the events of each file, until `limit` events are
/// listed. Permutations of the files after that are drawn as well, as upstream does.
pub fn chunk_random(chunks: &[u64], limit: u64, random: &mut TorchRandom) -> Vec<u64> {
    let first: Vec<u64> = chunks.iter().scan(0, |sum, n| Some(std::mem::replace(sum, *sum + n))).collect();
    let mut order = Vec::with_capacity(limit as usize);
    for file in random.permutation(chunks.len()) {
        let events = random.permutation(chunks[file as usize] as usize);
        let room = limit as usize - order.len();
        order.extend(events.into_iter().take(room).map(|event| first[file as usize] + u64::from(event)));
    }
    order
}

/// Length-matched batches of the events of `order`, one after the other in one list, with the size of each. Only the
/// last batch may hold fewer than `size` events, and none does with `drop_last`.
pub fn length_matched(
    order: impl IntoIterator<Item = u64>,
    pulses: impl Fn(u64) -> usize,
    length: usize,
    size: usize,
    drop_last: bool,
) -> (Vec<u64>, Vec<usize>) {
    let bucket = |n: usize| (n.min(length) / BUCKET).max(1);
    let mut waiting: Vec<Vec<u64>> = vec![Vec::with_capacity(size); length / BUCKET + 2];
    let (mut batches, mut sizes) = (Vec::new(), Vec::new());
    for event in order {
        let bucket = &mut waiting[bucket(pulses(event))];
        bucket.push(event);
        if bucket.len() == size {
            batches.append(bucket);
            sizes.push(size);
        }
    }
    for batch in waiting.concat().chunks(size) {
        if batch.len() == size || !drop_last {
            batches.extend_from_slice(batch);
            sizes.push(batch.len());
        }
    }
    (batches, sizes)
}

/// The order of training: `batch` events a step, incomplete batches left out. Where there are too few events for a batch
/// in each sub-epoch, as in a small part of the data, there are fewer sub-epochs, which is said.
///
/// # Errors
/// [`Error::Usage`] where all events are less than one batch.
pub fn training(events: &Arc<Events>, config: &SamplerConfig, length: usize, batch: u64, seed: u64) -> Result<Order> {
    let total = events.len();
    let batch = batch.max(1);
    if total < batch {
        return Err(Error::usage(format!("there are {total} training events, one batch needs {batch}"))
            .hint("lower the batch size, or prepare more files"));
    }
    let mut config = config.clone();
    let most = (total / batch).max(1);
    if config.sub_epochs > most {
        tracing::warn!(
            "{total} training events are too few for {} sub-epochs with a batch of {batch} each: an epoch is made of {most}",
            config.sub_epochs
        );
        config.sub_epochs = most;
    }
    let visited = total / config.sub_epochs.max(1);
    let rows = visited / batch * batch;
    let events = Arc::clone(events);
    Ok(Order::made(rows, move |epoch| {
        let chunks = events.chunks();
        let order = match config.partition {
            Partition::Compat => {
                let mut random = TorchRandom::new(seed_for(seed, "chunks", epoch));
                chunk_random(&chunks, visited, &mut random)
            }
            Partition::Exact => {
                let (pass, part) = (epoch / config.sub_epochs, epoch % config.sub_epochs);
                let mut random = TorchRandom::new(seed_for(seed, "pass", pass));
                let mut all = chunk_random(&chunks, (part + 1) * visited, &mut random);
                all.split_off((part * visited) as usize)
            }
        };
        let mut list = if config.match_lengths {
            length_matched(order, |event| events.pulses(event), length, batch as usize, true).0
        } else {
            order
        };
        list.truncate(rows as usize);
        for event in &mut list {
            *event = visit::row(*event, epoch);
        }
        Ok(list)
    }))
}

/// The order of validation and prediction: every event once, in length-matched batches of at most `batch`.
pub fn evaluation(events: &Events, length: usize, batch: u64) -> Result<Order> {
    let list = length_matched(0..events.len(), |event| events.pulses(event), length, batch as usize, false).0;
    Order::given(vec![list])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_events_of_one_bucket_until_the_leftovers() {
        let pulses = |event: u64| [3, 40, 17, 300, 31, 44, 12, 500][event as usize % 8];
        let (list, sizes) = length_matched(0..64, pulses, 192, 4, false);
        let mut sorted = list.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..64).collect::<Vec<_>>());
        assert_eq!(sizes.iter().sum::<usize>(), 64);
        for batch in list.chunks(4) {
            let buckets: Vec<usize> = batch.iter().map(|&e| (pulses(e).min(192) / 16).max(1)).collect();
            assert!(buckets.iter().all(|b| *b == buckets[0]), "{buckets:?}");
        }
    }

    #[test]
    fn the_last_short_batch_is_dropped_on_request() {
        let (list, sizes) = length_matched(0..10, |event| event as usize * 20, 96, 4, true);
        assert_eq!((list.len(), sizes), (8, vec![4, 4]));
    }

    #[test]
    fn a_limit_cuts_the_order_of_files() {
        let order = chunk_random(&[5, 7, 3], 9, &mut TorchRandom::new(1));
        assert_eq!(order.len(), 9);
        let mut distinct = order.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 9);
    }
}
