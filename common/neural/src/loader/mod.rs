//! Rows on their way from files to the device: a [`Source`] that can gather any rows, an [`Order`] that says which,
//! and a [`Loader`] that reads ahead on worker threads and delivers batches in order.
//!
//! Step `s` of an epoch takes positions `s * batch .. (s + 1) * batch` of the epoch's order; with several ranks each
//! takes its contiguous share of the same global batch, so a run sees the same batches on any number of devices.

mod order;
mod prefetch;

use std::sync::Arc;
use std::time::Duration;

use common::{Error, Result};
use tch::{Device, Tensor};

pub use order::{EpochOrder, Order, Shuffle};
use prefetch::{Item, Prefetch};

use crate::shim::Upload;

/// One array of a source: what a row of it looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Name, as in the file: `inputs`, `targets`.
    pub name: String,
    /// Shape of one row; `[556]` for a vector of 556 values.
    pub shape: Vec<i64>,
}

impl Field {
    /// A field of row vectors.
    pub fn vector(name: &str, width: usize) -> Self {
        Self { name: name.into(), shape: vec![width as i64] }
    }

    /// Values of one row.
    pub fn width(&self) -> usize {
        self.shape.iter().product::<i64>() as usize
    }
}

/// Rows that can be read in any order, from any thread.
pub trait Source: Send + Sync {
    /// Number of rows.
    fn rows(&self) -> u64;

    /// The arrays that every row has, in the order in which [`Source::gather`] fills them.
    fn fields(&self) -> Vec<Field>;

    /// Appends the values of `rows`, in that order, to one buffer per field. Buffers arrive empty and keep their
    /// capacity between calls.
    fn gather(&self, rows: &[u64], buffers: &mut [Vec<f32>]) -> Result<()>;

    /// Whether its tensors are for the host: they stay there also where a GPU trains.
    fn on_host(&self) -> bool {
        false
    }

    /// The tensors of a batch on the CPU, by default one f32 tensor `[rows, ...]` a field. Sources whose rows differ in
    /// length, or whose values are no f32, make their own here and leave [`Source::gather`] alone.
    fn tensors(&self, rows: &[u64]) -> Result<Vec<Tensor>> {
        let fields = self.fields();
        let mut buffers: Vec<Vec<f32>> =
            fields.iter().map(|field| Vec::with_capacity(rows.len() * field.width())).collect();
        self.gather(rows, &mut buffers)?;
        to_tensors(&fields, &buffers, rows.len())
    }
}

/// The first `rows` rows of a source: `--limit` and smoke runs.
pub struct Head<S> {
    source: S,
    rows: u64,
}

impl<S: Source> Head<S> {
    /// At most the first `rows` rows of `source`.
    pub fn new(source: S, rows: u64) -> Self {
        let rows = rows.min(source.rows());
        Self { source, rows }
    }
}

impl<S: Source> Source for Head<S> {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn fields(&self) -> Vec<Field> {
        self.source.fields()
    }

    fn gather(&self, rows: &[u64], buffers: &mut [Vec<f32>]) -> Result<()> {
        self.source.gather(rows, buffers)
    }

    fn on_host(&self) -> bool {
        self.source.on_host()
    }

    fn tensors(&self, rows: &[u64]) -> Result<Vec<Tensor>> {
        self.source.tensors(rows)
    }
}

impl<S: Source + ?Sized> Source for Arc<S> {
    fn rows(&self) -> u64 {
        (**self).rows()
    }

    fn fields(&self) -> Vec<Field> {
        (**self).fields()
    }

    fn gather(&self, rows: &[u64], buffers: &mut [Vec<f32>]) -> Result<()> {
        (**self).gather(rows, buffers)
    }

    fn on_host(&self) -> bool {
        (**self).on_host()
    }

    fn tensors(&self, rows: &[u64]) -> Result<Vec<Tensor>> {
        (**self).tensors(rows)
    }
}

/// Arrays held in memory, one vector per field: small sets and tests.
pub struct InMemory {
    fields: Vec<Field>,
    arrays: Vec<Vec<f32>>,
    rows: u64,
}

