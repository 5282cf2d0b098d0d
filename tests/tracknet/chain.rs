//! From simulated events to scored tracks.

use std::time::Duration;

use crate::browser::Browser;
use crate::event_page::{SCENE, look};
use crate::support::{binary, cmd, root};
use crate::{SHORT, bytes, prepare, simulate, training};

const RESULTS: [&str; 4] = [
    "checkpoints/best/model.safetensors",
    "checkpoints/last/model.safetensors",
    "checkpoints/last/optimizer.safetensors",
    "metrics.csv",
];

#[test]
fn a_chain_of_stages_ends_with_a_score_and_a_repeated_one_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    simulate(folder.path());
    let prepared = prepare(folder.path()).manifest();
    assert!(prepared["metrics"]["train_tracks"].as_u64().unwrap() > 20);
    let trained = training(folder.path(), "run").succeeds().manifest();
    assert!(trained["metrics"]["val_loss"].as_f64().unwrap() < 1.0);
    assert!(trained["metrics"]["hit_efficiency_t1"].is_number());
    training(folder.path(), "again").succeeds();
    assert_eq!(bytes(&at("run"), &RESULTS), bytes(&at("again"), &RESULTS));
    // The tags of the original stand in the log beside ours, with a curve of the learning rate.
    let log = std::fs::read_to_string(at("run").join("metrics.jsonl")).unwrap();
    for tag in ["\"val_loss\"", "\"val_search_area_t1\"", "\"val_hit_efficiency_t2\"", "\"lr-Adam\""] {
        assert!(log.contains(tag), "{tag} in {log}");
    }

    let tracks = |out: &str| {
        let command = cmd("predict").arg("configs/tracknet/published/predict.yaml").within(root());
        let command =
            command.args(["next_hits=true", "picture=true", "-q", "--threads", "1", "--device", "cpu", "--from"]);
        command.arg(at("run")).arg("--out").arg(at(out)).succeeds()
    };
    assert_eq!(tracks("tracks").manifest()["metrics"]["events"], 1);
    tracks("tracks_again");
    let names = ["submission.csv", "next_hits.safetensors", "event.html", "event.svg"];
    assert_eq!(bytes(&at("tracks"), &names), bytes(&at("tracks_again"), &names));
    let mut browser = Browser::start();
    for (page, layer, least) in [(at("tracks/event.html"), "hits", 1), (at("run/last_track_viz.html"), "inputs", 6)] {
        if let Some(browser) = &mut browser {
            let seen = look(browser, &page, layer);
            assert!(seen.drawn >= least && seen.points > 0, "{seen:?} in {}", page.display());
        }
    }
    if let Some(browser) = &mut browser {
        // The truth lies beside the hits of simulated events.
        browser.open(&at("tracks/event.html"), 1280, 900);
        let note = browser.js(&format!("{SCENE}.spec.events[0].note"));
        assert!(note.as_str().unwrap().contains("reconstructible particles missed"), "{note}");
        let equal = browser.js(&format!("{SCENE}.panels.every(p => !p.view.flat || p.flat.sx === p.flat.sy)"));
        assert_eq!(equal, true, "flat views have equal scales");
    }
    let svg = std::fs::read_to_string(at("tracks/event.svg")).unwrap();
    assert!(svg.contains("z (mm)") && svg.contains("r (mm)"), "{svg}");
    let hits = std::fs::read_to_string(at("sim/raw/event000001000-hits.csv")).unwrap().lines().count();
    let submission = std::fs::read_to_string(at("tracks/submission.csv")).unwrap();
    assert_eq!(submission.lines().count(), hits, "every hit of the event has a row");

    // A trained network is measured on events of their own, which need no training part.
    let command = cmd("prepare-data").args(["tracknet", "configs/tracknet/demo/prepare.yaml", "-q", "--threads", "1"]);
    let command = command.arg("only_validation=true").within(root()).arg("--raw").arg(at("sim/raw"));
    let apart = command.arg("--out").arg(at("apart")).succeeds().manifest();
    assert_eq!(apart["metrics"]["train_tracks"], 0);
    let command =
        cmd("predict").args(["configs/tracknet/published/predict.yaml", "next_hits=true", "-q", "--threads=1"]);
    let command = command.arg("--from").arg(at("run")).arg("--data").arg(at("apart")).within(root());
    let measured = command.args(["--device=cpu", "--out"]).arg(at("measured")).succeeds().manifest();
    assert!(measured["metrics"]["hit_efficiency_t1"].is_number(), "{measured}");

    let score = cmd("score").arg(at("tracks")).arg("--truth").arg(at("data")).arg("-q").succeeds();
    let score: serde_json::Value = serde_json::from_str(&score.stdout).unwrap();
    let value = score["scores"][0]["trackml_score"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&value), "{score}");
    let stage = cmd("score").arg(at("tracks")).arg("--truth").arg(at("data")).args(["-q", "--out"]).arg(at("score"));
    assert_eq!(stage.succeeds().manifest()["metrics"]["trackml_score"].as_f64().unwrap(), value);
}

