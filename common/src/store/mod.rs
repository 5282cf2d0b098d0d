//! One module a file format. Readers check everything at the door (sizes, types, bounds) and name the file, the place
//! in it, what was found and what was expected; writers publish through [`crate::durable`].

pub mod archive;
mod dtype;
pub mod foreign;
pub mod hdf5;
pub mod leftovers;
mod map;
pub mod netcdf;
pub mod npy;
pub mod pickle;
pub mod scratch;
pub mod tables;
pub mod tensors;
mod zip;

use serde_json::Value;

pub use map::{Mapped, Plain};

/// JSON on one line with the keys of all objects sorted: equal values give equal bytes.
pub fn canonical_json(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| key.as_str());
                Value::Object(entries.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            scalar => scalar.clone(),
        }
    }
    sorted(value).to_string()
}
