//! Prepared arrays as a trainer sees them: memory-mapped month files, addressed as one long table of rows.
//!
//! Nothing is loaded: a row is copied out of the mapped file when it is asked for, so training needs memory for its
//! batches only, whatever the size of the data set. A sampling index (ADAM's `v3`) is a mapped file as well.

use std::path::{Path, PathBuf};

use common::stage::Manifest;
use common::store::tensors::TensorFile;
use common::{Error, Result};

use crate::columns::{INPUTS, LEVELS, TARGETS};
use crate::norm::Chain;
use crate::prepare::places::{self, BEFORE, EARLIER, PREVIOUS, WIDTH};
use crate::raw::month::{Month, Months};

/// Which training rows of a prepared folder.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Months to take, as far as they are present; none: all.
    pub months: Option<Months>,
    /// Rows and order per month as the sampling index says; months that the index does not name are left out.
    pub indexed: bool,
    /// What comes beside inputs and targets.
    pub extras: Extras,
}

/// Numbers of a row that say where and when it is, each -1..1: sine and cosine of latitude, longitude, time of the year and hour
/// by the sun.
pub const PLACES: usize = 8;

/// What comes behind the 556 inputs of a row, and behind its 368 targets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extras {
    /// Sine and cosine of the latitude.
    pub latitude: bool,
    /// Sine and cosine of the time of the year and of the hour by the sun.
    pub time: bool,
    /// Six profiles of the step before: states.
    pub previous_states: bool,
    /// Six profiles of the step before: tendencies.
    pub previous_tendencies: bool,
    /// Behind the targets: all of where and when the row is.
    pub target_places: bool,
}

impl Extras {
    /// Numbers that belong to no level.
    fn scalars(self) -> usize {
        2 * usize::from(self.latitude) + 4 * usize::from(self.time)
    }

    fn profiles(self) -> usize {
        6 * (usize::from(self.previous_states) + usize::from(self.previous_tendencies))
    }

    /// Channels of a network's input.
    pub fn channels(self) -> usize {
        self.scalars() + self.profiles()
    }

    /// Whether anything is asked for that has to do with the inputs.
    pub fn of_inputs(self) -> bool {
        self.channels() > 0
    }

    fn needs_places(self) -> bool {
        self.latitude || self.time || self.target_places
    }

    fn needs_previous(self) -> bool {
        self.previous_states || self.previous_tendencies
    }

    /// Refuses arrays that do not hold it.
    fn demand(self, file: &TensorFile) -> Result<()> {
        let rows = file.shape("inputs")?[0];
        if self.needs_places() {
            if !file.contains(places::PLACES) {
                let problem = "does not say where and when its rows are, which the network is to be told";
                return Err(Error::input(file.path(), problem).hint(
                    "prepare netCDF files of a known grid again (`raw.grid=FILE`), or leave `latitude`, `time` and `places` out; \
                     rows of csv files have no place",
                ));
            }
            file.elements_of_shape::<f32>(places::PLACES, &[Some(rows), Some(WIDTH)])?;
        }
        if self.needs_previous() {
            if !file.contains(PREVIOUS) {
                let problem = "does not know the step before its rows, which the network is to be told";
                return Err(Error::input(file.path(), problem).hint("prepare netCDF files with `previous=true`"));
            }
            let earlier = file.elements_of_shape::<f32>(EARLIER, &[None, Some(BEFORE)])?.len() / BEFORE;
            let previous = file.elements_of_shape::<i64>(PREVIOUS, &[Some(rows)])?;
            let sound = |&at: &i64| at < rows as i64 && at >= -(earlier as i64);
            if let Some(row) = previous.iter().position(|at| !sound(at)) {
                let problem =
                    format!("`{PREVIOUS}` of row {row} is {}, beyond {rows} rows and {earlier}", previous[row]);
                return Err(Error::input(file.path(), problem));
            }
        }
        Ok(())
    }
}

/// Sine and cosine of latitude, longitude, time of the year and hour by the sun of a place: latitude and longitude in degrees,
/// area, day of the year, second of the day.
pub fn place_numbers(place: &[f32]) -> [f32; PLACES] {
    let [lat, lon, _, day, second] = std::array::from_fn(|i| f64::from(place[i]));
    let part = second / 86_400.0;
    let turns = [lat / 360.0, lon / 360.0, (day + part) / 365.0, part + lon / 360.0];
    let angles = turns.map(|turn| std::f64::consts::TAU * turn);
    std::array::from_fn(|i| {
        let (sin, cos) = angles[i / 2].sin_cos();
        (if i % 2 == 0 { sin } else { cos }) as f32
    })
}

/// Rows of inputs and targets, f32, normalised, training order.
pub struct Dataset {
    shards: Vec<Shard>,
    index: Option<TensorFile>,
    rows: u64,
    extras: Extras,
}

struct Shard {
    /// Name without chain and `train_`: a month (`01_02`), `csv_0000`, or `valid`.
    name: String,
    file: TensorFile,
    /// Rows before this shard.
    first: u64,
    /// Rows used of it.
    rows: u64,
}

