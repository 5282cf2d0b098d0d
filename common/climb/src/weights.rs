//! Tables of weights: `model,weight` in csv as the published one, with a column for every target that has weights of
//! its own; `weights.json` with weights for groups; and the pickled pandas frame that upstream uses.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use common::durable::{self, Written};
use common::store::pickle::{Checkpoint, Column as Pickled};
use common::store::tables::{ColumnKind, CsvText, read_csv};
use common::submission::{ENDINGS, is_nameless};
use common::{Error, Result};
use serde_json::Value;

use crate::space::Blending;

/// Weights to apply, in the order of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// Names of the models without a file ending.
    pub models: Vec<String>,
    /// Weights of columns without weights of their own.
    global: Vec<f64>,
    groups: Vec<Vec<f64>>,
    group_of: HashMap<String, usize>,
    /// What the members are blended as.
    pub blending: Blending,
    /// Whether the weights were made to sum to one.
    sum_one: bool,
}

impl Weights {
    /// Reads a table; the ending tells which kind.
    pub fn read(path: &Path) -> Result<Self> {
        let weights = match path.extension().and_then(|e| e.to_str()) {
            Some("csv") => read_table(path)?,
            Some("json") => read_json(path)?,
            _ => Self::of_table(read_pickled(path)?),
        };
        weights.check(path)?;
        Ok(weights)
    }

    /// The weights of a column, in the order of the models.
    pub fn of(&self, column: &str) -> &[f64] {
        self.group_of.get(column).map_or(&self.global, |&g| &self.groups[g])
    }

    /// The weights of columns without weights of their own, in the order of the models.
    pub fn global(&self) -> &[f64] {
        &self.global
    }

    /// The targets that have weights of their own.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.group_of.keys().map(String::as_str)
    }

    /// The largest distance of a sum of weights from 1, where they should sum to it.
    pub fn excess(&self) -> f64 {
        if !self.sum_one {
            return 0.0;
        }
        let sums = std::iter::once(&self.global).chain(&self.groups).map(|w| (w.iter().sum::<f64>() - 1.0).abs());
        sums.fold(0.0, f64::max)
    }

    fn of_table((models, global): (Vec<String>, Vec<f64>)) -> Self {
        let models = models.iter().map(|m| stem(m).to_string()).collect();
        let (groups, group_of) = (Vec::new(), HashMap::new());
        Self { models, global, groups, group_of, blending: Blending::VALUE, sum_one: true }
    }

    fn check(&self, path: &Path) -> Result<()> {
        if self.models.is_empty() {
            return Err(Error::input(path, "holds no weights"));
        }
        let mut seen = HashSet::new();
        if let Some((row, model)) = self.models.iter().enumerate().find(|(_, m)| !seen.insert(m.as_str())) {
            return Err(Error::input(path, format!("row {row}: the model `{model}` appears twice")));
        }
        for weights in std::iter::once(&self.global).chain(&self.groups) {
            if let Some(k) = weights.iter().position(|w| !w.is_finite()) {
                return Err(Error::input(path, format!("the weight of `{}` is {}", self.models[k], weights[k])));
            }
        }
        Ok(())
    }
}

