//! The readers of `common::store` on the real files of the golden folder. Without the folder every test says so and
//! passes; the same readers are tested on files made by the tests themselves beside their code.

use std::path::{Path, PathBuf};

use common::store::netcdf::{NcFile, NcKind, NcType};
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
