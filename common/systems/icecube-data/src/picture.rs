//! Events as pictures: pulses in the detector, the true direction, the predicted one and the cones around it.

use std::path::Path;

use common::Result;
use common::durable::{self, Written};
use report::Page;
use report::scene::{Coloring, Cone, Data, Event, FAINT, Filter, INK, Kind, Layer, Panel, Scene, View, hue};

use crate::angles;
use crate::directions::calibration::{Calibration, REGIONS};
use crate::prepare::store::{is_auxiliary, sensor_of};
use crate::selection::PulseView;
use crate::sensors::Sensors;

/// Bytes of a page's events at most.
const MOST: usize = 24 << 20;
/// Share of pulses whose times the colours span; noise comes long before and after.
const SPAN: (f64, f64) = (0.05, 0.95);

/// What is predicted of an event, and what is known of it.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its id.
    pub id: i64,
    /// The network's vector: its direction, and kappa as its length.
    pub vector: [f32; 3],
    /// The truth, where it is known.
    pub truth: Option<True>,
}

/// What is true of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct True {
    /// Azimuth and zenith in radians.
    pub direction: [f64; 2],
    /// Track or cascade.
    pub kind: Option<String>,
    /// Energy in GeV; NaN: not known.
    pub energy: f64,
}

impl True {
    /// `track, 12.5 TeV`, as far as it is known.
    fn described(&self) -> Option<String> {
        // Three digits.
        let shown = |e: f64, unit: &str| match e {
            e if e < 10.0 => format!("{e:.2} {unit}"),
            e if e < 100.0 => format!("{e:.1} {unit}"),
            e => format!("{e:.0} {unit}"),
        };
        let energy = match self.energy {
            e if !(e > 0.0 && e.is_finite()) => None,
            e if e < 1e3 => Some(shown(e, "GeV")),
            e if e < 1e6 => Some(shown(e / 1e3, "TeV")),
            e => Some(shown(e / 1e6, "PeV")),
        };
        let said: Vec<String> = self.kind.iter().cloned().chain(energy).collect();
        (!said.is_empty()).then(|| said.join(", "))
    }
}

/// Events on their way to a page.
pub struct Pictures {
    scene: Scene,
    /// Positions of the sensors, metres.
    places: Vec<[f32; 3]>,
    shift_ns: f64,
    scale_ns: f64,
    from_first: bool,
    calibration: Calibration,
    /// Length of lines and cones, metres.
    reach: f32,
    bytes: usize,
}

/// Exchanges x and y: the direction inside has them so (see [`angles`]).
fn usual([x, y, z]: [f64; 3]) -> [f32; 3] {
    [y as f32, x as f32, z as f32]
}

