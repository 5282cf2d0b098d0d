//! Predictions as files, each point with the way back to its voxel: HDF5 in the style of the raw data, a table of the points
//! that were predicted, and one of all voxels of their raw events.

use std::path::Path;

use crate::confusion::Confusion;
use common::durable::{self, Written};
use common::store::hdf5::ListWriter;
use common::store::tables::{Column, ColumnKind, ParquetWriter, Table};
use common::{Error, Result};
use serde_json::json;

use super::Predicted;
use crate::dataset::EventView;
use crate::energy::EnergyScale;
use crate::grouping::CHANNELS;
use crate::instances::{Agreement, Agreements, Density, agreement, by_class};

/// Rows that are collected before a part of a table is written.
const BLOCK: usize = 1 << 18;
const WHOLE: [&str; 7] = ["event", "row", "point", "label", "prediction", "voxel", "cluster"];
const PLACE: [&str; 4] = ["x", "y", "z", "energy_mev"];
/// Class of a voxel that was left out when the events were prepared.
const NOT_PREDICTED: &str = "not predicted";

/// Writes predictions event by event; memory does not grow with their number.
pub struct Writer {
    lists: ListWriter,
    table: ParquetWriter,
    voxels: ParquetWriter,
    sources: Sources,
    names: Vec<String>,
    scale: EnergyScale,
    density: Option<Density>,
    points: Pending,
    all: Pending,
    counted: Confusion,
    agreements: Agreements,
}

/// What was written and counted.
pub struct Finished {
    /// Files by the names that the manifest gives them.
    pub outputs: Vec<(&'static str, Written)>,
    /// All points with a known label.
    pub counted: Confusion,
    /// How well instances agree with the true clusters, where they were asked for and the files know any.
    pub instances: Option<Agreement>,
}

/// Rows of a table that wait to be written.
#[derive(Default)]
struct Pending {
    whole: Vec<Vec<i64>>,
    values: Vec<Vec<f32>>,
    texts: Vec<Vec<String>>,
}

impl Pending {
    fn new(whole: usize, values: usize, texts: usize) -> Self {
        Self { whole: vec![vec![]; whole], values: vec![vec![]; values], texts: vec![vec![]; texts] }
    }

    fn rows(&self) -> usize {
        self.whole.first().map_or(0, Vec::len)
    }

    /// Takes the rows as a table with columns of these names: whole numbers, floats, texts.
    fn take(&mut self, names: &[(String, ColumnKind)]) -> Result<Table> {
        let mut table = Table::new();
        let (mut whole, mut values, mut texts) = (self.whole.iter_mut(), self.values.iter_mut(), self.texts.iter_mut());
        for (name, kind) in names {
            let column = match kind {
                ColumnKind::I64 => whole.next().map(|column| Column::I64(std::mem::take(column))),
                ColumnKind::F32 => values.next().map(|column| Column::F32(std::mem::take(column))),
                _ => texts.next().map(|column| Column::Text(std::mem::take(column))),
            };
            table.push(name.as_str(), column.ok_or_else(|| Error::failed("a table lacks a column"))?)?;
        }
        Ok(table)
    }
}

/// The raw files that events came from, in the order in which they were met.
#[derive(Default)]
struct Sources {
    files: Vec<String>,
}

impl Sources {
    fn number(&mut self, file: &str) -> i32 {
        if self.files.last().is_none_or(|last| last != file) && !self.files.iter().any(|known| known == file) {
            self.files.push(file.to_string());
        }
        self.files.iter().position(|known| known == file).unwrap_or(0) as i32
    }
}

impl Writer {
    /// Opens the files in `folder`. `names` are those of the classes; with `density`, points of a class are made instances.
    pub fn create(folder: &Path, names: &[String], scale: EnergyScale, density: Option<Density>) -> Result<Self> {
        let mut whole = vec!["prediction", "label", "source_row", "source_file", "voxel", "cluster"];
        whole.extend(density.map(|_| "instance"));
        let lists = ListWriter::create(folder.join("predictions.h5"), &["point", "probability"], &whole)?;
        let table = ParquetWriter::create(folder.join("predictions.parquet"), &schema(names, density.is_some()))?;
        let voxels = ParquetWriter::create(folder.join("voxels.parquet"), &voxel_schema())?;
        let classes = names.len();
        Ok(Self {
            lists,
            table,
            voxels,
            sources: Sources::default(),
            names: names.to_vec(),
            scale,
            density,
            points: Pending::new(WHOLE.len() + usize::from(density.is_some()), PLACE.len() + classes, 1),
            all: Pending::new(4, 0, 2),
            counted: Confusion::new(classes),
            agreements: Agreements::default(),
        })
    }

