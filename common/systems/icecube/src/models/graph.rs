//! The graph of the nearest neighbours of every pulse, by exact search.
//!
//! The published runs searched on a GPU, whose rule decides ties: candidates are scanned in ascending order and only
//! strictly nearer ones replace, so the lower index wins; nothing at a squared distance of 5e4 or more is taken; the node
//! itself counts among its own neighbours and is removed afterwards. Where nine nodes of lower index lie on the same
//! place, the node itself is not found, nothing is removed, and nine edges stay.

use rayon::prelude::*;

/// Neighbours that are looked for, the node itself included.
pub(super) const FOUND: usize = 9;
/// No neighbour at this squared distance or beyond.
pub(super) const FAR: f32 = 5e4;

/// Edges from neighbours to nodes; targets ascend, and neighbours of a node come nearest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edges {
    /// The neighbour.
    pub source: Vec<i64>,
    /// The node.
    pub target: Vec<i64>,
    /// Number of edges of each event.
    pub counts: Vec<usize>,
}

/// The edges of all events: `coordinates` are columns, each with a value for every node; `lengths` says how many nodes
/// the events have, one after another. With `parallel` events are searched side by side, with the same result.
pub fn nearest(coordinates: &[&[f32]], lengths: &[i64], parallel: bool) -> Edges {
    let firsts = firsts(lengths);
    let search = |event: usize| {
        let (from, to) = (firsts[event], firsts[event + 1]);
        let columns: Vec<&[f32]> = coordinates.iter().map(|column| &column[from..to]).collect();
        event_edges(&columns, from as i64)
    };
    let parts: Vec<(Vec<i64>, Vec<i64>)> = if parallel {
        (0..lengths.len()).into_par_iter().map(search).collect()
    } else {
        (0..lengths.len()).map(search).collect()
    };
    let mut edges = Edges::default();
    for (source, target) in parts {
        edges.counts.push(source.len());
        edges.source.extend(source);
        edges.target.extend(target);
    }
    edges
}

/// First node of each event, and the number of all nodes at the end.
fn firsts(lengths: &[i64]) -> Vec<usize> {
    let mut firsts = vec![0];
    for &length in lengths {
        firsts.push(firsts[firsts.len() - 1] + length as usize);
    }
    firsts
}

/// Source and target of the edges of one event whose first node is `first`.
fn event_edges(columns: &[&[f32]], first: i64) -> (Vec<i64>, Vec<i64>) {
    let n = columns.first().map_or(0, |column| column.len());
    let (mut source, mut target) = (Vec::with_capacity(n * FOUND), Vec::with_capacity(n * FOUND));
    let mut keep = |i: usize, found: &mut dyn Iterator<Item = u32>| {
        for j in found.filter(|&j| j != NOBODY && j as usize != i) {
            source.push(first + i64::from(j));
            target.push(first + i as i64);
        }
    };
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        for start in (0..n).step_by(side_by_side::LANES) {
            // SAFETY: the processor has what the function was compiled for.
            let found = unsafe { side_by_side::search(columns, start) };
            for lane in 0..side_by_side::LANES.min(n - start) {
                keep(start + lane, &mut found.iter().map(|found| found[lane]));
            }
        }
        return (source, target);
    }
    let mut distances = vec![0.0; n];
    for i in 0..n {
        keep(i, &mut search(columns, i, &mut distances).into_iter());
    }
    (source, target)
}

/// Stands for a neighbour where there is none.
const NOBODY: u32 = u32::MAX;

/// The nodes next to node `i`, nearest first. `distances` has a place for each node.
///
/// The published kernel sums the columns in their order, without fused multiply-add.
fn search(columns: &[&[f32]], i: usize, distances: &mut [f32]) -> [u32; FOUND] {
    distances.fill(0.0);
    for column in columns {
        let at = column[i];
        for (distance, x) in distances.iter_mut().zip(*column) {
            *distance += (x - at) * (x - at);
        }
    }
    let (mut near, mut who) = ([FAR; FOUND], [NOBODY; FOUND]);
    for (j, &distance) in distances.iter().enumerate() {
        if distance < near[FOUND - 1] {
            let place = near.iter().position(|&n| distance < n).unwrap_or(FOUND - 1);
            near.copy_within(place..FOUND - 1, place + 1);
            who.copy_within(place..FOUND - 1, place + 1);
            (near[place], who[place]) = (distance, j as u32);
        }
    }
    who
}

/// [`search`] for eight nodes at once, one in each lane of a register.
#[cfg(target_arch = "x86_64")]
mod side_by_side {
    use std::arch::x86_64::*;

    use super::{FAR, FOUND, NOBODY};

    /// Nodes that are searched for at once.
    pub const LANES: usize = 8;

