//! A `dvc.yaml`, read strictly.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Error, Result};

use super::context::Context;
use super::entries::{PARAMS, Stage, normal};
use super::expand::{self, Place, shown_in};
use super::interpolate::{self, Slot};
use super::read;
use super::sizes::Sizes;
use super::tree::{Kind, Node};
use crate::run_pipeline::repository;

/// Name of a pipeline's file.
pub const FILE: &str = "dvc.yaml";
const TOP_KEYS: [&str; 7] = ["vars", "stages", "params", "metrics", "plots", "artifacts", "datasets"];

/// A pipeline as declared.
#[derive(Debug)]
pub struct Pipeline {
    /// Absolute folder of the file.
    pub folder: PathBuf,
    /// The file as shown in messages.
    pub shown: PathBuf,
    /// In the order of the file, groups expanded.
    pub stages: Vec<Stage>,
    /// Files of metrics that the pipeline names beside its stages.
    pub metrics: Vec<PathBuf>,
}

/// Absolute folder of a pipeline, and its file as shown in messages, from what was typed.
pub fn place(given: &Path) -> Result<(PathBuf, PathBuf)> {
    let (folder, file) = if given.is_dir() {
        (given.to_path_buf(), shown_in(given, FILE))
    } else {
        let parent = given.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        (parent.to_path_buf(), given.to_path_buf())
    };
    if file.file_name().is_none_or(|name| name != FILE) {
        let error = Error::usage(format!("`{}` is no folder and no `{FILE}`", given.display()));
        let name = given.to_string_lossy();
        return Err(match read::file(Path::new(FILE), Path::new(FILE)).ok().filter(|root| has_stage(root, &name)) {
            Some(_) => error.hint(format!(
                "`{name}` is a stage of the pipeline in this folder: `run-pipeline . --until {}`",
                super::text::quote(&name)
            )),
            None => error.hint(format!(
                "pass a folder that holds a `{FILE}`, and a stage with `--until`: `run-pipeline FOLDER --until STAGE`"
            )),
        });
    }
    if !file.is_file() {
        return Err(Error::input(&file, "no such file")
            .hint(format!("pass a folder that holds a `{FILE}`: `run-pipeline FOLDER`")));
    }
    let absolute = folder.canonicalize().map_err(|e| Error::opening(&folder, e))?;
    Ok((absolute, file))
}

fn has_stage(root: &Node, name: &str) -> bool {
    let group = name.split('@').next().unwrap_or(name);
    root.get("stages").is_some_and(|stages| stages.get(group).is_some())
}

/// Reads the pipeline of a folder, or of the path of its `dvc.yaml`.
pub fn read(given: &Path, sizes: &Arc<dyn Sizes>) -> Result<Pipeline> {
    let (absolute, file) = place(given)?;
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf();
    let root = read::file(&file, &file)?;
    let entries = match &root.kind {
        Kind::Map(entries) => entries.as_slice(),
        Kind::Null => &[],
        _ => return Err(root.at.error(format!("the file is {}, expected a map", root.describe()))),
    };
    let known: Vec<String> = TOP_KEYS.iter().map(ToString::to_string).collect();
    if let Some((key, _)) = entries.iter().find(|(key, _)| !known.contains(&key.name)) {
        let sentence = format!("unknown key `{}` at the top", key.name);
        return Err(key.at.error_among(sentence, &key.name, &known));
    }
    let repository = repository::dvc_root(&absolute);
    let place = Place { folder: absolute.clone(), shown: folder.clone(), repository };
    let mut context = Context::new(Arc::clone(sizes));
    context.load_default(&absolute.join(PARAMS), &shown_in(&folder, PARAMS))?;
    if let Some(vars) = root.get("vars") {
        context.load_vars(vars, &absolute, &folder)?;
    }
    let mut stages = Vec::new();
    if let Some(declared) = root.get("stages") {
        let declared = match &declared.kind {
            Kind::Map(entries) => entries.as_slice(),
            Kind::Null => &[],
            _ => return Err(declared.at.error(format!("`stages` is {}, expected a map", declared.describe()))),
        };
        for (key, definition) in declared {
            stages.extend(expand::stages(key, definition, &context, &place)?);
        }
    }
    let metrics = match root.get("metrics") {
        Some(named) => metrics(&interpolate::resolve(named, &context, Slot::Plain)?, &absolute)?,
        None => Vec::new(),
    };
    Ok(Pipeline { folder: absolute, shown: file, stages, metrics })
}

