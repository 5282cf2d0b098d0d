//! Events as ACTS writes them (also for the Open Data Detector), read as those of TrackML.
//!
//! `EVENT-hits.csv` holds the simulated hits (`particle_id, geometry_id, tx, ty, tz, tpx, ..`), `EVENT-measurements.csv`
//! what was measured, in the plane of a module, `EVENT-measurement-simhit-map.csv` which belongs to which, and
//! `EVENT-particles*.csv` the particles. Hits of ours are the measurements, under their ids, at the places that
//! `detectors.csv` (in the folder or above it) gives them; without it, at the true places of their simulated hits.
//! Volume, layer and module are parts of the geometry id. mm and GeV, as in TrackML.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Once;

use super::csv::{self, Kind, Table};
use super::event::{Hits, Particles, Truth, is_there, part, part_if_there};
use super::files::ENDS;
use common::{Error, Result};

/// Names of the particles' file; the first that is there is read.
const PARTICLES: [&str; 5] =
    ["particles", "particles_initial", "particles_simulated", "particles_generated", "particles_input"];

/// Whether a hits file is one of ACTS.
pub(super) fn is_acts(path: &Path) -> Result<bool> {
    let names = csv::header(path)?;
    let has = |name: &str| names.iter().any(|n| n == name);
    Ok(has("geometry_id") && !has("hit_id"))
}

/// Whether an event is one of ACTS: it has no truth file, and its hits are those of ACTS.
pub(super) fn is_acts_event(prefix: &Path) -> Result<bool> {
    match part_if_there(prefix, "hits")? {
        Some(path) if part_if_there(prefix, "truth")?.is_none() => is_acts(&path),
        _ => Ok(false),
    }
}

/// Volume, layer and sensitive element of a geometry id.
fn place(id: i64) -> (i32, i32, i32) {
    let bits = |shift: u32, mask: i64| ((id >> shift) & mask) as i32;
    (bits(56, 0xff), bits(36, 0xfff), bits(8, 0xf_ffff))
}

/// Particle ids: one column, or the five parts of newer versions put together.
fn ids(path: &Path, more: &[(&str, Kind, bool)]) -> Result<(Vec<i64>, Table)> {
    const PARTS: [&str; 5] =
        ["particle_id_pv", "particle_id_sv", "particle_id_part", "particle_id_gen", "particle_id_subpart"];
    let split = csv::header(path)?.iter().any(|name| name == PARTS[0]);
    let mut columns: Vec<(&str, Kind, bool)> = more.to_vec();
    if split {
        columns.extend(PARTS.map(|name| (name, Kind::I64, true)))
    } else {
        columns.push(("particle_id", Kind::I64, true))
    }
    let mut table = Table::read_optional(path, &columns)?;
    let first = more.len();
    if !split {
        return Ok((table.i64(first)?, table));
    }
    let mut all = vec![0_i64; table.rows()];
    // Widths of the parts: 12, 12, 16, 8, 16 bits.
    for (i, shift) in [52, 40, 24, 16, 0].into_iter().enumerate() {
        for (id, part) in all.iter_mut().zip(table.i64(first + i)?) {
            *id |= part << shift;
        }
    }
    Ok((all, table))
}

/// Hits and truth of an event.
pub(super) fn read(prefix: &Path) -> Result<(Hits, Truth)> {
    let path = part(prefix, "hits")?;
    let columns = [
        ("geometry_id", Kind::I64, true),
        ("tx", Kind::F32, true),
        ("ty", Kind::F32, true),
        ("tz", Kind::F32, true),
        ("tpx", Kind::F32, true),
        ("tpy", Kind::F32, true),
        ("tpz", Kind::F32, true),
        ("index", Kind::I64, false),
    ];
    let (particle, mut table) = ids(&path, &columns)?;
    let simulated = Simulated {
        particle,
        geometry: table.i64(0)?,
        position: table.points(1)?,
        momentum: table.points(4)?,
        index: if table.has(7) { table.i64(7)? } else { (0..table.rows() as i64).collect() },
    };
    match (part_if_there(prefix, "measurements")?, part_if_there(prefix, "measurement-simhit-map")?) {
        (Some(measurements), Some(map)) => simulated.measured(&measurements, &map, prefix),
        (Some(measurements), None) => {
            Err(Error::input(&measurements, "ACTS: has no `-measurement-simhit-map.csv` beside it")
                .hint("write the map as well, or take the measurements away: then the simulated hits are read"))
        }
        _ => {
            once(
                "simulated hits of ACTS without measurements are read: true positions, which nothing measured",
                prefix,
            );
            simulated.alone(&path)
        }
    }
}

fn once(what: &str, prefix: &Path) {
    static SAID: Once = Once::new();
    SAID.call_once(|| tracing::warn!("`{}`: {what}", prefix.display()));
}

/// The simulated hits of an event.
struct Simulated {
    particle: Vec<i64>,
    geometry: Vec<i64>,
    position: Vec<[f32; 3]>,
    momentum: Vec<[f32; 3]>,
    index: Vec<i64>,
}

