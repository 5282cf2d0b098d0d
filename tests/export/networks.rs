//! Every network of LEAP, PoLAr-MAE and TrackNET at small size.

#![allow(clippy::print_stderr)] // a skipped test says why

use std::path::Path;

use leap::models::ModelConfig;
use neural::export::Module;
use neural::precision::Precision;
use serde_json::{Value, json};
use tch::Device;

use crate::support::cmd;
use crate::training::{train, workshop};
use crate::{convert, description, save, source, write, written};

/// All networks of LEAP with small sizes.
fn models() -> Vec<ModelConfig> {
    let adam = json!({ "lstm_hidden": 4, "lstm_layers": 2, "heads": 2, "feed_forward": 8, "head_hidden": [6] });
    let stack = json!({ "hidden_state": 3, "num_lstm": 5 });
    let mamba = json!({ "hidden_state": 3, "num_lstm": 2, "d_state": 4 });
    let joseph = json!({ "hidden": 4, "blocks_after_first": 2, "heads": 2 });
    let attention = json!({ "h1": 3, "h2": 4, "heads": 2 });
    let all = [
        (adam, ["adam195", "adam197", "adam200"].as_slice()),
        (stack, ["reslstm", "max014", "max015", "max021", "max022", "1lstm1mamba"].as_slice()),
        (mamba, ["lstmmamba_stage1", "lstmmamba_stage2", "lstmmambamixed", "2lstm1mamba"].as_slice()),
        (joseph, ["jo907", "jo912"].as_slice()),
        (attention, ["max007", "zuiye_a", "zuiye_b"].as_slice()),
        (json!({ "hidden_state": 155, "enc": 5, "num_lstm": 1 }), ["cnnlstm"].as_slice()),
        (
            json!({ "dim": 8, "head_dim": 12, "heads": 2, "blocks": 2, "first": "batch_norm" }),
            ["squeezeformer"].as_slice(),
        ),
        (json!({ "hidden_profile": 4, "hidden_scalar": 4, "heads": 2 }), ["pao"].as_slice()),
        (json!({ "dims": [4, 6], "depths": [1, 2], "kernels": [4, 2] }), ["convnext"].as_slice()),
    ];
    let of = |(sizes, names): (Value, &[&str])| {
        names.iter().map(|name| serde_json::from_value(json!({ *name: sizes })).unwrap()).collect::<Vec<_>>()
    };
    let of_one = |(name, mut sizes): (&str, Value)| {
        sizes["confidence"] = json!(true);
        serde_json::from_value(json!({ name: sizes })).unwrap()
    };
    all.into_iter().flat_map(of).chain(confident().into_iter().map(of_one)).collect()
}

