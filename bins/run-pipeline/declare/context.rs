//! Variables: `params.yaml`, then `vars` in order. Maps merge; a value that is there already is never redefined.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::Result;

use super::expression::has_expression;
use super::read;
use super::sizes::Sizes;
use super::tree::{Key, Kind, Mark, Node};

/// Everything that `${…}` can name.
#[derive(Debug, Clone)]
pub struct Context {
    entries: Vec<(Key, Node)>,
    /// Loaded files; the keys where only a part was loaded.
    loaded: HashMap<PathBuf, Option<Vec<String>>>,
    /// `item` and `key` while a group is expanded.
    reserved: Vec<&'static str>,
    /// Which size is read where a file comes in several.
    sizes: Arc<dyn Sizes>,
}

impl Context {
    pub fn new(sizes: Arc<dyn Sizes>) -> Self {
        Self { entries: Vec::new(), loaded: HashMap::new(), reserved: Vec::new(), sizes }
    }

    /// Loads a whole file of parameters that need not exist.
    pub fn load_default(&mut self, file: &Path, shown: &Path) -> Result<()> {
        if !file.exists() {
            return Ok(());
        }
        let node = read::file(file, shown)?;
        let at = node.at.clone();
        self.load(file, node, None, &at)
    }

    /// Loads the items of a `vars` list; files are relative to `folder`.
    pub fn load_vars(&mut self, vars: &Node, folder: &Path, shown: &Path) -> Result<()> {
        let Some(items) = vars.as_list() else {
            return Err(vars.at.error(format!("`vars` is {}, expected a list", vars.describe())));
        };
        for item in items {
            refuse_interpolation(item)?;
            match &item.kind {
                Kind::Text(name) => {
                    let (name, keys) = match name.split_once(':') {
                        Some((name, keys)) => {
                            let keys: Vec<String> =
                                keys.split(',').filter(|k| !k.is_empty()).map(ToString::to_string).collect();
                            (name, (!keys.is_empty()).then_some(keys))
                        }
                        None => (name.as_str(), None),
                    };
                    let file = folder.join(name);
                    let node = match self.sizes.values(&file) {
                        Some(values) => values?,
                        None if file.is_file() => read::file(&file, &shown.join(name))?,
                        None => {
                            return Err(item.at.error(format!("`{name}` does not exist in `{}`", shown.display())));
                        }
                    };
                    self.load(&file, node, keys, &item.at)?;
                }
                Kind::Map(entries) => self.merge(entries.clone())?,
                _ => {
                    return Err(item.at.error(format!(
                        "an item of `vars` is {}, expected a file name, `file:key1,key2`, or a map",
                        item.describe()
                    )));
                }
            }
        }
        Ok(())
    }

    fn load(&mut self, file: &Path, node: Node, keys: Option<Vec<String>>, at: &Mark) -> Result<()> {
        let file = file.canonicalize().unwrap_or_else(|_| file.to_path_buf());
        match (self.loaded.get_mut(&file), &keys) {
            (Some(None), None) => return Ok(()),
            (Some(None), Some(_)) => return Err(at.error("this file is loaded as a whole already")),
            (Some(Some(_)), None) => return Err(at.error("a part of this file is loaded already")),
            (Some(Some(known)), Some(keys)) => {
                if let Some(twice) = keys.iter().find(|k| known.contains(k)) {
                    return Err(at.error(format!("`{twice}` of this file is loaded already")));
                }
                known.extend(keys.clone());
            }
            (None, _) => {
                self.loaded.insert(file, keys.clone());
            }
        }
        let (found, place) = (node.describe(), node.at.clone());
        let entries = match node.kind {
            Kind::Map(entries) => entries,
            Kind::Null => Vec::new(),
            _ => return Err(place.error(format!("is {found}, expected a map of variables"))),
        };
        let Some(keys) = keys else { return self.merge(entries) };
        for key in keys {
            let Some(entry) = entries.iter().find(|(known, _)| known.name == key) else {
                let known: Vec<String> = entries.iter().map(|(k, _)| k.name.clone()).collect();
                let file = place.source.path.display();
                return Err(at.error_among(format!("`{file}` has no key `{key}`"), &key, &known));
            };
            self.merge(vec![entry.clone()])?;
        }
        Ok(())
    }