impl Dataset {
    /// The training rows of a `prepare-data` stage. Every file's hash is checked once.
    ///
    /// # Errors
    /// [`Error::Input`] for missing or changed files, [`Error::Usage`] where the selection leaves nothing.
    pub fn train(manifest: &Manifest, chain: Chain, selection: &Selection) -> Result<Self> {
        let prefix = format!("{chain}/train_");
        let wanted = selection.months.as_ref().map(|m| m.resolve("months")).transpose()?;
        let names: Vec<String> = manifest
            .outputs
            .keys()
            .filter_map(|name| name.strip_prefix(&prefix))
            .filter(|name| match (&wanted, Month::parse(name)) {
                (Some(wanted), Some(month)) => wanted.contains(&month),
                (Some(_), None) => false,
                (None, _) => true,
            })
            .map(str::to_string)
            .collect();
        if names.is_empty() {
            return Err(Error::usage(format!(
                "`{}` holds no training rows of chain {chain} in the months asked for",
                manifest.folder.display()
            ))
            .hint("choose other months, or prepare them: the `train` part of the config of `prepare-data`"));
        }
        let files = names.into_iter().map(|name| Ok((manifest.output(&format!("{prefix}{name}"))?, name)));
        let files = files.map(|f| f.map(|(path, name)| (name, path))).collect::<Result<Vec<_>>>()?;
        let index = if selection.indexed { Some(manifest.output("a/v3_index")?) } else { None };
        Self::open_with(&files, index.as_deref(), selection.extras)
    }

    /// The validation rows of a `prepare-data` stage.
    pub fn valid(manifest: &Manifest, chain: Chain) -> Result<Self> {
        Self::open(&[("valid".to_string(), manifest.output(&format!("{chain}/valid"))?)], None)
    }

    /// From files directly: name (a month `01_02`, or any other) and path, in the order of their rows.
    pub fn open(files: &[(String, PathBuf)], index: Option<&Path>) -> Result<Self> {
        Self::open_with(files, index, Extras::default())
    }

    /// The same with more behind inputs and targets.
    pub fn open_with(files: &[(String, PathBuf)], index: Option<&Path>, extras: Extras) -> Result<Self> {
        let index = index.map(TensorFile::open).transpose()?;
        let mut shards = Vec::with_capacity(files.len());
        let mut first = 0;
        for (name, path) in files {
            let file = TensorFile::open(path)?;
            let stored = rows_of(&file)?;
            extras.demand(&file)?;
            let rows = match &index {
                None => stored as u64,
                Some(index) if index.contains(name) => {
                    let rows = index.i64(name)?;
                    if let Some(bad) = rows.iter().find(|r| **r < 0 || **r >= stored as i64) {
                        return Err(Error::input(
                            index.path(),
                            format!("`{name}` asks for row {bad}, `{}` has {stored}", path.display()),
                        ));
                    }
                    rows.len() as u64
                }
                Some(_) => continue,
            };
            shards.push(Shard { name: name.clone(), file, first, rows });
            first += rows;
        }
        if first == 0 {
            return Err(Error::usage("the training set has no rows")
                .hint("choose months that are prepared and, with an index, named by it"));
        }
        Ok(Self { shards, index, rows: first, extras })
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Names of the files in row order: months (`01_02`), `csv_0000`, or `valid`; with the rows used of each.
    pub fn parts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.shards.iter().map(|s| (s.name.as_str(), s.rows))
    }

