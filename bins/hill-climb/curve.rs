//! Area below the receiver's curve without sorting: rows are counted by cells of their value. Pairs in different cells are in
//! order whatever their values are, so the counts bound the area; only a trial that may win looks into the cells.

/// Cells.
const CELLS: usize = 1 << 14;
/// Finer cells of equal width, each of which lies in one cell.
const FINE: usize = 1 << 16;
/// Share of the cells that goes by value; the rest goes by how many rows of the current blend lie there.
const BY_VALUE: f64 = 0.1;
/// Rows whose places are computed together, several an instruction, before any is counted.
const BLOCK: usize = 1024;
/// Pairs of a cell above which its rows are sorted.
const PAIRS: usize = 64;

/// Cells, many where the current blend has many rows.
#[derive(Default)]
pub struct Curve {
    low: f64,
    scale: f64,
    cell: Vec<u16>,
}

/// Memory of one thread.
#[derive(Default)]
pub struct Scratch {
    /// Rows of the first and of the second class in every cell.
    counts: [Vec<u32>; 2],
    /// Their values, cell by cell.
    values: [Vec<f64>; 2],
    /// The numbers of all rows, where a score needs them at once.
    pub whole: Vec<f64>,
    /// Their ranks.
    pub ranks: Vec<f64>,
    /// Rows by falling number.
    pub order: Vec<u32>,
}

impl Curve {
    /// Cells for blends near this one.
    pub fn new(current: &[f64]) -> Self {
        let low = current.iter().copied().fold(f64::INFINITY, f64::min);
        let high = current.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let margin = (high - low) / 10.0;
        let scale = if high > low { FINE as f64 / (high - low + 2.0 * margin) } else { 0.0 };
        let mut curve =
            Self { low: low - margin, scale, cell: (0..FINE).map(|f| (f / (FINE / CELLS)) as u16).collect() };
        let mut counts = vec![0u32; FINE];
        current.iter().for_each(|value| counts[curve.fine(*value)] += 1);
        let mut below = 0.0;
        for (fine, (cell, count)) in curve.cell.iter_mut().zip(counts).enumerate() {
            let share = (1.0 - BY_VALUE) * below / current.len().max(1) as f64 + BY_VALUE * fine as f64 / FINE as f64;
            *cell = ((share * CELLS as f64) as usize).min(CELLS - 1) as u16;
            below += f64::from(count);
        }
        curve
    }

    #[inline]
    #[allow(clippy::manual_clamp, reason = "`clamp` keeps NaN")]
    fn fine(&self, value: f64) -> usize {
        // Beyond the ends all is one cell.
        let place = ((value - self.low) * self.scale).max(0.0).min((FINE - 1) as f64);
        // SAFETY: the number is one from 0 to FINE - 1, for NaN as well, which the first bound makes 0. The safe conversion tests
        // for that again, number by number.
        (unsafe { place.to_int_unchecked::<i32>() }) as usize
    }

    fn cell(&self, value: f64) -> usize {
        usize::from(self.cell[self.fine(value)])
    }

    /// The area for `at(row)`, of which the first `split` rows are of the first class and the second class is the positive
    /// one; nothing where it is certain to be below `floor`.
    pub fn area(
        &self,
        split: usize,
        rows: usize,
        scratch: &mut Scratch,
        floor: f64,
        at: &impl Fn(usize) -> f64,
    ) -> Option<f64> {
        if self.cell.is_empty() {
            let values: Vec<f64> = (0..rows).map(at).collect();
            return Self::new(&values).area(split, rows, scratch, floor, at);
        }
        let ranges = [0..split, split..rows];
        for (counts, range) in scratch.counts.iter_mut().zip(&ranges) {
            counts.clear();
            counts.resize(CELLS, 0);
            self.count(range.clone(), counts, at);
        }
        let (mut below, mut ordered, mut open) = (0u64, 0u64, 0u64);
        for (alarms, hits) in scratch.counts[0].iter().zip(&scratch.counts[1]) {
            let (alarms, hits) = (u64::from(*alarms), u64::from(*hits));
            ordered += hits * below;
            open += hits * alarms;
            below += alarms;
        }
        let pairs = split as f64 * (rows - split) as f64;
        let of = |twice: u64| twice as f64 / (2.0 * pairs);
        if of(2 * (ordered + open)) < floor {
            return None;
        }
        Some(of(2 * ordered + self.inside(ranges, scratch, at)))
    }

    /// Counts rows by cell.
    fn count(&self, rows: std::ops::Range<usize>, counts: &mut [u32], at: &impl Fn(usize) -> f64) {
        let mut fine = [0u32; BLOCK];
        let mut from = rows.start;
        while from < rows.end {
            let block = &mut fine[..BLOCK.min(rows.end - from)];
            block.iter_mut().enumerate().for_each(|(k, fine)| *fine = self.fine(at(from + k)) as u32);
            block.iter().for_each(|fine| counts[usize::from(self.cell[*fine as usize])] += 1);
            from += block.len();
        }
    }

