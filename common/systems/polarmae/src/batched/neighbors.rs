//! Neighbours of packed clouds: sorted cells for a radius, sorted rows of distances for a number.

use common::Result;
use neural::device;
use tch::{Device, Kind, Tensor};

use super::{Cloud, integers};

/// Candidate pairs that are looked at together.
const PAIRS: i64 = 1 << 24;
/// Cells along an axis at most, so that their numbers fit.
const CELLS: f64 = 131_072.0;

/// A list of points for each query, one list after another.
pub(super) struct Lists {
    /// Points, as rows of their cloud.
    pub(super) points: Tensor,
    /// Length of each list, `[Q]`.
    pub(super) counts: Tensor,
}

impl Lists {
    /// The query of each entry.
    pub(super) fn owners(&self) -> Tensor {
        Tensor::repeat_interleave(&self.counts, None)
    }

    /// `[Q, longest]`, filled up with the first entry of the list; no list is empty.
    pub(super) fn padded(&self) -> Tensor {
        let device = self.points.device();
        let queries = self.counts.size()[0];
        let longest = if queries == 0 { 0 } else { self.counts.max().int64_value(&[]) };
        let starts = (self.counts.cumsum(0, Kind::Int64) - &self.counts).unsqueeze(1);
        let place = Tensor::arange(longest, (Kind::Int64, device)).unsqueeze(0);
        let there = place.lt_tensor(&self.counts.unsqueeze(1)).to_kind(Kind::Int64);
        self.points.index_select(0, &(starts + place * there).view([-1])).view([queries, longest])
    }

    /// The lists of the queries `rows`, which are all that are not empty.
    pub(super) fn select(&self, rows: &Tensor) -> Result<Self> {
        Ok(Self { points: self.points.shallow_clone(), counts: self.counts.index_select(0, rows) })
    }
}

/// For every query the first `most` points of its event by index with a squared distance below the squared radius.
pub(super) fn ball_query(queries: &Cloud, points: &Cloud, most: usize, radius: f32) -> Result<Lists> {
    let device = points.places.device();
    let cells = Cells::new(queries, points, radius);
    let (order, keys) = (cells.points.argsort_stable(true, 0, false), cells.points.sort(0, false).0);
    // The 27 cells around a query are nine runs along z.
    let around: Vec<i64> = (0..9).map(|i| (i / 3 - 1) * cells.steps[0] + (i % 3 - 1) * cells.steps[1]).collect();
    let middle = cells.queries.unsqueeze(1) + device::placed(&Tensor::from_slice(&around), device); // [Q, 9]
    let begin = (&middle - 1).bucketize(&keys, false, false);
    let length = (middle + 1).bucketize(&keys, false, true) - &begin;
    let totals = integers(&length.sum_dim_intlist([1i64].as_slice(), false, Kind::Int64))?;
    let radius2 = f64::from(radius * radius);
    let (mut found, mut counts) = (vec![], vec![]);
    let mut first = 0;
    while first < totals.len() {
        let mut last = first;
        let mut pairs = 0;
        while last < totals.len() && (last == first || pairs + totals[last] <= PAIRS) {
            pairs += totals[last];
            last += 1;
        }
        let (from, rows) = (first as i64, (last - first) as i64);
        let part = Part {
            begin: begin.narrow(0, from, rows).reshape([-1]),
            length: length.narrow(0, from, rows).reshape([-1]),
            from,
            rows,
        };
        let (points, count) = part.within(queries, points, &order, radius2, most as i64);
        found.push(points);
        counts.push(count);
        first = last;
    }
    if found.is_empty() {
        let none = Tensor::zeros([0], (Kind::Int64, device));
        return Ok(Lists { points: none.shallow_clone(), counts: none });
    }
    Ok(Lists { points: Tensor::cat(&found, 0), counts: Tensor::cat(&counts, 0) })
}

/// Some queries, and the runs of sorted points near them: nine a query.
struct Part {
    begin: Tensor,
    length: Tensor,
    from: i64,
    rows: i64,
}

