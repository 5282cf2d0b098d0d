//! Events with the tracks that were found in them: found, missed and fake ones where the truth is known.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use common::Result;
use common::durable::{self, Written};
use report::Page;
use report::scene::{Coloring, Data, Event, FAINT, Filter, GREY, Helix, INK, Kind, Layer, Pair, Scene, hue};

use super::views;
use crate::cuts::Cuts;
use crate::event::{self, Hits, Particles, Places, Truth};
use crate::figures::{Comparison, Rule};
use crate::submission::Submission;
use crate::tracker::helix::{Estimate, MM_PER_GEV, estimate};

/// Bytes of a page's events at most.
const MOST: usize = 24 << 20;
/// The rule by which a track is a particle.
const RULE: Rule = Rule::Double(0.5);
/// A surface is a cylinder where it is so many times longer than thick.
const LONG: f32 = 1.5;

/// What became of a track or a particle, and its colour.
fn states(judged: bool) -> Vec<(String, Pair)> {
    let list: &[(&str, Pair)] = match judged {
        true => &[("found", hue(0)), ("missed", hue(1)), ("fake", hue(3)), ("on no track", GREY)],
        false => &[("track", hue(0)), ("on no track", GREY)],
    };
    list.iter().map(|(name, color)| ((*name).to_string(), *color)).collect()
}

/// Tracks of an event on their way to a picture.
#[derive(Default)]
struct Drawn {
    helices: Vec<Helix>,
    state: Vec<i64>,
    number: Vec<i64>,
    hits: Vec<i64>,
    pt: Vec<f32>,
    eta: Vec<f32>,
    z0: Vec<f32>,
}

impl Drawn {
    /// Adds the helix through hits; none where there is none. Gives its transverse momentum.
    fn add(&mut self, state: i64, number: i64, points: &[[f32; 3]]) -> Option<f32> {
        let found = estimate(points)?;
        let helix = helix(&found, points)?;
        self.helices.push(helix);
        self.state.push(state);
        self.number.push(number);
        self.hits.push(points.len() as i64);
        self.pt.push(found.pt as f32);
        self.eta.push(found.slope.asinh() as f32);
        self.z0.push(found.z0 as f32);
        Some(found.pt as f32)
    }

    fn count(&self, state: i64) -> usize {
        self.state.iter().filter(|s| **s == state).count()
    }
}

/// The piece of a helix from its point nearest to the beam to the outermost of its hits.
fn helix(found: &Estimate, points: &[[f32; 3]]) -> Option<Helix> {
    let radius = found.pt * MM_PER_GEV;
    let (sin, cos) = found.phi.sin_cos();
    let near = [-found.d0 * sin, found.d0 * cos];
    // Anticlockwise tracks have their centre to the left.
    let sense = -found.charge;
    let center = [near[0] - sense * radius * sin, near[1] + sense * radius * cos];
    let chord = |p: &[f32; 3]| (f64::from(p[0]) - near[0]).hypot(f64::from(p[1]) - near[1]);
    let longest = points.iter().map(chord).fold(0.0, f64::max);
    let turn = 2.0 * (longest / (2.0 * radius)).min(1.0).asin();
    let helix = Helix {
        center: center.map(|v| v as f32),
        radius: radius as f32,
        phi: (near[1] - center[1]).atan2(near[0] - center[0]) as f32,
        turn: (sense * turn) as f32,
        z: found.z0 as f32,
        rise: (found.slope * turn * radius) as f32,
    };
    let sound = [helix.radius, helix.phi, helix.turn, helix.z, helix.rise].iter().all(|v| v.is_finite());
    sound.then_some(helix)
}

