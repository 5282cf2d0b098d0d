//! What the files of one event do not agree in. Each of them is read by itself, so one that was cut off, or is that of
//! another event, only shows in what the others lack.

use std::collections::HashSet;
use std::path::Path;

use crate::blacklist::Blacklist;
use crate::event::{Hits, Particles, Places};

/// Rows of an event's files that fit no other file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Hits without a row in the truth.
    pub hits_without_truth: usize,
    /// Rows of the truth whose hit is not among the hits.
    pub truth_without_hit: usize,
    /// Rows of the truth whose particle, which is no noise, is not among the particles.
    pub truth_without_particle: usize,
    /// Whether a blacklist names particles or hits, and none of them is in the event.
    pub foreign_blacklist: bool,
}

impl Gaps {
    /// Compares the files of an event, whose ids are unique in each.
    pub fn of(hits: &Hits, particles: &Particles, truth: (&[i32], &[i64]), blacklist: &Blacklist) -> Self {
        let Ok(places) = Places::of(&hits.hit_id, Path::new("")) else { return Self::default() };
        let both = truth.0.iter().filter(|id| places.get(**id).is_some()).count();
        let listed: HashSet<i64> = particles.particle_id.iter().copied().collect();
        Self {
            hits_without_truth: hits.len() - both.min(hits.len()),
            truth_without_hit: truth.0.len() - both,
            truth_without_particle: truth.1.iter().filter(|id| **id != 0 && !listed.contains(id)).count(),
            foreign_blacklist: !blacklist.is_empty()
                && !hits.hit_id.iter().any(|id| blacklist.has_hit(*id))
                && !particles.particle_id.iter().any(|id| blacklist.has_particle(*id)),
        }
    }

    /// What is to be said of them; nothing where all files agree.
    pub fn told(&self) -> Vec<String> {
        let counts = [
            (self.hits_without_truth, "hits have no row in the truth"),
            (self.truth_without_hit, "rows of the truth are of hits that the hits file lacks"),
            (self.truth_without_particle, "rows of the truth are of particles that the particles file lacks"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let foreign = self.foreign_blacklist.then(|| "nothing of its blacklist is in it".to_string());
        counts.chain(foreign).collect()
    }
}

/// Says of which events files do not agree: `events` are their names with what is told of them.
pub fn warn(events: &[(String, Vec<String>)], made: &str) {
    if let Some((first, told)) = events.first() {
        tracing::warn!(
            "files of {} events do not belong together or are cut off, `{first}` first: {}; {made}",
            events.len(),
            told.join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_file_has_and_another_lacks_is_counted() {
        let hits = Hits { hit_id: vec![1, 2, 3], ..Hits::default() };
        let particles = Particles { particle_id: vec![7], ..Particles::default() };
        let none = Blacklist::default();
        assert!(Gaps::of(&hits, &particles, (&[1, 2, 3], &[7, 0, 7]), &none).told().is_empty());
        let gaps = Gaps::of(&hits, &particles, (&[1, 2, 9], &[7, 8, 8]), &none);
        let expected =
            Gaps { hits_without_truth: 1, truth_without_hit: 1, truth_without_particle: 2, ..Gaps::default() };
        assert_eq!(gaps, expected);
        assert_eq!(gaps.told().len(), 3);
    }
}
