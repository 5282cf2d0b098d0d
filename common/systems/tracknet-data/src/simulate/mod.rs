//! `simulate-data tracknet`: events in the layout of TrackML. Charged particles from the beam line fly on helices in 2 T
//! through the layers of the detector, scatter in each, and leave smeared hits; noise hits lie between them. The same
//! seed gives the same bytes, whatever the threads.
//!
//! Sizes, resolutions, scattering and spectra are those measured on a real event (`docs/data.md`).

pub mod detector;
mod files;
pub mod particle;
mod task;

use std::path::PathBuf;

use common::cli::progress::Bar;
use common::cli::signals;
use common::config::{Config, Problems};
use common::stage::Stage;
use common::{Error, Result};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Hits, Particles, Truth};
use crate::tracker::field::Solenoid;

pub use task::Simulate;

/// What `simulate-data tracknet` does, as a config.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulateConfig {
    /// Always `tracknet`.
    pub system: String,
    /// Seed of everything.
    pub seed: u64,
    /// Number of the first event.
    #[serde(default = "first_event")]
    pub first_event: u32,
    /// Number of events, >= 1.
    pub events: u32,
    /// Charged particles of an event, >= 1. A real event has about 9000 with hits.
    pub particles: u32,
    /// Smallest transverse momentum in GeV/c, > 0.
    #[serde(default = "min_pt")]
    pub min_pt: f64,
    /// Slope of the spectrum of transverse momenta: dN/dpT ~ pT (1 + pT / `pt_scale`)^-5.5, GeV/c, > 0.
    #[serde(default = "pt_scale")]
    pub pt_scale: f64,
    /// Share of particles that start away from the beam line (decays, interactions), 0 to 1.
    #[serde(default = "secondaries")]
    pub secondaries: f64,
    /// Share of all hits that are noise, 0 <= noise < 1. Real: 0.15.
    #[serde(default = "noise")]
    pub noise: f64,
    /// Chance that a layer sees nothing of a particle, 0 to 1.
    #[serde(default = "inefficiency")]
    pub inefficiency: f64,
    /// Standard deviation of the scattering angle in a layer times momentum, GeV rad, >= 0.
    #[serde(default = "scattering")]
    pub scattering: f64,
    /// Width of the beam spot along the beam, mm, >= 0. Accuracy phase: 5.9; throughput phase: 49.
    #[serde(default = "beam_sigma_z", skip_serializing_if = "is_beam_sigma_z")]
    pub beam_sigma_z: f64,
    /// Largest |pseudorapidity| of the particles, > 0. Real: 4.
    #[serde(default = "max_eta", skip_serializing_if = "is_max_eta")]
    pub max_eta: f64,
    /// Mean way of a particle's neutral parent from the beam line, mm, > 0.
    #[serde(default = "flight", skip_serializing_if = "is_flight")]
    pub flight: f64,
    /// Share of its momentum that a particle loses in a layer, 0 <= share < 0.1. Real: 0.0006.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub energy_loss: f64,
    /// The solenoid that makes the field, which falls off along the beam; `null`: 2 T everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solenoid: Option<Solenoid>,
    /// Resolution of disks along the circle and along the radius, mm, > 0: pixels, short strips, long strips (there half the
    /// width of a box along the radius). `null`: that of cylinders. Real: see `docs/tracknet.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_resolution: Option<[[f64; 2]; 3]>,
    /// Share of a module, at each edge, that its neighbour covers too, 0 to 0.5: barrel, disks. A layer of the real
    /// detector has a second hit for 20 to 24 % of the particles in the barrel and for 51 % in the pixel disks.
    #[serde(default = "overlap", skip_serializing_if = "is_overlap")]
    pub overlap: [f64; 2],
    /// Share of the hits of pixels, short and long strips that are noise, instead of `noise`. `null`: `noise` everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_by_kind: Option<[f64; 3]>,
    /// Whether overlapping modules give second hits.
    #[serde(default = "yes")]
    pub double_hits: bool,
    /// Only the barrel, as in the real sample.
    #[serde(default)]
    pub barrel_only: bool,
    /// Compress the files.
    #[serde(default)]
    pub gzip: bool,
}

