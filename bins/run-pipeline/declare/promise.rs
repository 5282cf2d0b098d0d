//! What a stage names for readers of the pipeline's results, where its outs are folders:
//!
//! ```yaml
//! meta:
//!   results:
//!     outputs: {picture: classes/event.html}
//!     metrics:
//!     - {file: scores/score.json, take: {seg_f1: scores.0.f1_mean}}
//! ```
//!
//! DVC passes over it, as over all of `meta`.

use std::path::{Path, PathBuf};

use common::Result;

use super::entries::normal;
use super::tree::{Kind, Node};

/// Named files, and figures to be taken out of files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Promise {
    pub outputs: Vec<(String, PathBuf)>,
    pub metrics: Vec<Figures>,
}

/// Figures of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    pub file: PathBuf,
    /// Name of the figure, dotted where it stands below others, and its dotted place in the file.
    pub take: Vec<(String, String)>,
}

/// Reads `meta.results`; paths count from `wdir`.
pub fn read(meta: Option<&Node>, wdir: &Path) -> Result<Promise> {
    let mut promise = Promise::default();
    let Some(results) = meta.and_then(|meta| meta.get("results")) else { return Ok(promise) };
    check(results, "meta.results", &["outputs", "metrics"])?;
    if let Some(outputs) = results.get("outputs") {
        for (name, path) in pairs(outputs, "meta.results.outputs")? {
            promise.outputs.push((name, normal(&wdir.join(path))));
        }
    }
    let Some(metrics) = results.get("metrics") else { return Ok(promise) };
    let Some(items) = metrics.as_list() else {
        return Err(metrics.at.error(format!("`meta.results.metrics` is {}, expected a list", metrics.describe())));
    };
    for item in items {
        check(item, "an item of `meta.results.metrics`", &["file", "take"])?;
        let (Some(file), Some(take)) = (item.get("file").and_then(Node::as_text), item.get("take")) else {
            return Err(item.at.error("an item of `meta.results.metrics` needs a `file` and what to `take` from it"));
        };
        let file = normal(&wdir.join(file));
        promise.metrics.push(Figures { file, take: pairs(take, "take")? });
    }
    Ok(promise)
}

fn check(node: &Node, what: &str, known: &[&str]) -> Result<()> {
    let Some(entries) = node.as_map() else {
        return Err(node.at.error(format!("{what} is {}, expected a map", node.describe())));
    };
    match entries.iter().find(|(key, _)| !known.contains(&key.name.as_str())) {
        Some((key, _)) => {
            let known: Vec<String> = known.iter().map(ToString::to_string).collect();
            Err(key.at.error_among(format!("unknown key `{}` in {what}", key.name), &key.name, &known))
        }
        None => Ok(()),
    }
}

fn pairs(node: &Node, what: &str) -> Result<Vec<(String, String)>> {
    let Some(entries) = node.as_map() else {
        return Err(node.at.error(format!("`{what}` is {}, expected a map", node.describe())));
    };
    let text = |node: &Node| match &node.kind {
        Kind::Text(text) => Ok(text.clone()),
        _ => Err(node.at.error(format!("a value of `{what}` is {}, expected text", node.describe()))),
    };
    entries.iter().map(|(key, value)| Ok((key.name.clone(), text(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn promise(text: &str) -> Result<Promise> {
        let meta = read::parse(Path::new("x"), text.into()).unwrap();
        read(Some(&meta), Path::new("/w"))
    }

    #[test]
    fn files_and_figures_are_named() {
        let text = "results:\n  outputs: {page: a/x.html}\n  metrics:\n  - {file: s.json, take: {t.f1: scores.0.f1}}\n";
        let found = promise(text).unwrap();
        assert_eq!(found.outputs, [("page".to_string(), PathBuf::from("/w/a/x.html"))]);
        let take = vec![("t.f1".to_string(), "scores.0.f1".to_string())];
        assert_eq!(found.metrics, [Figures { file: "/w/s.json".into(), take }]);
        assert_eq!(promise("gpu: 1\n").unwrap(), Promise::default());
    }

    #[test]
    fn what_is_written_otherwise_is_refused_with_its_place() {
        for (text, problem) in [
            ("results: {output: {}}\n", "unknown key `output`"),
            ("results: {metrics: {a: b}}\n", "expected a list"),
            ("results: {metrics: [{file: a}]}\n", "needs a `file`"),
            ("results: {outputs: {a: 1}}\n", "expected text"),
        ] {
            let error = promise(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