impl InMemory {
    /// Takes (field, values) pairs that all have the same number of rows.
    pub fn new(arrays: Vec<(Field, Vec<f32>)>) -> Result<Self> {
        let rows = arrays.first().map_or(0, |(field, values)| values.len() / field.width().max(1)) as u64;
        for (field, values) in &arrays {
            if values.len() as u64 != rows * field.width() as u64 {
                return Err(Error::failed(format!(
                    "`{}` holds {} values, expected {rows} rows of {}",
                    field.name,
                    values.len(),
                    field.width()
                )));
            }
        }
        let (fields, arrays) = arrays.into_iter().unzip();
        Ok(Self { fields, arrays, rows })
    }
}

impl Source for InMemory {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn fields(&self) -> Vec<Field> {
        self.fields.clone()
    }

    fn gather(&self, rows: &[u64], buffers: &mut [Vec<f32>]) -> Result<()> {
        for ((field, array), buffer) in self.fields.iter().zip(&self.arrays).zip(buffers) {
            let width = field.width();
            for &row in rows {
                let start = row as usize * width;
                buffer.extend_from_slice(&array[start..start + width]);
            }
        }
        Ok(())
    }
}

/// Which share of every batch this process takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// This process, `0..world`.
    pub rank: u64,
    /// Number of processes.
    pub world: u64,
}

impl Shard {
    /// The only process.
    pub const WHOLE: Self = Self { rank: 0, world: 1 };
}

/// How an epoch is cut into batches.
#[derive(Debug, Clone, Copy)]
pub struct Batches {
    /// Rows of a batch over all ranks.
    pub size: u64,
    /// Whether a last, shorter batch is left out.
    pub drop_last: bool,
    /// The share of this process.
    pub shard: Shard,
}

impl Batches {
    /// Batches of `size` rows, the last incomplete one left out (training).
    pub fn training(size: u64) -> Self {
        Self { size, drop_last: true, shard: Shard::WHOLE }
    }

    /// Batches of `size` rows, all rows (evaluation).
    pub fn evaluation(size: u64) -> Self {
        Self { size, drop_last: false, shard: Shard::WHOLE }
    }

    /// Steps of an epoch of `rows` rows.
    pub fn steps(&self, rows: u64) -> u64 {
        if self.drop_last { rows / self.size } else { rows.div_ceil(self.size) }
    }

    /// The positions of step `step` that belong to this rank.
    pub fn positions(&self, rows: u64, step: u64) -> std::ops::Range<u64> {
        let start = step * self.size;
        let length = self.size.min(rows - start);
        let cut = |rank: u64| start + length * rank / self.shard.world;
        cut(self.shard.rank)..cut(self.shard.rank + 1)
    }
}

/// Where batches go and how they get there.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// Device of the tensors.
    pub device: Device,
    /// Threads that gather rows; 0 gathers in the calling thread.
    pub workers: usize,
    /// Batches read ahead at most.
    pub ahead: usize,
}

impl Delivery {
    /// Two workers, four batches ahead.
    pub fn to(device: Device) -> Self {
        Self { device, workers: 2, ahead: 4 }
    }
}

/// One batch: its place and its tensors, one per field, each `[rows, ...]`.
pub struct Batch {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Step of the epoch, from 0.
    pub step: u64,
    /// One tensor per field of the source.
    pub tensors: Vec<Tensor>,
}

/// Batches of a range of steps, in order, read ahead across epoch ends.
pub struct Loader {
    prefetch: Prefetch,
    steps: Steps,
}

/// Which steps a loader visits, counted on over the ends of epochs.
#[derive(Debug, Clone, Copy)]
struct Steps {
    /// The step of index 0.
    first: u64,
    /// From one step to the next.
    by: u64,
    per_epoch: u64,
}

impl Steps {
    /// Epoch and step of the batch with this index.
    fn at(self, index: u64) -> (u64, u64) {
        let step = self.first + index * self.by;
        (step / self.per_epoch, step % self.per_epoch)
    }
}

impl Loader {
    /// Starts reading at `from` (epoch, step) and ends before `to` (epoch, step): any position costs the same.
    pub fn start(
        source: Arc<dyn Source>,
        order: Arc<Order>,
        batches: Batches,
        from: (u64, u64),
        to: (u64, u64),
        delivery: Delivery,
    ) -> Result<Self> {
        let per_epoch = batches.steps(order.len());
        let flat = |(epoch, step): (u64, u64)| epoch * per_epoch + step;
        let steps = Steps { first: 0, by: 1, per_epoch };
        Self::open(source, order, batches, steps, flat(from)..flat(to), delivery)
    }