/// Networks that expect errors of themselves, some with further channels of the input.
fn confident() -> [(&'static str, Value); 6] {
    let features = json!({
        "column": true, "logarithm": true, "humidity": true, "cloud": true, "wind": true, "soft_clip": 5.0,
    });
    [
        ("squeezeformer", json!({ "dim": 8, "head_dim": 12, "heads": 2, "blocks": 1, "features": features })),
        ("unet", json!({ "channels": 4, "blocks": 1, "features": features })),
        ("pao", json!({ "hidden_profile": 4, "hidden_scalar": 4, "heads": 2 })),
        ("convnext", json!({ "dims": [4, 6], "depths": [1, 2], "kernels": [4, 2] })),
        ("encdec_lstm", json!({ "code": [1], "hidden": 4, "layers": 2, "gru": 2 })),
        (
            "pure_reslstm",
            json!({ "hidden_state": 3, "num_lstm": 5, "features": { "humidity": true, "representations": true } }),
        ),
    ]
}

fn leap_weights(path: &Path, model: &ModelConfig, seed: u64) {
    let built = leap::train::build(model, Device::Cpu, seed).unwrap();
    let constants =
        [("level_sub", 0.5), ("level_factor", 0.01), ("level_min", -1.0), ("column_sub", 0.4), ("column_factor", 0.02)];
    for (name, value) in constants {
        if let Some(mut buffer) = built.params.get(&format!("features.representations.{name}")) {
            let _ = buffer.fill_(value);
        }
    }
    let mut about = leap::train::about(model.name(), model, model.chain(), true).unwrap();
    about["zero_list"] = json!([5, 200]);
    save(path, &built.params, &about);
}

/// All of them as modules.
pub fn of_leap(folder: &Path) -> Vec<(String, Module<'static>)> {
    let module = |(seed, model): (u64, ModelConfig)| {
        let name = format!("{}{}", model.name(), if model.confidence() { "-confident" } else { "" });
        let path = folder.join(format!("{name}.safetensors"));
        leap_weights(&path, &model, seed);
        (name, leap::export::module(&source(vec![path])).unwrap())
    };
    (1..).zip(models()).map(module).collect()
}

#[test]
fn every_leap_network_goes_from_raw_inputs_to_physical_targets() {
    let folder = tempfile::tempdir().unwrap();
    let modules = of_leap(folder.path());
    assert_eq!(modules.len(), 28);
    for about in written(&modules, folder.path(), 1e-5) {
        let method = &about["methods"]["forward"];
        assert_eq!(method["inputs"][0]["columns"][360]["name"], leap::columns::csv_inputs()[360]);
        assert_eq!(method["outputs"][0]["columns"][367], json!({ "name": "cam_out_SOLLD", "unit": "W/m2" }));
        assert_eq!(about["members"][0]["zero_list"], json!([5, 200]));
    }
    let errors = |(_, module): &&(String, Module)| module.methods.iter().any(|method| method.name == "expected_errors");
    assert_eq!(modules.iter().filter(errors).count(), 6);
}

#[test]
fn seven_networks_of_the_groups_are_one_module() {
    let folder = tempfile::tempdir().unwrap();
    let model = &models()[7];
    let file = |g: u64| folder.path().join(format!("g{g}.safetensors"));
    (0..7).for_each(|g| leap_weights(&file(g), model, g));
    let module = leap::export::module(&source((0..7).map(file).collect())).unwrap();
    let (_, about, exported) = write(&module, &folder.path().join("m.pt"));
    assert!(exported.differences["forward"].as_f64().unwrap() < 1e-5);
    assert_eq!(about["members"][0]["networks"], 7);
    assert!(module.tensors.iter().any(|(name, ..)| name.starts_with("network.groups.6.fc.")));
}

#[test]
fn a_training_a_prediction_and_a_blend_are_written_from_their_folders() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let run = |name: &str, more: &[&str]| {
        train(&f.join(name)).args(more).args(["training.epochs=1"]).succeeds();
        let predict = cmd("predict").args(["-q", "--threads=1", "--device=cpu", "--from"]).arg(f.join(name));
        predict.arg("--out").arg(f.join(format!("{name}_out"))).within(workshop()).succeeds();
    };
    run("one", &["member=one"]);
    run("two", &["member=two", "seed=5"]);
    let corrected = cmd("predict").args(["-q", "--threads=1", "--device=cpu", "--from"]).arg(f.join("one"));
    let rules = ["constraints.non_negative=true", "constraints.microphysics=true", "zero_list=ignore"];
    corrected.arg("--out").arg(f.join("corrected")).args(rules).within(workshop()).succeeds();
    let weights = "model,weight\none,0.25\ntwo,0.75\n";
    common::durable::write(f.join("weights.csv"), weights.as_bytes()).unwrap();
    let blend = cmd("hill-climb").args(["blend", "one_out", "two_out", "--weights", "weights.csv", "--out", "blend"]);
    blend.args(["-q"]).within(f).succeeds();
    for (from, members) in [("one", 1), ("one_out", 1), ("corrected", 1), ("blend", 2)] {
        let outcome = convert(f, &f.join(from), &format!("{from}.pt")).succeeds();
        let line: Value = serde_json::from_str(outcome.stdout.trim()).unwrap();
        assert!(line["difference"]["forward"].as_f64().unwrap() < 1e-5, "{line}");
        let about = description(&f.join(format!("{from}.pt")));
        assert_eq!(about["members"].as_array().unwrap().len(), members);
        assert!(about["members"][0]["run"]["identity"].is_string(), "{about}");
    }
    let about = description(&f.join("corrected.pt"));
    assert_eq!(about["members"][0]["constraints"], json!({ "non_negative": true, "microphysics": true }));
    assert_eq!(about["members"][0]["zero_list"], json!([]));
    let bytes = |name: &str| std::fs::read(f.join(name)).unwrap();
    assert!(bytes("one.pt") == bytes("one_out.pt"));
    convert(f, &f.join("blend"), "again.pt").succeeds();
    assert!(bytes("blend.pt") == bytes("again.pt"));
}

