//! The detector module by module: flat, staggered, overlapping at their edges, so that a particle leaves a hit in each
//! module that it crosses. They are read from TrackML's `detectors.csv`, or made from the numbers below, which describe a
//! detector of the same kind.

use std::f64::consts::{PI, TAU};
use std::path::Path;

use common::{Error, Result};

use super::detector::{Layer, Surface};
use super::state::State;
use crate::csv::{Kind, Table};

/// The key's value that asks for the modules made here.
pub const BUILT_IN: &str = "modules";

/// One flat module, a trapezoid.
#[derive(Debug, Clone, PartialEq)]
pub struct Module {
    /// Volume, layer and module.
    pub id: [i32; 3],
    /// Its middle, mm.
    pub centre: [f64; 3],
    /// Unit vectors: along what is measured best, along the other side, and the normal.
    pub axes: [[f64; 3]; 3],
    /// Half widths at the near and the far end, half length; mm.
    pub half: [f64; 3],
}

/// A cylinder of modules: volume, radius, modules around and along, their distance along the beam, half widths (u, v), angle of the
/// modules against the circle, half the distance of neighbouring rings.
struct Cylinder(i32, f64, u32, u32, f64, [f64; 2], f64, f64);

/// A ring of a disk: radius, modules, half widths at the inner and outer end, half length, place against the middle of the
/// disk, half the distance of neighbouring modules.
struct Ring(f64, u32, [f64; 2], f64, f64, f64);

const CYLINDERS: [Cylinder; 10] = [
    Cylinder(8, 32.0, 16, 14, 70.0, [8.4, 36.0], 0.14, 0.25),
    Cylinder(8, 72.0, 32, 14, 70.0, [8.4, 36.0], 0.14, 0.25),
    Cylinder(8, 116.0, 52, 14, 70.0, [8.4, 36.0], 0.14, 0.25),
    Cylinder(8, 172.0, 78, 14, 70.0, [8.4, 36.0], 0.14, 0.25),
    Cylinder(13, 260.0, 40, 21, 103.0, [24.0, 54.0], -0.15, 1.5),
    Cylinder(13, 360.0, 56, 21, 103.0, [24.0, 54.0], -0.15, 1.5),
    Cylinder(13, 500.0, 78, 21, 103.0, [24.0, 54.0], -0.15, 1.5),
    Cylinder(13, 660.0, 102, 21, 103.0, [24.0, 54.0], -0.15, 1.5),
    Cylinder(17, 820.0, 120, 21, 103.0, [24.0, 54.0], -0.15, 1.5),
    Cylinder(17, 1020.0, 152, 21, 103.0, [24.0, 54.0], -0.15, 1.5),
];
/// Volumes before and behind the middle, places of the disks, their rings.
type Disks = ([i32; 2], &'static [f64], &'static [Ring]);
const DISKS: [Disks; 3] = [
    (
        [7, 9],
        &[600.0, 700.0, 820.0, 960.0, 1100.0, 1300.0, 1500.0],
        &[Ring(66.0, 40, [8.4, 8.4], 36.0, 0.0, 2.25), Ring(140.0, 68, [8.4, 8.4], 36.0, 0.0, 2.0)],
    ),
    (
        [12, 14],
        &[1220.0, 1500.0, 1800.0, 2150.0, 2550.0, 2950.0],
        &[
            Ring(318.0, 54, [16.4, 24.2], 78.0, -3.0, 1.5),
            Ring(470.0, 56, [24.2, 32.2], 78.0, 3.0, 1.5),
            Ring(622.0, 60, [32.2, 40.0], 78.0, -3.0, 1.5),
        ],
    ),
    (
        [16, 18],
        &[1220.0, 1500.0, 1800.0, 2150.0, 2550.0, 2950.0],
        &[Ring(828.0, 48, [54.0, 64.2], 78.0, -4.0, 1.5), Ring(942.0, 50, [66.0, 72.0], 78.0, 4.0, 1.5)],
    ),
];
/// Resolution of cylinders and disks in the plane of a module, mm (standard deviation): pixel, short strip, long strip. Measured
/// on real events; strips are about evenly distributed along their length.
const RESOLUTION: [[f64; 2]; 3] = [[0.0046, 0.005], [0.017, 0.27], [0.027, 3.1]];
const DISK_RESOLUTION: [[f64; 2]; 3] = [[0.0155, 0.0095], [0.018, 0.33], [0.025, 3.0]];

/// Cells of azimuth that the modules of a layer are found by.
const AROUND: usize = 256;
/// How far from the middle of its layer a module is crossed, along the layer, mm: staggered modules are met earlier or later.
const MARGIN: f64 = 8.0;

