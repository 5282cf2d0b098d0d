//! Hit density: maps, and expected hits in spheres.

use anyhow::{Result, ensure};
use tracknet::density::{self, DensityMap, Rounding};
use tracknet::files;

use super::data::points;
use crate::checks::{Case, Comparison};

/// Expected hits in spheres.
pub fn sphere(case: &Case) -> Result<()> {
    let map = DensityMap::read(&case.path(case.str("stats")?))?;
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let radii = inputs.f32s("radii")?;
    let found: Vec<(f32, usize)> =
        points(&inputs, "centers")?.into_iter().zip(radii).map(|(c, r)| map.expected(c, r)).collect();
    let got: Vec<f64> = found.iter().map(|f| f64::from(f.0)).collect();
    let voxels: Vec<f64> = found.iter().map(|f| f.1 as f64).collect();
    let mut checks = Comparison::new();
    checks.values("all_voxels", &got, &expected.f64s("all_voxels")?, 1e-5);
    checks.values("n_voxels", &voxels, &expected.f64s("n_voxels")?, 0.0);
    checks.finish()
}

/// The map of all events, the printed statistics, and both forms of the file.
pub fn map(case: &Case) -> Result<()> {
    let events = files::events(&[case.path(case.str("data_dir")?)])?;
    let (map, counted) = density::map_of(&events, case.f64("voxel_size")?, None, Rounding::Truncate)?;
    let grid = map.grid;
    ensure!(counted.events == case.usize("n_events")? as u64 && counted.dropped == 0, "{counted:?}");
    let expected = case.tensors("expected.safetensors")?;
    let mut checks = Comparison::new();
    let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    for name in expected.names() {
        let got = match name {
            "origin" => wide(&grid.origin),
            "shape" => grid.shape.map(|s| s as f64).to_vec(),
            "voxel_size" => vec![grid.voxel_size],
            "density_map" => wide(&map.density),
            "voxel_centers" => (0..grid.len()).flat_map(|at| grid.centre(at)).collect(),
            "occupied_mask" => map.density.iter().map(|&d| f64::from(u8::from(d > 0.0))).collect(),
            other => anyhow::bail!("nothing to compare with `{other}`"),
        };
        checks.values(
            name,
            &got,
            &expected.f64s(name)?,
            if name.contains("dens") || name.contains("cent") { 1e-6 } else { 0.0 },
        );
    }
    let printed = case.text("stdout.txt")?;
    ensure!(printed.contains(map.statistics().trim()), "statistics\n{}\nexpected\n{printed}", map.statistics());
    for file in ["hit_density_stats.npz", "with_occupied_mask.npz"] {
        if case.has_file(file) {
            let read = DensityMap::read(&case.path(file))?;
            ensure!(read.grid == grid, "`{file}`: {:?}, expected {grid:?}", read.grid);
            checks.values(file, &wide(&read.density), &wide(&map.density), 1e-6);
        }
    }
    let folder = tempfile::tempdir()?;
    let ours = folder.path().join("ours.npz");
    map.write(&ours)?;
    ensure!(DensityMap::read(&ours)? == map, "our own file differs");
    checks.finish()
}
