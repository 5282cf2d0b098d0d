//! What is known of a submission, as JSON and as a table.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::classes::{Classes, interval};
use crate::cuts::Cuts;
use crate::figures::{Counts, Figures, Rule};
use crate::judge::Judged;

/// Everything that is known of a submission.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Mean TrackML score of the events that have one; NaN where none has.
    pub trackml: f64,
    /// Score of each event.
    pub events: Vec<(i64, f64)>,
    /// Figures by each rule, summed over the events that have hits and particles.
    pub figures: Vec<(Rule, Figures)>,
    /// What was counted how.
    pub cuts: Cuts,
    /// Events of the truth that the submission lacks; they count as if nothing had been found.
    pub missing_events: Vec<i64>,
    /// Hits of the truth that the submission lacks, in events that it has.
    pub missing_hits: u64,
    /// Tracks that are too short to be any.
    pub short_tracks: u64,
    /// Events without a hits or particles file, of which there is a score alone.
    pub without_figures: u64,
}

impl Judgement {
    pub(crate) fn new(cuts: Cuts, missing_events: Vec<i64>) -> Self {
        let figures = Rule::ALL.map(|rule| (rule, Figures::default())).to_vec();
        Self { trackml: f64::NAN, figures, cuts, missing_events, ..Self::default() }
    }

    pub(crate) fn add(&mut self, event: Judged) {
        if !self.missing_events.contains(&event.number) {
            self.missing_hits += event.missing_hits;
        }
        self.events.push((event.number, event.score));
        let known = self.events.iter().map(|(_, score)| *score).filter(|score| score.is_finite());
        self.trackml = known.clone().sum::<f64>() / known.count() as f64;
        self.short_tracks += event.short_tracks;
        match event.figures {
            Some(figures) => self.figures.iter_mut().zip(&figures).for_each(|((_, sum), more)| *sum += more),
            None => self.without_figures += 1,
        }
    }

    /// Says what a reader of the figures would miss.
    pub(crate) fn warn(&self, path: &Path) {
        let path = path.display();
        if self.missing_hits > 0 {
            tracing::warn!("`{path}` lacks {} hits of the truth: each counts as a track of its own", self.missing_hits);
        }
        if self.without_figures > 0 {
            tracing::warn!(
                "{} of {} events have no `-hits.csv` or no `-particles.csv`: there is no efficiency or purity of them",
                self.without_figures,
                self.events.len()
            );
        }
        let undefined = self.events.iter().filter(|(_, score)| score.is_nan()).count();
        if undefined > 0 {
            tracing::warn!(
                "{undefined} of {} events have no TrackML score: their truth has no column `weight`, or all weights are 0",
                self.events.len()
            );
        }
        let none = self.figures.first().is_some_and(|(_, f)| f.all.reconstructible == 0);
        if none && self.without_figures < self.events.len() as u64 {
            tracing::warn!(
                "no particle passes the cuts, so there is no efficiency: `min_pt`, `first_layers` and so on"
            );
        }
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let at = |figures: &Figures| {
            let mut value = json!({
                "all": counts(&figures.all),
                "tracks_above_1_gev": counts(&figures.high_pt),
            });
            for list in &figures.classes {
                value[format!("by_{}", list.variable.name())] = json!(classes(list));
            }
            value
        };
        let (mut thresholds, mut rules) = (Map::new(), Map::new());
        if self.without_figures < self.events.len() as u64 {
            for (rule, figures) in &self.figures {
                match rule {
                    Rule::Double(share) => thresholds.insert(share.to_string(), at(figures)),
                    other => rules.insert(other.name(), at(figures)),
                };
            }
        }
        let events: Map<String, Value> = self.events.iter().map(|(n, s)| (n.to_string(), number(*s))).collect();
        json!({
            "metric": "trackml", "trackml_score": number(self.trackml), "matching": "double majority on hits",
            "thresholds": thresholds, "rules": rules, "intervals": "Wilson, 68.27 %", "cuts": self.cuts, "events": events,
            "truth_events": self.events.len(), "missing_events": self.missing_events, "missing_hits": self.missing_hits,
            "short_tracks": self.short_tracks, "events_without_figures": self.without_figures,
        })
    }

    /// As a table for people.
    pub fn table(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("TrackML score {:.4} ({} events)", self.trackml, self.events.len());
        if self.without_figures == self.events.len() as u64 {
            return text;
        }
        for (rule, figures) in &self.figures {
            for (name, c) in [("all tracks", &figures.all), ("estimated pT >= 1 GeV/c", &figures.high_pt)] {
                let (low, high) = interval(c.found, c.reconstructible);
                let _ = write!(
                    text,
                    "\n{}, {name}: efficiency {:.4} [{low:.4}, {high:.4}] ({} of {}), purity {:.4} ({} of {}), clones {:.4}, ghosts {:.4}, hit purity {:.4}",
                    rule.name(),
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
        if let Some((rule, figures)) = self.figures.first() {
            for list in &figures.classes {
                let _ = write!(text, "\nefficiency by {} ({}):", list.variable.label(), rule.name());
                for ((from, to), c) in list.iter().filter(|(_, c)| c.reconstructible > 0) {
                    let _ = write!(text, "  {from}..{to}: {:.3}", c.efficiency());
                }
            }
        }
        text
    }

    /// Efficiency, fake and duplicate rate of every class of every variable by every rule, as csv.
    pub fn csv(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::from(
            "rule,variable,from,to,reconstructible,found,efficiency,efficiency_low,efficiency_high,tracks,matched,\
             fake_rate,fake_low,fake_high,clones,duplicate_rate,duplicate_low,duplicate_high\n",
        );
        for (rule, figures) in &self.figures {
            for list in &figures.classes {
                for ((from, to), c) in list.iter() {
                    let fakes = c.tracks - c.matched;
                    let (e, f, d) =
                        (interval(c.found, c.reconstructible), interval(fakes, c.tracks), interval(c.clones, c.tracks));
                    let _ = writeln!(
                        text,
                        "{},{},{from},{to},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
                        rule.name(),
                        list.variable.name(),
                        c.reconstructible,
                        c.found,
                        c.efficiency(),
                        e.0,
                        e.1,
                        c.tracks,
                        c.matched,
                        c.ghost_rate(),
                        f.0,
                        f.1,
                        c.clones,
                        c.clone_rate(),
                        d.0,
                        d.1
                    );
                }
            }
        }
        text
    }
}

/// NaN, of nothing, is no JSON.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { Value::Null }
}

fn counts(c: &Counts) -> Value {
    let (low, high) = interval(c.found, c.reconstructible);
    let ((fake_low, fake_high), (clone_low, clone_high)) =
        (interval(c.tracks - c.matched, c.tracks), interval(c.clones, c.tracks));
    json!({
        "reconstructible": c.reconstructible,
        "found": c.found,
        "efficiency": number(c.efficiency()),
        "efficiency_low": number(low),
        "efficiency_high": number(high),
        "tracks": c.tracks,
        "matched": c.matched,
        "purity": number(c.purity()),
        "clone_rate": number(c.clone_rate()),
        "clone_low": number(clone_low),
        "clone_high": number(clone_high),
        "ghost_rate": number(c.ghost_rate()),
        "ghost_low": number(fake_low),
        "ghost_high": number(fake_high),
        "mean_hit_purity": number(c.mean_hit_purity()),
    })
}

fn classes(list: &Classes) -> Map<String, Value> {
    list.iter().map(|((from, to), c)| (format!("{from}..{to}"), counts(c))).collect()
}
