//! Raw files: PILArNet-M's HDF5 and parquet, one list of voxels and one of clusters an event, and point clouds of other programs
//! in HDF5, `.npy`, `.npz` and parquet.
//!
//! In PILArNet-M `point` holds rows of 8 (x, y, z in voxels, value in MeV, energy deposit, time, electrons, dx), ordered by
//! cluster; `cluster` rows of 5 (points, fragment, group, interaction, semantic type) or, in later releases, 6 (the last is
//! the particle). The first cluster is the one of low-energy scatters. Both widths are told apart by their sums. What other
//! files hold, and where, is said by a [`Layout`].

mod column;
pub mod find;
pub mod layout;
mod lists;
mod select;
mod selection;
mod table;

use std::ops::Range;
use std::path::{Path, PathBuf};

use common::store::npy;
use common::{Error, Result};

pub use layout::Layout;
use lists::ListSource;
pub use select::{Owners, RawEvent, Tally, select};
pub use selection::{Scatters, Selection, Unusable};
use table::TableSource;

/// Values of a voxel in PILArNet-M.
pub const POINT_WIDTH: usize = 8;
/// Events that are read at once.
pub const BLOCK: usize = 64;

/// One event, ready for the networks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event {
    /// Rows of x, y, z in voxels and the energy on its scale.
    pub points: Vec<f32>,
    /// Class of each point; [`crate::classes::UNLABELLED`] where there is none.
    pub semantic: Vec<u8>,
    /// Number of each point's cluster within the event; -1 where it is not known.
    pub cluster: Vec<i32>,
    /// Kind of each point's particle, in files that have it.
    pub particle: Vec<u8>,
    /// Row of each point in the raw event.
    pub voxel: Vec<i32>,
    /// Rows of the raw event.
    pub raw_points: u64,
}

impl Event {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.semantic.len()
    }

    /// Whether nothing remained.
    pub fn is_empty(&self) -> bool {
        self.semantic.is_empty()
    }
}

/// An open raw file of any format.
#[derive(Debug)]
pub struct RawFile {
    path: PathBuf,
    layout: Layout,
    source: Source,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one value a file")]
enum Source {
    Lists(ListSource),
    Table(TableSource),
}

impl RawFile {
    /// Opens a file: what it is, its ending says.
    pub fn open(path: &Path, layout: &Layout) -> Result<Self> {
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let source = match ending.as_str() {
            "npy" => Source::Table(TableSource::npy(path, layout)?),
            "npz" => Source::Table(TableSource::npz(path, layout)?),
            "parquet" => match ListSource::parquet(path, layout)? {
                Some(lists) => Source::Lists(lists),
                None => Source::Table(TableSource::parquet(path, layout)?),
            },
            _ => Source::Lists(ListSource::open(path, layout)?),
        };
        Ok(Self { path: path.to_path_buf(), layout: layout.clone(), source })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Other files that parts of it lie in, by links and virtual data sets.
    pub fn linked(&self) -> Vec<PathBuf> {
        let Source::Lists(lists) = &self.source else { return Vec::new() };
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let own = real(&self.path);
        let mut others: Vec<PathBuf> = lists.files().map(real).filter(|path| *path != own).collect();
        others.sort();
        others.dedup();
        others
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Lists(lists) => lists.len(),
            Source::Table(table) => table.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of an event in the file: its place, or what a column of the file says.
    pub fn number(&self, event: usize) -> i64 {
        match &self.source {
            Source::Lists(_) => event as i64,
            Source::Table(table) => table.number(event),
        }
    }

    /// Whether points have classes.
    pub fn labelled(&self) -> bool {
        match &self.source {
            Source::Lists(lists) => lists.labelled(),
            Source::Table(table) => table.labelled(),
        }
    }

    /// Numbers of a row of a cluster; 0 where there are no clusters.
    pub fn cluster_width(&self) -> usize {
        match &self.source {
            Source::Lists(lists) => lists.cluster_width(),
            Source::Table(_) => 0,
        }
    }

    /// Voxels of each event of a range, all clusters counted: what the published index holds.
    pub fn counts(&self, range: Range<usize>) -> Result<Vec<i64>> {
        match &self.source {
            Source::Lists(lists) => lists.counts(range, &self.layout),
            Source::Table(table) => Ok(table.counts(range)),
        }
    }

    /// Reads a block of events and selects their voxels: `None` for events that `wanted` leaves out. What is left out of
    /// the others is counted in `tally`.
    pub fn events(
        &self,
        range: Range<usize>,
        selection: &Selection,
        wanted: impl Fn(usize) -> bool,
        tally: &mut Tally,
    ) -> Result<Vec<Option<Event>>> {
        let mut events = Vec::with_capacity(range.len());
        let mut take = |number: usize, raw: RawEvent| {
            events.push(match wanted(number) {
                true => Some(select(raw, &self.layout, selection, tally)?),
                false => None,
            });
            Ok(())
        };
        match &self.source {
            Source::Lists(lists) => lists.each(range, &self.layout, &mut take)?,
            Source::Table(table) => table.each(range, &mut take)?,
        }
        Ok(events)
    }

    /// Voxels of every event, as the file has them. An index beside the file must say the same: one of an older file would
    /// choose other events.
    ///
    /// Differs: upstream believes the index, and without one uses every event, whatever its voxels.
    pub fn index(&self) -> Result<Vec<i64>> {
        let mut counts = Vec::with_capacity(self.len());
        for start in (0..self.len()).step_by(BLOCK) {
            counts.extend(self.counts(start..(start + BLOCK).min(self.len()))?);
        }
        let path = index_path(&self.path);
        if path.is_file() && path != self.path {
            // Also without a dimension: what upstream writes for a file of one event.
            let given = npy::NpyArray::open(&path)?.to_i64()?;
            let hint = "it is the index of another file; remove it: the events are counted anew without it";
            if given.len() != counts.len() {
                let problem = format!("lists {} events, `{}` has {}", given.len(), self.path.display(), self.len());
                return Err(Error::input(&path, problem).hint(hint));
            }
            if let Some(event) = (0..given.len()).find(|&i| given[i] != counts[i]) {
                let (said, found) = (given[event], counts[event]);
                let problem = format!("gives event {event} {said} points, `{}` has {found}", self.path.display());
                return Err(Error::input(&path, problem).hint(hint));
            }
        }
        Ok(counts)
    }
}

/// Name of the index of a file: `_points.npy` instead of `.h5`.
pub fn index_path(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{}_points.npy", name.trim_end_matches(".h5")))
}
