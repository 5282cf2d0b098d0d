//! The graph of the nearest neighbours of every pulse, by exact search.
//!
//! The published runs searched on a GPU, whose rule decides ties: candidates are scanned in ascending order and only
//! strictly nearer ones replace, so the lower index wins; nothing at a squared distance of 5e4 or more is taken; the node
//! itself counts among its own neighbours and is removed afterwards. Where nine nodes of lower index lie on the same
//! place, the node itself is not found, nothing is removed, and nine edges stay.

use rayon::prelude::*;

/// Neighbours that are looked for, the node itself included.
const FOUND: usize = 9;
/// No neighbour at this squared distance or beyond.
const FAR: f32 = 5e4;

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
    let mut distances = vec![0.0_f32; n];
    for i in 0..n {
        // The published kernel sums the columns in their order, without fused multiply-add.
        let (head, rest) = columns.split_at(1);
        let at = head[0][i];
        for (distance, x) in distances.iter_mut().zip(head[0]) {
            *distance = (x - at) * (x - at);
        }
        for column in rest {
            let at = column[i];
            for (distance, x) in distances.iter_mut().zip(*column) {
                *distance += (x - at) * (x - at);
            }
        }
        let mut best = [(FAR, usize::MAX); FOUND];
        for (j, &distance) in distances.iter().enumerate() {
            if distance < best[FOUND - 1].0 {
                let mut place = FOUND - 1;
                while place > 0 && distance < best[place - 1].0 {
                    best[place] = best[place - 1];
                    place -= 1;
                }
                best[place] = (distance, j);
            }
        }
        for &(_, j) in best.iter().filter(|&&(_, j)| j != usize::MAX && j != i) {
            source.push(first + j as i64);
            target.push(first + i as i64);
        }
    }
    (source, target)
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
    fn nothing_far_away_is_a_neighbour() {
        let edges = nearest(&[&[0.0, 100.0, 400.0]], &[3], false);
        assert_eq!((edges.source, edges.target), (vec![1, 0], vec![0, 1]));
    }
}