    /// The batches of an evaluation that fall to one process when they are dealt out in turn: batch `rank`, `rank + world`,
    /// and so on, each whole, so that what depends on a batch is the same for any number of processes.
    pub fn dealt(
        source: Arc<dyn Source>,
        order: Arc<Order>,
        batch: u64,
        share: Shard,
        delivery: Delivery,
    ) -> Result<Self> {
        let batches = Batches::evaluation(batch);
        let all = if batch == 0 { 0 } else { batches.steps(order.len()) };
        let own = all.saturating_sub(share.rank).div_ceil(share.world.max(1));
        let steps = Steps { first: share.rank, by: share.world, per_epoch: all.max(1) };
        Self::open(source, order, batches, steps, 0..own, delivery)
    }

    fn open(
        source: Arc<dyn Source>,
        order: Arc<Order>,
        batches: Batches,
        steps: Steps,
        indices: std::ops::Range<u64>,
        delivery: Delivery,
    ) -> Result<Self> {
        if batches.size == 0 || batches.shard.rank >= batches.shard.world {
            return Err(Error::usage("the batch size is at least 1, and the rank is below the number of processes"));
        }
        let device = delivery.device;
        let read = move |index: u64| {
            let (epoch, step) = steps.at(index);
            let positions = batches.positions(order.len(), step);
            let rows = order.epoch(epoch)?.rows(positions.start, positions.end);
            let tensors = source.tensors(&rows)?;
            if !device.is_cuda() || source.on_host() {
                return Ok(Item::Here(tensors));
            }
            // From pinned memory and on a stream of its own the copy overlaps with the steps before.
            Upload::start(&tensors, device).map(Item::Coming)
        };
        let prefetch = Prefetch::start(read, indices, delivery.workers, delivery.ahead)?;
        Ok(Self { prefetch, steps })
    }

    /// All rows of `source` once, in stored order.
    pub fn sequential(source: Arc<dyn Source>, batch: u64, delivery: Delivery) -> Result<Self> {
        let order = Order::new(source.rows(), &Shuffle::Sequential, 0)?;
        let batches = Batches::evaluation(batch);
        Self::start(source, Arc::new(order), batches, (0, 0), (1, 0), delivery)
    }

    /// The next batch on the device, or `None` after the last.
    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        let Some((index, item)) = self.prefetch.next()? else { return Ok(None) };
        let tensors = match item {
            Item::Here(tensors) => tensors,
            Item::Coming(upload) => upload.wait()?,
        };
        let (epoch, step) = self.steps.at(index);
        Ok(Some(Batch { epoch, step, tensors }))
    }

    /// Time that [`Loader::next_batch`] has spent waiting for data so far.
    pub fn waited(&self) -> Duration {
        self.prefetch.waited()
    }
}

fn to_tensors(fields: &[Field], buffers: &[Vec<f32>], rows: usize) -> Result<Vec<Tensor>> {
    fields
        .iter()
        .zip(buffers)
        .map(|(field, buffer)| {
            if buffer.len() != rows * field.width() {
                return Err(Error::failed(format!(
                    "the source gave {} values of `{}` for {rows} rows, expected {}",
                    buffer.len(),
                    field.name,
                    rows * field.width()
                )));
            }
            let shape: Vec<i64> = std::iter::once(rows as i64).chain(field.shape.iter().copied()).collect();
            let tensor = Tensor::f_from_slice(buffer).and_then(|t| t.f_reshape(&shape));
            tensor.map_err(|e| tensor_error(&e))
        })
        .collect()
}