/// A pretraining, and segmentations of all kinds.
pub fn of_polarmae(folder: &Path) -> Vec<(String, Module<'static>)> {
    let encoder = |norm: &str, width: bool| {
        json!({
            "tokenizer": {
                "seeds": { "farthest": 8 }, "suppression_neighbors": 8, "overlap": null, "radius": 0.3,
                "upscale_points": 16, "slots": 6, "reduction": "fps", "mean_centers": width,
            },
            "transformer": { "embed_dim": 12, "depth": 3, "heads": 2, "norm": norm, "postnorm": width },
        })
    };
    let segmentation = |norm: &str, more: Value| {
        let mut network = json!({ "encoder": encoder(norm, false), "fetch_layers": [0, 2], "head_dim": 10 });
        network.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "segmentation": { "network": network } })
    };
    let decoder = json!({ "embed_dim": 12, "depth": 1, "heads": 3, "postnorm": true });
    let models = [
        json!({ "mae": { "network": { "encoder": encoder("batch", true), "decoder": { "embed_dim": 12, "depth": 1, "heads": 2 } } } }),
        segmentation("batch", json!({})),
        segmentation("token", json!({ "condition_global_features": false, "ghost_neighbors": true })),
        segmentation("batch", json!({ "seg_decoder": decoder })),
    ];
    // Groups that can be searched inside.
    let mut raw = [models[0].clone(), models[3].clone()];
    for (model, kind) in raw.iter_mut().zip(["mae", "segmentation"]) {
        let tokenizer = &mut model[kind]["network"]["encoder"]["tokenizer"];
        tokenizer["seeds"] = json!("all_points");
        tokenizer["overlap"] = json!(0.72);
        tokenizer["max_groups"] = json!(20);
    }
    let module = |(seed, model): (u64, Value)| {
        let path = folder.join(format!("polarmae-{seed}.safetensors"));
        let transforms = if seed > 4 { json!([{ "center_and_scale": {} }]) } else { json!([]) };
        let about = json!({ "system": "polarmae", "member": "small", "model": model, "transforms": transforms });
        let config = serde_json::from_value(model).unwrap();
        save(&path, &polarmae::train::build(&config, Device::Cpu, seed).unwrap().params, &about);
        (format!("polarmae-{seed}"), polarmae::export::module(&source(vec![path])).unwrap())
    };
    (1..).zip(models.into_iter().chain(raw)).map(module).collect()
}

#[test]
fn tokens_and_classes_of_polarmae() {
    let folder = tempfile::tempdir().unwrap();
    let modules = of_polarmae(folder.path());
    let abouts = written(&modules, folder.path(), 1e-5);
    let with = |method: &str| abouts.iter().filter(|about| about["methods"].get(method).is_some()).count();
    assert_eq!((abouts.len(), with("tokens"), with("from_points")), (6, 4, 2));
    let why = abouts[0]["no_from_points"].as_str().unwrap();
    assert!(why.contains("farthest points"), "{why}");
}