impl Pictures {
    /// Of the events of a detector.
    pub fn new(sensors: &Sensors, calibration: Calibration) -> Self {
        let frame = &sensors.frame;
        let metres = |p: &[f32; 3]| -> [f32; 3] {
            std::array::from_fn(|k| (f64::from(p[k]) * frame.scale_m + frame.centre_m[k]) as f32)
        };
        let places: Vec<[f32; 3]> = sensors.positions.iter().map(metres).collect();
        let ends = |k: usize| {
            let all = places.iter().map(|p| p[k]);
            all.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
        };
        let ends = [ends(0), ends(1), ends(2)];
        let spans = ends.map(|(low, high)| (high - low).max(1.0));
        let reach = 0.35 * spans.iter().map(|v| v * v).sum::<f32>().sqrt();
        let mut scene = Scene::new("Events", ["x", "y", "z"], "m");
        // A tenth more than the sensors on each side.
        let low = std::array::from_fn(|k| ends[k].0 - 0.1 * spans[k]);
        let high = std::array::from_fn(|k| ends[k].1 + 0.1 * spans[k]);
        scene.frame = (!places.is_empty()).then_some((low, high, "detector"));
        scene.instead = "The picture `event.svg` beside this page shows the first event.".into();
        scene.views =
            vec![View::space(), View::flat("xz", "from the side", 0, 2), View::flat("xy", "from above", 0, 1)];
        scene.panels = vec![Panel::new("3d", "when"), Panel::new("xz", "when")];
        let pulses = Layer::new("pulses", "pulses, larger with charge", Kind::Points).one("pulse").size(4.5);
        let mut pulses =
            pulses.field("time", "time", "ns").field("charge", "charge", "p.e.").field("sensor", "sensor", "");
        pulses.size_by = Some("charge");
        let pulses = pulses.class("kept", "kind", &["auxiliary".to_string(), "coincident".to_string()]);
        let mut cones = Layer::new("cones", "regions of 50 % and 90 %", Kind::Cones).one("region of").color(hue(1));
        cones.names = REGIONS.iter().map(|share| format!("{:.0} %", 100.0 * share)).collect();
        let cones = cones.field("degrees", "opening", "degrees");
        scene.layers = vec![
            Layer::new("sensors", "sensors", Kind::Points).size(1.5).color(FAINT).backdrop(1.0),
            pulses,
            Layer::new("true", "true direction", Kind::Lines).one("true direction of event").size(2.4).color(INK),
            Layer::new("origin", "where it came from", Kind::Points).one("where event came from").size(8.0).color(INK),
            Layer::new("predicted", "predicted direction", Kind::Lines).size(2.4).color(hue(1)),
            cones,
        ];
        let mut when = Coloring::ramp("when", "time", "ns", false);
        when.note = "times before and after 90 % of the coincident pulses have the ends' colours".into();
        let kinds = vec![("auxiliary".to_string(), FAINT), ("coincident".to_string(), hue(0))];
        scene.colors = vec![
            when,
            Coloring::ramp("charge", "charge", "p.e.", true),
            Coloring::names("kept", "kind of pulse", kinds),
        ];
        scene.filters =
            vec![Filter::flag("kept", "without auxiliary pulses"), Filter::range("charge", "charge", "p.e.", true)];
        scene.shared = vec![("sensors", Data::points(&places))];
        Self {
            scene,
            places,
            shift_ns: frame.time.shift_ns,
            scale_ns: frame.time.scale_ns,
            from_first: frame.time.from_first,
            calibration,
            reach,
            bytes: 0,
        }
    }

    /// Whether another event fits.
    pub fn takes(&self) -> bool {
        self.bytes <= MOST
    }