    /// The files, in the order of their rows.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(|s| s.file.path())
    }

    /// Numbers of a row: 556 and 368, and what comes behind.
    pub fn widths(&self) -> [usize; 2] {
        let extras = self.extras;
        let inputs = INPUTS + extras.scalars() + LEVELS * extras.profiles();
        [inputs, TARGETS + if extras.target_places { PLACES } else { 0 }]
    }

    /// Copies the rows `ids` into `inputs` `[n, 556]` and `targets` `[n, 368]`, or as wide as [`Dataset::widths`] says.
    pub fn gather(&self, ids: &[u64], inputs: &mut [f32], targets: &mut [f32]) -> Result<()> {
        let [wide, tall] = self.widths();
        if inputs.len() != ids.len() * wide || targets.len() != ids.len() * tall {
            return Err(Error::failed(format!("gathering {} rows into buffers of another size", ids.len())));
        }
        let out = inputs.chunks_exact_mut(wide).zip(targets.chunks_exact_mut(tall));
        for (&id, (inputs, targets)) in ids.iter().zip(out) {
            let (shard, row) = self.locate(id)?;
            let (own, further) = inputs.split_at_mut(INPUTS);
            own.copy_from_slice(&shard.file.f32("inputs")?[row * INPUTS..(row + 1) * INPUTS]);
            let (own, there) = targets.split_at_mut(TARGETS);
            own.copy_from_slice(&shard.file.f32("targets")?[row * TARGETS..(row + 1) * TARGETS]);
            self.further(shard, row, further, there)?;
        }
        Ok(())
    }

    /// Fills what stands behind inputs and targets of a row.
    fn further(&self, shard: &Shard, row: usize, inputs: &mut [f32], targets: &mut [f32]) -> Result<()> {
        let (extras, mut at) = (self.extras, 0);
        let mut put = |values: &[f32]| {
            inputs[at..at + values.len()].copy_from_slice(values);
            at += values.len();
        };
        if extras.needs_places() {
            let numbers = place_numbers(&shard.file.f32(places::PLACES)?[row * WIDTH..(row + 1) * WIDTH]);
            if extras.latitude {
                put(&numbers[..2]);
            }
            if extras.time {
                put(&numbers[4..]);
            }
            if extras.target_places {
                targets.copy_from_slice(&numbers);
            }
        }
        if extras.needs_previous() {
            let [states, tendencies] = match shard.file.i64(PREVIOUS)?[row] {
                // A row of this file.
                before @ 0.. => {
                    let before = before as usize;
                    let inputs = &shard.file.f32("inputs")?[before * INPUTS..(before + 1) * INPUTS];
                    places::before(inputs, &shard.file.f32("targets")?[before * TARGETS..(before + 1) * TARGETS])
                }
                // One that is kept for this alone.
                other => {
                    let before = (-1 - other) as usize;
                    let both = &shard.file.f32(EARLIER)?[before * BEFORE..(before + 1) * BEFORE];
                    let (states, tendencies) = both.split_at(BEFORE / 2);
                    [states, tendencies]
                }
            };
            if extras.previous_states {
                put(states);
            }
            if extras.previous_tendencies {
                put(tendencies);
            }
        }
        Ok(())
    }

    /// The file of row `id` and its row there.
    fn locate(&self, id: u64) -> Result<(&Shard, usize)> {
        if id >= self.rows {
            return Err(Error::failed(format!("row {id} of a data set of {} rows", self.rows)));
        }
        let shard = &self.shards[self.shards.partition_point(|s| s.first + s.rows <= id)];
        let place = (id - shard.first) as usize;
        let row = match &self.index {
            Some(index) => index.i64(&shard.name)?[place] as usize,
            None => place,
        };
        Ok((shard, row))
    }
}

fn rows_of(file: &TensorFile) -> Result<usize> {
    match (file.shape("inputs")?, file.shape("targets")?) {
        (&[n, INPUTS], &[m, TARGETS]) if n == m => Ok(n),
        (inputs, targets) => {
            let problem =
                format!("`inputs` {inputs:?} and `targets` {targets:?}, expected [n, {INPUTS}] and [n, {TARGETS}]");
            Err(Error::input(file.path(), problem))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::store::tensors::{self, TensorView};

    fn shard(folder: &Path, name: &str, rows: usize, base: f32) -> (String, PathBuf) {
        let fill = |width: usize| -> Vec<f32> { (0..rows * width).map(|i| base + (i / width) as f32).collect() };
        let (inputs, targets) = (fill(INPUTS), fill(TARGETS));
        let path = folder.join(format!("train_{name}.safetensors"));
        let shapes = ([rows, INPUTS], [rows, TARGETS]);
        let views = [TensorView::of("inputs", &shapes.0, &inputs), TensorView::of("targets", &shapes.1, &targets)];
        tensors::write(&path, &views, None).unwrap();
        (name.to_string(), path)
    }

    fn firsts(data: &Dataset, ids: &[u64]) -> Vec<f32> {
        let (mut inputs, mut targets) = (vec![0.0; ids.len() * INPUTS], vec![0.0; ids.len() * TARGETS]);
        data.gather(ids, &mut inputs, &mut targets).unwrap();
        let first: Vec<f32> = inputs.chunks(INPUTS).map(|row| row[INPUTS - 1]).collect();
        assert_eq!(first, targets.chunks(TARGETS).map(|row| row[0]).collect::<Vec<_>>());
        first
    }

    #[test]
    fn rows_are_addressed_across_files() {
        let folder = tempfile::tempdir().unwrap();
        let files = [shard(folder.path(), "01_02", 3, 100.0), shard(folder.path(), "01_03", 2, 200.0)];
        let data = Dataset::open(&files, None).unwrap();
        assert_eq!(data.rows(), 5);
        assert_eq!(firsts(&data, &[4, 0, 2, 3]), [201.0, 100.0, 102.0, 200.0]);
        let mut none = [];
        assert!(data.gather(&[5], &mut none, &mut []).is_err());
    }

    #[test]
    fn an_index_chooses_rows_and_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let files = [shard(folder.path(), "01_02", 3, 100.0), shard(folder.path(), "01_03", 2, 200.0)];
        let path = folder.path().join("index.safetensors");
        tensors::write(&path, &[TensorView::of("01_02", &[2], &[2i64, 0])], None).unwrap();
        let data = Dataset::open(&files, Some(&path)).unwrap();
        assert_eq!(data.parts().collect::<Vec<_>>(), [("01_02", 2)]);
        assert_eq!(firsts(&data, &[0, 1]), [102.0, 100.0]);
        tensors::write(&path, &[TensorView::of("01_02", &[1], &[3i64])], None).unwrap();
        assert!(Dataset::open(&files, Some(&path)).is_err());
    }
}
