//! `--export snakemake`: the same graph as a Snakefile, for engines that reach more than one machine.
//!
//! Every rule is self-contained: inputs, outputs, resources, log and a shell command with all braces doubled. Paths are
//! relative to the working folder of `snakemake`, which is the folder that all stages work in (or the repository's).

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use common::{Error, Result};

use super::estimate;
use crate::run_pipeline::declare::entries::Stage;
use crate::run_pipeline::declare::text::quote;
use crate::run_pipeline::graph::{Project, Unit};
use crate::run_pipeline::run::record::Record;

/// Memory that a rule asks for where the stage does not say, in MB.
const MEM_MB: u64 = 1000;
/// Run time in minutes where the stage does not say.
const RUNTIME_MIN: u64 = 60;

/// Reads the parameters of a stage when the Snakefile is read: a change of one runs the stages again that name it, no others.
const PARAMETERS: &str = r#"
def podium_parameters(path, keys):
    import json, os
    if not os.path.exists(path):
        return "missing"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if path.endswith(".py"):
        return text
    if path.endswith(".toml"):
        import tomllib
        values = tomllib.loads(text)
    else:
        import yaml
        values = yaml.safe_load(text)
    def value(key):
        found = values
        for part in key.split("."):
            found = found[int(part)] if isinstance(found, list) else (found or {}).get(part)
        return found
    return json.dumps({key: value(key) for key in keys}, sort_keys=True, default=str)


"#;

/// The Snakefile, and the folder that it is to be run in.
pub fn export(project: &Project) -> Result<(String, PathBuf)> {
    let root = common_folder(project);
    let records = estimate::records(project)?;
    let mut names = HashSet::new();
    // What frozen stages write is there already, like any other file that no rule makes.
    let units = || project.units.iter().filter(|unit| !unit.stage.frozen);
    let rules: Vec<String> =
        units().map(|unit| rule(unit, project, &root, &records, &mut names)).collect::<Result<_>>()?;
    let mut targets = Vec::new();
    for unit in units() {
        if unit.stage.outs.is_empty() {
            targets.push(literal(&doubled(&done_file(unit, &root)?)));
        }
        for out in &unit.stage.outs {
            targets.push(literal(&doubled(&relative(&out.file, &root)?)));
        }
    }
    let shown = project.homes[0].shown.display();
    let mut text = format!(
        "# Written by run-pipeline --export snakemake from {shown}. Run it in the folder that all paths are relative to:\n\
         #   snakemake --snakefile FILE --directory {} --cores 2\n\n{}\
         rule all:\n    input:\n",
        literal_path(&root),
        if units().any(|unit| unit.stage.params.iter().any(|params| !params.keys.is_empty())) {
            PARAMETERS
        } else {
            ""
        }
    );
    for target in targets {
        text += &format!("        {target},\n");
    }
    for rule in rules {
        text += "\n\n";
        text += &rule;
    }
    Ok((text, root))
}

fn literal_path(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    match path.strip_prefix(&here) {
        Ok(rest) if rest.as_os_str().is_empty() => ".".into(),
        Ok(rest) => rest.display().to_string(),
        Err(_) => "FOLDER".into(),
    }
}

/// The deepest folder that holds all working folders, deps and outs of the stages.
fn common_folder(project: &Project) -> PathBuf {
    let mut root: Option<PathBuf> = None;
    for unit in &project.units {
        let stage = &unit.stage;
        let folders = stage.deps.iter().map(|d| &d.file).chain(stage.outs.iter().map(|o| &o.file));
        let parents = folders.filter_map(|f| f.parent()).chain([stage.wdir.as_path()]);
        for folder in parents {
            root = Some(match root {
                None => folder.to_path_buf(),
                Some(root) => root.ancestors().find(|a| folder.starts_with(a)).unwrap_or(Path::new("/")).to_path_buf(),
            });
        }
    }
    root.unwrap_or_else(|| project.homes[0].folder.clone())
}