    /// Adds an event.
    pub fn add(&mut self, pulses: PulseView<'_>, known: &Known) {
        let shift = if self.from_first { 0.0 } else { self.shift_ns };
        let times: Vec<f64> = pulses.time.iter().map(|t| f64::from(*t) * self.scale_ns + shift).collect();
        let charges: Vec<f32> = pulses.charge.iter().map(|q| 10f64.powf(3.0 * f64::from(*q)) as f32).collect();
        let places: Vec<[f32; 3]> =
            pulses.sensor.iter().map(|s| self.places.get(sensor_of(*s)).copied().unwrap_or_default()).collect();
        let kept: Vec<bool> = pulses.sensor.iter().map(|s| !is_auxiliary(*s)).collect();
        let (low, high) = span(&times, &kept);
        let when: Vec<f32> = times.iter().map(|t| t.clamp(low, high) as f32).collect();
        let data = Data::points(&places).floats("when", &when).floats("charge", &charges);
        let data = data.floats("time", &times.iter().map(|t| *t as f32).collect::<Vec<_>>());
        let data = data.whole("kept", kept.iter().map(|kept| i64::from(*kept)));
        let data = data.whole("sensor", pulses.sensor.iter().map(|s| sensor_of(*s) as i64));
        let middle = middle(&places, &charges, &kept);
        let towards = |direction: [f32; 3], share: f32| -> [f32; 3] {
            std::array::from_fn(|k| middle[k] + share * self.reach * direction[k])
        };
        let vector = known.vector.map(f64::from);
        let kappa = angles::length(vector);
        let predicted = usual(vector.map(|v| v / kappa.max(f64::MIN_POSITIVE)));
        let opening = [0, 1].map(|region| self.calibration.region(kappa, region));
        let cone = |angle: f64| Cone { apex: middle, axis: predicted, angle: angle as f32, length: self.reach };
        let cones = Data::cones(&opening.map(cone)).floats("degrees", &opening.map(|angle| angle.to_degrees() as f32));
        let mut note =
            format!("{} pulses, {} of them coincident", places.len(), kept.iter().filter(|kept| **kept).count());
        let [azimuth, zenith] = angles::angles(known.vector).map(f32::to_degrees);
        note += &format!(
            "; predicted azimuth {azimuth:.1}°, zenith {zenith:.1}°, kappa {:.3}, 50 % within {:.2}°, 90 % within {:.2}°",
            self.calibration.kappa(kappa),
            opening[0].to_degrees(),
            opening[1].to_degrees()
        );
        if opening.iter().any(|angle| *angle > std::f64::consts::FRAC_PI_2) {
            note += " (a region wider than 90° is all that lies outside of its cone)";
        }
        let mut event = Event::new(format!("event {}", known.id));
        if let Some(truth) = &known.truth {
            let [azimuth, zenith] = truth.direction;
            let direction = angles::vector(azimuth, zenith);
            let angle = angles::opening(vector, direction);
            let within = match opening.iter().position(|region| angle <= *region) {
                Some(0) => "inside both regions",
                Some(_) => "inside the region of 90 %",
                None => "outside both regions",
            };
            note += &format!(
                "; true azimuth {:.1}°, zenith {:.1}°, {:.2}° off, {within}",
                azimuth.to_degrees(),
                zenith.to_degrees(),
                angle.to_degrees()
            );
            truth.described().iter().for_each(|what| note += &format!("; {what}"));
            let line = [towards(usual(direction), -1.0), towards(usual(direction), 1.0)];
            event = event.with("true", Data::lines([line.as_slice()])).with("origin", Data::points(&line[1..]));
        }
        let line = [middle, towards(predicted, 1.0)];
        let event = event.note(note).with("pulses", data).with("cones", cones);
        let event = event.with("predicted", Data::lines([line.as_slice()]));
        self.bytes += event.bytes();
        self.scene.events.push(event);
    }

    /// Writes `event.html`, all events that were added, and `event.svg`, the first; `what` says which events they are.
    pub fn write(self, folder: &Path, what: &str) -> Result<(Written, Written)> {
        let svg = if self.scene.events.is_empty() { String::new() } else { self.scene.svg(0) };
        let mut page = Page::new("Events", what);
        page.text(
            "Lines and cones point to where the neutrino came from, from the middle of the charge; the true line goes through, with a \
             dot at that end. Cones are the regions that \
             hold 50 % and 90 % of the von Mises-Fisher distribution of the predicted kappa, calibrated where a calibration \
             was given.",
        );
        page.raw(self.scene.raw());
        let html = durable::write(folder.join("event.html"), page.html().as_bytes())?;
        Ok((html, durable::write(folder.join("event.svg"), svg.as_bytes())?))
    }
}

