//! The original's folder of configs as it stands, instead of configs of ours.

use std::fs;
use std::path::Path;

use crate::simulate;
use crate::support::{cmd, root};

/// The layout of the original: groups, pointers, and the classes that Hydra would make.
fn configs(folder: &Path) {
    let files = [
        (
            "train.yaml",
            "defaults:\n  - dataset: trackml\n  - model: step_ahead\n  - transforms: transforms\n  - user_settings: user_settings\n  - _self_\n\n\
             data:\n  train_dirs: ${user_settings.data.train_dirs}\n  blacklist_dir: ${user_settings.data.blacklist_dir}\n\
             experiment:\n  name: step_ahead_tracknet_trackml\n\
             training:\n  seed: 42\n  batch_size: 32\n  max_epochs: 10\n  num_workers: 4\n  accumulate_grad_batches: 1\n  \
             gradient_clip_val: 1.0\n  resume_from: null\n  limit_train_batches: 1000\n\
             logging:\n  output_dir: ${hydra:run.dir}/logs\n",
        ),
        (
            "dataset/trackml.yaml",
            "_target_: src.tracknet.data.dataset.TrackMLTracksDataset\ndata_dirs: ${data.train_dirs}\n\
             blacklist_dir: ${data.blacklist_dir}\nvalidation_split: 0.1\n\
             transforms:\n  - ${transforms.drop_repeated}\n  - ${transforms.normalizer}\n\
             filters:\n  - _target_: src.tracknet.data.filters.MinHitsFilter\n    min_hits: 3\n  \
             - _target_: src.tracknet.data.filters.PtFilter\n    min_pt: 1.0\n  \
             - _target_: src.tracknet.data.filters.FirstLayerFilter\n    valid_first_layers: [[8, 2], [7, 14], [9, 2]]\n",
        ),
        (
            "model/step_ahead.yaml",
            "_target_: src.tracknet.training.TrackNETModule\ninput_features: 3\nhidden_features: 32\noutput_features: 3\n\
             learning_rate: 0.001\nloss_alpha: 0.0008\nbatch_first: true\n\
             hit_density_stats_path: outputs/hit_density_stats.npz\nhits_normalizer: ${transforms.normalizer}\n",
        ),
        (
            "transforms/transforms.yaml",
            "normalizer:\n  _target_: src.tracknet.data.transformations.MinMaxNormalizeXYZ\n  \
             min_xyz: [-1000.0, -1000.0, -3000.0]\n  max_xyz: [1000.0, 1000.0, 3000.0]\n\
             drop_repeated:\n  _target_: src.tracknet.data.transformations.DropRepeatedLayerHits\n",
        ),
        (
            "user_settings/user_settings.yaml",
            "project_path: .\ndata:\n  train_dirs:\n    - data/trackml/train_100_events\n  \
             blacklist_dir: data/trackml/blacklist_training\n\
             hydra:\n  run:\n    dir: outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}\n",
        ),
    ];
    for (name, text) in files {
        let path = folder.join("configs").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// A printed config without the comments that say where values come from.
fn printed(binary: &str, args: &[&str], config: &Path) -> Vec<String> {
    let outcome = cmd(binary).args(args).arg(config).arg("--print-config").within(root()).succeeds();
    outcome.stdout.lines().map(|l| l.split("  #").next().unwrap().to_string()).collect()
}

#[test]
fn the_published_folder_says_the_same_as_the_published_configs_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    configs(folder.path());
    let (theirs, ours) = (folder.path().join("configs"), root().join("configs/tracknet/published"));
    let differs = |a: Vec<String>, b: Vec<String>, keys: &[&str]| {
        let left: Vec<(String, String)> = a.into_iter().zip(b).filter(|(a, b)| a != b).collect();
        assert!(left.iter().all(|(a, _)| keys.iter().any(|k| a.trim_start().starts_with(k))), "{left:?}");
    };
    let train = |path: &Path| printed("train-model", &[], path);
    differs(train(&theirs), train(&ours.join("step_ahead.yaml")), &["member:", "limit_train_batches:"]);
    // The main file stands for its folder.
    assert_eq!(train(&theirs), train(&theirs.join("train.yaml")));
    let prepare = |path: &Path| printed("prepare-data", &["tracknet"], path);
    differs(prepare(&theirs), prepare(&ours.join("prepare.yaml")), &[]);
}

#[test]
fn a_run_by_the_published_folder_takes_overrides_of_its_keys_and_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    configs(folder.path());
    simulate(folder.path());
    let configs = folder.path().join("configs");
    let at = |name: &str| folder.path().join(name);
    let prepare = cmd("prepare-data").arg("tracknet").arg(&configs).args(["-q", "--threads", "1"]);
    let prepare =
        prepare.args(["dataset.validation_split=0.2", "dataset.filters.1.min_pt=0.5", "data.blacklist_dir=null"]);
    let prepared = prepare.arg("--raw").arg(at("sim/raw")).arg("--out").arg(at("data")).succeeds().manifest();
    assert!(prepared["metrics"]["train_tracks"].as_u64().unwrap() > 20, "{prepared}");
    let train = cmd("train-model").arg(configs.join("train.yaml")).args(["-q", "--threads", "1", "--device", "cpu"]);
    let train =
        train.args(["training.max_epochs=1", "model.hidden_features=8", "training.schedule.plateau.patience=1"]);
    train.arg("--from").arg(at("data")).arg("--out").arg(at("run")).succeeds();
    let hparams = fs::read_to_string(at("run/hparams.yaml")).unwrap();
    for line in ["member: step_ahead_tracknet_trackml", "hidden_features: 8", "epochs: 1", "patience: 1"] {
        assert!(hparams.contains(line), "{line} in {hparams}");
    }
}

