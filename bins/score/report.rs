//! The scores of one file, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use common::metrics::{Scores, mean};
use common::oof::Group;
use serde_json::{Map, Value, json};

use crate::score::density::Density;
use crate::score::zonal::Zonal;

/// Targets shown unless all are asked for.
const WORST: usize = 8;

/// Scores of one file of predictions.
pub struct Report {
    /// Name of the model, or the file.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Rows that were scored.
    pub rows: usize,
    /// Mean R2 over all targets.
    pub mean: f64,
    /// Mean R2 of every group.
    pub groups: Vec<(String, f64)>,
    /// Mean R2 over all targets of a level, the level being the number at the end of a target's name.
    pub levels: BTreeMap<u32, f64>,
    /// R2 of every target.
    pub targets: Vec<(String, f64)>,
    /// Mean R2 over the rows of every part of the leaderboard, where the solution names them.
    pub parts: Vec<(String, f64)>,
    /// Targets scored as if zero were predicted.
    pub zero_list: Vec<String>,
    /// Columns of every group.
    pub spans: Vec<Group>,
    /// Root of the mean squared error of every target, in its own unit; empty where it was not measured.
    pub rmse: Vec<f64>,
    /// Predictions over truth by group; empty where no page is written.
    pub densities: Vec<Density>,
    /// Figures by latitude, where the truth says where its rows are and they are wanted.
    pub zonal: Option<Zonal>,
}

/// Files of one name are called by their paths.
pub fn tell_apart(reports: &mut [Report]) {
    let names: Vec<String> = reports.iter().map(|report| report.name.clone()).collect();
    for report in reports.iter_mut() {
        if names.iter().filter(|name| **name == report.name).count() > 1 {
            report.name = report.path.display().to_string();
        }
    }
}

impl Report {
    /// Collects the scores; `names` are the targets in column order.
    pub fn new(name: String, path: &Path, rows: usize, names: Vec<String>, groups: &[Group], scores: &Scores) -> Self {
        let spans = groups.to_vec();
        let groups = groups.iter().map(|g| (g.name.clone(), scores.mean_of(g.start..g.end))).collect();
        let mut by_level: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for (name, score) in names.iter().zip(&scores.columns) {
            if let Some(level) = name.rsplit_once('_').and_then(|(_, level)| level.parse().ok()) {
                by_level.entry(level).or_default().push(*score);
            }
        }
        let zero_list = scores.zero_list.iter().map(|&c| names[c].clone()).collect();
        Self {
            name,
            path: path.to_path_buf(),
            rows,
            mean: scores.mean(),
            groups,
            levels: by_level.into_iter().map(|(level, values)| (level, mean(&values))).collect(),
            targets: names.into_iter().zip(scores.columns.iter().copied()).collect(),
            parts: vec![],
            zero_list,
            spans,
            rmse: vec![],
            densities: vec![],
            zonal: None,
        }
    }

    /// Under the name that was given, if one was.
    pub fn called(mut self, name: Option<&str>) -> Self {
        self.name = name.map_or(self.name, str::to_string);
        self
    }

    fn json(&self) -> Value {
        let map = |pairs: &[(String, f64)]| pairs.iter().map(|(k, v)| (k.clone(), (*v).into())).collect::<Map<_, _>>();
        let levels: Map<String, Value> = self.levels.iter().map(|(k, v)| (k.to_string(), (*v).into())).collect();
        let mut value = json!({
            "name": self.name,
            "path": self.path,
            "rows": self.rows,
            "mean_r2": self.mean,
            "groups": map(&self.groups),
            "levels": levels,
            "targets": map(&self.targets),
            "zero_list": self.zero_list,
        });
        if !self.parts.is_empty() {
            value["parts"] = map(&self.parts).into();
        }
        value
    }
}

/// All reports, under the key `scores`.
pub fn json(reports: &[Report]) -> Value {
    json!({ "metric": "r2", "scores": reports.iter().map(Report::json).collect::<Vec<_>>() })
}

/// The table for people: one column a file.
pub fn table(reports: &[Report], all_targets: bool) -> String {
    let Some(first) = reports.first() else { return String::new() };
    let wide = first.targets.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(16);
    let mut text = format!("{:wide$}", "R2");
    for report in reports {
        let _ = write!(text, "  {:>12}", shortened(&report.name));
    }
    let mut line = |label: &str, values: &mut dyn Iterator<Item = f64>| {
        let _ = write!(text, "\n{label:wide$}");
        for value in values {
            let _ = write!(text, "  {value:>12.6}");
        }
    };
    line("mean", &mut reports.iter().map(|r| r.mean));
    for (i, (name, _)) in first.parts.iter().enumerate() {
        line(&name.to_lowercase(), &mut reports.iter().map(|r| r.parts[i].1));
    }
    for (i, (name, _)) in first.groups.iter().enumerate() {
        line(&format!("group {name}"), &mut reports.iter().map(|r| r.groups[i].1));
    }
    if all_targets {
        for level in first.levels.keys() {
            line(&format!("level {level}"), &mut reports.iter().map(|r| r.levels[level]));
        }
    }
    let mut order: Vec<usize> = (0..first.targets.len()).collect();
    if !all_targets {
        order.sort_by(|&a, &b| first.targets[a].1.total_cmp(&first.targets[b].1));
        order.truncate(WORST);
    }
    for i in order {
        line(&first.targets[i].0, &mut reports.iter().map(|r| r.targets[i].1));
    }
    for report in reports.iter().filter(|r| !r.zero_list.is_empty()) {
        let _ = write!(text, "\n{}: {} targets scored as zero: ", report.name, report.zero_list.len());
        text += &report.zero_list.join(", ");
    }
    text
}

/// The end of a long name, which tells paths apart.
fn shortened(name: &str) -> String {
    let count = name.chars().count();
    if count <= 12 { name.into() } else { format!("…{}", name.chars().skip(count - 11).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_the_numbers_at_the_end_of_names() {
        let names = ["cam_out_X", "t_0", "t_10", "q_0", "q_10"].map(String::from).to_vec();
        let scores = Scores { columns: vec![9.0, 0.5, 0.25, 1.0, 0.75], zero_list: vec![2] };
        let groups = [Group { name: "t".into(), start: 1, end: 3 }];
        let report = Report::new("m".into(), Path::new("m"), 3, names, &groups, &scores);
        assert_eq!(report.levels, BTreeMap::from([(0, 0.75), (10, 0.5)]));
        assert_eq!(report.groups, [("t".to_string(), 0.375)]);
        assert_eq!(report.zero_list, ["t_10"]);
        assert!(table(&[report], true).contains("level 10"));
    }
}
