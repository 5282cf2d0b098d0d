//! Folders of GraphNeT's converters: tables of pulses and of truth, joined by an event number.
//!
//! ```text
//! merged   PULSES/PULSES_<k>.parquet   TRUTH/TRUTH_<k>.parquet      a row a pulse; a row an event
//! nested   <name>.parquet                                           a row an event, structures of lists
//! ```
//!
//! Names of columns differ from detector to detector; the usual ones are tried, and a config may name them.

use std::path::{Path, PathBuf};

use common::store::leftovers;
use common::store::tables::ParquetFile;
use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::raw::{Meta, PulseFile, is_parquet};

/// Where pulses and truth stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GraphnetConfig {
    /// Name of the pulses: a folder of the raw folder, or a structure of nested files (`SRTInIcePulses`, `total`,
    /// `photons`). `null`: the only one beside the truth.
    pub pulses: Option<String>,
    /// Name of the truth in the same way. `null`: `truth` or `mc_truth`.
    pub truth: Option<String>,
    /// Names of their columns.
    pub columns: GraphnetColumns,
}

/// Names of columns; `null`: the usual ones are tried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GraphnetColumns {
    /// Number of the event, in both tables: `event_no`, `event_id`.
    pub event: Option<String>,
    /// Time in ns: `dom_time`, `t`, `time`.
    pub time: Option<String>,
    /// Charge in photo-electrons: `charge`. Without one every pulse has charge 1.
    pub charge: Option<String>,
    /// Flag of pulses that no neighbour confirms: `auxiliary`. Without one, see `coincident`.
    pub auxiliary: Option<String>,
    /// The opposite flag: `hlc`. Without either every pulse counts as confirmed.
    pub coincident: Option<String>,
    /// Position of the sensor in metres: `[dom_x, dom_y, dom_z]`, `[sensor_pos_x, ..]`.
    pub position: Option<[String; 3]>,
    /// Azimuth in radians: `azimuth`, `injection_azimuth`, `initial_state_azimuth`.
    pub azimuth: Option<String>,
    /// Zenith in radians: `zenith`, `injection_zenith`, `initial_state_zenith`.
    pub zenith: Option<String>,
}

/// The columns of one pair of tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Of the pulses; `None` in nested files that do not number their events.
    pub event: Option<String>,
    /// Time in ns.
    pub time: String,
    /// Photo-electrons.
    pub charge: Option<String>,
    /// And whether the flag says the opposite.
    pub auxiliary: Option<(String, bool)>,
    /// Of the sensor, in metres.
    pub position: [String; 3],
}

/// The columns of the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruthColumns {
    /// `None` in nested files that do not number their events.
    pub event: Option<String>,
    /// In radians.
    pub azimuth: String,
    /// In radians.
    pub zenith: String,
    /// In GeV.
    pub energy: Option<String>,
    /// In metres.
    pub vertex: Option<[String; 3]>,
    /// Code of the neutrino and of its interaction.
    pub kind: Option<(String, String)>,
}

const EVENT: [&str; 2] = ["event_no", "event_id"];
const TIME: [&str; 3] = ["dom_time", "t", "time"];
const TRUTHS: [&str; 2] = ["truth", "mc_truth"];
const AZIMUTH: [&str; 4] = ["azimuth", "injection_azimuth", "initial_state_azimuth", "azimuth_rad"];
const ZENITH: [&str; 4] = ["zenith", "injection_zenith", "initial_state_zenith", "zenith_rad"];
const ENERGY: [&str; 4] = ["energy", "injection_energy", "total_energy", "initial_state_energy"];
const VERTEX: [[&str; 3]; 3] = [
    ["position_x", "position_y", "position_z"],
    ["injection_position_x", "injection_position_y", "injection_position_z"],
    ["initial_state_x", "initial_state_y", "initial_state_z"],
];
const CODE: [&str; 3] = ["pid", "injection_type", "initial_state_type"];
const INTERACTION: [&str; 3] = ["interaction_type", "injection_interaction_type", "interaction"];
const POSITION: [[&str; 3]; 3] =
    [["dom_x", "dom_y", "dom_z"], ["sensor_pos_x", "sensor_pos_y", "sensor_pos_z"], ["x", "y", "z"]];

/// Looks for names in a table, or below a structure of a nested file.
struct Finder<'a> {
    file: &'a ParquetFile,
    /// `photons.` in nested files.
    prefix: String,
}

impl Finder<'_> {
    fn has(&self, name: &str) -> bool {
        self.file.has(&format!("{}{name}", self.prefix))
    }

    fn maybe(&self, what: &str, named: Option<&String>, usual: &[&str]) -> Result<Option<String>> {
        let full = |name: &str| format!("{}{name}", self.prefix);
        match named {
            Some(name) if self.has(name) => Ok(Some(full(name))),
            Some(name) => {
                let problem = format!("has no column `{}`, which `layout.graphnet.columns.{what}` names", full(name));
                Err(Error::input(self.file.path(), problem))
            }
            None => Ok(usual.iter().find(|name| self.has(name)).map(|name| full(name))),
        }
    }

    fn one(&self, what: &str, named: Option<&String>, usual: &[&str]) -> Result<String> {
        self.maybe(what, named, usual)?.ok_or_else(|| {
            let tried: Vec<String> = usual.iter().map(|name| format!("`{}{name}`", self.prefix)).collect();
            Error::input(self.file.path(), format!("has no column for the {what}: tried {}", tried.join(", ")))
                .hint(format!("name it: `layout.graphnet.columns.{what}=NAME`"))
        })
    }
}

