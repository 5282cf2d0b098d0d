//! Prepared arrays as a source for the loader.

use common::{Error, Result};
use neural::loader::{Field, Source};

use crate::dataset::Dataset;

impl Source for Dataset {
    fn rows(&self) -> u64 {
        Self::rows(self)
    }

    fn fields(&self) -> Vec<Field> {
        let [inputs, targets] = self.widths();
        vec![Field::vector("inputs", inputs), Field::vector("targets", targets)]
    }

    fn gather(&self, rows: &[u64], buffers: &mut [Vec<f32>]) -> Result<()> {
        let [inputs, targets] = buffers else {
            return Err(Error::failed(format!("gathering rows: {} buffers, expected two", buffers.len())));
        };
        let [wide, tall] = self.widths();
        inputs.resize(rows.len() * wide, 0.0);
        targets.resize(rows.len() * tall, 0.0);
        Self::gather(self, rows, inputs, targets)
    }
}

/// Several data sets in one training, each with its share of the rows of an epoch.
///
/// An epoch has as many rows as it takes to see every row of every source; those of sources with more than their part come
/// again, all equally often but for one.
pub struct Mixture {
    /// The sources, and the first row of an epoch behind each.
    sources: Vec<(Dataset, u64)>,
}

impl Mixture {
    /// The first source has what the others leave.
    pub fn new(first: Dataset, others: Vec<(Dataset, f64)>) -> Self {
        let rest = 1.0 - others.iter().map(|(_, share)| share).sum::<f64>();
        let all: Vec<(Dataset, f64)> = std::iter::once((first, rest)).chain(others).collect();
        let epoch = all.iter().map(|(rows, share)| rows.rows() as f64 / share).fold(0.0, f64::max);
        let mut end = 0;
        let counted = all.into_iter().map(|(rows, share)| {
            // Never fewer than there are, whatever rounding does.
            end += ((share * epoch).round() as u64).max(rows.rows());
            (rows, end)
        });
        Self { sources: counted.collect() }
    }
}

impl Source for Mixture {
    fn rows(&self) -> u64 {
        self.sources.last().map_or(0, |(_, end)| *end)
    }

    fn fields(&self) -> Vec<Field> {
        self.sources.first().map(|(rows, _)| Source::fields(rows)).unwrap_or_default()
    }

    fn gather(&self, rows: &[u64], buffers: &mut [Vec<f32>]) -> Result<()> {
        let mut one: Vec<Vec<f32>> = vec![vec![]; buffers.len()];
        for &row in rows {
            let place = self.sources.partition_point(|(_, end)| *end <= row);
            let Some((source, _)) = self.sources.get(place) else {
                return Err(Error::failed(format!("row {row} of an epoch of {}", Source::rows(self))));
            };
            let first = if place > 0 { self.sources[place - 1].1 } else { 0 };
            one.iter_mut().for_each(Vec::clear);
            Source::gather(source, &[(row - first) % Dataset::rows(source)], &mut one)?;
            buffers.iter_mut().zip(&one).for_each(|(all, one)| all.extend_from_slice(one));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{INPUTS, TARGETS};
    use common::store::tensors::{self, TensorView};

    fn source(folder: &std::path::Path, name: &str, rows: usize, base: f32) -> Dataset {
        let fill = |width: usize| -> Vec<f32> { (0..rows * width).map(|i| base + (i / width) as f32).collect() };
        let (inputs, targets) = (fill(INPUTS), fill(TARGETS));
        let path = folder.join(format!("{name}.safetensors"));
        let shapes = ([rows, INPUTS], [rows, TARGETS]);
        let views = [TensorView::of("inputs", &shapes.0, &inputs), TensorView::of("targets", &shapes.1, &targets)];
        tensors::write(&path, &views, None).unwrap();
        Dataset::open(&[(name.to_string(), path)], None).unwrap()
    }

    #[test]
    fn an_epoch_has_the_shares_asked_for_and_every_row_of_every_source() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str, rows: usize, base: f32| source(folder.path(), name, rows, base);
        let mixture = Mixture::new(of("a", 6, 0.0), vec![(of("b", 2, 100.0), 0.25), (of("c", 5, 200.0), 0.25)]);
        // The third has 5 rows in a quarter: 20 rows, of which 10 are of the first.
        assert_eq!(mixture.rows(), 20);
        let mut buffers = vec![vec![], vec![]];
        let all: Vec<u64> = (0..20).collect();
        mixture.gather(&all, &mut buffers).unwrap();
        let seen: Vec<f32> = buffers[0].chunks(INPUTS).map(|row| row[0]).collect();
        assert_eq!(seen, buffers[1].chunks(TARGETS).map(|row| row[0]).collect::<Vec<_>>());
        let of = |from: f32| seen.iter().filter(|x| (from..from + 100.0).contains(*x)).count();
        assert_eq!([of(0.0), of(100.0), of(200.0)], [10, 5, 5]);
        let mut distinct: Vec<i32> = seen.iter().map(|x| *x as i32).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 13);
        assert!(mixture.gather(&[20], &mut buffers).is_err());
    }
}
