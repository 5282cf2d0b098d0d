//! `--size` and `--set`: which file of sizes the pipelines of a system read, and what differs from it.
//!
//! A pipeline that reads `../SYSTEM.yaml` comes in all sizes for which a `SYSTEM.SIZE.yaml` lies beside that file. The file
//! itself and the `dvc.lock` are links into `.choice/SYSTEM/`, and that is a link to the folder of the choice in force, which
//! holds its values and its locks. So a choice is made in one step, and DVC on the same folder sees it. Where nothing was
//! chosen yet the size is `demo`; its folder and empty locks are part of a clone, so that DVC works there before anything
//! ran, and git is told to pass over what becomes of them (`quiet`).

mod differences;
mod held;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Error, Result, durable};
use serde_json::json;

use crate::run_pipeline::content::lock;
use crate::run_pipeline::declare::emit;
use crate::run_pipeline::declare::entries::normal;
use crate::run_pipeline::declare::file;
use crate::run_pipeline::declare::read;
use crate::run_pipeline::declare::sizes::Sizes;
use crate::run_pipeline::declare::tree::Node;
use crate::run_pipeline::graph;
use crate::run_pipeline::quiet;

use self::differences::{changed_outs, move_outs, set};
use self::held::Held;

const FOLDER: &str = ".choice";
const VALUES: &str = "vars.yaml";
/// Size where nothing was chosen.
const DEFAULT: &str = "demo";

/// What was typed.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub size: Option<String>,
    pub sets: Vec<String>,
}

/// A size of one system, and what differs from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// `pipelines/SYSTEM.yaml`, absolute.
    file: PathBuf,
    pub size: String,
    /// `KEY=VALUE`, sorted.
    pub sets: Vec<String>,
}

impl Choice {
    /// The choice that holds for a file of sizes; none where it comes in one size only.
    fn in_force(file: &Path) -> Option<Self> {
        let linked = fs::read_link(file).map(|target| target.starts_with(FOLDER)).unwrap_or(false);
        if !linked && file.exists() {
            return None;
        }
        let sizes = sizes(file);
        let kept = fs::read_to_string(link(file).join("choice.json")).unwrap_or_default();
        let kept: serde_json::Value = serde_json::from_str(&kept).unwrap_or_default();
        let kept_sets = kept["sets"].as_array().into_iter().flatten().filter_map(|s| s.as_str().map(String::from));
        let (size, sets) = match kept["size"].as_str().filter(|size| sizes.iter().any(|known| known == size)) {
            Some(size) => (size.to_owned(), kept_sets.collect()),
            None => (sizes.iter().find(|size| *size == DEFAULT).or(sizes.first())?.clone(), Vec::new()),
        };
        Some(Self { file: file.to_path_buf(), size, sets })
    }

    /// `published`, or `demo+1f2e3d4c` where something differs from the size.
    pub fn name(&self) -> String {
        if self.sets.is_empty() {
            return self.size.clone();
        }
        let hash = blake3::hash(self.sets.join("\n").as_bytes()).to_hex();
        format!("{}+{}", self.size, &hash[..8])
    }

    /// For people: `size demo with a.b=c`.
    pub fn shown(&self) -> String {
        let with = if self.sets.is_empty() { String::new() } else { format!(" with {}", self.sets.join(" ")) };
        format!("size {}{with}", self.size)
    }

    /// Sizes that could be chosen instead.
    pub fn sizes(&self) -> Vec<String> {
        sizes(&self.file)
    }

    fn folder(&self) -> PathBuf {
        let link = link(&self.file);
        let system = link.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        link.with_file_name(format!("{system}@{}", self.name()))
    }

    fn size_file(&self) -> PathBuf {
        self.file.with_extension(format!("{}.yaml", self.size))
    }

    /// The values of the size with what was set, outs where the size has them.
    fn values(&self) -> Result<Node> {
        let file = self.size_file();
        let mut values = read::file(&file, &file)?;
        for entry in &self.sets {
            set(&mut values, entry, &file)?;
        }
        Ok(values)
    }
}

/// The link to the folder of the choice in force.
fn link(file: &Path) -> PathBuf {
    let system = file.file_stem().unwrap_or_default();
    file.with_file_name(FOLDER).join(system)
}