/// The name of a model without the ending of its file.
pub fn stem(name: &str) -> &str {
    [".npy", ".npz", ".safetensors"].iter().chain(&ENDINGS).find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// Columns beside `model`, `weight` and `space` are targets with weights of their own.
fn read_table(path: &Path) -> Result<Weights> {
    let header = CsvText::open(path)?.header().to_vec();
    let own: Vec<&str> = header.iter().map(String::as_str).filter(|n| !TAKEN.contains(n) && !is_nameless(n)).collect();
    let mut schema = vec![("model", ColumnKind::Text), ("weight", ColumnKind::F64)];
    let spaced = header.iter().any(|name| name == "space");
    if spaced {
        schema.push(("space", ColumnKind::Text));
    }
    schema.extend(own.iter().map(|name| (*name, ColumnKind::F64)));
    let table = read_csv(path, &schema)?;
    let mut weights = Weights::of_table((table.texts("model")?.to_vec(), table.f64("weight")?.to_vec()));
    if spaced {
        let spaces = table.texts("space")?;
        if let Some(row) = spaces.iter().position(|space| *space != spaces[0]) {
            let problem = format!("row {row}: the space is `{}`, that of row 0 is `{}`", spaces[row], spaces[0]);
            return Err(Error::input(path, problem).hint("all members are blended in one space"));
        }
        if let Some(space) = spaces.first() {
            weights.blending = blending(path, space)?;
        }
    }
    for name in own {
        weights.group_of.insert(name.to_owned(), weights.groups.len());
        weights.groups.push(table.f64(name)?.to_vec());
    }
    Ok(weights)
}

/// What a column of the table of weights cannot be called beside what it means.
const TAKEN: [&str; 3] = ["model", "weight", "space"];

fn blending(path: &Path, word: &str) -> Result<Blending> {
    Blending::named(word)
        .ok_or_else(|| Error::input(path, format!("the space is `{word}`, expected one of {}", Blending::words())))
}

fn read_pickled(path: &Path) -> Result<(Vec<String>, Vec<f64>)> {
    let checkpoint = Checkpoint::open(path)?;
    let mut columns: HashMap<String, Pickled> = checkpoint.value().data_frame()?.into_iter().collect();
    match (columns.remove("model"), columns.remove("weight")) {
        (Some(Pickled::Texts(models)), Some(Pickled::Floats(weights))) => Ok((models, weights)),
        _ => Err(Error::input(path, "expected a data frame with the columns `model` (texts) and `weight` (floats)")),
    }
}

fn read_json(path: &Path) -> Result<Weights> {
    let text = common::store::foreign::read_text(path)?;
    let value: Value = serde_json::from_str(&text).map_err(|e| Error::input(path, format!("is no JSON: {e}")))?;
    let expected = |what: &str| {
        Error::input(path, format!("expected {what}")).hint("pass the `weights.json` that `hill-climb search` wrote")
    };
    let table = value["weights"].as_object().ok_or_else(|| expected("`weights`, an object of numbers by model"))?;
    let models: Vec<String> = table.keys().cloned().collect();
    let numbers = |object: &Value| -> Result<Vec<f64>> {
        let weight = |m: &String| object[m.as_str()].as_f64().ok_or_else(|| expected(&format!("a number for `{m}`")));
        models.iter().map(weight).collect()
    };
    let mut weights = Weights::of_table((models.clone(), numbers(&value["weights"])?));
    if let Some(word) = value.get("space") {
        weights.blending = blending(path, word.as_str().unwrap_or_default())?;
    }
    weights.sum_one = value.get("sum_one") != Some(&Value::Bool(false));
    for group in value["groups"].as_array().into_iter().flatten() {
        weights.groups.push(numbers(&group["weights"])?);
        let columns = group["columns"].as_array().ok_or_else(|| expected("`columns` in every group"))?;
        for column in columns.iter().filter_map(Value::as_str) {
            if weights.group_of.insert(column.to_string(), weights.groups.len() - 1).is_some() {
                return Err(Error::input(path, format!("the column `{column}` is in two groups")));
            }
        }
    }
    // A model without weight anywhere needs no file.
    let used: Vec<usize> = (0..models.len())
        .filter(|&k| std::iter::once(&weights.global).chain(&weights.groups).any(|w| w[k] != 0.0))
        .collect();
    let kept = |w: &[f64]| used.iter().map(|&k| w[k]).collect::<Vec<f64>>();
    weights.global = kept(&weights.global);
    weights.groups = weights.groups.iter().map(|w| kept(w)).collect();
    weights.models = used.iter().map(|&k| weights.models[k].clone()).collect();
    Ok(weights)
}

/// A column of the table of weights beside the global ones: a target, and the weight of every model there.
pub type Own = (String, Vec<f64>);

/// Writes a table with 17 significant digits, which name every double exactly. `own` holds the targets that have
/// weights of their own, in the order of the table.
pub fn write_csv(path: &Path, table: &[(String, f64)], own: &[Own]) -> Result<Written> {
    write_csv_in(Blending::VALUE, path, table, own)
}

/// The same with the space that members are blended in: another than that of values has a column of its own, so that
/// nobody sums values by mistake.
pub fn write_csv_in(blending: Blending, path: &Path, table: &[(String, f64)], own: &[Own]) -> Result<Written> {
    let mut text = String::from("model,weight");
    let space = if blending == Blending::VALUE { None } else { Some(blending.name()) };
    if space.is_some() {
        text += ",space";
    }
    for (target, _) in own {
        if TAKEN.contains(&target.as_str()) {
            return Err(Error::failed(format!("a target is called `{target}`, like a column of the table of weights")));
        }
        text += &format!(",{}", field(target));
    }
    text.push('\n');
    for (k, (model, weight)) in table.iter().enumerate() {
        text += &format!("{},{}", field(model), g17(*weight));
        if let Some(space) = space {
            text += &format!(",{space}");
        }
        for (_, weights) in own {
            text += &format!(",{}", g17(weights[k]));
        }
        text.push('\n');
    }
    durable::write(path, text.as_bytes())
}

/// A csv field, quoted where needed.
pub fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

/// C's `%.17g`, the form of the published table.
pub fn g17(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let scientific = format!("{value:.16e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_string();
    if !(-4..17).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(digits), exponent.abs());
    }
    let decimals = usize::try_from(16 - exponent).unwrap_or(0);
    let fixed = format!("{value:.decimals$}");
    if decimals > 0 { trim(&fixed) } else { fixed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seventeen_digits_look_like_the_published_table() {
        for text in ["0.16655637448129526", "0.052500000000000019", "-0.047131875000000004", "0.5", "1", "0"] {
            assert_eq!(g17(text.parse().unwrap()), text);
        }
        assert_eq!(g17(1e-5), "1.0000000000000001e-05");
        assert_eq!(g17(-2.5e20), "-2.5e+20");
        assert_eq!(g17(123.0), "123");
    }

    #[test]
    fn groups_have_weights_of_their_own_and_unused_models_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.json");
        let text = r#"{"weights": {"a.npy": 0.75, "b": 0.25, "c": 0.0},
            "groups": [{"name": "g", "columns": ["x"], "weights": {"a.npy": -0.5, "b": 1.5, "c": 0.0}}]}"#;
        durable::write(&path, text.as_bytes()).unwrap();
        let weights = Weights::read(&path).unwrap();
        assert_eq!(weights.models, ["a", "b"]);
        assert_eq!((weights.of("x"), weights.of("y")), (&[-0.5, 1.5][..], &[0.75, 0.25][..]));
        assert_eq!(weights.excess(), 0.0);
    }

    #[test]
    fn a_table_keeps_the_weights_of_single_targets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.csv");
        let table = [("a".to_string(), 0.75), ("b".to_string(), 0.25)];
        let logit = Blending::named("logit_classes").unwrap();
        write_csv_in(logit, &path, &table, &[("x,y".into(), vec![-0.5, 1.5])]).unwrap();
        let weights = Weights::read(&path).unwrap();
        assert_eq!(weights.blending, logit);
        assert_eq!((weights.of("x,y"), weights.of("z")), (&[-0.5, 1.5][..], &[0.75, 0.25][..]));
    }

    #[test]
    fn bad_tables_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let problem = |name: &str, text: &str| {
            let path = folder.path().join(name);
            durable::write(&path, text.as_bytes()).unwrap();
            Weights::read(&path).unwrap_err().to_string()
        };
        assert!(problem("a.csv", "model,weight\na.npy,0.5\na,0.5\n").ends_with("row 1: the model `a` appears twice"));
        assert!(problem("b.csv", "model,weight\n").ends_with("holds no weights"));
        assert!(problem("g.csv", "model,weight,x\na,1,inf\n").contains("the weight of `a` is inf"));
        assert!(problem("c.csv", "model,weigth\na,1\n").contains("has no column `weight`"));
        assert!(problem("d.csv", "model,weight\na,inf\n").contains("the weight of `a` is inf"));
        assert!(problem("e.json", r#"{"weights": {"a": "1"}}"#).ends_with("expected a number for `a`"));
        assert!(
            problem("h.csv", "model,weight,space\na,1,log\n").contains("the space is `log`, expected one of value")
        );
        assert!(problem("i.csv", "model,weight,space\na,1,logit\nb,0,rank\n").contains("row 1: the space is `rank`"));
        assert!(problem("j.json", r#"{"weights": {"a": 1}, "space": 3}"#).contains("the space is ``"));
        assert!(problem("f.pt", "junk").contains("f.pt"));
    }

    #[test]
    fn names_with_commas_are_quoted() {
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
