//! Configs: YAML files, dotted `KEY=VALUE` overrides, and mistakes that are easy to mend.
//!
//! A config is one struct per group with `deny_unknown_fields`; choices with own fields are externally tagged enums,
//! because internal tags and `flatten` lose the line of a mistake. Values come from the built-in defaults, then the
//! file, then the overrides. An override is typed by the field it sets: `name=010` stays text where text is wanted
//! and is refused where a float is `abc`.

mod differences;
pub mod hydra;
mod lines;
mod overrides;
mod text;
mod tree;
mod yaml;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use overrides::Override;
use text::read;

pub use differences::{Difference, differences};
pub use yaml::point_at;

/// A config that can check itself.
pub trait Config: Serialize + DeserializeOwned + JsonSchema {
    /// Reports every value that is out of range or does not go with another one.
    fn validate(&self, problems: &mut Problems);

    /// The same settings from a composed folder of configs in the layout of Hydra ([`hydra`]), as a tree of this config;
    /// none for a config that no program wrote in this layout.
    fn from_hydra(tree: &Value) -> Option<Result<hydra::Translated>> {
        let _ = tree;
        None
    }
}

/// What [`Config::validate`] found.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<(String, String)>,
}

impl Problems {
    /// `key` is the dotted path, `problem` reads `is 0, expected more than 0`.
    pub fn push(&mut self, key: impl Into<String>, problem: impl Into<String>) {
        self.found.push((key.into(), problem.into()));
    }

    /// Reports `key` unless `holds`.
    pub fn demand(&mut self, holds: bool, key: &str, problem: impl FnOnce() -> String) {
        if !holds {
            self.push(key, problem());
        }
    }

