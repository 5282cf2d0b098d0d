//! Where and when rows are, and the step before them: prepared, as inputs of networks, as what they learn, and in scores; grids
//! of other resolutions; several data sets in one training. Figures beside NumPy's and netCDF4-python's.

use std::path::{Path, PathBuf};
use std::process::Command;

use common::store::tensors::TensorFile;
use leap::dataset::{Dataset, Extras, place_numbers};
use leap::prepare::places::WIDTH;
use tempfile::TempDir;

use crate::support::{Cmd, cmd, root};
use crate::tools::Tool;
use crate::train;

const SIMULATE: &str = "\
system: leap
seed: 3
columns: 6
months:
  - {months: [0001-02], days: 1, step_stride: 1}
  - {months: [0008-07], days: 1, step_stride: 1}
format: cdf5
kaggle: {test_months: [0009-02], test_rows: 8, train_rows: 0}
";

const PREPARE: &str = "\
system: leap
chains: [b]
previous: true
train: {netcdf: {months: [0001-02], stride: 1}}
valid: {netcdf: {months: [0008-07], stride: 7, table: false}}
test: {csv: test.csv}
";

/// A folder with `raw` and `data`: steps of 20 minutes, and which one is before each.
fn workshop() -> &'static Path {
    static WORKSHOP: std::sync::OnceLock<TempDir> = std::sync::OnceLock::new();
    let made = WORKSHOP.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("simulate.yaml", SIMULATE), ("prepare.yaml", PREPARE)] {
            common::durable::write(folder.path().join(name), text.as_bytes()).unwrap();
        }
        let simulate = ["leap", "simulate.yaml", "--out", "raw", "-q", "--limit", "16"];
        cmd("simulate-data").args(simulate).within(folder.path()).succeeds();
        prepare(folder.path(), "data").succeeds();
        folder
    });
    made.path()
}

fn prepare(folder: &Path, out: &str) -> Cmd {
    cmd("prepare-data").args(["leap", "prepare.yaml", "--from", "raw", "-q", "--out", out]).within(folder)
}

fn python(tool: &Tool, args: &[&str]) -> String {
    let script = root().join("tests/leap/places.py");
    let output =
        Command::new(tool.program("python")).arg(script).args(args).env_remove("LD_LIBRARY_PATH").output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn steps_without_the_one_before_are_left_out_and_named_and_the_others_know_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = PREPARE.replace("stride: 7", "stride: 1");
    common::durable::write(folder.path().join("prepare.yaml"), text.as_bytes()).unwrap();
    std::os::unix::fs::symlink(workshop().join("raw"), folder.path().join("raw")).unwrap();
    let args = ["leap", "prepare.yaml", "--from", "raw", "--out", "data"];
    let done = cmd("prepare-data").args(args).within(folder.path()).succeeds();
    done.says("left out: `").says("E3SM-MMF.mli.0001-02-01-00000.nc`: the step before it is not there");
    let file = TensorFile::open(folder.path().join("data/b/train_01_02.safetensors")).unwrap();
    // 16 steps of 6 columns, the first of which has no predecessor.
    assert_eq!(file.shape("inputs").unwrap()[0], 15 * 6);
    assert_eq!(file.i64("previous").unwrap()[..7], [-1, -2, -3, -4, -5, -6, 0]);
    assert_eq!(file.shape("earlier").unwrap(), [6, 720]);
    // Where steps lie too far apart there is none before any.
    let text = SIMULATE.replace("step_stride: 1", "step_stride: 2");
    common::durable::write(folder.path().join("simulate.yaml"), text.as_bytes()).unwrap();
    let simulate = ["leap", "simulate.yaml", "--out", "far", "-q", "--limit", "3"];
    cmd("simulate-data").args(simulate).within(folder.path()).succeeds();
    let far = cmd("prepare-data").args(["leap", "prepare.yaml", "--from", "far", "--out", "none"]);
    far.within(folder.path()).fails(3).says("no step of `train_01_02` has the step").says("previous=false");
}

#[test]
fn prepared_places_and_steps_before_are_those_of_numpy() {
    let Some(tool) = crate::tools::netcdf() else { return };
    let raw = workshop().join("raw/raw");
    for (name, stride) in [("train_01_02", "1"), ("valid", "7")] {
        let array = workshop().join(format!("data/b/{name}.safetensors"));
        let said = python(&tool, &["arrays", raw.to_str().unwrap(), array.to_str().unwrap(), stride]);
        assert!(said.starts_with(&format!("{name}.safetensors: ")), "{said}");
    }
}