/// The published network and the tracker's.
pub fn of_tracknet(folder: &Path) -> Vec<(String, Module<'static>)> {
    let path = folder.join("step_ahead.safetensors");
    let params = neural::Params::new(Device::Cpu, 3);
    let config = tracknet::models::ModelConfig { hidden_features: 8, ..Default::default() };
    tracknet::models::StepAhead::new(&params, &config).unwrap();
    let normalizer = tracknet::normalizer::Normalizer { min_xyz: [-900.0, -1100.0, -2500.0], ..Default::default() };
    save(&path, &params, &json!({ "system": "tracknet", "normalizer": normalizer }));
    let published = tracknet::export::module(&source(vec![path])).unwrap();

    let path = folder.join("tracker.safetensors");
    let params = neural::Params::new(Device::Cpu, 4);
    tracknet::tracker::network::TrackerNet::new(&params, 8).unwrap();
    // The head begins with zeros, which would agree with anything.
    params.reinitialise(|name, _| name.starts_with("head").then_some(neural::init::Init::Normal(0.3))).unwrap();
    let about =
        json!({ "system": "tracknet", "network": "tracker", "hidden_features": 8, "transitions": { "shares": [] } });
    save(&path, &params, &about);
    let tracker = tracknet::export::module(&source(vec![path])).unwrap();
    vec![("step_ahead".into(), published), ("tracker".into(), tracker)]
}

#[test]
fn both_networks_of_tracknet_whole_and_step_by_step() {
    let folder = tempfile::tempdir().unwrap();
    let abouts = written(&of_tracknet(folder.path()), folder.path(), 1e-5);
    for about in &abouts {
        let methods: Vec<&String> = about["difference_from_predict"].as_object().unwrap().keys().collect();
        assert_eq!(methods, ["forward", "step"]);
    }
    assert_eq!(abouts[0]["state"]["shape"], json!([2, "tracks", 8]));
    assert_eq!(abouts[1]["network"], "TrackerNet");
}

/// One network of each kind. Not the Squeezeformer: on a processor the library makes a kernel of its convolutions for every
/// size, for minutes.
const IN_BF16: [&str; 10] = [
    "adam195",
    "max022",
    "2lstm1mamba",
    "pao",
    "encdec_lstm-confident",
    "polarmae-1",
    "polarmae-2",
    "step_ahead",
    "tracker",
    "icecube-1",
];

/// Those among them that have an LSTM.
const OF_LSTMS: [&str; 5] = ["adam195", "max022", "2lstm1mamba", "pao", "encdec_lstm-confident"];

#[test]
fn products_in_bf16_are_those_of_predict() {
    let has_lstm = std::is_x86_feature_detected!("avx512bw");
    if !has_lstm {
        eprintln!("skipped: networks of LSTMs, which oneDNN has not in bf16 for a processor without AVX-512");
    }
    let folder = tempfile::tempdir().unwrap();
    let makers = [of_leap, of_polarmae, of_tracknet, crate::directions::of_icecube];
    let mut refused = vec![];
    let all: Vec<_> = makers.iter().flat_map(|make| make(folder.path())).collect();
    let is_chosen = |name: &str| IN_BF16.contains(&name) && (has_lstm || !OF_LSTMS.contains(&name));
    let chosen: Vec<_> = all.into_iter().filter(|(name, _)| is_chosen(name)).collect();
    assert_eq!(chosen.len(), IN_BF16.len() - if has_lstm { 0 } else { OF_LSTMS.len() });
    for (name, mut module) in chosen {
        module.precision = Precision::Bf16;
        match module.write(&folder.path().join("m.pt"), false) {
            Ok(written) => assert!(written.is_some()),
            Err(error) => refused.push(format!("{name}: {error}")),
        }
    }
    assert_eq!(description(&folder.path().join("m.pt"))["precision"], "bf16");
    assert_eq!(refused, Vec::<String>::new());
}
