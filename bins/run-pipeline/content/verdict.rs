//! Whether a stage is up to date, and if not, why. Content decides, never the time stamp.

use std::fmt;
use std::path::Path;

use common::Result;

use super::cache::Cache;
use super::hash::{self, Content};
use super::lock::Locked;
use super::md5::Md5;
use super::seen::Seen;
use crate::run_pipeline::declare::emit;
use crate::run_pipeline::declare::entries::{Params, Stage};
use crate::run_pipeline::declare::read;
use crate::run_pipeline::declare::tree::{Kind, Node};

/// Why a stage has to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The lock does not know the stage.
    Never,
    /// Its last run was cut off before it ended.
    CutOff,
    Command,
    Dep(String, Change),
    /// File, key, what.
    Param(String, String, Change),
    Out(String, Change),
    Always,
    /// The lock knows the stage from another machine or clone: none of its outs lies here.
    NotHere,
    /// Neither deps nor outs.
    Callback,
    Forced,
    /// At its smallest, in a scratch folder.
    Rehearsed,
}

/// What happened to a file or value since the stage ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The lock does not name it.
    New,
    Modified,
    /// A value, before and after.
    Value(String, String),
    Deleted,
    NotInCache,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => write!(f, "new"),
            Self::Modified => write!(f, "modified"),
            Self::Value(before, after) => write!(f, "modified ({before} -> {after})"),
            Self::Deleted => write!(f, "deleted"),
            Self::NotInCache => write!(f, "not in cache"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => write!(f, "never ran"),
            Self::CutOff => write!(f, "its last run did not finish"),
            Self::Command => write!(f, "command changed"),
            Self::Dep(path, change) => write!(f, "dep `{path}` {change}"),
            Self::Param(file, key, change) => write!(f, "param `{key}` of `{file}` {change}"),
            Self::Out(path, change) => write!(f, "out `{path}` {change}"),
            Self::Always => write!(f, "always runs"),
            Self::NotHere => write!(f, "never ran here"),
            Self::Callback => write!(f, "has neither deps nor outs"),
            Self::Forced => write!(f, "forced"),
            Self::Rehearsed => write!(f, "rehearsal"),
        }
    }
}

/// The state of a stage on the disk.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Empty: up to date.
    pub reasons: Vec<Reason>,
    /// What was found of each dep, in the order of the stage.
    pub deps: Vec<Option<Content>>,
    /// Values of each file of parameters.
    pub params: Vec<Vec<(String, Node)>>,
}

