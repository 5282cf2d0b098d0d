//! Second stages, killed runs, imported checkpoints.

use std::path::Path;

use neural::weights;

use crate::support::{cmd, root};
use crate::training::{results, workshop};
use crate::{hash, train, tune};

const MAMBA: [&str; 4] = ["hidden_state=4", "num_lstm=1", "num_mamba=1", "d_state=4"];

fn sizes(model: &str) -> Vec<String> {
    MAMBA.iter().map(|size| format!("model.{model}.{size}")).collect()
}

#[test]
fn a_second_stage_takes_all_weights_but_the_dropped_one() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    train("forcewithme/lstmmamba_stage1.yaml", &[], &first).args(sizes("lstmmamba_stage1")).succeeds();

    let run = || train("forcewithme/lstmmamba_stage2.yaml", &[], &second).args(sizes("lstmmamba_stage2"));
    run().fails(2).says("`--init` is missing").says("--init runs/lstmmamba_stage1");
    run().arg("--init").arg(workshop().join("data")).fails(3);
    // A rate of almost nothing leaves the weights where they began.
    run().arg("--init").arg(&first).args(["training.learning_rate=1e-30", "training.schedule=constant"]).succeeds();
    let model = |of: &Path| weights::read(of.join("checkpoints/best/model.safetensors")).unwrap();
    let (before, after) = (model(&first), model(&second));
    let mut same = 0;
    for (name, tensor) in &after {
        let old = &before.iter().find(|(other, _)| other == name).unwrap().1;
        if name == "fc.0.weight" {
            assert_ne!(old.size(), tensor.size());
        } else {
            assert!((old - tensor).abs().max().double_value(&[]) < 1e-6, "`{name}` was not taken over");
            same += 1;
        }
    }
    assert_eq!((same, before.len()), (after.len() - 1, after.len()));

    // A file with two such networks: one is chosen, and what else is dropped is said on the command line.
    let both = folder.path().join("both.pt");
    let mut two: Vec<_> = before.iter().map(|(name, t)| (format!("a.{name}"), t.shallow_clone())).collect();
    two.extend(before.iter().map(|(name, t)| (format!("b.{name}"), t.zeros_like())));
    weights::export(&both, &two).unwrap();
    let third = folder.path().join("third");
    let run = || {
        let run = train("forcewithme/lstmmamba_stage2.yaml", &[], &third).args(sizes("lstmmamba_stage2"));
        run.arg("--init").arg(&both).args(["training.learning_rate=1e-30", "training.schedule=constant"])
    };
    run().fails(3).says("--prefix 'a.'").says("--prefix 'b.'");
    run().args(["--prefix", "b.", "--drop", "fc.0.*"]).succeeds();
    for (name, tensor) in model(&third) {
        let zero = tensor.abs().max().double_value(&[]) < 1e-6;
        assert_eq!(zero, !name.starts_with("fc.0."), "{name}");
    }

    let wrong = train("forcewithme/reslstm.yaml", &["model.reslstm.hidden_state=4"], &folder.path().join("other"));
    wrong.arg("--init").arg(&first).fails(3).says("lstm_stack.lstm1.weight_hh_l0");
}

#[test]
fn a_run_with_augmentation_and_dropout_that_was_killed_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let jo907: &[&str] = &["model.jo907.hidden=4", "model.jo907.blocks_after_first=1", "augmentation.flip=0.4"];
    let jo912: &[&str] = &["model.jo912.hidden=4", "model.jo912.blocks_after_first=1"];
    // Running statistics and expected errors; dropout inside an LSTM.
    let first: &[&str] =
        &["model.squeezeformer.dim=8", "model.squeezeformer.head_dim=8", "model.squeezeformer.blocks=1"];
    let code: &[&str] = &["model.encdec_lstm.code=[1]", "model.encdec_lstm.hidden=4", "model.encdec_lstm.layers=2"];
    let runs = [
        ("joseph/907.yaml", jo907),
        ("joseph/912.yaml", jo912),
        ("first/squeezeformer.yaml", first),
        ("benchmark/encdec_lstm.yaml", code),
    ];
    for (config, sizes) in runs {
        let name = config.replace('/', "-");
        let (whole, cut) = (folder.path().join(format!("{name}-whole")), folder.path().join(format!("{name}-cut")));
        let often = ["training.checkpoint.every_steps=3"];
        train(config, sizes, &whole).args(often).succeeds();
        let mut child = std::process::Command::new(crate::support::binary("train-model"));
        child.arg(root().join("configs/leap").join(config)).args(crate::SMALL).args(sizes).args(often);
        child.args(["--from", "data", "-q", "--out"]).arg(&cut).current_dir(workshop());
        let mut child = child.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).spawn().unwrap();
        let waited = std::time::Instant::now();
        while !cut.join("checkpoints/last").exists() && waited.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let outcome = train(config, sizes, &cut).args(often).run();
        assert!(outcome.code == Some(0) || outcome.stderr.contains("finished stage"), "{}", outcome.stderr);
        assert_eq!(results(&cut), results(&whole), "{config}");
    }
}

