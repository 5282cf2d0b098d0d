//! Classes of points against their labels: F1, intersection over union, confusion.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use common::oof::{resolve, resolve_in};
use common::stage::Manifest;
use common::store::tables::{ColumnKind, CsvText, ParquetFile, Table, read_csv};
use common::submission::is_table;
use common::system::{Score, ScoreRequest};
use common::{Error, Result};
use serde_json::{Value, json};
use tracing::info;

use crate::NAME;
use crate::confusion::{Confusion, event_iou};
use crate::labels::{LEARNS, Labels, TRAIN_EVENTS};
use crate::page;

/// Points that are held at a time.
const BLOCK: usize = 1 << 20;

/// Output of predictions that are embeddings: what lies open in them.
const PROBE: &str = "probe";

/// Scores of classes.
pub const SCORE: Score = Score {
    reads: &[],
    about: "Classes of points (tables of `predict` for PoLAr-MAE, which bring their labels: no `--truth`) get F1 and \
            intersection over union by class, their means, and the confusion matrix.",
    predictions: "Classes of points: tables or folders of `predict` stages, with `--embeddings` too, whose probe stands beside them.",
    truth: "",
    flags: &[],
    examples: "  score classes/polarmae_peft classes/polarmae_fft",
    claims,
    run,
};

/// Standard input is read once, by whoever it is for: without a truth it is a manifest of predictions with labels.
fn claims(request: &ScoreRequest) -> Result<bool> {
    Ok(request.predictions.iter().any(|argument| match argument.as_str() {
        "-" => request.truth.is_none(),
        path if is_probe(path) => true,
        path => resolve(path, &["predictions"]).is_ok_and(|path| is_classes(&path)),
    }))
}

/// Whether a folder holds embeddings and a probe of them.
fn is_probe(argument: &str) -> bool {
    Path::new(argument).is_dir()
        && Manifest::read(argument).is_ok_and(|stage| stage.system == NAME && stage.outputs.contains_key(PROBE))
}

/// Columns that are read.
const COLUMNS: [&str; 3] = ["event", "label", "prediction"];
/// The label of points that have none.
const NONE: i64 = -1;

/// A table of classes in either format.
enum Classes {
    Parquet(ParquetFile),
    /// As it comes from a spreadsheet or pandas, read whole.
    Csv(Table, Vec<String>),
}

impl Classes {
    fn open(path: &Path) -> Result<Self> {
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet")) {
            return ParquetFile::open(path).map(Self::Parquet);
        }
        let header = CsvText::open(path)?.header().to_vec();
        Ok(Self::Csv(read_csv(path, &COLUMNS.map(|name| (name, ColumnKind::I64)))?, header))
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Parquet(file) => file.schema().iter().map(|(name, _)| name.clone()).collect(),
            Self::Csv(_, header) => header.clone(),
        }
    }

    fn rows(&self) -> usize {
        match self {
            Self::Parquet(file) => file.rows(),
            Self::Csv(table, _) => table.rows(),
        }
    }
}

/// Whether a table holds classes of points.
fn is_classes(path: &Path) -> bool {
    if !is_table(path) {
        return false;
    }
    let names = match path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet")) {
        true => ParquetFile::open(path).map(|file| file.schema().iter().map(|(name, _)| name.clone()).collect()),
        false => CsvText::open(path).map(|text| text.header().to_vec()),
    };
    let Ok(names): Result<Vec<String>> = names else { return false };
    ["event", "point", "label", "prediction"].iter().all(|name| names.iter().any(|known| known == name))
}

/// Scores tables of `predict`, whose rows bring their labels; probes of embeddings stand beside them.
fn run(request: &ScoreRequest) -> Result<()> {
    let (mut reports, mut probes) = (vec![], vec![]);
    let mut inputs: Vec<(String, PathBuf)> = vec![];
    for argument in &request.predictions {
        let stage = (argument == "-" || Path::new(argument).is_dir()).then(|| Manifest::read(argument)).transpose()?;
        let path = match &stage {
            Some(stage) if stage.outputs.contains_key(PROBE) => {
                let path = stage.output(PROBE)?;
                probes.push(probe(argument, stage));
                inputs.push((path.display().to_string(), path));
                continue;
            }
            Some(stage) => resolve_in(stage, &["predictions"])?,
            None => resolve(argument, &["predictions"])?,
        };
        let mut report = one(argument, &path, request.limit)?;
        for name in [TRAIN_EVENTS, LEARNS] {
            if let Some(value) = stage.as_ref().and_then(|stage| stage.metrics.get(name)) {
                report[name] = value.clone();
            }
        }
        reports.push(report);
        inputs.push((path.display().to_string(), path));
    }
    let labels = Labels::of(reports.iter().chain(&probes));
    info!("{}{}", table(&reports), labels.table());
    let means: Vec<(&str, f64)> = reports
        .iter()
        .chain(&probes)
        .map(|report| (report["name"].as_str().unwrap_or_default(), number(&report["f1_mean"])))
        .collect();
    let mut value = json!({ "scores": reports });
    if !probes.is_empty() {
        value["probes"] = probes.clone().into();
    }
    request.publish(NAME, &value, &means, &inputs, |stage| {
        if let [only] = reports.as_slice() {
            stage.metric("score", only["f1_mean"].clone());
        }
        let page = page::page(&reports, &labels);
        stage.texts(page.beside())?;
        let written = common::durable::write(stage.folder().join("report.html"), page.html().as_bytes())?;
        stage.output("report", &written);
        Ok(())
    })
}