    /// True when nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

/// A config with everything filled in.
#[derive(Debug, Clone)]
pub struct Resolved<T> {
    /// The typed values.
    pub value: T,
    /// The same as YAML with every default spelled out; feeding it back gives the same run.
    pub text: String,
    /// BLAKE3 of `text`.
    pub hash: String,
    /// The config's `seed`, where it has one.
    pub seed: Option<u64>,
    /// `text` with the origin of each value as a comment.
    annotated: String,
}

impl<T> Resolved<T> {
    /// What `--print-config` prints: YAML with `# default`, `# FILE:LINE` or `# override` behind each value.
    pub fn annotated(&self) -> &str {
        &self.annotated
    }
}

/// Reads `file` (none: defaults only), applies the overrides and checks the result.
///
/// `file` may be a folder in the layout of Hydra, or its main file: then overrides of keys that it has are applied to it
/// before it is translated ([`Config::from_hydra`]). Overrides are `a.b=value`; after a JSON config the published form `A.B value` (two arguments) is taken as well.
///
/// # Errors
/// [`Error::Usage`] with file, line, column, key path, the line itself and what is allowed there.
pub fn load<T: Config>(file: Option<&Path>, overrides: &[String]) -> Result<Resolved<T>> {
    let main = file.map(hydra::main_file).transpose()?.flatten();
    if let Some(main) = main {
        let composed = hydra::compose(&main, overrides)?;
        let translated = T::from_hydra(&composed.tree).ok_or_else(|| {
            Error::usage(format!("`{}` is a config of Hydra, which nothing is known of here", main.display()))
        })??;
        let text = tree::emit(&translated.tree, |_| None);
        let place = |key: &str| {
            composed.origin(&translated.from, key).unwrap_or_else(|| format!("set by reading {}", main.display()))
        };
        hydra::demand_values(&main, &translated, &place)?;
        return load_placed(&main, &text, &composed.rest, &place);
    }
    let (path, text) = match file {
        Some(path) => (path.to_path_buf(), read(path)?),
        None => (PathBuf::from("defaults"), "{}\n".to_string()),
    };
    let lines = lines::Lines::of(&text);
    load_placed(&path, &text, overrides, &|key| match lines.get(key) {
        Some(line) => format!("{}:{line}", path.display()),
        None => path.display().to_string(),
    })
}

/// Whether a file is a config in the layout of Hydra, or a folder of such.
///
/// # Errors
/// Where it cannot be read.
pub fn is_hydra(file: &Path) -> Result<bool> {
    Ok(hydra::main_file(file)?.is_some())
}

/// As [`load`], from a text that stands for the file `path`: a config of another program, translated. The lines of the text
/// are not those of the file, so origins name the file alone.
///
/// # Errors
/// As [`load`].
pub fn load_text<T: Config>(path: &Path, text: &str, overrides: &[String]) -> Result<Resolved<T>> {
    load_placed(path, text, overrides, &|_| path.display().to_string())
}

/// As [`load_text`], where `theirs` gives the key of the file, dotted, that a key of ours was translated from: its line is the
/// origin. A key that the file does not have has the other program's default.
///
/// # Errors
/// As [`load`].
pub fn load_translated<T: Config>(
    path: &Path,
    text: &str,
    overrides: &[String],
    theirs: &dyn Fn(&str) -> Option<String>,
) -> Result<Resolved<T>> {
    let lines = lines::Lines::of(&read(path)?);
    load_placed(path, text, overrides, &|key| match theirs(key) {
        None => format!("translated from {}", path.display()),
        Some(theirs) => match lines.line(&theirs) {
            Some(line) => format!("{}:{line}", path.display()),
            None => format!("`{theirs}` is not in {}: the original's default", path.display()),
        },
    })
}

/// As [`load_text`]; `place` says where the value of a key of the text stands.
fn load_placed<T: Config>(
    path: &Path,
    text: &str,
    overrides: &[String],
    place: &dyn Fn(&str) -> String,
) -> Result<Resolved<T>> {
    let given = yaml::parse_any(path, text)?;
    let from_file: T = yaml::parse(path, text)?;
    let mut tree = to_tree(&from_file)?;
    let overrides = Override::parse_all(overrides)?;
    for entry in &overrides {
        entry.apply(&mut tree)?;
    }
    let value = if overrides.is_empty() { from_file } else { overrides::retype::<T>(&tree, &overrides)? };
    let tree = to_tree(&value)?;
    let origin = |key: &str| -> String {
        if overrides.iter().any(|o| o.covers(key)) {
            "override".into()
        } else if tree::at(&given, key).is_some() {
            place(key)
        } else {
            "default".into()
        }
    };
    let mut problems = Problems::default();
    value.validate(&mut problems);
    if !problems.is_empty() {
        return Err(refuse(&tree, problems, origin));
    }
    let plain = tree::emit(&tree, |_| None);
    let annotated = tree::emit(&tree, |key| Some(origin(key)));
    let hash = blake3::hash(plain.as_bytes()).to_hex().to_string();
    let seed = tree.get("seed").and_then(Value::as_u64);
    Ok(Resolved { value, text: plain, hash, seed, annotated })
}

/// The value of one top-level key as text, before the type of the config is known (`system`).
pub fn peek(file: &Path, key: &str) -> Result<Option<String>> {
    if let Some(main) = hydra::main_file(file)? {
        let tree = hydra::compose(&main, &[])?.tree;
        return Ok(if key == "system" { hydra::program(&tree) } else { None });
    }
    let text = read(file)?;
    Ok(match yaml::parse_any(file, &text)?.get(key) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    })
}

/// JSON Schema of a config, for completion in editors.
pub fn schema<T: Config>() -> String {
    let schema = schemars::schema_for!(T);
    serde_json::to_string_pretty(&schema).map_or_else(|_| String::new(), |text| text + "\n")
}

fn to_tree<T: Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::usage(format!("config: {e}")))
}

