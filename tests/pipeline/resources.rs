//! What the pipelines of the repository ask of a cluster.

use std::path::PathBuf;

use crate::support::{cmd, root};

/// The rules of an exported Snakefile, by name.
fn rules(pipeline: &PathBuf) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Snakefile");
    let run = cmd("run-pipeline").arg(pipeline).args(["--export", "snakemake", "--out"]).arg(&file).within(root());
    run.succeeds();
    let text = std::fs::read_to_string(&file).unwrap();
    let rules = text.split("\nrule ").skip(1).filter_map(|rule| rule.split_once(':'));
    let rules = rules.filter(|(name, _)| *name != "all").map(|(name, body)| (name.to_string(), body.to_string()));
    rules.collect()
}

fn number(rule: &str, name: &str) -> u64 {
    let value = rule.split(&format!("{name}=")).nth(1).unwrap_or_else(|| panic!("no {name} in {rule}"));
    value.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

#[test]
fn every_stage_of_every_pipeline_states_its_resources_and_those_that_train_ask_for_a_gpu() {
    let mut pipelines: Vec<PathBuf> =
        std::fs::read_dir(root().join("pipelines")).unwrap().flatten().map(|e| e.path()).collect();
    pipelines.retain(|path| path.join("dvc.yaml").is_file());
    assert!(pipelines.len() >= 15, "{pipelines:?}");
    let mut trained = 0;
    for pipeline in pipelines {
        let text = std::fs::read_to_string(pipeline.join("dvc.yaml")).unwrap();
        let stages = text.lines().filter(|line| line.trim_start().starts_with("cmd:")).count();
        let stated = text.lines().filter(|line| line.trim_start().starts_with("meta: {")).count();
        assert!(stated >= stages, "{}: {stages} stages, {stated} of them state what they need", pipeline.display());
        for (name, rule) in rules(&pipeline) {
            let at = format!("{}: rule {name}: {rule}", pipeline.display());
            assert!(number(&rule, "mem_mb") >= 100 && number(&rule, "runtime") >= 5, "{at}");
            // TrackNET's networks are small: its pipeline trains on the CPU.
            let trains = rule.contains("train-model") || rule.contains("finetune-group");
            let small = rule.contains("configs/tracknet");
            assert_eq!(number(&rule, "gpu"), u64::from((trains || rule.contains("predict ")) && !small), "{at}");
            trained += usize::from(trains);
        }
    }
    assert!(trained > 20, "{trained} stages train");
}

#[test]
fn gpus_threads_and_tasks_of_a_stage_reach_the_snakefile() {
    let folder = tempfile::tempdir().unwrap();
    let stage = "stages:\n  a:\n    cmd: srun -n 2 train-model c.yaml\n    meta: {gpu: 2, mem_mb: 700, threads: 3, runtime: 9, tasks: 2}\n";
    common::durable::write(folder.path().join("dvc.yaml"), stage.as_bytes()).unwrap();
    let found = rules(&folder.path().to_path_buf());
    let rule = &found[0].1;
    for (name, value) in [("gpu", 2), ("mem_mb", 700), ("runtime", 9), ("tasks", 2)] {
        assert_eq!(number(rule, name), value, "{rule}");
    }
    assert!(rule.contains("threads: 3"), "{rule}");
}
