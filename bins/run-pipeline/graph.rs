//! Stages and what they wait for.
//!
//! A pipeline may read what another pipeline of the repository writes (a blend reads the members' predictions). Those
//! stages, and only those, are taken along, as `dvc repro` does it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::near::nearest;
use common::{Error, Result};

use crate::run_pipeline::content::ignore::{Ignore, is_passed_over};
use crate::run_pipeline::content::lock::{self, Lock};
use crate::run_pipeline::declare::entries::Stage;
use crate::run_pipeline::declare::file::{self, FILE, Pipeline};
use crate::run_pipeline::declare::sizes::Sizes;
use crate::run_pipeline::declare::tree::Mark;
use crate::run_pipeline::repository;

/// A pipeline's place.
#[derive(Debug, Clone)]
pub struct Home {
    pub folder: PathBuf,
    /// The `dvc.yaml` as shown in messages.
    pub shown: PathBuf,
    /// Where its lock lies.
    pub lock: PathBuf,
    /// Name of the choice that it belongs to, where it comes in several sizes.
    pub choice: Option<String>,
    /// Files of metrics named beside the stages.
    pub metrics: Vec<PathBuf>,
}

impl Home {
    /// Its lock.
    pub fn read_lock(&self) -> Result<Lock> {
        Lock::read_file(&self.lock, &self.shown.with_file_name(lock::FILE))
    }
}

/// A stage and its place in the graph.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Index of its pipeline in [`Project::homes`].
    pub home: usize,
    /// `train`, or `members:train` where it belongs to another pipeline.
    pub title: String,
    pub stage: Stage,
    /// Units whose outs it reads.
    pub upstream: Vec<usize>,
}

/// Everything that one call works on.
#[derive(Debug)]
pub struct Project {
    /// The pipeline that was asked for stands first.
    pub homes: Vec<Home>,
    /// Each stands behind all that it waits for.
    pub units: Vec<Unit>,
}

impl Project {
    /// Reads a pipeline, takes along what it needs from the other pipelines of the repository, and orders the stages.
    pub fn read(given: &Path, sizes: &Arc<dyn Sizes>) -> Result<Self> {
        let (homes, units) = all(given, sizes)?;
        let wanted: Vec<usize> = (0..units.len()).filter(|&u| units[u].home == 0).collect();
        let needed = ancestors(&units, &wanted);
        let units = order(units, &needed)?;
        Ok(Self { homes, units })
    }

    /// The units that a name stands for: a stage, or all stages of a group.
    pub fn find(&self, name: &str) -> Result<Vec<usize>> {
        let matches =
            |unit: &Unit| unit.title == name || unit.title.rsplit_once('@').is_some_and(|(group, _)| group == name);
        let found: Vec<usize> = (0..self.units.len()).filter(|&u| matches(&self.units[u])).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let known: Vec<String> = self.units.iter().map(|u| u.title.clone()).collect();
        let error = Error::usage(format!("`{}` has no stage `{name}`", self.homes[0].shown.display()));
        Err(match nearest(name, known.iter().map(String::as_str)) {
            Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
            None => error.hint(format!("its stages are {}", known.join(", "))),
        })
    }

    /// Leaves only some units and what they wait for.
    pub fn until(mut self, wanted: &[usize]) -> Result<Self> {
        let needed = ancestors(&self.units, wanted);
        self.units = order(self.units, &needed)?;
        Ok(self)
    }
}

/// A pipeline and all others of its repository, the stages in the order of the files.
pub fn all(given: &Path, sizes: &Arc<dyn Sizes>) -> Result<(Vec<Home>, Vec<Unit>)> {
    let mut pipelines = vec![file::read(given, sizes)?];
    pipelines.extend(others(&pipelines[0], sizes));
    let home = |p: &Pipeline| {
        let (lock, choice) = sizes.lock(&p.folder);
        Home { folder: p.folder.clone(), shown: p.shown.clone(), lock, choice, metrics: p.metrics.clone() }
    };
    let homes = pipelines.iter().map(home).collect();
    let names = names(&pipelines);
    let mut units = Vec::new();
    for (home, pipeline) in pipelines.into_iter().enumerate() {
        for stage in pipeline.stages {
            let title = if home == 0 { stage.name.clone() } else { format!("{}:{}", names[home], stage.name) };
            units.push(Unit { home, title, stage, upstream: Vec::new() });
        }
    }
    connect(&mut units)?;
    Ok((homes, units))
}

