//! The recipes in `configs/leap`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use common::config;
use leap::finetune::FinetuneConfig;
use leap::train::TrainConfig;

use crate::support::root;

/// All configs of a stage below `configs/leap`, by folder and name.
fn files(of: fn(&str) -> bool) -> Vec<PathBuf> {
    let folders = ["adam", "benchmark", "first", "forcewithme", "max2020", "joseph", "zuiye"];
    let read = |folder| std::fs::read_dir(root().join("configs/leap").join(folder)).unwrap().flatten();
    let all = folders.into_iter().flat_map(read).map(|entry| entry.path());
    all.filter(|path| of(&std::fs::read_to_string(path).unwrap())).collect()
}

fn is_training(text: &str) -> bool {
    text.contains("\nmodel:")
}

fn is_tuning(text: &str) -> bool {
    text.contains("\nbad_groups:")
}

#[test]
fn every_config_resolves_and_says_how_to_run_it() {
    let (training, tuning) = (files(is_training), files(is_tuning));
    assert_eq!((training.len(), tuning.len()), (26, 12), "{training:?} {tuning:?}");
    for path in &training {
        let config = config::load::<TrainConfig>(Some(path), &[]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(config.value.training.print_freq, 1000, "{}", path.display());
    }
    for path in &tuning {
        config::load::<FinetuneConfig>(Some(path), &[]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    for path in training.iter().chain(&tuning) {
        let (text, name) = (std::fs::read_to_string(path).unwrap(), path.strip_prefix(root()).unwrap());
        let command = text.lines().any(|line| line.starts_with("#   ") && line.contains(&*name.to_string_lossy()));
        assert!(command, "{}: no command in its header", name.display());
    }
}

#[test]
fn every_recipe_has_the_published_schedule() {
    // Epochs, batch, clip, first rate, beta 2, cycle, its factor, lowest rate, seed; as the team published them.
    type Recipe = (u64, u64, f64, f64, f64, u32, u32, f64, u64);
    let published: BTreeMap<&str, Recipe> = [
        ("forcewithme/reslstm", (9, 2048, 9.0, 8e-4, 0.999, 3, 2, 1e-5, 1_999_517)),
        ("forcewithme/cnnlstm", (9, 2048, 9.0, 8e-4, 0.999, 3, 2, 1e-5, 1_999_517)),
        ("forcewithme/lstmmamba_stage1", (9, 1536, 9.0, 4e-4, 0.95, 3, 2, 1e-5, 1_999_517)),
        ("forcewithme/lstmmamba_stage2", (8, 2048, 9.0, 4e-4, 0.95, 4, 1, 1e-5, 1_999_517)),
        ("forcewithme/lstmmambamixed", (9, 2048, 9.0, 8e-4, 0.95, 3, 2, 1e-5, 1_999_517)),
        ("forcewithme/2lstm1mamba", (9, 2048, 9.0, 8e-4, 0.95, 3, 2, 1e-5, 1_999_517)),
        ("forcewithme/1lstm1mamba", (9, 2048, 9.0, 8e-4, 0.95, 3, 2, 1e-5, 1_999_517)),
        ("max2020/007", (12, 3072, 1e5, 8e-4, 0.999, 3, 2, 1e-6, 2024)),
        ("max2020/014", (9, 2048, 9.0, 8e-4, 0.999, 3, 2, 1e-6, 1995)),
        ("max2020/015", (9, 2048, 9.0, 8e-4, 0.999, 3, 2, 1e-6, 1995)),
        ("max2020/021", (9, 2048, 9.0, 8e-4, 0.999, 3, 2, 1e-6, 1997)),
        ("max2020/022", (9, 2048, 9.0, 8e-4, 0.999, 3, 2, 1e-6, 1998)),
        ("joseph/907", (16, 2048, 1e4, 6e-4, 0.999, 4, 1, 1e-6, 315)),
        ("joseph/912", (9, 3072, 4.0, 6e-4, 0.999, 3, 2, 1e-6, 315)),
        ("forcewithme/reslstm_gf", (1, 2048, 9.0, 8e-5, 0.95, 1, 1, 1e-7, 1_999_517)),
        ("forcewithme/cnnlstm_gf", (1, 2048, 9.0, 8e-5, 0.95, 1, 1, 1e-7, 1_999_517)),
        ("forcewithme/lstmmamba_gf", (1, 4096, 9.0, 1.6e-4, 0.95, 1, 1, 1e-7, 1_999_517)),
        ("forcewithme/lstmmambamixed_gf", (1, 2048, 9.0, 8e-5, 0.95, 1, 1, 1e-7, 1_999_517)),
        ("forcewithme/1lstm1mamba_gf", (1, 4032, 9.0, 1.6e-4, 0.95, 1, 1, 1e-7, 1_999_517)),
        ("forcewithme/2lstm1mamba_gf", (1, 2560, 9.0, 1e-4, 0.95, 1, 1, 1e-7, 1_999_517)),
        ("max2020/010", (1, 3072, 1e5, 4e-5, 0.999, 1, 1, 1e-7, 2024)),
        ("max2020/014_gf", (1, 2048, 1e5, 1.6e-4, 0.999, 1, 1, 1e-7, 2024)),
        ("max2020/015_gf", (1, 2048, 1e5, 2.4e-4, 0.999, 1, 1, 1e-7, 2024)),
        ("max2020/021_gf", (1, 2048, 1e5, 2.4e-4, 0.999, 1, 1, 1e-7, 1997)),
        ("max2020/022_gf", (1, 2048, 1e5, 2.4e-4, 0.999, 1, 1, 1e-7, 1998)),
        ("joseph/912sep", (1, 3072, 4.0, 1.2e-4, 0.999, 1, 1, 2e-7, 315)),
    ]
    .into();
    for (name, want) in published {
        let path = root().join(format!("configs/leap/{name}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let (training, seed) = if is_training(&text) {
            let config = config::load::<TrainConfig>(Some(&path), &[]).unwrap().value;
            (config.training, config.seed)
        } else {
            let config = config::load::<FinetuneConfig>(Some(&path), &[]).unwrap().value;
            (config.training, config.seed)
        };
        let all = serde_json::to_value(&training).unwrap();
        let cosine = &all["schedule"]["cosine_restarts"];
        let number = |value: &serde_json::Value| value.as_f64().unwrap_or_else(|| panic!("{name}: {all}"));
        let found = (
            training.epochs,
            training.batch_size,
            training.max_grad_norm.unwrap(),
            training.learning_rate,
            number(&all["optimizer"]["adam_w"]["betas"][1]),
            number(&cosine["t_0"]) as u32,
            number(&cosine["t_mult"]) as u32,
            number(&cosine["eta_min"]),
            seed,
        );
        assert_eq!(found, want, "{name}");
    }
}

#[test]
fn the_published_table_names_sixteen_members_of_the_pipelines() {
    let table = std::fs::read_to_string(root().join("submissions/leap/published.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0], ["member", "model", "weight", "cv", "public_lb", "private_lb"]);
    assert_eq!(rows.len(), 17);
    let weights = std::fs::read_to_string(root().join("submissions/leap/weights_v10.csv")).unwrap();
    let exact: BTreeMap<&str, &str> = weights.lines().skip(1).map(|line| line.split_once(',').unwrap()).collect();
    let size = std::fs::read_to_string(root().join("pipelines/leap.published.yaml")).unwrap();
    for row in &rows[1..] {
        assert_eq!(exact[row[1]], row[2], "{row:?}");
        assert!(size.contains(&format!("runs/leap/{}", row[0])), "`leap.published.yaml` does not blend {}", row[0]);
        let scores: Vec<f64> = row[3..].iter().map(|score| score.parse().unwrap()).collect();
        assert!(scores.iter().all(|score| (0.77..0.8).contains(score)), "{row:?}");
    }
}
