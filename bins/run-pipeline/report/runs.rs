//! Runs beside each other: figures, curves, and the keys in which their configs differ.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::Result;
use common::config::differences;
use common::curves::Curves;
use common::scalars::JSONL;
use common::stage::{CONFIG, Manifest};
use report::{Axis, Chart, Page, Series, Table};

/// A finished stage.
pub struct Run {
    /// What it left behind.
    pub manifest: Manifest,
    /// A name that no other run of the page has.
    name: String,
    config: Option<String>,
    curves: Option<Curves>,
}

impl Run {
    /// Reads a stage's folder.
    ///
    /// # Errors
    /// Those of reading its manifest, config and curves.
    pub fn read(folder: &Path) -> Result<Self> {
        let manifest = super::manifest(folder)?;
        let read = |name: &str| {
            let path = folder.join(name);
            path.is_file()
                .then(|| std::fs::read_to_string(&path).map_err(|e| common::Error::opening(&path, e)))
                .transpose()
        };
        let log = folder.join(JSONL);
        let curves = log.is_file().then(|| Curves::read(&log)).transpose()?;
        let name = manifest.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { config: read(CONFIG)?, curves, name, manifest })
    }
}

/// Names for the runs: that of the folder, with those above it where two share one.
fn names(runs: &[Run]) -> Vec<String> {
    let tail = |run: &Run, parts: usize| {
        let all: Vec<_> = run.manifest.folder.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        all[all.len().saturating_sub(parts)..].join("/")
    };
    let mut names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for parts in 2..8 {
        let twice: BTreeSet<String> =
            names.iter().filter(|name| names.iter().filter(|other| other == name).count() > 1).cloned().collect();
        if twice.is_empty() {
            break;
        }
        for (name, run) in names.iter_mut().zip(runs) {
            if twice.contains(name) {
                *name = tail(run, parts);
            }
        }
    }
    names
}

/// Puts all runs onto a page.
///
/// # Errors
/// For a config that is no YAML.
pub fn compare(page: &mut Page, runs: &[Run]) -> Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    let names = names(runs);
    page.section("Runs");
    let header = ["run", "stage", "system", "seed", "time (s)", "memory (MB)", "data", "config", "folder"];
    let mut table = Table::new("Runs", header);
    for (run, name) in runs.iter().zip(&names) {
        let manifest = &run.manifest;
        let data =
            manifest.chain.iter().find(|link| link.stage == "prepare-data").map_or("-", |link| short(&link.identity));
        table.row([
            name.clone(),
            manifest.stage.clone(),
            manifest.system.clone(),
            manifest.seed.to_string(),
            report::number(manifest.wall_s),
            report::number((manifest.peak_anonymous_bytes as f64 / 1e6).round()),
            data.into(),
            short(&manifest.config_hash).into(),
            manifest.folder.display().to_string(),
        ]);
    }
    page.table(table.note("data: identity of the prepared data; config: hash of the resolved config"));
    page.table(figures(runs, &names));
    let (same, charts) = curves(runs, &names);
    if !charts.is_empty() {
        page.section("Curves");
        if !same {
            page.text("The runs were not made from the same prepared data: their validation figures need not compare.");
        }
        charts.into_iter().for_each(|chart| page.chart(chart));
    }
    page.section("Configs");
    configs(page, runs, &names)
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// Every figure of the manifests, a row each.
fn figures(runs: &[Run], names: &[String]) -> Table {
    let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (place, run) in runs.iter().enumerate() {
        for (key, value) in &run.manifest.metrics {
            let text = match (value.as_f64(), value.as_str()) {
                (Some(number), _) => report::number(number),
                (None, Some(text)) => text.to_string(),
                _ => continue,
            };
            rows.entry(key).or_insert_with(|| vec!["-".into(); runs.len()])[place] = text;
        }
    }
    let header = std::iter::once("figure".to_string()).chain(names.iter().cloned());
    let rows = rows.into_iter().map(|(key, values)| std::iter::once(key.to_string()).chain(values).collect()).collect();
    Table::new("Figures", header).rows(rows)
}

/// Every curve that a run has, those of all runs in one chart; and whether all runs read the same data.
fn curves(runs: &[Run], names: &[String]) -> (bool, Vec<Chart>) {
    let logged: Vec<(&Run, &Curves, &String)> =
        runs.iter().zip(names).filter_map(|(run, name)| Some((run, run.curves.as_ref()?, name))).collect();
    let all: BTreeSet<&str> = logged.iter().flat_map(|(_, curves, _)| curves.iter().map(|(name, _)| name)).collect();
    let identity =
        |run: &Run| run.manifest.chain.iter().find(|l| l.stage == "prepare-data").map(|l| l.identity.clone());
    let same = logged.windows(2).all(|pair| identity(pair[0].0) == identity(pair[1].0));
    // Validation first, losses of the training next.
    let rank = |name: &&str| (!name.starts_with("valid/"), !name.starts_with("train/"), name.to_string());
    let mut order: Vec<&str> = all.into_iter().collect();
    order.sort_by_key(rank);
    let chart = |figure: &&str| {
        let series = logged.iter().map(|(_, curves, name)| Series::line(*name, curves.points(figure).to_vec()));
        Chart::lines(*figure, Axis::new("step"), Axis::new(*figure)).smoothing().with_all(series)
    };
    (same, order.iter().map(chart).collect())
}

fn configs(page: &mut Page, runs: &[Run], names: &[String]) -> Result<()> {
    // Configs of other stages or systems have other keys: each kind is compared by itself.
    let mut kinds: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (place, run) in runs.iter().enumerate().filter(|(_, run)| run.config.is_some()) {
        kinds.entry((&run.manifest.system, &run.manifest.stage)).or_default().push(place);
    }
    for ((system, stage), places) in kinds {
        let title = format!("{system}, {stage}: keys that differ");
        if places.len() < 2 {
            continue;
        }
        let paths: Vec<_> = places.iter().map(|&place| runs[place].manifest.folder.join(CONFIG)).collect();
        let texts: Vec<(&Path, &str)> = places
            .iter()
            .zip(&paths)
            .map(|(&place, path)| (path.as_path(), runs[place].config.as_deref().unwrap_or_default()))
            .collect();
        let found = differences(&texts)?;
        if found.is_empty() {
            page.text(format!("{title}: none"));
            continue;
        }
        let header = std::iter::once("key".to_string()).chain(places.iter().map(|&place| names[place].clone()));
        let mut table = Table::new(title, header);
        for difference in found {
            let values = difference.values.into_iter().map(|value| value.unwrap_or_else(|| "not there".into()));
            table.row(std::iter::once(difference.key).chain(values));
        }
        page.table(table);
    }
    Ok(())
}
