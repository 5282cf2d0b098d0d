//! How many labels it takes: scores over the number of labelled events that a training or a probe had.

use std::collections::BTreeSet;

use serde_json::Value;

/// Figure of a training, of its predictions and of a probe: the events whose labels it learned from.
pub const TRAIN_EVENTS: &str = "train_events";
/// Figure beside it: what learned.
pub const LEARNS: &str = "learns";
/// How many labels it takes: mean F1 by what learned and from how many labelled events.
pub(crate) struct Labels {
    /// By what learned, each with its events and figures, fewest events first.
    pub(crate) curves: Vec<(String, Vec<(u64, f64)>)>,
}

impl Labels {
    pub(crate) fn of<'r>(reports: impl Iterator<Item = &'r Value>) -> Self {
        let mut curves: Vec<(String, Vec<(u64, f64)>)> = vec![];
        for report in reports {
            let known = (report[LEARNS].as_str(), report[TRAIN_EVENTS].as_u64(), report["f1_mean"].as_f64());
            let (Some(learns), Some(events), Some(f1)) = known else { continue };
            match curves.iter_mut().find(|(name, _)| name == learns) {
                Some((_, points)) => points.push((events, f1)),
                None => curves.push((learns.into(), vec![(events, f1)])),
            }
        }
        curves.iter_mut().for_each(|(_, points)| points.sort_by_key(|(events, _)| *events));
        Self { curves }
    }

    /// Numbers of events of all curves; a curve over them needs two.
    pub(crate) fn events(&self) -> BTreeSet<u64> {
        self.curves.iter().flat_map(|(_, points)| points.iter().map(|(events, _)| *events)).collect()
    }

    /// The figures as text, nothing where all learned from as many events.
    pub(crate) fn table(&self) -> String {
        let events = self.events();
        if events.len() < 2 {
            return String::new();
        }
        let heads = events.iter().map(|events| format!("{events:>9}")).collect::<String>();
        let mut text = format!("\nmean F1 by labelled events\n  {:40}{heads}", "what learned");
        for (learns, points) in &self.curves {
            let of = |events: u64| points.iter().rev().find(|(known, _)| *known == events);
            let cells = events.iter().map(|&events| of(events).map_or(" ".repeat(9), |(_, f1)| format!("{f1:9.4}")));
            text += &format!("\n  {learns:40}{}", cells.collect::<String>());
        }
        text
    }
}
