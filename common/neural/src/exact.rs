//! f64 in JSON without a change of a single bit, also infinities and NaN: as the shortest text that reads back equal.
//!
//! JSON has no infinities and no NaN, which losses and scores may be; a resumed run must not differ by one unit in the last
//! place. Use it as `#[serde(with = "neural::exact")]`; [`list`] and [`option`] serve `Vec<f64>` and `Option<f64>`. Numbers
//! that are always finite need nothing: the JSON reader is built with `float_roundtrip`, which a test below demands.

use serde::{Deserialize, Deserializer, Serializer, de};

/// Writes a number as text.
pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format!("{value:?}"))
}

/// Reads what [`serialize`] wrote.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    parse(&String::deserialize(from)?)
}

fn parse<E: de::Error>(text: &str) -> Result<f64, E> {
    text.parse().map_err(|_| E::custom(format!("`{text}` is not a number")))
}

/// For `Vec<f64>`.
pub mod list {
    use super::{Deserialize, Deserializer, Serializer, parse};

    /// Writes numbers as texts.
    pub fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|v| format!("{v:?}")))
    }

    /// Reads what [`serialize`] wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        Vec::<String>::deserialize(from)?.iter().map(|text| parse(text)).collect()
    }
}

/// For `Option<f64>`.
pub mod option {
    use super::{Deserialize, Deserializer, Serializer, parse};

    /// Writes a number as text, nothing as null.
    pub fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.serialize_some(&format!("{value:?}")),
            None => to.serialize_none(),
        }
    }

    /// Reads what [`serialize`] wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| parse(&text)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Numbers {
        #[serde(with = "super")]
        one: f64,
        #[serde(with = "super::list")]
        many: Vec<f64>,
        #[serde(with = "super::option")]
        maybe: Option<f64>,
    }

    #[test]
    fn every_bit_survives() {
        let many = vec![0.1 + 0.2, -0.0, f64::INFINITY, f64::MIN_POSITIVE / 3.0, 1e300, 6.02e23, 1.0 / 3.0];
        let text = serde_json::to_string(&Numbers { one: f64::NAN, many: many.clone(), maybe: None }).unwrap();
        let read: Numbers = serde_json::from_str(&text).unwrap();
        assert!(read.one.is_nan() && read.maybe.is_none());
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read.many), bits(&many));
        assert!(serde_json::from_str::<Numbers>(r#"{"one":"x","many":[],"maybe":null}"#).is_err());
    }

    #[test]
    fn finite_numbers_come_back_from_plain_json_bit_for_bit() {
        use rand::RngExt;
        let mut rng = common::seed::rng_for(1, "exact", 0);
        let mut all: Vec<f64> = (0..5000).map(|_| f64::from_bits(rng.random())).filter(|v| v.is_finite()).collect();
        all.extend([0.1, -0.0, 1e-308, f64::MIN_POSITIVE / 8.0, 8e-4, 3.0]);
        let nested = serde_json::json!({ "list": all });
        let back: serde_json::Value = serde_json::from_str(&nested.to_string()).unwrap();
        let back: Vec<f64> = serde_json::from_value(back["list"].clone()).unwrap();
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(&all));
    }
}