impl Columns {
    /// Finds the columns of pulses; `structure` is the structure of a nested file.
    pub fn find(file: &ParquetFile, structure: Option<&str>, named: &GraphnetColumns) -> Result<Self> {
        let finder = Finder { file, prefix: structure.map(|s| format!("{s}.")).unwrap_or_default() };
        let auxiliary = match finder.maybe("auxiliary", named.auxiliary.as_ref(), &["auxiliary"])? {
            Some(name) => Some((name, false)),
            None => finder.maybe("coincident", named.coincident.as_ref(), &["hlc"])?.map(|name| (name, true)),
        };
        let position = match &named.position {
            Some(names) => {
                let [x, y, z] = names;
                [
                    finder.one("position", Some(x), &[])?,
                    finder.one("position", Some(y), &[])?,
                    finder.one("position", Some(z), &[])?,
                ]
            }
            None => {
                let found = POSITION.iter().find(|names| names.iter().all(|name| finder.has(name)));
                let names = found.ok_or_else(|| {
                    let problem = "has no columns for the position of the sensor: tried `dom_x`, `sensor_pos_x`, `x`";
                    Error::input(file.path(), problem).hint("name them: `layout.graphnet.columns.position=[X, Y, Z]`")
                })?;
                names.map(|name| format!("{}{name}", finder.prefix))
            }
        };
        let event = match structure {
            Some(_) => finder.maybe("event", named.event.as_ref(), &EVENT)?,
            None => Some(finder.one("event", named.event.as_ref(), &EVENT)?),
        };
        Ok(Self {
            event,
            time: finder.one("time", named.time.as_ref(), &TIME)?,
            charge: finder.maybe("charge", named.charge.as_ref(), &["charge"])?,
            auxiliary,
            position,
        })
    }
}

impl TruthColumns {
    /// Finds the columns of the truth.
    pub fn find(file: &ParquetFile, structure: Option<&str>, named: &GraphnetColumns) -> Result<Self> {
        let finder = Finder { file, prefix: structure.map(|s| format!("{s}.")).unwrap_or_default() };
        let event = match structure {
            Some(_) => finder.maybe("event", named.event.as_ref(), &EVENT)?,
            None => Some(finder.one("event", named.event.as_ref(), &EVENT)?),
        };
        let vertex = VERTEX.iter().find(|names| names.iter().all(|name| finder.has(name)));
        let code = finder.maybe("kind", None, &CODE)?;
        let interaction = finder.maybe("kind", None, &INTERACTION)?;
        Ok(Self {
            event,
            energy: finder.maybe("energy", None, &ENERGY)?,
            vertex: vertex.map(|names| names.map(|name| format!("{}{name}", finder.prefix))),
            kind: code.zip(interaction),
            azimuth: finder.one("azimuth", named.azimuth.as_ref(), &AZIMUTH)?,
            zenith: finder.one("zenith", named.zenith.as_ref(), &ZENITH)?,
        })
    }
}

/// A raw folder of GraphNeT.
#[derive(Debug, Clone)]
pub struct GraphnetFolder {
    /// The pulse files, by number.
    pub files: Vec<PulseFile>,
    /// Names of the structures of pulses and truth, where the files are nested.
    pub nested: Option<(String, Option<String>)>,
}

impl GraphnetFolder {
    /// Finds the files below a folder, or takes one file as nested.
    pub fn open(root: &Path, config: &GraphnetConfig) -> Result<Self> {
        if root.is_file() {
            return Self::nested(root, vec![root.to_path_buf()], config);
        }
        if !root.is_dir() {
            return Err(Error::input(root, "no such folder").hint("name the folder that holds the tables"));
        }
        let loose = parquet_files(root)?;
        let folders = folders_of(root)?;
        let merged = match &config.pulses {
            Some(name) => root.join(name).is_dir(),
            None => folders.iter().any(|name| !TRUTHS.contains(&name.as_str()) && config.truth.as_ref() != Some(name)),
        };
        if merged { Self::merged(root, &folders, config) } else { Self::nested(root, loose, config) }
    }

