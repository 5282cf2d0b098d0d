//! Maps of `hit-density` read and written by NumPy.

use std::process::Command;

use tracknet::density::DensityMap;

use crate::support::cmd;
use crate::{simulate, tools};

/// Reads our file as the original's reader does and without pickles; writes the original's layout with NumPy.
const SCRIPT: &str = "
import sys
import numpy as np
file = np.load(sys.argv[1], allow_pickle=True)
grid = file['grid_info'].item()
n = int(np.prod(grid['shape']))
assert isinstance(grid['voxel_size'], float) and len(grid['origin']) == 3, grid
assert file['density_map'].shape == (n,) and file['density_map'].dtype == np.float32
assert file['voxel_centers'].shape == (n, 3) and file['voxel_centers'].dtype == np.float64
assert file['occupied_mask'].dtype == bool and (file['occupied_mask'] == (file['density_map'] > 0)).all()
plain = np.load(sys.argv[1], allow_pickle=False)
assert tuple(plain['shape']) == tuple(grid['shape']) and float(plain['voxel_size']) == grid['voxel_size']
assert np.allclose(plain['origin'], [float(v) for v in grid['origin']])
info = {'origin': [np.float32(v) for v in grid['origin']], 'voxel_size': grid['voxel_size'], 'shape': grid['shape']}
np.savez(sys.argv[2], grid_info=info, density_map=file['density_map'], voxel_centers=file['voxel_centers'])
";

#[test]
fn maps_are_read_by_numpy_in_both_layouts_and_maps_of_numpy_are_read_by_us() {
    let Some(python) = tools::numpy() else { return };
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let (ours, theirs) = (folder.path().join("ours.npz"), folder.path().join("theirs.npz"));
    let command = cmd("hit-density").arg("--data-dir").arg(folder.path().join("sim/raw")).arg("--output").arg(&ours);
    command.args(["--voxel-size", "250"]).succeeds();
    let output = Command::new(python.program("python"))
        .args(["-c", SCRIPT])
        .args([&ours, &theirs])
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(DensityMap::read(&ours).unwrap(), DensityMap::read(&theirs).unwrap());
}
