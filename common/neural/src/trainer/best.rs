//! Which evaluation is kept, and when a run stops early: the rule that published trainings share.

use serde::{Deserialize, Serialize};

/// Scores seen so far; lower is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Best score of the epochs that ended. It moves at the end of an epoch only.
    #[serde(with = "crate::exact")]
    earlier: f64,
    /// Best score of the running epoch.
    #[serde(with = "crate::exact")]
    this_epoch: f64,
    /// Ended epochs with an evaluation since the last that gained.
    without_gain: u64,
    /// Whether the running epoch was evaluated.
    #[serde(default)]
    evaluated: bool,
}

impl Default for Best {
    fn default() -> Self {
        Self { earlier: f64::INFINITY, this_epoch: f64::INFINITY, without_gain: 0, evaluated: false }
    }
}

impl Best {
    /// Takes a score and says whether its model is to be kept: below the best of this epoch so far and below the
    /// best of all earlier epochs, each by more than `min_gain`. NaN never is.
    pub fn offer(&mut self, score: f64, min_gain: f64) -> bool {
        self.evaluated = true;
        let best_of_epoch = score < self.this_epoch - min_gain;
        if best_of_epoch {
            self.this_epoch = score;
        }
        best_of_epoch && score < self.earlier - min_gain
    }

    /// Closes an epoch and says whether the run stops: after more than `patience` epochs without a gain, never for `None`.
    /// An epoch without an evaluation (evaluations by steps, or in the last epochs only) had nothing to gain by.
    pub fn end_epoch(&mut self, patience: Option<u64>) -> bool {
        if !std::mem::take(&mut self.evaluated) {
            return false;
        }
        if self.this_epoch < self.earlier {
            self.earlier = self.this_epoch;
            self.without_gain = 0;
        } else {
            self.without_gain += 1;
        }
        self.this_epoch = f64::INFINITY;
        patience.is_some_and(|patience| self.without_gain > patience)
    }

    /// The best score so far.
    pub fn score(&self) -> f64 {
        self.earlier.min(self.this_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_kept_only_below_both_bests() {
        let mut best = Best::default();
        assert!(best.offer(-0.5, 0.0));
        assert!(!best.offer(-0.4, 0.0));
        assert!(best.offer(-0.6, 0.0));
        assert!(!best.offer(-0.6, 0.0), "strictly below");
        assert!(!best.end_epoch(Some(0)));
        // Best of its epoch, but not below the first epoch's.
        assert!(!best.offer(-0.55, 0.0));
        assert!(!best.offer(f64::NAN, 0.0));
        assert!(best.offer(-0.61, 0.0));
        assert_eq!(best.score(), -0.61);
    }

    #[test]
    fn patience_counts_epochs_without_gain_and_a_gain_resets_it() {
        let run = |patience, epochs: &[f64]| {
            let mut best = Best::default();
            epochs.iter().position(|&score| {
                best.offer(score, 0.0);
                best.end_epoch(patience)
            })
        };
        let scores = [-0.5, -0.4, -0.6, -0.5, -0.55, -0.7];
        assert_eq!(run(Some(0), &scores), Some(1));
        assert_eq!(run(Some(1), &scores), Some(4));
        assert_eq!(run(None, &scores), None);
    }

    #[test]
    fn epochs_without_an_evaluation_do_not_count() {
        let mut best = Best::default();
        assert!(best.offer(-0.5, 0.0));
        assert!((0..10).all(|_| !best.end_epoch(Some(1))));
        assert!(!best.offer(-0.4, 0.0));
        assert!(!best.end_epoch(Some(1)) && !best.end_epoch(Some(1)));
        assert!(!best.offer(f64::NAN, 0.0), "no number is a failure too");
        assert!(best.end_epoch(Some(1)));
    }

    #[test]
    fn a_minimum_gain_ignores_smaller_ones() {
        let mut best = Best::default();
        assert!(best.offer(-0.5, 3e-5));
        assert!(!best.offer(-0.500_02, 3e-5));
        assert!(best.offer(-0.500_04, 3e-5));
    }
}