    /// Appends one event. Gives the instances of its points, where they are asked for.
    pub fn append(
        &mut self,
        number: u64,
        event: &EventView,
        predicted: &Predicted,
        labels: &[i64],
    ) -> Result<Option<Vec<i32>>> {
        self.counted.add(labels, &predicted.classes);
        let mut points = event.points.to_vec();
        points.chunks_exact_mut(CHANNELS).for_each(|row| row[3] = self.scale.inverse(f64::from(row[3])));
        let narrow = |list: &[i64]| list.iter().map(|&v| v as i32).collect::<Vec<_>>();
        let file = self.sources.number(event.raw);
        let numbered: Vec<i32>;
        let voxel: &[i32] = match event.voxel.is_empty() {
            true => {
                // Shards of earlier versions do not know: the row of the point among those that were selected.
                numbered = vec![-1; event.len()];
                &numbered
            }
            false => event.voxel,
        };
        self.lists.append_floats("point", &points)?;
        self.lists.append_floats("probability", &predicted.probabilities)?;
        self.lists.append_integers("prediction", &narrow(&predicted.classes))?;
        self.lists.append_integers("label", &narrow(labels))?;
        self.lists.append_integers("source_row", &[event.row as i32])?;
        self.lists.append_integers("source_file", &[file])?;
        self.lists.append_integers("voxel", voxel)?;
        self.lists.append_integers("cluster", event.cluster)?;
        let instances = self.density.map(|density| by_class(event.points, CHANNELS, &predicted.classes, &density));
        if let Some(instances) = &instances {
            self.lists.append_integers("instance", instances)?;
            self.agreements.add(&agreement(event.cluster, instances));
        }
        let classes = self.names.len();
        for (i, (row, p)) in
            points.chunks_exact(CHANNELS).zip(predicted.probabilities.chunks_exact(classes)).enumerate()
        {
            let of_point = [
                number as i64,
                event.row,
                i as i64,
                labels[i],
                predicted.classes[i],
                i64::from(voxel[i]),
                i64::from(event.cluster[i]),
            ];
            let instance = instances.as_ref().map(|instances| i64::from(instances[i]));
            self.points
                .whole
                .iter_mut()
                .zip(of_point.into_iter().chain(instance))
                .for_each(|(column, v)| column.push(v));
            self.points.values.iter_mut().zip(row.iter().chain(p)).for_each(|(column, v)| column.push(*v));
            self.points.texts[0].push(event.raw.to_string());
        }
        self.append_voxels(number, event, voxel, &predicted.classes);
        if self.points.rows() >= BLOCK || self.all.rows() >= BLOCK {
            self.flush()?;
        }
        Ok(instances)
    }

    /// Every voxel of the raw event, those that were left out too.
    fn append_voxels(&mut self, number: u64, event: &EventView, voxel: &[i32], classes: &[i64]) {
        let mut of_voxel = vec![-1; event.raw_points as usize];
        for (&voxel, &class) in voxel.iter().zip(classes) {
            if let Some(place) = usize::try_from(voxel).ok().and_then(|voxel| of_voxel.get_mut(voxel)) {
                *place = class;
            }
        }
        for (voxel, class) in of_voxel.into_iter().enumerate() {
            let whole = [number as i64, event.row, voxel as i64, class];
            self.all.whole.iter_mut().zip(whole).for_each(|(column, v)| column.push(v));
            let name = usize::try_from(class).ok().and_then(|class| self.names.get(class));
            self.all.texts[0].push(name.map_or(NOT_PREDICTED, String::as_str).to_string());
            self.all.texts[1].push(event.raw.to_string());
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.table.append(&self.points.take(&schema(&self.names, self.density.is_some()))?)?;
        self.voxels.append(&self.all.take(&voxel_schema())?)
    }

    /// Publishes all files. `folder` is that of [`Writer::create`].
    pub fn finish(mut self, folder: &Path) -> Result<Finished> {
        self.flush()?;
        let about = json!({ "classes": self.names, "files": self.sources.files });
        let text = serde_json::to_string_pretty(&about).map_err(|e| Error::failed(format!("naming sources: {e}")))?;
        let outputs = vec![
            ("predictions.h5", self.lists.finish()?),
            ("predictions", self.table.finish()?),
            ("voxels", self.voxels.finish()?),
            ("sources", durable::write(folder.join("sources.json"), format!("{text}\n").as_bytes())?),
        ];
        Ok(Finished { outputs, counted: self.counted, instances: self.agreements.mean() })
    }
}

fn schema(names: &[String], instances: bool) -> Vec<(String, ColumnKind)> {
    let whole = WHOLE.into_iter().chain(instances.then_some("instance")).map(|n| (n.to_string(), ColumnKind::I64));
    let values = PLACE.iter().map(ToString::to_string).chain(names.iter().map(|n| format!("p_{n}")));
    whole.chain(values.map(|n| (n, ColumnKind::F32))).chain([("file".to_string(), ColumnKind::Text)]).collect()
}

fn voxel_schema() -> Vec<(String, ColumnKind)> {
    let whole = ["event", "row", "voxel", "prediction"].map(|n| (n.to_string(), ColumnKind::I64));
    whole.into_iter().chain(["class", "file"].map(|n| (n.to_string(), ColumnKind::Text))).collect()
}
