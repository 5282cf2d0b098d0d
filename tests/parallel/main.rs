//! Training by several processes on the loopback: what it equals, what it survives, what it refuses.

#[path = "../support/stand_in.rs"]
mod stand_in;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/training.rs"]
mod training;

mod gpu;
mod systems;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Cmd, Outcome, binary, cmd};
use training::{results, strays, workshop};

/// Max2020's 022, narrow: no dropout and no statistics over the batch, so shares of a batch add up to the whole.
const CONFIG: &str = "\
system: leap
member: shared
seed: 5
model:
  max022: {hidden_state: 8, num_lstm: 2}
rows: {index: false}
loss: {beta: 0.5, differences_in_validation: true}
val_batch_size: 16
training:
  epochs: 2
  batch_size: 8
  max_grad_norm: 9
  learning_rate: 1.0e-3
  optimizer: {adam_w: {}}
  checkpoint: {every_steps: 3}
  print_freq: 1
";

const ARGS: [&str; 7] = ["--from", "data", "-q", "--threads", "1", "--device=cpu", "--out"];

/// `train-model` by `n` processes into `out`.
fn together(n: usize, out: &Path) -> Cmd {
    common::durable::write(out.join("shared.yaml"), CONFIG.as_bytes()).unwrap();
    let run = cmd("train-model").arg(out.join("shared.yaml")).arg(format!("--nproc={n}")).args(ARGS);
    run.arg(out.join("run")).within(workshop())
}

fn started(n: usize, out: &Path) -> Child {
    common::durable::write(out.join("shared.yaml"), CONFIG.as_bytes()).unwrap();
    let mut command = Command::new(binary("train-model"));
    command.arg(out.join("shared.yaml")).arg(format!("--nproc={n}")).args(ARGS).arg(out.join("run"));
    command.env_remove("RUST_BACKTRACE").current_dir(workshop()).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !out.join("run/checkpoints/last/manifest.json").exists() {
        if child.try_wait().unwrap().is_some() {
            panic!("{}", std::io::read_to_string(child.stderr.take().unwrap()).unwrap());
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "no checkpoint after two minutes");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

/// The processes of a run by rank: its children.
fn ranks(parent: &Child) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.id())).unwrap();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn kill(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

fn losses(folder: &Path) -> Vec<(f64, f64)> {
    let text = fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let steps = rows.filter(|row| row.get("train/batch_loss").is_some());
    steps.map(|r| (r["train/batch_loss"].as_f64().unwrap(), r["train/gradient_norm"].as_f64().unwrap())).collect()
}

#[test]
fn two_processes_train_as_one() {
    let (one, two, three) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let alone = together(1, one.path()).succeeds().manifest();
    let both = together(2, two.path()).succeeds().manifest();
    // A batch of 8 cut in three shares of different length.
    together(3, three.path()).succeeds();
    let expected = losses(one.path());
    assert!(expected.len() >= 20, "{expected:?}");
    for found in [losses(two.path()), losses(three.path())] {
        assert_eq!(found.len(), expected.len());
        for (step, (a, b)) in expected.iter().zip(&found).enumerate() {
            assert!((a.0 - b.0).abs() <= 1e-5 * a.0.abs(), "loss of step {step}: {a:?} {b:?}");
            assert!((a.1 - b.1).abs() <= 1e-4 * a.1.abs(), "gradient norm of step {step}: {a:?} {b:?}");
        }
    }
    let r2 = |manifest: &serde_json::Value| manifest["metrics"]["r2"].as_f64().unwrap();
    assert!((r2(&alone) - r2(&both)).abs() < 1e-4, "{alone} {both}");
}

#[test]
fn the_same_seed_and_number_of_processes_give_the_same_bytes() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    together(2, first.path()).succeeds();
    together(2, second.path()).succeeds();
    assert_eq!(results(&first.path().join("run")), results(&second.path().join("run")));
}

