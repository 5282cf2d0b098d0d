//! Events as people keep them: packed, in archives, without what is not needed, more of them than a submission has.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::simulate;
use crate::support::{Outcome, cmd, root};

fn prepared(folder: &Path, raw: &Path, more: &[&str]) -> Outcome {
    let command =
        cmd("prepare-data").args(["tracknet", "configs/tracknet/demo/prepare.yaml", "--force"]).within(root());
    let command = command.args(more).args(["--threads", "1", "--raw"]).arg(raw);
    command.arg("--out").arg(folder.join("data")).succeeds()
}

fn tracks(outcome: &Outcome) -> u64 {
    outcome.manifest()["metrics"]["train_tracks"].as_u64().unwrap()
}

fn gzip(path: &Path) {
    assert!(std::process::Command::new("gzip").arg("-f").arg(path).status().unwrap().success());
}

/// The truth of the simulated events as a submission.
fn perfect(folder: &Path) -> String {
    let mut text = String::from("event_id,hit_id,track_id\n");
    for event in 1000..1005 {
        let truth = fs::read_to_string(folder.join(format!("sim/raw/event{event:09}-truth.csv"))).unwrap();
        for line in truth.lines().skip(1) {
            let mut cells = line.split(',');
            let (hit, particle) = (cells.next().unwrap(), cells.next().unwrap().parse::<i64>().unwrap());
            text += &format!("{event},{hit},{}\n", (particle >> 36) & 0xffff);
        }
    }
    text
}

fn scored(folder: &Path, text: &str, more: &[&str]) -> (Value, Outcome) {
    let path = folder.join("submission.csv");
    fs::write(&path, text).unwrap();
    let outcome = cmd("score").arg(path).arg("--truth").arg(folder.join("sim/raw")).args(more).succeeds();
    let value: Value = serde_json::from_str(outcome.stdout.lines().last().unwrap()).unwrap();
    (value["scores"][0].clone(), outcome)
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let outputs = |threads: &str| {
        let command =
            cmd("prepare-data").args(["tracknet", "configs/tracknet/demo/prepare.yaml", "validation_split=0.4"]);
        let command = command.within(root()).args(["--threads", threads, "--raw"]).arg(folder.path().join("sim/raw"));
        command.arg("--out").arg(folder.path().join(threads)).succeeds().manifest()["outputs"].clone()
    };
    let one = outputs("1");
    assert!(one.as_object().unwrap().len() > 5, "{one}");
    assert_eq!(outputs("2"), one);
    assert_eq!(outputs("4"), one);
}

#[test]
fn a_folder_of_plain_and_packed_events_holds_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let raw = folder.path().join("sim/raw");
    let plain = tracks(&prepared(folder.path(), &raw, &["validation_split=0.2"]));
    for part in ["hits", "particles", "truth"] {
        gzip(&raw.join(format!("event000001003-{part}.csv")));
    }
    assert_eq!(tracks(&prepared(folder.path(), &raw, &["validation_split=0.2"])), plain);
}

#[test]
fn an_event_of_a_zip_archive_is_read_in_place() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let raw = folder.path().join("sim/raw");
    let plain = tracks(&prepared(folder.path(), &raw, &["validation_split=0.2"]));
    let script = "import sys, zipfile, os\nz = zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED)\n\
                  [z.write(os.path.join(sys.argv[1], n), 'train_100_events/' + n) for n in sorted(os.listdir(sys.argv[1]))]\nz.close()";
    let archive = folder.path().join("train_sample.zip");
    let made = std::process::Command::new("python3").args(["-c", script]).arg(&raw).arg(&archive).status();
    if !made.is_ok_and(|status| status.success()) {
        return crate::eprintln_skip("no Python that makes a zip archive");
    }
    assert_eq!(tracks(&prepared(folder.path(), &archive, &["validation_split=0.2"])), plain);
    fs::write(folder.path().join("train.tar.gz"), b"x").unwrap();
    let command = cmd("prepare-data").args(["tracknet", "configs/tracknet/demo/prepare.yaml", "--raw"]).within(root());
    let refused = command.arg(folder.path().join("train.tar.gz")).arg("--out").arg(folder.path().join("x")).fails(3);
    refused.says("unpack");
}

#[test]
fn blacklists_may_be_packed_and_a_folder_without_any_is_told() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let raw = folder.path().join("sim/raw");
    let lists = folder.path().join("lists");
    fs::create_dir(&lists).unwrap();
    let with = format!("blacklist_dir={}", lists.display());
    let empty = prepared(folder.path(), &raw, &["validation_split=0.2", &with]);
    let whole = tracks(&empty);
    empty.says("warning:").says("has no blacklist of 5 of the 5 events");
    for event in 1000..1005 {
        let particles = fs::read_to_string(raw.join(format!("event{event:09}-particles.csv"))).unwrap();
        let ids: Vec<&str> = particles.lines().take(12).map(|line| line.split(',').next().unwrap()).collect();
        let path = lists.join(format!("event{event:09}-blacklist_particles.csv"));
        fs::write(&path, ids.join("\n") + "\n").unwrap();
        gzip(&path);
    }
    let left = prepared(folder.path(), &raw, &["validation_split=0.2", &with]);
    assert!(tracks(&left) < whole, "{} of {whole}", tracks(&left));
}

