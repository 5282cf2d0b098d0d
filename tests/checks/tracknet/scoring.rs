//! Score, weights, track building.

use anyhow::{Result, ensure};
use tracknet::build::{BuildConfig, build};
use tracknet::cuts::Cuts;
use tracknet::event::{Hits, Particles, Truth};
use tracknet::figures::{self, Rule};
use tracknet::submission;
use tracknet::trackml::{self, Phase};

use super::data::demand;
use super::networks::network;
use crate::checks::{Case, Comparison};

/// Scores and track tables of several submissions.
pub fn score(case: &Case) -> Result<()> {
    let name = case.str("truth")?;
    let truth = Truth::read(&case.path(name.trim_end_matches("-truth.csv")))?;
    let scores = case.value("scores")?.as_object().cloned().unwrap_or_default();
    let mut checks = Comparison::new();
    for (kind, want) in &scores {
        let read = submission::read_submission(&case.path(&format!("submission-{kind}.csv")))?;
        ensure!(read.len() == 1, "{} events", read.len());
        let (score, tracks) = trackml::score(&truth, &read[0].1)?;
        let want = want.as_f64().unwrap_or(f64::NAN);
        checks.add(demand((score - want).abs() <= 1e-6, format!("{kind}: {score}, expected {want}")));
        let table = case.text(&format!("tracks-{kind}.csv"))?;
        let header: Vec<&str> = table.lines().next().unwrap_or_default().split(',').collect();
        let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|l| l.split(',').collect()).collect();
        ensure!(rows.len() == tracks.len(), "{kind}: {} tracks, expected {}", tracks.len(), rows.len());
        let column = |name: &str| -> Result<Vec<f64>> {
            let at = header
                .iter()
                .position(|h| *h == name)
                .ok_or_else(|| anyhow::anyhow!("no column {name} in {header:?}"))?;
            Ok(rows.iter().map(|r| r[at].parse::<f64>().unwrap_or(f64::NAN)).collect())
        };
        // One-hit tracks of missing hits come in any order among themselves: compared as a sorted list.
        let mut got: Vec<[u64; 4]> =
            tracks.iter().map(|t| [t.track_id as u64, t.nhits, t.major_nhits, t.major_particle_nhits]).collect();
        let (ids, n, major, particle) =
            (column("track_id")?, column("nhits")?, column("major_nhits")?, column("major_particle_nhits")?);
        let mut want: Vec<[u64; 4]> =
            (0..rows.len()).map(|i| [ids[i] as i64 as u64, n[i] as u64, major[i] as u64, particle[i] as u64]).collect();
        got.sort_unstable();
        want.sort_unstable();
        ensure!(got == want, "{kind}: the tables of tracks differ");
        let mut weights: Vec<f64> = tracks.iter().map(|t| t.major_weight).collect();
        let mut wanted = column("major_weight")?;
        weights.sort_by(f64::total_cmp);
        wanted.sort_by(f64::total_cmp);
        let total: f64 = truth.weight.iter().map(|&w| f64::from(w)).sum();
        // The table holds weights before they are divided by the total.
        let scale = if (wanted.iter().sum::<f64>() - weights.iter().sum::<f64>()).abs() < 1e-5 { 1.0 } else { total };
        weights.iter_mut().for_each(|w| *w *= scale);
        checks.values(kind, &weights, &wanted, 1e-5);
    }
    checks.finish()
}

/// Weights of both phases.
pub fn weights(case: &Case) -> Result<()> {
    let prefix = case.path(case.str("event")?);
    let (truth, particles) = (Truth::read(&prefix)?, Particles::read(&prefix)?);
    let expected = case.tensors("expected.safetensors")?;
    let mut checks = Comparison::new();
    for (name, phase) in [("phase1", Phase::One), ("phase2", Phase::Two)] {
        let got = trackml::weights(&truth, &particles, phase, &prefix)?;
        checks.values(name, &got, &expected.f64s(&format!("{name}.weight"))?, 1e-5);
    }
    checks.finish()
}

/// Tracks by the reference algorithm, with several options: submissions equal, figures too.
pub fn building(case: &Case) -> Result<()> {
    let prefix = case.path(case.str("event")?.trim_end_matches("-*.csv"));
    let (hits, particles, truth) = (Hits::read(&prefix)?, Particles::read(&prefix)?, Truth::read(&prefix)?);
    // Tracks are built on the CPU, wherever the network was trained.
    let (_params, network) = network(&case.tensors("weights.safetensors")?, tch::Device::Cpu)?;
    let normalizer = serde_json::from_value(case.value("normalizer")?.clone())?;
    let runs = case.value("runs")?.as_object().cloned().unwrap_or_default();
    let mut checks = Comparison::new();
    for (name, run) in &runs {
        let config: BuildConfig = serde_json::from_value(run["options"].clone())?;
        let built = build(&hits, &network, &normalizer, &config)?;
        let want = submission::read_submission(&case.path(&format!("submission-{name}.csv")))?;
        let differing = built.submission.track_id.iter().zip(&want[0].1.track_id).filter(|(a, b)| a != b).count();
        ensure!(built.submission.hit_id == want[0].1.hit_id, "{name}: hits differ");
        checks.add(demand(differing == 0, format!("{name}: {differing} hits are in other tracks")));
        let number = |key: &str| run[key].as_f64().unwrap_or(f64::NAN);
        let (score, _) = trackml::score(&truth, &built.submission)?;
        // The figures of the case are of the rule that counts a particle's hits once a layer, and of tracks of any length.
        let cuts = Cuts { min_track_hits: 1, ..Cuts::default() };
        let compared = figures::Comparison::new((&hits, &particles, &truth), &built.submission, &cuts, &prefix)?;
        let found = compared.count(Rule::Layers(0.5), &cuts).all;
        for (key, got, tolerance) in [
            ("n_candidates", built.candidates as f64, 0.0),
            ("n_tracks", built.tracks as f64, 0.0),
            ("trackml_score", score, 1e-6),
            ("reconstructible", found.reconstructible as f64, 0.0),
            ("found", found.found as f64, 0.0),
            ("efficiency", found.efficiency(), 1e-9),
            ("tracks", found.tracks as f64, 0.0),
            ("matched", found.matched as f64, 0.0),
            ("purity", found.purity(), 1e-9),
            ("clone_rate", found.clone_rate(), 1e-9),
            ("mean_hit_purity", found.mean_hit_purity(), 1e-9),
        ] {
            checks.number(&format!("{name}.{key}"), got, number(key), tolerance);
        }
    }
    checks.finish()
}