/// An event with its hits' places, the tracks of the submission and what is known of the truth.
fn picture(prefix: &Path, hits: &Hits, submission: &Submission) -> Result<(Event, bool)> {
    let places = Places::of(&hits.hit_id, prefix)?;
    let mut tracks: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (hit, track) in submission.hit_id.iter().zip(&submission.track_id).filter(|(_, track)| **track > 0) {
        if let Some(row) = places.get(*hit) {
            tracks.entry(*track).or_default().push(row);
        }
    }
    let truth = truth(prefix)?;
    let judged = match &truth {
        Some((particles, truth)) => {
            let file = event::part(prefix, "hits")?;
            Some(Comparison::new((hits, particles, truth), submission, &Cuts::default(), &file)?.outcomes(RULE))
        }
        None => None,
    };
    let points = |rows: &[usize]| rows.iter().map(|&row| hits.xyz[row]).collect::<Vec<_>>();
    let none = if judged.is_some() { 3 } else { 1 };
    let (mut state, mut pt) = (vec![none; hits.len()], vec![0.0; hits.len()]);
    let mut track_of = vec![-1; hits.len()];
    let mut drawn = Drawn::default();
    let real: HashMap<i64, bool> =
        judged.iter().flat_map(|(tracks, _)| tracks.iter().map(|(number, of)| (*number, of.is_some()))).collect();
    for (number, rows) in &tracks {
        // Tracks that are too short to be judged are fakes of no account: they are drawn by their hits alone.
        let is = match (&judged, real.get(number)) {
            (None, _) | (_, Some(true)) => 0,
            (_, Some(false)) => 2,
            (_, None) => none,
        };
        let own = if is == none && judged.is_some() { None } else { drawn.add(is, *number, &points(rows)) };
        for &row in rows {
            (state[row], pt[row], track_of[row]) = (is, own.unwrap_or(0.0), *number);
        }
    }
    if let (Some((_, missed)), Some((_, truth))) = (&judged, &truth) {
        let missed: HashSet<i64> = missed.iter().copied().collect();
        let mut rows_of: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (hit, particle) in truth.hit_id.iter().zip(&truth.particle_id).filter(|(_, p)| missed.contains(p)) {
            if let Some(row) = places.get(*hit) {
                rows_of.entry(*particle).or_default().push(row);
            }
        }
        for rows in rows_of.values() {
            let own = drawn.add(1, -1, &points(rows));
            // A hit that a track took keeps that track's colour.
            for &row in rows {
                if state[row] == none {
                    (state[row], pt[row]) = (1, own.unwrap_or(0.0));
                }
            }
        }
    }
    let name = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let note = match judged {
        Some(_) => format!(
            "{} hits, {} tracks: {} found, {} fake; {} reconstructible particles missed (pT at least 1 GeV/c)",
            hits.len(),
            tracks.len(),
            drawn.count(0),
            drawn.count(2),
            drawn.count(1)
        ),
        None => format!("{} hits, {} tracks; the truth is not known", hits.len(), tracks.len()),
    };
    let helices = Data::helices(&drawn.helices).whole("state", drawn.state).whole("track", drawn.number);
    let helices =
        helices.whole("hits", drawn.hits).floats("pt", &drawn.pt).floats("eta", &drawn.eta).floats("z0", &drawn.z0);
    let dots = Data::points(&hits.xyz).whole("state", state).floats("pt", &pt).whole("track", track_of);
    let dots = dots.whole("hit", hits.hit_id.iter().copied());
    let dots = dots.whole("volume", hits.volume.iter().copied()).whole("layer", hits.layer.iter().copied());
    Ok((Event::new(name).note(note).with("tracks", helices).with("hits", dots), truth.is_some()))
}

/// The truth of an event, where its files are there.
fn truth(prefix: &Path) -> Result<Option<(Particles, Truth)>> {
    let there = event::part_if_there(prefix, "truth")?.is_some() || event::knows_particles(prefix)?;
    if !(there && event::has_particles(prefix)?) {
        return Ok(None);
    }
    Ok(Some((Particles::read(prefix)?, Truth::read(prefix)?)))
}

/// Lowest and highest r and z of the hits of each surface (volume, layer).
type Surfaces = BTreeMap<(i32, i32), [f32; 4]>;

fn widen(surfaces: &mut Surfaces, hits: &Hits) {
    for (row, [x, y, z]) in hits.xyz.iter().enumerate() {
        let r = x.hypot(*y);
        let ends = surfaces.entry((hits.volume[row], hits.layer[row])).or_insert([r, r, *z, *z]);
        *ends = [ends[0].min(r), ends[1].max(r), ends[2].min(*z), ends[3].max(*z)];
    }
}

/// Surfaces as lines: where hits were seen of them. A cylinder has a circle at both ends, a disk one at both radii, and
/// both a line that shows them along the beam.
fn outlines(surfaces: &Surfaces) -> Vec<Vec<[f32; 3]>> {
    let circle = |r: f32, z: f32| -> Vec<[f32; 3]> {
        (0..=72).map(|k| (k as f32 * std::f32::consts::PI / 36.0).sin_cos()).map(|(s, c)| [r * c, r * s, z]).collect()
    };
    let mut lines = vec![];
    for [near, far, low, high] in surfaces.values() {
        if high - low > LONG * (far - near) {
            let r = f32::midpoint(*near, *far);
            lines.extend([circle(r, *low), circle(r, *high), vec![[r, 0.0, *low], [r, 0.0, *high]]]);
        } else {
            let z = f32::midpoint(*low, *high);
            lines.extend([circle(*near, z), circle(*far, z), vec![[*near, 0.0, z], [*far, 0.0, z]]]);
        }
    }
    lines
}