/// The times between which most coincident pulses lie; of all pulses where none is coincident.
fn span(times: &[f64], kept: &[bool]) -> (f64, f64) {
    let mut some: Vec<f64> = times.iter().zip(kept).filter(|(_, kept)| **kept).map(|(t, _)| *t).collect();
    if some.is_empty() {
        some = times.to_vec();
    }
    some.sort_by(f64::total_cmp);
    let at = |share: f64| some.get(((some.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or(0.0);
    (at(SPAN.0), at(SPAN.1))
}

/// The middle of the charge of coincident pulses; of all pulses where none is coincident.
fn middle(places: &[[f32; 3]], charges: &[f32], kept: &[bool]) -> [f32; 3] {
    let any = kept.iter().any(|kept| *kept);
    let (mut sum, mut weight) = ([0.0_f64; 3], 0.0_f64);
    for ((place, charge), kept) in places.iter().zip(charges).zip(kept) {
        let q = if (*kept || !any) && charge.is_finite() { f64::from(*charge) } else { 0.0 };
        (0..3).for_each(|k| sum[k] += q * f64::from(place[k]));
        weight += q;
    }
    sum.map(|v| if weight > 0.0 { (v / weight) as f32 } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::Frame;

    fn sensors() -> Sensors {
        let positions: Vec<[f32; 3]> =
            (0..27).map(|i| [i / 9 - 1, i / 3 % 3 - 1, i % 3 - 1].map(|v| v as f32)).collect();
        let n = positions.len();
        let ice = vec![[0.0; 2]; n];
        Sensors { positions, efficiency: vec![0; n], ice: ice.clone(), ice_upright: ice, frame: Frame::default() }
    }

    #[test]
    fn a_picture_says_how_far_off_a_direction_is_and_points_where_it_came_from() {
        let mut pictures = Pictures::new(&sensors(), Calibration::default());
        // Sensor 13 is the middle; two coincident pulses there, an auxiliary one in a corner.
        let pulses = PulseView { sensor: &[13, 13, !26], time: &[0.0, 0.1, 3.0], charge: &[0.0, 0.1, 1.0] };
        // Azimuth 90 degrees, zenith 90 degrees: from +y. Inside, the first component is the sine of the azimuth.
        let vector = angles::vector(90f64.to_radians(), 90f64.to_radians()).map(|v| (100.0 * v) as f32);
        let direction = [92f64.to_radians(), 90f64.to_radians()];
        let truth = True { direction, kind: Some("track".into()), energy: 12_500.0 };
        let known = Known { id: 24, vector, truth: Some(truth) };
        pictures.add(pulses, &known);
        let event = &pictures.scene.events[0];
        assert!(
            event.note.contains("3 pulses, 2 of them coincident; predicted azimuth 90.0°, zenith 90.0°"),
            "{}",
            event.note
        );
        // The region of 50 % of kappa 100 is 6.7 degrees wide.
        assert!(
            event.note.contains("50 % within 6.75°")
                && event.note.contains("2.00° off, inside both regions; track, 12.5 TeV"),
            "{}",
            event.note
        );
        // The predicted line: from the middle of the charge to where it came from.
        let end =
            usual(vector.map(|v| f64::from(v) / angles::length(vector.map(f64::from)))).map(|v| pictures.reach * v);
        assert!(end[1] > 600.0 && end[0].abs() < 0.01 && end[2].abs() < 0.01, "{end:?}");
        let folder = tempfile::tempdir().unwrap();
        let (page, still) = pictures.write(folder.path(), "event 24").unwrap();
        let html = std::fs::read_to_string(page.path).unwrap();
        assert!(html.contains(&report::floats(&[0.0, 0.0, 0.0, end[0], end[1], end[2]])));
        let svg = std::fs::read_to_string(still.path).unwrap();
        assert!(svg.contains("true direction") && svg.contains("time (ns)") && !svg.contains("NaN"), "{svg}");
        assert_eq!(usual(angles::vector(90f64.to_radians(), 90f64.to_radians())).map(f32::round), [0.0, 1.0, 0.0]);
    }

    #[test]
    fn an_event_of_noise_alone_is_drawn_too() {
        let mut pictures = Pictures::new(&sensors(), Calibration::default());
        let pulses = PulseView { sensor: &[!3], time: &[0.0], charge: &[0.0] };
        pictures.add(pulses, &Known { id: 1, vector: [0.0; 3], truth: None });
        let note = &pictures.scene.events[0].note;
        assert!(note.contains("0 of them coincident") && note.contains("all that lies outside of its cone"), "{note}");
        assert!(!pictures.scene.svg(0).contains("NaN"));
    }
}
