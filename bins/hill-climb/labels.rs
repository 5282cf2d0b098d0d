//! Scores of labels.

use climb::Metric;
use common::metrics::mean;

/// Scores from weights by true and predicted label. Labels that are neither true nor predicted do not exist.
pub fn of_confusion(metric: Metric, table: &[Vec<f64>]) -> f64 {
    let sum = |k: usize| -> (f64, f64) { (table[k].iter().sum(), table.iter().map(|row| row[k]).sum()) };
    let seen: Vec<usize> = (0..table.len()).filter(|&k| sum(k) != (0.0, 0.0)).collect();
    let (truth, predicted): (Vec<f64>, Vec<f64>) = seen.iter().map(|&k| sum(k)).unzip();
    let hit = |i: usize| table[seen[i]][seen[i]];
    let all: f64 = truth.iter().sum();
    let hits: f64 = (0..seen.len()).map(hit).sum();
    let over = |a: f64, b: f64| if b == 0.0 { 0.0 } else { a / b };
    let f1 = |i: usize| over(2.0 * hit(i), truth[i] + predicted[i]);
    let every = 0..seen.len();
    match metric {
        Metric::BalancedAccuracy => {
            mean(&every.filter(|&i| truth[i] > 0.0).map(|i| hit(i) / truth[i]).collect::<Vec<_>>())
        }
        Metric::F1 if table.len() == 2 => over(2.0 * table[1][1], sum(1).0 + sum(1).1),
        Metric::F1 | Metric::F1Macro => mean(&every.map(f1).collect::<Vec<_>>()),
        Metric::F1Weighted => every.map(|i| truth[i] * f1(i)).sum::<f64>() / all,
        Metric::Mcc => {
            let square = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>();
            let both: f64 = truth.iter().zip(&predicted).map(|(a, b)| a * b).sum();
            let spread = (all * all - square(&truth)) * (all * all - square(&predicted));
            over(hits * all - both, spread.sqrt())
        }
        Metric::Qwk => {
            let (mut found, mut expected) = (0.0, 0.0);
            for i in every.clone() {
                for j in every.clone() {
                    let far = (i as f64 - j as f64).powi(2);
                    found += far * table[seen[i]][seen[j]];
                    expected += far * truth[i] * predicted[j] / all;
                }
            }
            if expected == 0.0 { 0.0 } else { 1.0 - found / expected }
        }
        // The rest counts hits; the micro mean of F1 does so, too.
        _ => over(hits, all),
    }
}
