//! Folders of configs in the layout of Hydra: a main file whose `defaults` choose one file of each group, and values that
//! point to others (`${a.b}`). What the values mean is for the type of the config to say ([`super::Config::from_hydra`]).
//!
//! Read is what such folders hold: `defaults` of every file with `GROUP: NAME`, `GROUP: [A, B]`, `GROUP: null`,
//! `GROUP@PACKAGE: NAME`, `optional GROUP: NAME`, `override GROUP: NAME`, `NAME` and `_self_`; `# @package` in the first
//! lines of a file; `${KEY}`, `${.KEY}`, `${oc.env:NAME,default}`, `${oc.select:..}` and `${oc.decode:..}` as a whole value
//! and inside of text; the overrides `KEY=VALUE`, `+KEY=VALUE`, `++KEY=VALUE`, `~KEY`, `GROUP=NAME` and `+GROUP=NAME`. The
//! block and the groups `hydra` and values of Hydra's own resolvers (`${hydra:...}`, `${now:...}`) say where Hydra puts its
//! files and stay as they are.

mod compose;
mod interpolate;
mod origins;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{text, yaml};
use crate::error::{Error, Result};

pub(super) use compose::compose;
use origins::Origins;

/// Main files that a folder is looked through for.
const MAIN: [&str; 2] = ["train.yaml", "config.yaml"];
/// Keys that say how Hydra makes an object, which nobody makes here.
const OF_HYDRA: [&str; 4] = ["_target_", "_partial_", "_convert_", "_recursive_"];

/// A composed config, and the overrides that are not of it.
#[derive(Debug)]
pub(super) struct Composed {
    /// All groups, overrides applied, pointers followed.
    pub(super) tree: Value,
    /// Overrides of keys that the folder does not have.
    pub(super) rest: Vec<String>,
    /// Where each value stands.
    pub(super) origins: Origins,
}

/// A composed config as one of ours.
#[derive(Debug)]
pub struct Translated {
    /// The tree of our config.
    pub tree: Value,
    /// Keys of ours and the keys of theirs that they were taken from; each stands for all keys below it, too.
    pub from: Vec<(String, String)>,
}

impl Composed {
    /// Where the value of a key of ours stands; none where the translation set it.
    pub(super) fn origin(&self, from: &[(String, String)], key: &str) -> Option<String> {
        let below = |ours: &str| match key.strip_prefix(ours) {
            Some("") => Some(String::new()),
            Some(rest) if rest.starts_with('.') => Some(rest.to_string()),
            _ => None,
        };
        let (_, theirs) = from
            .iter()
            .filter_map(|(ours, theirs)| Some((ours.len(), format!("{theirs}{}", below(ours)?))))
            .max_by_key(|(length, _)| *length)?;
        self.origins.find(&theirs)
    }
}

/// Refuses values that have to be given (`???`) and those that only Hydra could fill in.
///
/// # Errors
/// [`Error::Usage`] with the key, the value, and where it stands.
pub(super) fn demand_values(main: &Path, translated: &Translated, place: &dyn Fn(&str) -> String) -> Result<()> {
    fn find(node: &Value, at: String) -> Option<(String, String)> {
        let below = |key: &str| if at.is_empty() { key.to_string() } else { format!("{at}.{key}") };
        match node {
            Value::String(text) if text.contains("${") || text == "???" => Some((at, text.clone())),
            Value::Object(map) => map.iter().find_map(|(key, value)| find(value, below(key))),
            Value::Array(items) => items.iter().enumerate().find_map(|(i, value)| find(value, below(&i.to_string()))),
            _ => None,
        }
    }
    let Some((key, text)) = find(&translated.tree, String::new()) else { return Ok(()) };
    let what = if text == "???" { "it must be given" } else { "whose resolver only Hydra knows" };
    let problem = format!("`{}`: `{key}` is `{text}` ({}), {what}", main.display(), place(&key));
    Err(Error::usage(problem).hint(format!("give the value itself: `{key}=VALUE`")))
}

/// The main file of a folder, or the file itself where it has `defaults`; none where it is no config of Hydra.
pub(super) fn main_file(path: &Path) -> Result<Option<PathBuf>> {
    if path.is_dir() {
        let found = MAIN.iter().map(|name| path.join(name)).find(|file| file.is_file());
        return found.map(Some).ok_or_else(|| {
            Error::usage(format!("`{}` is a folder without `{}`", path.display(), MAIN.join("` or `")))
                .hint("give a config file, or a folder in the layout of Hydra")
        });
    }
    let is_yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    if !is_yaml || !path.is_file() {
        return Ok(None);
    }
    let has = yaml::parse_any(path, &text::read(path)?)?.get("defaults").is_some_and(Value::is_array);
    Ok(has.then(|| path.to_path_buf()))
}

