//! How good predicted classes are: confusion matrices, and what follows from them.
//!
//! Source: the metrics of the published trainer (`torchmetrics`), and corrected intersections over unions: the
//! published ones compare the points of an event with a single label.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Counts of points by true class (rows) and predicted class (columns). Sums over events are exact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// Nothing counted yet.
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    /// Counts by true and predicted class, row by row; missing ones are zero, surplus ones left out.
    pub fn of_counts(classes: usize, mut counts: Vec<u64>) -> Self {
        counts.resize(classes * classes, 0);
        Self { classes, counts }
    }

    /// Counts the points of an event. Labels outside of the classes (such as -1) are left out.
    pub fn add(&mut self, labels: &[i64], predicted: &[i64]) {
        let class = |label: i64| usize::try_from(label).ok().filter(|&c| c < self.classes);
        for (&label, &guess) in labels.iter().zip(predicted) {
            if let (Some(label), Some(guess)) = (class(label), class(guess)) {
                self.counts[label * self.classes + guess] += 1;
            }
        }
    }

    /// Adds the counts of another one of the same classes.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
    }

    /// Points that were counted.
    pub fn points(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Rows of counts by true class.
    pub fn rows(&self) -> Vec<Vec<u64>> {
        self.counts.chunks(self.classes).map(<[u64]>::to_vec).collect()
    }

    fn hits(&self, c: usize) -> f64 {
        self.counts[c * self.classes + c] as f64
    }

    fn true_points(&self, c: usize) -> f64 {
        self.counts[c * self.classes..(c + 1) * self.classes].iter().sum::<u64>() as f64
    }

    fn predicted_points(&self, c: usize) -> f64 {
        (0..self.classes).map(|t| self.counts[t * self.classes + c]).sum::<u64>() as f64
    }

    /// Share of right points over all classes.
    pub fn accuracy(&self) -> f64 {
        ratio((0..self.classes).map(|c| self.hits(c)).sum(), self.points() as f64)
    }

    /// Share of a class's points that were found, each class.
    pub fn recall(&self) -> Vec<f64> {
        (0..self.classes).map(|c| ratio(self.hits(c), self.true_points(c))).collect()
    }

    /// Share of right ones among the points given to a class, each class.
    pub fn precision(&self) -> Vec<f64> {
        (0..self.classes).map(|c| ratio(self.hits(c), self.predicted_points(c))).collect()
    }

    /// Harmonic mean of precision and recall, each class.
    pub fn f1(&self) -> Vec<f64> {
        let one = |c| ratio(2.0 * self.hits(c), self.true_points(c) + self.predicted_points(c));
        (0..self.classes).map(one).collect()
    }

    /// Intersection over union, each class, of all points together.
    pub fn iou(&self) -> Vec<f64> {
        let one = |c| ratio(self.hits(c), self.true_points(c) + self.predicted_points(c) - self.hits(c));
        (0..self.classes).map(one).collect()
    }

    /// Mean over the classes that occur in truth or prediction; 0 where none does.
    pub fn macro_mean(&self, per_class: &[f64]) -> f64 {
        let present: Vec<f64> = (0..self.classes)
            .filter(|&c| self.true_points(c) + self.predicted_points(c) > 0.0)
            .map(|c| per_class[c])
            .collect();
        ratio(present.iter().sum(), present.len() as f64)
    }

    /// F1 of predicting the most frequent class for every point, as the macro mean over classes that occur.
    pub fn majority_f1(&self) -> f64 {
        let supports: Vec<f64> = (0..self.classes).map(|c| self.true_points(c)).collect();
        let present = supports.iter().filter(|s| **s > 0.0).count() as f64;
        let (most, all) = (supports.iter().copied().fold(0.0, f64::max), supports.iter().sum::<f64>());
        ratio(ratio(2.0 * most, most + all), present)
    }

    /// All figures by name.
    pub fn figures(&self, names: &[&str]) -> Value {
        let of = |values: &[f64]| -> Value {
            names
                .iter()
                .zip(values)
                .map(|(name, v)| ((*name).to_string(), json!(v)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let (f1, iou, precision, recall) = (self.f1(), self.iou(), self.precision(), self.recall());
        json!({
            "points": self.points(),
            "accuracy": self.accuracy(),
            "f1_mean": self.macro_mean(&f1),
            "iou_mean": self.macro_mean(&iou),
            "precision_mean": self.macro_mean(&precision),
            "recall_mean": self.macro_mean(&recall),
            "f1_majority": self.majority_f1(),
            "f1": of(&f1),
            "iou": of(&iou),
            "precision": of(&precision),
            "recall": of(&recall),
            "confusion": self.rows(),
        })
    }
}

/// Undefined shares count as 0.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Intersection over union of one event and each class; 1 where the class is in neither truth nor prediction.
pub fn event_iou(labels: &[i64], predicted: &[i64], classes: usize) -> Vec<f64> {
    let mut confusion = Confusion::new(classes);
    confusion.add(labels, predicted);
    let union = |c| confusion.true_points(c) + confusion.predicted_points(c) - confusion.hits(c);
    (0..classes).map(|c| if union(c) > 0.0 { confusion.hits(c) / union(c) } else { 1.0 }).collect()
}

/// The published per-event figures, which are wrong: each class of the event's points is compared with ONE label, that
/// of the point whose number is the event's place in the batch. For comparing with published logs only.
pub fn published_iou(labels: &[i64], predicted: &[i64], place: usize, classes: usize) -> Vec<f64> {
    let label = labels.get(place).copied().unwrap_or(-1);
    let one = |c: i64| {
        let guessed = predicted.iter().filter(|&&p| p == c).count() as f64;
        // The single label stands for every point.
        let (both, either) = if label == c { (guessed, predicted.len() as f64) } else { (0.0, guessed) };
        if either > 0.0 { both / either } else { 1.0 }
    };
    (0..classes as i64).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_classes_do_not_enter_means_and_ignored_labels_count_for_nothing() {
        let mut confusion = Confusion::new(4);
        confusion.add(&[0, 0, 1, 1, -1, 7], &[0, 1, 1, 1, 0, 0]);
        assert_eq!((confusion.points(), confusion.accuracy()), (4, 0.75));
        assert_eq!(confusion.recall(), [0.5, 1.0, 0.0, 0.0]);
        assert_eq!(confusion.macro_mean(&confusion.recall()), 0.75);
        assert_eq!(Confusion::new(3).macro_mean(&[0.0; 3]), 0.0);
        assert_eq!(event_iou(&[0, 0], &[0, 1], 3), [0.5, 0.0, 1.0]);
    }

    #[test]
    fn the_majority_is_what_a_constant_guess_reaches() {
        let mut confusion = Confusion::new(2);
        confusion.add(&[0, 0, 0, 1], &[1, 1, 1, 1]);
        let mut constant = Confusion::new(2);
        constant.add(&[0, 0, 0, 1], &[0, 0, 0, 0]);
        assert!((confusion.majority_f1() - constant.macro_mean(&constant.f1())).abs() < 1e-12);
    }
}