/// A linear map of the features of single points, as `predict --embeddings` judged it.
fn probe(name: &str, stage: &Manifest) -> Value {
    let of = |name: &str| stage.metrics.get(name).cloned().unwrap_or(Value::Null);
    json!({
        "name": name,
        "f1_mean": of("linear_f1"),
        "untrained/f1_mean": of("untrained/linear_f1"),
        TRAIN_EVENTS: of(TRAIN_EVENTS),
        LEARNS: of(LEARNS),
    })
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn one(name: &str, path: &Path, limit: Option<u64>) -> Result<Value> {
    let file = Classes::open(path)?;
    let rows = limit.map_or(file.rows(), |n| file.rows().min(usize::try_from(n).unwrap_or(usize::MAX)));
    // Probabilities name the classes that the network knows.
    let all = file.names();
    let names: Vec<&str> = all.iter().filter_map(|name| name.strip_prefix("p_")).collect();
    let classes = names.len();
    if classes == 0 {
        return Err(Error::input(path, "has no column `p_shower` or of another class, so it is no table of `predict`"));
    }
    let mut pooled = Confusion::new(classes);
    let mut sums = vec![0.0; classes];
    let mut events = 0u64;
    let mut current: (i64, Vec<i64>, Vec<i64>) = (-1, vec![], vec![]);
    let mut seen = HashSet::new();
    let mut close = |current: &mut (i64, Vec<i64>, Vec<i64>)| {
        if !current.1.is_empty() {
            sums.iter_mut().zip(event_iou(&current.1, &current.2, classes)).for_each(|(sum, v)| *sum += v);
            events += 1;
        }
        current.1.clear();
        current.2.clear();
    };
    for begin in (0..rows).step_by(BLOCK) {
        let read;
        let (table, range) = match &file {
            Classes::Parquet(file) => {
                read = file.read(Some(&COLUMNS), begin..(begin + BLOCK).min(rows))?;
                (&read, 0..read.rows())
            }
            Classes::Csv(table, _) => (table, begin..(begin + BLOCK).min(rows)),
        };
        let (event, label, guess) = (table.whole("event")?, table.whole("label")?, table.whole("prediction")?);
        let (event, label, guess) = (&event[range.clone()], &label[range.clone()], &guess[range]);
        demand_known((label, guess), classes, begin, path)?;
        pooled.add(label, guess);
        for (at, ((event, label), guess)) in event.iter().zip(label).zip(guess).enumerate() {
            if *event != current.0 || current.1.is_empty() {
                close(&mut current);
                current.0 = *event;
                if !seen.insert(*event) {
                    let problem = format!("row {}: event {event} begins again, after other events", begin + at);
                    return Err(Error::input(path, problem).hint("sort the rows by event, each point once"));
                }
            }
            current.1.push(*label);
            current.2.push(*guess);
        }
    }
    close(&mut current);
    let mut report = pooled.figures(&names);
    let per_event: Vec<f64> = sums.iter().map(|sum| sum / events.max(1) as f64).collect();
    report["name"] = json!(name);
    report["path"] = json!(path.display().to_string());
    report["events"] = json!(events);
    report["iou_events"] = names
        .iter()
        .zip(&per_event)
        .map(|(n, v)| ((*n).to_string(), json!(v)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    report["iou_events_mean"] = json!(per_event.iter().sum::<f64>() / classes as f64);
    Ok(report)
}

/// Refuses classes that the network does not have: they would count nowhere.
fn demand_known((label, guess): (&[i64], &[i64]), classes: usize, first: usize, path: &Path) -> Result<()> {
    let known = |class: i64| (0..classes as i64).contains(&class);
    for (row, (&label, &guess)) in label.iter().zip(guess).enumerate() {
        for (name, value, good) in
            [("label", label, known(label) || label == NONE), ("prediction", guess, known(guess))]
        {
            if !good {
                let problem = format!("row {}: {name} is {value}, expected 0 to {}", first + row, classes - 1);
                return Err(Error::input(path, problem).hint("points without a label have -1"));
            }
        }
    }
    Ok(())
}

fn table(reports: &[Value]) -> String {
    let mut text = String::from("classes of points");
    for report in reports {
        text.push_str(&format!(
            "\n{}: {} events, {} points\n  mean F1 {:.4} (majority class: {:.4})  mean IoU {:.4}, by event {:.4}  accuracy {:.4}",
            report["name"].as_str().unwrap_or_default(),
            report["events"],
            report["points"],
            number(&report["f1_mean"]),
            number(&report["f1_majority"]),
            number(&report["iou_mean"]),
            number(&report["iou_events_mean"]),
            number(&report["accuracy"]),
        ));
        let names: Vec<&String> = report["f1"].as_object().into_iter().flat_map(|map| map.keys()).collect();
        text.push_str(&format!(
            "\n  {:8}{:>9}{:>9}{:>11}{:>9}   predicted as",
            "class", "F1", "IoU", "precision", "recall"
        ));
        for (i, name) in names.iter().enumerate() {
            let of = |key: &str| number(&report[key][name.as_str()]);
            let row: Vec<String> = report["confusion"][i]
                .as_array()
                .into_iter()
                .flatten()
                .map(|n| format!("{:>9}", n.as_u64().unwrap_or(0)))
                .collect();
            text.push_str(&format!(
                "\n  {name:8}{:9.4}{:9.4}{:11.4}{:9.4}   {}",
                of("f1"),
                of("iou"),
                of("precision"),
                of("recall"),
                row.join("")
            ));
        }
    }
    text
}