    fn merge(&mut self, update: Vec<(Key, Node)>) -> Result<()> {
        if let Some((key, _)) = update.iter().find(|(key, _)| self.reserved.contains(&key.name.as_str())) {
            return Err(key.at.error(format!("`{}` is taken: the group sets it for each of its stages", key.name)));
        }
        merge(&mut self.entries, update, "")
    }

    /// A copy with `item` (and `key`) set; they hide variables of the same name.
    pub fn with(&self, name: &'static str, value: Node) -> Self {
        let mut copy = self.clone();
        copy.entries.retain(|(key, _)| key.name != name);
        let key = Key { name: name.into(), at: value.at.clone() };
        copy.entries.push((key, value));
        copy.reserved.push(name);
        copy
    }

    /// The value at a path of keys and list positions.
    ///
    /// # Errors
    /// The sentence for the user, the part that was not found, and the names that are known there.
    pub fn select(&self, path: &[String]) -> Result<&Node, Missing> {
        let mut found: Option<&Node> = None;
        for (depth, part) in path.iter().enumerate() {
            let so_far = path[..depth].join(".");
            let missing = |sentence: String, known: Vec<String>| Missing { sentence, part: part.clone(), known };
            let entries = match found.map(|node| (node, &node.kind)) {
                None => &self.entries,
                Some((_, Kind::Map(entries))) => entries,
                Some((_, Kind::List(items))) => {
                    let position = part.parse::<i64>().ok();
                    let position = position.map(|p| if p < 0 { p + items.len() as i64 } else { p });
                    found = Some(position.and_then(|p| items.get(usize::try_from(p).ok()?)).ok_or_else(|| {
                        missing(format!("`{so_far}` is a list of {}, it has no item `{part}`", items.len()), vec![])
                    })?);
                    continue;
                }
                Some((node, _)) => {
                    return Err(missing(format!("`{so_far}` is {}, it has no `{part}`", node.describe()), vec![]));
                }
            };
            found = entries.iter().find(|(key, _)| key.name == *part).map(|(_, value)| value);
            if found.is_none() {
                let known: Vec<String> = entries.iter().map(|(key, _)| key.name.clone()).collect();
                let sentence = if so_far.is_empty() {
                    format!("there is no variable `{part}`")
                } else {
                    format!("`{so_far}` has no `{part}`")
                };
                return Err(missing(sentence, known));
            }
        }
        found.ok_or_else(|| Missing { sentence: "names nothing".into(), part: String::new(), known: vec![] })
    }
}

/// Why a variable was not found.
pub struct Missing {
    pub sentence: String,
    pub part: String,
    pub known: Vec<String>,
}

fn merge(into: &mut Vec<(Key, Node)>, update: Vec<(Key, Node)>, path: &str) -> Result<()> {
    for (key, value) in update {
        let full = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
        match into.iter_mut().find(|(known, _)| known.name == key.name) {
            None => into.push((key, value)),
            Some((known, old)) => match (&mut old.kind, value.kind) {
                (Kind::Map(old), Kind::Map(new)) => merge(old, new, &full)?,
                _ => return Err(key.at.error(format!("`{full}` is defined already, at {}", known.at))),
            },
        }
    }
    Ok(())
}

fn refuse_interpolation(node: &Node) -> Result<()> {
    match &node.kind {
        Kind::Text(text) if has_expression(text) => Err(node.at.error("`${…}` is not allowed inside of `vars`")),
        Kind::List(items) => items.iter().try_for_each(refuse_interpolation),
        Kind::Map(entries) => entries.iter().try_for_each(|(_, value)| refuse_interpolation(value)),
        _ => Ok(()),
    }
}