/// Names between `SYSTEM.` and `.yaml` beside the file.
fn sizes(file: &Path) -> Vec<String> {
    let (Some(folder), Some(system)) = (file.parent(), file.file_stem().and_then(|s| s.to_str())) else {
        return Vec::new();
    };
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let size = |name: String| {
        let size = name.strip_prefix(system)?.strip_prefix('.')?.strip_suffix(".yaml")?.to_owned();
        (!size.is_empty() && !size.contains('.')).then_some(size)
    };
    names.filter_map(size).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Names below the folder of a choice of the locks that pipelines beside the file of sizes link to.
fn locks(file: &Path) -> Vec<OsString> {
    let link = link(file);
    let folders = file.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let targets = folders.filter_map(|folder| {
        let target = fs::read_link(folder.path().join(lock::FILE)).ok()?;
        Some(normal(&folder.path().join(target)))
    });
    let own = targets.filter(|target| target.parent() == Some(&link));
    own.filter_map(|target| target.file_name().map(OsString::from)).collect()
}

/// Where the lock of a pipeline that has none yet belongs; none where it comes in one size only.
fn missing_lock(folder: &Path) -> Option<PathBuf> {
    let file = main_file(folder).ok().flatten().filter(|file| file.parent() == folder.parent())?;
    let mut name = folder.file_name()?.to_owned();
    name.push(".lock");
    Some(link(&file).join(name))
}

/// Makes what a clone brings and a copy may lack (a wheel holds no links): the link of the file of sizes, and those of the locks of
/// the pipelines that read it.
fn link_all(file: &Path, link: &Path) -> Result<()> {
    let make = |target: &Path, at: &Path| match symlink(target, at) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(Error::io("linking", at, e)),
        _ => Ok(()),
    };
    let system = Path::new(FOLDER).join(link.file_name().unwrap_or_default());
    make(&system.join(VALUES), file)?;
    for entry in file.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten() {
        let own = entry.path().join(lock::FILE);
        if !entry.path().join(file::FILE).is_file() || fs::symlink_metadata(&own).is_ok() {
            continue;
        }
        if let Some(target) = missing_lock(&entry.path()).filter(|target| target.parent() == Some(link)) {
            make(&Path::new("..").join(&system).join(target.file_name().unwrap_or_default()), &own)?;
        }
    }
    Ok(())
}

