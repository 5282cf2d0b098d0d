//! Mistakes in events and configs: which file, which row, what was found, what was expected, and the exit code.

use std::fs;
use std::path::Path;

use crate::support::{Outcome, cmd, root};
use crate::{prepare, simulate};

const INPUT: i32 = 3;
const USAGE: i32 = 2;

/// Prepares `folder/sim/raw` after `damage` was done to it, and demands this exit code.
fn prepared(folder: &Path, code: i32, more: &[&str]) -> Outcome {
    let command = cmd("prepare-data").args(["tracknet", "configs/tracknet/demo/prepare.yaml"]).within(root());
    let command = command.args(more).args(["--threads", "1", "--raw"]).arg(folder.join("sim/raw"));
    command.args(["--force", "--out"]).arg(folder.join("bad")).fails(code)
}

/// Replaces one text of a file by another, once.
fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{} has no `{from}`", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// The whole line `number` (from 1).
fn line(path: &Path, number: usize) -> String {
    fs::read_to_string(path).unwrap().lines().nth(number - 1).unwrap().to_string()
}

#[test]
fn damaged_events_are_named_with_their_row() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let raw = folder.path().join("sim/raw");
    let (hits, truth) = (raw.join("event000001003-hits.csv"), raw.join("event000001003-truth.csv"));
    let original = fs::read_to_string(&hits).unwrap();
    let restore = || {
        fs::write(&hits, &original).unwrap();
    };

    edit(&hits, "volume_id", "volume");
    prepared(folder.path(), INPUT, &[]).says("event000001003-hits.csv").says("has no column `volume_id`");
    restore();
    let third = line(&hits, 3);
    let cells: Vec<&str> = third.split(',').collect();
    edit(&hits, &third, &[cells[0], "nan", cells[2], cells[3], cells[4], cells[5], cells[6]].join(","));
    prepared(folder.path(), INPUT, &[]).says("line 3: column `x` is `nan`, expected a finite number");
    restore();
    edit(&hits, &format!("\n{third}\n"), &format!("\n{third}\n{third}\n"));
    prepared(folder.path(), INPUT, &[]).says("line 4: hit 2 stands on line 3 already");
    restore();
    let id = line(&truth, 3).split(',').nth(1).unwrap().to_string();
    if id != "0" {
        edit(&truth, &format!(",{id},"), ",4.5036e15,");
        prepared(folder.path(), INPUT, &[]).says("`particle_id` is `4.5036e15`, expected a 64-bit whole number");
        edit(&truth, ",4.5036e15,", &format!(",{id},"));
    }
    let twin = raw.join("event000001003-truth.csv.gz");
    fs::write(&twin, b"").unwrap();
    prepared(folder.path(), INPUT, &[]).says("event `event000001003` has its truth twice");
    fs::remove_file(&twin).unwrap();
    fs::remove_file(&truth).unwrap();
    prepared(folder.path(), INPUT, &[]).says("event000001003-truth.csv").says("no such file");
}

#[test]
fn particle_ids_beyond_2_to_the_53_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let raw = folder.path().join("sim/raw");
    let mut ids = Vec::new();
    for event in 1000..1005 {
        let text = fs::read_to_string(raw.join(format!("event{event:09}-particles.csv"))).unwrap();
        ids.extend(text.lines().skip(1).map(|l| l.split(',').next().unwrap().parse::<i64>().unwrap()));
    }
    assert!(ids.iter().all(|id| *id > 1 << 52));
    // Two particles that differ in the last bit only: a float would make them one.
    let (particles, truth) = (raw.join("event000001000-particles.csv"), raw.join("event000001000-truth.csv"));
    let (a, b) = (9_007_199_254_740_992_i64, 9_007_199_254_740_993_i64);
    for (old, new) in [(ids[0], a), (ids[1], b)] {
        edit(&particles, &format!("{old},"), &format!("{new},"));
        let text = fs::read_to_string(&truth).unwrap().replace(&format!(",{old},"), &format!(",{new},"));
        fs::write(&truth, text).unwrap();
    }
    let recipe = tracknet::tracks::Recipe { transforms: vec![], filters: tracknet::tracks::Filters::default() };
    let tracks = tracknet::tracks::Tracks::of_event(&raw.join("event000001000"), None, &recipe).unwrap();
    assert_eq!(tracks.particle_id.iter().filter(|id| [a, b].contains(id)).count(), 2);
}

#[test]
fn splits_and_filters_that_leave_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    prepared(folder.path(), USAGE, &["validation_split=0.1"]).says("leaves no validation event of 5").says("hint:");
    prepared(folder.path(), USAGE, &["validation_split=1.0"]).says("leaves no training event of 5");
    prepared(folder.path(), INPUT, &["filters.min_pt=1000"]).says("no training track passes the filters");
    prepared(folder.path(), USAGE, &["filters.min_hits=2"]).says("`filters.min_hits` is 2, expected at least 3");
    let empty = tempfile::tempdir().unwrap();
    let command = cmd("prepare-data").args(["tracknet", "configs/tracknet/demo/prepare.yaml", "--raw"]).within(root());
    command.arg(empty.path()).arg("--out").arg(folder.path().join("x")).fails(INPUT).says("holds no `event*-hits.csv`");
}

