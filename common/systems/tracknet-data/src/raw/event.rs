//! One event of TrackML: hits, cells, particles, truth, read from its csv files and checked at the door.

use std::path::{Path, PathBuf};

use super::acts;
use super::csv::{Kind, Table, read_points};
use super::files::ENDS;
use common::store::archive::{self, Archive};
use common::{Error, Result};

/// Measured positions (mm) and where in the detector they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hits {
    /// Unique ids.
    pub hit_id: Vec<i32>,
    /// Positions in mm.
    pub xyz: Vec<[f32; 3]>,
    /// Detector volumes.
    pub volume: Vec<i32>,
    /// Layers of the volume.
    pub layer: Vec<i32>,
    /// Modules of the layer.
    pub module: Vec<i32>,
}

/// Channels that make up the hits; not used by the networks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cells {
    /// The hit.
    pub hit_id: Vec<i32>,
    /// First channel.
    pub ch0: Vec<i32>,
    /// Second channel.
    pub ch1: Vec<i32>,
    /// Deposited charge.
    pub value: Vec<f32>,
}

/// Generated particles.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Particles {
    /// Unique ids, bit fields beyond 2^53.
    pub particle_id: Vec<i64>,
    /// Type of the particle, in data of the second phase.
    pub particle_type: Option<Vec<i32>>,
    /// Vertex in mm; NaN where the file does not say it.
    pub vertex: Vec<[f32; 3]>,
    /// Initial momentum in GeV/c.
    pub momentum: Vec<[f32; 3]>,
    /// Charge in e; 0 where the file does not say it.
    pub charge: Vec<i32>,
    /// Number of hits; -1 where the file does not say it.
    pub nhits: Vec<i32>,
}

/// Which particle made which hit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Truth {
    /// The hit.
    pub hit_id: Vec<i32>,
    /// Its particle; 0 is noise.
    pub particle_id: Vec<i64>,
    /// True crossing point in mm; NaN where the file does not say it.
    pub position: Vec<[f32; 3]>,
    /// Momentum there in GeV/c; NaN where the file does not say it.
    pub momentum: Vec<[f32; 3]>,
    /// Weight in the score; NaN where the file does not say it.
    pub weight: Vec<f32>,
}

/// The file of one part of an event: `PREFIX-hits.csv`, the same with `.gz`, or with `.zip`.
///
/// # Errors
/// [`Error::Input`] where no file or more than one matches.
pub fn part(prefix: &Path, name: &str) -> Result<PathBuf> {
    let (folder, event) = split(prefix)?;
    let start = format!("{event}-{name}");
    match parts(prefix, name)?.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Error::input(folder.join(format!("{start}.csv")), "no such file, nor the same with `.gz`")
            .hint(format!("an event has the files `{event}-{{hits,particles,truth}}.csv`, each plain or gzip"))),
        many => {
            let names: Vec<String> =
                many.iter().map(|p| format!("`{}`", p.file_name().unwrap_or_default().to_string_lossy())).collect();
            Err(Error::input(&folder, format!("event `{event}` has its {name} twice: {}", names.join(", ")))
                .hint("keep one of them"))
        }
    }
}

/// The file of one part of an event, if there is one.
///
/// # Errors
/// [`Error::Input`] where more than one matches.
pub fn part_if_there(prefix: &Path, name: &str) -> Result<Option<PathBuf>> {
    if parts(prefix, name)?.is_empty() { Ok(None) } else { part(prefix, name).map(Some) }
}

/// Whether an event's particles are known.
pub fn has_particles(prefix: &Path) -> Result<bool> {
    Ok(part_if_there(prefix, "particles")?.is_some() || acts::is_acts_event(prefix)?)
}

/// The table of modules that tells where an event's measurements lie: events of ACTS alone have one.
pub fn geometry(prefix: &Path) -> Result<Option<PathBuf>> {
    if acts::is_acts_event(prefix)? { acts::modules(prefix) } else { Ok(None) }
}

/// Whether an event without truth file says its truth in another form: that of ACTS.
pub fn knows_particles(prefix: &Path) -> Result<bool> {
    acts::is_acts_event(prefix)
}

/// Whether a file is there, on disk or in a zip archive.
pub(super) fn is_there(path: &Path) -> Result<bool> {
    match archive::within(path) {
        Some((file, name)) if !name.is_empty() => Ok(Archive::shared(&file)?.files().any(|inside| inside == name)),
        _ => Ok(path.is_file()),
    }
}