/// Makes a link, in the place of what may be there, in one step.
fn relink(target: &Path, link: &Path) -> Result<()> {
    let name = link.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let temporary = link.with_file_name(format!("{name}.tmp-{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    symlink(target, &temporary).map_err(|e| Error::io("linking", &temporary, e))?;
    durable::replace(&temporary, link)
}

/// The choices of one call.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// By file of sizes: what was asked for; all others are as they are in force.
    wanted: BTreeMap<PathBuf, (Choice, Option<Node>)>,
    /// The file of sizes of the pipeline at hand.
    main: Option<PathBuf>,
}

impl Choices {
    /// Finds out what the pipeline in `given` reads, and what was asked for.
    pub fn find(given: &Path, wanted: &Wanted) -> Result<Self> {
        let mut choices = Self { main: main_file(given)?, ..Self::default() };
        if wanted.size.is_none() && wanted.sets.is_empty() {
            let Some(choice) = choices.in_force().filter(|choice| !choice.sets.is_empty()) else { return Ok(choices) };
            return choices.choose(given, choice);
        }
        let Some(mut choice) = choices.in_force() else {
            return Err(Error::usage(format!("`{}` comes in one size only", given.display()))
                .hint("a pipeline that reads `../SYSTEM.yaml` comes in each size that has a `SYSTEM.SIZE.yaml`"));
        };
        if let Some(size) = &wanted.size {
            let known = choice.sizes();
            if !known.contains(size) {
                return Err(Error::usage(format!("`{}` has no size `{size}`", given.display()))
                    .hint(format!("its sizes are {}", known.join(", "))));
            }
            choice.size.clone_from(size);
        }
        choice.sets.clone_from(&wanted.sets);
        choice.sets.sort();
        choice.sets.dedup();
        choices = choices.choose(given, choice)?;
        Ok(choices)
    }

    fn choose(mut self, given: &Path, choice: Choice) -> Result<Self> {
        let file = choice.file.clone();
        let plain = Choice { sets: Vec::new(), ..choice.clone() };
        self.wanted.insert(file.clone(), (plain, None));
        if choice.sets.is_empty() {
            return Ok(self);
        }
        // What the differences change gets outs of its own: stages that differ, and all that follow from them.
        let before = graph::all(given, &self.shared())?.1;
        let mut values = choice.values()?;
        self.wanted.insert(file.clone(), (choice.clone(), Some(values.clone())));
        let after = graph::all(given, &self.shared())?.1;
        move_outs(&mut values, &changed_outs(&before, &after), &choice)?;
        self.wanted.insert(file, (choice, Some(values)));
        Ok(self)
    }

    /// For a pipeline that reads a file of one size itself (`../SYSTEM.SIZE.yaml`): the pipelines beside it in that size as well.
    pub fn of_its_size(mut self, given: &Path) -> Result<Self> {
        if self.main.is_some() {
            return Ok(self);
        }
        for file in vars(given)? {
            let name = file.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.split_once('.'));
            let Some((system, size)) = name else { continue };
            let main = file.with_file_name(format!("{system}.yaml"));
            if let Some(choice) = Choice::in_force(&main) {
                let choice = Choice { size: size.to_owned(), sets: Vec::new(), ..choice };
                self.wanted.insert(main, (choice, None));
            }
        }
        Ok(self)
    }

    /// What holds for the pipeline at hand; none where it comes in one size only.
    pub fn in_force(&self) -> Option<Choice> {
        self.of(self.main.as_ref()?)
    }

    /// For those who read pipelines.
    pub fn shared(&self) -> Arc<dyn Sizes> {
        Arc::new(self.clone())
    }

    fn of(&self, file: &Path) -> Option<Choice> {
        match self.wanted.get(file) {
            Some((choice, _)) => Some(choice.clone()),
            None => Choice::in_force(file),
        }
    }

    /// Puts the choice of the pipeline at hand into force, for as long as the answer lives: nobody else can make another one
    /// meanwhile.
    pub fn enforce(&self) -> Result<Option<File>> {
        let Some(file) = &self.main else { return Ok(None) };
        let Some(choice) = self.of(file) else { return Ok(None) };
        let link = link(file);
        let folder = link.parent().unwrap_or(Path::new("."));
        durable::create_folder(folder)?;
        let ignore = folder.join(".gitignore");
        if !ignore.exists() {
            durable::write(&ignore, b"*\n!.gitignore\n")?;
        }
        link_all(file, &link)?;
        self.link_others(file)?;
        let held = Held::open(&link)?;
        let wanted = choice.folder();
        let target = PathBuf::from(wanted.file_name().unwrap_or_default());
        let switches = fs::read_link(&link).ok().as_ref() != Some(&target);
        if switches {
            held.alone()?;
        }
        self.fill(&choice, &wanted)?;
        quiet::keep(&link);
        if switches {
            relink(&target, &link)?;
        }
        held.shared().map(Some)
    }

    /// DVC reads all pipelines of a repository, so those of other systems get their links with the first run of any.
    fn link_others(&self, file: &Path) -> Result<()> {
        let entries = file.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        let pipelines = entries.map(|entry| entry.path()).filter(|folder| folder.join(file::FILE).is_file());
        let files: BTreeSet<PathBuf> = pipelines.filter_map(|folder| main_file(&folder).ok().flatten()).collect();
        let lacks = |other: &&PathBuf| other.parent() == file.parent() && fs::symlink_metadata(other).is_err();
        for other in files.iter().filter(lacks) {
            let Some(choice) = self.of(other) else { continue };
            let (link, folder) = (link(other), choice.folder());
            link_all(other, &link)?;
            self.fill(&choice, &folder)?;
            if fs::symlink_metadata(&link).is_err() {
                relink(Path::new(folder.file_name().unwrap_or_default()), &link)?;
            }
        }
        Ok(())
    }

    /// The values of a choice, what it is, and at its first use the locks of the size that it differs from.
    fn fill(&self, choice: &Choice, folder: &Path) -> Result<()> {
        durable::create_folder(folder)?;
        let kept = folder.join("choice.json");
        if !kept.exists() && !choice.sets.is_empty() {
            let plain = Choice { sets: Vec::new(), ..choice.clone() };
            for entry in fs::read_dir(plain.folder()).into_iter().flatten().flatten() {
                if entry.path().extension().is_some_and(|e| e == "lock") {
                    let text = fs::read(entry.path()).map_err(|e| Error::io("reading", entry.path(), e))?;
                    durable::write(folder.join(entry.file_name()), &text)?;
                }
            }
        }
        // DVC takes a link that leads nowhere for a broken lock.
        for name in locks(&choice.file) {
            let file = folder.join(name);
            if !file.exists() {
                durable::write(&file, lock::EMPTY.as_bytes())?;
            }
        }
        let file = folder.join(VALUES);
        match self.wanted.get(&choice.file).and_then(|(_, values)| values.as_ref()) {
            Some(values) => {
                let size = choice.size_file();
                let head =
                    format!("# Written by run-pipeline, {}: change `{}` instead.\n", choice.shown(), size.display());
                let text = head + &emit::document(values);
                if fs::read_to_string(&file).ok().as_ref() != Some(&text) {
                    durable::write(&file, text.as_bytes())?;
                }
            }
            None if choice.sets.is_empty() => {
                let target = Path::new("../..").join(choice.size_file().file_name().unwrap_or_default());
                if fs::read_link(&file).ok().as_ref() != Some(&target) {
                    relink(&target, &file)?;
                }
            }
            // Written when this was chosen.
            None => {}
        }
        let text = json!({ "size": choice.size, "sets": choice.sets }).to_string() + "\n";
        if fs::read_to_string(&kept).ok().as_ref() != Some(&text) {
            durable::write(&kept, text.as_bytes())?;
        }
        Ok(())
    }
}

