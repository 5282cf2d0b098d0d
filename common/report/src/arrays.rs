//! The arrays of a page, each once.

use std::collections::HashMap;

use serde_json::Value;

use crate::text::numbers;

/// The arrays of a page, each once: curves of one run share their steps.
#[derive(Debug, Default)]
pub(crate) struct Arrays {
    known: HashMap<Vec<u64>, usize>,
    pub(crate) all: Vec<Value>,
}

impl Arrays {
    /// The number of an array with these values.
    pub(crate) fn place(&mut self, values: &[f64]) -> Value {
        let bits: Vec<u64> = values.iter().map(|v| v.to_bits()).collect();
        let next = self.all.len();
        let place = *self.known.entry(bits).or_insert(next);
        if place == next {
            self.all.push(numbers(values));
        }
        place.into()
    }
}