#[test]
fn binaries_chain_through_pipes() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "set -eo pipefail; PATH={bin}:$PATH; out={out}; c=configs/tracknet/demo
         simulate-data tracknet $c/simulate.yaml events=5 particles=30 -q --out $out/sim |
           prepare-data tracknet $c/prepare.yaml -q --from - --out $out/data |
           train-model $c/step_ahead.yaml {short} -q --device cpu --threads 1 --from - --out $out/run |
           predict picture=true -q --device cpu --threads 1 --from - --out $out/tracks >/dev/null
         test -s $out/tracks/event.html
         score $out/tracks --truth $out/sim -q",
        bin = binary("score").parent().unwrap().display(),
        out = folder.path().display(),
        short = SHORT.join(" "),
    );
    let output = std::process::Command::new("bash").args(["-c", &script]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let score: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(score["scores"][0]["thresholds"]["0.5"]["all"]["reconstructible"].as_u64().unwrap() > 0);
}

#[test]
fn a_training_that_is_killed_and_resumed_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    prepare(folder.path());
    let long = ["training.epochs=12", "training.checkpoint.every_steps=2"];
    training(folder.path(), "straight").args(long).succeeds();
    let killed = folder.path().join("killed");
    for wait in [60, 200, 350] {
        let mut child = std::process::Command::new(binary("train-model"))
            .arg("configs/tracknet/demo/step_ahead.yaml")
            .args(SHORT)
            .args(long)
            .args(["-q", "--threads", "1", "--device", "cpu", "--from"])
            .arg(folder.path().join("data"))
            .arg("--out")
            .arg(&killed)
            .current_dir(root())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        // SIGKILL; a run that has ended already is a straight one.
        let _ = child.kill();
        child.wait().unwrap();
        if killed.join("stage.json").exists() {
            break;
        }
    }
    if !killed.join("stage.json").exists() {
        training(folder.path(), "killed").args(long).succeeds();
    }
    assert_eq!(bytes(&folder.path().join("straight"), &RESULTS), bytes(&killed, &RESULTS));
}

#[test]
fn the_tracker_learns_on_simulated_events_and_finds_their_particles() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let c = |name: &str| format!("configs/tracknet/tracker/{name}.yaml");
    let run = |name: &str| cmd(name).within(root());
    run("simulate-data")
        .args(["tracknet", &c("simulate"), "events=4", "particles=400", "-q", "--out"])
        .arg(at("sim"))
        .succeeds();
    let prepare = run("prepare-data").args(["tracknet", &c("prepare"), "validation_split=0.25", "-q", "--from"]);
    prepare.arg(at("sim")).arg("--out").arg(at("data")).succeeds();
    let train = run("train-model").arg(c("train")).args(["-q", "--threads", "1", "--device", "cpu", "--from"]);
    let metrics = train.arg(at("data")).arg("--out").arg(at("run")).succeeds().manifest()["metrics"].clone();
    assert!(metrics["inside_3_widths"].as_f64().unwrap() > 0.9, "{metrics}");
    let find = run("predict").arg(c("predict")).args(["-q", "--threads", "1", "--device", "cpu", "--from"]);
    find.arg(at("run")).arg("--out").arg(at("tracks")).succeeds();
    let score = run("score").arg(at("tracks")).arg("--truth").arg(at("data")).arg("-q").succeeds();
    let score: serde_json::Value = serde_json::from_str(&score.stdout).unwrap();
    // Every track has its helix, with a covariance.
    let tracks = std::fs::read_to_string(at("tracks/tracks.csv")).unwrap();
    assert!(tracks.starts_with("event_id,track_id,hits,d0,z0,phi,theta,qop,chi2,degrees,cov_d0_d0"));
    assert!(tracks.lines().count() > 100, "{}", tracks.lines().count());
    let all = &score["scores"][0]["thresholds"]["0.5"]["all"];
    assert!(all["efficiency"].as_f64().unwrap() > 0.8 && all["purity"].as_f64().unwrap() > 0.8, "{all}");
}

#[test]
fn the_tracker_finds_the_particles_of_the_real_event() {
    let real = root().join("../shared/data/trackml/train_real_barrel");
    if !real.is_dir() {
        eprintln!("skipped: the real sample is not here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let c = |name: &str| format!("configs/tracknet/tracker/{name}.yaml");
    let run = |name: &str| cmd(name).within(root());
    run("simulate-data").args(["tracknet", &c("simulate"), "events=4", "-q", "--out"]).arg(at("sim")).succeeds();
    let prepare = run("prepare-data").args(["tracknet", &c("prepare"), "validation_split=0.25", "-q", "--from"]);
    prepare.arg(at("sim")).arg("--out").arg(at("data")).succeeds();
    let short = ["training.epochs=3", "training.schedule.cosine_restarts.t_0=3"];
    let train =
        run("train-model").arg(c("train")).args(short).args(["-q", "--threads", "1", "--device", "cpu", "--from"]);
    train.arg(at("data")).arg("--out").arg(at("run")).succeeds();
    let find = run("predict").arg(c("predict")).args(["-q", "--threads", "1", "--device", "cpu", "--data"]);
    find.arg(&real).arg("--from").arg(at("run")).arg("--out").arg(at("tracks")).succeeds();
    let score = run("score").arg(at("tracks")).arg("--truth").arg(&real).arg("-q").succeeds();
    let score: serde_json::Value = serde_json::from_str(&score.stdout).unwrap();
    let figures = &score["scores"][0]["thresholds"]["0.5"];
    assert_eq!(figures["all"]["reconstructible"], 517);
    assert!(figures["all"]["efficiency"].as_f64().unwrap() >= 0.95, "{figures}");
    assert!(figures["tracks_above_1_gev"]["purity"].as_f64().unwrap() >= 0.95, "{figures}");
}
