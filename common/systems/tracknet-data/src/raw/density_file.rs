//! The density map as an `.npz` archive. Ours holds plain arrays, and beside them the original's pickled `grid_info`, so
//! that the original can load it; files of the original are read as well, although they lack `occupied_mask`, which its
//! own reader demands: the published configuration cannot start.

use std::path::Path;

use common::durable::Written;
use common::store::npy::{NpzData, NpzFile, write_npz};
use common::{Error, Result};

use super::density::{DensityMap, Grid};

impl DensityMap {
    /// Reads a map of ours or of the original.
    pub fn read(path: &Path) -> Result<Self> {
        let file = NpzFile::open(path)?;
        let grid = if file.contains("origin") { plain(&file, path)? } else { pickled(&file, path)? };
        let density = file.read("density_map")?;
        let density = match density.elements::<f32>() {
            Ok(floats) => floats.into_owned(),
            // NumPy's default, and what saves room.
            Err(_) => density.to_f64().into_iter().map(|d| d as f32).collect(),
        };
        let sides = grid.shape;
        if sides.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)) != Some(density.len()) {
            let problem = format!("`density_map` has {} voxels, but the grid is {sides:?}", density.len());
            return Err(Error::input(path, problem));
        }
        if let Some(at) = density.iter().position(|d| !(*d >= 0.0 && d.is_finite())) {
            let problem = format!("`density_map`: voxel {at} is {}, expected a finite number >= 0", density[at]);
            return Err(Error::input(path, problem));
        }
        Ok(Self { grid, density })
    }

    /// Writes the map in both forms.
    pub fn write(&self, path: &Path) -> Result<Written> {
        let grid = &self.grid;
        let n = grid.len();
        let centres: Vec<f64> = (0..n).flat_map(|at| grid.centre(at)).collect();
        let occupied: Vec<bool> = self.density.iter().map(|&d| d > 0.0).collect();
        let origin = grid.origin.map(f64::from);
        let shape = grid.shape.map(|side| side as i64);
        write_npz(
            path,
            &[
                ("grid_info", &[], NpzData::Pickle(&grid_info(grid))),
                ("density_map", &[n], NpzData::F32(&self.density)),
                ("voxel_centers", &[n, 3], NpzData::F64(&centres)),
                ("occupied_mask", &[n], NpzData::Bool(&occupied)),
                ("origin", &[3], NpzData::F64(&origin)),
                ("shape", &[3], NpzData::I64(&shape)),
                ("voxel_size", &[], NpzData::F64(&[grid.voxel_size])),
            ],
        )
    }
}

fn checked(path: &Path, origin: &[f64], shape: &[i64], voxel_size: f64) -> Result<Grid> {
    let (&[x, y, z], &[nx, ny, nz]) = (origin, shape) else {
        return Err(Error::input(path, format!("origin {origin:?} and shape {shape:?}, expected three numbers each")));
    };
    let good = [nx, ny, nz].iter().all(|&side| (1..=1 << 20).contains(&side))
        && (voxel_size > 0.0 && voxel_size.is_finite())
        && [x, y, z].iter().all(|v| v.is_finite());
    if !good {
        let problem =
            format!("a grid of {shape:?} voxels of {voxel_size} mm from {origin:?}, expected positive finite sizes");
        return Err(Error::input(path, problem));
    }
    let shape = [nx as usize, ny as usize, nz as usize];
    Ok(Grid { origin: [x as f32, y as f32, z as f32], voxel_size, shape })
}

fn plain(file: &NpzFile, path: &Path) -> Result<Grid> {
    let size = file.read("voxel_size")?.to_f64();
    checked(path, &file.read("origin")?.to_f64(), &file.read("shape")?.to_i64()?, size.first().copied().unwrap_or(0.0))
}

fn pickled(file: &NpzFile, path: &Path) -> Result<Grid> {
    let pickle = file.pickled("grid_info")?;
    let info = pickle.value().items().next().ok_or_else(|| Error::input(path, "`grid_info` is empty"))?;
    let origin: Vec<f64> = match info.expect("origin")? {
        list if list.array().is_ok() => {
            let array = list.array()?;
            match array.column {
                common::store::pickle::Column::Floats(v) => v,
                other => return Err(Error::input(path, format!("`origin` is {other:?}, expected numbers"))),
            }
        }
        list => list.items().map(|v| v.float()).collect::<Result<_>>()?,
    };
    let shape: Vec<i64> = info.expect("shape")?.items().map(|v| v.int()).collect::<Result<_>>()?;
    checked(path, &origin, &shape, info.expect("voxel_size")?.float()?)
}

/// The pickle (protocol 4) of a numpy array without dimensions that holds `{origin: [f32; 3], voxel_size: float,
/// shape: (int, int, int)}`.
fn grid_info(grid: &Grid) -> Vec<u8> {
    let mut p = b"\x80\x04cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01)".to_vec();
    let text = |p: &mut Vec<u8>, t: &str| {
        p.push(b'X');
        p.extend((t.len() as u32).to_le_bytes());
        p.extend(t.as_bytes());
    };
    let dtype = |p: &mut Vec<u8>, code: &str, order: &str, flags: u8| {
        p.extend(b"cnumpy\ndtype\n");
        text(p, code);
        p.extend(b"\x89\x88\x87R(K\x03");
        text(p, order);
        p.extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK");
        p.push(flags);
        p.extend(b"tb");
    };
    dtype(&mut p, "O8", "|", 63);
    p.extend(b"\x89](}(");
    text(&mut p, "origin");
    p.extend(b"](");
    for value in grid.origin {
        p.extend(b"cnumpy.core.multiarray\nscalar\n");
        dtype(&mut p, "f4", "<", 0);
        p.extend(b"C\x04");
        p.extend(value.to_le_bytes());
        p.extend(b"\x86R");
    }
    p.push(b'e');
    text(&mut p, "voxel_size");
    p.push(b'G');
    p.extend(grid.voxel_size.to_be_bytes());
    text(&mut p, "shape");
    p.push(b'(');
    for side in grid.shape {
        p.push(b'J');
        p.extend((side as i32).to_le_bytes());
    }
    p.extend(b"tuetb.");
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_comes_back_from_both_forms() {
        let grid = Grid { origin: [-1.25, 0.1, 3e3], voxel_size: 12.5, shape: [2, 1, 3] };
        let map = DensityMap { grid, density: vec![0.0, 1.0, 0.5, 0.0, 2.0, 0.25] };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.npz");
        map.write(&path).unwrap();
        assert_eq!(DensityMap::read(&path).unwrap(), map);
        let wide: Vec<f64> = map.density.iter().map(|&d| f64::from(d)).collect();
        let (origin, shape) = (grid.origin.map(f64::from), grid.shape.map(|side| side as i64));
        let other = folder.path().join("wide.npz");
        let arrays: [(&str, &[usize], NpzData); 4] = [
            ("density_map", &[6], NpzData::F64(&wide)),
            ("origin", &[3], NpzData::F64(&origin)),
            ("shape", &[3], NpzData::I64(&shape)),
            ("voxel_size", &[], NpzData::F64(&[grid.voxel_size])),
        ];
        write_npz(&other, &arrays).unwrap();
        assert_eq!(DensityMap::read(&other).unwrap(), map);
        assert_eq!(pickled(&NpzFile::open(&path).unwrap(), &path).unwrap(), grid);
    }
}
