//! The readers of `common::store` on the real files of the golden folder. Without the folder every test says so and
//! passes; the same readers are tested on files made by the tests themselves beside their code.

#![allow(clippy::print_stderr)] // what was skipped and how long things took

use std::path::{Path, PathBuf};

use common::store::netcdf::{NcFile, NcKind, NcType};
use common::store::npy::{NpyArray, NpyKind, NpzFile};
use common::store::pickle::{self, Checkpoint, Column};
use common::store::tables;
use common::store::tensors::{self, TensorFile};

/// `$PODIUM_GOLDEN`, or `../shared/golden` beside the workspace.
fn golden() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden");
    let folder = std::env::var_os("PODIUM_GOLDEN").map_or(default, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no golden folder at `{}`; set PODIUM_GOLDEN", folder.display());
    None
}

/// All files below a folder with one of the endings, sorted.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if endings.contains(&ending.as_str()) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_variable_of_every_netcdf_file_equals_that_of_the_c_library() {
    let Some(golden) = golden() else { return };
    let files = files(&golden.join("leap"), &["nc"]);
    assert!(files.len() > 50, "only {} files found", files.len());
    let mut kinds = Vec::new();
    for path in files {
        let ours = NcFile::open(&path).unwrap();
        kinds.push(ours.kind());
        let theirs = netcdf::open(&path).unwrap();
        assert_eq!(ours.variables().len(), theirs.variables().count(), "{}", path.display());
        for variable in ours.variables() {
            let reference = theirs.variable(&variable.name).unwrap();
            let shape: Vec<_> = reference.dimensions().iter().map(|d| d.len()).collect();
            assert_eq!(variable.shape, shape);
            if matches!(variable.kind, NcType::Text | NcType::Other) {
                continue;
            }
            let expected: Vec<f64> =
                if shape.is_empty() { reference.get_values(()) } else { reference.get_values(..) }.unwrap();
            let found = ours.read_f64(&variable.name).unwrap();
            let same = found.len() == expected.len()
                && found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan());
            assert!(same, "`{}` of {}", variable.name, path.display());
        }
    }
    for kind in [NcKind::Cdf2, NcKind::Cdf5, NcKind::Hdf5] {
        assert!(kinds.contains(&kind), "no file of kind {kind:?}");
    }
}

