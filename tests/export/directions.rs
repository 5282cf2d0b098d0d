//! IceCube's networks: the published kinds as an ensemble, and the choices of the experiment log.

use std::path::Path;

use neural::export::Module;
use serde_json::{Value, json};
use tch::Device;

use crate::support::{cmd, root};
use crate::{convert, description, save, source, written};

#[test]
fn the_five_published_members_are_one_module() {
    let case = root().join("tests/golden/icecube/e2e");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let prepare = cmd("prepare-data").arg("icecube").arg(root().join("configs/icecube/prepare.yaml"));
    prepare.arg("--raw").arg(case.join("data")).arg("--out").arg(at("data")).arg("-q").succeeds();
    let sizes = |dim: u32, depth: u32, head: u32| format!("dim: {dim}, dim_base: 8, depth: {depth}, head_size: {head}");
    let graph = "dynedge: {layers: [[24, 32], [28, 32], [28, 32], [28, 32]], post: 40, readout: 8}";
    let members = [
        ("b32", "baselineV3_BE_globalrel_d32_0_6ema", 0.08, format!("deep_ice: {{{}}}", sizes(16, 2, 4))),
        ("b64", "baselineV3_BE_globalrel_d64_0_3emaFT_2", 0.16, format!("deep_ice: {{{}}}", sizes(16, 2, 8))),
        ("b_4rel", "VFTV3_4RELFT_7", 0.2, format!("deep_ice: {{{}, n_rel: 4}}", sizes(16, 3, 4))),
        ("s_gnn", "V22FT6_1", 0.23, format!("v22: {{{}, {graph}}}", sizes(16, 2, 4))),
        ("b_gnn", "V23FT5_6", 0.33, format!("v23: {{{}, {graph}}}", sizes(16, 2, 8))),
    ];
    let mut config = String::from("system: icecube\nmember: ensemble\ninput: {length: 96}\nbatch_size: 8\nmembers:\n");
    for (name, file, weight, model) in &members {
        config += &format!("- {{name: {name}, weights: {file}.pth, weight: {weight}, model: {{{model}}}}}\n");
    }
    common::durable::write(at("ensemble.yaml"), config.as_bytes()).unwrap();
    let run = cmd("predict").arg(at("ensemble.yaml")).args(["--threads=1", "--device=cpu", "-q", "--weights"]);
    let run = run.arg(case.join("ice-cube-final-models")).arg("--data").arg(at("data")).arg("--out").arg(at("out"));
    run.succeeds();
    let outcome = convert(folder.path(), &at("out"), "ensemble.pt").succeeds();
    let line: Value = serde_json::from_str(outcome.stdout.trim()).unwrap();
    assert!(line["difference"]["forward"].as_f64().unwrap() < 1e-4, "{line}");
    let about = description(&at("ensemble.pt"));
    assert_eq!(about["members"].as_array().unwrap().len(), 5);
    assert_eq!(about["methods"]["forward"]["inputs"][6]["name"], "sensor");
    convert(folder.path(), &at("out"), "again.pt").succeeds();
    assert!(std::fs::read(at("ensemble.pt")).unwrap() == std::fs::read(at("again.pt")).unwrap());
}

/// A published network and choices of the experiment log.
pub fn of_icecube(folder: &Path) -> Vec<(String, Module<'static>)> {
    let small = |more: Value| {
        let mut all =
            json!({ "dim": 12, "depth": 2, "heads": 2, "head_size": 6, "features": ["position", "time", "charge"] });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "encoder": all })
    };
    let models = [
        json!({ "deep_ice": { "dim": 16, "dim_base": 8, "depth": 2, "head_size": 8, "depth_rel": 2, "n_rel": 1 } }),
        small(json!({ "positions": "rotary", "pooling": { "kinds": ["class", "mean", "max"] }, "gated": true })),
        small(json!({
            "positions": "none", "scaling": "unit", "norm": "rms", "head": "bounded_angles", "sinusoids": 8,
            "features": ["position", "time", "raw_charge", "rank", "weighted", "centre_of_gravity", "auxiliary"],
        })),
        small(json!({
            "local": { "layers": 1, "neighbours": 3, "space": "xyzt" }, "equivariant": { "layers": 2, "rebuild": true },
            "max_length": 64, "matrices": {}, "embed_norm": true,
        })),
        small(
            json!({ "depth": 0, "positions": "none", "pooling": { "kinds": ["sum", "min"], "inputs": true, "bottleneck": 3 } }),
        ),
        small(json!({ "max_length": 64, "pooling": { "kinds": ["mean", "max"], "masked": false } })),
    ];
    let module = |(seed, model): (u64, Value)| {
        let path = folder.join(format!("icecube-{seed}.safetensors"));
        let config = serde_json::from_value(model.clone()).unwrap();
        let built = icecube::models::build(&config, Device::Cpu, seed).unwrap();
        let about = json!({ "system": "icecube", "member": "small", "model": model, "input": { "length": 64 } });
        save(&path, &built.params, &about);
        (format!("icecube-{seed}"), icecube::export::module(&source(vec![path])).unwrap())
    };
    (1..).zip(models).map(module).collect()
}

#[test]
fn choices_of_the_experiment_log_are_written() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(written(&of_icecube(folder.path()), folder.path(), 1e-4).len(), 6);
}

#[test]
fn a_network_that_reads_sensors_asks_for_the_data_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let model = json!({ "encoder": { "dim": 12, "depth": 1, "heads": 2, "head_size": 6, "sensor_embedding": 4 } });
    let config = serde_json::from_value(model.clone()).unwrap();
    let built = icecube::models::build(&config, Device::Cpu, 1).unwrap();
    save(&path, &built.params, &json!({ "system": "icecube", "member": "s", "model": model, "input": {} }));
    convert(folder.path(), &path, "m.pt").fails(2).says("give the folder of its training");
    assert!(!folder.path().join("m.pt").exists());
}