#[test]
fn augmentation_changes_a_run_and_its_mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = ["model.jo907.hidden=4", "model.jo907.blocks_after_first=1", "training.epochs=1"];
    let run = |name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        train("joseph/907.yaml", &sizes, &out).args(more).succeeds();
        hash(&out.join("oof.safetensors"))
    };
    let augmented = run("a", &["augmentation.flip=0.5"]);
    assert_eq!(augmented, run("b", &["augmentation.flip=0.5"]));
    assert_ne!(augmented, run("c", &["augmentation=null"]));
    let bad = train("joseph/907.yaml", &sizes, &folder.path().join("d"));
    bad.args(["augmentation.roll=0.95", "augmentation.max_shift=60"])
        .fails(2)
        .says("augmentation.roll")
        .says("max_shift");
}

#[test]
fn a_published_checkpoint_of_every_kind_imports_and_exports_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let kinds: [(&str, &[&str]); 6] = [
        ("forcewithme/1lstm1mamba.yaml", &["model.1lstm1mamba.hidden_state=4", "model.1lstm1mamba.num_lstm=2"]),
        ("forcewithme/2lstm1mamba.yaml", &["model.2lstm1mamba.hidden_state=4", "model.2lstm1mamba.d_state=4"]),
        ("max2020/007.yaml", &["model.max007.h1=3", "model.max007.h2=4"]),
        ("joseph/907.yaml", &["model.jo907.hidden=4", "model.jo907.blocks_after_first=1"]),
        ("joseph/912.yaml", &["model.jo912.hidden=4", "model.jo912.blocks_after_first=1"]),
        ("zuiye/b.yaml", &["model.zuiye_b.h1=3", "model.zuiye_b.h2=4", "model.zuiye_b.conv_channels=2"]),
    ];
    for (config, sizes) in kinds {
        let config = root().join("configs/leap").join(config);
        let overrides: Vec<String> = sizes.iter().map(ToString::to_string).collect();
        let resolved = common::config::load::<leap::train::TrainConfig>(Some(&config), &overrides).unwrap().value;
        let state = leap::train::build(&resolved.model, tch::Device::Cpu, 5).unwrap().params.state();
        // As a data-parallel run saves it.
        let prefixed: Vec<_> = state.iter().map(|(n, t)| (format!("module.{n}"), t.shallow_clone())).collect();
        let path = |name: &str| folder.path().join(name);
        weights::save(path("bare.safetensors"), &prefixed, None).unwrap();
        let convert = |from: &str, to: &str| {
            cmd("convert-weights")
                .arg(path(from))
                .arg(path(to))
                .args(["-q", "--force", "--config"])
                .arg(&config)
                .args(sizes)
        };
        convert("bare.safetensors", "named.safetensors").succeeds();
        convert("named.safetensors", "there.pt").succeeds();
        convert("there.pt", "back.safetensors").succeeds();
        let sorted = |name: &str| {
            let mut all = weights::read(path(name)).unwrap();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        };
        let back = sorted("back.safetensors");
        assert_eq!(back.len(), state.len());
        for (name, tensor) in &state {
            assert!(back.iter().any(|(other, t)| other == name && t.equal(tensor)), "{}: `{name}`", config.display());
        }
        assert_eq!(hash(&path("named.safetensors")), hash(&path("back.safetensors")));
    }
}

#[test]
fn a_skipped_group_and_a_group_without_gain_fall_back_to_the_base() {
    let folder = tempfile::tempdir().unwrap();
    let (base, out) = (folder.path().join("base"), folder.path().join("tuned"));
    let narrow = ["model.2lstm1mamba.hidden_state=4", "model.2lstm1mamba.num_lstm=1", "model.2lstm1mamba.d_state=4"];
    train("forcewithme/2lstm1mamba.yaml", &narrow, &base).succeeds();
    let manifest = tune("forcewithme/2lstm1mamba_gf.yaml", &base, &out)
        .args(["bad_groups=base", "training.learning_rate=1e-30", "training.schedule=constant"])
        .succeeds()
        .manifest();
    for name in leap::columns::GROUP_NAMES {
        assert_eq!(manifest["metrics"][format!("from_base/{name}")], true, "{name}: {manifest}");
    }
    assert_eq!(manifest["metrics"]["r2"], manifest["metrics"]["base_r2"], "{manifest}");
    let sample = workshop().join("raw/raw/kaggle-data/sample_submission.csv");
    let predict = |from: &Path, to: &str| {
        let out = folder.path().join(to);
        let args = ["-q", "--threads=1", "--device=cpu", "--zero-list=ignore", "--sample"];
        let done = cmd("predict").args(args).arg(&sample).arg("--from").arg(from).arg("--out").arg(&out).succeeds();
        let path = done.manifest()["outputs"]["submission"]["path"].as_str().unwrap().to_string();
        common::store::tables::read_parquet(out.join(path), None).unwrap()
    };
    let (one, seven) = (predict(&base, "of_base"), predict(&out, "of_groups"));
    for name in leap::columns::submission() {
        assert_eq!(one.f64(name).unwrap(), seven.f64(name).unwrap(), "{name}");
    }
}