impl Part {
    /// The first `most` points of each list, and the lengths of the lists.
    fn within(&self, queries: &Cloud, points: &Cloud, order: &Tensor, radius2: f64, most: i64) -> (Tensor, Tensor) {
        let device = order.device();
        let run = Tensor::repeat_interleave(&self.length, None);
        let shift = &self.begin - (self.length.cumsum(0, Kind::Int64) - &self.length);
        let place = Tensor::arange(run.size()[0], (Kind::Int64, device)) + shift.index_select(0, &run);
        let point = order.index_select(0, &place);
        let query = run.divide_scalar_mode(9, "floor");
        let near = distance2(&queries.places, &(&query + self.from), &points.places, &point).lt(radius2);
        // Sorted by query, then by point, as no pair occurs twice.
        let total = points.places.size()[0];
        let pair = (query * total + point).masked_select(&near).sort(0, false).0;
        let (query, point) = (pair.divide_scalar_mode(total, "floor"), pair.remainder(total));
        let counts = query.bincount(None::<&Tensor>, self.rows);
        let starts = counts.cumsum(0, Kind::Int64) - &counts;
        let rank = Tensor::arange(query.size()[0], (Kind::Int64, device)) - starts.index_select(0, &query);
        (point.masked_select(&rank.lt(most)), counts.clamp_max(most))
    }
}

/// Squared distances of pairs of rows, as the CPU form computes them.
fn distance2(a: &Tensor, a_rows: &Tensor, b: &Tensor, b_rows: &Tensor) -> Tensor {
    let axis = |at: i64| {
        let difference = a.select(1, at).index_select(0, a_rows) - b.select(1, at).index_select(0, b_rows);
        &difference * &difference
    };
    axis(0) + axis(1) + axis(2)
}

/// Numbers of the cells that queries and points lie in. Neighbouring numbers along z are neighbouring cells; no two events
/// share a number, nor are the last cell of a row and the first of the next neighbours.
struct Cells {
    queries: Tensor,
    points: Tensor,
    /// From a cell to the next along x, and along y.
    steps: [i64; 2],
}

impl Cells {
    /// Cubes with an edge of at least the radius. In f64: rounding cannot carry a neighbour beyond the next cell.
    fn new(queries: &Cloud, points: &Cloud, radius: f32) -> Self {
        let all = Tensor::cat(&[&queries.places, &points.places], 0).to_kind(Kind::Double);
        let low = all.amin([0i64].as_slice(), true);
        let widest = (all.amax([0i64].as_slice(), true) - &low).max().double_value(&[]);
        let edge = (f64::from(radius) * 1.0001).max(widest / CELLS).max(f64::MIN_POSITIVE);
        let cells =
            |cloud: &Cloud| ((cloud.places.to_kind(Kind::Double) - &low) / edge).floor().to_kind(Kind::Int64) + 1;
        let side = (widest / edge) as i64 + 4;
        let number = |cloud: &Cloud| {
            let at = cells(cloud);
            ((cloud.owners() * side + at.select(1, 0)) * side + at.select(1, 1)) * side + at.select(1, 2)
        };
        Self { queries: number(queries), points: number(points), steps: [side * side, side] }
    }
}

/// The `most` nearest points of every query's event, ascending by distance, then index.
pub(super) fn nearest(queries: &Cloud, points: &Cloud, most: usize) -> Result<Lists> {
    let device = points.places.device();
    let (mut found, mut counts) = (vec![], vec![]);
    for ((start, length), (first, rows)) in points.runs.iter().zip(queries.runs.iter()) {
        let k = (most as i64).min(length);
        counts.extend(std::iter::repeat_n(k, rows as usize));
        if k == 0 || rows == 0 {
            continue;
        }
        let axis = |at: i64| {
            let to = queries.places.narrow(0, first, rows).select(1, at).unsqueeze(1);
            let difference = points.places.narrow(0, start, length).select(1, at).unsqueeze(0) - to;
            &difference * &difference
        };
        let distances = axis(0) + axis(1) + axis(2); // [rows, length]
        found.push((distances.argsort_stable(true, 1, false).narrow(1, 0, k) + start).reshape([-1]));
    }
    let none = Tensor::zeros([0], (Kind::Int64, Device::Cpu)).to_device(device);
    found.push(none);
    Ok(Lists { points: Tensor::cat(&found, 0), counts: device::placed(&Tensor::from_slice(&counts), device) })
}