#[test]
fn what_networks_are_told_beside_the_inputs_is_what_the_arrays_say() {
    let path = workshop().join("data/b/valid.safetensors");
    let file = TensorFile::open(&path).unwrap();
    let extras =
        Extras { latitude: true, time: true, previous_states: true, previous_tendencies: true, target_places: true };
    let files = [("valid".to_string(), path.clone())];
    let data = Dataset::open_with(&files, None, extras).unwrap();
    assert_eq!(data.widths(), [556 + 6 + 720, 368 + 8]);
    let rows: Vec<u64> = (0..data.rows()).collect();
    let (mut inputs, mut targets) = (vec![0.0; rows.len() * 1282], vec![0.0; rows.len() * 376]);
    data.gather(&rows, &mut inputs, &mut targets).unwrap();
    let places = file.f32("places").unwrap();
    let mut sums = [0.0; 8];
    for (row, (x, y)) in inputs.chunks(1282).zip(targets.chunks(376)).enumerate() {
        let numbers = place_numbers(&places[row * WIDTH..(row + 1) * WIDTH]);
        assert_eq!((&x[556..558], &x[558..562]), (&numbers[..2], &numbers[4..]));
        assert_eq!(y[368..], numbers);
        let before = (-1 - file.i64("previous").unwrap()[row]) as usize;
        assert_eq!(x[562..], file.f32("earlier").unwrap()[before * 720..(before + 1) * 720]);
        sums.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += f64::from(x));
    }
    if let Some(tool) = crate::tools::netcdf() {
        let theirs: Vec<f64> = serde_json::from_str(&python(&tool, &["loss", path.to_str().unwrap()])).unwrap();
        assert!(theirs.iter().zip(sums).all(|(a, b)| (a - b).abs() < 1e-4), "{theirs:?} {sums:?}");
    }
}

const NARROW: [&str; 9] = [
    "model.squeezeformer.dim=8",
    "model.squeezeformer.head_dim=16",
    "model.squeezeformer.blocks=1",
    "model.squeezeformer.heads=2",
    "training.epochs=1",
    "model.squeezeformer.features.latitude=true",
    "model.squeezeformer.features.time=true",
    "model.squeezeformer.features.previous_states=true",
    "model.squeezeformer.features.previous_tendencies=true",
];

#[test]
fn a_network_that_is_told_and_learns_where_it_is_trains_and_is_scored_by_latitude() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let places = ["model.squeezeformer.places=true", "loss.places=0.1"];
    let run = |more: &[&str]| train("first/squeezeformer.yaml", &NARROW, &at("run")).args(more).within(workshop());
    run(&["loss.places=0.1"]).fails(2).says("model.squeezeformer.places");
    run(&["model.squeezeformer.places=true"]).fails(2).says("loss.places");
    run(&places).succeeds();

    // Kaggle's rows say neither where they are nor what was before.
    let predict = cmd("predict").args(["-q", "--threads=1", "--device=cpu", "--from"]).arg(at("run"));
    predict.arg("--out").arg(at("none")).within(workshop()).fails(3).says("score --truth DATA RUN");
    // Nor do arrays that were prepared without.
    let plain = crate::training::workshop();
    train("first/squeezeformer.yaml", &NARROW, &at("plain")).within(plain).fails(3).says("previous=true");

    let table = at("zonal.csv");
    let score = || cmd("score").arg("--truth").arg(workshop().join("data")).args(["-q", "--threads=1"]).arg(at("run"));
    score().arg("--zonal").arg(&table).arg("--out").arg(at("scores")).succeeds();
    let page = std::fs::read_to_string(at("scores/report.html")).unwrap();
    assert!(page.contains("Latitudes") && page.contains("by latitude"));
    let charts: Vec<PathBuf> =
        std::fs::read_dir(at("scores/plots")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let drawn = |end: &str| {
        charts.iter().filter(|p| p.to_string_lossy().contains("latitude")).any(|p| p.to_string_lossy().ends_with(end))
    };
    assert!(drawn(".csv") && drawn(".svg"), "{charts:?}");
    if let Some(tool) = crate::tools::netcdf() {
        let truth = workshop().join("data/b/valid.safetensors");
        let oof = at("run/oof.safetensors");
        python(&tool, &["zonal", truth.to_str().unwrap(), oof.to_str().unwrap(), table.to_str().unwrap()]);
    }
    // Tables of ids say no places.
    let truth = workshop().join("raw/truth/solution.parquet");
    let tables = cmd("score").arg("--truth").arg(&truth).arg(&truth).arg("--zonal").arg(&table);
    tables.fails(3).says("does not say where its rows are");
}