fn parts(prefix: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let (folder, event) = split(prefix)?;
    let candidates = ENDS.map(|end| folder.join(format!("{event}-{name}{end}")));
    if let Some((file, _)) = archive::within(&folder) {
        let archive = Archive::shared(&file)?;
        let inside: std::collections::HashSet<&str> = archive.files().collect();
        let there = |path: &PathBuf| {
            path.strip_prefix(&file).is_ok_and(|name| inside.contains(name.to_string_lossy().as_ref()))
        };
        return Ok(candidates.into_iter().filter(there).collect());
    }
    if !folder.is_dir() {
        return Err(Error::input(&folder, "no such folder"));
    }
    Ok(candidates.into_iter().filter(|path| path.is_file()).collect())
}

fn split(prefix: &Path) -> Result<(PathBuf, String)> {
    let name = prefix.file_name().map(|n| n.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| Error::usage(format!("`{}` is no prefix of an event", prefix.display())))?;
    let folder = prefix.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((folder.to_path_buf(), name))
}

/// Number of an event: `event000001000` is 1000.
pub fn number(prefix: &Path) -> Result<i64> {
    let (_, name) = split(prefix)?;
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().map_err(|_| {
        Error::input(prefix, format!("`{name}` ends with no event number")).hint("events are named `event000001000`")
    })
}

impl Hits {
    /// Reads the hits of an event.
    pub fn read(prefix: &Path) -> Result<Self> {
        let path = part(prefix, "hits")?;
        if acts::is_acts(&path)? { Ok(acts::read(prefix)?.0) } else { Self::read_file(&path) }
    }

    /// Reads a hits file; ids must be unique.
    pub fn read_file(path: &Path) -> Result<Self> {
        let columns = [
            ("hit_id", Kind::I32, true),
            ("x", Kind::F32, true),
            ("y", Kind::F32, true),
            ("z", Kind::F32, true),
            ("volume_id", Kind::I32, true),
            ("layer_id", Kind::I32, true),
            ("module_id", Kind::I32, false),
        ];
        let mut table = Table::read_optional(path, &columns)?;
        let hits = Self {
            hit_id: table.i32(0)?,
            xyz: table.points(1)?,
            volume: table.i32(4)?,
            layer: table.i32(5)?,
            // Nothing that is computed depends on modules; they are handed on.
            module: if table.has(6) { table.i32(6)? } else { vec![0; table.rows()] },
        };
        Places::of(&hits.hit_id, path)?;
        if hits.is_empty() {
            return Err(Error::input(path, "holds no hit"));
        }
        Ok(hits)
    }

    /// Only the positions of an event's hits; nothing else of the file is looked at.
    pub fn read_positions(prefix: &Path) -> Result<Vec<[f32; 3]>> {
        let path = part(prefix, "hits")?;
        if acts::is_acts(&path)? { Ok(acts::read(prefix)?.0.xyz) } else { read_points(&path, ["x", "y", "z"]) }
    }

    /// Number of hits.
    pub fn len(&self) -> usize {
        self.hit_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hit_id.is_empty()
    }
}

impl Cells {
    /// Reads the cells of an event.
    pub fn read(prefix: &Path) -> Result<Self> {
        let columns = [("hit_id", Kind::I32), ("ch0", Kind::I32), ("ch1", Kind::I32), ("value", Kind::F32)];
        let mut table = Table::read(&part(prefix, "cells")?, &columns)?;
        Ok(Self { hit_id: table.i32(0)?, ch0: table.i32(1)?, ch1: table.i32(2)?, value: table.f32(3)? })
    }
}

impl Particles {
    /// Reads the particles of an event; ids must be unique.
    pub fn read(prefix: &Path) -> Result<Self> {
        if acts::is_acts_event(prefix)? {
            return acts::particles(prefix);
        }
        let path = part(prefix, "particles")?;
        let columns = [
            ("particle_id", Kind::I64, true),
            ("particle_type", Kind::I32, false),
            ("vx", Kind::F32, false),
            ("vy", Kind::F32, false),
            ("vz", Kind::F32, false),
            ("px", Kind::F32, true),
            ("py", Kind::F32, true),
            ("pz", Kind::F32, true),
            ("q", Kind::I32, false),
            ("nhits", Kind::I32, false),
        ];
        let mut table = Table::read_optional(&path, &columns)?;
        let particles = Self {
            particle_id: table.i64(0)?,
            particle_type: table.has(1).then(|| table.i32(1)).transpose()?,
            vertex: if (2..5).all(|c| table.has(c)) { table.points(2)? } else { vec![[f32::NAN; 3]; table.rows()] },
            momentum: table.points(5)?,
            charge: if table.has(8) { table.i32(8)? } else { vec![0; table.rows()] },
            nhits: if table.has(9) { table.i32(9)? } else { vec![-1; table.rows()] },
        };
        particles.demand_unique(&path)?;
        Ok(particles)
    }