fn rule(
    unit: &Unit,
    project: &Project,
    root: &Path,
    records: &[Record],
    names: &mut HashSet<String>,
) -> Result<String> {
    let stage = &unit.stage;
    let home = &project.homes[unit.home];
    let lock = home.read_lock()?;
    let name = rule_name(&unit.title, names);
    let mut inputs = Vec::new();
    for dep in &stage.deps {
        inputs.extend(input(&dep.file, unit, project, root)?);
    }
    // Of a file of parameters only the values count that the stage names, unless a stage writes it or all of it is read.
    let mut parameters = Vec::new();
    for file in &stage.params {
        let made = unit.upstream.iter().flat_map(|&up| &project.units[up].stage.outs);
        if file.keys.is_empty() || made.into_iter().any(|out| file.file.starts_with(&out.file)) {
            inputs.extend(input(&file.file, unit, project, root)?);
            continue;
        }
        let keys: Vec<String> = file.keys.iter().map(|(key, _)| literal(key)).collect();
        parameters.push(format!("podium_parameters({}, [{}])", literal(&relative(&file.file, root)?), keys.join(", ")));
    }
    // A stage without outs that this one waits for has no file; nothing waits for such a stage by definition.
    inputs.dedup();
    let mut outputs = Vec::new();
    for out in &stage.outs {
        let path = literal(&doubled(&relative(&out.file, root)?));
        let locked = lock.stage(&stage.name).and_then(|stage| stage.out(&out.path));
        let locked = locked.as_ref().map(|md5| md5.text.as_str());
        outputs.push(if is_folder(&out.file, &out.path, locked, project) {
            format!("directory({path})")
        } else {
            path
        });
    }
    if stage.outs.is_empty() {
        outputs.push(format!("touch({})", literal(&doubled(&done_file(unit, root)?))));
    }
    // What the pipeline states, else what the last run here took, with as much again for other data and machines.
    let needs = &stage.needs;
    let last = estimate::last(unit, records);
    let known = |stated: u64, seen: Option<u64>| if stated > 0 { Some(stated) } else { seen.filter(|&n| n > 0) };
    let megabytes = |bytes: u64| (2 * bytes).div_ceil(1_000_000);
    let mem_mb = known(needs.mem_mb, last.and_then(|run| run.peak_bytes).map(megabytes)).unwrap_or(MEM_MB);
    let minutes = last.and_then(|run| run.wall_s).map(|seconds| (2.0 * seconds / 60.0).ceil() as u64);
    let runtime = known(needs.runtime_min, minutes).unwrap_or(RUNTIME_MIN);
    let disk_mb = known(needs.disk_mb, last.map(|run| megabytes(run.outs.iter().map(|out| out.bytes).sum())));
    let mut text = format!("rule {name}:\n");
    let list = |title: &str, items: &[String]| {
        let items: String = items.iter().map(|item| format!("        {item},\n")).collect();
        if items.is_empty() { String::new() } else { format!("    {title}:\n{items}") }
    };
    text += &list("input", &inputs);
    text += &list("output", &outputs);
    text += &list("params", &parameters);
    text += &list("log", &[literal(&format!("logs/{name}.log"))]);
    text += &format!("    threads: {}\n", needs.threads.max(1));
    let mut resources = vec![format!("mem_mb={mem_mb}"), format!("runtime={runtime}"), format!("gpu={}", needs.gpu)];
    resources.extend(disk_mb.map(|disk_mb| format!("disk_mb={disk_mb}")));
    if needs.tasks > 0 {
        resources.push(format!("tasks={}", needs.tasks));
    }
    text += &list("resources", &resources);
    text += &format!("    shell:\n        {}\n", literal(&shell(stage, root)?));
    Ok(text)
}

/// A dep as input: a file inside of a folder that another stage writes is not an output of any rule, so the folder
/// itself stands in; a folder that holds outs of several stages becomes the list of them.
fn input(file: &Path, unit: &Unit, project: &Project, root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for &up in &unit.upstream {
        for out in &project.units[up].stage.outs {
            if file.starts_with(&out.file) || out.file.starts_with(file) {
                found.push(literal(&doubled(&relative(&out.file, root)?)));
            }
        }
    }
    if found.is_empty() {
        found.push(literal(&doubled(&relative(file, root)?)));
    }
    Ok(found)
}

/// True for outs that are folders: what the lock says, what lies there now, or what the path or a reader of it says.
fn is_folder(file: &Path, written: &str, locked: Option<&str>, project: &Project) -> bool {
    if let Some(md5) = locked {
        return md5.ends_with(".dir");
    }
    if let Ok(metadata) = std::fs::metadata(file) {
        return metadata.is_dir();
    }
    let read_inside = |unit: &Unit| unit.stage.deps.iter().any(|d| d.file != file && d.file.starts_with(file));
    // Without a trace on the disk a name without an ending is taken for a folder, as a name with one is for a file.
    written.ends_with('/') || project.units.iter().any(read_inside) || file.extension().is_none()
}

/// The commands of a stage in one shell text: the output goes to the log, the first failure ends the rule.
fn shell(stage: &Stage, root: &Path) -> Result<String> {
    let folder = relative(&stage.wdir, root)?;
    let commands: Vec<String> =
        stage.commands.iter().map(|command| String::from("\"${SHELL:-/bin/sh}\" -c ") + &quote(command)).collect();
    let commands = commands.join(" && ");
    let inside = if folder == "." { commands } else { format!("cd {} && {commands}", quote(&folder)) };
    Ok(format!("( {} ) > {{log}} 2>&1", doubled(&inside)))
}

fn done_file(unit: &Unit, root: &Path) -> Result<String> {
    let folder = unit.stage.wdir.join(crate::run_pipeline::state::FOLDER).join("done");
    relative(&folder.join(crate::run_pipeline::state::file_name(&unit.title)), root)
}

/// Letters, digits and `_`, unique, never a word of Python or Snakemake.
fn rule_name(title: &str, names: &mut HashSet<String>) -> String {
    let mut name: String = title.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let reserved = ["all", "rule", "if", "for", "in", "is", "or", "and", "not", "def", "class", "import", "from", "as"];
    if name.starts_with(|c: char| c.is_ascii_digit()) || reserved.contains(&name.as_str()) {
        name = format!("stage_{name}");
    }
    let base = name.clone();
    let mut number = 1;
    while !names.insert(name.clone()) {
        number += 1;
        name = format!("{base}_{number}");
    }
    name
}

fn relative(path: &Path, root: &Path) -> Result<String> {
    let text = path.strip_prefix(root).map_err(|_| {
        Error::failed(format!(
            "`{}` lies outside of `{}`; a Snakefile has relative paths only",
            path.display(),
            root.display()
        ))
    })?;
    let text = text.to_string_lossy();
    Ok(if text.is_empty() { ".".into() } else { text.into_owned() })
}

/// Braces as they have to be written where Snakemake looks for its own.
fn doubled(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// A Python string.
fn literal(text: &str) -> String {
    crate::run_pipeline::declare::text::json_string(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_names_are_unique_words() {
        let mut names = HashSet::new();
        assert_eq!(rule_name("train@a-1", &mut names), "train_a_1");
        assert_eq!(rule_name("train@a_1", &mut names), "train_a_1_2");
        assert_eq!(rule_name("all", &mut names), "stage_all");
        assert_eq!(rule_name("2d", &mut names), "stage_2d");
    }
}
