//! `--dry-run` and `--explain`: what would run, and why.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use common::Result;
use serde::Serialize;

use crate::run_pipeline::content::cache::Cache;
use crate::run_pipeline::content::seen::Seen;
use crate::run_pipeline::content::verdict::{self, Reason};
use crate::run_pipeline::graph::Project;
use crate::run_pipeline::run::missing;
use crate::run_pipeline::state::State;

/// A stage and what would become of it.
#[derive(Debug, Serialize)]
pub struct Planned {
    pub stage: String,
    /// `run`, `blocked` (an input is not there, and no stage makes it), `maybe` (a stage before it runs and may change its deps), `verify` (frozen: what lies there would be taken
    /// into the lock), or `unchanged`.
    pub state: &'static str,
    pub reasons: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desc: Option<String>,
    pub commands: Vec<String>,
}

/// Looks at all stages in order. Nothing is written.
pub fn plan(project: &Project, forced: &[bool]) -> Result<Vec<Planned>> {
    let seen = Seen::of(&project.homes[0].folder);
    let mut homes = HashMap::new();
    let mut planned: Vec<Planned> = Vec::new();
    for (index, unit) in project.units.iter().enumerate() {
        let (lock, cache, cut_off) = match homes.entry(unit.home) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let home = &project.homes[unit.home];
                let cut_off = State::cut_off(&home.folder, home.choice.as_deref());
                place.insert((home.read_lock()?, Cache::find(&home.folder), cut_off))
            }
        };
        let name = &unit.stage.name;
        let mut found = verdict::check(&unit.stage, lock.stage(name), &seen, cache.as_ref(), false)?;
        if !State::ever_ran(&project.homes[unit.home].folder, name) {
            found.of_a_fresh_clone(&unit.stage);
        }
        let mut reasons = found.reasons;
        if cut_off.contains(name) {
            reasons.insert(0, Reason::CutOff);
        }
        if forced[index] {
            reasons.insert(0, Reason::Forced);
        }
        let before: Vec<String> = unit
            .upstream
            .iter()
            .filter(|&&up| planned[up].state != "unchanged")
            .map(|&up| format!("`{}`", planned[up].stage))
            .collect();
        let mut why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let lacks = if unit.stage.frozen { None } else { missing::of(unit, &project.units) };
        if let Some(lacks) = &lacks {
            why.insert(0, lacks.sentence.clone());
        }
        let state = match (why.is_empty(), before.is_empty()) {
            _ if lacks.is_some() => "blocked",
            (false, _) if unit.stage.frozen => "verify",
            (false, _) => "run",
            (true, false) => {
                why.push(format!("if {} changes what it reads", before.join(" or ")));
                "maybe"
            }
            (true, true) => "unchanged",
        };
        planned.push(Planned {
            stage: unit.title.clone(),
            state,
            reasons: why,
            desc: unit.stage.desc.clone(),
            commands: unit.stage.commands.clone(),
        });
    }
    Ok(planned)
}

/// The plan as text; with `all` also the stages that are up to date, and the commands.
pub fn text(planned: &[Planned], all: bool) -> String {
    let mut lines = Vec::new();
    for stage in planned {
        match stage.state {
            "unchanged" if !all => {}
            "unchanged" => lines.push(format!("{}: unchanged", stage.stage)),
            state => {
                let verb = match state {
                    "run" => "would run",
                    "blocked" => "cannot run",
                    "verify" => "frozen, would be verified",
                    _ => "may run",
                };
                lines.push(format!("{}: {verb}: {}", stage.stage, stage.reasons.join("; ")));
                if all {
                    lines.extend(stage.desc.iter().map(|desc| format!("  # {desc}")));
                    lines.extend(stage.commands.iter().map(|command| format!("  $ {command}")));
                }
            }
        }
    }
    if lines.is_empty() {
        lines.push(format!("nothing to run: all {} stages are up to date", planned.len()));
    }
    lines.join("\n")
}