impl Verdict {
    pub fn is_fresh(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// Compares the disk with the lock. A stage that the lock does not know is only looked at when `all`, which a caller
/// asks for that is about to run it.
pub fn check(stage: &Stage, locked: Option<Locked>, seen: &Seen, cache: Option<&Cache>, all: bool) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    if locked.is_none() {
        verdict.reasons.push(Reason::Never);
        if !all {
            return Ok(verdict);
        }
    }
    for dep in &stage.deps {
        verdict.deps.push(hash::content(&dep.file, seen)?);
    }
    for params in &stage.params {
        verdict.params.push(values(params)?.unwrap_or_default());
    }
    let Some(locked) = locked else { return Ok(verdict) };
    let reasons = &mut verdict.reasons;
    if !locked.cmd().is_some_and(|cmd| cmd.same(&stage.cmd)) {
        reasons.push(Reason::Command);
    }
    if !stage.frozen {
        if stage.is_callback() {
            reasons.push(Reason::Callback);
        }
        if stage.always_changed {
            reasons.push(Reason::Always);
        }
        for (dep, found) in stage.deps.iter().zip(&verdict.deps) {
            let change = match (found, locked.dep(&dep.path)) {
                (None, _) => Change::Deleted,
                (Some(_), None) => Change::New,
                (Some(found), Some(md5)) if !agrees(found, &md5, &dep.file, seen)? => Change::Modified,
                _ => continue,
            };
            reasons.push(Reason::Dep(dep.path.clone(), change));
        }
        for (params, found) in stage.params.iter().zip(&verdict.params) {
            compare_params(params, found, locked.params(&params.path), reasons);
        }
    }
    for out in &stage.outs {
        let md5 = locked.out(&out.path);
        let in_cache = |md5: &Md5| !out.cache || cache.is_none_or(|cache| cache.holds(md5));
        let change = match &md5 {
            Some(md5) if !in_cache(md5) => Change::NotInCache,
            _ => match (hash::content(&out.file, seen)?, &md5) {
                (None, _) => Change::Deleted,
                (Some(_), None) => Change::New,
                (Some(found), Some(md5)) if !agrees(&found, md5, &out.file, seen)? => Change::Modified,
                _ => continue,
            },
        };
        reasons.push(Reason::Out(out.path.clone(), change));
    }
    Ok(verdict)
}

/// True where a file is what the lock says, by the hash of DVC 2 where the lock has one.
fn agrees(found: &Content, locked: &Md5, file: &Path, seen: &Seen) -> Result<bool> {
    Ok(found.md5 == locked.text || (locked.legacy && hash::legacy(file, seen)?.as_ref() == Some(&locked.text)))
}

impl Verdict {
    /// Says `never ran here` of a stage that the lock knows, of which nothing lies here: a fresh clone.
    pub fn of_a_fresh_clone(&mut self, stage: &Stage) {
        let gone = |reason: &Reason| matches!(reason, Reason::Out(_, Change::Deleted | Change::NotInCache));
        let all_gone = !stage.outs.is_empty() && stage.outs.iter().all(|out| !out.file.exists());
        if all_gone && self.reasons.iter().any(gone) {
            self.reasons.retain(|reason| !gone(reason));
            self.reasons.insert(0, Reason::NotHere);
        }
    }
}

fn compare_params(params: &Params, found: &[(String, Node)], locked: Option<&Node>, reasons: &mut Vec<Reason>) {
    let mut push = |key: &str, change| reasons.push(Reason::Param(params.path.clone(), key.into(), change));
    let known = locked.and_then(Node::as_map).unwrap_or_default();
    let mut keys: Vec<&str> = params.keys.iter().map(|(key, _)| key.as_str()).collect();
    if keys.is_empty() {
        keys = found.iter().map(|(key, _)| key.as_str()).collect();
        keys.extend(known.iter().map(|(k, _)| k.name.as_str()).filter(|k| !found.iter().any(|(f, _)| f == k)));
        if locked.is_none() {
            push("(all)", Change::New);
            return;
        }
    }
    for key in keys {
        let now = found.iter().find(|(k, _)| k == key).map(|(_, value)| value);
        let then = known.iter().find(|(k, _)| k.name == key).map(|(_, value)| value);
        match (now, then) {
            (None, _) => push(key, Change::Deleted),
            (Some(_), None) => push(key, Change::New),
            (Some(now), Some(then)) if !now.same(then) => push(key, Change::Value(short(then), short(now))),
            _ => {}
        }
    }
}

fn short(node: &Node) -> String {
    match &node.kind {
        Kind::List(_) | Kind::Map(_) => node.describe().into(),
        Kind::Text(text) => emit::scalar(text),
        _ => crate::run_pipeline::declare::text::python(node),
    }
}

/// The values of the parameters that a stage names; none where the file does not exist. Keys that the file lacks are
/// left out.
pub fn values(params: &Params) -> Result<Option<Vec<(String, Node)>>> {
    if !params.file.is_file() {
        return Ok(None);
    }
    let root = read::file(&params.file, &params.file)?;
    if params.keys.is_empty() {
        let all = root.as_map().unwrap_or_default();
        return Ok(Some(all.iter().map(|(key, value)| (key.name.clone(), value.clone())).collect()));
    }
    let found = params.keys.iter().filter_map(|(key, _)| Some((key.clone(), walk(&root, key)?.clone())));
    Ok(Some(found.collect()))
}

/// The value at a dotted key; list positions are numbers.
fn walk<'a>(root: &'a Node, key: &str) -> Option<&'a Node> {
    key.split('.').try_fold(root, |node, part| match &node.kind {
        Kind::Map(_) => node.get(part),
        Kind::List(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}