fn first_event() -> u32 {
    1000
}
fn min_pt() -> f64 {
    0.15
}
fn pt_scale() -> f64 {
    1.2
}
fn secondaries() -> f64 {
    0.1
}
fn noise() -> f64 {
    0.15
}
fn inefficiency() -> f64 {
    0.02
}
fn scattering() -> f64 {
    0.0017
}
fn beam_sigma_z() -> f64 {
    5.9
}
fn is_beam_sigma_z(value: &f64) -> bool {
    *value == beam_sigma_z()
}
fn max_eta() -> f64 {
    3.2
}
fn is_max_eta(value: &f64) -> bool {
    *value == max_eta()
}
fn flight() -> f64 {
    60.0
}
fn is_flight(value: &f64) -> bool {
    *value == flight()
}
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}
fn overlap() -> [f64; 2] {
    [0.06; 2]
}
fn is_overlap(value: &[f64; 2]) -> bool {
    *value == overlap()
}
fn yes() -> bool {
    true
}

impl Config for SimulateConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.system == "tracknet", "system", || format!("is `{}`, expected `tracknet`", self.system));
        problems.demand(self.events >= 1, "events", || "is 0, expected at least 1".into());
        problems.demand((1..=100_000).contains(&self.particles), "particles", || {
            format!("is {}, expected 1 to 100000", self.particles)
        });
        for (key, value, good) in [
            ("min_pt", self.min_pt, self.min_pt > 0.0),
            ("pt_scale", self.pt_scale, self.pt_scale > 0.0),
            ("secondaries", self.secondaries, (0.0..=1.0).contains(&self.secondaries)),
            ("noise", self.noise, (0.0..1.0).contains(&self.noise)),
            ("inefficiency", self.inefficiency, (0.0..=1.0).contains(&self.inefficiency)),
            ("scattering", self.scattering, self.scattering >= 0.0),
            ("beam_sigma_z", self.beam_sigma_z, self.beam_sigma_z >= 0.0),
            ("max_eta", self.max_eta, self.max_eta > 0.0),
            ("flight", self.flight, self.flight > 0.0),
            ("energy_loss", self.energy_loss, (0.0..0.1).contains(&self.energy_loss)),
            ("overlap.0", self.overlap[0], (0.0..=0.5).contains(&self.overlap[0])),
            ("overlap.1", self.overlap[1], (0.0..=0.5).contains(&self.overlap[1])),
        ] {
            problems.demand(good && value.is_finite(), key, || format!("is {value}, out of range"));
        }
        for sigma in self.disk_resolution.iter().flatten().flatten() {
            problems
                .demand(*sigma > 0.0 && sigma.is_finite(), "disk_resolution", || format!("has {sigma}, expected > 0"));
        }
        if let Some(solenoid) = &self.solenoid {
            solenoid.validate("solenoid", problems);
        }
        for share in self.noise_by_kind.iter().flatten() {
            problems.demand((0.0..1.0).contains(share), "noise_by_kind", || {
                format!("has {share}, expected 0 <= share < 1")
            });
        }
    }
}

/// One simulated event.
#[derive(Debug, Default)]
pub struct Event {
    /// Hits.
    pub hits: Hits,
    /// Particles.
    pub particles: Particles,
    /// Truth.
    pub truth: Truth,
}

/// Figures of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// Events.
    pub events: u64,
    /// Hits of all events.
    pub hits: u64,
}

/// Folder of the events inside the stage's.
pub use common::driver::RAW;

/// Name of an event.
pub fn name(number: u32) -> String {
    format!("event{number:09}")
}

/// Simulates the events into `raw/`.
pub fn run(config: &SimulateConfig, limit: Option<u64>, stage: &mut Stage) -> Result<Report> {
    let raw: PathBuf = stage.folder().join(RAW);
    if raw.exists() {
        // Events of an unfinished run with another config would look like data.
        std::fs::remove_dir_all(&raw).map_err(|e| Error::io("removing", &raw, e))?;
    }
    let events = limit.map_or(config.events, |n| config.events.min(u32::try_from(n).unwrap_or(u32::MAX)));
    let bar = Bar::new("simulate", u64::from(events));
    let written = (0..events)
        .into_par_iter()
        .map(|i| {
            signals::check("nothing that can be gone on with; the same command starts anew")?;
            let number = config.first_event + i;
            let event = particle::simulate(config, number)?;
            let files = files::write(&event, &raw, &name(number), config.gzip)?;
            bar.tick(1);
            Ok((event.hits.len() as u64, files))
        })
        .collect::<Result<Vec<_>>>()?;
    bar.finish();
    let mut report = Report { events: u64::from(events), hits: 0 };
    for (hits, files) in written {
        report.hits += hits;
        for file in files {
            let key = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            stage.output(&format!("raw/{key}"), &file);
        }
    }
    stage.metric("events", report.events);
    stage.metric("hits", report.hits);
    Ok(report)
}
