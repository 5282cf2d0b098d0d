//! Centrality-based non-maximum suppression: centres that keep their distance, those with most neighbours first.

use super::{Cells, Points, ball_query_plain};

/// Result of a suppression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// Retained points, ascending.
    pub retained: Vec<u32>,
    /// Number of neighbours of each point, itself included, saturating at K.
    pub counts: Vec<u32>,
}

impl Suppressed {
    /// All points: the retained ones in ascending order, then all others likewise.
    pub fn order(&self) -> Vec<u32> {
        let mut kept = vec![false; self.counts.len()];
        self.retained.iter().for_each(|&i| kept[i as usize] = true);
        let others = (0..kept.len() as u32).filter(|&i| !kept[i as usize]);
        self.retained.iter().copied().chain(others).collect()
    }
}

/// Walks the points by falling number of neighbours within `2 * radius * overlap` (ties by index). A point that is
/// still retained suppresses the first `most` of its neighbours by index, except itself.
///
/// Needs time proportional to the neighbours and memory proportional to the points: neighbours are counted in a cell
/// list, and listed only for the few points that are retained.
pub fn suppress(points: &Points, radius: f64, overlap: f64, most: usize) -> Suppressed {
    let reach = reach(radius, overlap);
    let cells = Cells::new(points, reach);
    let reach2 = reach * reach;
    let counts = cells.counts(reach2, most.min(u32::MAX as usize) as u32);
    let mut neighbours = vec![];
    let retained = walk(&counts, |i, retained| {
        neighbours.clear();
        cells.within(points.at(i), reach2, |j, _| neighbours.push(j));
        if neighbours.len() > most {
            neighbours.sort_unstable();
            neighbours.truncate(most);
        }
        neighbours.iter().filter(|&&j| j as usize != i).for_each(|&j| retained[j as usize] = false);
    });
    Suppressed { retained, counts }
}

/// The same from the full lists of neighbours of all points, as published.
pub fn suppress_plain(points: &Points, radius: f64, overlap: f64, most: usize) -> Suppressed {
    let neighbours = ball_query_plain(points, points, most, reach(radius, overlap));
    let counts: Vec<u32> = neighbours.iter().map(|list| list.len() as u32).collect();
    let retained = walk(&counts, |i, retained| {
        neighbours[i].iter().filter(|&&j| j as usize != i).for_each(|&j| retained[j as usize] = false);
    });
    Suppressed { retained, counts }
}

/// 2 r f, computed in f64 and rounded once, as a Python float handed to a kernel is.
fn reach(radius: f64, overlap: f64) -> f32 {
    let exact = 2.0 * radius * overlap;
    exact as f32
}

fn walk(counts: &[u32], mut take: impl FnMut(usize, &mut [bool])) -> Vec<u32> {
    let mut order: Vec<u32> = (0..counts.len() as u32).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(counts[i as usize]));
    let mut retained = vec![true; counts.len()];
    for &i in &order {
        if retained[i as usize] {
            take(i as usize, &mut retained);
        }
    }
    (0..counts.len() as u32).filter(|&i| retained[i as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::seed::rng_for;
    use rand::RngExt;

    #[test]
    fn cell_list_and_plain_form_agree() {
        let mut rng = rng_for(9, "suppress", 0);
        let rows: Vec<f32> = (0..3 * 1500).map(|_| (rng.random::<f32>() * 30.0).floor()).collect();
        let points = Points::from_rows(&rows, 3);
        for (radius, overlap, most) in [(1.0, 0.72, 256), (2.5, 0.73, 16), (5.0, 0.72, 8), (40.0, 0.5, 2000)] {
            assert_eq!(suppress(&points, radius, overlap, most), suppress_plain(&points, radius, overlap, most));
        }
    }

    #[test]
    fn retained_centres_keep_their_distance() {
        let rows: Vec<f32> = (0..60).flat_map(|i| [i as f32, 0.0, 0.0]).collect();
        let kept = suppress(&Points::from_rows(&rows, 3), 2.0, 0.75, 64).retained;
        assert!(kept.windows(2).all(|pair| pair[1] - pair[0] >= 3), "{kept:?}");
        assert!(suppress(&Points::default(), 1.0, 0.7, 4).retained.is_empty());
        assert_eq!(suppress(&Points::from_rows(&[0.0; 30], 3), 1.0, 0.7, 64).retained, [0]);
    }
}
