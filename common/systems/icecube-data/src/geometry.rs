//! Tables of sensors: the competition's csv, GraphNeT's parquet, or any other with positions in metres.

use std::path::{Path, PathBuf};

use common::store::tables::{ColumnKind, CsvText, ParquetFile, Table, read_csv};
use common::{Error, Result};

use crate::detector::SensorColumns;

const ID: [&str; 1] = ["sensor_id"];
const POSITION: [[&str; 3]; 3] =
    [["x", "y", "z"], ["dom_x", "dom_y", "dom_z"], ["sensor_pos_x", "sensor_pos_y", "sensor_pos_z"]];
const EFFICIENCY: [&str; 1] = ["rde"];
/// What fits the sixteen bits of a stored pulse.
const MOST: usize = i16::MAX as usize;

/// Sensors by id, or in the order of their table where there are no ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Geometry {
    /// Where they were read from; for messages.
    pub path: PathBuf,
    /// Ids, ascending.
    pub ids: Vec<i64>,
    /// Row of each in the table.
    rows: Vec<usize>,
    /// Positions in metres.
    pub positions: Vec<[f64; 3]>,
    /// Whether they see more light than others.
    pub efficient: Vec<bool>,
}

impl Geometry {
    /// Reads a csv or parquet file.
    ///
    /// # Errors
    /// [`Error::Input`] where columns are missing, an id appears twice, or a position is no number.
    pub fn read(path: &Path, columns: &SensorColumns) -> Result<Self> {
        let opened = Opened::new(path)?;
        let has = |name: &str| opened.has(name);
        let position: [String; 3] = match &columns.position {
            Some(names) => names.clone(),
            None => match POSITION.iter().find(|names| names.iter().all(|name| has(name))) {
                Some(names) => names.map(str::to_owned),
                None => {
                    let problem = "has no columns for positions: tried `x`, `dom_x`, `sensor_pos_x`";
                    return Err(Error::input(path, problem)
                        .hint("name them: `detector.columns.position=[X, Y, Z]`; positions are in metres"));
                }
            },
        };
        let usual = |named: &Option<String>, usual: &[&str]| {
            named.clone().or_else(|| usual.iter().find(|name| has(name)).map(ToString::to_string))
        };
        let (id, efficiency) = (usual(&columns.id, &ID), usual(&columns.efficiency, &EFFICIENCY));
        let table = opened.read(id.as_deref(), &position, efficiency.as_deref())?;
        let ids = match &id {
            Some(id) => table.whole(id)?.into_owned(),
            None => (0..table.rows() as i64).collect(),
        };
        let mut rows: Vec<usize> = (0..ids.len()).collect();
        rows.sort_by_key(|&row| ids[row]);
        if let Some(pair) = rows.windows(2).find(|pair| ids[pair[0]] == ids[pair[1]]) {
            let problem = format!("sensor {} stands in rows {} and {}", ids[pair[0]], pair[0], pair[1]);
            return Err(Error::input(path, problem));
        }
        let [x, y, z] = &position;
        let (x, y, z) = (table.numbers(x)?, table.numbers(y)?, table.numbers(z)?);
        if let Some(row) = (0..table.rows()).find(|&i| ![x[i], y[i], z[i]].iter().all(|v| v.is_finite())) {
            return Err(Error::input(path, format!("row {row} holds a position that is no finite number")));
        }
        let efficient = match &efficiency {
            // A sensor whose efficiency is not known is an ordinary one.
            Some(name) => table.numbers(name)?.iter().map(|v| *v > 1.0).collect(),
            None => vec![false; table.rows()],
        };
        let geometry = Self {
            path: path.to_path_buf(),
            ids: rows.iter().map(|&row| ids[row]).collect(),
            positions: rows.iter().map(|&i| [x[i], y[i], z[i]]).collect(),
            efficient: rows.iter().map(|&i| efficient[i]).collect(),
            rows,
        };
        geometry.demand_size()?;
        Ok(geometry)
    }

    /// The sensors at these positions, which may repeat: in the order of x, y and z. `path` is where they come from.
    pub fn at(path: &Path, mut positions: Vec<[f64; 3]>) -> Result<Self> {
        if let Some(bad) = positions.iter().find(|p| !p.iter().all(|v| v.is_finite())) {
            return Err(Error::input(path, format!("holds a sensor at {bad:?}, expected finite numbers")));
        }
        // Zero has no sign here.
        positions.as_flattened_mut().iter_mut().for_each(|value| *value += 0.0);
        positions.sort_by(by_place);
        positions.dedup();
        let n = positions.len();
        let geometry = Self {
            path: path.to_path_buf(),
            ids: (0..n as i64).collect(),
            rows: (0..n).collect(),
            positions,
            efficient: vec![false; n],
        };
        geometry.demand_size()?;
        Ok(geometry)
    }

    fn demand_size(&self) -> Result<()> {
        let n = self.positions.len();
        if (1..=MOST).contains(&n) {
            return Ok(());
        }
        Err(Error::input(&self.path, format!("has {n} sensors, expected 1 to {MOST}")))
    }

    /// Refuses ids that do not count from 0, where pulses name their sensors by them.
    pub fn demand_numbered(&self) -> Result<()> {
        match self.ids.iter().enumerate().find(|(place, id)| **id != *place as i64) {
            None => Ok(()),
            Some((place, id)) => {
                let problem =
                    format!("row {} has sensor_id {id}, expected {place}: ids count from 0", self.rows[place]);
                Err(Error::input(&self.path, problem).hint("use the competition's `sensor_geometry.csv` as it is"))
            }
        }
    }
}

/// By x, then y, then z.
pub(crate) fn by_place(a: &[f64; 3], b: &[f64; 3]) -> std::cmp::Ordering {
    a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])).then(a[2].total_cmp(&b[2]))
}

/// A table of either format.
enum Opened {
    Csv(PathBuf, Vec<String>),
    Parquet(ParquetFile),
}

impl Opened {
    fn new(path: &Path) -> Result<Self> {
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet")) {
            return ParquetFile::open(path).map(Self::Parquet);
        }
        let text = CsvText::open(path)?;
        Ok(Self::Csv(path.to_path_buf(), text.header().to_vec()))
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::Csv(_, header) => header.iter().any(|known| known == name),
            Self::Parquet(file) => file.has(name),
        }
    }

    fn read(&self, id: Option<&str>, position: &[String; 3], efficiency: Option<&str>) -> Result<Table> {
        match self {
            Self::Csv(path, _) => {
                let mut schema: Vec<(&str, ColumnKind)> = id.map(|id| (id, ColumnKind::I64)).into_iter().collect();
                schema.extend(position.iter().map(|name| (name.as_str(), ColumnKind::F64)));
                schema.extend(efficiency.map(|name| (name, ColumnKind::F64)));
                read_csv(path, &schema)
            }
            Self::Parquet(file) => {
                let mut names: Vec<&str> = id.into_iter().collect();
                names.extend(position.iter().map(String::as_str));
                names.extend(efficiency);
                file.read(Some(&names), 0..usize::MAX)
            }
        }
    }
}
