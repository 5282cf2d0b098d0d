//! From a main file and its `defaults` to one tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Composed;
use super::interpolate::Resolver;
use super::origins::{Origins, below};
use crate::config::text::read;
use crate::config::{tree, yaml};
use crate::error::{Error, Result};

/// Most files that name files.
const DEEPEST: usize = 16;

/// Composes the config of `file`.
pub(in crate::config) fn compose(file: &Path, overrides: &[String]) -> Result<Composed> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut composer = Composer {
        main: file,
        folder,
        chosen: BTreeMap::new(),
        groups: BTreeMap::new(),
        tree: Value::Object(Map::new()),
        origins: Origins::default(),
    };
    let mut unplaced = Vec::new();
    let mut added = Vec::new();
    for argument in overrides {
        match argument.split_once('=') {
            Some((key, name)) if composer.is_group(key.trim_start_matches('+')) && !name.contains([':', '{']) => {
                let group = key.trim_start_matches('+').to_string();
                composer.chosen.insert(group.clone(), yaml::typed(name).unwrap_or_else(|_| Value::String(name.into())));
                if key.starts_with('+') {
                    added.push(group);
                }
            }
            _ => match argument.strip_prefix('~') {
                Some(group) if composer.is_group(group) => {
                    composer.chosen.insert(group.to_string(), Value::Null);
                }
                _ => unplaced.push(argument),
            },
        }
    }
    composer.file(file, "", "", 0)?;
    for group in added {
        let name = composer.chosen.get(&group).cloned().unwrap_or_default();
        composer.group(&Entry { optional: false, group: group.clone(), package: None, names: name }, "", "", 0)?;
    }
    for (group, name) in &composer.chosen {
        if !composer.groups.contains_key(group) {
            let known: Vec<&str> = composer.groups.keys().map(String::as_str).collect();
            return Err(Error::usage(format!("override `{group}={}`: `defaults` chooses no `{group}`", shown(name)))
                .hint(format!("`+{group}={}` adds it; `defaults` chooses {}", shown(name), known.join(", "))));
        }
    }
    let (mut tree, mut origins) = (composer.tree, composer.origins);
    let mut rest = Vec::new();
    for argument in unplaced {
        if !apply(&mut tree, &mut origins, argument)? {
            rest.push(argument.clone());
        }
    }
    let whole = tree.clone();
    Resolver { file, whole: &whole, origins: &mut origins }.resolve(&mut tree, "", 0)?;
    Ok(Composed { tree, rest, origins })
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// One entry of `defaults` that chooses a file of a group.
struct Entry {
    optional: bool,
    group: String,
    package: Option<String>,
    /// A name, a list of names, or null.
    names: Value,
}

struct Composer<'a> {
    main: &'a Path,
    folder: &'a Path,
    /// What the command line or a file above chose, by group.
    chosen: BTreeMap<String, Value>,
    /// What was chosen in the end.
    groups: BTreeMap<String, Value>,
    tree: Value,
    origins: Origins,
}