#[test]
fn a_network_takes_arrays_of_the_constants_that_it_learned_with_and_refuses_others() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let prepare = |normalisation: &str, out: &str| {
        let prepare = cmd("prepare-data").args(["leap", "prepare.yaml", "--from", "raw", "-q", "--threads=1"]);
        let prepare = prepare.arg("chains=[b]").arg(format!("normalisation={normalisation}"));
        prepare.arg("--out").arg(at(out)).within(workshop()).succeeds()
    };
    // Constants fitted to the rows, the same ones from their files, and those with other weights of the targets.
    prepare("{fit: {rows: null}}", "fitted");
    prepare(&format!("{{files: {}}}", at("fitted/norm").display()), "same");
    for name in ["mean_b.json", "std_b.json"] {
        let text = std::fs::read(at("fitted/norm").join(name)).unwrap();
        common::durable::write(at("norm").join(name), &text).unwrap();
    }
    let weights = std::fs::read_to_string(at("fitted/norm/old_sample_weight.csv")).unwrap();
    let (header, row) = weights.trim_end().split_once('\n').unwrap();
    let doubled: Vec<String> = row.split(',').map(|w| (2.0 * w.parse::<f64>().unwrap()).to_string()).collect();
    common::durable::write(at("norm/old_sample_weight.csv"), format!("{header}\n{}\n", doubled.join(",")).as_bytes())
        .unwrap();
    prepare(&format!("{{files: {}}}", at("norm").display()), "doubled");

    // A rate of almost nothing: all networks are the one that the seed draws.
    let train = |data: &Path, out: &str| {
        let run = cmd("train-model").arg(root().join("configs/leap/max2020/007.yaml")).args(crate::SMALL);
        let run = run.args(["model.max007.h1=3", "model.max007.h2=4", "training.epochs=1", "-q", "--from"]).arg(data);
        run.args(["training.learning_rate=1e-30", "training.group_learning_rates={}", "training.schedule=constant"])
            .arg("--out")
            .arg(at(out))
            .within(workshop())
    };
    let data = workshop().join("data");
    train(&data, "published").succeeds();
    train(&at("fitted"), "of_fitted").succeeds();
    train(&at("doubled"), "of_doubled").succeeds();
    let told = train(&at("fitted"), "begun").arg("--init").arg(at("published")).succeeds();
    told.says("warning: the training data: each was normalised with other constants");

    let predict = |run: &str, data: &Path, out: &str| {
        let predict = cmd("predict").args(["-q", "--threads=1", "--device=cpu", "--zero-list=ignore", "--from"]);
        predict.arg(at(run)).arg("--data").arg(data).arg("--out").arg(at(out))
    };
    let other = "was normalised with other constants than those that";
    predict("published", &at("fitted"), "x").fails(3).says(other).says("instead of the published ones");
    predict("of_fitted", &data, "x").fails(3).says(other).says("the published ones instead of");
    predict("of_fitted", &at("doubled"), "x").fails(3).says(other);
    let tune = cmd("finetune-group").arg(root().join("configs/leap/forcewithme/2lstm1mamba_gf.yaml"));
    let tune = tune.args(["training.batch_size=32", "rows.months=null", "-q", "--base"]);
    let tune = tune.arg(at("published/checkpoints/best/model.safetensors")).arg("--data").arg(at("fitted"));
    tune.arg("--out").arg(at("x")).fails(3).says(other);
    assert!(!at("x").exists(), "a refused command wrote something");

    // The same constants from elsewhere are the same; predictions come back by the weights that the arrays have.
    predict("of_fitted", &at("same"), "one").succeeds();
    predict("of_doubled", &at("doubled"), "two").succeeds();
    let table = |out: &str| {
        let found = std::fs::read_dir(at(out)).unwrap().flatten().map(|entry| entry.path());
        let path = found.into_iter().find(|path| path.extension().is_some_and(|e| e == "parquet")).unwrap();
        common::store::tables::read_parquet(path, None).unwrap()
    };
    let (one, two) = (table("one"), table("two"));
    let (one, two) = (one.f64("ptend_t_40").unwrap(), two.f64("ptend_t_40").unwrap());
    assert!(one.iter().any(|v| *v != 0.0));
    assert!(one.iter().zip(two).all(|(one, two)| (one / 2.0 - two).abs() <= 1e-6 * one.abs()), "{one:?} {two:?}");
}