/// The files that `metrics` at the top names: a list of paths, or of paths with flags.
fn metrics(named: &Node, folder: &Path) -> Result<Vec<PathBuf>> {
    let items = match &named.kind {
        Kind::List(items) => items.as_slice(),
        Kind::Null => &[],
        _ => return Err(named.at.error(format!("`metrics` is {}, expected a list", named.describe()))),
    };
    let path = |item: &Node| match &item.kind {
        Kind::Text(path) => Ok(normal(&folder.join(path))),
        Kind::Map(entries) if entries.len() == 1 => Ok(normal(&folder.join(&entries[0].0.name))),
        _ => Err(item.at.error(format!("an item of `metrics` is {}, expected a path", item.describe()))),
    };
    items.iter().map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_pipeline::choice::Choices;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            common::durable::write(folder.path().join(name), text.as_bytes()).unwrap();
        }
        folder
    }

    fn pipeline(text: &str) -> Result<Pipeline> {
        let params = "lr: 5e-4\nflags: {epochs: 3, fast: true}\nmembers: {exp1: {seed: 7}, exp2: {seed: 8}}\n";
        let folder = folder(&[("dvc.yaml", text), ("params.yaml", params), ("more.yaml", "x: 1\ny: 2\n")]);
        read(folder.path(), &Choices::default().shared())
    }

    #[test]
    fn groups_become_stages_with_names() {
        let text = "
vars: ['more.yaml:x', {dir: out}]
stages:
  list: {foreach: [a, 2, 0.1], do: {cmd: 'echo ${item} ${x}'}}
  maps: {foreach: [{n: 1}, {n: 2}], do: {cmd: 'echo ${item.n}'}}
  named: {foreach: '${members}', do: {cmd: 'echo ${key} ${item.seed}', outs: ['${dir}/${key}']}}
  grid: {matrix: {m: [a, b], s: [1, 2]}, cmd: 'echo ${item.m} ${item.s} ${key} ${lr}'}
  flags: {cmd: 'train ${flags}'}
";
        let pipeline = pipeline(text).unwrap();
        let all: Vec<_> = pipeline.stages.iter().map(|s| (s.name.as_str(), s.commands[0].as_str())).collect();
        assert_eq!(
            all,
            [
                ("list@a", "echo a 1"),
                ("list@2", "echo 2 1"),
                ("list@0.1", "echo 0.1 1"),
                ("maps@0", "echo 1"),
                ("maps@1", "echo 2"),
                ("named@exp1", "echo exp1 7"),
                ("named@exp2", "echo exp2 8"),
                ("grid@a-1", "echo a 1 a-1 0.0005"),
                ("grid@a-2", "echo a 2 a-2 0.0005"),
                ("grid@b-1", "echo b 1 b-1 0.0005"),
                ("grid@b-2", "echo b 2 b-2 0.0005"),
                ("flags", "train --epochs 3 --fast"),
            ]
        );
        assert_eq!(pipeline.stages[6].outs[0].path, "out/exp2");
    }

    #[test]
    fn mistakes_are_shown_with_file_line_and_column() {
        for (text, place, part) in [
            ("stage:\n  a: {cmd: x}\n", ":1:1:", "unknown key `stage` at the top"),
            ("stages:\n  a:\n    cmd: x\n    dep: [y]\n", ":4:5:", "unknown key `dep` in stage `a`"),
            ("stages:\n  a:\n    outs: [x]\n", ":2:3:", "stage `a` has no `cmd`"),
            ("stages:\n  a:\n    cmd: x\n    deps: y\n", ":4:11:", "`deps` is text, expected a list"),
            ("stages:\n  a:\n    cmd: x\n    outs: [y: {cach: false}]\n", ":4:16:", "unknown key `cach` of `y`"),
            ("stages:\n  a:\n    cmd: x\n    outs: [y: {cache: 1}]\n", ":4:23:", "expected true or false"),
            ("stages:\n  a:\n    cmd: x\n    frozen: yes\n", ":4:13:", "`frozen` is text"),
            ("stages:\n  a:\n    cmd: echo ${lrr}\n", ":3:15:", "there is no variable `lrr`"),
            ("stages:\n  a:\n    cmd: x\n    outs: [y, ./y]\n", ":4:15:", "writes `./y` twice"),
            ("stages:\n  a:\n    cmd: x\n    deps: [y]\n    outs: [y]\n", ":4:12:", "a cycle"),
            ("stages:\n  a.b: {cmd: x}\n", ":2:3:", "`.` is not allowed"),
            ("stages:\n  a:\n    foreach: 3\n    do: {cmd: x}\n", ":3:14:", "`foreach` is a number"),
            ("stages:\n  a:\n    cmd: x\n    meta: {gpu: many}\n", ":4:17:", "`meta.gpu` is text"),
            ("stages:\n  a: [\n", ":", "error"),
            ("vars:\n- lr: 1\n", ":2:3:", "`lr` is defined already"),
            ("vars: [nothere.yaml]\n", ":1:8:", "`nothere.yaml` does not exist"),
            ("vars: ['more.yaml:z']\n", ":1:8:", "has no key `z`"),
            ("stages:\n  a:\n    cmd: x\n    params: [x.ini: [a]]\n", ":4:14:", ".json"),
            ("metrics: x\n", ":1:10:", "expected a list"),
        ] {
            let error = pipeline(text).err().unwrap_or_else(|| panic!("{text} was accepted"));
            let message = error.to_string();
            assert!(message.contains(&format!("dvc.yaml{place}")), "{text}\n{message}");
            assert!(part == "error" || message.contains(part), "{text}\n{message}");
            assert_eq!(error.exit_code(), common::ExitCode::Usage);
        }
        let hint = pipeline("stages:\n  a:\n    cmd: x\n    dep: [y]\n").unwrap_err().hint_text().unwrap();
        assert!(hint.contains("`deps`"), "{hint}");
    }
}