    /// Refuses an id that stands twice.
    pub(super) fn demand_unique(&self, path: &Path) -> Result<()> {
        let mut ids = self.particle_id.clone();
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Error::input(path, format!("lists the particle {} twice", pair[0]))),
            None => Ok(()),
        }
    }
}

impl Truth {
    /// Reads the truth of an event; every hit at most once.
    pub fn read(prefix: &Path) -> Result<Self> {
        if acts::is_acts_event(prefix)? {
            return Ok(acts::read(prefix)?.1);
        }
        let path = part(prefix, "truth")?;
        let columns = [
            ("hit_id", Kind::I32, true),
            ("particle_id", Kind::I64, true),
            ("tx", Kind::F32, false),
            ("ty", Kind::F32, false),
            ("tz", Kind::F32, false),
            ("tpx", Kind::F32, false),
            ("tpy", Kind::F32, false),
            ("tpz", Kind::F32, false),
            ("weight", Kind::F32, false),
        ];
        let mut table = Table::read_optional(&path, &columns)?;
        let rows = table.rows();
        let mut points = |first: usize| {
            let there = (first..first + 3).all(|column| table.has(column));
            if there { table.points(first) } else { Ok(vec![[f32::NAN; 3]; rows]) }
        };
        let (position, momentum) = (points(2)?, points(5)?);
        let truth = Self {
            hit_id: table.i32(0)?,
            particle_id: table.i64(1)?,
            position,
            momentum,
            weight: if table.has(8) { table.f32(8)? } else { vec![f32::NAN; rows] },
        };
        Places::of(&truth.hit_id, &path)?;
        if let Some(row) = truth.weight.iter().position(|weight| *weight < 0.0) {
            let problem = format!("line {}: `weight` is {}, expected 0 or more", row + 2, truth.weight[row]);
            return Err(Error::input(&path, problem));
        }
        Ok(truth)
    }

    /// Only ids and particles: what building tracks needs, four times as fast.
    pub fn read_ids(prefix: &Path) -> Result<(Vec<i32>, Vec<i64>)> {
        if acts::is_acts_event(prefix)? {
            let truth = acts::read(prefix)?.1;
            return Ok((truth.hit_id, truth.particle_id));
        }
        let path = part(prefix, "truth")?;
        let mut table = Table::read(&path, &[("hit_id", Kind::I32), ("particle_id", Kind::I64)])?;
        let (hits, particles) = (table.i32(0)?, table.i64(1)?);
        Places::of(&hits, &path)?;
        Ok((hits, particles))
    }
}

/// Where each hit id stands.
pub struct Places {
    lowest: i32,
    dense: Vec<u32>,
    sparse: std::collections::HashMap<i32, u32>,
}

const NOWHERE: u32 = u32::MAX;

impl Places {
    /// Rows of `ids`, which come from `path`.
    ///
    /// # Errors
    /// [`Error::Input`] for an id that stands twice.
    pub fn of(ids: &[i32], path: &Path) -> Result<Self> {
        let lowest = ids.iter().copied().min().unwrap_or(0);
        let span = i64::from(ids.iter().copied().max().unwrap_or(0)) - i64::from(lowest) + 1;
        let mut places = Self { lowest, dense: vec![], sparse: std::collections::HashMap::new() };
        // Ids of TrackML are 1..=n; anything much wider goes into a map.
        if span <= 8 * ids.len() as i64 + 1024 {
            places.dense = vec![NOWHERE; span as usize];
        }
        for (row, &id) in ids.iter().enumerate() {
            let before = if places.dense.is_empty() {
                places.sparse.insert(id, row as u32)
            } else {
                let place = &mut places.dense[(id - lowest) as usize];
                let before = (*place != NOWHERE).then_some(*place);
                *place = row as u32;
                before
            };
            if let Some(before) = before {
                let problem =
                    format!("line {}: hit {id} stands on line {} already; ids are unique", row + 2, before + 2);
                return Err(Error::input(path, problem));
            }
        }
        Ok(places)
    }

    /// Row of a hit.
    pub fn get(&self, id: i32) -> Option<usize> {
        if self.dense.is_empty() {
            return self.sparse.get(&id).map(|&row| row as usize);
        }
        let at = i64::from(id) - i64::from(self.lowest);
        let place = *self.dense.get(usize::try_from(at).ok()?)?;
        (place != NOWHERE).then_some(place as usize)
    }
}
