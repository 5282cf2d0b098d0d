//! `--rehearse`: every stage end to end in a scratch folder, at its smallest, so that a run of days does not end in its last
//! stage for a path, a config or a limit of memory.
//!
//! The scratch folder is the repository over again: links to all that no stage writes, and room for what they write. Commands
//! run as they stand; programs that know a smoke run are given it by small scripts that stand before them in `PATH`. A stage
//! that reads raw data says in `meta.rehearse` how it takes a little of it, or how data of the same layout are made where
//! there are none. Nothing is hashed and nothing outside of the folder is written.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::{Error, Result, durable};

use super::declare::entries::{Out, normal};
use super::declare::text::quote;
use super::graph::Project;
use super::repository;
use super::run::resources::Resources;
use super::run::schedule::{self, Done, Options};

/// Programs that make less of everything with `--fast-dev-run`. What comes behind them takes the little that they made.
const SMALL: [&str; 4] = ["simulate-data", "prepare-data", "train-model", "finetune-group"];

/// A scratch folder, which goes when the rehearsal ended well.
struct Scratch {
    folder: PathBuf,
    /// Named by the user, who wants to look into it.
    keeps: bool,
}

/// Runs all stages of a project at their smallest. `named` is the scratch folder, where the user gives one.
///
/// # Errors
/// Those of the first stage that fails; the scratch folder is kept then, and named.
pub fn run(mut project: Project, named: Option<&Path>, options: Options) -> Result<Done> {
    let wdirs = project.units.iter().map(|unit| unit.stage.wdir.as_path());
    let root = repository::root(&project.homes[0].folder, wdirs);
    make_what_is_missing(&mut project);
    let outs = outs(&project, &root)?;
    let scratch = Scratch::make(named)?;
    let files = scratch.folder.join("files");
    mirror(&root, &files, &outs)?;
    let on_cpu = Resources::new(1, options.gpus, None).is_on_cpu();
    let programs = programs(&scratch.folder.join("bin"), on_cpu)?;
    move_into(&mut project, &root, &files);
    for (number, home) in project.homes.iter_mut().enumerate() {
        // Logs and records of their own: the pipeline's folder is only linked.
        home.folder = scratch.folder.join("pipelines").join(number.to_string());
        durable::create_folder(&home.folder)?;
    }
    tracing::info!(
        "rehearsal in `{}`{}",
        scratch.folder.display(),
        if on_cpu { ", without a GPU: in f32" } else { "" }
    );
    let mut done = schedule::run(project, &Options { rehearsal: Some(programs), ..options })?;
    done.result = done.result.map_err(|error| scratch.told(error));
    if done.result.is_ok() && !scratch.keeps {
        // Left behind it takes room, no more.
        let _ = fs::remove_dir_all(&scratch.folder);
    }
    Ok(done)
}

impl Scratch {
    fn make(named: Option<&Path>) -> Result<Self> {
        let Some(folder) = named else {
            let folder = std::env::temp_dir().join(format!("podium-rehearsal-{}", std::process::id()));
            durable::create_folder(&folder)?;
            return Ok(Self { folder, keeps: false });
        };
        durable::create_folder(folder)?;
        let folder = folder.canonicalize().map_err(|e| Error::opening(folder, e))?;
        if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::usage(format!(
                "`{}` is not empty, and a rehearsal would write into it",
                folder.display()
            ))
            .hint("name a folder that is not there yet"));
        }
        Ok(Self { folder, keeps: true })
    }

    fn told(&self, error: Error) -> Error {
        let again = error.hint_text().unwrap_or_default();
        let kept = format!("what the rehearsal wrote is kept in `{}`", self.folder.display());
        error.hint(if again.is_empty() { kept } else { format!("{again}; {kept}") })
    }
}

/// What stages that run write; all of it has to lie in the repository, as only that has a double.
fn outs(project: &Project, root: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut all = BTreeSet::new();
    for unit in project.units.iter().filter(|unit| !unit.stage.frozen) {
        if !unit.stage.wdir.starts_with(root) {
            let (title, wdir) = (&unit.title, unit.stage.wdir.display());
            return Err(Error::usage(format!("stage `{title}` works in `{wdir}`, outside of `{}`", root.display()))
                .hint("a rehearsal needs pipelines whose folders lie in one repository"));
        }
        for out in &unit.stage.outs {
            if !out.file.starts_with(root) {
                let problem = format!("stage `{}` writes `{}`, outside of `{}`", unit.title, out.path, root.display());
                return Err(Error::usage(problem).hint(
                    "a rehearsal would write there: name the out relative to the repository, or let a link lead there",
                ));
            }
            all.insert(out.file.clone());
        }
    }
    Ok(all)
}

