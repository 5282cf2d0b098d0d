//! Embeddings as files: what the encoder makes of every token and every point, with the way back to their voxels.
//!
//! `tokens.parquet` and `points.parquet` say what each row is; rows of `tokens.npy` and `points.npy` are the features in the same
//! order. `tokens.parquet` has the features as columns too, so that UMAP and the like take it as it is.

use std::path::Path;
use std::sync::Arc;

use common::cli::{progress, signals};
use common::durable::Written;
use common::store::npy::NpyRows;
use common::store::tables::{Column, ColumnKind, ParquetWriter, Table};
use common::{Error, Result};
use neural::weights;
use tch::Device;

use super::{Learned, NetworkConfig, described};
use crate::dataset::{EventView, Events};
use crate::energy::EnergyScale;
use crate::grouping::{CHANNELS, GroupingConfig};
use crate::import::finetuning_name;
use crate::masking::random_mask;
use crate::models::encoder::Encoder;
use crate::models::floats;
use crate::picture::Rebuilt;
use crate::probe::{Embedded, Embedding};
use crate::train::{Built, ModelConfig, Network, build};
use crate::transforms::Transform;

/// Values of a token's or a point's row beside its features.
const TOKEN: [&str; 5] = ["event", "row", "token", "points", "label"];
const POINT: [&str; 6] = ["event", "row", "point", "voxel", "cluster", "label"];
const PLACE: [&str; 4] = ["x", "y", "z", "energy_mev"];

/// An encoder with what happens to events before it.
pub struct Embedder {
    network: Network,
    /// Whether it is a pretraining whose decoder is as it was trained too.
    rebuilds: bool,
    grouping: GroupingConfig,
    transforms: Vec<Transform>,
    /// What it learned from, as far as the file says.
    pub learned: Learned,
    /// Name of the network.
    pub member: String,
    /// Number of classes that it knows or was probed by.
    pub classes: usize,
    device: Device,
}

impl Embedder {
    /// The encoder of a pretraining or of a segmentation, whose weights say which it is, or a config does.
    pub fn open(path: &Path, known: Option<&NetworkConfig>, device: Device) -> Result<Self> {
        let whole = known.is_none();
        let known = match known {
            Some(known) => known.clone(),
            None => described(path)?,
        };
        let built = build(&known.model, device, 0)?;
        // A pretraining that says itself what it is has its decoder as well, as a rule.
        if whole && matches!(built.network, Network::Mae(_)) {
            match weights::load(&built.params.state(), path, &crate::import::allow()) {
                Ok(_) => {
                    return Ok(Self { learned: Learned::of(path)?, rebuilds: true, ..Self::of(known, built, device)? });
                }
                Err(error) => tracing::info!("hidden groups are not rebuilt: {error}"),
            }
        }
        // A pretraining's file may be read with the config of a segmentation: the encoder alone is wanted.
        let own: Vec<_> = built.params.state().into_iter().filter(|(name, _)| name.starts_with("encoder.")).collect();
        let source: Vec<_> = weights::read(path)?
            .into_iter()
            .filter_map(|(name, tensor)| Some((finetuning_name(&name)?, tensor)))
            .filter(|(name, _)| name.starts_with("encoder."))
            .collect();
        weights::load_strict(&own, &source, &weights::Allow::default()).map_err(|error| match error {
            Error::Failed { message, hint } => Error::Input { path: path.to_path_buf(), problem: message, hint },
            other => other,
        })?;
        Ok(Self { learned: Learned::of(path)?, ..Self::of(known, built, device)? })
    }

    /// The same network before it learned anything.
    pub fn untrained(path: &Path, known: Option<&NetworkConfig>, device: Device) -> Result<Self> {
        let known = match known {
            Some(known) => known.clone(),
            None => described(path)?,
        };
        let built = build(&known.model, device, 0)?;
        Self::of(known, built, device)
    }

    fn of(known: NetworkConfig, built: Built, device: Device) -> Result<Self> {
        let NetworkConfig { member, model, transforms } = known;
        let (grouping, classes) = match model {
            ModelConfig::Mae(task) => {
                let classes = task.svm.as_ref().map_or(4, |svm| svm.classes);
                (task.network.encoder.tokenizer, classes)
            }
            ModelConfig::Segmentation(task) => (task.network.encoder.tokenizer, task.network.num_classes),
        };
        let (network, learned) = (built.network, Learned::default());
        Ok(Self { network, rebuilds: false, grouping, transforms, learned, member, classes, device })
    }

