//! `score` for TrackNET: a submission against the truth of its events.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use common::{Error, Result};
use rayon::prelude::*;

use crate::blacklist::Blacklist;
use crate::cuts::{Cuts, Missing};
use crate::event::{self, Hits, Particles, Truth};
use crate::figures::{Comparison, Figures, Rule};
use crate::files;
use crate::gaps::{self, Gaps};
use crate::submission::{self, Submission};
use crate::trackml::{self, Phase};

pub use crate::judgement::Judgement;

/// The events whose truth a path leads to: a folder or a zip archive of events, or one truth file. None where it is
/// something else.
///
/// # Errors
/// [`Error::Input`] for events without truth.
pub fn truth_at(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    let own = files::prefixes(&[path.to_path_buf()], "truth");
    if path.is_file() && !own.is_empty() {
        return Ok(Some(own));
    }
    if !(path.is_dir() || common::store::archive::is_zip(path)) || path.join(common::stage::MANIFEST).exists() {
        return Ok(None);
    }
    let names = files::names(path)?;
    let (truth, hits) = (files::prefixes(&names, "truth"), files::prefixes(&names, "hits"));
    let acts = match hits.first() {
        Some(first) if truth.is_empty() => event::knows_particles(first)?,
        _ => false,
    };
    if acts {
        return Ok(Some(hits));
    }
    if truth.is_empty() {
        return match hits.first() {
            None => Ok(None),
            Some(_) => Err(Error::input(path, "holds events without truth: there is no `event*-truth.csv`")
                .hint("test events have none; `--truth` takes the folder of training events")),
        };
    }
    let without: Vec<&PathBuf> = hits.iter().filter(|prefix| truth.binary_search(prefix).is_err()).collect();
    if let Some(first) = without.first() {
        tracing::warn!(
            "{} events of `{}` have no truth and are not scored, `{}` first",
            without.len(),
            path.display(),
            first.display()
        );
    }
    Ok(Some(truth))
}

/// Judges the first `limit` events of `truth` (prefixes of events).
///
/// # Errors
/// [`Error::Input`] where the submission has an event or a hit that the truth has not, lacks the column `event_id` that
/// several events need, or lacks events while [`Cuts::missing_events`] refuses that.
pub fn judge(path: &Path, truth: &[PathBuf], cuts: &Cuts, limit: Option<u64>) -> Result<Judgement> {
    files::demand_distinct(truth)?;
    let read = submission::read_submission(path)?;
    if read.is_empty() {
        return Err(Error::input(path, "holds no rows"));
    }
    let numbers = truth.iter().map(|prefix| event::number(prefix)).collect::<Result<Vec<_>>>()?;
    let known: HashSet<i64> = numbers.iter().copied().collect();
    let mut submitted: HashMap<i64, Submission> = HashMap::new();
    for (number, submission) in read {
        let number = match (number, numbers.as_slice()) {
            (..0, [only]) => *only,
            (..0, _) => {
                let problem = format!("has no column `event_id`, but the truth has {} events", truth.len());
                return Err(Error::input(path, problem).hint("the header is `event_id,hit_id,track_id`"));
            }
            (number, _) => number,
        };
        if !known.contains(&number) {
            return Err(Error::input(path, format!("has the event {number}, of which there is no truth"))
                .hint("`--truth` takes the folder with `event*-{hits,particles,truth}.csv` of the same events"));
        }
        submitted.insert(number, submission);
    }
    let events = limit.map_or(truth.len(), |n| truth.len().min(usize::try_from(n).unwrap_or(usize::MAX)));
    let missing: Vec<i64> = numbers[..events].iter().copied().filter(|n| !submitted.contains_key(n)).collect();
    if let Some(first) = missing.first() {
        let lacks = format!("lacks {} of the {events} events of the truth, event {first} first", missing.len());
        if cuts.missing_events == Missing::Refuse {
            return Err(Error::input(path, lacks).hint("`missing_events=zero` counts them as 0"));
        }
        tracing::warn!("`{}` {lacks}: they count as 0", path.display());
    }
    let nothing = Submission::default();
    let each = (0..events)
        .into_par_iter()
        .map(|i| one(path, numbers[i], &truth[i], submitted.get(&numbers[i]).unwrap_or(&nothing), cuts))
        .collect::<Result<Vec<_>>>()?;
    let odd: Vec<(String, Vec<String>)> = each
        .iter()
        .zip(truth)
        .filter(|(event, _)| !event.odd.is_empty())
        .map(|(event, prefix)| (prefix.display().to_string(), event.odd.clone()))
        .collect();
    gaps::warn(&odd, "figures of these events are not to be trusted");
    let mut all = Judgement::new(cuts.clone(), missing);
    each.into_iter().for_each(|event| all.add(event));
    all.warn(path);
    Ok(all)
}

/// What is known of one event.
pub(crate) struct Judged {
    pub number: i64,
    pub score: f64,
    /// Figures of each rule; none where the event has no hits or particles file.
    pub figures: Option<Vec<Figures>>,
    pub missing_hits: u64,
    pub short_tracks: u64,
    /// What the event's files do not agree in.
    pub odd: Vec<String>,
}

fn one(path: &Path, number: i64, prefix: &Path, submission: &Submission, cuts: &Cuts) -> Result<Judged> {
    let mut truth = Truth::read(prefix)?;
    let hits = event::part_if_there(prefix, "hits")?.map(|_| Hits::read(prefix)).transpose()?;
    let particles = event::has_particles(prefix)?.then(|| Particles::read(prefix)).transpose()?;
    let known: HashSet<i32> = hits.as_ref().map_or(&truth.hit_id, |hits| &hits.hit_id).iter().copied().collect();
    if let Some(hit) = submission.hit_id.iter().find(|hit| !known.contains(hit)) {
        let problem = format!("event {number}: has the hit {hit}, which the event has not");
        return Err(Error::input(path, problem).hint(format!("hit ids are those of `{}-hits.csv`", prefix.display())));
    }
    if truth.weight.iter().any(|w| w.is_nan())
        && let Some(particles) = &particles
        && truth.position.iter().chain(&particles.vertex).all(|p| p.iter().all(|v| v.is_finite()))
    {
        // A truth without weights gets those of the first phase, which need no more than it has.
        let weights = trackml::weights(&truth, particles, Phase::One, prefix)?;
        truth.weight = weights.into_iter().map(|w| w as f32).collect();
    }
    let (score, _) = trackml::score(&truth, submission)?;
    let submitted: HashSet<i32> = submission.hit_id.iter().copied().collect();
    let absent = truth.hit_id.iter().filter(|hit| !submitted.contains(hit)).count() as u64;
    let mut judged = Judged { number, score, figures: None, missing_hits: absent, short_tracks: 0, odd: vec![] };
    if let (Some(hits), Some(particles)) = (&hits, &particles) {
        if !event::knows_particles(prefix)? {
            let none = Blacklist::default();
            judged.odd = Gaps::of(hits, particles, (&truth.hit_id, &truth.particle_id), &none).told();
        }
        let file = event::part(prefix, "hits")?;
        let comparison = Comparison::new((hits, particles, &truth), submission, cuts, &file)?;
        judged.short_tracks = comparison.short;
        judged.figures = Some(Rule::ALL.iter().map(|rule| comparison.count(*rule, cuts)).collect());
    }
    Ok(judged)
}
