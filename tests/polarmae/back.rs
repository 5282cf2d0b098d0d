//! Results that lead back to the event: files, voxels, clusters, instances, embeddings; and networks on events that were
//! prepared otherwise.

use std::path::Path;

use common::store::npy::NpyArray;
use common::store::tables::read_parquet;

use crate::browser::Browser;
use crate::event_page::{SCENE, look};
use crate::raw::{Event, prepare, simulate, store, train, write};
use crate::support::{Cmd, cmd};

fn predict(run: &Path, out: &Path) -> Cmd {
    cmd("predict").arg("--from").arg(run).arg("--out").arg(out).args(["--threads", "1"])
}

#[test]
fn predictions_name_file_voxel_and_cluster_and_every_voxel_of_the_raw_event_has_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let long: &[f32] = &[1.0; 40];
    for (name, energy) in [("train/one.h5", 1.0), ("train/two.h5", 1.5)] {
        write(&at("raw").join(name), &[&[(4, &[energy; 3][..]), (1, long), (0, &[0.05, 2.0][..])]]);
    }
    let event: Event = &[(4, &[1.0]), (1, long)];
    write(&at("raw/val/v.h5"), &[event; 2]);
    prepare(&at("raw"), &at("data")).succeeds();
    train("demo/segment.yaml", &at("data"), &at("seg"), 1).succeeds();
    let predicted = predict(&at("seg"), &at("p"))
        .args(["--set", "train", "instances={radius: 2, neighbors: 1}"])
        .succeeds()
        .says("adjusted Rand index");
    assert!(predicted.manifest()["metrics"]["instances/purity"].as_f64().unwrap() > 0.0);
    let table = read_parquet(at("p/predictions.parquet"), None).unwrap();
    assert_eq!(table.rows(), 82);
    assert_eq!(
        (table.texts("file").unwrap()[0].as_str(), table.texts("file").unwrap()[81].as_str()),
        ("train/one.h5", "train/two.h5")
    );
    // The scatters and one weak voxel were left out.
    let (voxels, clusters) = (table.i64("voxel").unwrap(), table.i64("cluster").unwrap());
    assert_eq!((voxels[0], voxels[39], voxels[40]), (3, 42, 44));
    assert_eq!((clusters[0], clusters[40]), (0, 1));
    assert!(table.i64("instance").unwrap().iter().all(|instance| *instance >= 0));
    let all = read_parquet(at("p/voxels.parquet"), None).unwrap();
    assert_eq!(all.rows(), 90);
    let class =
        |row: usize| (all.i64("prediction").unwrap()[row], all.texts("class").unwrap()[row].as_str().to_string());
    assert_eq!((class(0), class(43)), ((-1, "not predicted".into()), (-1, "not predicted".into())));
    assert_eq!(class(3).0, table.i64("prediction").unwrap()[0]);
    predict(&at("seg"), &at("q")).args(["--picture", "9"]).fails(2).says("`picture` is 9, there are 2 events: 0 to 1");
}

#[test]
fn events_on_another_scale_are_refused_or_brought_onto_the_networks() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let data = store(folder.path());
    train("demo/segment.yaml", &data, &at("seg"), 1).succeeds();
    train("demo/pretrain.yaml", &data, &at("mae"), 1).succeeds();
    let other = ["selection.log_floor=0.01", "selection.energy_max=200"];
    prepare(&at("sim/raw"), &at("other")).args(other).succeeds();
    let on_other = |name: &str| predict(&at("seg"), &at(name)).arg("--data").arg(at("other"));
    on_other("refused")
        .fails(3)
        .says("`selection.log_floor` is 0.01 MeV, the network was trained with 0.13 MeV")
        .says("`selection.energy_max`")
        .says("adapt_energies=true");
    on_other("adapted").arg("adapt_energies=true").succeeds().says("brought onto the network's scale");
    predict(&at("seg"), &at("own")).succeeds();
    let probabilities = |name: &str| {
        let table = read_parquet(at(name).join("predictions.parquet"), None).unwrap();
        (table.f32("p_track").unwrap().to_vec(), table.f32("energy_mev").unwrap().to_vec())
    };
    let ((own, mev), (adapted, other_mev)) = (probabilities("own"), probabilities("adapted"));
    assert!(own.iter().zip(&adapted).all(|(a, b)| (a - b).abs() < 1e-3));
    assert!(mev.iter().zip(&other_mev).all(|(a, b)| (a - b).abs() < 1e-3 * a.max(1.0)));
    // The same from a pretraining to its fine-tuning.
    let pretrained =
        format!("model.segmentation.pretrained={}", at("mae/checkpoints/best/model.safetensors").display());
    let tune = |name: &str| train("demo/segment.yaml", &at("other"), &at(name), 1).arg(&pretrained);
    tune("tuned").fails(3).says("`selection.log_floor`").says("data.adapt_energies=true");
    tune("tuned").arg("data.adapt_energies=true").succeeds();
    // It learned on the scale of the pretraining.
    predict(&at("tuned"), &at("tp")).arg("--data").arg(&data).succeeds();
}

