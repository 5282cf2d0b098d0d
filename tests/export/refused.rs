//! What cannot be written.

use serde_json::json;
use tch::Device;

use crate::support::cmd;
use crate::{convert, save};

/// A narrow network of TrackNET, whose file says what `more` says.
fn weights(folder: &std::path::Path, name: &str, more: &serde_json::Value) -> std::path::PathBuf {
    let params = neural::Params::new(Device::Cpu, 3);
    let config = tracknet::models::ModelConfig { hidden_features: 4, ..Default::default() };
    tracknet::models::StepAhead::new(&params, &config).unwrap();
    let path = folder.join(name);
    save(&path, &params, more);
    path
}

#[test]
fn unfinished_runs_other_files_and_unknown_networks_are_refused_and_nothing_appears() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    std::fs::create_dir(f.join("unfinished")).unwrap();
    convert(f, &f.join("unfinished"), "m.pt").fails(3).says("is not the folder of a stage");
    common::durable::write(f.join("unfinished/.lock"), b"").unwrap();
    convert(f, &f.join("unfinished"), "m.pt").fails(3).says("did not finish");
    convert(f, &f.join("nowhere"), "m.pt").fails(3).says("no such file or folder");
    let good = weights(f, "good.safetensors", &json!({ "system": "tracknet" }));
    convert(f, &weights(f, "silent.safetensors", &json!({})), "m.pt").fails(3).says("does not say which network");
    let other = json!({ "system": "leap", "model": { "max022": { "hidden_state": 3 } }, "chain": "b" });
    convert(f, &weights(f, "other.safetensors", &other), "m.pt").fails(3).says("the weights do not fit the model");
    let unknown = json!({ "system": "leap", "model": { "max099": {} }, "chain": "b" });
    convert(f, &weights(f, "unknown.safetensors", &unknown), "m.pt").fails(3).says("unknown variant `max099`");
    common::durable::write(f.join("bare.pt"), b"none").unwrap();
    convert(f, &f.join("bare.pt"), "m.pt").fails(2).says("is no weights file of Podium");
    convert(f, &good, "m.safetensors").fails(2).says("ends with `.pt`");
    convert(f, &good, "m.pt").args(["--prefix", "net."]).fails(2).says("does not go with `--to torchscript`");
    cmd("convert-weights").arg(&good).args(["m.pt", "--precision", "bf16"]).within(f).fails(2);
    assert!(!f.join("m.pt").exists() && !f.join("m.safetensors").exists());
    convert(f, &good, "m.pt").arg("--dry-run").succeeds();
    assert!(!f.join("m.pt").exists());
    convert(f, &good, "m.pt").succeeds();
    convert(f, &good, "m.pt").fails(2).says("`m.pt` exists");
    convert(f, &good, "m.pt").arg("--force").succeeds();
    let left = std::fs::read_dir(f).unwrap().flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().contains(".podium-tmp-")));
}
