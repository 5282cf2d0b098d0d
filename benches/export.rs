//! Modules for other programs beside `predict` and eager PyTorch: sizes, and rows a second of a forward pass on a CPU.
//!
//! ```text
//! PODIUM_BENCH_PYTHON=python cargo bench --bench export -- --repeat 5 --threads 1 [NETWORK..]
//! ```
//!
//! Networks of the published sizes with initial weights. `predict` and the module in libtorch take turns here on the same inputs;
//! `benches/python/export.py` then runs the same file in Python, in turns with the same network in eager PyTorch where
//! `benches/python` has one. Without `PODIUM_BENCH_PYTHON` only the first two run.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use common::store::npy::{write_npy, write_npy_bools};
use neural::export::{Method, Module, Source};
use neural::precision::Precision;
use serde_json::{Value, json};
use tch::{CModule, Device, IValue, Kind, Tensor};

mod support;
use support::{median, number, only_listed};

/// Name, sizes of the batch, and how weights of it are written.
const ALL: [(&str, &[i64]); 7] = [
    ("leap-022", &[64]),
    ("leap-195", &[64]),
    ("leap-squeezeformer", &[16]),
    ("leap-2lstm1mamba", &[16]),
    ("icecube-b32", &[16, 96]),
    ("polarmae-vit-small", &[4, 128]),
    ("tracknet", &[1024, 12]),
];

fn main() -> anyhow::Result<()> {
    if only_listed() {
        return Ok(());
    }
    let (repeat, threads) = (number("--repeat", 5)?, number("--threads", 1)?);
    tch::set_num_threads(i32::try_from(threads)?);
    neural::memory::for_long_runs();
    let folder = tempfile::tempdir()?;
    // Names of some networks: only those.
    let named = |name: &str| std::env::args().any(|argument| argument == name);
    let some = ALL.iter().any(|(name, _)| named(name));
    for (name, sizes) in ALL.into_iter().filter(|(name, _)| !some || named(name)) {
        let path = folder.path().join(format!("{name}.pt"));
        let module = module(name, folder.path())?;
        let written = module.write(&path, false)?.map_or(0, |exported| exported.written.bytes);
        // PoLAr-MAE's tokens stand behind the method of classes.
        let method = &module.methods[0];
        let inputs = (method.example)(sizes, 7)?;
        let loaded = CModule::load(&path)?;
        let (mut ours, mut theirs) = (vec![], vec![]);
        for round in 0..=repeat {
            let predicted = seconds(|| (method.predicted)(&inputs).map(drop).map_err(anyhow::Error::from))?;
            let moduled = seconds(|| run(&loaded, method, &inputs))?;
            // The first rounds prepare; the module is compiled in them.
            if round > 0 {
                ours.push(predicted);
                theirs.push(moduled);
            }
        }
        let rows = sizes[0] as f64;
        let mut line = json!({
            "network": name, "mb": (written as f64 / 1e5).round() / 10.0, "rows": sizes,
            "predict_rows_per_s": (rows / median(ours)).round(), "module_rows_per_s": (rows / median(theirs)).round(),
        });
        if let Some(python) = std::env::var_os("PODIUM_BENCH_PYTHON") {
            let arrays = folder.path().join(name);
            std::fs::create_dir(&arrays)?;
            save(&arrays, "in", &inputs)?;
            save(&arrays, "out", &tch::no_grad(|| (method.predicted)(&inputs))?)?;
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python/export.py");
            let output = Command::new(python)
                .arg(script)
                .arg(name)
                .arg(&path)
                .arg(&arrays)
                .args([repeat.to_string(), threads.to_string(), method.name.to_string()])
                .output()?;
            anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let told: Value = serde_json::from_slice(&output.stdout)?;
            line.as_object_mut()
                .into_iter()
                .for_each(|line| line.extend(told.as_object().cloned().unwrap_or_default()));
        }
        println!("{line}");
    }
    Ok(())
}

fn seconds(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let start = Instant::now();
    tch::no_grad(work)?;
    Ok(start.elapsed().as_secs_f64())
}

fn run(module: &CModule, method: &Method, inputs: &[Tensor]) -> anyhow::Result<()> {
    let given: Vec<IValue> = inputs.iter().map(|t| IValue::Tensor(t.shallow_clone())).collect();
    module.method_is(method.name, &given)?;
    Ok(())
}

/// Weights of a network of published size, and the module of it.
fn module(name: &str, folder: &Path) -> anyhow::Result<Module<'static>> {
    let path = folder.join("weights.safetensors");
    let source = Source { files: vec![path.clone()], stage: None, members: vec![], precision: Precision::F32 };
    let save = |params: &neural::Params, about: &Value| neural::weights::save(&path, &params.state(), Some(about));
    Ok(match name {
        "icecube-b32" => {
            let model = json!({ "deep_ice": { "dim": 384, "dim_base": 128, "depth": 12, "head_size": 32 } });
            let built = icecube::models::build(&serde_json::from_value(model.clone())?, Device::Cpu, 1)?;
            save(
                &built.params,
                &json!({ "system": "icecube", "member": name, "model": model, "input": { "length": 192 } }),
            )?;
            icecube::export::module(&source)?
        }
        "polarmae-vit-small" => {
            let tokenizer = serde_json::to_value(polarmae::grouping::GroupingConfig::voxels_5(1.0 / 384.0))?;
            let model = json!({ "mae": { "network": { "encoder": { "tokenizer": tokenizer } } } });
            let built = polarmae::train::build(&serde_json::from_value(model.clone())?, Device::Cpu, 1)?;
            save(&built.params, &json!({ "system": "polarmae", "member": name, "model": model, "transforms": [] }))?;
            polarmae::export::module(&source)?
        }
        "tracknet" => {
            let params = neural::Params::new(Device::Cpu, 1);
            tracknet::models::StepAhead::new(&params, &tracknet::models::ModelConfig::default())?;
            save(&params, &json!({ "system": "tracknet" }))?;
            tracknet::export::module(&source)?
        }
        _ => {
            let model = match name {
                "leap-022" => json!({ "max022": {} }),
                "leap-195" => json!({ "adam195": {} }),
                "leap-squeezeformer" => json!({ "squeezeformer": {} }),
                _ => json!({ "2lstm1mamba": {} }),
            };
            let model: leap::models::ModelConfig = serde_json::from_value(model)?;
            let built = leap::train::build(&model, Device::Cpu, 1)?;
            save(&built.params, &leap::train::about(name, &model, model.chain(), true)?)?;
            leap::export::module(&source)?
        }
    })
}

/// Tensors as `in0.npy`, `in1.npy`, ..
fn save(folder: &Path, name: &str, tensors: &[Tensor]) -> anyhow::Result<()> {
    for (i, tensor) in tensors.iter().enumerate() {
        let path = folder.join(format!("{name}{i}.npy"));
        let shape: Vec<usize> = tensor.size().iter().map(|&n| n as usize).collect();
        let flat = tensor.contiguous().flatten(0, -1);
        match tensor.kind() {
            Kind::Bool => write_npy_bools(path, &shape, &Vec::<bool>::try_from(flat)?)?,
            Kind::Int64 => write_npy(path, &shape, &Vec::<i64>::try_from(flat)?)?,
            Kind::Double => write_npy(path, &shape, &Vec::<f64>::try_from(flat)?)?,
            _ => write_npy(path, &shape, &Vec::<f32>::try_from(flat)?)?,
        };
    }
    Ok(())
}
