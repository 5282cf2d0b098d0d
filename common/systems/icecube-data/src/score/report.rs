//! Mean opening angles, overall and in parts, and whether kappa means what it says.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::angles;
use crate::directions::calibration::{Calibration as Fitted, REGIONS};
use serde_json::{Map, Value, json};

use super::targets::Targets;

/// One event, predicted and known.
#[derive(Debug, Clone)]
pub struct Scored {
    /// Opening angle in radians.
    pub angle: f64,
    /// True zenith in radians.
    pub zenith: f64,
    /// True azimuth in radians, from 0 to 2 pi.
    pub azimuth: f64,
    /// Predicted concentration.
    pub kappa: Option<f64>,
    /// Concentration as the network gave it, where the predicted one is calibrated.
    pub length: Option<f64>,
    /// Predicted regions of 50 % and 90 % in radians, where the table has them.
    pub regions: Option<[f64; 2]>,
    /// Number of pulses.
    pub pulses: Option<u64>,
    /// Track or cascade.
    pub kind: Option<String>,
    /// What heads say: energy in GeV, vertex in metres, probability of a track.
    pub extra: Option<[f64; 5]>,
    /// True energy in GeV; NaN: not known.
    pub energy: f64,
    /// True vertex in metres; NaN: not known.
    pub vertex: [f64; 3],
}

impl Scored {
    /// Whether the truth lies within a predicted region of [`REGIONS`]; `within` is the share of kappa's own distribution
    /// within the angle, which decides where the table has no regions.
    pub fn inside(&self, region: usize, within: f64) -> bool {
        match self.regions {
            Some(regions) => self.angle <= regions[region],
            None => within <= REGIONS[region],
        }
    }
}

/// Mean angle of some of the events.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What they have in common.
    pub name: String,
    /// How many they are.
    pub events: usize,
    /// Mean opening angle in radians.
    pub mean: f64,
}

/// How well kappa foretells the angle.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Nominal share within an angle, and the share that was found there.
    pub shares: Vec<(f64, f64)>,
    /// Mean absolute difference of both.
    pub error: f64,
    /// Mean negative logarithm of the predicted density at the truth, per steradian.
    pub log_loss: f64,
    /// The shares that the regions of 50 % and 90 % hold: those of the table, or else those of kappa.
    pub regions: [f64; 2],
    /// Whether kappa is calibrated.
    pub calibrated: bool,
    /// What would make kappa and regions right as the network gives them, with the shares that the regions of 50 % and 90 %
    /// hold before and after; none for few events.
    pub fitted: Option<(Fitted, [f64; 2], [f64; 2])>,
    /// Medians of the angle that should hold half of the events, and of the true angle.
    pub median: (f64, f64),
}

/// Scores of one file.
pub struct Report {
    /// Name of the member.
    pub name: String,
    path: PathBuf,
    events: usize,
    /// Mean opening angle in radians: the competition's score.
    pub mean: f64,
    /// Median opening angle in radians.
    pub median: f64,
    by: Vec<(&'static str, Vec<Part>)>,
    /// Whether kappa means what it says, where there is one.
    pub calibration: Option<Calibration>,
    targets: Targets,
}

/// Upper ends of the classes of pulse counts.
pub const PULSES: [u64; 7] = [16, 32, 64, 128, 192, 512, u64::MAX];
/// Width of a class of zenith angles in degrees.
const ZENITH_DEGREES: usize = 30;
/// Classes of kappa, of equal numbers of events.
const KAPPA_CLASSES: usize = 5;

impl Report {
    /// Scores a file.
    pub fn new(name: String, path: &Path, scored: &[Scored]) -> Self {
        let mut by = Vec::new();
        if scored.iter().all(|event| event.kind.is_some()) {
            let mut kinds: Vec<&str> = scored.iter().filter_map(|event| event.kind.as_deref()).collect();
            kinds.sort_unstable();
            kinds.dedup();
            let parts = kinds.into_iter().map(|kind| part(kind, scored, |event| event.kind.as_deref() == Some(kind)));
            by.push(("kind", parts.collect()));
        }
        if scored.iter().all(|event| event.pulses.is_some()) {
            by.push(("pulses", by_pulses(scored)));
        }
        by.push(("zenith", by_zenith(scored)));
        let kappas: Option<Vec<f64>> = scored.iter().map(|event| event.kappa).collect();
        if let Some(kappas) = &kappas {
            by.push(("kappa", by_kappa(scored, kappas)));
        }
        let mut angles: Vec<f64> = scored.iter().map(|event| event.angle).collect();
        let mean = angles.iter().sum::<f64>() / angles.len() as f64;
        Self {
            name,
            path: path.to_path_buf(),
            events: scored.len(),
            mean,
            median: median(&mut angles),
            by,
            targets: Targets::of(scored),
            calibration: kappas.map(|kappas| Calibration::of(scored, &kappas)),
        }
    }

