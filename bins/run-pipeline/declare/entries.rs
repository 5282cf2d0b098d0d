//! One stage with everything filled in, and the strict reading of its parts.

use std::path::{Component, Path, PathBuf};

use common::Result;

use super::needs::{self, Needs};
use super::promise::{self, Promise};
use super::text;
use super::tree::{Kind, Mark, Node};

/// Keys of a stage.
pub const STAGE_KEYS: [&str; 13] = [
    "cmd",
    "wdir",
    "deps",
    "params",
    "outs",
    "metrics",
    "plots",
    "vars",
    "frozen",
    "always_changed",
    "desc",
    "meta",
    "matrix",
];
const OUT_KEYS: [&str; 8] = ["cache", "persist", "remote", "push", "desc", "type", "labels", "meta"];
const PLOT_KEYS: [&str; 7] = ["template", "x", "y", "x_label", "y_label", "title", "header"];
/// File of parameters that names without a file refer to.
pub const PARAMS: &str = "params.yaml";

/// A stage of a pipeline.
#[derive(Debug, Clone)]
pub struct Stage {
    /// `train`, or `train@exp195` for one of a group.
    pub name: String,
    pub at: Mark,
    /// As the lock holds it: text, or a list of texts.
    pub cmd: Node,
    /// Each runs in a shell of its own.
    pub commands: Vec<String>,
    /// Absolute.
    pub wdir: PathBuf,
    pub deps: Vec<Dep>,
    pub params: Vec<Params>,
    /// Outs, metrics and plots.
    pub outs: Vec<Out>,
    pub frozen: bool,
    pub always_changed: bool,
    pub desc: Option<String>,
    pub needs: Needs,
    pub promise: Promise,
    /// What runs instead of the commands in a rehearsal, and makes what is not there (`meta.rehearse`).
    pub rehearsal: Vec<String>,
}

/// A file or folder that a stage reads.
#[derive(Debug, Clone)]
pub struct Dep {
    /// As written, which is how the lock names it.
    pub path: String,
    /// Absolute, without `.` and `..`.
    pub file: PathBuf,
    pub at: Mark,
}

/// Parameters that a stage reads from one file.
#[derive(Debug, Clone)]
pub struct Params {
    pub path: String,
    pub file: PathBuf,
    pub at: Mark,
    /// Dotted keys; none: the whole file.
    pub keys: Vec<(String, Mark)>,
}

/// A file or folder that a stage writes.
#[derive(Debug, Clone)]
pub struct Out {
    pub path: String,
    pub file: PathBuf,
    pub at: Mark,
    /// DVC keeps a copy.
    pub cache: bool,
    /// Not removed before a run.
    pub persist: bool,
    /// DVC's free `type`: what the out is, for readers of the pipeline's results.
    pub kind: Option<String>,
    /// Stands under `metrics`.
    pub is_metric: bool,
}

impl Stage {
    /// What runs in a rehearsal.
    pub fn commands_in_a_rehearsal(&self) -> &[String] {
        if self.rehearsal.is_empty() { &self.commands } else { &self.rehearsal }
    }

    /// A stage that runs every time because nothing says when it need not.
    pub fn is_callback(&self) -> bool {
        self.deps.is_empty() && self.params.is_empty() && self.outs.is_empty()
    }
}

/// Every key is known, and what has to be a literal `true` or `false` is one. `allowed` beside the stage keys.
pub fn check_keys(definition: &Node, stage: &str, allowed: &[&str]) -> Result<()> {
    let Some(entries) = definition.as_map() else {
        return Err(definition.at.error(format!("stage `{stage}` is {}, expected a map", definition.describe())));
    };
    let known: Vec<String> = allowed.iter().map(ToString::to_string).collect();
    for (key, value) in entries {
        if !allowed.contains(&key.name.as_str()) {
            let sentence = format!("unknown key `{}` in stage `{stage}`", key.name);
            return Err(key.at.error_among(sentence, &key.name, &known));
        }
        if matches!(key.name.as_str(), "frozen" | "always_changed") && !matches!(value.kind, Kind::Bool(_)) {
            let sentence = format!("`{}` is {}, expected true or false", key.name, value.describe());
            return Err(value.at.error(sentence));
        }
    }
    Ok(())
}

