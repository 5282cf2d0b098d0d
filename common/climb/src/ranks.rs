//! What the order of predictions says.

/// A number as an integer of the same order.
pub fn key(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// Area below the receiver's curve: pairs in order, equal ones by half, counted exactly by merging two sorted lists.
pub fn auc(p: &[f64], positive: impl Fn(usize) -> bool) -> f64 {
    let (mut hits, mut alarms) = (Vec::new(), Vec::new());
    for (row, &value) in p.iter().enumerate() {
        if positive(row) { &mut hits } else { &mut alarms }.push(key(value));
    }
    hits.sort_unstable();
    alarms.sort_unstable();
    let (mut below, mut equal) = (0, 0);
    let mut twice: u128 = 0;
    for hit in &hits {
        while below < alarms.len() && alarms[below] < *hit {
            below += 1;
        }
        equal = equal.max(below);
        while equal < alarms.len() && alarms[equal] <= *hit {
            equal += 1;
        }
        twice += (below + equal) as u128;
    }
    twice as f64 / (2.0 * hits.len() as f64 * alarms.len() as f64)
}

/// Ranks from 1; equal values share the mean of theirs.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        order[start..end].iter().for_each(|&row| ranks[row] = (start + 1 + end) as f64 / 2.0);
        start = end;
    }
    ranks
}
