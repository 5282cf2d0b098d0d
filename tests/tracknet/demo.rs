//! `make demo-tracknet`, which is `pipelines/tracknet`, at a tiny size.

use std::fs;
use std::path::Path;

use crate::support::{cmd, root};

/// Copies a file of the repository into a project, with texts replaced, each of which it must hold.
fn copy(project: &Path, name: &str, changes: &[(&str, &str)]) {
    let mut text = fs::read_to_string(root().join(name)).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no `{from}`");
        text = text.replacen(from, to, 1);
    }
    let path = project.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn the_pipeline_goes_from_events_to_the_scores_of_both_networks_and_then_has_nothing_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path();
    copy(project, "pipelines/tracknet/dvc.yaml", &[]);
    copy(project, "pipelines/tracknet.demo.yaml", &[]);
    let c = "configs/tracknet";
    let fewer = [("events: 24", "events: 5"), ("particles: 1500", "particles: 40"), ("pt_scale: 1.2\n", "")];
    copy(project, &format!("{c}/demo/simulate.yaml"), &fewer);
    copy(project, &format!("{c}/demo/prepare.yaml"), &[]);
    copy(project, &format!("{c}/demo/step_ahead.yaml"), &[("epochs: 120", "epochs: 2"), ("t_0: 120", "t_0: 2")]);
    copy(project, &format!("{c}/published/predict.yaml"), &[]);
    copy(project, &format!("{c}/tracker/prepare.yaml"), &[]);
    copy(project, &format!("{c}/tracker/train.yaml"), &[("epochs: 12", "epochs: 2"), ("t_0: 12", "t_0: 2")]);
    copy(project, &format!("{c}/tracker/predict.yaml"), &[]);
    for phase in ["simulate_detector", "simulate_throughput"] {
        let fewer = [("events: 12", "events: 10"), ("particles: 3000", "particles: 100")];
        copy(project, &format!("{c}/tracker/{phase}.yaml"), &fewer);
    }
    let run = || cmd("run-pipeline").args(["pipelines/tracknet", "-q", "--result"]).within(project).succeeds().stdout;
    let last: serde_json::Value = serde_json::from_str(run().lines().last().unwrap()).unwrap();
    for name in ["val_loss", "hit_efficiency_t1", "hit_efficiency_t2", "trackml_score", "efficiency", "purity"] {
        assert!(last["metrics"][name].is_number(), "{name}: {}", last["metrics"]);
    }
    assert!(last["metrics"]["tracker"]["trackml_score"].is_number(), "{}", last["metrics"]);
    assert!(Path::new(last["outputs"]["submission"]["path"].as_str().unwrap()).is_file());
    for member in ["published", "tracker"] {
        let path = project.join(format!("demo/tracknet/{member}/score/score.json"));
        let score: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(score["scores"][0]["trackml_score"].is_number(), "{member}: {score}");
    }
    for phase in ["accuracy", "throughput"] {
        let text = fs::read_to_string(project.join(format!("demo/tracknet/{phase}/score.json"))).unwrap();
        let score: serde_json::Value = serde_json::from_str(&text).unwrap();
        let of = |member: &str| score["members"][member].as_f64();
        // Few hits of few particles: what hardly learned still finds some, what was not made for the detector may find none.
        assert!(of("tracker").is_some_and(|s| s > 0.2), "{phase}: {score}");
        assert!(of("published").is_some_and(|s| s >= 0.0 && s.is_sign_positive()), "{phase}: {score}");
        assert!(!project.join(format!("demo/tracknet/{phase}/real.json")).exists(), "no real event is here");
    }
    let stamp = || fs::metadata(project.join("demo/tracknet/tracker/score.json")).unwrap().modified().unwrap();
    let before = stamp();
    run();
    assert_eq!(before, stamp(), "a second run computes nothing");
}