    fn merged(root: &Path, folders: &[String], config: &GraphnetConfig) -> Result<Self> {
        let truth =
            config.truth.clone().or_else(|| TRUTHS.iter().find(|t| root.join(t).is_dir()).map(ToString::to_string));
        let pulses = match &config.pulses {
            Some(name) => name.clone(),
            None => {
                let mut others = Vec::new();
                for name in folders.iter().filter(|name| Some(*name) != truth.as_ref()) {
                    if !parquet_files(&root.join(name))?.is_empty() {
                        others.push(name.clone());
                    }
                }
                match others.as_slice() {
                    [only] => only.clone(),
                    _ => {
                        let problem = format!("holds {} folders of pulses: {}", others.len(), others.join(", "));
                        return Err(
                            Error::input(root, problem).hint("name the one to read: `layout.graphnet.pulses=NAME`")
                        );
                    }
                }
            }
        };
        let mut files = Vec::new();
        for path in parquet_files(&root.join(&pulses))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let meta = match &truth {
                None => None,
                Some(truth) => {
                    let number = name.strip_prefix(pulses.as_str()).unwrap_or(&name);
                    let both = [format!("{truth}{number}"), name.clone()].map(|n| root.join(truth).join(n));
                    let found = both.iter().find(|path| path.is_file()).cloned();
                    let path = found.ok_or_else(|| {
                        let problem = format!("does not exist, but `{pulses}/{name}` needs its truth");
                        Error::input(&both[0], problem).hint("convert pulses and truth together")
                    })?;
                    Some(Meta { path, rows: None })
                }
            };
            files.push(PulseFile { name, path, meta });
        }
        if let Some(truth) = &truth {
            tell_unread(&root.join(truth), &files)?;
        }
        if files.is_empty() {
            return Err(Error::input(root.join(&pulses), "holds no parquet file"));
        }
        sort(&mut files);
        Ok(Self { files, nested: None })
    }

    fn nested(root: &Path, paths: Vec<PathBuf>, config: &GraphnetConfig) -> Result<Self> {
        let Some(first) = paths.first() else {
            return Err(nothing(root, config));
        };
        let file = ParquetFile::open(first)?;
        let structures = file.structures();
        let truth = config
            .truth
            .clone()
            .or_else(|| TRUTHS.iter().find(|t| structures.iter().any(|s| s == *t)).map(ToString::to_string));
        let pulses = config.pulses.clone().or_else(|| {
            let with_time = |s: &&String| TIME.iter().any(|t| file.has(&format!("{s}.{t}")));
            structures.iter().filter(|s| Some(*s) != truth.as_ref()).find(with_time).cloned()
        });
        let Some(pulses) = pulses.filter(|pulses| structures.contains(pulses)) else {
            let found = if structures.is_empty() { "none".into() } else { structures.join(", ") };
            return Err(Error::input(
                first,
                format!("has no structure of pulses with a time; its structures: {found}"),
            )
            .hint("name it: `layout.graphnet.pulses=NAME`; the competition's files want `layout=competition`"));
        };
        let mut files: Vec<PulseFile> = paths
            .into_iter()
            .map(|path| PulseFile {
                name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                meta: truth.is_some().then(|| Meta { path: path.clone(), rows: None }),
                path,
            })
            .collect();
        sort(&mut files);
        Ok(Self { files, nested: Some((pulses, truth)) })
    }
}

/// Tells truths whose pulses are not there.
fn tell_unread(folder: &Path, files: &[PulseFile]) -> Result<()> {
    for path in parquet_files(folder)? {
        if !files.iter().any(|file| file.meta.as_ref().is_some_and(|meta| meta.path == path)) {
            tracing::warn!("`{}` is not read: there are no pulses of its events", path.display());
        }
    }
    Ok(())
}

/// Why a folder holds no tables that are asked for.
fn nothing(root: &Path, config: &GraphnetConfig) -> Error {
    let folders = folders_of(root).unwrap_or_default();
    if let Some(name) = config.pulses.as_ref().filter(|_| !folders.is_empty()) {
        let problem =
            format!("has no folder `{name}`, which `layout.graphnet.pulses` names; it holds {}", folders.join(", "));
        return Error::input(root, problem)
            .hint("name the folders of pulses and truth: `layout.graphnet.pulses=NAME`, `..truth=NAME`");
    }
    let names = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let database = names.map(|name| name.to_string_lossy().into_owned()).find(|name| name.ends_with(".db"));
    let error = Error::input(root, "holds neither folders of tables nor parquet files");
    match database {
        Some(name) => error.hint(format!("`{name}` is a database: GraphNeT writes the same events as parquet, too")),
        None => error.hint("name the folder that holds the tables of pulses and truth"),
    }
}

/// By number at the end of the name, then by name.
fn sort(files: &mut [PulseFile]) {
    let number = |file: &PulseFile| {
        let stem = file.stem();
        let digits = stem.len() - stem.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        stem[stem.len() - digits..].parse::<u64>().unwrap_or(u64::MAX)
    };
    files.sort_by(|a, b| number(a).cmp(&number(b)).then_with(|| a.name.cmp(&b.name)));
}

/// Names of the folders below a folder, without hidden ones.
fn folders_of(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::opening(folder, e))?;
    let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|e| Error::io("reading", folder, e))?;
    let folders = entries.into_iter().filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !leftovers::hidden(name));
    names.sort();
    Ok(names)
}

fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>> {
    leftovers::data_files(folder, is_parquet)
}
