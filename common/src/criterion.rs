//! What a figure is called, and which way it is better: a property of the metric, wherever it is shown, ranked or minimised.

use serde::{Deserialize, Serialize};

/// Which way of a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// A loss, an error, an angle.
    #[default]
    Lower,
    /// R2, F1, a score of a competition.
    Higher,
}

impl Better {
    /// The value to minimise from the value that people read, and back.
    pub fn minimised(self, value: f64) -> f64 {
        match self {
            Self::Lower => value,
            Self::Higher => -value,
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Lower => "lower is better",
            Self::Higher => "higher is better",
        }
    }
}

/// The figure that decides which model is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Criterion {
    /// Name, as in the log: `r2`, `angle`, `loss`.
    pub name: String,
    /// Which way is better.
    pub better: Better,
}

impl Default for Criterion {
    fn default() -> Self {
        Self::lower("score")
    }
}

impl Criterion {
    /// A figure of which lower values are better.
    pub fn lower(name: impl Into<String>) -> Self {
        Self { name: name.into(), better: Better::Lower }
    }

    /// A figure of which higher values are better.
    pub fn higher(name: impl Into<String>) -> Self {
        Self { name: name.into(), better: Better::Higher }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_minimised_is_shown_with_its_own_sign() {
        assert_eq!(Better::Higher.minimised(0.75), -0.75);
        assert_eq!(Better::Higher.minimised(Better::Higher.minimised(0.75)), 0.75);
        assert_eq!(Better::Lower.minimised(0.75), 0.75);
    }
}