impl Simulated {
    /// Each simulated hit as a hit.
    fn alone(self, path: &Path) -> Result<(Hits, Truth)> {
        let (mut hits, mut truth) = (Hits::default(), Truth::default());
        for i in 0..self.particle.len() {
            push(&mut hits, narrow(self.index[i], path)?, self.position[i], self.geometry[i]);
            truth.push(&hits, self.particle[i], self.position[i], self.momentum[i]);
        }
        Ok((hits, truth))
    }

    /// Each measurement as a hit.
    fn measured(self, path: &Path, map: &Path, prefix: &Path) -> Result<(Hits, Truth)> {
        let columns =
            [("measurement_id", Kind::I64), ("geometry_id", Kind::I64), ("local0", Kind::F32), ("local1", Kind::F32)];
        let mut table = Table::read(path, &columns)?;
        let (id, geometry, first, second) = (table.i64(0)?, table.i64(1)?, table.f32(2)?, table.f32(3)?);
        let mut pairs = Table::read(map, &[("measurement_id", Kind::I64), ("hit_id", Kind::I64)])?;
        let row_of: HashMap<i64, usize> = self.index.iter().enumerate().map(|(row, index)| (*index, row)).collect();
        let mut made_of: HashMap<i64, Vec<usize>> = HashMap::new();
        for (measurement, hit) in pairs.i64(0)?.into_iter().zip(pairs.i64(1)?) {
            let row = row_of.get(&hit).ok_or_else(|| {
                Error::input(
                    map,
                    format!("ACTS: measurement {measurement} is of the hit {hit}, which there is none of"),
                )
            })?;
            made_of.entry(measurement).or_default().push(*row);
        }
        let planes = planes(prefix)?;
        if planes.is_empty() {
            once(
                "events of ACTS without `detectors.csv`: the true positions of simulated hits stand in for what was measured",
                prefix,
            );
        }
        let (mut hits, mut truth) = (Hits::default(), Truth::default());
        for i in 0..id.len() {
            let made = made_of.get(&id[i]).map_or(&[][..], Vec::as_slice);
            let mean = |list: &[[f32; 3]]| -> [f32; 3] {
                let n = made.len().max(1) as f32;
                std::array::from_fn(|k| made.iter().map(|&row| list[row][k]).sum::<f32>() / n)
            };
            let position = match planes.get(&geometry[i]) {
                Some(plane) => plane.global(first[i], second[i]),
                None if !made.is_empty() => mean(&self.position),
                None => {
                    let problem = format!("ACTS: measurement {} is noise, whose place no `detectors.csv` tells", id[i]);
                    return Err(
                        Error::input(path, problem).hint("put the `detectors.csv` of the geometry beside the events")
                    );
                }
            };
            push(&mut hits, narrow(id[i], path)?, position, geometry[i]);
            match made.first() {
                Some(&row) => truth.push(&hits, self.particle[row], mean(&self.position), mean(&self.momentum)),
                None => truth.push(&hits, 0, position, [f32::NAN; 3]),
            }
        }
        Ok((hits, truth))
    }
}

fn narrow(id: i64, path: &Path) -> Result<i32> {
    i32::try_from(id).map_err(|_| Error::input(path, format!("ACTS: the id {id} has more than 32 bits")))
}

fn push(hits: &mut Hits, id: i32, position: [f32; 3], geometry: i64) {
    let (volume, layer, module) = place(geometry);
    hits.hit_id.push(id);
    hits.xyz.push(position);
    hits.volume.push(volume);
    hits.layer.push(layer);
    hits.module.push(module);
}

impl Truth {
    /// The truth of the last of `hits`; ACTS knows no weights.
    fn push(&mut self, hits: &Hits, particle: i64, position: [f32; 3], momentum: [f32; 3]) {
        self.hit_id.extend(hits.hit_id.last());
        self.particle_id.push(particle);
        self.position.push(position);
        self.momentum.push(momentum);
        self.weight.push(f32::NAN);
    }
}

/// Particles of an event.
pub(super) fn particles(prefix: &Path) -> Result<Particles> {
    let found = PARTICLES.iter().find_map(|name| part_if_there(prefix, name).transpose()).transpose()?;
    let path = match found {
        Some(path) => path,
        None => part(prefix, "particles")?,
    };
    let float = |name: &'static str, needed: bool| (name, Kind::F32, needed);
    let columns = [
        float("vx", true),
        float("vy", true),
        float("vz", true),
        float("px", true),
        float("py", true),
        float("pz", true),
        float("q", true),
        ("particle_type", Kind::I32, false),
    ];
    let (particle_id, mut table) = ids(&path, &columns)?;
    let rows = table.rows();
    let particles = Particles {
        particle_id,
        particle_type: table.has(7).then(|| table.i32(7)).transpose()?,
        vertex: table.points(0)?,
        momentum: table.points(3)?,
        charge: table.f32(6)?.into_iter().map(|q| q.round() as i32).collect(),
        nhits: vec![-1; rows],
    };
    particles.demand_unique(&path)?;
    Ok(particles)
}

