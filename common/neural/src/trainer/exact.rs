//! JSON whose floating-point numbers come back bit for bit, also those inside nested configs and free-form values.
//!
//! The JSON reader in use is fast and may miss the last bit of a number. A resumed run must continue with exactly the
//! numbers of the killed one, so they stand in the text as `"f64:0.0008"`: the shortest decimal that reads back to the
//! same value, parsed by the standard library. Fields that may be infinite or NaN use [`crate::exact`] besides.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

const MARK: &str = "f64:";

/// JSON text of `value`.
pub fn to_text<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut value = serde_json::to_value(value)?;
    visit(&mut value, &|value| {
        if let Value::Number(number) = value
            && let Some(float) = number.as_f64().filter(|_| number.is_f64())
        {
            *value = Value::String(format!("{MARK}{float:?}"));
        }
    });
    serde_json::to_string_pretty(&value)
}

/// The value of such a text.
pub fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    let mut value: Value = serde_json::from_str(text)?;
    visit(&mut value, &|value| {
        if let Value::String(text) = value
            && let Some(float) = text.strip_prefix(MARK).and_then(|t| t.parse().ok()).and_then(Number::from_f64)
        {
            *value = Value::Number(float);
        }
    });
    serde_json::from_value(value)
}

fn visit(value: &mut Value, change: &impl Fn(&mut Value)) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|v| visit(v, change)),
        Value::Object(map) => map.values_mut().for_each(|v| visit(v, change)),
        leaf => change(leaf),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use serde::Deserialize;

    #[derive(Debug, Serialize, Deserialize)]
    struct Numbers {
        list: Vec<f64>,
        #[serde(with = "crate::exact")]
        best: f64,
        count: u64,
        text: String,
    }

    #[test]
    fn every_float_reads_back_bit_for_bit() {
        let mut rng = common::seed::rng_for(1, "exact", 0);
        let mut list: Vec<f64> = (0..5000).map(|_| f64::from_bits(rng.random())).filter(|v| v.is_finite()).collect();
        list.extend([0.1, -0.0, 1e-308, f64::MIN_POSITIVE / 8.0, 8e-4, 3.0]);
        let numbers = Numbers { list, best: f64::INFINITY, count: u64::MAX, text: "f64:x".into() };
        let back: Numbers = from_text(&to_text(&numbers).unwrap()).unwrap();
        let bits = |n: &Numbers| n.list.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&numbers), bits(&back));
        assert_eq!((back.best, back.count, back.text.as_str()), (f64::INFINITY, u64::MAX, "f64:x"));
    }
}
