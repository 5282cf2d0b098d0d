//! Prepared tracks as a trainer sees them: mapped files, addressed as one long list of tracks, padded to the longest.

use std::path::PathBuf;

use common::stage::Manifest;
use common::store::tensors::TensorFile;
use common::{Error, Result};
use neural::loader::{Field, Source};

use crate::normalizer::Normalizer;
use crate::prepare::checked_offsets;

/// Tracks of several events.
pub struct Dataset {
    files: Vec<Part>,
    tracks: u64,
    longest: usize,
    normalizer: Normalizer,
}

struct Part {
    file: TensorFile,
    offsets: Vec<usize>,
    /// Tracks before this file.
    first: u64,
}

impl Dataset {
    /// The tracks of one part (`train` or `valid`) of a `prepare-data` stage; every file's hash is checked once.
    pub fn of_stage(prepared: &Manifest, part: &str) -> Result<Self> {
        let files = prepared.outputs_with_prefix(&format!("{part}/"))?;
        if files.is_empty() {
            return Err(Error::input(&prepared.folder, format!("holds no events of the part `{part}`")));
        }
        Self::open(files.into_iter().map(|(_, path)| path).collect())
    }

    /// From files directly, in order.
    pub fn open(paths: Vec<PathBuf>) -> Result<Self> {
        let mut files = Vec::with_capacity(paths.len());
        let (mut tracks, mut longest) = (0, 2);
        let mut normalizer = None;
        for path in paths {
            let file = TensorFile::open(&path)?;
            let offsets = checked_offsets(&file)?;
            if let Some(short) = offsets.windows(2).position(|w| w[1] - w[0] < 2) {
                let problem =
                    format!("track {short} has {} hits, expected at least 2", offsets[short + 1] - offsets[short]);
                return Err(Error::input(&path, problem).hint("prepare with `filters.min_hits=3`"));
            }
            longest = offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(2).max(longest);
            let about = file.metadata().and_then(|m| serde_json::from_value(m["normalizer"].clone()).ok());
            if let (Some(first), Some(here)) = (normalizer, about)
                && first != here
            {
                let problem = "was prepared with another normaliser than the file before it";
                return Err(Error::input(&path, problem).hint("prepare all events at once: `prepare-data .. --force`"));
            }
            normalizer = normalizer.or(about);
            let first = tracks;
            tracks += offsets.len() as u64 - 1;
            files.push(Part { file, offsets, first });
        }
        if tracks == 0 {
            return Err(Error::usage("the data set has no tracks").hint("prepare it with looser filters"));
        }
        Ok(Self { files, tracks, longest, normalizer: normalizer.unwrap_or_default() })
    }

    /// How the positions are normalised.
    pub fn normalizer(&self) -> Normalizer {
        self.normalizer
    }

    /// Hits of the longest track.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Positions of one track.
    pub fn track(&self, row: u64) -> Result<&[[f32; 3]]> {
        if row >= self.tracks {
            return Err(Error::failed(format!("track {row} of a data set of {} tracks", self.tracks)));
        }
        let part = &self.files[self.files.partition_point(|p| p.first <= row) - 1];
        let at = (row - part.first) as usize;
        let range = 3 * part.offsets[at]..3 * part.offsets[at + 1];
        Ok(part.file.f32("hits_xyz")?[range].as_chunks::<3>().0)
    }
}

impl Source for Dataset {
    fn rows(&self) -> u64 {
        self.tracks
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field { name: "hits".into(), shape: vec![self.longest as i64, 3] }, Field::vector("count", 1)]
    }

    fn gather(&self, rows: &[u64], buffers: &mut [Vec<f32>]) -> Result<()> {
        let [hits, counts] = buffers else {
            return Err(Error::failed(format!("gathering tracks: {} buffers, expected two", buffers.len())));
        };
        for &row in rows {
            let track = self.track(row)?;
            hits.extend_from_slice(track.as_flattened());
            hits.resize(hits.len() + 3 * (self.longest - track.len()), 0.0);
            counts.push(track.len() as f32);
        }
        Ok(())
    }
}