#[test]
fn embeddings_of_a_pretraining_lead_back_and_are_probed_beside_an_encoder_that_learned_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let data = store(folder.path());
    train("demo/pretrain.yaml", &data, &at("mae"), 1).succeeds();
    let embedded = predict(&at("mae"), &at("e")).arg("--embeddings").succeeds().says("untrained");
    let metrics = embedded.manifest()["metrics"].clone();
    for key in ["linear_f1", "nearest_f1", "untrained/linear_f1", "untrained/nearest_f1"] {
        assert!(metrics[key].is_number(), "{key}: {metrics}");
    }
    for (name, rows) in [("tokens", "tokens"), ("points", "points")] {
        let table = read_parquet(at("e").join(format!("{name}.parquet")), None).unwrap();
        let array = NpyArray::open(at("e").join(format!("{name}.npy"))).unwrap();
        assert_eq!(array.shape(), [table.rows(), 64]);
        assert_eq!(metrics[rows].as_u64(), Some(table.rows() as u64));
        assert!(table.texts("file").unwrap()[0].starts_with("val/generic_v2_3"));
        if name == "tokens" {
            assert_eq!(f64::from(table.f32("f063").unwrap()[1]), array.to_f64()[127]);
        }
    }
    let report = std::fs::read_to_string(at("e/probe.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(report["trained"]["supports"]["track"].as_u64().unwrap() > 0);
    assert_eq!(report["trained"]["supports"], report["untrained"]["supports"]);
    assert!(std::fs::read_to_string(at("e/event.svg")).unwrap().contains("principal components"));
    if let Some(mut browser) = Browser::start() {
        look(&mut browser, &at("e/event.html"), "points");
        let count = |layer: &str| format!("{SCENE}.spec.events[0].data.{layer}.n");
        let mut number = |layer: &str| browser.js(&count(layer)).as_u64().unwrap();
        let (points, seen, hidden, rebuilt) = (number("points"), number("seen"), number("hidden"), number("rebuilt"));
        // Groups overlap: a point may be seen in one and hidden in another, and is rebuilt once a group.
        assert!(hidden > 0 && rebuilt >= hidden && seen + hidden >= points / 2, "{points} {seen} {hidden} {rebuilt}");
        assert!(number("tokens") > 1);
    }
    predict(&at("mae"), &at("c")).fails(3).says("is a pretraining, which knows no classes");
}

#[test]
fn kinds_of_particles_are_learned_from_files_that_know_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    simulate(&at("sim")).arg("cluster_columns=6").succeeds();
    prepare(&at("sim/raw"), &at("data")).succeeds();
    let kinds = ["data.target=particle", "model.segmentation.network.num_classes=5"];
    let tuned = |data: &Path, name: &str| train("demo/segment.yaml", data, &at(name), 1).args(kinds);
    tuned(&at("data"), "none").fails(2).says("a number for each kind of particle");
    let weights = "model.segmentation.class_weights=[1, 1, 1, 1, 1]";
    let trained = tuned(&at("data"), "pid").arg(weights).succeeds().manifest();
    assert!(trained["metrics"]["f1/muon"].is_number(), "{}", trained["metrics"]);
    predict(&at("pid"), &at("p")).succeeds();
    let table = read_parquet(at("p/predictions.parquet"), None).unwrap();
    assert!(table.f32("p_proton").is_ok() && table.i64("label").unwrap().contains(&2));
    simulate(&at("five/sim")).succeeds();
    prepare(&at("five/sim/raw"), &at("five/data")).succeeds();
    tuned(&at("five/data"), "fails").arg(weights).fails(3).says("do not say the kinds of their particles");
}

#[test]
fn a_config_of_the_original_tells_where_its_selection_differs_from_the_events() {
    let folder = tempfile::tempdir().unwrap();
    let data = store(folder.path());
    let yaml = folder.path().join("like.yml");
    let text = "seed_everything: 3\ntrainer:\n  max_steps: 40\n  precision: 32\nmodel:\n  learning_rate: 2.0e-4\n  \
                lr_scheduler_linear_warmup_epochs: 10\n  encoder:\n    class_path: polarmae.layers.TransformerEncoder\n    \
                init_args: {arch: vit_tiny, voxel_size: 5}\n  decoder:\n    init_args: {arch: vit_tiny}\ndata:\n  init_args:\n    \
                batch_size: 2\n    dataset_kwargs: {energy_threshold: 0.5, min_points: 20, remove_low_energy_scatters: false}\n";
    common::durable::write(&yaml, text.as_bytes()).unwrap();
    let plan = cmd("train-model").arg(&yaml).arg("--from").arg(&data).arg("--dry-run").succeeds();
    let plan = plan
        .says("`energy_threshold` is 0.13 in the events, the config asks for 0.5")
        .says("`remove_low_energy_scatters` is true in the events, the config asks for false");
    assert!(!plan.stderr.contains("`min_points` is"));
    let shown = cmd("train-model").arg(&yaml).arg("--print-config").succeeds().stdout;
    for (key, line) in [("seed: 3", 1), ("max_steps: 40", 3), ("learning_rate:", 6), ("batch_size: 2", 15)] {
        let place = format!("like.yml:{line}");
        assert!(
            shown.lines().any(|l| l.trim_start().starts_with(key) && l.ends_with(&place)),
            "{key} {place}:\n{shown}"
        );
    }
}
