//! Scores of what is no plain value, as `score` asks for them, and what all scores end with.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::stage::{MANIFEST, Manifest, Stage};
use crate::{Error, Result, durable};

/// How a system scores predictions of its own kind.
pub struct Score {
    /// Flags of [`ScoreRequest::given`] that it reads.
    pub reads: &'static [&'static str],
    /// What the help says of what is scored, in whole sentences.
    pub about: &'static str,
    /// What it says of the predictions.
    pub predictions: &'static str,
    /// What it says of the truth.
    pub truth: &'static str,
    /// What it says of flags, by flag.
    pub flags: &'static [(&'static str, &'static str)],
    /// Command lines.
    pub examples: &'static str,
    /// Whether predictions or truth are of this kind.
    pub claims: fn(&ScoreRequest) -> Result<bool>,
    /// Scores them.
    pub run: fn(&ScoreRequest) -> Result<()>,
}

/// What is asked for.
#[derive(Debug, Default)]
pub struct ScoreRequest {
    /// `[NAME=]PATH`.
    pub predictions: Vec<String>,
    /// A file, a folder, or `-`.
    pub truth: Option<String>,
    /// `--id`.
    pub id: Option<String>,
    /// `--target`.
    pub target: Vec<String>,
    /// `--mask-missing`.
    pub mask_missing: bool,
    /// `--by-position`.
    pub by_position: bool,
    /// `KEY=VALUE` of what counts.
    pub cut: Vec<String>,
    /// `--no-zero-rule`.
    pub no_zero_rule: bool,
    /// `--targets`.
    pub targets: bool,
    /// `--json`.
    pub json: bool,
    /// `--summary`.
    pub summary: Option<PathBuf>,
    /// `--table`.
    pub table: Vec<PathBuf>,
    /// `--errors`.
    pub errors: Option<PathBuf>,
    /// `--zonal`.
    pub zonal: Option<PathBuf>,
    /// `--out`.
    pub out: Option<PathBuf>,
    /// `--force`.
    pub force: bool,
    /// `--limit`.
    pub limit: Option<u64>,
    /// The stage that the truth names, read once.
    pub stage: OnceCell<Manifest>,
}

impl ScoreRequest {
    /// The flags that were given and that a kind of score may leave unread.
    pub fn given(&self) -> Vec<&'static str> {
        let given = [
            ("--truth", self.truth.is_some()),
            ("--id", self.id.is_some()),
            ("--target", !self.target.is_empty()),
            ("--mask-missing", self.mask_missing),
            ("--by-position", self.by_position),
            ("--cut", !self.cut.is_empty()),
            ("--no-zero-rule", self.no_zero_rule),
            ("--targets", self.targets),
            ("--table", !self.table.is_empty()),
            ("--errors", self.errors.is_some()),
            ("--zonal", self.zonal.is_some()),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }

    /// The finished stage that the truth names (its folder, or `-`); none where it names something else.
    ///
    /// # Errors
    /// Those of [`Manifest::read`].
    pub fn truth_stage(&self) -> Result<Option<&Manifest>> {
        let is_stage = |truth: &&str| *truth == "-" || Path::new(truth).join(MANIFEST).exists();
        let Some(truth) = self.truth.as_deref().filter(is_stage) else { return Ok(None) };
        if self.stage.get().is_none() {
            let read = Manifest::read(truth)?;
            let _ = self.stage.set(read);
        }
        Ok(self.stage.get())
    }

    /// The truth where it is a file or no stage's folder.
    pub fn truth_path(&self) -> Option<&Path> {
        self.truth.as_deref().filter(|truth| *truth != "-").map(Path::new)
    }

    /// What a score depends on beside its inputs, as config of the stage.
    pub fn config_text(&self) -> String {
        let limit = self.limit.map_or("null".to_string(), |n| n.to_string());
        let cuts: String = self.cut.iter().map(|cut| format!("cut: {cut}\n")).collect();
        let rows = [("mask_missing", self.mask_missing), ("by_position", self.by_position)];
        let rows: String = rows.iter().filter(|(_, on)| *on).map(|(key, _)| format!("{key}: true\n")).collect();
        format!("zero_rule: {}\nlimit: {limit}\n{rows}{cuts}", !self.no_zero_rule)
    }

    /// Ends a score: the summary of `means`, and `value` as a stage of `system` that read `inputs`, or on standard output.
    /// `more` adds files and figures to the stage.
    ///
    /// # Errors
    /// Those of reading the inputs and of writing.
    pub fn publish(
        &self,
        system: &str,
        value: &Value,
        means: &[(&str, f64)],
        inputs: &[(String, PathBuf)],
        more: impl FnOnce(&mut Stage) -> Result<()>,
    ) -> Result<()> {
        let text = |pretty: bool| {
            let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
            text.map_err(|e| Error::failed(format!("report: {e}")))
        };
        if let Some(file) = &self.summary {
            write_summary(file, means)?;
        }
        let Some(out) = &self.out else { return crate::cli::print_line(&text(self.json)?) };
        let mut stage = Stage::begin("score", system, out, &self.config_text(), 0, self.force)?;
        for (name, path) in inputs {
            stage.input(name, path)?;
        }
        let written = durable::write(stage.folder().join("score.json"), format!("{}\n", text(true)?).as_bytes())?;
        stage.output("score", &written);
        more(&mut stage)?;
        stage.finish()?;
        Ok(())
    }
}

/// Writes the mean of each as JSON: members by name, and beside them the one that is called `blend`.
///
/// # Errors
/// Those of writing.
pub fn write_summary(file: &Path, means: &[(&str, f64)]) -> Result<()> {
    let text = serde_json::to_string_pretty(&summary(means)).map_err(|e| Error::failed(format!("summary: {e}")))?;
    durable::write(file, format!("{text}\n").as_bytes()).map(|_| ())
}

fn summary(means: &[(&str, f64)]) -> Value {
    let members =
        means.iter().filter(|(name, _)| *name != "blend").map(|(name, mean)| (name.to_string(), (*mean).into()));
    let mut summary = Map::from_iter([("members".to_string(), Value::Object(members.collect()))]);
    if let Some((_, mean)) = means.iter().find(|(name, _)| *name == "blend") {
        summary.insert("blend".into(), (*mean).into());
    }
    summary.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_blend_stands_beside_its_members() {
        let summary = summary(&[("a", 0.5), ("blend", 0.75), ("b", 0.25)]);
        assert_eq!(summary, json!({ "members": { "a": 0.5, "b": 0.25 }, "blend": 0.75 }));
    }
}