/// Makes `to` look like `from`: links to everything but outs, and folders of its own where outs will lie.
fn mirror(from: &Path, to: &Path, outs: &BTreeSet<PathBuf>) -> Result<()> {
    durable::create_folder(to)?;
    for entry in fs::read_dir(from).map_err(|e| Error::io("listing", from, e))?.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let is_hidden = name.to_string_lossy().starts_with('.');
        if outs.contains(&path) || is_hidden {
            continue;
        }
        let holds_outs = || outs.range(path.clone()..).next().is_some_and(|out| out.starts_with(&path));
        if path.is_dir() && holds_outs() {
            mirror(&path, &to.join(name), outs)?;
        } else {
            let link = to.join(name);
            symlink(&path, &link).map_err(|e| Error::io("linking", &link, e))?;
        }
    }
    // Folders that are not there yet: commands expect those that hold their outs as little as ever, but a redirection needs one.
    for parent in outs.iter().filter_map(|out| out.parent()?.strip_prefix(from).ok()) {
        durable::create_folder(to.join(parent))?;
    }
    Ok(())
}

/// The scripts that stand before the programs.
fn programs(folder: &Path, on_cpu: bool) -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(|e| Error::io("finding", "this program", e))?;
    let script = |name: &str, passed_on: &str| -> Result<()> {
        let program = quote(&own.with_file_name(name).to_string_lossy());
        // Halves are slow on CPUs, and some of them lack them.
        let precision = if on_cpu && name == "train-model" { " training.precision=f32" } else { "" };
        let text = format!(
            "#!/bin/sh\nfor word in \"$@\"; do\n  case \"$word\" in\n    {passed_on}) exec {program} \"$@\"{precision} ;;\n  esac\ndone\n\
             exec {program} \"$@\" --fast-dev-run{precision}\n"
        );
        let path = folder.join(name);
        durable::write(&path, text.as_bytes())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(|e| Error::io("changing", &path, e))
    };
    durable::create_folder(folder)?;
    let as_they_are = "--limit | --limit=* | --fast-dev-run | -h | --help | -V | --version";
    SMALL.iter().try_for_each(|name| script(name, as_they_are))?;
    Ok(folder.to_path_buf())
}

/// Deps that are not there, and that a stage's own commands for rehearsals make, are outs of that stage.
fn make_what_is_missing(project: &mut Project) {
    let mut made: Vec<(PathBuf, usize)> = Vec::new();
    for index in 0..project.units.len() {
        let unit = &project.units[index];
        if unit.stage.rehearsal.is_empty() {
            continue;
        }
        let upstream: Vec<PathBuf> = unit
            .upstream
            .iter()
            .flat_map(|&up| project.units[up].stage.outs.iter().map(|out| out.file.clone()))
            .collect();
        let unit = &mut project.units[index];
        let is_there =
            |file: &Path| file.exists() || upstream.iter().any(|out| file.starts_with(out) || out.starts_with(file));
        let (there, missing) = std::mem::take(&mut unit.stage.deps).into_iter().partition(|dep| is_there(&dep.file));
        unit.stage.deps = there;
        for dep in missing {
            made.push((dep.file.clone(), index));
            unit.stage.outs.push(Out {
                path: dep.path,
                file: dep.file,
                at: dep.at,
                cache: false,
                persist: true,
                kind: None,
                is_metric: false,
            });
        }
    }
    for (index, unit) in project.units.iter_mut().enumerate() {
        let reads =
            |made: &Path| unit.stage.deps.iter().any(|dep| dep.file.starts_with(made) || made.starts_with(&dep.file));
        let more: Vec<usize> =
            made.iter().filter(|(file, by)| *by != index && reads(file)).map(|(_, by)| *by).collect();
        unit.upstream.extend(more);
        unit.upstream.sort_unstable();
        unit.upstream.dedup();
    }
}

/// Everything below `root` is where it is below `scratch`.
fn move_into(project: &mut Project, root: &Path, scratch: &Path) {
    let moved = |path: &mut PathBuf| {
        if let Ok(below) = path.strip_prefix(root) {
            *path = normal(&scratch.join(below));
        }
    };
    project.homes.iter_mut().for_each(|home| home.metrics.iter_mut().for_each(moved));
    for unit in &mut project.units {
        let stage = &mut unit.stage;
        moved(&mut stage.wdir);
        stage.deps.iter_mut().for_each(|dep| moved(&mut dep.file));
        stage.params.iter_mut().for_each(|params| moved(&mut params.file));
        // The outs of a frozen stage are links to what lies there.
        stage.outs.iter_mut().for_each(|out| moved(&mut out.file));
        stage.promise.outputs.iter_mut().for_each(|(_, file)| moved(file));
        stage.promise.metrics.iter_mut().for_each(|figures| moved(&mut figures.file));
    }
}