impl Composer<'_> {
    fn is_group(&self, name: &str) -> bool {
        !name.is_empty() && !name.starts_with(['.', '/', '~']) && self.folder.join(name).is_dir()
    }

    /// Puts a file, which lies in the folder `base`, and the files that it names at the key `package`.
    fn file(&mut self, path: &Path, base: &str, package: &str, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(Error::usage(format!("`{}`: its `defaults` lead back to itself", path.display())));
        }
        let text = read(path)?;
        let mut value = yaml::parse_any(path, &text)?;
        let defaults = value.as_object_mut().and_then(|map| map.shift_remove("defaults")).unwrap_or_default();
        let items = match defaults {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            Value::String(name) => vec![Value::String(name)],
            other => {
                return Err(Error::usage(format!("`{}`: `defaults` is {other}, expected a list", path.display())));
            }
        };
        // What a file overrides holds for its own list and below; what chose the file has the last word.
        for item in &items {
            if let Some((group, name)) = overriding(item) {
                let group = self.full(base, &group);
                if !group.starts_with("hydra") {
                    self.chosen.entry(group).or_insert_with(|| name.clone());
                }
            }
        }
        let mut own = Some((text, value));
        for item in &items {
            if overriding(item).is_some() {
                continue;
            }
            if matches!(item, Value::String(name) if name == "_self_") {
                if let Some((text, value)) = own.take() {
                    self.put(path, &text, package, value);
                }
                continue;
            }
            match item {
                Value::String(name) => self.named(path, name, base, package, depth)?,
                Value::Object(map) if map.len() == 1 => {
                    let entry = map.iter().next().and_then(|(key, value)| Entry::read(key, value));
                    let entry = entry.ok_or_else(|| refuse(path, item))?;
                    self.group(&entry, base, package, depth)?;
                }
                _ => return Err(refuse(path, item)),
            }
        }
        if let Some((text, value)) = own {
            self.put(path, &text, package, value);
        }
        Ok(())
    }

    fn put(&mut self, path: &Path, text: &str, package: &str, value: Value) {
        self.origins.put(path, text, package, &value);
        let placed = package
            .rsplit('.')
            .filter(|part| !part.is_empty())
            .fold(value, |value, part| Value::Object(Map::from_iter([(part.to_string(), value)])));
        merge(&mut self.tree, placed);
    }

    /// Name of a group, from the folder of configs on.
    fn full(&self, base: &str, group: &str) -> String {
        match group.strip_prefix('/') {
            Some(group) => group.to_string(),
            None if base.is_empty() => group.to_string(),
            None => format!("{base}/{group}"),
        }
    }

    /// An entry that is a file beside the one that names it.
    fn named(&mut self, by: &Path, name: &str, base: &str, package: &str, depth: usize) -> Result<()> {
        let (name, given) = match name.split_once('@') {
            Some((name, given)) => (name, Some(given)),
            None => (name, None),
        };
        let full = self.full(base, name);
        if full.starts_with("hydra/") {
            return Ok(());
        }
        let (group, file) = full.rsplit_once('/').unwrap_or(("", full.as_str()));
        let path = self.part(by, group, file)?;
        let inside = name.trim_start_matches('/').rsplit_once('/').map_or("", |(folder, _)| folder).replace('/', ".");
        let at = place(&path, given, &inside, &group.replace('/', "."), package)?;
        self.file(&path, group, &at, depth + 1)
    }

    /// An entry that chooses files of a group.
    fn group(&mut self, entry: &Entry, base: &str, package: &str, depth: usize) -> Result<()> {
        let full = self.full(base, &entry.group);
        if full == "hydra" || full.starts_with("hydra/") {
            return Ok(());
        }
        let names = self.chosen.get(&full).unwrap_or(&entry.names).clone();
        self.groups.insert(full.clone(), names.clone());
        let list = match &names {
            Value::Null => vec![],
            Value::Array(list) => list.clone(),
            one => vec![one.clone()],
        };
        for name in list {
            let mut name = match name {
                Value::String(name) => name,
                Value::Number(number) => number.to_string(),
                Value::Null => continue,
                other => {
                    let problem =
                        format!("`{}`: `defaults` has `{full}: {other}`, expected a name", self.main.display());
                    return Err(Error::usage(problem));
                }
            };
            if name == "???" {
                return Err(Error::usage(format!("`{}`: `{full}` has to be chosen", self.main.display()))
                    .hint(format!("`{full}=NAME`; the folder has: {}", self.names(&full))));
            }
            for (group, chosen) in &self.groups {
                name = name.replace(&format!("${{{group}}}"), &shown(chosen));
            }
            let folder = self.folder.join(&full);
            if entry.optional && !folder.join(format!("{}.yaml", name.trim_end_matches(".yaml"))).is_file() {
                continue;
            }
            let path = self.part(self.main, &full, &name)?;
            let inside = entry.group.trim_start_matches('/').replace('/', ".");
            let at = place(&path, entry.package.as_deref(), &inside, &full.replace('/', "."), package)?;
            let base = match name.rsplit_once('/') {
                Some((folder, _)) => format!("{full}/{folder}"),
                None => full.clone(),
            };
            self.file(&path, &base, &at, depth + 1)?;
        }
        Ok(())
    }

    /// The file of a name in a group.
    fn part(&self, by: &Path, group: &str, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(group).join(format!("{}.yaml", name.trim_end_matches(".yaml")));
        if path.is_file() {
            return Ok(path);
        }
        let problem = format!("`{}`: `defaults` names `{}`, which is not there", by.display(), path.display());
        Err(Error::usage(problem).hint(format!("the folder has: {}", self.names(group))))
    }

    fn names(&self, group: &str) -> String {
        let entries = std::fs::read_dir(self.folder.join(group)).into_iter().flatten().flatten();
        let name = |e: std::fs::DirEntry| e.file_name().to_str()?.strip_suffix(".yaml").map(str::to_string);
        let mut names: Vec<String> = entries.filter_map(name).collect();
        names.sort();
        names.join(", ")
    }
}

