//! What the pipelines of the repository ask of a cluster.

use std::path::PathBuf;

use crate::project::Project;
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
        let stated = text.lines().filter(|line| line.trim_start().starts_with("meta:")).count();
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
fn an_estimate_tells_what_a_run_takes_and_refuses_what_no_disk_holds() {
    let stages = "stages:\n  make:\n    cmd: cat raw raw > made\n    deps: [raw]\n    outs: [made]\n    meta: {mem_mb: 700, runtime: 9}\n  \
                  use:\n    cmd: cp made used\n    deps: [made]\n    outs: [used]\n";
    let project = Project::new(&[("dvc.yaml", stages), ("raw", &"x".repeat(600))]);
    let estimate =
        || -> serde_json::Value { serde_json::from_str(&project.run(&[".", "--estimate", "--json"]).stdout).unwrap() };
    // Never run: what the pipeline states is a bound, the rest is unknown.
    let first = estimate();
    assert_eq!(first["without_record"], 2);
    let make = &first["stages"][0];
    assert_eq!((&make["inputs"], &make["input_bytes"]), (&serde_json::json!([1, 1]), &600.into()));
    assert_eq!((&make["memory_at_most"], &make["seconds_at_most"]), (&700_000_000.into(), &540.0.into()));
    assert!(make.get("writes").is_none() && make.get("seconds").is_none());
    project.run(&["."]).says("make");
    assert!(project.at("used").is_file());
    let table = project.run(&[".", "--estimate"]).stdout;
    assert!(table.ends_with("nothing to run: all 2 stages are up to date\n") && !table.contains("-0"), "{table}");
    project.write("raw", &"y".repeat(500));
    let second = estimate();
    assert_eq!((&second["without_record"], &second["stages"][0]["writes"]), (&0.into(), &1200.into()));
    assert_eq!(second["stages"][1]["there"], 1200);
    let disk = &second["disks"][0];
    assert!(disk["needed"] == 0 && disk["free"].as_u64().unwrap() > 0, "what lies there makes room: {disk}");
    assert!(second["seconds"].as_f64().unwrap() >= second["seconds_longest_chain"].as_f64().unwrap());
    let table = project.run(&[".", "--estimate"]).stdout;
    assert!(table.contains("2 of 2 stages would run") && table.contains("1.2 kB"), "{table}");
    // A record of a run that wrote more than any disk has.
    let record = std::fs::read_dir(project.at(".podium/runs")).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&record).unwrap().replace("\"bytes\": 1200", "\"bytes\": 900000000000000000");
    common::durable::write(&record, text.as_bytes()).unwrap();
    let refused = cmd("run-pipeline").args([".", "--estimate"]).within(project.path()).fails(1);
    refused.says("TB would be written").says("are free");
    assert!(project.read("made").starts_with('x'), "nothing ran");
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
