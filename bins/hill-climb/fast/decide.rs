//! Labels, and where they change along the line from a blend to a model. Every region of numbers with one label is convex: a
//! row that has the same label at both ends of a line, and not by a hair, has it everywhere between.

use std::ops::Range;

use crate::hill_climb::labels::Labels;

/// Counts that all steps to one model may take together.
const COUNTS: usize = 1 << 23;

/// How numbers become labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// The second of two from here on.
    Threshold(f64),
    /// The nearest one.
    Nearest(Labels),
    /// The class with the largest of so many numbers, the first of equal ones.
    Likeliest(usize),
}

/// A label, and whether rounding errors cannot have changed it.
type Decided = (usize, bool);

impl Decision {
    /// Number of labels.
    pub fn labels(self) -> usize {
        match self {
            Self::Threshold(_) => 2,
            Self::Nearest(labels) => labels.count,
            Self::Likeliest(classes) => classes,
        }
    }

    /// Numbers a row.
    fn width(self) -> usize {
        if let Self::Likeliest(classes) = self { classes } else { 1 }
    }

    /// The label of a row, whose numbers begin at `at(row * width)`.
    pub fn label(self, row: usize, at: &impl Fn(usize) -> f64) -> usize {
        match self {
            Self::Threshold(threshold) => usize::from(at(row) >= threshold),
            Self::Nearest(labels) => labels.nearest(at(row)),
            Self::Likeliest(classes) => {
                let first = row * classes;
                let (mut best, mut most) = (0, at(first));
                for class in 1..classes {
                    let value = at(first + class);
                    if value > most {
                        (best, most) = (class, value);
                    }
                }
                best
            }
        }
    }

    /// How far the numbers of a row with this label are from those of another label.
    fn margin(self, row: usize, label: usize, at: &impl Fn(usize) -> f64) -> f64 {
        match self {
            Self::Threshold(threshold) => (at(row) - threshold).abs(),
            Self::Nearest(labels) => labels.margin(at(row)),
            Self::Likeliest(classes) => {
                let first = row * classes;
                let most = at(first + label);
                let others = (0..classes).filter(|class| *class != label).map(|class| most - at(first + class));
                others.fold(f64::INFINITY, f64::min)
            }
        }
    }

    /// Weights by true and predicted label of `(1 - w) * current + w * model` for every `w` of `steps`; nothing where the steps
    /// do not ascend or the tables would be too large. The rows of class `k` end at `ends[k]`.
    pub fn along(
        self,
        current: &[f64],
        model: &[f64],
        steps: &[f64],
        ends: &[usize],
        weight: &impl Fn(usize) -> f64,
    ) -> Option<Vec<Vec<Vec<f64>>>> {
        let (labels, width, count) = (self.labels(), self.width(), steps.len());
        let ascending = steps.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || count < 3 || ends.len() * labels * count > COUNTS {
            return None;
        }
        let reach = steps.iter().fold(0.0, |reach: f64, w| reach.max(w.abs()));
        // Changes of the weights by class, label and step.
        let mut changes = vec![0.0; ends.len() * labels * count];
        let mut start = 0;
        for (class, &end) in ends.iter().enumerate() {
            let changes = &mut changes[class * labels * count..(class + 1) * labels * count];
            for row in start..end {
                let numbers: Range<usize> = row * width..(row + 1) * width;
                let size = |values: &[f64]| values[numbers.clone()].iter().fold(0.0, |most: f64, v| most.max(v.abs()));
                // Twice what rounding can move the distance of two numbers.
                let safe = 64.0 * f64::EPSILON * (1.0 + 2.0 * reach) * (size(current) + size(model));
                let decided = |step: usize| -> Decided {
                    let w = steps[step];
                    let at = |i: usize| (1.0 - w) * current[i] + w * model[i];
                    let label = self.label(row, &at);
                    (label, self.margin(row, label, &at) > safe)
                };
                let (first, last) = (decided(0), decided(count - 1));
                let weight = weight(row);
                changes[first.0 * count] += weight;
                follow(0..count - 1, first, last, &decided, &mut |step, from, to| {
                    changes[from * count + step] -= weight;
                    changes[to * count + step] += weight;
                });
            }
            start = end;
        }
        let mut tables = vec![vec![vec![0.0; labels]; ends.len()]; count];
        for class in 0..ends.len() {
            for label in 0..labels {
                let mut total = 0.0;
                for (step, table) in tables.iter_mut().enumerate() {
                    total += changes[(class * labels + label) * count + step];
                    table[class][label] = total;
                }
            }
        }
        Some(tables)
    }
}

/// Tells every change of label between the steps at both ends: the first step with the new one, the old and the new one.
fn follow(
    steps: Range<usize>,
    first: Decided,
    last: Decided,
    decided: &impl Fn(usize) -> Decided,
    tell: &mut impl FnMut(usize, usize, usize),
) {
    if first.0 == last.0 && first.1 && last.1 {
        return;
    }
    if steps.len() <= 1 {
        if first.0 != last.0 {
            tell(steps.end, first.0, last.0);
        }
        return;
    }
    let middle = steps.start + steps.len() / 2;
    let here = decided(middle);
    follow(steps.start..middle, first, here, decided, tell);
    follow(middle..steps.end, here, last, decided, tell);
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::seed::rng_for;
    use rand::RngExt;

    #[test]
    fn labels_that_are_followed_are_those_of_every_step() {
        let mut rng = rng_for(6, "decide", 0);
        let steps: Vec<f64> = (0..41).map(|i| -0.5 + 0.025 * f64::from(i)).collect();
        let whole = Labels::of(&[0.0, 1.0, 2.0, 3.0]).unwrap();
        for (decision, width) in
            [(Decision::Threshold(0.5), 1), (Decision::Nearest(whole), 1), (Decision::Likeliest(3), 3)]
        {
            for digits in [1.0, 2.0, 1e9] {
                let rows = 400;
                let mut numbers = || -> Vec<f64> {
                    let one = |_| (rng.random_range(-1.0f64..4.0) * digits).round() / digits;
                    (0..rows * width).map(one).collect()
                };
                let (current, mut model) = (numbers(), numbers());
                model[..width * 50].copy_from_slice(&current[..width * 50]);
                let ends = [150, 300, rows];
                let weight = |row: usize| 1.0 + f64::from(row.is_multiple_of(3));
                let tables = decision.along(&current, &model, &steps, &ends, &weight).unwrap();
                for (w, table) in steps.iter().zip(tables) {
                    let at = |i: usize| (1.0 - w) * current[i] + w * model[i];
                    let mut expected = vec![vec![0.0; decision.labels()]; 3];
                    for row in 0..rows {
                        let class = ends.iter().position(|end| row < *end).unwrap();
                        expected[class][decision.label(row, &at)] += weight(row);
                    }
                    assert_eq!(table, expected, "{decision:?} {digits} {w}");
                }
            }
        }
        assert!(Decision::Threshold(0.5).along(&[0.0], &[1.0], &[0.2, 0.1, 0.3], &[1], &|_| 1.0).is_none());
    }
}