impl Entry {
    fn read(key: &str, names: &Value) -> Option<Self> {
        let (optional, key) = key.strip_prefix("optional ").map_or((false, key), |key| (true, key.trim()));
        let (group, package) = key.split_once('@').map_or((key, None), |(group, at)| (group, Some(at.to_string())));
        let good = !group.is_empty() && !group.contains([' ', ':', '@']);
        good.then(|| Self { optional, group: group.to_string(), package, names: names.clone() })
    }
}

fn refuse(path: &Path, entry: &Value) -> Error {
    let expected = "expected `GROUP: NAME`, `NAME`, `optional GROUP: NAME`, `override GROUP: NAME` or `_self_`";
    Error::usage(format!("`{}`: `defaults` has {entry}, {expected}", path.display()))
}

/// The group and name of `override GROUP: NAME`.
fn overriding(item: &Value) -> Option<(String, Value)> {
    let (key, name) = item.as_object()?.iter().next()?;
    let group = key.strip_prefix("override ")?.trim();
    let group = group.split('@').next().unwrap_or(group);
    Some((group.trim_start_matches('/').to_string(), name.clone()))
}

/// The key at which a file is put: what its entry says, or its own line `# @package`, or its group; from the key of
/// the file that names it on.
fn place(path: &Path, given: Option<&str>, inside: &str, group: &str, package: &str) -> Result<String> {
    let text = read(path)?;
    let own = text.lines().take_while(|line| line.trim().is_empty() || line.starts_with('#')).find_map(|line| {
        let rest = line.trim_start_matches('#').trim().strip_prefix("@package")?;
        Some(rest.trim().to_string())
    });
    Ok(match given.map(str::to_string).or(own).as_deref() {
        None => below_of(package, inside),
        Some("_global_") => String::new(),
        Some("_here_") => package.to_string(),
        Some("_group_") => group.to_string(),
        Some(other) => match other.strip_prefix("_global_.") {
            Some(rest) => rest.to_string(),
            None => below_of(package, &other.replace("_group_", group)),
        },
    })
}

fn below_of(base: &str, key: &str) -> String {
    if key.is_empty() { base.to_string() } else { below(base, key) }
}

/// Puts `more` into `into`: maps are merged, all else is replaced.
fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                match into.get_mut(&key) {
                    Some(before) => merge(before, value),
                    None => drop(into.insert(key, value)),
                }
            }
        }
        (into, more) => *into = more,
    }
}

/// Applies one override; false for a key that is not there and was not asked to be added.
fn apply(tree: &mut Value, origins: &mut Origins, argument: &str) -> Result<bool> {
    let (add, argument) = match argument.strip_prefix('+') {
        Some(rest) => (true, rest.trim_start_matches('+')),
        None => (false, argument),
    };
    if let Some(key) = argument.strip_prefix('~') {
        let key = key.split('=').next().unwrap_or(key);
        let (parent, last) = key.rsplit_once('.').map_or((None, key), |(parent, last)| (Some(parent), last));
        let node = match parent {
            Some(parent) => parent.split('.').try_fold(&mut *tree, |node, name| node.get_mut(name)),
            None => Some(tree),
        };
        let removed = node.and_then(Value::as_object_mut).and_then(|map| map.shift_remove(last));
        origins.forget(key);
        return match removed {
            Some(_) => Ok(true),
            None => Err(Error::usage(format!("override `~{key}`: there is no such key"))),
        };
    }
    let Some((key, text)) = argument.split_once('=') else { return Ok(false) };
    if !add && tree::at(tree, key).is_none() {
        return Ok(false);
    }
    // A pointer is no YAML inside of brackets.
    let value = if text.contains("${") {
        Value::String(text.to_string())
    } else {
        let list = yaml::typed::<Vec<Value>>(&format!("[{text}]")).ok().filter(|list| list.len() <= 1);
        let list = list.ok_or_else(|| {
            Error::usage(format!("override `{argument}`: `{text}` is not one YAML value"))
                .hint("quote text that holds commas, colons or brackets: `name='\"a, b\"'`")
        })?;
        list.into_iter().next().unwrap_or_default()
    };
    let mut node = tree;
    for name in key.split('.') {
        node = match node {
            Value::Array(items) => name.parse::<usize>().ok().and_then(|at| items.get_mut(at)),
            Value::Object(map) => Some(map.entry(name).or_insert(Value::Object(Map::new()))),
            _ => None,
        }
        .ok_or_else(|| Error::usage(format!("override `{argument}`: nothing can be put below a single value")))?;
    }
    *node = value;
    origins.set(key);
    Ok(true)
}
