//! `simulate-data tracknet`: events in the layout of TrackML. Charged particles from the beam line fly on helices in 2 T
//! through the layers of the detector, scatter in each, and leave smeared hits; noise hits lie between them. The same
//! seed gives the same bytes, whatever the threads.
//!
//! Sizes, resolutions, scattering and spectra are those measured on a real event (`docs/data.md`).

pub mod detector;
mod files;
pub mod modules;
pub mod particle;
mod state;
mod task;

use std::path::{Path, PathBuf};

use common::cli::progress::Bar;
use common::cli::signals;
use common::config::{Config, Problems};
use common::durable;
use common::stage::Stage;
use common::{Error, Result};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{self, Hits, Particles, Truth};
use crate::files as files_of;
use crate::measured::Measured;
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
    /// The same of pixels, short and long strips, instead of `scattering`. `null`: the same everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scattering_by_kind: Option<[f64; 3]>,
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
    /// Share of the hits of pixels, short and long strips that are noise, each of cylinders and disks, instead of `noise`.
    /// `null`: `noise` everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_by_region: Option<[[f64; 2]; 3]>,
    /// The modules that are flown through: `modules` for those of a detector like TrackML's, made from stated numbers, or a file
    /// like its `detectors.csv`. Second hits come from overlaps then, `overlap` is not read. `null`: layers without modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<String>,
    /// Energy that a particle loses in a layer that it crosses at right angles, MeV, >= 0. Real: 0.8.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub energy_loss_mev: f64,
    /// Chance that a particle ends in a layer (interaction), 0 to 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub absorption: f64,
    /// Distance from the beam line of the vertices of secondaries, mm: what a tenth, two tenths .. nine tenths of them lie below,
    /// ascending, > 0. They come in all directions then, softer than others. `null`: behind neutral parents, by `flight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vertex_radii: Option<[f64; 9]>,
    /// `pt_scale` of those secondaries, GeV/c, > 0. `null`: `pt_scale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_pt_scale: Option<f64>,
    /// A folder of real events that the simulated ones are held against: `against.csv`, figure by figure. `null`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<PathBuf>,
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
            ("energy_loss_mev", self.energy_loss_mev, (0.0..100.0).contains(&self.energy_loss_mev)),
            ("absorption", self.absorption, (0.0..=1.0).contains(&self.absorption)),
            (
                "secondary_pt_scale",
                self.secondary_pt_scale.unwrap_or(1.0),
                self.secondary_pt_scale.is_none_or(|s| s > 0.0),
            ),
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
        for angle in self.scattering_by_kind.iter().flatten() {
            problems.demand(*angle >= 0.0 && angle.is_finite(), "scattering_by_kind", || {
                format!("has {angle}, expected >= 0")
            });
        }
        for share in self.noise_by_region.iter().flatten().flatten() {
            problems.demand((0.0..1.0).contains(share), "noise_by_region", || {
                format!("has {share}, expected 0 <= share < 1")
            });
        }
        if let Some(radii) = &self.vertex_radii {
            let sound = radii[0] > 0.0 && radii.is_sorted() && radii.iter().all(|r| r.is_finite());
            problems.demand(sound, "vertex_radii", || format!("is {radii:?}, expected ascending numbers > 0"));
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

/// Holds simulated events against the real ones of a folder.
fn against(folder: &Path, simulated: &Measured, stage: &mut Stage) -> Result<()> {
    let mut real = Measured::default();
    for prefix in files_of::events(&[folder.to_path_buf()])? {
        stage.input(&prefix.file_name().unwrap_or_default().to_string_lossy(), &event::part(&prefix, "truth")?)?;
        real.add(&Hits::read(&prefix)?, &Particles::read(&prefix)?, &Truth::read(&prefix)?);
    }
    let mut text = String::from("figure,simulated,real\n");
    for ((name, ours), (_, theirs)) in simulated.figures().into_iter().zip(real.figures()) {
        use std::fmt::Write as _;
        let [ours, theirs] = [ours, theirs].map(|v| files::six(v as f32));
        let _ = writeln!(text, "\"{name}\",{ours},{theirs}");
        tracing::info!("{name}: {ours} (real: {theirs})");
    }
    let file = durable::write(stage.folder().join("against.csv"), text.as_bytes())?;
    stage.output("against.csv", &file);
    Ok(())
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
    let detector = particle::detector(config)?;
    let measured = std::sync::Mutex::new(Measured::default());
    let written = (0..events)
        .into_par_iter()
        .map(|i| {
            signals::check("nothing that can be gone on with; the same command starts anew")?;
            let number = config.first_event + i;
            let event = particle::simulate_in(config, detector.as_ref(), number)?;
            if config.against.is_some()
                && let Ok(mut measured) = measured.lock()
            {
                // Quantiles do not depend on the order of events.
                measured.add(&event.hits, &event.particles, &event.truth);
            }
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
    if let Some(file) = config.detector.as_deref().filter(|what| *what != modules::BUILT_IN) {
        stage.input("detector", Path::new(file))?;
    }
    if let Some(detector) = &detector {
        let file = durable::write(stage.folder().join("detectors.csv"), modules::table(detector).as_bytes())?;
        stage.output("detectors.csv", &file);
    }
    if let Some(folder) = &config.against {
        let simulated = measured.into_inner().unwrap_or_default();
        against(folder, &simulated, stage)?;
    }
    stage.metric("events", report.events);
    stage.metric("hits", report.hits);
    Ok(report)
}