fn tensor_error(error: &tch::TchError) -> Error {
    Error::device(format!("moving a batch to the device: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(rows: usize) -> Arc<dyn Source> {
        let values = (0..rows * 2).map(|v| v as f32).collect();
        let label = (0..rows).map(|v| v as f32).collect();
        Arc::new(InMemory::new(vec![(Field::vector("x", 2), values), (Field::vector("y", 1), label)]).unwrap())
    }

    fn labels(rows: usize, workers: usize, from: (u64, u64), shard: Shard) -> Vec<(u64, u64, Vec<f32>)> {
        let source = numbers(rows);
        let order = Arc::new(Order::new(source.rows(), &Shuffle::Global, 5).unwrap());
        let batches = Batches { size: 6, drop_last: true, shard };
        let delivery = Delivery { device: Device::Cpu, workers, ahead: 3 };
        let mut loader = Loader::start(source, order, batches, from, (2, 0), delivery).unwrap();
        let mut seen = vec![];
        while let Some(batch) = loader.next_batch().unwrap() {
            let x = Vec::<f32>::try_from(batch.tensors[0].select(1, 0).contiguous()).unwrap();
            let y = Vec::<f32>::try_from(batch.tensors[1].reshape([-1])).unwrap();
            assert_eq!(x, y.iter().map(|v| v * 2.0).collect::<Vec<_>>(), "fields of a row stay together");
            seen.push((batch.epoch, batch.step, y));
        }
        seen
    }

    #[test]
    fn batches_do_not_depend_on_the_number_of_workers() {
        let expected = labels(50, 0, (0, 0), Shard::WHOLE);
        assert_eq!(expected.len(), 16);
        for workers in [1, 2, 5] {
            assert_eq!(expected, labels(50, workers, (0, 0), Shard::WHOLE));
        }
    }

    #[test]
    fn a_loader_started_in_the_middle_continues_the_same_batches() {
        let whole = labels(50, 2, (0, 0), Shard::WHOLE);
        assert_eq!(whole[5..], labels(50, 2, (0, 5), Shard::WHOLE));
        assert_eq!(whole[8..], labels(50, 2, (1, 0), Shard::WHOLE));
    }

    #[test]
    fn ranks_share_the_batches_of_a_single_process() {
        let whole = labels(50, 1, (0, 0), Shard::WHOLE);
        let parts: Vec<_> = (0..4).map(|rank| labels(50, 1, (0, 0), Shard { rank, world: 4 })).collect();
        for (step, (_, _, rows)) in whole.iter().enumerate() {
            let joined: Vec<f32> = parts.iter().flat_map(|p| p[step].2.clone()).collect();
            assert_eq!(*rows, joined);
        }
    }

    #[test]
    fn dealt_batches_are_whole_and_each_falls_to_one_process() {
        let source = numbers(23);
        let order = Arc::new(Order::new(23, &Shuffle::Sequential, 0).unwrap());
        let seen = |rank, world| {
            let delivery = Delivery::to(Device::Cpu);
            let mut loader = Loader::dealt(source.clone(), order.clone(), 4, Shard { rank, world }, delivery).unwrap();
            let mut seen = vec![];
            while let Some(batch) = loader.next_batch().unwrap() {
                seen.push((batch.step, Vec::<f32>::try_from(batch.tensors[1].reshape([-1])).unwrap()));
            }
            seen
        };
        let whole = seen(0, 1);
        assert_eq!(whole.len(), 6);
        for world in [2, 4, 9] {
            let mut all: Vec<_> = (0..world).flat_map(|rank| seen(rank, world)).collect();
            all.sort_by_key(|(step, _)| *step);
            assert_eq!(all, whole, "{world} processes");
        }
    }

    #[test]
    fn evaluation_keeps_the_last_short_batch() {
        let mut loader = Loader::sequential(numbers(10), 4, Delivery::to(Device::Cpu)).unwrap();
        let mut sizes = vec![];
        while let Some(batch) = loader.next_batch().unwrap() {
            sizes.push(batch.tensors[0].size()[0]);
        }
        assert_eq!(sizes, [4, 4, 2]);
    }

    #[test]
    fn an_error_of_the_source_reaches_the_caller() {
        struct Broken;
        impl Source for Broken {
            fn rows(&self) -> u64 {
                8
            }
            fn fields(&self) -> Vec<Field> {
                vec![Field::vector("x", 1)]
            }
            fn gather(&self, rows: &[u64], buffers: &mut [Vec<f32>]) -> Result<()> {
                if rows.contains(&5) {
                    return Err(Error::input("month.safetensors", "truncated"));
                }
                buffers[0].extend(rows.iter().map(|&r| r as f32));
                Ok(())
            }
        }
        for workers in [0, 2] {
            let delivery = Delivery { device: Device::Cpu, workers, ahead: 2 };
            let mut loader = Loader::sequential(Arc::new(Broken), 2, delivery).unwrap();
            let mut good = 0;
            let error = loop {
                match loader.next_batch() {
                    Ok(Some(_)) => good += 1,
                    Ok(None) => panic!("the error was lost"),
                    Err(error) => break error,
                }
            };
            assert_eq!(good, 2);
            assert!(matches!(error, Error::Input { .. }), "{error}");
        }
    }
}
