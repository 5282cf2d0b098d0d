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