#[test]
fn submissions_that_cannot_be_scored_say_why() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let write = |text: &str| {
        let path = folder.path().join("submission.csv");
        fs::write(&path, text).unwrap();
        cmd("score").arg(path).arg("--truth").arg(folder.path().join("sim/raw")).fails(INPUT)
    };
    write("event_id,hit_id,track_id\n1000,1,-1\n").says("line 2: `track_id` is -1, expected a number >= 0");
    write("event_id,hit_id,track_id\n1000,1,1\n1000,1,2\n").says("event 1000: hit 1 has two rows");
    write("event_id,hit_id,track_id\n77,1,1\n").says("has the event 77, of which there is no truth");
    write("event_id,hit\n").says("has no column `hit_id`");
}

#[test]
fn weights_of_something_else_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    prepare(folder.path());
    let event = folder.path().join("data/valid/event000001000.safetensors");
    let command = cmd("predict").arg("configs/tracknet/published/predict.yaml").within(root()).arg("--weights");
    let command = command.arg(event).arg("--data").arg(folder.path().join("sim/raw"));
    command.arg("--out").arg(folder.path().join("x")).fails(INPUT).says("expected are weights of a StepAheadTrackNET");
}

#[test]
fn files_of_an_event_that_do_not_belong_together_are_told() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let raw = folder.path().join("sim/raw");
    let run = |out: &str| {
        let run = cmd("prepare-data").args(["tracknet", "configs/tracknet/demo/prepare.yaml", "--threads", "1"]);
        run.arg("validation_split=0.4")
            .within(root())
            .arg("--raw")
            .arg(&raw)
            .arg("--out")
            .arg(folder.path().join(out))
            .succeeds()
    };
    let sound = run("sound");
    assert!(!sound.stderr.contains("warning"), "{}", sound.stderr);
    // Cut off at the end of a line, as a download or a copy ends.
    for (part, told) in [
        ("truth", "hits have no row in the truth"),
        ("particles", "of particles that the particles file lacks"),
        ("hits", "of hits that the hits file lacks"),
    ] {
        let path = raw.join(format!("event000001003-{part}.csv"));
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        fs::write(&path, format!("{}\n", lines[..lines.len() * 2 / 3].join("\n"))).unwrap();
        run(part).says("do not belong together or are cut off, `event000001003` first").says(told);
        fs::write(&path, &text).unwrap();
    }
    // In the middle of a row.
    let path = raw.join("event000001003-hits.csv");
    let text = fs::read_to_string(&path).unwrap();
    let end = text.trim_end().rfind(',').unwrap();
    fs::write(&path, &text[..end]).unwrap();
    prepared(folder.path(), INPUT, &[]).says("the last row has 6 fields, the header 7");
    fs::write(&path, &text).unwrap();
    // Copies, events without hits, names that are no events.
    fs::copy(&path, raw.join("event000001003-hits (1).csv")).unwrap();
    fs::copy(&path, raw.join("event000001003_copy-hits.csv")).unwrap();
    fs::rename(raw.join("event000001004-hits.csv"), raw.join("event000001004-hits.csv.part")).unwrap();
    let made = run("left");
    assert_eq!(made.manifest()["metrics"]["events"], 4);
    made.says("hits (1).csv").says("event000001003_copy").says("event000001004").says("an unfinished download");
}

#[test]
fn what_the_network_at_hand_does_not_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    prepare(folder.path());
    let at = |name: &str| folder.path().join(name);
    let map = at("map.npz");
    let density = |voxel: &str| {
        cmd("hit-density")
            .arg("--data-dir")
            .arg(at("sim/raw"))
            .args(["--voxel-size", voxel, "--output"])
            .arg(&map)
            .succeeds();
    };
    density("200");
    let train = || {
        let run =
            cmd("train-model").args(["configs/tracknet/demo/step_ahead.yaml", "tracker.gaps=0.5", "--threads", "1"]);
        let run = run.args(crate::SHORT).arg(format!("hit_density_stats_path={}", map.display())).within(root());
        run.arg("--from").arg(at("data")).arg("--out").arg(at("run"))
    };
    let trained = train().succeeds();
    assert!(trained.manifest()["inputs"]["hit_density"].is_object(), "{}", trained.stdout);
    trained.says("`tracker` is read by the tracker alone");
    // Another map is another run, whose figures do not mix with those of the first.
    fs::remove_file(at("run/stage.json")).unwrap();
    density("100");
    train().fails(USAGE).says("another config or from other data");
    density("200");
    train().succeeds();
    let predict = |more: &str| {
        let run = cmd("predict").arg("--from").arg(at("run")).args(["--threads", "1", "--force", more]);
        run.arg("--out").arg(at("p")).succeeds()
    };
    predict("search.max_z0=30").says("`search` is read by the tracker alone");
    predict("batch_size=3").says("`batch_size` is read for `next_hits` alone");
    assert!(!predict("build.beam=3").stderr.contains("alone"));
}
