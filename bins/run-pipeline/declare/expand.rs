//! One entry under `stages` becomes one stage, or, with `foreach` and `matrix`, one for each item.

use std::path::{Path, PathBuf};

use common::Result;

use super::context::Context;
use super::entries::{self, STAGE_KEYS, Stage, normal};
use super::interpolate::{self, Slot};
use super::text;
use super::tree::{Key, Kind, Mark, Node};

/// Where the file lies: absolute folder, and that folder as shown in messages.
pub struct Place {
    pub folder: PathBuf,
    pub shown: PathBuf,
    /// The DVC repository around it: absolute paths inside of it count as relative ones.
    pub repository: Option<PathBuf>,
}

/// All stages that an entry stands for, in order.
pub fn stages(key: &Key, definition: &Node, context: &Context, place: &Place) -> Result<Vec<Stage>> {
    let group = &key.name;
    if let Some(bad) = group.chars().find(|c| c.is_ascii_punctuation() && !"_-".contains(*c)) {
        return Err(key.at.error(format!("`{bad}` is not allowed in the name of a stage")));
    }
    let one = |name: &str, definition: &Node, context: &Context| stage(name, &key.at, definition, context, place);
    if definition.get("foreach").is_some() || definition.get("do").is_some() {
        entries::check_keys(definition, group, &["foreach", "do"])?;
        let missing = |key: &str| definition.at.error(format!("stage `{group}` has no `{key}` beside its other half"));
        let data = definition.get("foreach").ok_or_else(|| missing("foreach"))?;
        let template = definition.get("do").ok_or_else(|| missing("do"))?;
        let without_matrix: Vec<&str> = STAGE_KEYS.iter().filter(|k| **k != "matrix").copied().collect();
        entries::check_keys(template, group, &without_matrix)?;
        let mut stages: Vec<Stage> = Vec::new();
        for (name, item, keyed) in foreach_items(&interpolate::resolve(data, context, Slot::Data)?)? {
            let mut inner = context.with("item", item);
            if keyed {
                inner = inner.with("key", Node { at: data.at.clone(), kind: Kind::Text(name.clone()) });
            }
            let full = format!("{group}@{name}");
            if !stages.iter().any(|s| s.name == full) {
                stages.push(one(&full, template, &inner)?);
            }
        }
        return Ok(stages);
    }
    entries::check_keys(definition, group, &STAGE_KEYS)?;
    let Some(matrix) = definition.get("matrix") else {
        return Ok(vec![one(group, definition, context)?]);
    };
    let mut stages: Vec<Stage> = Vec::new();
    for (name, item) in matrix_items(&interpolate::resolve(matrix, context, Slot::Data)?)? {
        let key_node = Node { at: matrix.at.clone(), kind: Kind::Text(name.clone()) };
        let inner = context.with("item", item).with("key", key_node);
        let full = format!("{group}@{name}");
        if !stages.iter().any(|s| s.name == full) {
            stages.push(one(&full, definition, &inner)?);
        }
    }
    Ok(stages)
}

fn stage(name: &str, at: &Mark, definition: &Node, context: &Context, place: &Place) -> Result<Stage> {
    let wdir = match definition.get("wdir") {
        Some(node) => {
            let resolved = interpolate::resolve(node, context, Slot::Plain)?;
            let text = match &resolved.kind {
                Kind::List(_) | Kind::Map(_) | Kind::Null => {
                    return Err(node.at.error(format!("`wdir` is {}, expected a path", resolved.describe())));
                }
                _ => text::python(&resolved),
            };
            // Another stage may make it: whether it is there is looked at when the stage has its turn.
            normal(&place.folder.join(&text))
        }
        None => place.folder.clone(),
    };
    let mut own;
    let mut context = context;
    if let Some(vars) = definition.get("vars") {
        own = context.clone();
        own.load_vars(vars, &wdir, &place.shown)?;
        context = &own;
    }
    let mut resolved = Vec::new();
    for (key, value) in definition.as_map().unwrap_or_default() {
        let slot = match key.name.as_str() {
            "vars" | "matrix" | "wdir" => continue,
            "cmd" => Slot::Command,
            _ => Slot::Plain,
        };
        resolved.push((key.clone(), interpolate::resolve(value, context, slot)?));
    }
    let definition = Node { at: definition.at.clone(), kind: Kind::Map(resolved) };
    entries::stage(name, at, &definition, &wdir, place.repository.as_deref())
}

/// Name, item, and whether `${key}` is there.
fn foreach_items(data: &Node) -> Result<Vec<(String, Node, bool)>> {
    match &data.kind {
        Kind::Map(entries) => Ok(entries.iter().map(|(k, v)| (k.name.clone(), v.clone(), true)).collect()),
        Kind::List(items) => {
            let composite = items.iter().any(is_composite);
            let name = |(number, item): (usize, &Node)| if composite { number.to_string() } else { text::python(item) };
            Ok(items.iter().enumerate().map(|pair| (name(pair), pair.1.clone(), false)).collect())
        }
        _ => Err(data.at.error(format!("`foreach` is {}, expected a list or a map", data.describe()))),
    }
}

/// All combinations, the last axis fastest; named by the values joined with `-`.
fn matrix_items(data: &Node) -> Result<Vec<(String, Node)>> {
    let Some(axes) = data.as_map() else {
        return Err(data.at.error(format!("`matrix` is {}, expected a map of lists", data.describe())));
    };
    let mut combinations = vec![(Vec::<String>::new(), Vec::<(Key, Node)>::new())];
    for (axis, values) in axes {
        let Some(values) = values.as_list() else {
            let found = values.describe();
            return Err(values.at.error(format!("`{}` of the matrix is {found}, expected a list", axis.name)));
        };
        let mut longer = Vec::with_capacity(combinations.len() * values.len());
        for (names, item) in &combinations {
            for (number, value) in values.iter().enumerate() {
                let name = if is_composite(value) { format!("{}{number}", axis.name) } else { text::python(value) };
                let mut names = names.clone();
                names.push(name);
                let mut item = item.clone();
                item.push((axis.clone(), value.clone()));
                longer.push((names, item));
            }
        }
        combinations = longer;
        if combinations.len() > 10_000 {
            return Err(data.at.error("the matrix has more than 10000 combinations"));
        }
    }
    let node = |item| Node { at: data.at.clone(), kind: Kind::Map(item) };
    Ok(combinations.into_iter().map(|(names, item)| (names.join("-"), node(item))).collect())
}

fn is_composite(node: &Node) -> bool {
    matches!(node.kind, Kind::List(_) | Kind::Map(_))
}

/// The folder of a file, for messages: `.` is left out.
pub fn shown_in(folder: &Path, name: &str) -> PathBuf {
    if folder == Path::new(".") || folder.as_os_str().is_empty() { PathBuf::from(name) } else { folder.join(name) }
}