#[test]
fn tensor_files_of_the_python_writer_survive_a_round_trip() {
    let Some(golden) = golden() else { return };
    let files = files(&golden, &["safetensors"]);
    assert!(files.len() > 300, "only {} files found", files.len());
    let folder = tempfile::tempdir().unwrap();
    let again = folder.path().join("x.safetensors");
    for path in files {
        let first = TensorFile::open(&path).unwrap();
        let views: Vec<_> = first.names().map(|name| first.view(name).unwrap()).collect();
        tensors::write(&again, &views, None).unwrap();
        let second = TensorFile::open(&again).unwrap();
        for view in &views {
            let copy = second.view(view.name).unwrap();
            assert_eq!(
                (view.dtype, view.shape, view.bytes),
                (copy.dtype, copy.shape, copy.bytes),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn published_checkpoints_equal_their_safetensors_twins() {
    let Some(golden) = golden() else { return };
    let files = files(&golden, &["pt", "pth", "ckpt"]);
    assert!(files.len() > 30, "only {} files found", files.len());
    let folder = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for path in files {
        let checkpoint = Checkpoint::open(&path).unwrap();
        let Ok(tensors) = checkpoint.tensors() else { continue };
        // What we write from it holds the same.
        let copy = pickle::write_state_dict(folder.path().join("copy.pt"), &tensors).unwrap();
        assert_eq!(Checkpoint::open(copy.path).unwrap().tensors().unwrap(), tensors, "{}", path.display());
        let twin = path.with_extension("safetensors");
        let twin = if twin.is_file() { twin } else { path.with_file_name("weights.safetensors") };
        let Ok(twin) = TensorFile::open(twin) else { continue };
        for tensor in &tensors {
            let name = tensor.name.strip_prefix("module.").unwrap_or(&tensor.name);
            let name = if twin.contains(name) { name } else { &tensor.name };
            if !twin.contains(name) {
                continue;
            }
            let expected = twin.view(name).unwrap();
            assert_eq!((tensor.dtype, &tensor.shape[..]), (expected.dtype, expected.shape), "{name}");
            assert_eq!(&*tensor.bytes, expected.bytes, "`{name}` of {}", path.display());
            compared += 1;
        }
    }
    eprintln!("{compared} tensors compared");
    assert!(compared >= 600, "only {compared} tensors compared");
}

#[test]
fn the_published_index_and_the_blend_table_are_read_from_pickles() {
    let Some(golden) = golden() else { return };
    let index = Checkpoint::open(golden.join("leap/prep_small/v3_index.pt")).unwrap();
    let twin = TensorFile::open(golden.join("leap/prep_small/v3_index.safetensors")).unwrap();
    let mut months = 0;
    for (month, rows) in index.value().entries() {
        let Column::Ints(rows) = rows.array().unwrap().column else { panic!("rows are no integers") };
        assert_eq!(rows, twin.i64(month.text().unwrap()).unwrap());
        months += 1;
    }
    assert_eq!(months, twin.names().count());

    let table = Checkpoint::open(golden.join("leap/blend/published_weights/weights.pt")).unwrap();
    let frame = table.value().data_frame().unwrap();
    let [(model, Column::Texts(models)), (weight, Column::Floats(weights))] = &frame[..] else {
        panic!("other columns: {frame:?}")
    };
    assert_eq!((model.as_str(), weight.as_str()), ("model", "weight"));
    let csv = std::fs::read_to_string(golden.join("leap/blend/published_weights/weights.csv")).unwrap();
    let expected: Vec<_> = csv.lines().skip(1).map(|line| line.split_once(',').unwrap()).collect();
    assert_eq!(models.len(), expected.len());
    for ((model, weight), (name, value)) in models.iter().zip(weights).zip(expected) {
        assert_eq!((model.as_str(), *weight), (name, value.parse().unwrap()));
    }
}

#[test]
fn lightning_checkpoints_give_their_optimizer_state_too() {
    let Some(golden) = golden() else { return };
    let checkpoint = Checkpoint::open(golden.join("tracknet/checkpoint_e2e/epoch=5-val_loss=0.04.ckpt")).unwrap();
    let all = checkpoint.value().tensors().unwrap();
    assert_eq!(all.len(), 70);
    assert!(all.iter().any(|t| t.name.starts_with("optimizer_states.0.state.0.")), "no optimizer state");
    assert!(checkpoint.unknown().iter().any(|name| name.ends_with("MinMaxNormalizeXYZ")));
}

#[test]
fn parquet_files_of_pandas_survive_a_round_trip() {
    let Some(golden) = golden() else { return };
    let files = files(&golden, &["parquet"]);
    assert!(files.len() > 30, "only {} files found", files.len());
    let folder = tempfile::tempdir().unwrap();
    let again = folder.path().join("x.parquet");
    for path in files {
        let first = tables::read_parquet(&path, None).unwrap();
        tables::write_parquet(&again, &first).unwrap();
        let second = tables::read_parquet(&again, None).unwrap();
        assert_eq!(second.schema(), first.schema(), "{}", path.display());
        // Missing numbers are NaN, which equals nothing: the shown text stands for the values.
        assert_eq!(format!("{:?}", second.columns()), format!("{:?}", first.columns()), "{}", path.display());
    }
}

#[test]
fn numpy_arrays_and_archives_are_read() {
    let Some(golden) = golden() else { return };
    let inputs = NpyArray::open(golden.join("leap/fdzm-predict-e2e/expected/test_0_inputs.npy")).unwrap();
    assert_eq!((inputs.shape(), inputs.kind()), (&[12, 556][..], NpyKind::F32));
    assert!(inputs.elements::<f32>().unwrap().iter().all(|v| v.is_finite()));
    let archive = NpzFile::open(golden.join("tracknet/hit_density_250/with_occupied_mask.npz")).unwrap();
    let centers = archive.read("voxel_centers").unwrap();
    assert_eq!(centers.shape(), [1944, 3]);
    let density = archive.read("density_map").unwrap().to_f64();
    let occupied = archive.read("occupied_mask").unwrap().to_i64().unwrap();
    assert!(density.iter().zip(&occupied).all(|(d, o)| (*d > 0.0) == (*o == 1)));
    assert!(archive.read("grid_info").unwrap_err().to_string().contains("has the dtype `|O`"));
}

/// Files and numbers by netCDF4-python; `make.py` beside them says how.
#[test]
fn numbers_are_those_of_netcdf4_python_whatever_lies_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/netcdf");
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: std::collections::BTreeMap<String, std::collections::BTreeMap<String, Vec<Option<f64>>>> =
        serde_json::from_str(&text).unwrap();
    for (name, variables) in &expected {
        let file = NcFile::open(folder.join(name)).unwrap();
        for (variable, expected) in variables {
            let expected: Vec<f64> = match variable.as_str() {
                // Differs: a double as marker of floats counts as the float that it rounds to, as in xarray.
                "wide_marker" => vec![f64::NAN, 2.0, 3.0, 4.0],
                // Differs: bytes have no fill value of their own, as the format's documentation has it.
                "bytes" => vec![-127.0, 2.0, 3.0, 4.0],
                _ => expected.iter().map(|v| v.unwrap_or(f64::NAN)).collect(),
            };
            let found = file.read_f64(variable).unwrap();
            let near = |(a, b): (&f64, &f64)| (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * b.abs();
            assert!(found.iter().zip(&expected).all(near), "{name}, {variable}: {found:?}, expected {expected:?}");
            let narrow = file.read_f32(variable).unwrap();
            let near = |(a, b): (&f32, &f64)| (a.is_nan() && b.is_nan()) || *a == *b as f32;
            assert!(narrow.iter().zip(&expected).all(near), "{name}, {variable}: {narrow:?}, expected {expected:?}");
        }
    }
    let file = NcFile::open(folder.join("library4.nc")).unwrap();
    for (name, problem) in [
        ("an_enum", "holds no numbers"),
        ("a_compound", "holds no numbers"),
        ("a_string", "holds no numbers"),
        ("a_list", "holds no numbers"),
        ("some_text", "holds no numbers"),
        ("a_packed_one", "`scale_factor` is []"),
        ("never_written", "impossible shape"),
    ] {
        let error = file.read_f64(name).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(problem), "{error}");
    }
}