/// Writes `event.html`, the first events as far as a page holds them, and `event.svg`, the first one. `found` gives the
/// tracks of an event by its place among the prefixes.
pub fn write(prefixes: &[PathBuf], found: impl Fn(usize) -> Submission, folder: &Path) -> Result<(Written, Written)> {
    let mut scene = Scene::new("Tracks", ["x", "y", "z"], "mm");
    views(&mut scene, "state");
    scene.instead = "The picture `event.svg` beside this page shows the first event.".into();
    let (mut surfaces, mut bytes, mut judged) = (Surfaces::new(), 0, false);
    for (place, prefix) in prefixes.iter().enumerate() {
        common::cli::signals::check("nothing that can be gone on with; the same command starts anew")?;
        let hits = Hits::read(prefix)?;
        let (event, known) = picture(prefix, &hits, &found(place))?;
        bytes += event.bytes();
        if place > 0 && (bytes > MOST || known != judged) {
            break;
        }
        judged = known;
        widen(&mut surfaces, &hits);
        scene.events.push(event);
    }
    let names = states(judged);
    let texts: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
    scene.colors = vec![
        Coloring::names("state", if judged { "tracks" } else { "hits" }, names),
        Coloring::ramp("pt", "pT", "GeV/c", true),
        Coloring::ids("track", "track by track", "one colour a track, again after seven; grey: none"),
    ];
    scene.filters = vec![Filter::range("pt", "pT", "GeV/c", true)];
    let tracks = Layer::new("tracks", "helices through their hits", Kind::Helices).one("helix").size(1.5);
    let tracks = tracks.class("state", "state", &texts).field("pt", "pT", "GeV/c").field("eta", "eta", "");
    let tracks = tracks.field("z0", "z at the beam", "mm").field("hits", "hits", "").field("track", "track", "");
    let dots = Layer::new("hits", "hits", Kind::Points).one("hit").size(3.2).field("hit", "hit id", "");
    let dots = dots.class("state", "state", &texts).field("track", "track", "").field("pt", "pT of its track", "GeV/c");
    let dots = dots.field("volume", "volume", "").field("layer", "layer", "");
    let layers = Layer::new("layers", "layers, where hits were seen", Kind::Lines).size(1.0).color(FAINT).backdrop(0.6);
    scene.layers = vec![layers, tracks, dots];
    let lines = outlines(&surfaces);
    scene.shared = vec![("layers", Data::lines(lines.iter().map(Vec::as_slice)))];
    let mut axis = Layer::new("beam", "beam", Kind::Lines).size(1.0).color(INK).backdrop(0.5);
    axis.shown = false;
    scene.layers.insert(0, axis);
    let reach = surfaces.values().map(|ends| ends[3].abs().max(ends[2].abs())).fold(0.0, f32::max);
    scene.shared.push(("beam", Data::lines([[[0.0, 0.0, -reach], [0.0, 0.0, reach]].as_slice()])));
    let what = match scene.events.len() == prefixes.len() {
        true => format!("all {} event(s) of this prediction", prefixes.len()),
        false => format!("the first {} of the {} events of this prediction", scene.events.len(), prefixes.len()),
    };
    let mut page = Page::new("Tracks", what);
    if judged {
        page.text("A track is found where its particle made more than half of its hits and it holds more than half of the particle's hits; otherwise it is fake.");
    }
    page.raw(scene.raw());
    let written = durable::write(folder.join("event.html"), page.html().as_bytes())?;
    let still = if scene.events.is_empty() { String::new() } else { scene.svg(0) };
    Ok((written, durable::write(folder.join("event.svg"), still.as_bytes())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::particle::State;

    #[test]
    fn helices_run_through_the_hits_that_they_were_fitted_to() {
        for (charge, phi, slope) in [(1.0, 0.3, 0.4), (-1.0, 2.9, -1.5), (1.0, -3.0, 0.01)] {
            let state = State { position: [0.01, -0.02, 3.0], phi, pt: 0.9, slope, charge };
            let points: Vec<[f32; 3]> =
                [0.05, 0.1, 0.2, 0.3].iter().map(|t| state.turned(*t).position.map(|v| v as f32)).collect();
            let mut drawn = Drawn::default();
            let pt = drawn.add(0, 7, &points).unwrap();
            assert!((pt - 0.9).abs() < 1e-2, "{pt}");
            for p in &points {
                let near = |k: usize| {
                    let at = drawn.helices[0].at(k as f64 / 2000.0);
                    (0..3).map(|a| (at[a] - f64::from(p[a])).powi(2)).sum::<f64>().sqrt()
                };
                let least = (0..=2000).map(near).fold(f64::INFINITY, f64::min);
                assert!(least < 1.0, "{p:?} lies {least} mm off {:?}", drawn.helices[0]);
            }
        }
    }

    #[test]
    fn surfaces_are_drawn_where_hits_were_seen() {
        let hits = Hits {
            hit_id: vec![1, 2, 3, 4],
            xyz: vec![[30.0, 0.0, -50.0], [0.0, 31.0, 60.0], [40.0, 0.0, 500.0], [0.0, 90.0, 502.0]],
            volume: vec![8, 8, 9, 9],
            layer: vec![2, 2, 2, 2],
            module: vec![0; 4],
        };
        let mut surfaces = Surfaces::new();
        widen(&mut surfaces, &hits);
        let lines = outlines(&surfaces);
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[2], [[30.5, 0.0, -50.0], [30.5, 0.0, 60.0]]);
        assert_eq!(lines[5], [[40.0, 0.0, 501.0], [90.0, 0.0, 501.0]]);
    }
}