    /// Events that were scored.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Mean angle of the events of a kind, where the truth has kinds.
    pub fn of_kind(&self, kind: &str) -> Option<f64> {
        let (_, parts) = self.by.iter().find(|(name, _)| *name == "kind")?;
        parts.iter().find(|part| part.name == kind).map(|part| part.mean)
    }

    fn json(&self) -> Value {
        let by: Map<String, Value> = self
            .by
            .iter()
            .map(|(name, parts)| {
                let parts: Map<String, Value> =
                    parts.iter().map(|p| (p.name.clone(), json!({ "events": p.events, "mean_rad": p.mean }))).collect();
                ((*name).to_owned(), parts.into())
            })
            .collect();
        let calibration = self.calibration.as_ref().map(|c| {
            let shares: Map<String, Value> =
                c.shares.iter().map(|(nominal, found)| (format!("{nominal:.1}"), (*found).into())).collect();
            json!({
                "share_within": shares,
                "error": c.error,
                "log_loss": c.log_loss,
                "calibrated": c.calibrated,
                "regions": { "0.5": c.regions[0], "0.9": c.regions[1] },
                "fitted": c.fitted.map(|(fitted, ..)| fitted),
                "coverage": c.fitted.map(|(_, before, after)| json!({
                    "before": { "0.5": before[0], "0.9": before[1] }, "after": { "0.5": after[0], "0.9": after[1] },
                })),
                "median_predicted_rad": c.median.0,
                "median_true_rad": c.median.1,
            })
        });
        json!({
            "name": self.name,
            "path": self.path,
            "events": self.events,
            "mean_rad": self.mean,
            "median_rad": self.median,
            "by": by,
            "targets": self.targets.json(),
            "calibration": calibration,
        })
    }
}

fn part(name: impl Into<String>, scored: &[Scored], takes: impl Fn(&Scored) -> bool) -> Part {
    let angles: Vec<f64> = scored.iter().filter(|event| takes(event)).map(|event| event.angle).collect();
    Part { name: name.into(), events: angles.len(), mean: angles.iter().sum::<f64>() / angles.len().max(1) as f64 }
}

fn by_pulses(scored: &[Scored]) -> Vec<Part> {
    let mut low = 0;
    let mut parts = Vec::new();
    for high in PULSES {
        let name = if high == u64::MAX { format!("{low} and more") } else { format!("{low} to {}", high - 1) };
        parts.push(part(name, scored, |event| event.pulses.is_some_and(|n| (low..high).contains(&n))));
        low = high;
    }
    parts.retain(|part| part.events > 0);
    parts
}

fn by_zenith(scored: &[Scored]) -> Vec<Part> {
    let mut parts: Vec<Part> = (0..180)
        .step_by(ZENITH_DEGREES)
        .map(|low| {
            let high = low + ZENITH_DEGREES;
            let last = high == 180;
            part(format!("{low} to {high} deg"), scored, |event| {
                let degrees = event.zenith.to_degrees();
                degrees >= low as f64 && (degrees < high as f64 || last)
            })
        })
        .collect();
    parts.retain(|part| part.events > 0);
    parts
}

fn by_kappa(scored: &[Scored], kappas: &[f64]) -> Vec<Part> {
    let mut order: Vec<usize> = (0..kappas.len()).collect();
    order.sort_by(|&a, &b| kappas[a].total_cmp(&kappas[b]));
    let mut parts = Vec::new();
    for class in 0..KAPPA_CLASSES {
        let cut = |i: usize| order.len() * i / KAPPA_CLASSES;
        let members = &order[cut(class)..cut(class + 1)];
        let (Some(&first), Some(&last)) = (members.first(), members.last()) else { continue };
        let mean = members.iter().map(|&i| scored[i].angle).sum::<f64>() / members.len() as f64;
        // Numbered: classes of equal kappas would share a name.
        let name = format!("{}: {:.2} to {:.2}", class + 1, kappas[first], kappas[last]);
        parts.push(Part { name, events: members.len(), mean });
    }
    parts
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n == 0 { f64::NAN } else { f64::midpoint(values[(n - 1) / 2], values[n / 2]) }
}

impl Calibration {
    fn of(scored: &[Scored], kappas: &[f64]) -> Self {
        let pairs = || scored.iter().map(|event| event.angle).zip(kappas.iter().copied());
        let n = scored.len() as f64;
        let within: Vec<f64> = pairs().map(|(angle, kappa)| angles::share_within(kappa, angle)).collect();
        let shares: Vec<(f64, f64)> = (1..10)
            .map(|tenth| {
                let nominal = f64::from(tenth) / 10.0;
                (nominal, within.iter().filter(|share| **share <= nominal).count() as f64 / n)
            })
            .collect();
        let error = shares.iter().map(|(nominal, found)| (nominal - found).abs()).sum::<f64>() / shares.len() as f64;
        let log_loss = pairs().map(|(angle, kappa)| -angles::log_density(kappa, angle)).sum::<f64>() / n;
        let mut predicted: Vec<f64> = kappas.iter().map(|&kappa| angles::containment(kappa, 0.5)).collect();
        let mut found: Vec<f64> = scored.iter().map(|event| event.angle).collect();
        let calibrated = scored.iter().any(|event| event.length.is_some());
        let given = scored.iter().zip(kappas).map(|(event, kappa)| (event.angle, event.length.unwrap_or(*kappa)));
        let given: Vec<(f64, f64)> = given.collect();
        let fitted = Fitted::fit(&given).map(|f| (f, Fitted::default().coverage(&given), f.coverage(&given)));
        let regions = [0, 1].map(|region| {
            let inside = scored.iter().zip(&within).filter(|(event, share)| event.inside(region, **share)).count();
            inside as f64 / n
        });
        let median = (median(&mut predicted), median(&mut found));
        Self { shares, error, log_loss, regions, calibrated, fitted, median }
    }
}

/// All reports, under the key `scores`.
pub fn json(reports: &[Report]) -> Value {
    json!({ "metric": "mean_opening_angle_rad", "scores": reports.iter().map(Report::json).collect::<Vec<_>>() })
}

/// The table for people: one block a file.
pub fn table(reports: &[Report]) -> String {
    let mut text = format!("{:24}  {:>8}  {:>9}", "opening angle", "events", "mean rad");
    for report in reports {
        let _ = write!(text, "\n{:24}  {:>8}  {:>9.5}", report.name, report.events, report.mean);
        let _ = write!(text, "\n  {:22}  {:>8}  {:>9.5}", "median", "", report.median);
        for (name, parts) in &report.by {
            for part in parts {
                let _ =
                    write!(text, "\n  {:22}  {:>8}  {:>9.5}", format!("{name} {}", part.name), part.events, part.mean);
            }
        }
        for line in report.targets.lines() {
            let _ = write!(text, "\n  {line}");
        }
        if let Some(c) = &report.calibration {
            let shares: Vec<String> = c
                .shares
                .iter()
                .map(|(nominal, found)| format!("{:.0}:{:.0}", nominal * 100.0, found * 100.0))
                .collect();
            let _ = write!(text, "\n  calibration of kappa, nominal % : found %  {}", shares.join("  "));
            let _ = write!(
                text,
                "\n  mean difference {:.4}, log loss {:.4}, median 50 % angle {:.4} against {:.4} rad",
                c.error, c.log_loss, c.median.0, c.median.1
            );
            let [half, most] = c.regions.map(|share| 100.0 * share);
            let _ = write!(text, "\n  regions of 50 and 90 % hold {half:.1} and {most:.1} %");
            match &c.fitted {
                _ if c.calibrated => text.push_str(", calibrated"),
                Some((fitted, ..)) => {
                    let [half, most] = fitted.stretch;
                    let _ = write!(
                        text,
                        "; right with kappa / {:.4}, regions * {half:.3} and * {most:.3}",
                        fitted.temperature
                    );
                }
                None => {}
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(angle: f64, kappa: f64, pulses: u64) -> Scored {
        Scored {
            angle,
            zenith: 1.0,
            azimuth: 0.5,
            kappa: Some(kappa),
            length: None,
            regions: None,
            pulses: Some(pulses),
            kind: None,
            extra: None,
            energy: f64::NAN,
            vertex: [f64::NAN; 3],
        }
    }

    #[test]
    fn parts_divide_the_events() {
        let scored: Vec<Scored> = (0..100).map(|i| event(0.01 * f64::from(i), f64::from(i), i as u64 * 7)).collect();
        let report = Report::new("m".into(), Path::new("m"), &scored);
        for (name, parts) in &report.by {
            assert_eq!(parts.iter().map(|p| p.events).sum::<usize>(), 100, "{name}");
            let mean = parts.iter().map(|p| p.mean * p.events as f64).sum::<f64>() / 100.0;
            assert!((mean - report.mean).abs() < 1e-12, "{name}");
        }
        assert!(table(&[report]).contains("pulses 512 and more"));
    }

    #[test]
    fn angles_drawn_from_kappa_itself_are_calibrated() {
        let scored: Vec<Scored> = (0..1000)
            .map(|i| {
                let kappa = [0.0, 0.5, 20.0, 3000.0][i % 4];
                event(angles::containment(kappa, (i as f64 + 0.5) / 1000.0), kappa, 10)
            })
            .collect();
        let kappas: Vec<f64> = scored.iter().filter_map(|event| event.kappa).collect();
        let good = Calibration::of(&scored, &kappas);
        assert!(good.error < 0.005, "{good:?}");
        let bold: Vec<f64> = kappas.iter().map(|kappa| kappa * 5.0 + 1.0).collect();
        let bad = Calibration::of(&scored, &bold);
        assert!(bad.error > 0.1 && bad.log_loss > good.log_loss, "{bad:?}");
    }
}
