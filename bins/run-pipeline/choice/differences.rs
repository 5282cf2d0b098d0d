//! What `--set` changes: a value of the size, the stages that read it and all that follow from them, which get outs of their own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::{Error, Result};

use super::Choice;
use crate::run_pipeline::declare::entries::normal;
use crate::run_pipeline::declare::read;
use crate::run_pipeline::declare::tree::{Kind, Node};
use crate::run_pipeline::graph::Unit;

/// Puts a value in the place of one that is there.
pub fn set(values: &mut Node, entry: &str, file: &Path) -> Result<()> {
    let Some((key, value)) = entry.split_once('=') else {
        return Err(Error::usage(format!("`--set {entry}` has no value")).hint(format!("write `--set {entry}=VALUE`")));
    };
    let value = read::parse(Path::new("--set"), value.to_owned())?;
    let mut node = values;
    for part in key.split('.') {
        let known: Vec<String> = node.as_map().unwrap_or_default().iter().map(|(key, _)| key.name.clone()).collect();
        let found = match &mut node.kind {
            Kind::Map(entries) => entries.iter_mut().find(|(key, _)| key.name == part).map(|(_, value)| value),
            Kind::List(items) => part.parse::<usize>().ok().and_then(|at| items.get_mut(at)),
            _ => None,
        };
        node = found.ok_or_else(|| {
            let error = Error::usage(format!("`--set {entry}`: `{}` has no `{part}`", file.display()));
            if known.is_empty() { error } else { error.hint(format!("it has {}", known.join(", "))) }
        })?;
    }
    *node = value;
    Ok(())
}

/// Working folder and out of the stages that differ, and of all that read them.
pub fn changed_outs(before: &[Unit], after: &[Unit]) -> Vec<(PathBuf, PathBuf)> {
    let mut changed = vec![false; after.len()];
    let same = |a: &Unit, b: &Unit| {
        let deps = |unit: &Unit| unit.stage.deps.iter().map(|dep| dep.file.clone()).collect::<Vec<_>>();
        let outs = |unit: &Unit| unit.stage.outs.iter().map(|out| out.file.clone()).collect::<Vec<_>>();
        a.stage.commands == b.stage.commands && deps(a) == deps(b) && outs(a) == outs(b)
    };
    for (index, unit) in after.iter().enumerate() {
        let known = before.iter().find(|known| known.title == unit.title && known.home == unit.home);
        changed[index] = !known.is_some_and(|known| same(known, unit));
    }
    loop {
        let more: Vec<usize> = (0..after.len())
            .filter(|&index| !changed[index] && after[index].upstream.iter().any(|&up| changed[up]))
            .collect();
        if more.is_empty() {
            break;
        }
        more.into_iter().for_each(|index| changed[index] = true);
    }
    let units = after.iter().zip(&changed).filter(|(_, changed)| **changed);
    units.flat_map(|(unit, _)| unit.stage.outs.iter().map(|out| (unit.stage.wdir.clone(), out.file.clone()))).collect()
}

/// Gives the outs names of their own: every path of the values that leads to one of them ends with the choice's name.
pub fn move_outs(values: &mut Node, outs: &[(PathBuf, PathBuf)], choice: &Choice) -> Result<()> {
    let mut leaves = BTreeSet::new();
    words(values, &mut leaves);
    let leads = |word: &&String| outs.iter().any(|out| ends_in(out, word));
    // The shortest ones: what lies below one moves with it.
    let mut moved: Vec<String> = Vec::new();
    for word in leaves.iter().filter(leads) {
        let word = word.trim_end_matches('/');
        if !moved.iter().any(|above| word == above || word.starts_with(&format!("{above}/"))) {
            moved.push(word.to_owned());
        }
    }
    if let Some(fixed) = outs.iter().find(|out| !moved.iter().any(|word| ends_in(out, word))) {
        return Err(Error::usage(format!(
            "{} cannot have `{}` of its own: its path stands in the pipeline, not in `{}`",
            choice.shown(),
            fixed.1.display(),
            choice.size_file().display()
        )));
    }
    rename(values, &moved, &choice.name());
    Ok(())
}

/// True where a relative path of the values leads to this out, or to a folder above it.
fn ends_in((wdir, out): &(PathBuf, PathBuf), word: &str) -> bool {
    let path = normal(&wdir.join(word));
    !wdir.starts_with(&path) && out.starts_with(path)
}

/// Texts that are one word, which may be a path with a folder.
fn words(node: &Node, found: &mut BTreeSet<String>) {
    match &node.kind {
        Kind::Text(text) if !text.contains(char::is_whitespace) && !text.contains('=') && !text.is_empty() => {
            found.insert(text.clone());
        }
        Kind::List(items) => items.iter().for_each(|item| words(item, found)),
        Kind::Map(entries) => entries.iter().for_each(|(_, value)| words(value, found)),
        _ => {}
    }
}

fn rename(node: &mut Node, moved: &[String], name: &str) {
    match &mut node.kind {
        Kind::Text(text) => *text = renamed(text, moved, name),
        Kind::List(items) => items.iter_mut().for_each(|item| rename(item, moved, name)),
        Kind::Map(entries) => entries.iter_mut().for_each(|(_, value)| rename(value, moved, name)),
        _ => {}
    }
}

/// `--from demo/runs/a b=demo/runs` -> `--from demo/runs.NAME/a b=demo/runs.NAME`.
fn renamed(text: &str, moved: &[String], name: &str) -> String {
    let borders = [' ', '\t', '\n', '='];
    text.split_inclusive(borders)
        .map(|word| {
            let bare = word.trim_end_matches(borders);
            let above = moved.iter().find(|path| bare == *path || bare.starts_with(&format!("{path}/")));
            match above {
                // A file keeps its ending, by which others know what it is.
                Some(path) => {
                    let (stem, ending) = match Path::new(path).extension().and_then(|e| e.to_str()) {
                        Some(ending) => (&path[..path.len() - ending.len() - 1], format!(".{ending}")),
                        None => (path.as_str(), String::new()),
                    };
                    format!("{stem}.{name}{ending}{}", &word[path.len()..])
                }
                None => word.to_owned(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_values_move_and_all_else_stays() {
        let moved = ["demo/runs".to_string(), "demo/blend.parquet".to_string()];
        let found = renamed("--from demo/runs/a b=demo/runs demo/runs2 demo/blend.parquet", &moved, "x");
        assert_eq!(found, "--from demo/runs.x/a b=demo/runs.x demo/runs2 demo/blend.x.parquet");
    }

    #[test]
    fn a_key_that_the_size_does_not_have_is_refused_with_those_that_it_has() {
        let mut values = read::parse(Path::new("x"), "a: {b: 1, c: 2}\n".into()).unwrap();
        set(&mut values, "a.b=z.yaml", Path::new("x")).unwrap();
        assert_eq!(values.get("a").unwrap().get("b").unwrap().as_text(), Some("z.yaml"));
        let error = set(&mut values, "a.d=1", Path::new("x")).unwrap_err();
        assert_eq!(error.hint_text().as_deref(), Some("it has b, c"));
        assert!(set(&mut values, "a.b", Path::new("x")).unwrap_err().to_string().contains("has no value"));
    }
}