#[test]
fn a_killed_rank_ends_the_others_and_the_run_goes_on_to_the_same_bytes() {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    together(2, whole.path()).succeeds();
    for rank in [0, 1] {
        let mut child = started(2, killed.path());
        kill(ranks(&child)[rank], "-KILL");
        let since = Instant::now();
        let code = child.wait().unwrap().code();
        let text = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("was killed by signal 9") || text.contains("lost the others"), "{text}");
        assert!(!killed.path().join("run/stage.json").exists());
        if rank == 0 {
            // The checkpoint stays; only its waiting loop of the test needs another one.
            fs::remove_dir_all(killed.path().join("run/checkpoints/last")).unwrap();
        }
    }
    together(2, killed.path()).succeeds();
    assert_eq!(results(&whole.path().join("run")), results(&killed.path().join("run")));
    assert!(strays(killed.path()).is_empty());
}

#[test]
fn an_interruption_reaches_all_processes_and_is_saved() {
    let (whole, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    together(2, whole.path()).succeeds();
    let mut child = started(2, stopped.path());
    kill(child.id(), "-TERM");
    let code = child.wait().unwrap().code();
    let text = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert_eq!(code, Some(130), "{text}");
    assert!(text.contains("--resume auto"), "{text}");
    together(2, stopped.path()).succeeds();
    assert_eq!(results(&whole.path().join("run")), results(&stopped.path().join("run")));
}

#[test]
fn another_number_of_processes_does_not_resume_a_run() {
    let out = tempfile::tempdir().unwrap();
    let mut child = started(2, out.path());
    kill(child.id(), "-TERM");
    child.wait().unwrap();
    together(3, out.path()).fails(2).says("another config");
}

/// One rank by hand, as `torchrun` and `srun` start it.
fn rank(rank: usize, address: &str, port: u16, seed: u64, out: &Path) -> Cmd {
    let config = out.join(format!("rank{rank}.yaml"));
    common::durable::write(&config, CONFIG.replace("seed: 5", &format!("seed: {seed}")).as_bytes()).unwrap();
    let run = cmd("train-model").arg(config).args(["--rank-timeout", "10"]).args(ARGS).arg(out.join("run"));
    let run = run.env("RANK", rank.to_string()).env("WORLD_SIZE", "2").env("LOCAL_RANK", rank.to_string());
    run.env("MASTER_ADDR", address).env("MASTER_PORT", port.to_string()).within(workshop())
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn side_by_side(a: Cmd, b: Cmd) -> (Outcome, Outcome) {
    std::thread::scope(|scope| {
        let a = scope.spawn(|| a.run());
        let b = b.run();
        (a.join().unwrap(), b)
    })
}

#[test]
fn ranks_started_from_outside_train_and_one_of_them_speaks() {
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    together(2, inside.path()).succeeds();
    let port = free_port();
    let out = outside.path();
    let (first, second) = side_by_side(rank(0, "127.0.0.1", port, 5, out), rank(1, "127.0.0.1", port, 5, out));
    assert_eq!((first.code, second.code), (Some(0), Some(0)), "{}{}", first.stderr, second.stderr);
    assert_eq!(first.manifest()["stage"], "train-model");
    assert_eq!((second.stdout.as_str(), second.stderr.as_str()), ("", ""));
    assert_eq!(results(&inside.path().join("run")), results(&out.join("run")));
}

#[test]
fn ranks_that_disagree_refuse_to_start() {
    let out = tempfile::tempdir().unwrap();
    let port = free_port();
    let (first, second) =
        side_by_side(rank(0, "127.0.0.1", port, 5, out.path()), rank(1, "127.0.0.1", port, 6, out.path()));
    assert_eq!((first.code, second.code), (Some(2), Some(2)), "{}{}", first.stderr, second.stderr);
    assert!(first.stderr.contains("do not agree on the config"), "{}", first.stderr);
}

#[test]
fn a_missing_rank_and_a_wrong_address_end_in_a_clear_message() {
    let out = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let port = free_port();
    let alone = rank(0, "127.0.0.1", port, 5, out.path());
    let text = alone.fails(1).stderr;
    assert!(text.contains(&format!("rank 0 of 2 waited 10 s for the others at 127.0.0.1:{port}")), "{text}");
    let text = rank(1, "127.0.0.1", free_port(), 5, out.path()).fails(1).stderr;
    assert!(text.contains("rank 1 of 2 waited 10 s for the others"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());
}