/// All modules, layer by layer.
#[derive(Debug)]
pub struct Detector {
    /// The layers: where each lies on the whole.
    pub layers: Vec<Layer>,
    /// The modules of each.
    pub modules: Vec<Vec<Module>>,
    /// Modules of each layer near an azimuth.
    near: Vec<Vec<Vec<u32>>>,
}

/// A module that was crossed.
pub struct Crossing {
    /// Its place in the list of the layer.
    pub module: usize,
    /// The particle there.
    pub at: State,
    /// Turning angle from the state that flew there.
    pub turn: f64,
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

impl Module {
    /// A place in its plane, mm.
    pub fn place(&self, u: f64, v: f64) -> [f64; 3] {
        std::array::from_fn(|k| self.centre[k] + u * self.axes[0][k] + v * self.axes[1][k])
    }

    /// Half width at a place along the module.
    pub fn half_width(&self, v: f64) -> f64 {
        let [near, far, length] = self.half;
        0.5 * (near + far) + 0.5 * (far - near) * v / length
    }

    /// The coordinates of a point in its plane.
    pub fn local(&self, point: [f64; 3]) -> [f64; 2] {
        let off = std::array::from_fn(|k| point[k] - self.centre[k]);
        [dot(off, self.axes[0]), dot(off, self.axes[1])]
    }

    fn is_disk(&self) -> bool {
        self.axes[2][2].abs() > 0.7
    }

    /// Where a particle crosses it, near a turning angle.
    fn crossed(&self, near: &State, turn: f64) -> Option<(f64, State)> {
        let mut turn = turn;
        for _ in 0..8 {
            let at = near.turned(turn);
            let off = dot(std::array::from_fn(|k| at.position[k] - self.centre[k]), self.axes[2]);
            let radius = near.radius();
            let rate = radius * dot([at.phi.cos(), at.phi.sin(), at.slope], self.axes[2]);
            if rate.abs() < 1e-3 * radius {
                return None;
            }
            turn -= off / rate;
            if off.abs() < 1e-7 {
                let [u, v] = self.local(at.position);
                let inside = v.abs() <= self.half[2] && u.abs() <= self.half_width(v) && turn.abs() < PI;
                return inside.then_some((turn, at));
            }
        }
        None
    }
}

impl Detector {
    /// The modules of a file like TrackML's `detectors.csv` (plain, gz, or zip), or those made here for [`BUILT_IN`].
    ///
    /// # Errors
    /// [`Error::Input`] for a file that cannot be read or holds no module.
    pub fn open(what: &str, barrel_only: bool) -> Result<Self> {
        let mut modules = if what == BUILT_IN { built_in() } else { read(Path::new(what))? };
        if barrel_only {
            modules.retain(|module| !module.is_disk());
        }
        if modules.is_empty() {
            return Err(Error::input(Path::new(what), "holds no module").hint("expected TrackML's `detectors.csv`"));
        }
        Ok(Self::of(modules))
    }

    fn of(mut modules: Vec<Module>) -> Self {
        modules.sort_by_key(|module| module.id);
        let mut detector = Self { layers: vec![], modules: vec![], near: vec![] };
        for list in modules.chunk_by(|a, b| a.id[..2] == b.id[..2]) {
            detector.layers.push(layer(list));
            let mut cells = vec![vec![]; AROUND];
            for (i, module) in list.iter().enumerate() {
                let r = module.centre[0].hypot(module.centre[1]);
                // Corners of a disk's module turn away from its middle.
                let inner = if module.is_disk() { (r - module.half[2]).max(1.0) } else { r };
                let half = ((module.half[0].max(module.half[1]) + MARGIN) / inner).min(PI);
                let phi = module.centre[1].atan2(module.centre[0]);
                let width = TAU / AROUND as f64;
                let (from, to) = (((phi - half) / width).floor() as i64, ((phi + half) / width).floor() as i64);
                for cell in from..=to.min(from + AROUND as i64 - 1) {
                    cells[cell.rem_euclid(AROUND as i64) as usize].push(i as u32);
                }
            }
            detector.near.push(cells);
            detector.modules.push(list.to_vec());
        }
        detector
    }

