//! LEAP's arrays a job a month: the shipped pipelines on three small months, here, under Snakemake, and on Slurm (`slurm`).

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::project::Project;
use crate::support::{cmd, root};
use crate::tools::{self, checked};

const SIMULATE: &str = "system: leap\nseed: 5\ncolumns: 3\nmonths: [{months: [0001-02..0001-04], days: 1, step_stride: 12}]\nformat: cdf5\n\
                        kaggle: {test_months: [0009-02], test_rows: 6, train_rows: 0}\n";
const SIZES: &str = "\
simulate: {}
prepare: prepare_months.yaml
prepare_month: prepare.yaml
months: [0001-02, 0001-03, 0001-04]
month_raw: raw
month_flags: --from raw
month_data: months
raw: months
raw_flags: --from raw
disk_mb: {data: 100}
data: data
rehearse: null
";

/// What one run prepares, and what the last of several prepares with `train` of its own.
fn config(train: &str) -> String {
    format!(
        "system: leap\nchains: [a, b]\nnormalisation: given\ntrain: {train}\n\
         valid: {{netcdf: {{months: [0001-04], stride: 2, table: false}}}}\nindex: {{draw: {{months: [0001-02..0001-03]}}}}\ntest: {{csv: test.csv}}\n"
    )
}

/// The shipped pipelines with small sizes and their raw data.
pub fn project() -> Project {
    let shipped = |name: &str| fs::read_to_string(root().join("pipelines").join(name)).unwrap();
    let (months, data) = (shipped("leap-months/dvc.yaml"), shipped("leap-data/dvc.yaml"));
    let (whole, joined) = (config("{netcdf: {months: [0001-02..0001-04]}}"), config("{prepared: {folder: months}}"));
    let project = Project::new(&[
        ("pipelines/leap-months/dvc.yaml", &months),
        ("pipelines/leap-data/dvc.yaml", &data),
        ("pipelines/leap.yaml", SIZES),
        ("simulate.yaml", SIMULATE),
        ("prepare.yaml", &whole),
        ("prepare_months.yaml", &joined),
    ]);
    cmd("simulate-data").args(["leap", "simulate.yaml", "--out", "raw", "-q"]).within(project.path()).succeeds();
    project
}

/// Hashes of the arrays of a finished stage, by name.
fn arrays(folder: &Path) -> Vec<(String, String)> {
    let manifest: Value = serde_json::from_str(&fs::read_to_string(folder.join("stage.json")).unwrap()).unwrap();
    let outputs = manifest["outputs"].as_object().unwrap().iter();
    let own = outputs.filter(|(name, _)| name.starts_with("a/") || name.starts_with("b/"));
    own.map(|(name, output)| (name.clone(), output["blake3"].as_str().unwrap().to_string())).collect()
}

/// The joined store holds what one run prepares, and its months take no room of their own.
pub fn check(project: &Project) {
    use std::os::unix::fs::MetadataExt;

    let whole = ["leap", "prepare.yaml", "--from", "raw", "--out", "whole", "-q", "--force"];
    cmd("prepare-data").args(whole).within(project.path()).succeeds();
    let (expected, found) = (arrays(&project.at("whole")), arrays(&project.at("data")));
    assert_eq!(found, expected);
    assert!(
        found.iter().any(|(name, _)| name == "b/train_01_03") && found.iter().any(|(name, _)| name == "a/v3_index")
    );
    let inode = |name: &str| fs::metadata(project.at(name)).unwrap().ino();
    assert_eq!(inode("data/a/train_01_03.safetensors"), inode("months/0001-03/a/train_01_03.safetensors"));
}

#[test]
fn months_that_jobs_prepared_side_by_side_are_the_arrays_of_one_run() {
    let project = project();
    let ran = project.ran(&["pipelines/leap-data", "-j", "3"]);
    assert_eq!(ran.len(), 4, "{ran:?}");
    check(&project);
    assert_eq!(project.ran(&["pipelines/leap-data"]), Vec::<String>::new());
    // One month is missing, one is there twice, one was normalised otherwise.
    let again =
        || cmd("prepare-data").args(["leap", "prepare_months.yaml", "--from", "raw", "--force", "--out", "again"]);
    let again = || again().within(project.path());
    again().succeeds();
    let copy = ["leap", "prepare.yaml", "train.netcdf.months=[0001-02]", "valid=null", "index=null", "test=null"];
    let copy =
        || cmd("prepare-data").args(copy).args(["--from", "raw", "-q", "--out", "months/twice"]).within(project.path());
    copy().succeeds();
    again().fails(3).says("which is in").says("already");
    fs::remove_dir_all(project.at("months/twice")).unwrap();
    common::durable::write(project.at("months/0001-03/a/train_01_03.safetensors"), b"x").unwrap();
    again().fails(3).says("train_01_03.safetensors");
}

#[test]
fn the_snakefile_of_months_has_a_job_each_with_its_memory_time_and_disk() {
    let project = project();
    project.run(&["pipelines/leap-data", "--export", "snakemake", "--out", "Snakefile"]);
    let text = project.read("Snakefile");
    assert_eq!(text.matches("train.netcdf.months=[0001-0").count(), 3, "{text}");
    for figure in ["mem_mb=2000", "runtime=120", "disk_mb=7000", "threads: 2"] {
        assert_eq!(text.matches(figure).count(), 3 + usize::from(figure == "mem_mb=2000"), "{figure}: {text}");
    }
    let Some(tool) = tools::snakemake() else { return };
    let mut snakemake = tool.command("snakemake", project.path());
    checked(&snakemake.args(["--cores", "2"]).output().unwrap(), "snakemake");
    check(&project);
}
