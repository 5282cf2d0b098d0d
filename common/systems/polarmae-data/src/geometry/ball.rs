//! Ball query: the first K points by index within a radius.

use super::{Cells, Points};

/// Fewer distance evaluations than this are made one by one; a cell list pays beyond.
const CELLS_FROM: usize = 1 << 14;

/// For every query the indices of the first `most` points, in ascending order, with a squared distance strictly below
/// the squared radius. Not the nearest ones.
pub fn ball_query(queries: &Points, points: &Points, most: usize, radius: f32) -> Vec<Vec<u32>> {
    if queries.len() * points.len() < CELLS_FROM {
        return ball_query_plain(queries, points, most, radius);
    }
    let cells = Cells::new(points, radius);
    let radius2 = radius * radius;
    let one = |i: usize| {
        let mut found = vec![];
        cells.within(queries.at(i), radius2, |index, _| found.push(index));
        found.sort_unstable();
        found.truncate(most);
        found
    };
    (0..queries.len()).map(one).collect()
}

/// The same by looking at every point for every query.
pub fn ball_query_plain(queries: &Points, points: &Points, most: usize, radius: f32) -> Vec<Vec<u32>> {
    let radius2 = radius * radius;
    let one = |i: usize| {
        let p = queries.at(i);
        (0..points.len()).filter(|&j| points.distance2(j, p) < radius2).take(most).map(|j| j as u32).collect()
    };
    (0..queries.len()).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::seed::rng_for;
    use rand::RngExt;

    #[test]
    fn the_cell_list_finds_what_looking_at_every_point_finds() {
        let mut rng = rng_for(5, "ball", 0);
        let rows: Vec<f32> = (0..3 * 2000).map(|_| (rng.random::<f32>() * 60.0).floor() * 0.01).collect();
        let points = Points::from_rows(&rows, 3);
        let far = [[9.0, 0.1, 0.1], [-9.0, 0.1, 0.1], [0.1, 1e9, -1e9]].concat();
        let queries = Points::from_rows(&[&rows[..300], &far[..]].concat(), 3);
        for (radius, most) in [(0.01, 64), (0.035, 8), (0.3, 4000), (0.0, 3), (50.0, 5)] {
            let plain = ball_query_plain(&queries, &points, most, radius);
            assert_eq!(ball_query(&queries, &points, most, radius), plain, "radius {radius}");
        }
    }

    #[test]
    fn no_points_and_equal_points_are_fine() {
        let none = Points::default();
        let same = Points::from_rows(&[0.5; 3 * 200], 3);
        assert!(ball_query(&none, &same, 3, 0.1).is_empty());
        assert!(ball_query(&same, &none, 3, 0.1).iter().all(Vec::is_empty));
        assert!(ball_query(&same, &same, 3, 0.1).iter().all(|found| found == &[0, 1, 2]));
    }
}