/// Reads a stage whose expressions are resolved.
pub fn stage(name: &str, at: &Mark, definition: &Node, wdir: &Path, repository: Option<&Path>) -> Result<Stage> {
    let Some(cmd) = definition.get("cmd") else {
        return Err(at.error(format!("stage `{name}` has no `cmd`")));
    };
    let commands = commands(cmd, "cmd")?;
    let mut outs = Vec::new();
    for key in ["outs", "metrics", "plots"] {
        for item in list(definition, key)? {
            outs.push(out(item, key, wdir)?);
        }
    }
    let deps = list(definition, "deps")?.iter().map(|item| {
        let path = path_text(item, "deps")?;
        Ok(Dep { file: normal(&wdir.join(&path)), path, at: item.at.clone() })
    });
    let deps = deps.collect::<Result<Vec<_>>>()?;
    let flag = |key: &str| matches!(definition.get(key).map(|n| &n.kind), Some(Kind::Bool(true)));
    let stage = Stage {
        name: name.into(),
        at: at.clone(),
        cmd: cmd.clone(),
        commands,
        wdir: wdir.to_path_buf(),
        deps,
        params: params(definition, wdir)?,
        outs,
        frozen: flag("frozen"),
        always_changed: flag("always_changed"),
        desc: definition.get("desc").map(text::python),
        needs: needs::read(definition.get("meta"))?,
        promise: promise::read(definition.get("meta"), wdir)?,
        rehearsal: match definition.get("meta").and_then(|meta| meta.get("rehearse")) {
            Some(rehearsed) if !matches!(&rehearsed.kind, Kind::Null) && rehearsed.as_text() != Some("") => {
                self::commands(rehearsed, "meta.rehearse")?
            }
            _ => Vec::new(),
        },
    };
    let mut stage = stage;
    // DVC names what lies in the repository by its way from `wdir`, however it is written.
    let relative = |path: &mut String, file: &Path| {
        if Path::new(&*path).is_absolute() && repository.is_some_and(|root| file.starts_with(root)) {
            *path = way(wdir, file);
        }
    };
    stage.deps.iter_mut().for_each(|dep| relative(&mut dep.path, &dep.file));
    stage.outs.iter_mut().for_each(|out| relative(&mut out.path, &out.file));
    // A dep that is written twice in the same way is one dep.
    let mut known: Vec<String> = Vec::new();
    stage.deps.retain(|dep| {
        let new = !known.contains(&dep.path);
        known.push(dep.path.clone());
        new
    });
    check_paths(&stage)?;
    Ok(stage)
}

/// The way from a folder to a file, with `..` where it leads out.
fn way(from: &Path, to: &Path) -> String {
    let (from, to): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[common..].iter().map(|_| "..".to_string());
    let down = to[common..].iter().map(|part| part.as_os_str().to_string_lossy().into_owned());
    up.chain(down).collect::<Vec<_>>().join("/")
}

/// Commands as one text or a list of them; `key` is where they stand.
fn commands(cmd: &Node, key: &str) -> Result<Vec<String>> {
    let commands: Vec<String> = match &cmd.kind {
        Kind::Text(text) => text.lines().filter(|l| !l.trim().is_empty()).map(ToString::to_string).collect(),
        Kind::List(items) => items
            .iter()
            .map(|item| match &item.kind {
                Kind::Text(text) => Ok(text.clone()),
                _ => Err(item.at.error(format!("a command is {}, expected text", item.describe()))),
            })
            .collect::<Result<_>>()?,
        _ => return Err(cmd.at.error(format!("`{key}` is {}, expected text or a list of texts", cmd.describe()))),
    };
    if commands.is_empty() {
        return Err(cmd.at.error(format!("`{key}` is empty")));
    }
    Ok(commands)
}

fn list<'a>(definition: &'a Node, key: &str) -> Result<&'a [Node]> {
    match definition.get(key) {
        None => Ok(&[]),
        Some(node) => match &node.kind {
            Kind::List(items) => Ok(items),
            Kind::Null => Ok(&[]),
            _ => Err(node.at.error(format!("`{key}` is {}, expected a list", node.describe()))),
        },
    }
}

fn path_text(node: &Node, key: &str) -> Result<String> {
    let text = match &node.kind {
        Kind::Text(text) => text.clone(),
        Kind::Int(_) | Kind::Float(_) => text::python(node),
        _ => return Err(node.at.error(format!("an item of `{key}` is {}, expected a path", node.describe()))),
    };
    check_path(&text, &node.at)?;
    Ok(text)
}

fn check_path(text: &str, at: &Mark) -> Result<()> {
    if text.trim().is_empty() {
        return Err(at.error("the path is empty"));
    }
    if text.contains("://") {
        return Err(at.error(format!("`{text}` is no local path; fetch it in a stage of its own")));
    }
    Ok(())
}