#[test]
fn columns_and_files_that_are_not_needed_may_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let raw = folder.path().join("sim/raw");
    let plain = tracks(&prepared(folder.path(), &raw, &["validation_split=0.2"]));
    let (whole, _) = scored(folder.path(), &perfect(folder.path()), &[]);
    for event in 1000..1005 {
        let cut = |part: &str, keep: &[usize]| {
            let path = raw.join(format!("event{event:09}-{part}.csv"));
            let kept = |line: &str| {
                let cells: Vec<&str> = line.split(',').collect();
                keep.iter().map(|&c| cells[c]).collect::<Vec<_>>().join(",")
            };
            let text: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(kept).collect();
            fs::write(&path, text.join("\n") + "\n").unwrap();
        };
        cut("hits", &[0, 1, 2, 3, 4, 5]);
        cut("particles", &[0, 4, 5, 6]);
        cut("truth", &[0, 1, 8]);
    }
    assert_eq!(tracks(&prepared(folder.path(), &raw, &["validation_split=0.2"])), plain);
    let (cut, _) = scored(folder.path(), &perfect(folder.path()), &[]);
    assert_eq!(cut["trackml_score"], whole["trackml_score"]);
    assert_eq!(cut["thresholds"]["0.5"]["all"], whole["thresholds"]["0.5"]["all"]);
    // Without particles there is the score alone, and no efficiency of 0.
    for event in 1000..1005 {
        fs::remove_file(raw.join(format!("event{event:09}-particles.csv"))).unwrap();
    }
    let (alone, outcome) = scored(folder.path(), &perfect(folder.path()), &[]);
    outcome.says("warning:").says("-particles.csv");
    assert_eq!(alone["trackml_score"], whole["trackml_score"]);
    assert!(alone["thresholds"]["0.5"].is_null());
}

#[test]
fn a_submission_says_what_it_lacks_and_what_is_not_of_the_events() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let perfect = perfect(folder.path());
    let (whole, _) = scored(folder.path(), &perfect, &[]);
    assert!((whole["trackml_score"].as_f64().unwrap() - 1.0).abs() < 1e-4, "{whole}");
    assert_eq!(whole["missing_events"].as_array().unwrap().len(), 0);
    let one: String =
        perfect.lines().filter(|l| !l.starts_with("100") || l.starts_with("1000,")).map(|l| format!("{l}\n")).collect();
    let (part, outcome) = scored(folder.path(), &one, &[]);
    outcome.says("warning:").says("lacks 4 of the 5 events");
    assert_eq!(part["missing_events"].as_array().unwrap().len(), 4);
    assert!((part["trackml_score"].as_f64().unwrap() - 0.2).abs() < 1e-4);
    let all = |v: &Value| v["thresholds"]["0.5"]["all"]["reconstructible"].as_u64().unwrap();
    assert_eq!(all(&part), all(&whole));
    let (two, _) = scored(folder.path(), &perfect, &["--limit", "2"]);
    assert_eq!(two["events"].as_object().unwrap().len(), 2);
    assert!(all(&two) < all(&whole));
    let refused = |text: &str, more: &[&str], said: &str| {
        let path = folder.path().join("submission.csv");
        fs::write(&path, text).unwrap();
        cmd("score").arg(path).arg("--truth").arg(folder.path().join("sim/raw")).args(more).fails(3).says(said);
    };
    refused(&one, &["--cut", "missing_events=refuse"], "lacks 4 of the 5 events");
    refused(&format!("{perfect}1000,999999,1\n"), &[], "has the hit 999999");
    let nameless: String = one.lines().map(|l| format!("{}\n", l.split_once(',').unwrap().1)).collect();
    refused(&nameless, &[], "no column `event_id`");
}

#[test]
fn cuts_are_told_and_classes_can_fill() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let (found, _) = scored(folder.path(), &perfect(folder.path()), &["--cut", "min_pt=null", "--cut", "max_eta=1"]);
    assert_eq!(found["cuts"]["max_eta"], 1.0);
    let at = &found["thresholds"]["0.5"];
    let sum =
        |by: &str| at[by].as_object().unwrap().values().map(|c| c["reconstructible"].as_u64().unwrap()).sum::<u64>();
    let all = at["all"]["reconstructible"].as_u64().unwrap();
    assert!(all > 0);
    for by in ["by_pt", "by_phi", "by_z0", "by_vertex_radius"] {
        assert_eq!(sum(by), all, "{by}");
    }
    assert!(sum("by_eta") > all, "no class is cut by its own variable");
    assert_eq!(found["rules"]["perfect"]["all"]["efficiency"], 1.0);
    let (low, high) = (at["all"]["efficiency_low"].as_f64().unwrap(), at["all"]["efficiency_high"].as_f64().unwrap());
    assert!(low < 1.0 && high == 1.0);
}

#[test]
fn truth_that_is_not_there_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let raw = folder.path().join("sim/raw");
    let submission = folder.path().join("submission.csv");
    fs::write(&submission, perfect(folder.path())).unwrap();
    let truth = raw.join("event000001000-truth.csv");
    let one: String = perfect(folder.path())
        .lines()
        .filter(|l| l.starts_with(['e']) || l.starts_with("1000,"))
        .map(|l| format!("{l}\n"))
        .collect();
    fs::write(&submission, one).unwrap();
    let single = cmd("score").arg(&submission).arg("--truth").arg(&truth).arg("-q").succeeds();
    assert!(single.stdout.contains("\"trackml_score\":"), "{}", single.stdout);
    for event in 1000..1005 {
        fs::remove_file(raw.join(format!("event{event:09}-truth.csv"))).unwrap();
    }
    let refused = cmd("score").arg(&submission).arg("--truth").arg(&raw).fails(3);
    refused.says("holds events without truth");
}