/// Where a module lies.
struct Plane {
    centre: [f32; 3],
    /// Directions of the first and the second local axis.
    axes: [[f32; 3]; 2],
}

impl Plane {
    fn global(&self, u: f32, v: f32) -> [f32; 3] {
        std::array::from_fn(|k| self.centre[k] + self.axes[0][k] * u + self.axes[1][k] * v)
    }
}

/// The `detectors.csv` of an event, beside it or in the folder above, where it is one of ACTS.
pub(super) fn modules(prefix: &Path) -> Result<Option<PathBuf>> {
    let folders = prefix.ancestors().skip(1).take(2);
    for path in folders.flat_map(|folder| ENDS.map(|end| folder.join(format!("detectors{end}")))) {
        if is_there(&path)? {
            let is_ours = csv::header(&path)?.iter().any(|name| name == "geometry_id");
            return Ok(is_ours.then_some(path));
        }
    }
    Ok(None)
}

/// The modules of `detectors.csv`, by geometry id; none where there is no such file.
fn planes(prefix: &Path) -> Result<HashMap<i64, Plane>> {
    let Some(path) = modules(prefix)? else { return Ok(HashMap::new()) };
    let names = ["cx", "cy", "cz", "rot_xu", "rot_yu", "rot_zu", "rot_xv", "rot_yv", "rot_zv"];
    let mut columns = vec![("geometry_id", Kind::I64)];
    columns.extend(names.map(|name| (name, Kind::F32)));
    let mut table = Table::read(&path, &columns)?;
    let id = table.i64(0)?;
    let (centre, first, second) = (table.points(1)?, table.points(4)?, table.points(7)?);
    let plane = |i: usize| Plane { centre: centre[i], axes: [first[i], second[i]] };
    Ok(id.iter().enumerate().map(|(i, id)| (*id, plane(i))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        common::durable::write(folder.join(format!("event000000007-{name}.csv")), text.as_bytes()).unwrap();
    }

    #[test]
    fn measurements_of_acts_are_hits_with_truth_and_particles() {
        let folder = tempfile::tempdir().unwrap();
        let id = (17_i64 << 56) | (4 << 36) | (9 << 8);
        write(
            folder.path(),
            "hits",
            &format!(
                "particle_id,geometry_id,tx,ty,tz,tt,tpx,tpy,tpz,te,deltapx,deltapy,deltapz,deltae,index\n\
                 4503599644147712,{id},30,1,5,0,1,0,0.5,2,0,0,0,0,0\n4503599644147712,{id},60,2,10,0,1,0,0.5,2,0,0,0,0,1\n"
            ),
        );
        let prefix = folder.path().join("event000000007");
        let alone = Hits::read(&prefix).unwrap();
        assert_eq!(
            (alone.hit_id.as_slice(), alone.volume[0], alone.layer[0], alone.module[0]),
            (&[0, 1][..], 17, 4, 9)
        );
        write(
            folder.path(),
            "measurements",
            &format!("measurement_id,geometry_id,local_key,local0,local1\n5,{id},6,0.5,-2\n6,{id},6,1,0\n"),
        );
        write(folder.path(), "measurement-simhit-map", "measurement_id,hit_id\n5,1\n6,0\n");
        write(
            folder.path(),
            "particles_initial",
            "particle_id,particle_type,process,vx,vy,vz,vt,px,py,pz,m,q\n4503599644147712,13,0,0,0,1,0,1,0,0.5,0.1,-1\n",
        );
        let (hits, truth) = (Hits::read(&prefix).unwrap(), Truth::read(&prefix).unwrap());
        assert_eq!((hits.hit_id.as_slice(), hits.xyz[0]), (&[5, 6][..], [60.0, 2.0, 10.0]));
        assert_eq!(truth.particle_id, [4_503_599_644_147_712; 2]);
        assert!(truth.weight[0].is_nan());
        let particles = Particles::read(&prefix).unwrap();
        assert_eq!((particles.charge[0], particles.vertex[0]), (-1, [0.0, 0.0, 1.0]));
        // With the geometry the measured place counts.
        let planes = format!(
            "geometry_id,cx,cy,cz,rot_xu,rot_xv,rot_xw,rot_yu,rot_yv,rot_yw,rot_zu,rot_zv,rot_zw\n{id},30,0,100,0,0,1,1,0,0,0,1,0\n"
        );
        common::durable::write(folder.path().join("detectors.csv"), planes.as_bytes()).unwrap();
        assert_eq!(Hits::read(&prefix).unwrap().xyz[0], [30.0, 0.5, 98.0]);
    }

    #[test]
    fn ids_in_five_columns_are_put_together() {
        let folder = tempfile::tempdir().unwrap();
        write(
            folder.path(),
            "particles",
            "particle_id_pv,particle_id_sv,particle_id_part,particle_id_gen,particle_id_subpart,vx,vy,vz,px,py,pz,q\n\
             1,0,1,0,0,0,0,0,1,0,0,1.0\n",
        );
        let particles = particles(&folder.path().join("event000000007")).unwrap();
        assert_eq!(particles.particle_id, [4_503_599_644_147_712]);
    }
}