fn refuse(tree: &Value, problems: Problems, origin: impl Fn(&str) -> String) -> Error {
    let count = problems.found.len();
    let mut lines = vec![if count == 1 {
        "the config has a mistake".to_string()
    } else {
        format!("the config has {count} mistakes")
    }];
    for (key, problem) in problems.found {
        let place = if tree::at(tree, &key).is_some() { format!(" ({})", origin(&key)) } else { String::new() };
        lines.push(format!("  `{key}` {problem}{place}"));
    }
    Error::usage(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct Run {
        name: String,
        lr: f64,
        clip: Option<f64>,
        tags: Vec<String>,
        optimizer: Optimizer,
        model: Model,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Optimizer {
        None,
        AdamW { lr: f64 },
    }

    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct Model {
        dim: usize,
        depth: usize,
    }

    impl Default for Run {
        fn default() -> Self {
            let model = Model { dim: 8, depth: 2 };
            Self { name: "x".into(), lr: 1e-3, clip: None, tags: vec![], optimizer: Optimizer::None, model }
        }
    }

    impl Config for Run {
        fn validate(&self, problems: &mut Problems) {
            problems.demand(self.lr > 0.0, "lr", || format!("is {}, expected more than 0", self.lr));
            problems.demand(self.model.depth > 0, "model.depth", || "is 0, expected 1 or more".into());
        }
    }

    fn load_text(text: &str, overrides: &[&str]) -> Result<Resolved<Run>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.yaml");
        crate::durable::write(&path, text.as_bytes()).unwrap();
        load(Some(&path), &overrides.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn failure(text: &str, overrides: &[&str]) -> String {
        let error = load_text(text, overrides).unwrap_err();
        assert_eq!(error.exit_code(), crate::ExitCode::Usage);
        format!("{error}\n{}", error.hint_text().unwrap_or_default())
    }

    #[test]
    fn overrides_are_typed_by_their_field() {
        let overrides =
            ["name=010", "lr=5e-4", "tags=[1.0, no]", "optimizer={adam_w: {lr: 1}}", "model.dim=384", "clip=2"];
        let run = load_text("lr: 0.1\nmodel:\n  depth: 12\n", &overrides).unwrap().value;
        assert_eq!(run.name, "010");
        assert_eq!(run.lr, 5e-4);
        assert_eq!(run.clip, Some(2.0));
        assert_eq!(run.tags, ["1.0", "no"]);
        assert_eq!(run.optimizer, Optimizer::AdamW { lr: 1.0 });
        assert_eq!(run.model, Model { dim: 384, depth: 12 });
    }

    #[test]
    fn the_resolved_text_feeds_back_to_the_same_config() {
        let first =
            load_text("name: \"a: b # c\"\n", &["lr=1e-8", "optimizer={adam_w: {lr: 2}}", "tags=[\"\", \"null\"]"])
                .unwrap();
        let second = load_text(&first.text, &[]).unwrap();
        assert_eq!(first.value, second.value);
        assert_eq!(first.hash, second.hash);
        let annotated = load_text(first.annotated(), &[]).unwrap();
        assert_eq!(annotated.value, first.value);
    }

    #[test]
    fn the_origin_of_each_value_is_shown() {
        let run = load_text("lr: 0.1\nmodel:\n  depth: 12\n", &["model.dim=3"]).unwrap();
        let text = run.annotated();
        assert!(text.contains("lr: 0.1  # ") && text.contains("run.yaml:1"), "{text}");
        assert!(text.contains("depth: 12  # ") && text.contains("run.yaml:3"), "{text}");
        assert!(text.contains("dim: 3  # override"), "{text}");
        assert!(text.contains("name: x  # default"), "{text}");
    }

    #[test]
    fn an_unknown_key_shows_line_caret_and_the_nearest_name() {
        let text = failure("lr: 0.1\nmodel:\n  dim: 384\n  deph: 12\n", &[]);
        assert!(text.contains("run.yaml:4:3: unknown key `deph` in `model`"), "{text}");
        assert!(text.contains("  4 |   deph: 12\n    |   ^^^^"), "{text}");
        assert!(text.contains("did you mean `depth`"), "{text}");
        let text = failure("", &["model.deph=3"]);
        assert!(text.contains("`model.deph=3`: unknown key `deph`") && text.contains("did you mean `depth`"), "{text}");
    }

    #[test]
    fn a_wrong_type_shows_what_was_found() {
        let text = failure("model:\n  depth: many\n", &[]);
        assert!(text.contains("run.yaml:2:10") && text.contains("many") && text.contains("model.depth"), "{text}");
        let text = failure("", &["lr=abc"]);
        assert!(text.contains("`lr=abc`"), "{text}");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = failure("lr: -1\nmodel:\n  depth: 0\n", &[]);
        assert!(text.contains("2 mistakes") && text.contains("`lr` is -1") && text.contains("run.yaml:3"), "{text}");
    }

    #[test]
    fn yaml_bombs_end_with_a_message() {
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
        failure(bomb, &[]);
        failure(&"[".repeat(5000), &[]);
    }
}