fn out(item: &Node, key: &str, wdir: &Path) -> Result<Out> {
    let new = |path: String, at: &Mark| Out {
        file: normal(&wdir.join(&path)),
        path,
        at: at.clone(),
        cache: true,
        persist: false,
        kind: None,
        is_metric: key == "metrics",
    };
    let Some(entries) = item.as_map() else { return Ok(new(path_text(item, key)?, &item.at)) };
    let [(path, flags)] = entries else {
        return Err(item.at.error(format!("an item of `{key}` is a path, or one path with its flags")));
    };
    check_path(&path.name, &path.at)?;
    let mut out = new(path.name.clone(), &path.at);
    let mut known: Vec<String> = OUT_KEYS.iter().map(ToString::to_string).collect();
    if key == "plots" {
        known.extend(PLOT_KEYS.iter().map(ToString::to_string));
    }
    let flags = match &flags.kind {
        Kind::Map(flags) => flags.as_slice(),
        Kind::Null => &[],
        _ => {
            return Err(flags.at.error(format!(
                "the flags of `{}` are {}, expected a map",
                path.name,
                flags.describe()
            )));
        }
    };
    for (flag, value) in flags {
        if !known.contains(&flag.name) {
            let sentence = format!("unknown key `{}` of `{}`", flag.name, path.name);
            return Err(flag.at.error_among(sentence, &flag.name, &known));
        }
        let boolean = || match value.kind {
            Kind::Bool(value) => Ok(value),
            _ => Err(value.at.error(format!("`{}` is {}, expected true or false", flag.name, value.describe()))),
        };
        match flag.name.as_str() {
            "cache" => out.cache = boolean()?,
            "persist" => out.persist = boolean()?,
            "type" => out.kind = Some(text::python(value)),
            "push" | "header" => {
                boolean()?;
            }
            _ => {}
        }
    }
    Ok(out)
}

fn params(definition: &Node, wdir: &Path) -> Result<Vec<Params>> {
    let mut files: Vec<Params> = Vec::new();
    for item in list(definition, "params")? {
        match &item.kind {
            Kind::Map(entries) => {
                for (path, keys) in entries {
                    check_path(&path.name, &path.at)?;
                    let keys = match &keys.kind {
                        Kind::Null => Vec::new(),
                        Kind::List(items) => items.iter().map(|k| (text::python(k), k.at.clone())).collect(),
                        _ => {
                            let found = keys.describe();
                            return Err(keys
                                .at
                                .error(format!("the keys of `{}` are {found}, expected a list", path.name)));
                        }
                    };
                    add_params(&mut files, &path.name, &path.at, keys, wdir)?;
                }
            }
            Kind::List(_) | Kind::Null => {
                let found = item.describe();
                return Err(item
                    .at
                    .error(format!("an item of `params` is {found}, expected a key, or a file with keys")));
            }
            _ => add_params(&mut files, PARAMS, &item.at, vec![(text::python(item), item.at.clone())], wdir)?,
        }
    }
    Ok(files)
}

fn add_params(files: &mut Vec<Params>, path: &str, at: &Mark, keys: Vec<(String, Mark)>, wdir: &Path) -> Result<()> {
    let readable = [".yaml", ".yml", ".json", ".toml", ".py"].iter().any(|end| path.ends_with(end));
    if !readable {
        return Err(at.error(format!("`{path}`: parameters are read from .yaml, .yml, .json, .toml and .py files")));
    }
    let mut keys = keys;
    let known: Vec<String> =
        files.iter().filter(|f| f.path == path).flat_map(|f| f.keys.iter().map(|(key, _)| key.clone())).collect();
    let whole = keys.is_empty();
    let mut new: Vec<String> = Vec::new();
    // A key that stands twice is one parameter.
    keys.retain(|(key, _)| {
        let first = !known.contains(key) && !new.contains(key);
        new.push(key.clone());
        first
    });
    if keys.is_empty() && !whole {
        return Ok(());
    }
    match files.iter_mut().find(|f| f.path == path) {
        Some(known) if known.keys.is_empty() || keys.is_empty() => known.keys.clear(),
        Some(known) => known.keys.extend(keys),
        None => {
            files.push(Params { path: path.into(), file: normal(&wdir.join(path)), at: at.clone(), keys });
        }
    }
    Ok(())
}

/// No path stands twice in a stage, none is read and written by it.
fn check_paths(stage: &Stage) -> Result<()> {
    let name = &stage.name;
    for (number, out) in stage.outs.iter().enumerate() {
        if stage.outs[..number].iter().any(|o| o.file == out.file) {
            return Err(out.at.error(format!("stage `{name}` writes `{}` twice", out.path)));
        }
        if let Some(dep) = stage.deps.iter().find(|d| d.file == out.file) {
            return Err(dep.at.error(format!("stage `{name}` reads `{}`, which it writes itself: a cycle", dep.path)));
        }
    }
    Ok(())
}

/// A path without `.` and `..`, by its text alone: the file need not exist yet.
pub fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}