#[test]
fn mistakes_in_the_folder_are_named() {
    let folder = tempfile::tempdir().unwrap();
    configs(folder.path());
    let configs = folder.path().join("configs");
    let train = |more: &str| cmd("train-model").arg(&configs).args([more, "--print-config"]).fails(2);
    train("model=moon").says("moon.yaml`, which is not there").says("the folder has: step_ahead");
    train("training.resume_from=a.ckpt").says("`training.resume_from` is \"a.ckpt\", which is not read");
    train("+training.momentum=0.9").says("`training.momentum` has no meaning here");
    train("model.depth=3").says("depth");
    train("training.limit_train_batches=0.5").says("expected 1.0 or a whole number");
    fs::remove_file(configs.join("train.yaml")).unwrap();
    train("training.seed=1").says("is a folder without `train.yaml` or `config.yaml`");
}

/// Replaces one text of a file of the folder by another.
fn edit(folder: &Path, name: &str, from: &str, to: &str) {
    let path = folder.join("configs").join(name);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{name} has no `{from}`");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn each_value_of_the_folder_is_cited_with_its_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    configs(folder.path());
    let configs = folder.path().join("configs");
    let train = cmd("train-model").arg(&configs).args(["training.seed=7", "--print-config"]).succeeds().stdout;
    let cited = |text: &str, key: &str| {
        text.lines().find(|l| l.trim_start().starts_with(&format!("{key}:"))).unwrap().to_string()
    };
    assert!(cited(&train, "hidden_features").ends_with("step_ahead.yaml:3"), "{train}");
    assert!(cited(&train, "epochs").ends_with("train.yaml:16"), "{train}");
    assert!(cited(&train, "seed").ends_with("# override"), "{train}");
    assert!(cited(&train, "shuffle").contains("set by reading"), "{train}");
    let prepare =
        cmd("prepare-data").arg("tracknet").arg(&configs).arg("--print-config").within(root()).succeeds().stdout;
    assert!(cited(&prepare, "data_dirs").ends_with("user_settings.yaml:3"), "{prepare}");
    assert!(cited(&prepare, "min_pt").ends_with("trackml.yaml:12"), "{prepare}");
}