/// The program that a composed config is of: `a` of the first `_target_: src.a.b.C`.
pub(super) fn program(tree: &Value) -> Option<String> {
    match tree {
        Value::Object(map) => {
            let own = map.get("_target_").and_then(Value::as_str).and_then(|t| t.split('.').nth(1));
            own.map(str::to_string).or_else(|| map.values().find_map(program))
        }
        Value::Array(items) => items.iter().find_map(program),
        _ => None,
    }
}

/// A composed config being read: every key must be taken or known to be without meaning here.
pub struct Group<'a> {
    name: String,
    map: &'a Map<String, Value>,
    taken: Vec<&'a str>,
}

impl<'a> Group<'a> {
    /// The map at a top-level key.
    ///
    /// # Errors
    /// [`Error::Usage`] where there is none.
    pub fn of(tree: &'a Value, name: &str) -> Result<Self> {
        let map = tree.get(name).and_then(Value::as_object);
        let map = map.ok_or_else(|| Error::usage(format!("the config has no group `{name}`")))?;
        Ok(Self { name: name.to_string(), map, taken: OF_HYDRA.to_vec() })
    }

    /// A map inside of one.
    pub fn inner(name: impl Into<String>, value: &'a Value) -> Result<Self> {
        let name = name.into();
        let map = value.as_object().ok_or_else(|| Error::usage(format!("`{name}` is {value}, expected keys")))?;
        Ok(Self { name, map, taken: OF_HYDRA.to_vec() })
    }

    /// The last part of `_target_`: the class that Hydra would make.
    pub fn class(&self) -> &'a str {
        let target = self.map.get("_target_").and_then(Value::as_str).unwrap_or_default();
        target.rsplit('.').next().unwrap_or_default()
    }

    /// A value; null where it is missing.
    pub fn take(&mut self, key: &'a str) -> Value {
        self.taken.push(key);
        self.map.get(key).cloned().unwrap_or(Value::Null)
    }

    /// Refuses keys that nobody took.
    ///
    /// # Errors
    /// [`Error::Usage`] with the key and those that are known.
    pub fn finish(self) -> Result<()> {
        // A partial object is a function that someone else calls with the rest: not what is meant here.
        if let Some(partial) = self.map.get("_partial_").filter(|value| **value != Value::Bool(false)) {
            return Err(Error::usage(format!("`{}._partial_` is {partial}, expected false", self.name))
                .hint("leave it out: the object itself is wanted, not a function that makes it"));
        }
        let unknown = self.map.keys().find(|key| !self.taken.contains(&key.as_str()));
        unknown.map_or(Ok(()), |key| {
            let known: Vec<&str> = self.taken.iter().copied().filter(|key| !OF_HYDRA.contains(key)).collect();
            Err(Error::usage(format!("`{}.{key}` has no meaning here", self.name))
                .hint(format!("known are: {}", known.join(", "))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "train.yaml",
                "defaults:\n  - model: small\n  - _self_\ntraining:\n  lr: 0.1\n  name: run ${model.width}\nout: ${hydra:run.dir}/x\n",
            ),
            ("model/small.yaml", "_target_: src.moon.Net\nwidth: 8\nlr: ${training.lr}\n"),
            ("model/large.yaml", "_target_: src.moon.Net\nwidth: 64\nlr: ${training.lr}\n"),
        ] {
            crate::durable::write(folder.path().join(name), text.as_bytes()).unwrap();
        }
        folder
    }

    fn composed(folder: &Path, overrides: &[&str]) -> Result<Composed> {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        compose(&main_file(folder)?.unwrap(), &overrides)
    }

    #[test]
    fn groups_are_chosen_values_point_to_others_and_overrides_win() {
        let folder = folder();
        let tree = composed(folder.path(), &[]).unwrap().tree;
        assert_eq!(tree["model"]["lr"], 0.1);
        assert_eq!(tree["training"]["name"], "run 8");
        assert_eq!(tree["out"], "${hydra:run.dir}/x");
        assert_eq!(program(&tree).as_deref(), Some("moon"));
        let more = ["model=large", "training.lr=2e-3", "+training.clip=1.0", "~out", "seed=3"];
        let composed = composed(folder.path(), &more).unwrap();
        assert_eq!(composed.tree["training"]["name"], "run 64");
        assert_eq!((&composed.tree["model"]["lr"], &composed.tree["training"]["clip"]), (&2e-3.into(), &1.0.into()));
        assert!(composed.tree.get("out").is_none());
        assert_eq!(composed.rest, ["seed=3"]);
    }

    #[test]
    fn mistakes_name_the_file_and_the_key() {
        let folder = folder();
        let message = |overrides: &[&str]| composed(folder.path(), overrides).err().unwrap().to_string();
        assert!(message(&["model=huge"]).contains("huge.yaml`, which is not there"));
        assert!(
            message(&["training.name=${model.depth}"])
                .contains("`training.name` is `${model.depth}`, which no file has")
        );
        assert!(message(&["training.name=${training.name}"]).contains("leads back to itself"));
        assert!(message(&["~model.depth"]).contains("there is no such key"));
    }
}
