//! The exported Snakefile under `snakemake` 9.27.1. Installs snakemake where it is not there yet.

use crate::project::Project;
use crate::small::{self, BLEND, PINS};
use crate::support::cmd;
use crate::tools::{self, Tool, checked};

pub const PIPELINE: &str = "\
stages:
  prepare:
    cmd: mkdir -p data && seq 5 > data/rows.txt && echo '{a} ${HOME}' | sed 's/ .*//' > data/braces.txt
    outs: [data/: {cache: false}]
  part:
    foreach: [1, 2, 3]
    do:
      cmd:
      - awk '{ s += $1 * ${item} } END { print s }' data/rows.txt > part${item}.txt
      - echo \"it's\" >> part${item}.txt
      deps: [data/rows.txt]
      params: [seed]
      outs:
      - part${item}.txt: {cache: false}
      meta: {mem_mb: 100, threads: 1, runtime: 5}
  sum:
    cmd: cat part1.txt part2.txt part3.txt data/braces.txt > sum.txt
    deps: [part1.txt, part2.txt, part3.txt, data/braces.txt]
    outs: [sum.txt: {cache: false}]
";

/// The pipeline, and what its last file holds after a run of `run-pipeline` itself.
pub fn project() -> (Project, String) {
    let pipeline = PIPELINE.replace("${HOME}", "home");
    let files = [("dvc.yaml", pipeline.as_str()), ("params.yaml", "seed: 1\n")];
    let reference = Project::new(&files);
    reference.run(&["-q"]);
    let expected = reference.read("sum.txt");
    assert_eq!(expected, "15\nit's\n30\nit's\n45\nit's\n{a}\n");
    (Project::new(&files), expected)
}

fn snakemake(tool: &Tool, project: &Project, args: &[&str]) -> String {
    let output = tool.command("snakemake", project.path()).args(args).output().unwrap();
    checked(&output, &format!("snakemake {}", args.join(" ")));
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn the_exported_pipeline_runs_under_snakemake_with_the_same_results() {
    let Some(tool) = tools::snakemake() else { return };
    let (project, expected) = project();
    project.run(&["--export", "snakemake", "--out", "Snakefile"]);
    let text = project.read("Snakefile");
    assert!(!text.contains(&*project.path().to_string_lossy()), "an absolute path:\n{text}");
    assert!(text.contains("mem_mb=100") && text.contains("runtime=5") && text.contains("gpu=0"), "{text}");
    assert!(text.contains("directory(\"data\")") && text.find("rule all:") < text.find("rule prepare:"), "{text}");
    let plan = snakemake(&tool, &project, &["-n"]);
    assert!(plan.contains("part_3"), "{plan}");
    snakemake(&tool, &project, &["--cores", "2"]);
    assert_eq!(project.read("sum.txt"), expected);
    let again = snakemake(&tool, &project, &["--cores", "2"]);
    assert!(again.contains("Nothing to be done"), "{again}");
}

#[test]
fn the_blend_pipeline_runs_under_snakemake_with_the_bytes_of_run_pipeline() {
    let Some(tool) = tools::snakemake() else { return };
    let [ours, theirs] = [(); 2].map(|()| {
        let project = Project::new(&[]);
        small::copy_into(project.path());
        project
    });
    let ran = cmd("run-pipeline").args(["pipelines/leap-blend", "-q", "-j", "2", "--gpus", "2"]).within(ours.path());
    PINS.into_iter().fold(ran, |command, (name, value)| command.env(name, value)).succeeds();
    theirs.run(&["pipelines/leap-blend", "--export", "snakemake", "--out", "Snakefile"]);
    let plan = snakemake(&tool, &theirs, &["-n"]);
    assert!(plan.contains("leap_max2020_finetune_max022"), "{plan}");
    let output = tool.command("snakemake", theirs.path()).args(["--cores", "2"]).envs(PINS).output().unwrap();
    checked(&output, "snakemake --cores 2");
    let blend = |project: &Project| common::durable::hash_file(project.at(BLEND)).unwrap().blake3;
    assert_eq!(blend(&ours), blend(&theirs));
}
