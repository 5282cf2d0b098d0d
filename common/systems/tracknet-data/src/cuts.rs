//! Which particles count as reconstructible, and which tracks as tracks.

use common::config::{Config, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::classes::Variable;
use crate::tracks::SEED_LAYERS;

/// What is done with events of the truth that a submission lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// They count as if nothing had been found in them: score 0.
    #[default]
    Zero,
    /// The submission is refused.
    Refuse,
}

/// How a submission is judged. A particle is reconstructible where it passes all cuts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cuts {
    /// Smallest transverse momentum, GeV/c. `null`: any. Default: 1, as in training.
    pub min_pt: Option<f32>,
    /// Largest |pseudorapidity|. `null`: any.
    pub max_eta: Option<f32>,
    /// Fewest hits, one a layer. `null`: any. Default: 3.
    pub min_hits: Option<usize>,
    /// Layers (volume, layer) of which the first hit must be one; empty: any. Default: the innermost surfaces of TrackML.
    pub first_layers: Vec<(i32, i32)>,
    /// Largest distance of the vertex from the axis, mm. `null`: any.
    pub max_vertex_radius: Option<f32>,
    /// Largest distance of the vertex from the middle of the detector along the beam, mm. `null`: any.
    pub max_vertex_z: Option<f32>,
    /// Fewest hits of a track, >= 1; shorter ones are no tracks and count nowhere. Default: 3.
    pub min_track_hits: usize,
    /// Tracks and particles above this transverse momentum get a row of their own, GeV/c. Default: 1.
    pub high_pt: f64,
    /// What is done with events that the submission lacks: `zero` or `refuse`.
    pub missing_events: Missing,
}

impl Default for Cuts {
    fn default() -> Self {
        Self {
            min_pt: Some(1.0),
            max_eta: None,
            min_hits: Some(3),
            first_layers: SEED_LAYERS.to_vec(),
            max_vertex_radius: None,
            max_vertex_z: None,
            min_track_hits: 3,
            high_pt: 1.0,
            missing_events: Missing::Zero,
        }
    }
}

impl Cuts {
    /// Whether a particle passes the cuts on one variable. An unknown value passes no cut on it.
    pub fn pass(&self, variable: Variable, value: f32) -> bool {
        let at_most = |limit: Option<f32>| limit.is_none_or(|limit| value.abs() <= limit);
        match variable {
            Variable::Pt => self.min_pt.is_none_or(|least| value >= least),
            Variable::Eta => at_most(self.max_eta),
            Variable::Phi => true,
            Variable::Z0 => at_most(self.max_vertex_z),
            Variable::VertexRadius => at_most(self.max_vertex_radius),
            Variable::Hits => self.min_hits.is_none_or(|least| value >= least as f32),
        }
    }

    /// Whether a track may start on a layer.
    pub fn starts(&self, first: Option<(i32, i32)>) -> bool {
        self.first_layers.is_empty() || first.is_some_and(|first| self.first_layers.contains(&first))
    }
}

impl Config for Cuts {
    fn validate(&self, problems: &mut Problems) {
        let limits = [
            ("min_pt", self.min_pt),
            ("max_eta", self.max_eta),
            ("max_vertex_radius", self.max_vertex_radius),
            ("max_vertex_z", self.max_vertex_z),
            ("high_pt", Some(self.high_pt as f32)),
        ];
        for (key, value) in limits.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            problems.demand(value >= 0.0 && value.is_finite(), key, || format!("is {value}, expected a number >= 0"));
        }
        problems.demand(self.min_track_hits >= 1, "min_track_hits", || "is 0, expected at least 1".into());
    }
}