    /// For the probes.
    pub fn embedding(&self) -> Embedding<'_> {
        Embedding {
            encoder: self.encoder(),
            grouping: &self.grouping,
            transforms: &self.transforms,
            device: self.device,
        }
    }

    /// Width of its features.
    pub fn width(&self) -> usize {
        self.encoder().dim() as usize
    }

    fn encoder(&self) -> &Encoder {
        match &self.network {
            Network::Mae(network) => &network.encoder,
            Network::Segmentation(network) => &network.encoder,
        }
    }

    /// Whether [`Embedder::rebuild`] can rebuild anything.
    pub fn rebuilds(&self) -> bool {
        self.rebuilds && matches!(self.transforms.as_slice(), [Transform::CenterAndScale { .. }])
    }

    /// Hides groups of an event as a pretraining does, and rebuilds them; none of a network that cannot.
    pub fn rebuild(&self, embedded: &Embedded, points: &[f32], number: u64) -> Result<Option<Rebuilt>> {
        let (Network::Mae(network), [Transform::CenterAndScale { center, scale }]) =
            (&self.network, self.transforms.as_slice())
        else {
            return Ok(None);
        };
        let groups = &embedded.batch.groups[0];
        if !self.rebuilds || groups.is_empty() {
            return Ok(None);
        }
        let mask = random_mask(groups.len(), network.masking_ratio(), 0, 0, number);
        if mask.masked.is_empty() {
            return Ok(None);
        }
        let (local, runs) = tch::no_grad(|| network.rebuilt(&embedded.batch.grouped, std::slice::from_ref(&mask)))?;
        let (width, local) = (local.size()[1] as usize, floats(&local)?);
        let mut starts = vec![0];
        groups.counts.iter().for_each(|&count| starts.push(starts[starts.len() - 1] + count as usize));
        let places = |tokens: &[i64]| -> Vec<[f32; 3]> {
            let mut rows: Vec<u32> = tokens
                .iter()
                .flat_map(|&t| groups.members[starts[t as usize]..starts[t as usize + 1]].to_vec())
                .collect();
            rows.sort_unstable();
            rows.dedup();
            rows.iter().map(|&row| std::array::from_fn(|axis| points[row as usize * CHANNELS + axis])).collect()
        };
        // From a group's own coordinates to voxels.
        let radius = self.grouping.radius.map_or(1.0, |radius| radius as f32);
        let mut rebuilt = Vec::with_capacity(local.len() / width.max(1));
        for ((start, length), &token) in runs.iter().zip(&mask.masked) {
            let middle = &groups.centers[token as usize * groups.center_width..];
            for row in local.chunks_exact(width).skip(start as usize).take(length as usize) {
                rebuilt.push(std::array::from_fn(|axis| {
                    (row[axis] * radius + middle[axis]) / *scale as f32 + center[axis]
                }));
            }
        }
        Ok(Some(Rebuilt { seen: places(&mask.visible), hidden: places(&mask.masked), rebuilt }))
    }

    /// Embeds the first `most` events of a set in order, and hands each to `take`.
    pub fn run(
        &self,
        events: &Arc<Events>,
        most: u64,
        mut take: impl FnMut(u64, &EventView, &Embedded) -> Result<()>,
    ) -> Result<()> {
        let count = most.min(events.len());
        let bar = progress::Bar::new("embed", count);
        for number in 0..count {
            signals::check("nothing is written; the same command embeds anew")?;
            let view = events.get(number)?;
            take(number, &view, &self.embedding().points(events.rows(&view), number)?)?;
            bar.tick(1);
        }
        bar.finish();
        Ok(())
    }
}

/// Writes embeddings event by event.
pub struct EmbeddingWriter {
    scale: EnergyScale,
    width: usize,
    tokens: (ParquetWriter, NpyRows),
    points: (ParquetWriter, NpyRows),
    /// Tokens and points so far.
    pub counted: (u64, u64),
}

impl EmbeddingWriter {
    /// Opens the files in `folder`, for features of `width` numbers.
    pub fn create(folder: &Path, width: usize, scale: EnergyScale) -> Result<Self> {
        let open = |name: &str, schema: &[(String, ColumnKind)]| -> Result<(ParquetWriter, NpyRows)> {
            let table = ParquetWriter::create(folder.join(format!("{name}.parquet")), schema)?;
            Ok((table, NpyRows::create(folder.join(format!("{name}.npy")), width)?))
        };
        let tokens = open("tokens", &schema(&TOKEN, width))?;
        Ok(Self { scale, width, tokens, points: open("points", &schema(&POINT, 0))?, counted: (0, 0) })
    }

