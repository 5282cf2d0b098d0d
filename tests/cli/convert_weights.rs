//! `convert-weights`: published checkpoints in, safetensors out, and back.

#![allow(clippy::print_stderr)] // a skipped test says why

use std::path::Path;

use crate::support::{Cmd, cmd, root};
use common::store::tensors::TensorFile;

const NARROW: &str = "\
system: leap
member: narrow
seed: 1
model: {max022: {hidden_state: 4, num_lstm: 3}}
loss: {}
training: {epochs: 1, batch_size: 1, learning_rate: 1.0e-3, optimizer: {adam: {}}}
";

/// A folder with the config of a narrow network and its weights, without a word about what they are.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    common::durable::write(folder.path().join("narrow.yaml"), NARROW.as_bytes()).unwrap();
    let built = leap::train::build(
        &serde_json::from_str(r#"{"max022": {"hidden_state": 4, "num_lstm": 3}}"#).unwrap(),
        tch::Device::Cpu,
        5,
    );
    let state = built.unwrap().params.state();
    neural::weights::save(folder.path().join("bare.safetensors"), &state, None).unwrap();
    folder
}

fn convert(folder: &Path, args: &[&str]) -> Cmd {
    cmd("convert-weights").args(args).arg("-q").within(folder)
}

fn same_tensors(a: &Path, b: &Path) {
    let (a, b) = (TensorFile::open(a).unwrap(), TensorFile::open(b).unwrap());
    assert_eq!(a.names().collect::<Vec<_>>(), b.names().collect::<Vec<_>>());
    for name in a.names() {
        assert_eq!((a.shape(name).unwrap(), a.bytes(name).unwrap()), (b.shape(name).unwrap(), b.bytes(name).unwrap()));
    }
}

#[test]
fn r14_to_a_state_dict_and_back_keeps_every_bit_and_the_second_trip_gives_the_same_files() {
    let folder = folder();
    let f = folder.path();
    let config = ["--config", "narrow.yaml"];
    let go = |from: &str, to: &str, more: &[&str]| {
        let outcome = convert(f, &[&[from, to], more].concat()).succeeds();
        let line: serde_json::Value = serde_json::from_str(outcome.stdout.trim()).unwrap();
        assert_eq!(line["tensors"], 32);
    };
    go("bare.safetensors", "a.pt", &config);
    go("a.pt", "a.safetensors", &config);
    same_tensors(&f.join("bare.safetensors"), &f.join("a.safetensors"));
    // The new file says which network it is.
    go("a.safetensors", "b.pt", &[]);
    go("b.pt", "b.safetensors", &config);
    let bytes = |name: &str| std::fs::read(f.join(name)).unwrap();
    assert!(bytes("a.pt") == bytes("b.pt") && bytes("a.safetensors") == bytes("b.safetensors"));
}

#[test]
fn weights_of_another_network_are_refused_with_all_differences() {
    let folder = folder();
    let args = ["bare.safetensors", "x.pt", "model.max022.num_lstm=2", "--config", "narrow.yaml"];
    let outcome = convert(folder.path(), &args).fails(3);
    assert!(
        outcome.stderr.contains("lstm_stack.lstm3") && outcome.stderr.contains("bare.safetensors"),
        "{}",
        outcome.stderr
    );
    let args = ["bare.safetensors", "x.pt", "model.max022.hidden_state=5", "--config", "narrow.yaml"];
    convert(folder.path(), &args).fails(3).says("[14, 8]").says("[14, 10]");
    assert!(!folder.path().join("x.pt").exists());
}

#[test]
fn a_checkpoint_saved_by_data_parallel_training_imports_without_its_prefix() {
    let Some(golden) = crate::support::golden() else {
        eprintln!("skipped: no golden folder");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = golden.join("leap/infer_end_to_end/checkpoints");
    let sizes = ["lstm_hidden=12", "lstm_layers=2", "heads=4", "feed_forward=32", "head_hidden=[16]"];
    let import = || {
        let run = cmd("convert-weights").arg(checkpoints.join("195.pt")).arg("x.safetensors").arg("--config");
        run.arg(root().join("configs/leap/adam/exp195.yaml")).arg("-q").within(folder.path())
    };
    import().args(sizes.map(|size| format!("model.adam195.{size}"))).succeeds();
    same_tensors(&checkpoints.join("195.safetensors"), &folder.path().join("x.safetensors"));
    // The published sizes are others.
    import().arg("--force").fails(3).says("24 missing").says("`fc1.weight` [16, 248], expected [256, 1224]");
}

/// The tensors of the narrow network under other names, times a factor.
fn tensors(folder: &Path, prefix: &str, factor: f64) -> Vec<(String, tch::Tensor)> {
    let all = neural::weights::read(folder.join("bare.safetensors")).unwrap();
    all.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor * factor)).collect()
}

