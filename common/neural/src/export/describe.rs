//! What a module says about itself.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Method, Module};

/// A tensor that goes in or comes out.
#[derive(Debug, Clone, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Number format: `f32 or f64`, `i64`, `bool`.
    pub kind: &'static str,
    /// Shape with the names of free sizes: `[batch, 556]`.
    pub shape: &'static str,
    /// Unit and meaning.
    pub about: String,
    /// Its columns, where each has a name; the last dimension.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
}

impl Port {
    /// A tensor without named columns.
    pub fn new(name: &str, kind: &'static str, shape: &'static str, about: &str) -> Self {
        Self { name: name.into(), kind, shape, about: about.into(), columns: vec![] }
    }

    /// The same with columns.
    #[must_use]
    pub fn with_columns(self, columns: Vec<Column>) -> Self {
        Self { columns, ..self }
    }
}

/// A column of a table.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    /// Its published name.
    pub name: String,
    /// Its unit, `1` where it has none.
    pub unit: String,
}

impl Column {
    /// A column.
    pub fn new(name: &str, unit: &str) -> Self {
        Self { name: name.into(), unit: unit.into() }
    }
}

/// All of it, as JSON with sorted keys where order says nothing.
pub fn description(module: &Module, differences: &Map<String, Value>) -> Value {
    let mut all = Map::new();
    all.insert("format".into(), json!("podium torchscript 1"));
    all.insert("network".into(), json!(module.name));
    all.extend(module.about.clone());
    all.insert("precision".into(), json!(module.precision));
    let methods: Map<String, Value> = module.methods.iter().map(|m| (m.name.to_string(), of_method(m))).collect();
    all.insert("methods".into(), Value::Object(methods));
    all.insert("difference_from_predict".into(), Value::Object(differences.clone()));
    all.insert("written_by".into(), json!({ "podium": common::VERSION, "libtorch": "2.11.0" }));
    Value::Object(all)
}

fn of_method(method: &Method) -> Value {
    let sizes: Vec<&str> = method.sizes.iter().map(|size| size.name).collect();
    json!({
        "inputs": method.inputs,
        "outputs": method.outputs,
        "free_sizes": sizes,
        "compared_by": method.closeness.to_string(),
    })
}