    /// Appends one event.
    pub fn append(&mut self, number: u64, event: &EventView, embedded: &Embedded) -> Result<()> {
        let features = floats(&embedded.tokens)?;
        let labels = event.labels();
        let mut points = event.points.to_vec();
        points.chunks_exact_mut(CHANNELS).for_each(|row| row[3] = self.scale.inverse(f64::from(row[3])));
        let groups = &embedded.batch.groups[0];
        let tokens = groups.counts.len();
        let mut columns = Columns::new(TOKEN.len());
        let mut begin = 0;
        for (token, &count) in groups.counts.iter().enumerate() {
            let members = &groups.members[begin..begin + count as usize];
            begin += count as usize;
            let whole = [
                number as i64,
                event.row,
                token as i64,
                i64::from(count),
                majority(members.iter().map(|&m| labels[m as usize])),
            ];
            let mut place = [0f32; 4];
            for &member in members {
                let row = &points[member as usize * CHANNELS..][..CHANNELS];
                (0..3).for_each(|axis| place[axis] += row[axis] / count as f32);
                place[3] += row[3];
            }
            columns.push(&whole, &place);
        }
        self.tokens.0.append(&columns.table(&TOKEN, event.raw, tokens, &features, self.width)?)?;
        self.tokens.1.append(&features)?;
        let mut columns = Columns::new(POINT.len());
        for (i, row) in points.chunks_exact(CHANNELS).enumerate() {
            let voxel = event.voxel.get(i).map_or(-1, |&voxel| i64::from(voxel));
            let whole = [number as i64, event.row, i as i64, voxel, i64::from(event.cluster[i]), labels[i]];
            columns.push(&whole, &[row[0], row[1], row[2], row[3]]);
        }
        self.points.0.append(&columns.table(&POINT, event.raw, event.len(), &[], 0)?)?;
        self.points.1.append(&floats(&embedded.points)?)?;
        self.counted.0 += tokens as u64;
        self.counted.1 += event.len() as u64;
        Ok(())
    }

    /// Publishes the files, by the names that the manifest gives them.
    pub fn finish(self) -> Result<Vec<(&'static str, Written)>> {
        Ok(vec![
            ("tokens", self.tokens.0.finish()?),
            ("tokens.npy", self.tokens.1.finish()?),
            ("points", self.points.0.finish()?),
            ("points.npy", self.points.1.finish()?),
        ])
    }
}

/// Rows of one event.
struct Columns {
    whole: Vec<Vec<i64>>,
    places: [Vec<f32>; 4],
}

impl Columns {
    fn new(whole: usize) -> Self {
        Self { whole: vec![vec![]; whole], places: Default::default() }
    }

    fn push(&mut self, whole: &[i64], place: &[f32; 4]) {
        self.whole.iter_mut().zip(whole).for_each(|(column, v)| column.push(*v));
        self.places.iter_mut().zip(place).for_each(|(column, v)| column.push(*v));
    }

    fn table(self, names: &[&str], file: &str, rows: usize, features: &[f32], width: usize) -> Result<Table> {
        let mut table = Table::new();
        for (name, column) in names.iter().zip(self.whole) {
            table.push(*name, Column::I64(column))?;
        }
        for (name, column) in PLACE.iter().zip(self.places) {
            table.push(*name, Column::F32(column))?;
        }
        for feature in 0..width {
            let column = features.iter().skip(feature).step_by(width).copied().collect();
            table.push(feature_name(feature), Column::F32(column))?;
        }
        table.push("file", Column::Text(vec![file.to_string(); rows]))?;
        Ok(table)
    }
}

fn feature_name(feature: usize) -> String {
    format!("f{feature:03}")
}

fn schema(whole: &[&str], width: usize) -> Vec<(String, ColumnKind)> {
    let whole = whole.iter().map(|n| ((*n).to_string(), ColumnKind::I64));
    let values = PLACE.iter().map(ToString::to_string).chain((0..width).map(feature_name));
    whole.chain(values.map(|n| (n, ColumnKind::F32))).chain([("file".to_string(), ColumnKind::Text)]).collect()
}

/// The label that occurs most; the lowest of equal ones, and -1 where none is known.
fn majority(labels: impl Iterator<Item = i64>) -> i64 {
    let mut counts = std::collections::BTreeMap::<i64, usize>::new();
    labels.filter(|label| *label >= 0).for_each(|label| *counts.entry(label).or_default() += 1);
    counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0))).map_or(-1, |(label, _)| label)
}

#[cfg(test)]
mod tests {
    use common::store::npy::NpyArray;

    use super::*;

    #[test]
    fn rows_that_grow_are_an_array_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let mut rows = NpyRows::create(path.clone(), 3).unwrap();
        rows.append(&[1.0, 2.0, 3.0]).unwrap();
        rows.append(&[4.0, 5.0, 6.0, 7.0, 8.0, 9.0]).unwrap();
        rows.finish().unwrap();
        let array = NpyArray::open(&path).unwrap();
        assert_eq!((array.shape(), array.to_f64()[8]), (&[3, 3][..], 9.0));
    }

    #[test]
    fn the_label_of_a_token_is_that_of_most_of_its_points() {
        assert_eq!(majority([2, 1, 1, -1, -1, -1].into_iter()), 1);
        assert_eq!(majority([2, 1].into_iter()), 1);
        assert_eq!(majority([-1].into_iter()), -1);
    }
}
