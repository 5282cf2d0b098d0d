//! Events as lists of numbers: one list an event in each data set of an HDF5 file, or in each column of a parquet file.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use common::store::hdf5::ListFile;
use common::store::tables::ParquetFile;
use common::{Error, Result};

use super::BLOCK;
use super::column::{ListColumn, ParquetColumn};
use super::layout::Layout;
use super::select::{Owners, RawEvent};

/// An open file of lists.
#[derive(Debug)]
pub(super) struct ListSource {
    points: ListColumn,
    clusters: Option<Clusters>,
}

/// The clusters of a file, and the numbers of their rows.
#[derive(Debug)]
struct Clusters {
    lists: ListColumn,
    width: usize,
}

impl ListSource {
    /// Opens a file and finds the width of its cluster rows (given or detected).
    pub(super) fn open(path: &Path, layout: &Layout) -> Result<Self> {
        let file = ListFile::open(path)?;
        let points = file.lists(&layout.points).map_err(|error| named(error, "layout.points", false))?;
        let name = layout.clusters.as_deref().filter(|name| {
            // A file without any labels is in order; one that has them under a name like this one is asked about.
            file.holds(name) || file.nearest(name).is_some_and(|near| near != layout.points)
        });
        let lists = match name {
            Some(name) => Some(file.lists(name).map_err(|error| named(error, "layout.clusters", true))?),
            None => None,
        };
        Self::of(path, ListColumn::Hdf5(points), lists.map(ListColumn::Hdf5), layout)
    }

    /// Opens a parquet file with a row an event, whose cells are lists, as the third release has it. None where it is a table
    /// of another kind.
    pub(super) fn parquet(path: &Path, layout: &Layout) -> Result<Option<Self>> {
        let file = Arc::new(ParquetFile::open(path)?);
        if !file.is_nested(&layout.points) {
            return Ok(None);
        }
        let column = |name: &str| Ok(ListColumn::Parquet(ParquetColumn::new(path.to_path_buf(), &file, name)?));
        let clusters = layout.clusters.as_deref().filter(|name| file.has(name)).map(column).transpose()?;
        Self::of(path, column(&layout.points)?, clusters, layout).map(Some)
    }

    fn of(path: &Path, points: ListColumn, lists: Option<ListColumn>, layout: &Layout) -> Result<Self> {
        let Some(lists) = lists else { return Ok(Self { points, clusters: None }) };
        if points.len() != lists.len() {
            let problem = format!(
                "has {} elements in `{}` and {} in `{}`, expected as many",
                points.len(),
                layout.points,
                lists.len(),
                layout.clusters.as_deref().unwrap_or_default()
            );
            return Err(Error::input(path, problem));
        }
        let width = match layout.cluster_columns.width {
            Some(width) => width,
            None => detect(&points, &lists, layout)?,
        };
        Ok(Self { points, clusters: Some(Clusters { lists, width }) })
    }

    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    /// The files that its data sets lie in.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let clusters = self.clusters.iter().flat_map(|clusters| clusters.lists.files());
        self.points.files().iter().chain(clusters).map(AsRef::as_ref)
    }

    pub(super) fn labelled(&self) -> bool {
        self.clusters.is_some()
    }

    pub(super) fn cluster_width(&self) -> usize {
        self.clusters.as_ref().map_or(0, |clusters| clusters.width)
    }

    /// Points of each event of a range.
    pub(super) fn counts(&self, range: Range<usize>, layout: &Layout) -> Result<Vec<i64>> {
        let mut counts = Vec::with_capacity(range.len());
        match &self.clusters {
            Some(Clusters { lists, width }) => lists.integers(range, |_, list| {
                check(list, *width, layout.cluster_columns.size)?;
                counts.push(list.iter().skip(layout.cluster_columns.size).step_by(*width).sum());
                Ok(())
            })?,
            None => self.points.floats(range, |_, list| {
                counts.push((list.len() / layout.point_columns.width) as i64);
                Ok(())
            })?,
        }
        Ok(counts)
    }

    /// Hands each event of a range on.
    pub(super) fn each(
        &self,
        range: Range<usize>,
        layout: &Layout,
        take: &mut dyn FnMut(usize, RawEvent) -> Result<(), String>,
    ) -> Result<()> {
        let start = range.start;
        let mut rows: Vec<Vec<i64>> = Vec::with_capacity(range.len());
        if let Some(Clusters { lists, width }) = &self.clusters {
            lists.integers(range.clone(), |_, list| {
                check(list, *width, layout.cluster_columns.size)?;
                rows.push(list.to_vec());
                Ok(())
            })?;
        }
        let columns = &layout.point_columns;
        self.points.floats(range, |number, list| {
            let owners = match &self.clusters {
                Some(clusters) => Owners::Clusters(&rows[number - start], clusters.width),
                None => Owners::None,
            };
            take(number, RawEvent { rows: list, width: columns.width, places: columns.places(), owners })
        })
    }
}

/// An error about a name of the layout, with the key that sets it.
fn named(error: Error, key: &str, or_none: bool) -> Error {
    let Some(hint) = error.hint_text().filter(|hint| hint.starts_with("did you mean")) else { return error };
    let none = if or_none { format!("; `{key}=null` takes the file for one without labels") } else { String::new() };
    error.hint(format!("{hint} `{key}=NAME` sets the name{none}"))
}

/// The only width under which the sizes of the clusters add up to the points, from the first events that tell.
fn detect(points: &ListColumn, clusters: &ListColumn, layout: &Layout) -> Result<usize> {
    let mut possible = vec![5, 6];
    let size = layout.cluster_columns.size;
    for start in (0..points.len()).step_by(BLOCK) {
        let range = start..(start + BLOCK).min(points.len());
        let mut counts = vec![];
        points.floats(range.clone(), |_, list| {
            counts.push(list.len() / layout.point_columns.width);
            Ok(())
        })?;
        clusters.integers(range, |i, list| {
            let fits = |width: &usize| {
                list.len().is_multiple_of(*width)
                    && list.iter().skip(size).step_by(*width).try_fold(0i64, |sum, &n| sum.checked_add(n))
                        == Some(counts[i - start] as i64)
            };
            let left: Vec<usize> = possible.iter().copied().filter(fits).collect();
            if left.is_empty() {
                let detail = format!("{} numbers for {} points", list.len(), counts[i - start]);
                return Err(format!(
                    "{detail}: neither 5 nor 6 columns make the sizes of the clusters add up \
                     (`layout.cluster_columns.width` and `layout.point_columns.width` name others)"
                ));
            }
            possible = left;
            Ok(())
        })?;
        if let [width] = possible.as_slice() {
            return Ok(*width);
        }
    }
    Ok(5)
}

fn check(list: &[i64], width: usize, size: usize) -> Result<(), String> {
    if !list.len().is_multiple_of(width) {
        return Err(format!("holds {} numbers, expected rows of {width}", list.len()));
    }
    if let Some(bad) = list.iter().skip(size).step_by(width).find(|n| !(0..1 << 40).contains(*n)) {
        return Err(format!("a cluster of {bad} points"));
    }
    Ok(())
}