#[test]
fn what_training_scripts_leave_is_read_and_said() {
    let folder = folder();
    let f = folder.path();
    let go = |name: &str, more: &[&str]| {
        let to = format!("{name}.out.safetensors");
        cmd("convert-weights").args([name, &to, "--force", "--config", "narrow.yaml"]).args(more).within(f)
    };
    let same = |name: &str| same_tensors(&f.join("bare.out.safetensors"), &f.join(format!("{name}.out.safetensors")));
    cmd("convert-weights")
        .args(["bare.safetensors", "bare.out.safetensors", "-q", "--config", "narrow.yaml"])
        .within(f)
        .succeeds();
    for prefix in ["module.", "_orig_mod.", "module._orig_mod.", "model.", "net."] {
        neural::weights::export(f.join("w.pt"), &tensors(f, prefix, 1.0)).unwrap();
        let outcome = go("w.pt", &[]).succeeds();
        let said = if prefix.contains("_orig_mod") { "_orig_mod." } else { prefix };
        assert!(outcome.stderr.contains(said), "{prefix}: {}", outcome.stderr);
        same("w.pt");
    }
    // An average beside the network: not taken, said, and taken when asked.
    let mut both = tensors(f, "state_dict.", 1.0);
    both.extend(tensors(f, "state_dict_ema.", 2.0));
    neural::weights::export(f.join("w.pt"), &both).unwrap();
    go("w.pt", &[]).succeeds().says("warning").says("state_dict_ema.");
    same("w.pt");
    let outcome = go("w.pt", &["--prefix", "state_dict_ema."]).succeeds();
    assert!(!outcome.stderr.contains("warning:"), "{}", outcome.stderr);
    go("w.pt", &["--prefix", "state_dict_emma."]).fails(3).says("state_dict_emma.").says("`state_dict_ema.`");
    // Two that are alike: a question.
    let mut both = tensors(f, "a.", 1.0);
    both.extend(tensors(f, "b.", 2.0));
    neural::weights::export(f.join("w.pt"), &both).unwrap();
    go("w.pt", &[]).fails(3).says("--prefix 'a.'").says("--prefix 'b.'");
    // Something beside the network, which has to be named.
    let mut more = tensors(f, "", 1.0);
    more.push(("n_averaged".into(), tch::Tensor::from(3_i64)));
    neural::weights::export(f.join("w.pt"), &more).unwrap();
    go("w.pt", &[]).fails(3).says("n_averaged");
    go("w.pt", &["--drop", "n_averaged"]).succeeds();
    same("w.pt");
}

#[test]
fn weights_of_a_training_that_diverged_are_refused() {
    let folder = folder();
    let f = folder.path();
    let all = tensors(f, "", 1.0);
    let _ = all[3].1.shallow_clone().fill_(f64::NAN);
    neural::weights::export(f.join("nan.pt"), &all).unwrap();
    let outcome = convert(f, &["nan.pt", "nan.safetensors", "--config", "narrow.yaml"]).fails(3);
    assert!(outcome.stderr.contains(&all[3].0) && outcome.stderr.contains("nan.pt"), "{}", outcome.stderr);
    assert!(!f.join("nan.safetensors").exists());
}

#[test]
fn a_polarmae_network_is_exported_with_what_its_original_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let sizes = "encoder.transformer={arch: vit_tiny, embed_dim: 12, depth: 2, heads: 2}";
    for (config, kind, keys) in [
        ("pretrain/polarmae.yaml", "mae", ["encoder", "decoder", "loss_weights", "_instantiator"]),
        ("segment/polarmae_fft.yaml", "segmentation", ["encoder", "num_classes", "seg_head_dim", "_instantiator"]),
    ] {
        let path = root().join("configs/polarmae").join(config);
        let network = format!("model.{kind}.network");
        let mut overrides = vec![format!("{network}.{sizes}")];
        if kind == "mae" {
            overrides.push(format!(
                "{network}.decoder={{arch: vit_tiny, embed_dim: 12, depth: 1, heads: 2, postnorm: true}}"
            ));
        } else {
            overrides.push(format!("{network}.fetch_layers=[0, 1]"));
        }
        let resolved = common::config::load::<polarmae::train::TrainConfig>(Some(&path), &overrides).unwrap().value;
        let state = polarmae::train::build(&resolved.model, tch::Device::Cpu, 5).unwrap().params.state();
        neural::weights::save(f.join("bare.safetensors"), &state, None).unwrap();
        let command = convert(f, &["bare.safetensors", "there.ckpt", "--force"]).arg("--config").arg(&path);
        command.args(&overrides).succeeds();
        let checkpoint = common::store::pickle::Checkpoint::open(f.join("there.ckpt")).unwrap();
        let parameters = checkpoint.value().expect("hyper_parameters").unwrap();
        for key in keys {
            parameters.expect(key).unwrap();
        }
        let encoder = parameters.expect("encoder").unwrap().expect("init_args").unwrap();
        let width = encoder.expect("transformer_kwargs").unwrap().expect("embed_dim").unwrap();
        assert_eq!(width.int().unwrap(), 12);
        let data = checkpoint.value().expect("datamodule_hyper_parameters").unwrap();
        assert!(data.expect("_class_path").unwrap().text().unwrap().starts_with("polarmae.datasets."));
        assert_eq!(checkpoint.tensors().unwrap().len(), state.len());
    }
}

#[test]
fn an_unknown_ending_a_missing_config_and_an_existing_file_are_refused() {
    let folder = folder();
    let f = folder.path();
    convert(f, &["bare.safetensors", "x.bin"]).fails(2).says("`.safetensors`, `.pt` or `.ckpt`");
    convert(f, &["bare.safetensors", "x.pt"]).fails(3).says("does not say which network");
    common::durable::write(f.join("x.pt"), b"old").unwrap();
    let args = ["bare.safetensors", "x.pt", "--config", "narrow.yaml"];
    convert(f, &args).fails(2).says("exists").says("--force");
    convert(f, &args).args(["--dry-run", "--force"]).succeeds();
    assert_eq!(std::fs::read(f.join("x.pt")).unwrap(), b"old");
    convert(f, &args).arg("--force").succeeds();
    common::durable::write(f.join("y.pt"), b"PK\x03\x04 no archive").unwrap();
    convert(f, &["y.pt", "y.safetensors", "--config", "narrow.yaml"]).fails(3).says("y.pt");
}