/// The other pipelines of the repository.
fn others(main: &Pipeline, sizes: &Arc<dyn Sizes>) -> Vec<Pipeline> {
    let root = repository::root(&main.folder, main.stages.iter().map(|stage| stage.wdir.as_path()));
    let written: Vec<PathBuf> = main.stages.iter().flat_map(|s| s.outs.iter().map(|out| out.file.clone())).collect();
    let here = std::env::current_dir().unwrap_or_default();
    let shown = |folder: &Path| match folder.strip_prefix(&here) {
        Ok(below) if below.as_os_str().is_empty() => PathBuf::from("."),
        Ok(below) => below.to_path_buf(),
        Err(_) => folder.to_path_buf(),
    };
    let read = |folder: &PathBuf| match file::read(&shown(folder), sizes) {
        Ok(pipeline) => Some(pipeline),
        Err(e) => {
            tracing::warn!("another pipeline of this repository is passed over: {e}");
            None
        }
    };
    pipelines_below(&root, &written).iter().filter(|folder| **folder != main.folder).filter_map(read).collect()
}

/// Folders below `root` that hold a pipeline, sorted. Left alone, as DVC does it: what `.gitignore` or `.dvcignore` name,
/// repositories inside of this one, and the outs in `written`.
fn pipelines_below(root: &Path, written: &[PathBuf]) -> Vec<PathBuf> {
    let ignored = [Ignore::new(root, ".dvcignore"), Ignore::new(root, ".gitignore")];
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_name() == FILE && path.is_file() {
                found.push(folder.clone());
            }
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_folder || is_passed_over(&path) || written.contains(&path) {
                continue;
            }
            let is_other = path.join(".dvc").is_dir() || path.join(".git").exists();
            if !is_other && !ignored.iter().any(|ignored| ignored.hides_entry(&path, true)) {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What the stages of another pipeline are called: the name of its folder, or, where several have that name, its way from the
/// repository.
fn names(pipelines: &[Pipeline]) -> Vec<String> {
    let name = |p: &Pipeline| p.folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let all: Vec<String> = pipelines.iter().map(name).collect();
    let root = pipelines
        .iter()
        .map(|p| p.folder.as_path())
        .reduce(|a, b| a.ancestors().find(|above| b.starts_with(above)).unwrap_or(Path::new("/")));
    let long = |p: &Pipeline| {
        let below = root.and_then(|root| p.folder.strip_prefix(root).ok()).unwrap_or(&p.folder);
        below.to_string_lossy().into_owned()
    };
    let is_one = |name: &String| all.iter().filter(|other| *other == name).count() == 1;
    pipelines.iter().zip(&all).map(|(p, name)| if is_one(name) { name.clone() } else { long(p) }).collect()
}

/// Draws an edge from every out to the stages that read it, and refuses outs that two stages write.
fn connect(units: &mut [Unit]) -> Result<()> {
    let mut outs: Vec<(PathBuf, usize, Mark)> = Vec::new();
    for (index, unit) in units.iter().enumerate() {
        outs.extend(unit.stage.outs.iter().map(|out| (out.file.clone(), index, out.at.clone())));
    }
    // Sorted by path, everything below a folder follows it directly.
    outs.sort_by(|a, b| a.0.cmp(&b.0));
    for pair in outs.windows(2) {
        let [(first, one, first_at), (second, other, second_at)] = pair else { continue };
        if second.starts_with(first) {
            let (one, other) = (&units[*one].title, &units[*other].title);
            let (shown, first) = (second.display(), first.display());
            let relation = if first.to_string() == shown.to_string() {
                format!("`{shown}` is written by stage `{other}` and by stage `{one}` ({first_at})")
            } else {
                format!("`{shown}` of stage `{other}` lies inside of `{first}` of stage `{one}` ({first_at})")
            };
            return Err(second_at.error(relation));
        }
    }
    for (index, unit) in units.iter_mut().enumerate() {
        // A frozen stage does not look at its deps, so it waits for nothing.
        if unit.stage.frozen {
            continue;
        }
        let deps = unit.stage.deps.iter().map(|d| &d.file).chain(unit.stage.params.iter().map(|p| &p.file));
        let mut upstream: Vec<usize> = Vec::new();
        for dep in deps {
            // Outs at, below or above the dep.
            let from = outs.partition_point(|(file, ..)| file < dep);
            let below = outs[from..].iter().take_while(|(file, ..)| file.starts_with(dep)).map(|o| o.1);
            let above = dep.ancestors().skip(1).filter_map(|folder| {
                let at = outs.binary_search_by(|(file, ..)| file.as_path().cmp(folder)).ok()?;
                Some(outs[at].1)
            });
            upstream.extend(below.chain(above));
        }
        // A folder to work in that another stage makes.
        let within = unit.stage.wdir.ancestors().filter_map(|folder| {
            let at = outs.binary_search_by(|(file, ..)| file.as_path().cmp(folder)).ok()?;
            Some(outs[at].1)
        });
        upstream.extend(within.filter(|&up| up != index));
        upstream.sort_unstable();
        upstream.dedup();
        unit.upstream = upstream;
    }
    Ok(())
}

fn ancestors(units: &[Unit], wanted: &[usize]) -> Vec<bool> {
    let mut needed = vec![false; units.len()];
    let mut open = wanted.to_vec();
    while let Some(unit) = open.pop() {
        if !std::mem::replace(&mut needed[unit], true) {
            open.extend(&units[unit].upstream);
        }
    }
    needed
}

/// The needed units, each behind its upstream ones, else in the order of the files.
fn order(units: Vec<Unit>, needed: &[bool]) -> Result<Vec<Unit>> {
    let mut sorted: Vec<usize> = Vec::new();
    let mut place = vec![None; units.len()];
    let mut left: Vec<usize> = (0..units.len()).filter(|&u| needed[u]).collect();
    while !left.is_empty() {
        let before = sorted.len();
        left.retain(|&unit| {
            let ready = units[unit].upstream.iter().all(|&up| place[up].is_some());
            if ready {
                place[unit] = Some(sorted.len());
                sorted.push(unit);
            }
            !ready
        });
        if sorted.len() == before {
            return Err(cycle(&units, &left, &place));
        }
    }
    let mut units: Vec<Option<Unit>> = units.into_iter().map(Some).collect();
    let taken = sorted.iter().filter_map(|&unit| units[unit].take());
    let renumber = |mut unit: Unit| {
        unit.upstream = unit.upstream.iter().filter_map(|&up| place[up]).collect();
        unit
    };
    Ok(taken.map(renumber).collect())
}

/// Walks upstream among the stages that could not be ordered until one comes again.
fn cycle(units: &[Unit], left: &[usize], place: &[Option<usize>]) -> Error {
    let mut path = vec![left[0]];
    loop {
        let last = path[path.len() - 1];
        let Some(&next) = units[last].upstream.iter().find(|&&up| place[up].is_none()) else {
            return Error::failed("the stages cannot be ordered");
        };
        if let Some(start) = path.iter().position(|&u| u == next) {
            let mut ring = path[start..].to_vec();
            ring.reverse();
            let first = ring.iter().enumerate().min_by_key(|(_, u)| **u).map_or(0, |(at, _)| at);
            ring.rotate_left(first);
            ring.push(ring[0]);
            let names: Vec<String> = ring.iter().map(|&u| format!("`{}`", units[u].title)).collect();
            return units[ring[0]].stage.at.error(format!("the stages wait for each other: {}", names.join(" -> ")));
        }
        path.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_pipeline::choice::Choices;

    fn project(text: &str) -> Result<Project> {
        let folder = tempfile::tempdir().unwrap();
        common::durable::write(folder.path().join(FILE), text.as_bytes()).unwrap();
        Project::read(folder.path(), &Choices::default().shared())
    }

    #[test]
    fn edges_run_from_outs_to_deps_also_through_folders() {
        let text = "stages:\n  c: {cmd: x, deps: [a/in/file, all]}\n  a: {cmd: x, outs: [a]}\n  \
                    b: {cmd: x, outs: [all/b], deps: [a]}\n  d: {cmd: x, outs: [all/d], frozen: true, deps: [a]}\n";
        let project = project(text).unwrap();
        let titles: Vec<_> = project.units.iter().map(|u| u.title.as_str()).collect();
        assert_eq!(titles, ["a", "b", "d", "c"]);
        let upstream: Vec<_> = project.units.iter().map(|u| u.upstream.clone()).collect();
        assert_eq!(upstream, [vec![], vec![0], vec![], vec![0, 1, 2]]);
        let until = project.find("b").unwrap();
        assert_eq!(project.until(&until).unwrap().units.len(), 2);
    }

    #[test]
    fn cycles_and_outs_of_two_stages_are_refused_with_their_place() {
        let ring = "stages:\n  a: {cmd: x, deps: [c], outs: [a]}\n  b: {cmd: x, deps: [a], outs: [b]}\n  \
                    c: {cmd: x, deps: [b], outs: [c]}\n";
        let error = project(ring).unwrap_err().to_string();
        assert!(error.contains("dvc.yaml:2:3: the stages wait for each other: `a` -> `b` -> `c` -> `a`"), "{error}");
        let twice = "stages:\n  a: {cmd: x, outs: [x/y]}\n  b: {cmd: x, outs: [./x/y]}\n";
        let error = project(twice).unwrap_err().to_string();
        assert!(error.contains("dvc.yaml:3:22: ") && error.contains("stage `b` and by stage `a`"), "{error}");
        let inside = "stages:\n  a: {cmd: x, outs: [x/y]}\n  b: {cmd: x, outs: [x]}\n";
        assert!(project(inside).unwrap_err().to_string().contains("lies inside of"));
    }

    #[test]
    fn a_wrong_stage_name_suggests_the_nearest() {
        let project = project("stages:\n  train: {foreach: [a, b], do: {cmd: x}}\n  score: {cmd: y}\n").unwrap();
        assert_eq!(project.find("train").unwrap(), [0, 1]);
        let error = project.find("scor").unwrap_err();
        assert_eq!(error.hint_text().unwrap(), "did you mean `score`?");
    }
}