    /// The nodes next to nodes `start..start + 8`, nearest first; beyond the last node those of the last one.
    #[target_feature(enable = "avx2")]
    pub fn search(columns: &[&[f32]], start: usize) -> [[u32; LANES]; FOUND] {
        let n = columns.first().map_or(0, |column| column.len());
        let last = n.saturating_sub(1);
        let at: Vec<__m256> = columns
            .iter()
            .map(|column| {
                let [a, b, c, d, e, f, g, h] = std::array::from_fn(|lane| column[(start + lane).min(last)]);
                _mm256_setr_ps(a, b, c, d, e, f, g, h)
            })
            .collect();
        let mut near = [_mm256_set1_ps(FAR); FOUND];
        let mut who = [_mm256_castsi256_ps(_mm256_set1_epi32(NOBODY as i32)); FOUND];
        for j in 0..n {
            let mut distance = _mm256_setzero_ps();
            for (at, column) in at.iter().zip(columns) {
                let apart = _mm256_sub_ps(_mm256_set1_ps(column[j]), *at);
                distance = _mm256_add_ps(distance, _mm256_mul_ps(apart, apart));
            }
            let nearer = _mm256_cmp_ps::<_CMP_LT_OQ>(distance, near[FOUND - 1]);
            if _mm256_movemask_ps(nearer) == 0 {
                continue;
            }
            // Behind all that are not farther, in each lane, without a branch: which of them move is as good as random.
            let node = _mm256_castsi256_ps(_mm256_set1_epi32(j as i32));
            let mut here = nearer;
            for place in (1..FOUND).rev() {
                let before = _mm256_cmp_ps::<_CMP_LT_OQ>(distance, near[place - 1]);
                let stays = _mm256_blendv_ps(near[place], distance, here);
                near[place] = _mm256_blendv_ps(stays, near[place - 1], before);
                let stays = _mm256_blendv_ps(who[place], node, here);
                who[place] = _mm256_blendv_ps(stays, who[place - 1], before);
                here = before;
            }
            near[0] = _mm256_blendv_ps(near[0], distance, here);
            who[0] = _mm256_blendv_ps(who[0], node, here);
        }
        who.map(|who| {
            let mut lanes = [0_u32; LANES];
            // SAFETY: eight numbers of 32 bits each.
            unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), _mm256_castps_si256(who)) };
            lanes
        })
    }
}

/// Share of an event's edges whose ends have the same bits in a column, for each event and column, row by row; 0 for an
/// event without edges.
pub fn homophily(columns: &[&[f32]], edges: &Edges) -> Vec<f32> {
    let mut shares = Vec::with_capacity(edges.counts.len() * columns.len());
    let mut from = 0;
    for &count in &edges.counts {
        for column in columns {
            let same = (from..from + count)
                .filter(|&e| column[edges.source[e] as usize] == column[edges.target[e] as usize])
                .count();
            shares.push(if count == 0 { 0.0 } else { same as f32 / count as f32 });
        }
        from += count;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_degree(edges: &Edges, node: i64) -> usize {
        edges.target.iter().filter(|&&t| t == node).count()
    }

    #[test]
    fn nodes_on_one_place_keep_nine_edges_when_they_do_not_find_themselves() {
        let edges = nearest(&[&[1.0; 20], &[2.0; 20]], &[20], false);
        assert_eq!((in_degree(&edges, 8), in_degree(&edges, 9)), (8, 9));
        assert_eq!(edges.source[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(homophily(&[&[1.0; 20]], &edges), [1.0]);
    }

    #[test]
    fn events_do_not_see_each_other_and_small_ones_see_all_they_have() {
        let x: Vec<f32> = (0..14).map(|i| (i * i % 13) as f32).collect();
        let edges = nearest(&[&x], &[1, 3, 10], true);
        assert_eq!(edges, nearest(&[&x], &[1, 3, 10], false));
        assert_eq!(edges.counts, [0, 6, 80]);
        assert!(edges.source.iter().zip(&edges.target).all(|(s, t)| (s < &4) == (t < &4) && s != t));
        assert_eq!(homophily(&[&x], &edges)[0], 0.0);
    }

    #[test]
    fn eight_nodes_at_once_find_what_one_finds() {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            for n in [1, 7, 8, 9, 61, 200] {
                // Few different values, so that many distances are equal; one that is no number.
                let mut x: Vec<f32> = (0..n).map(|i| ((i * 7919) % 11) as f32).collect();
                let y: Vec<f32> = (0..n).map(|i| ((i * 104_729) % 5) as f32 * 60.0).collect();
                x[n / 2] = f32::NAN;
                let columns = [&x[..], &y[..]];
                for i in 0..n {
                    let alone = search(&columns, i, &mut vec![0.0; n]);
                    // SAFETY: the processor has what the function was compiled for.
                    let together = unsafe { side_by_side::search(&columns, i) };
                    assert_eq!(alone, together.map(|lanes| lanes[0]), "node {i} of {n}");
                }
            }
        }
    }

    #[test]
    fn nothing_far_away_is_a_neighbour() {
        let edges = nearest(&[&[0.0, 100.0, 400.0]], &[3], false);
        assert_eq!((edges.source, edges.target), (vec![1, 0], vec![0, 1]));
    }
}
