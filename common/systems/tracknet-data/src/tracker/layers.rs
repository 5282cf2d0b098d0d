//! The hits of an event, layer by layer, in cells of azimuth and of the other coordinate.

use std::collections::BTreeMap;

use super::state::Point;
use crate::event::Hits;

/// Cells along the other coordinate.
const ALONG: usize = 64;
/// Cells along the azimuth.
const AROUND: usize = 256;

/// One layer.
pub struct Layer {
    /// Volume and layer.
    pub key: (i32, i32),
    /// Whether it is a disk.
    pub disk: bool,
    /// Kind of its modules.
    pub kind: usize,
    /// Middle of its radius (barrel) or z (disk), and half its depth, mm.
    pub middle: f64,
    /// Half the depth.
    pub depth: f64,
    low: f64,
    high: f64,
    starts: Vec<u32>,
    hits: Vec<u32>,
    /// Hits per mm², by cell of the other coordinate.
    density: Vec<f64>,
}

/// All layers and points of an event.
pub struct Layers {
    /// The layers, by number.
    pub all: Vec<Layer>,
    /// Number of the layer of each hit.
    pub of_hit: Vec<u8>,
    /// The hits.
    pub points: Vec<Point>,
}

impl Layers {
    /// Sorts the hits of an event.
    pub fn new(hits: &Hits) -> Self {
        let points: Vec<Point> = (0..hits.len()).map(|i| Point::new(hits.xyz[i], hits.volume[i])).collect();
        let mut members: BTreeMap<(i32, i32), Vec<u32>> = BTreeMap::new();
        for i in 0..hits.len() {
            members.entry((hits.volume[i], hits.layer[i])).or_default().push(i as u32);
        }
        let mut of_hit = vec![0; hits.len()];
        let mut all = Vec::new();
        for (number, (key, list)) in members.into_iter().enumerate() {
            list.iter().for_each(|&i| of_hit[i as usize] = number.min(255) as u8);
            all.push(Layer::new(key, list, &points));
        }
        Self { all, of_hit, points }
    }

    /// Number of a layer.
    pub fn number(&self, key: (i32, i32)) -> Option<usize> {
        self.all.binary_search_by_key(&key, |layer| layer.key).ok()
    }
}

impl Layer {
    fn new(key: (i32, i32), list: Vec<u32>, points: &[Point]) -> Self {
        let first = &points[list[0] as usize];
        let (disk, kind) = (first.disk, first.kind);
        let depth_of = |p: &Point| if disk { p.xyz[2] } else { p.r };
        let along_of = |p: &Point| if disk { p.r } else { p.xyz[2] };
        let range = |f: &dyn Fn(&Point) -> f64| {
            list.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &i| {
                let v = f(&points[i as usize]);
                (low.min(v), high.max(v))
            })
        };
        let (near, far) = range(&depth_of);
        let (low, high) = range(&along_of);
        let high = high + 1e-3;
        let mut layer = Self {
            key,
            disk,
            kind,
            middle: 0.5 * (near + far),
            depth: 0.5 * (far - near),
            low,
            high,
            starts: vec![0; ALONG * AROUND + 1],
            hits: vec![0; list.len()],
            density: vec![0.0; ALONG],
        };
        let cell = |i: u32| {
            let p = &points[i as usize];
            layer.row(along_of(p)) * AROUND + column(p.phi)
        };
        let cells: Vec<usize> = list.iter().map(|&i| cell(i)).collect();
        let mut starts = vec![0_u32; ALONG * AROUND + 1];
        cells.iter().for_each(|&c| starts[c + 1] += 1);
        for c in 1..starts.len() {
            starts[c] += starts[c - 1];
        }
        let mut next = starts.clone();
        for (&i, &c) in list.iter().zip(&cells) {
            layer.hits[next[c] as usize] = i;
            next[c] += 1;
        }
        layer.starts = starts;
        let step = (layer.high - layer.low) / ALONG as f64;
        for row in 0..ALONG {
            let (from, to) = (row.saturating_sub(1), (row + 2).min(ALONG));
            let n = layer.starts[to * AROUND] - layer.starts[from * AROUND];
            let r = if disk { layer.low + (row as f64 + 0.5) * step } else { layer.middle };
            let area = std::f64::consts::TAU * r * step * (to - from) as f64;
            layer.density[row] = (f64::from(n) + 1.0) / area;
        }
        layer
    }

    fn row(&self, along: f64) -> usize {
        (((along - self.low) / (self.high - self.low) * ALONG as f64).max(0.0) as usize).min(ALONG - 1)
    }

    /// Hits per mm² around a place along the layer.
    pub fn density(&self, along: f64) -> f64 {
        self.density[self.row(along)]
    }

    /// Whether the layer has hits within a half width of a place along it.
    pub fn reaches(&self, along: f64, half: f64) -> bool {
        along + half >= self.low && along - half <= self.high
    }

    /// Calls `take` for all hits in the cells that overlap the window of half widths (azimuth, other coordinate).
    pub fn near(&self, phi: f64, along: f64, half_phi: f64, half_along: f64, mut take: impl FnMut(u32)) {
        if !self.reaches(along, half_along) {
            return;
        }
        let (bottom, top) = (self.row(along - half_along), self.row(along + half_along));
        let width = std::f64::consts::TAU / AROUND as f64;
        let cells = ((2.0 * half_phi / width).ceil() as usize + 1).min(AROUND);
        let first = column_of(phi - half_phi);
        // Cells of one row lie side by side: one run of hits, two where it goes around.
        let (last, around) = ((first + cells).min(AROUND), (first + cells).saturating_sub(AROUND));
        for starts in self.starts[bottom * AROUND..].windows(AROUND + 1).step_by(AROUND).take(top + 1 - bottom) {
            self.hits[starts[first] as usize..starts[last] as usize].iter().for_each(|&hit| take(hit));
            if around > 0 {
                self.hits[starts[0] as usize..starts[around] as usize].iter().for_each(|&hit| take(hit));
            }
        }
    }
}

fn column_of(phi: f64) -> usize {
    column((phi + std::f64::consts::PI).rem_euclid(std::f64::consts::TAU) - std::f64::consts::PI)
}

fn column(phi: f64) -> usize {
    use std::f64::consts::{PI, TAU};
    (((phi + PI) / TAU * AROUND as f64).max(0.0) as usize).min(AROUND - 1)
}