    /// The modules of a layer that a particle crosses which flies from `near` to `at`, in the order of its way.
    pub fn crossed(&self, layer: usize, near: &State, at: &State) -> Vec<Crossing> {
        let phi = at.position[1].atan2(at.position[0]);
        let cell = (((phi + TAU).rem_euclid(TAU) / TAU * AROUND as f64) as usize).min(AROUND - 1);
        let turn = (at.phi - near.phi).abs();
        let reach = MARGIN * at.slope.abs().max(1.0);
        let disk = matches!(self.layers[layer].surface, Surface::Disk { .. });
        let candidates = self.near[layer][cell].iter().map(|i| *i as usize);
        let mut found: Vec<Crossing> = candidates
            .filter(|i| {
                let module = &self.modules[layer][*i];
                disk || (module.centre[2] - at.position[2]).abs() < module.half[2] + reach
            })
            .filter_map(|module| {
                let (turn, at) = self.modules[layer][module].crossed(near, turn)?;
                Some(Crossing { module, at, turn })
            })
            .collect();
        found.sort_by(|a, b| a.turn.total_cmp(&b.turn));
        found
    }
}

/// Where the modules of a layer lie on the whole.
fn layer(modules: &[Module]) -> Layer {
    let n = modules.len() as f64;
    let r = |m: &Module| m.centre[0].hypot(m.centre[1]);
    let (mean_r, mean_z) =
        (modules.iter().map(r).sum::<f64>() / n, modules.iter().map(|m| m.centre[2]).sum::<f64>() / n);
    let least = |of: &dyn Fn(&Module) -> f64| modules.iter().map(of).fold(f64::INFINITY, f64::min);
    let most = |of: &dyn Fn(&Module) -> f64| modules.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
    let disk = modules[0].is_disk();
    let surface = match disk {
        false => Surface::Barrel { r: mean_r, half: most(&|m| m.centre[2].abs() + m.half[2]) + MARGIN },
        true => Surface::Disk {
            z: mean_z,
            inner: (least(&|m| r(m) - m.half[2]) - MARGIN).max(1.0),
            outer: most(&|m| (r(m) + m.half[2]).hypot(m.half[1])) + MARGIN,
        },
    };
    let [volume, layer, _] = modules[0].id;
    // No modules of its own: those of the list are crossed.
    let mut layer =
        Layer { volume, layer, surface, modules: 0, stagger: 0.0, sigma_phi: 0.0, sigma_long: 0.0, flat: false };
    [layer.sigma_phi, layer.sigma_long] = if disk { DISK_RESOLUTION } else { RESOLUTION }[layer.kind()];
    layer.flat = layer.kind() > 0;
    layer
}

fn built_in() -> Vec<Module> {
    let mut all = Vec::new();
    let mut layers = std::collections::BTreeMap::<i32, i32>::new();
    for Cylinder(volume, r, around, along, step, half, tilt, stagger) in CYLINDERS {
        let layer = layers.entry(volume).or_insert(0);
        *layer += 2;
        for ring in 0..along {
            let z = (f64::from(ring) - 0.5 * f64::from(along - 1)) * step;
            let r = r + if ring.is_multiple_of(2) { stagger } else { -stagger };
            for i in 0..around {
                let phi = (f64::from(i) + 0.5) * TAU / f64::from(around) - PI;
                let (sin, cos) = (phi + tilt).sin_cos();
                all.push(Module {
                    id: [volume, *layer, (ring * around + i) as i32 + 1],
                    centre: [r * phi.cos(), r * phi.sin(), z],
                    axes: [[-sin, cos, 0.0], [0.0, 0.0, 1.0], [cos, sin, 0.0]],
                    half: [half[0], half[0], half[1]],
                });
            }
        }
    }
    for (volumes, places, rings) in DISKS {
        for (number, place) in places.iter().enumerate() {
            let layer = 2 * number as i32 + 2;
            for (volume, side, layer) in
                [(volumes[0], -1.0, 2 * places.len() as i32 + 2 - layer), (volumes[1], 1.0, layer)]
            {
                let mut module = 0;
                for Ring(r, modules, widths, length, off, stagger) in rings {
                    for i in 0..*modules {
                        module += 1;
                        let phi = (f64::from(i) + 0.5) * TAU / f64::from(*modules) - PI;
                        let (sin, cos) = phi.sin_cos();
                        let depth = off + if i.is_multiple_of(2) { *stagger } else { -stagger };
                        all.push(Module {
                            id: [volume, layer, module],
                            centre: [r * cos, r * sin, side * (place + depth)],
                            axes: [[-sin, cos, 0.0], [cos, sin, 0.0], [0.0, 0.0, -1.0]],
                            half: [widths[0], widths[1], *length],
                        });
                    }
                }
            }
        }
    }
    all
}

/// Columns of a file of modules: the first three are whole numbers.
const NUMBERS: [&str; 15] = [
    "cx",
    "cy",
    "cz",
    "rot_xu",
    "rot_xv",
    "rot_xw",
    "rot_yu",
    "rot_yv",
    "rot_yw",
    "rot_zu",
    "rot_zv",
    "rot_zw",
    "module_minhu",
    "module_maxhu",
    "module_hv",
];

fn read(path: &Path) -> Result<Vec<Module>> {
    let mut columns = vec![("volume_id", Kind::I32), ("layer_id", Kind::I32), ("module_id", Kind::I32)];
    columns.extend(NUMBERS.map(|name| (name, Kind::F32)));
    let mut table = Table::read(path, &columns)?;
    let ids = [table.i32(0)?, table.i32(1)?, table.i32(2)?];
    let numbers = (0..NUMBERS.len()).map(|k| table.f32(3 + k)).collect::<Result<Vec<_>>>()?;
    let mut all = Vec::with_capacity(ids[0].len());
    for row in 0..ids[0].len() {
        let number = |k: usize| f64::from(numbers[k][row]);
        let axis = |k: usize| {
            let raw = [number(3 + k), number(6 + k), number(9 + k)];
            let length = dot(raw, raw).sqrt();
            raw.map(|v| v / length)
        };
        let module = Module {
            id: [ids[0][row], ids[1][row], ids[2][row]],
            centre: [number(0), number(1), number(2)],
            axes: [axis(0), axis(1), axis(2)],
            half: [number(12), number(13), number(14)],
        };
        let sound = module.half.iter().all(|v| *v > 0.0) && module.axes.as_flattened().iter().all(|v| v.is_finite());
        if !sound {
            return Err(Error::input(
                path,
                format!("row {}: module {:?} has no size or no direction", row + 2, module.id),
            )
            .hint("half widths and lengths in mm, > 0; rot_* are the columns of a rotation"));
        }
        all.push(module);
    }
    Ok(all)
}

/// The modules as TrackML's `detectors.csv`.
pub fn table(detector: &Detector) -> String {
    use std::fmt::Write as _;
    let mut text = format!("volume_id,layer_id,module_id,{}\n", NUMBERS.join(","));
    for module in detector.modules.iter().flatten() {
        let [volume, layer, number] = module.id;
        let _ = write!(text, "{volume},{layer},{number}");
        let [x, y, z] = module.centre;
        let _ = write!(text, ",{x},{y},{z}");
        for k in 0..3 {
            let _ = write!(text, ",{},{},{}", module.axes[0][k], module.axes[1][k], module.axes[2][k]);
        }
        let [near, far, length] = module.half;
        let _ = writeln!(text, ",{near},{far},{length}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_that_are_written_are_read_back_and_lie_where_their_layer_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("detectors.csv");
        let made = Detector::open(BUILT_IN, false).unwrap();
        common::durable::write(&path, table(&made).as_bytes()).unwrap();
        let back = Detector::open(&path.to_string_lossy(), false).unwrap();
        assert_eq!(made.layers.len(), 48);
        for (a, b) in made.modules.iter().flatten().zip(back.modules.iter().flatten()) {
            assert_eq!(a.id, b.id);
            assert!((0..3).all(|k| (a.centre[k] - b.centre[k]).abs() < 1e-3), "{a:?} {b:?}");
            assert!((dot(a.axes[0], a.axes[1])).abs() < 1e-6 && (dot(b.axes[2], b.axes[2]) - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn a_straight_particle_crosses_one_module_or_two_that_overlap() {
        let detector = Detector::open(BUILT_IN, false).unwrap();
        let outer = detector.layers.iter().position(|layer| (layer.volume, layer.layer) == (8, 8)).unwrap();
        let mut counts = [0; 4];
        for i in 0..2000 {
            let phi = f64::from(i) * 0.137;
            let state = State { position: [0.0; 3], phi, pt: 50.0, slope: 0.3, charge: 1.0, turning: 1.0 };
            let turn = 172.0 / state.radius();
            let there = state.turned(turn);
            let found = detector.crossed(outer, &state, &there);
            for crossing in &found {
                let module = &detector.modules[outer][crossing.module];
                let [u, v] = module.local(crossing.at.position);
                let back = module.place(u, v);
                assert!((0..3).all(|k| (back[k] - crossing.at.position[k]).abs() < 1e-6));
            }
            counts[found.len().min(3)] += 1;
        }
        assert_eq!(counts[0], 0, "{counts:?}");
        let twice = f64::from(counts[2] + counts[3]) / 2000.0;
        assert!((0.15..0.3).contains(&twice), "{counts:?}");
    }
}