#[test]
fn defaults_packages_resolvers_and_hydras_own_keys_are_read_as_hydra_does() {
    let folder = tempfile::tempdir().unwrap();
    configs(folder.path());
    let at = folder.path();
    let train =
        |more: &[&str]| cmd("train-model").arg(at.join("configs")).args(more).arg("--print-config").succeeds().stdout;
    let plain = train(&[]);
    // Groups of Hydra itself, and a group of which nothing is chosen.
    edit(
        at,
        "train.yaml",
        "  - _self_\n",
        "  - _self_\n  - override hydra/job_logging: colorlog\n  - optional tuning: null\n",
    );
    edit(
        at,
        "transforms/transforms.yaml",
        "drop_repeated:\n",
        "drop_repeated:\n  _partial_: false\n  _convert_: all\n",
    );
    let lines = |text: &str| text.lines().map(|l| l.split("  #").next().unwrap().to_string()).collect::<Vec<_>>();
    assert_eq!(lines(&train(&[])), lines(&plain));
    // A file that says where it belongs, added from the command line, and one with defaults of its own.
    fs::create_dir_all(at.join("configs/tuning/base")).unwrap();
    fs::write(at.join("configs/tuning/base/wide.yaml"), "# @package _global_\nmodel:\n  hidden_features: 24\n")
        .unwrap();
    fs::write(
        at.join("configs/tuning/bigger.yaml"),
        "# @package _global_\ndefaults:\n  - base: wide\n  - _self_\ntraining:\n  batch_size: ${oc.decode:'64'}\n",
    )
    .unwrap();
    edit(at, "train.yaml", "optional tuning: null", "tuning: bigger");
    let tuned = train(&[]);
    assert!(tuned.contains("batch_size: 64  #") && tuned.contains("hidden_features: 24  #"), "{tuned}");
    assert!(tuned.contains("wide.yaml:3"), "{tuned}");
    assert!(train(&["tuning=null"]).contains("hidden_features: 32  #"));
    // A folder as text, by a variable, with a default.
    edit(
        at,
        "user_settings/user_settings.yaml",
        "train_dirs:\n    - data/trackml/train_100_events",
        "train_dirs: ${oc.env:PODIUM_NO_SUCH,some/where}/raw",
    );
    let prepare = || cmd("prepare-data").arg("tracknet").arg(at.join("configs")).arg("--print-config");
    let text = prepare().succeeds().stdout;
    assert!(text.contains("data_dirs: [some/where/raw]"), "{text}");
    edit(at, "user_settings/user_settings.yaml", "${oc.env:PODIUM_NO_SUCH,some/where}", "${oc.env:PODIUM_NO_SUCH}");
    prepare().fails(2).says("PODIUM_NO_SUCH").says("oc.env");
    edit(at, "user_settings/user_settings.yaml", "${oc.env:PODIUM_NO_SUCH}", "${secret:x}");
    prepare().fails(2).says("resolver `secret` is not known");
    edit(at, "user_settings/user_settings.yaml", "${secret:x}", "???");
    edit(at, "user_settings/user_settings.yaml", "???/raw", "???");
    prepare().fails(2).says("it must be given");
    edit(at, "transforms/transforms.yaml", "_partial_: false", "_partial_: true");
    cmd("prepare-data")
        .arg("tracknet")
        .arg(at.join("configs"))
        .args(["data.train_dirs=[x]", "--print-config"])
        .fails(2)
        .says("_partial_");
}

#[test]
fn tracks_that_were_prepared_otherwise_than_the_folder_asks_for_are_told() {
    let folder = tempfile::tempdir().unwrap();
    configs(folder.path());
    simulate(folder.path());
    let at = |name: &str| folder.path().join(name);
    let prepare = |out: &str, more: &[&str]| {
        let run =
            cmd("prepare-data").arg("tracknet").arg(at("configs")).args(["--threads", "1", "--raw"]).arg(at("sim/raw"));
        run.args(["data.blacklist_dir=null", "dataset.validation_split=0.4"])
            .args(more)
            .arg("--out")
            .arg(at(out))
            .succeeds();
    };
    prepare("same", &[]);
    prepare("other", &["dataset.filters.1.min_pt=0.6"]);
    let train = |data: &str| {
        let run = cmd("train-model").arg(at("configs")).arg("dataset.validation_split=0.4").arg("--from").arg(at(data));
        run.arg("data.blacklist_dir=null").args(["--dry-run", "--out"]).arg(at("run")).succeeds()
    };
    assert!(!train("same").stderr.contains("prepared otherwise"), "{}", train("same").stderr);
    train("other").says("prepared otherwise").says("`filters.min_pt` is 0.6");
}
