//! Networks as files for other programs: every kind of every system is written and gives `predict`'s numbers, in C++ and Python
//! too, and what cannot be written is refused.

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/training.rs"]
mod training;

mod directions;
mod networks;
mod programs;
mod refused;

use std::path::{Path, PathBuf};

use neural::Params;
use neural::export::{Exported, Module, Source};
use neural::precision::Precision;
use serde_json::Value;

use support::{Cmd, cmd};

/// `convert-weights IN model.pt --to torchscript` in a folder.
fn convert(folder: &Path, from: &Path, to: &str) -> Cmd {
    cmd("convert-weights").arg(from).args([to, "--to", "torchscript", "-q"]).within(folder)
}

/// What to write of weights files. On one thread: networks are small here, and several would wait for one another.
fn source(files: Vec<PathBuf>) -> Source {
    tch::set_num_threads(1);
    Source { files, stage: None, members: vec![], precision: Precision::F32 }
}

/// Writes weights that say which network they are.
fn save(path: &Path, params: &Params, about: &Value) {
    neural::weights::save(path, &params.state(), Some(about)).unwrap();
}

/// Writes a module; its bytes and its description.
fn write(module: &Module, path: &Path) -> (Vec<u8>, Value, Exported) {
    let exported = module.write(path, false).unwrap().unwrap();
    let bytes = std::fs::read(path).unwrap();
    let about = description(path);
    (bytes, about, exported)
}

/// Writes modules twice: the same bytes, and differences from `predict` below a limit. Gives their descriptions.
fn written(modules: &[(String, Module)], folder: &Path, limit: f64) -> Vec<Value> {
    let one = |(name, module): &(String, Module)| {
        let (bytes, about, exported) = write(module, &folder.join("m.pt"));
        for (method, off) in &exported.differences {
            assert!(off.as_f64().unwrap() < limit, "{name}: `{method}` is off by {off}");
        }
        assert!(bytes == write(module, &folder.join("again.pt")).0, "{name}: other bytes");
        about
    };
    modules.iter().map(one).collect()
}

/// `podium.json` of a file, which archives of modules hold without compression.
fn description(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap();
    let start = bytes.windows(9).position(|part| part == b"{\"format\"").expect("no description");
    let mut values = serde_json::Deserializer::from_slice(&bytes[start..]).into_iter::<Value>();
    values.next().unwrap().unwrap()
}
