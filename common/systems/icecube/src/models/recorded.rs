//! Graphs in tensor operations, for passes that are recorded ([`neural::export`]): the programs search neighbours on the host,
//! which leaves nothing in a recording.
//!
//! Events lie padded, one after another: row `b L + i` is pulse i of event b. Every pulse has as many edges as are looked for;
//! those that do not exist go from and to one more row behind all others, which holds zeros and is dropped in the end.
//! Distances are summed and ties are decided as in [`super::graph`].

use neural::export::recording;
use tch::{Kind, Tensor};

use super::graph::{FAR, FOUND};

/// Edges of a pulse at most.
pub const MOST: i64 = FOUND as i64;

/// The square root. A recorded pass is there for gradients too, which at 0 are infinite: numbers below any that matters count
/// as one that has them.
pub fn root(x: &Tensor) -> Tensor {
    if recording() { x.clamp_min(1e-30).sqrt() } else { x.sqrt() }
}

/// With the row that edges go to which do not exist.
pub fn extended(x: &Tensor) -> Tensor {
    Tensor::cat(&[x.shallow_clone(), x.new_zeros([1, x.size()[1]], (x.kind(), x.device()))], 0)
}

/// Neighbours `[B, L, 9]` of each pulse in its event, nearest first, and which of them there are; `coordinates` `[B L, c]`,
/// `mask` bool `[B, L]`.
pub fn neighbours(coordinates: &Tensor, mask: &Tensor) -> (Tensor, Tensor) {
    let (b, l, columns) = (mask.size()[0], mask.size()[1], coordinates.size()[1]);
    let found = FOUND as i64;
    let places = coordinates.to_kind(Kind::Float).view([b, l, columns]);
    let squared = |c: i64| {
        let x = places.select(2, c);
        let apart = x.unsqueeze(1) - x.unsqueeze(2); // [B, i, j]
        &apart * &apart
    };
    let mut distance = squared(0);
    for c in 1..columns {
        distance += squared(c);
    }
    let distance = distance.masked_fill(&mask.logical_not().unsqueeze(1), f64::INFINITY);
    // As many candidates as are looked for, in short events too.
    let beyond = Tensor::full([b, l, found], f64::INFINITY, (Kind::Float, distance.device()));
    let (near, who) = Tensor::cat(&[distance, beyond], 2).sort_stable(true, 2, false);
    let (near, who) = (near.narrow(2, 0, found), who.narrow(2, 0, found));
    let itself = Tensor::arange(l, (Kind::Int64, mask.device())).view([1, l, 1]);
    let there = near.lt(f64::from(FAR)).logical_and(&who.ne_tensor(&itself)).logical_and(&mask.unsqueeze(2));
    (who.clamp_max(l - 1), there)
}

/// Source and target of the edges to the `most` nearest of each pulse, rows of the extended tensor, i64 `[9 B L]` each.
pub fn ends(coordinates: &Tensor, mask: &Tensor, most: i64) -> (Tensor, Tensor) {
    let (b, l) = (mask.size()[0], mask.size()[1]);
    let (who, there) = neighbours(coordinates, mask);
    let there = there.logical_and(&there.cumsum(2, Kind::Int64).le(most));
    let first = (Tensor::arange(b, (Kind::Int64, mask.device())) * l).view([b, 1, 1]);
    let own = (&first + Tensor::arange(l, (Kind::Int64, mask.device())).view([1, l, 1])).expand_as(&who);
    let nowhere = |rows: &Tensor| rows.masked_fill(&there.logical_not(), b * l).flatten(0, -1);
    (nowhere(&(who + first)), nowhere(&own))
}

/// What a pulse sees: true for itself and its `most` nearest, bool `[B, L, L]`, the pulse that sees first.
pub fn window(coordinates: &Tensor, mask: &Tensor, most: i64) -> Tensor {
    let l = mask.size()[1];
    let (who, there) = neighbours(coordinates, mask);
    let there = there.logical_and(&there.cumsum(2, Kind::Int64).le(most));
    let all = Tensor::arange(l, (Kind::Int64, mask.device()));
    let seen = who.unsqueeze(3).eq_tensor(&all).logical_and(&there.unsqueeze(3)).any_dim(2, false);
    seen.logical_or(&all.unsqueeze(1).eq_tensor(&all).unsqueeze(0))
}

/// Shares of edges between equal values, `[B, columns]`: see [`super::graph::homophily`].
pub fn homophily(columns: &Tensor, (source, target): (&Tensor, &Tensor), mask: &Tensor) -> Tensor {
    let (b, l, width) = (mask.size()[0], mask.size()[1], columns.size()[1]);
    let values = extended(&columns.to_kind(Kind::Float));
    let there = target.ne(b * l).view([b, l * FOUND as i64, 1]);
    let same = values.index_select(0, source).eq_tensor(&values.index_select(0, target));
    let same = same.view([b, l * FOUND as i64, width]).logical_and(&there).to_kind(Kind::Float);
    let sum = |t: &Tensor| t.sum_dim_intlist([1_i64].as_slice(), false, Kind::Float);
    sum(&same) / sum(&there.to_kind(Kind::Float)).clamp_min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::graph;
    use tch::Device;

    /// Events on a coarse grid, so that many pulses share a place.
    fn events(lengths: &[i64], columns: i64) -> (Tensor, Tensor) {
        let longest = lengths.iter().copied().max().unwrap();
        tch::manual_seed(4);
        let b = lengths.len() as i64;
        let places = Tensor::randint(4, [b * longest, columns], (Kind::Float, Device::Cpu)) * 0.7;
        let counts = Tensor::from_slice(lengths).unsqueeze(1);
        let mask = Tensor::arange(longest, (Kind::Int64, Device::Cpu)).unsqueeze(0).lt_tensor(&counts);
        (places, mask)
    }

    #[test]
    fn edges_and_homophily_are_those_of_the_search() {
        let lengths = [25, 1, 4, 12];
        for columns in [3, 4] {
            let (places, mask) = events(&lengths, columns);
            let rows = mask.flatten(0, 1).nonzero().squeeze_dim(1);
            let packed: Vec<Vec<f32>> = (0..columns)
                .map(|c| Vec::try_from(places.index_select(0, &rows).select(1, c).contiguous()).unwrap())
                .collect();
            let packed: Vec<&[f32]> = packed.iter().map(Vec::as_slice).collect();
            let wanted = graph::nearest(&packed, &lengths, false);
            let (source, target) = ends(&places, &mask, 9);
            let there = target.ne(places.size()[0]);
            // Packed numbers of the padded rows.
            let numbers = mask.flatten(0, 1).cumsum(0, Kind::Int64) - 1;
            let packed_ends =
                |t: &Tensor| Vec::<i64>::try_from(numbers.index_select(0, &t.masked_select(&there))).unwrap();
            assert_eq!((packed_ends(&source), packed_ends(&target)), (wanted.source.clone(), wanted.target.clone()));
            let found = homophily(&places, (&source, &target), &mask);
            let share = Tensor::from_slice(&graph::homophily(&packed, &wanted)).view([4, columns]);
            assert!((found - share).abs().max().double_value(&[]) < 1e-6);
        }
    }
}