#[test]
fn raw_files_of_other_grids_are_prepared_and_several_data_sets_train_one_network() {
    let Some(tool) = crate::tools::netcdf() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // The published high resolution has 21,600 columns without any order; a planet of water has the columns of the low one.
    for (name, columns, kind) in [("high", 21_600, "earth"), ("aqua", 384, "aqua"), ("odd", 50, "earth")] {
        python(&tool, &["raw", at(name).to_str().unwrap(), &columns.to_string(), kind]);
        if name == "odd" {
            let grid = at("odd/ClimSim_earth_50_grid-info.nc");
            common::durable::write(at("grid.nc"), &std::fs::read(&grid).unwrap()).unwrap();
            std::fs::remove_file(grid).unwrap();
        }
        let run = |out: &str, more: &[&str]| {
            let sets = [
                "chains=[b]",
                "train={netcdf: {months: [0001-02]}}",
                "valid={netcdf: {months: [0001-02]}}",
                "test=null",
            ];
            let config = root().join("configs/leap/adam/prepare.yaml");
            let command = cmd("prepare-data").arg("leap").arg(config).args(sets).args(["index=null", "-q", "--raw"]);
            command.arg(at(name)).args(more).arg("--out").arg(at(out))
        };
        run(&format!("{name}_data"), &[]).succeeds();
        let file = TensorFile::open(at(&format!("{name}_data/b/train_01_02.safetensors"))).unwrap();
        assert_eq!(file.shape("inputs").unwrap(), [2 * columns, 556], "{name}");
        // Without a grid of 50 columns nobody knows where they are; another grid is refused.
        assert_eq!(file.contains("places"), name != "odd", "{name}");
        if name == "odd" {
            let grid = format!("raw.grid={}", at("grid.nc").display());
            run("odd_there", &[&grid]).succeeds();
            let file = TensorFile::open(at("odd_there/b/valid.safetensors")).unwrap();
            let latitude: Vec<f32> = file.f32("places").unwrap().iter().step_by(WIDTH).copied().take(50).collect();
            assert!(latitude.is_sorted() && latitude[0] < -87.0, "{latitude:?}");
        } else {
            let other = format!("raw.grid={}", at("aqua/ClimSim_aqua_384_grid-info.nc").display());
            if name == "high" {
                python(&tool, &["raw", at("aqua").to_str().unwrap(), "384", "aqua"]);
                run("refused", &[&other]).fails(3).says("384 columns").says("21600").says("raw.grid");
            }
        }
    }
    // Half of the rows from the low resolution, and a quarter from each of two others.
    let sources = format!(
        "rows.sources=[{{data: {}, share: 0.25}}, {{data: {}, share: 0.25}}]",
        at("aqua_data").display(),
        at("odd_there").display()
    );
    let narrow = [
        "model.squeezeformer.dim=8",
        "model.squeezeformer.head_dim=16",
        "model.squeezeformer.blocks=1",
        "model.squeezeformer.heads=2",
        "training.epochs=1",
        "--limit=4",
    ];
    let run = |sources: &str, out: &str| train("first/squeezeformer.yaml", &narrow, &at(out)).arg(sources);
    let manifest = run(&sources, "mixed").succeeds().manifest();
    let before = manifest["upstream"].to_string();
    assert!(before.contains("aqua_data") && before.contains("odd_there"), "{before}");
    run(&sources.replace("0.25", "0.5"), "whole").fails(2).says("rows.sources").says("less than 1");
    run(&sources.replace("aqua_data", "nothing"), "none").fails(3).says("nothing");
    let fit = ["normalisation={fit: {}}", "chains=[b]", "test=null", "-q", "train={netcdf: {months: [0001-02]}}"];
    let prepare = cmd("prepare-data").arg("leap").arg(root().join("configs/leap/adam/prepare.yaml")).args(fit);
    let prepare = prepare.args(["valid=null", "index=null", "--raw"]).arg(at("odd")).arg("--out").arg(at("fitted"));
    prepare.succeeds();
    run(&sources.replace("aqua_data", "fitted"), "none").fails(3).says("normalised").says("fitted");
}
