//! `score` for TrackNET: a submission against the truth of its events.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use common::{Error, Result};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use crate::event::{self, Hits, Particles, Truth};
use crate::figures::{Counts, Figures, figures};
use crate::tracker::helix::fit_pt;
use crate::trackml::{self, Submission};
use crate::tracks::Filters;

/// Tracks and particles above this transverse momentum (GeV/c) get a row of their own.
pub const HIGH_PT: f64 = 1.0;
/// Shares that a match must exceed: TrackML, and the papers of BM@N and SPD.
pub const THRESHOLDS: [f64; 2] = [0.5, 0.7];

/// Everything that is known of a submission.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Mean TrackML score of the events.
    pub trackml: f64,
    /// Score of each event.
    pub events: Vec<(i64, f64)>,
    /// Figures at each threshold, summed over events.
    pub figures: Vec<(f64, Figures)>,
}

/// Judges all events of a submission against those of `truth`, prefixes of events.
///
/// # Errors
/// [`Error::Input`] where an event of the submission has no truth or one of the truth is not in the submission.
pub fn judge(path: &Path, truth: &[PathBuf]) -> Result<Judgement> {
    let read = trackml::read_submission(path)?;
    let mut by_number: HashMap<i64, &PathBuf> = HashMap::new();
    for prefix in truth {
        by_number.insert(event::number(prefix)?, prefix);
    }
    let mut pairs = Vec::new();
    for (number, submission) in &read {
        // A file without the column `event_id` is of the only event.
        let number = if *number < 0 && truth.len() == 1 { event::number(&truth[0])? } else { *number };
        let prefix = by_number.get(&number).ok_or_else(|| {
            Error::input(path, format!("has the event {number}, of which there is no truth"))
                .hint("`--truth` takes the folder with `event*-{hits,particles,truth}.csv` of the same events")
        })?;
        pairs.push((number, *prefix, submission));
    }
    if pairs.is_empty() {
        return Err(Error::input(path, "holds no rows"));
    }
    if pairs.len() < truth.len() {
        tracing::warn!(
            "`{}` has {} of the {} events of the truth: only those are scored",
            path.display(),
            pairs.len(),
            truth.len()
        );
    }
    let each = pairs
        .into_par_iter()
        .map(|(number, prefix, submission)| one(number, prefix, submission))
        .collect::<Result<Vec<_>>>()?;
    let mut all = Judgement { figures: THRESHOLDS.map(|t| (t, Figures::default())).to_vec(), ..Judgement::default() };
    for (number, score, at) in each {
        all.events.push((number, score));
        for ((_, sum), figures) in all.figures.iter_mut().zip(at) {
            add(sum, &figures);
        }
    }
    all.trackml = all.events.iter().map(|(_, s)| s).sum::<f64>() / all.events.len() as f64;
    Ok(all)
}

fn one(number: i64, prefix: &Path, submission: &Submission) -> Result<(i64, f64, Vec<Figures>)> {
    let (hits, particles, truth) = (Hits::read(prefix)?, Particles::read(prefix)?, Truth::read(prefix)?);
    let (score, _) = trackml::score(&truth, submission)?;
    let place: HashMap<i32, usize> = hits.hit_id.iter().enumerate().map(|(i, &hit)| (hit, i)).collect();
    let mut points: HashMap<i64, Vec<[f32; 3]>> = HashMap::new();
    for (hit, track) in submission.hit_id.iter().zip(&submission.track_id).filter(|(_, t)| **t > 0) {
        if let Some(&i) = place.get(hit) {
            points.entry(*track).or_default().push(hits.xyz[i]);
        }
    }
    let estimate = |track: i64| points.get(&track).and_then(|points| fit_pt(points));
    let path = event::part(prefix, "hits")?;
    let at = THRESHOLDS
        .iter()
        .map(|&threshold| {
            let tables = (&hits, &particles, &truth);
            figures(tables, submission, &Filters::published(), threshold, &path, (&estimate, HIGH_PT))
        })
        .collect::<Result<_>>()?;
    Ok((number, score, at))
}

fn add(sum: &mut Figures, more: &Figures) {
    sum.all += more.all;
    sum.high_pt += more.high_pt;
    for (sum, more) in
        [(&mut sum.by_pt, &more.by_pt), (&mut sum.by_eta, &more.by_eta), (&mut sum.by_hits, &more.by_hits)]
    {
        if sum.is_empty() {
            sum.clone_from(more);
        } else {
            sum.iter_mut().zip(more).for_each(|(a, b)| a.1 += b.1);
        }
    }
}

/// NaN, of nothing, is no JSON.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { Value::Null }
}

fn counts(c: &Counts) -> Value {
    json!({
        "reconstructible": c.reconstructible,
        "found": c.found,
        "efficiency": number(c.efficiency()),
        "tracks": c.tracks,
        "matched": c.matched,
        "purity": number(c.purity()),
        "clone_rate": number(c.clone_rate()),
        "ghost_rate": number(c.ghost_rate()),
        "mean_hit_purity": number(c.mean_hit_purity()),
    })
}

impl Judgement {
    /// As JSON.
    pub fn json(&self) -> Value {
        let classes = |list: &[(String, Counts)]| -> Map<String, Value> {
            let entry = |(name, c): &(String, Counts)| {
                let value = json!({
                    "reconstructible": c.reconstructible, "found": c.found, "efficiency": number(c.efficiency()),
                });
                (name.clone(), value)
            };
            list.iter().map(entry).collect()
        };
        let at = |figures: &Figures| {
            json!({
                "all": counts(&figures.all),
                "tracks_above_1_gev": counts(&figures.high_pt),
                "by_pt": classes(&figures.by_pt),
                "by_eta": classes(&figures.by_eta),
                "by_hits": classes(&figures.by_hits),
            })
        };
        let thresholds: Map<String, Value> = self.figures.iter().map(|(t, f)| (t.to_string(), at(f))).collect();
        let events: Map<String, Value> = self.events.iter().map(|(n, s)| (n.to_string(), json!(s))).collect();
        json!({ "metric": "trackml", "trackml_score": self.trackml, "thresholds": thresholds, "events": events })
    }

    /// As a table for people.
    pub fn table(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("TrackML score {:.4} ({} events)", self.trackml, self.events.len());
        for (threshold, figures) in &self.figures {
            for (name, c) in [("all tracks", &figures.all), ("estimated pT >= 1 GeV/c", &figures.high_pt)] {
                let _ = write!(
                    text,
                    "\nthreshold {threshold}, {name}: efficiency {:.4} ({} of {}), purity {:.4} ({} of {}), clones {:.4}, ghosts {:.4}, hit purity {:.4}",
                    c.efficiency(),
                    c.found,
                    c.reconstructible,
                    c.purity(),
                    c.matched,
                    c.tracks,
                    c.clone_rate(),
                    c.ghost_rate(),
                    c.mean_hit_purity()
                );
            }
        }
        if let Some((threshold, figures)) = self.figures.first() {
            for (name, classes) in [("pT", &figures.by_pt), ("eta", &figures.by_eta), ("hits", &figures.by_hits)] {
                let _ = write!(text, "\nefficiency by {name} (threshold {threshold}):");
                for (class, c) in classes.iter().filter(|(_, c)| c.reconstructible > 0) {
                    let _ = write!(text, "  {class}: {:.3}", c.efficiency());
                }
            }
        }
        text
    }
}
