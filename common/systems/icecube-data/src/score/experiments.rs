//! A log of experiments: one row a run, our score beside the published one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use common::{Error, Result, config, durable};
use serde_json::{Value, json};

use super::report::Report;

/// One experiment.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name in the log, or that of the member.
    experiment: String,
    events: usize,
    score: f64,
    published: Option<f64>,
    remark: String,
    tracks: Option<f64>,
    cascades: Option<f64>,
    description: String,
    config: String,
    training_set: String,
}

const COLUMNS: [&str; 9] =
    ["experiment", "score", "published", "remark", "track", "cascade", "description", "config", "training_set"];

impl Row {
    /// The row of a report on the predictions of `run`; a folder of a training says which experiment it is.
    pub fn new(report: &Report, run: &Path) -> Result<Self> {
        let described = run.join(common::stage::CONFIG);
        let about = if described.is_file() { config::peek(&described, "experiment")? } else { None };
        let about: Value = match about {
            Some(text) => {
                serde_json::from_str(&text).map_err(|e| Error::input(&described, format!("experiment: {e}")))?
            }
            None => Value::Null,
        };
        let text = |key: &str| about[key].as_str().unwrap_or_default().to_string();
        Ok(Self {
            experiment: about["id"].as_str().map_or_else(|| report.name.clone(), str::to_string),
            events: report.events(),
            score: report.mean,
            published: about["published"].as_f64(),
            remark: text("remark"),
            tracks: report.of_kind("track"),
            cascades: report.of_kind("cascade"),
            description: text("description"),
            config: text("config"),
            training_set: text("training_set"),
        })
    }

    /// In the order of [`COLUMNS`]; what is not known is empty.
    fn cells(&self) -> [String; 9] {
        let number = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.5}"));
        [
            self.experiment.clone(),
            number(Some(self.score)),
            self.published.map_or_else(String::new, |v| v.to_string()),
            self.remark.clone(),
            number(self.tracks),
            number(self.cascades),
            self.description.clone(),
            self.config.clone(),
            self.training_set.clone(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "experiment": self.experiment,
            "events": self.events,
            "score": self.score,
            "published": self.published,
            "remark": self.remark,
            "track": self.tracks,
            "cascade": self.cascades,
            "description": self.description,
            "config": self.config,
            "training_set": self.training_set,
        })
    }
}

/// Refuses files of other kinds, before any work.
pub fn check(files: &[PathBuf]) -> Result<()> {
    let known = |file: &&PathBuf| matches!(ending(file), "csv" | "md" | "json");
    match files.iter().find(|file| !known(file)) {
        None => Ok(()),
        Some(file) => Err(Error::usage(format!("`--table {}`: not a table", file.display()))
            .hint("name a file that ends with `.csv`, `.md` or `.json`")),
    }
}

fn ending(file: &Path) -> &str {
    file.extension().and_then(|e| e.to_str()).unwrap_or_default()
}

/// Writes the table to all files, each in the form that its ending says.
pub fn write(rows: &[Row], files: &[PathBuf]) -> Result<()> {
    for file in files {
        let text = match ending(file) {
            "csv" => csv(rows),
            "md" => markdown(rows) + "\n",
            _ => {
                let rows: Vec<Value> = rows.iter().map(Row::json).collect();
                let value = json!({ "metric": "mean_opening_angle_rad", "experiments": rows });
                serde_json::to_string_pretty(&value).map_err(|e| Error::failed(format!("table: {e}")))? + "\n"
            }
        };
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            durable::create_folder(folder)?;
        }
        durable::write(file, text.as_bytes())?;
    }
    Ok(())
}

fn csv(rows: &[Row]) -> String {
    let quoted = |cell: &String| {
        let plain = !cell.contains([',', '"', '\n']);
        if plain { cell.clone() } else { format!("\"{}\"", cell.replace('"', "\"\"")) }
    };
    let mut text = COLUMNS.join(",") + "\n";
    for row in rows {
        text += &row.cells().iter().map(quoted).collect::<Vec<_>>().join(",");
        text.push('\n');
    }
    text
}

/// The table for people and for documents, columns aligned.
pub fn markdown(rows: &[Row]) -> String {
    let head = COLUMNS.map(|name| name.replace('_', " "));
    let body: Vec<[String; 9]> = rows.iter().map(|row| row.cells().map(|cell| cell.replace('|', "\\|"))).collect();
    let wide: Vec<usize> = (0..COLUMNS.len())
        .map(|c| body.iter().chain([&head]).map(|row| row[c].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |cells: &[String; 9]| {
        let mut text = String::from("|");
        for (cell, wide) in cells.iter().zip(&wide) {
            let _ = write!(text, " {cell:wide$} |");
        }
        text
    };
    let rule = wide.iter().map(|wide| "-".repeat(wide + 2)).collect::<Vec<_>>().join("|");
    let mut lines = vec![line(&head), format!("|{rule}|")];
    lines.extend(body.iter().map(line));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::report::Scored;
    use super::*;

    fn row(folder: &Path, text: &str) -> Row {
        durable::write(folder.join(common::stage::CONFIG), text.as_bytes()).unwrap();
        let event = |angle, kind: &str| Scored {
            angle,
            zenith: 1.0,
            azimuth: 0.5,
            kappa: None,
            length: None,
            regions: None,
            pulses: None,
            kind: Some(kind.into()),
            extra: None,
            energy: f64::NAN,
            vertex: [f64::NAN; 3],
        };
        let scored = [event(0.2, "track"), event(0.4, "track"), event(0.9, "cascade")];
        Row::new(&Report::new("run".into(), folder, &scored), folder).unwrap()
    }

    #[test]
    fn a_row_has_our_score_the_published_one_and_both_kinds() {
        let folder = tempfile::tempdir().unwrap();
        let described = "system: icecube\nexperiment:\n  id: \"24_FT\"\n  published: 1.005\n  description: \"a, | b\"\n  \
                         training_set: files 1 to 100\n  config: c.yaml\n";
        let known = row(folder.path(), described);
        let plain = row(folder.path(), "system: icecube\n");
        let text = markdown(&[known.clone(), plain.clone()]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[2].contains("| 24_FT ") && lines[2].contains("| 0.50000 | 1.005 "), "{text}");
        assert!(lines[2].contains("| 0.30000 | 0.90000 | a, \\| b"), "{text}");
        assert!(lines[3].starts_with("| run "), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()));
        let text = csv(&[known]);
        assert!(text.starts_with("experiment,score,published,remark,track,cascade,description,config,training_set\n"));
        assert!(text.contains("\n24_FT,0.50000,1.005,,0.30000,0.90000,\"a, | b\",c.yaml,files 1 to 100\n"), "{text}");
    }

    #[test]
    fn tables_are_known_by_their_ending() {
        assert!(check(&["a.csv".into(), "b.md".into(), "c.json".into()]).is_ok());
        let error = check(&["a.txt".into()]).unwrap_err().to_string();
        assert!(error.contains("`--table a.txt`"), "{error}");
    }
}