impl Sizes for Choices {
    fn values(&self, file: &Path) -> Option<Result<Node>> {
        let file = normal(file);
        if let Some((_, Some(values))) = self.wanted.get(&file) {
            return Some(Ok(values.clone()));
        }
        let choice = self.of(&file)?;
        if !choice.sets.is_empty() {
            let values = choice.folder().join(VALUES);
            return Some(read::file(&values, &values));
        }
        let size = choice.size_file();
        Some(read::file(&size, &size))
    }

    fn lock(&self, folder: &Path) -> (PathBuf, Option<String>) {
        let own = folder.join(lock::FILE);
        let target = match fs::read_link(&own) {
            Ok(target) => normal(&folder.join(target)),
            // The link is made when the choice comes into force.
            Err(e) if e.kind() == io::ErrorKind::NotFound => match missing_lock(folder) {
                Some(target) => target,
                None => return (own, None),
            },
            Err(_) => return (own, None),
        };
        let file = target.parent().and_then(|link| {
            let system = link.file_name()?.to_str()?;
            let choices = link.parent().filter(|choices| choices.ends_with(FOLDER))?;
            Some(choices.with_file_name(format!("{system}.yaml")))
        });
        match (file.and_then(|file| self.of(&file)), target.file_name()) {
            (Some(choice), Some(name)) => (choice.folder().join(name), Some(choice.name())),
            _ => (own, None),
        }
    }
}

/// The file of sizes among the `vars` of a pipeline.
fn main_file(given: &Path) -> Result<Option<PathBuf>> {
    Ok(vars(given)?.into_iter().find(|file| Choice::in_force(file).is_some()))
}

/// The files among the `vars` of a pipeline.
fn vars(given: &Path) -> Result<Vec<PathBuf>> {
    let (folder, path) = file::place(given)?;
    let root = read::file(&path, &path)?;
    let names = root.get("vars").and_then(Node::as_list).unwrap_or_default().iter().filter_map(Node::as_text);
    Ok(names.map(|name| normal(&folder.join(name.split(':').next().unwrap_or(name)))).collect())
}

/// What `--status` says about the choice.
pub fn status(choice: &Choice) -> String {
    let others: Vec<String> = choice.sizes().into_iter().filter(|size| *size != choice.size).collect();
    let others = if others.is_empty() { String::new() } else { format!("; --size also takes {}", others.join(", ")) };
    format!("{}{others}", choice.shown())
}