    /// Rows by falling number of `scratch.whole`: cell by cell, each cell being sorted. The list may be given back to
    /// `scratch.order`.
    pub fn falling(&self, scratch: &mut Scratch) -> Vec<u32> {
        let Scratch { counts: [counts, _], whole, order, .. } = scratch;
        let mut order = std::mem::take(order);
        order.clear();
        order.resize(whole.len(), 0);
        counts.clear();
        counts.resize(CELLS, 0);
        let cell = |value: f64| CELLS - 1 - self.cell(value);
        whole.iter().for_each(|value| counts[cell(*value)] += 1);
        let mut start = 0;
        for count in counts.iter_mut() {
            let here = *count;
            *count = start;
            start += here;
        }
        for (row, value) in whole.iter().enumerate() {
            let place = &mut counts[cell(*value)];
            order[*place as usize] = row as u32;
            *place += 1;
        }
        let mut first = 0;
        for &end in counts.iter() {
            let inside = &mut order[first..end as usize];
            if inside.len() > 1 {
                inside.sort_unstable_by(|&a, &b| whole[b as usize].total_cmp(&whole[a as usize]));
            }
            first = end as usize;
        }
        order
    }

    /// Twice the pairs in order inside the cells, equal ones by half.
    fn inside(&self, ranges: [std::ops::Range<usize>; 2], scratch: &mut Scratch, at: &impl Fn(usize) -> f64) -> u64 {
        let Scratch { counts, values, .. } = scratch;
        for ((counts, values), range) in counts.iter_mut().zip(values.iter_mut()).zip(ranges) {
            values.clear();
            values.resize(range.len(), 0.0);
            // Counts become the places where cells begin, and by filling them where they end.
            let mut start = 0;
            for count in counts.iter_mut() {
                let here = *count;
                *count = start;
                start += here;
            }
            for row in range {
                let value = at(row);
                let place = &mut counts[self.cell(value)];
                values[*place as usize] = value;
                *place += 1;
            }
        }
        let [alarms, hits] = values;
        let (mut first, mut twice) = ([0usize; 2], 0u64);
        #[allow(clippy::needless_range_loop, reason = "the cell is a place in two tables")]
        for cell in 0..CELLS {
            let ends = [counts[0][cell] as usize, counts[1][cell] as usize];
            let (a, h) = (&mut alarms[first[0]..ends[0]], &mut hits[first[1]..ends[1]]);
            if a.len() * h.len() > PAIRS {
                twice += merged(a, h);
            } else {
                for hit in &*h {
                    twice += a.iter().map(|alarm| u64::from(alarm < hit) + u64::from(alarm <= hit)).sum::<u64>();
                }
            }
            first = ends;
        }
        twice
    }
}

/// Twice the pairs in order, equal ones by half, of two lists, which are sorted on the way.
fn merged(alarms: &mut [f64], hits: &mut [f64]) -> u64 {
    alarms.sort_unstable_by(f64::total_cmp);
    hits.sort_unstable_by(f64::total_cmp);
    let (mut below, mut equal, mut twice) = (0, 0, 0);
    for hit in &*hits {
        while below < alarms.len() && alarms[below] < *hit {
            below += 1;
        }
        equal = equal.max(below);
        while equal < alarms.len() && alarms[equal] <= *hit {
            equal += 1;
        }
        twice += (below + equal) as u64;
    }
    twice
}

#[cfg(test)]
mod tests {
    use super::*;
    use climb::ranks::auc;
    use common::seed::rng_for;
    use rand::RngExt;

    #[test]
    fn rows_fall_whatever_the_cells_are() {
        let mut rng = rng_for(5, "falling", 0);
        for digits in [1.0, 50.0, 1e9] {
            let p: Vec<f64> = (0..3000).map(|_| (rng.random_range(-1.0f64..1.0) * digits).round() / digits).collect();
            for current in [p.clone(), vec![0.0; 3000], p.iter().map(|v| v * 0.1).collect()] {
                let mut scratch = Scratch { whole: p.clone(), ..Scratch::default() };
                let mut order = Curve::new(&current).falling(&mut scratch);
                assert!(order.windows(2).all(|pair| p[pair[0] as usize] >= p[pair[1] as usize]));
                order.sort_unstable();
                assert!(order.iter().copied().eq(0..3000));
            }
        }
    }

    #[test]
    fn the_area_is_that_of_sorted_rows_wherever_the_cells_are() {
        let mut rng = rng_for(5, "curve", 0);
        for (rows, digits) in [(2, 1.0), (50, 1.0), (5000, 20.0), (5000, 1e9), (40_000, 3.0)] {
            let p: Vec<f64> = (0..rows)
                .map(|_| {
                    let v: f64 = rng.random_range(-1.0..1.0);
                    (v.powi(9) * digits).round() / digits
                })
                .collect();
            let split = rows / 3 + 1;
            let exact = auc(&p, |row| row >= split);
            for current in [p.clone(), vec![0.0; rows], p.iter().map(|v| v * 1e-3 + 5.0).collect()] {
                let curve = Curve::new(&current);
                let mut scratch = Scratch::default();
                let area = |floor: f64, scratch: &mut Scratch| curve.area(split, rows, scratch, floor, &|row| p[row]);
                assert_eq!(area(f64::NEG_INFINITY, &mut scratch), Some(exact));
                assert_eq!(area(exact, &mut scratch), Some(exact));
            }
            let curve = Curve::new(&p);
            assert_eq!(curve.area(split, rows, &mut Scratch::default(), exact + 0.6, &|row| p[row]), None);
        }
    }
}
