//! The layers of the TrackML detector: cylinders and disks, each made of flat modules that overlap at their edges.

/// Strength of the field along z, and what turns a transverse momentum (GeV/c) into a radius of curvature (mm).
pub const FIELD_T: f64 = 2.0;
/// mm per GeV/c in that field.
pub const MM_PER_GEV: f64 = 1000.0 / (0.299_792_458 * FIELD_T);

/// Where a layer lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Surface {
    /// A cylinder of radius r, |z| < the half length; mm.
    Barrel {
        /// Radius.
        r: f64,
        /// Half length.
        half: f64,
    },
    /// A disk at z between two radii; mm.
    Disk {
        /// Place.
        z: f64,
        /// Inner radius.
        inner: f64,
        /// Outer radius.
        outer: f64,
    },
}

/// One layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layer {
    /// Volume.
    pub volume: i32,
    /// Layer of the volume.
    pub layer: i32,
    /// Where it lies.
    pub surface: Surface,
    /// Modules around the axis; 0 where they stand in a list ([`super::modules::Detector`]).
    pub modules: u32,
    /// Half the distance between neighbouring modules along their normal, mm.
    pub stagger: f64,
    /// Resolution along the circle, mm.
    pub sigma_phi: f64,
    /// Resolution along z (barrel) or r (disk), mm.
    pub sigma_long: f64,
    /// Whether the latter is the half width of a box instead (long strips).
    pub flat: bool,
}

/// All layers, barrel first.
pub fn layers(barrel_only: bool) -> Vec<Layer> {
    let mut all = Vec::new();
    let kinds = [(0.0025, 0.005, false, 1.3), (0.017, 0.24, false, 3.0), (0.026, 5.0, true, 3.0)];
    let mut add = |volume, layer, surface, modules, kind: usize| {
        let (sigma_phi, sigma_long, flat, stagger) = kinds[kind];
        all.push(Layer { volume, layer, surface, modules, stagger, sigma_phi, sigma_long, flat });
    };
    for (i, (r, modules)) in [(32.5, 16), (72.3, 32), (116.2, 52), (172.0, 78)].into_iter().enumerate() {
        add(8, 2 * i as i32 + 2, Surface::Barrel { r, half: 491.0 }, modules, 0);
    }
    for (i, (r, modules)) in [(260.0, 40), (360.0, 56), (500.0, 78), (660.0, 102)].into_iter().enumerate() {
        add(13, 2 * i as i32 + 2, Surface::Barrel { r, half: 1083.0 }, modules, 1);
    }
    for (i, (r, modules)) in [(820.0, 60), (1020.0, 74)].into_iter().enumerate() {
        add(17, 2 * i as i32 + 2, Surface::Barrel { r, half: 1079.0 }, modules, 2);
    }
    if barrel_only {
        return all;
    }
    let pixel = [1500.0, 1300.0, 1100.0, 960.0, 820.0, 700.0, 600.0];
    let strip = [2950.0, 2550.0, 2150.0, 1800.0, 1500.0, 1220.0];
    for (i, z) in pixel.into_iter().enumerate() {
        let number = 2 * i as i32 + 2;
        add(7, number, Surface::Disk { z: -z, inner: 30.0, outer: 177.0 }, 30, 0);
        add(9, 16 - number, Surface::Disk { z, inner: 30.0, outer: 177.0 }, 30, 0);
    }
    for (i, z) in strip.into_iter().enumerate() {
        let number = 2 * i as i32 + 2;
        for (left, right, inner, outer, kind) in [(12, 14, 240.0, 702.0, 1), (16, 18, 755.0, 1020.0, 2)] {
            add(left, number, Surface::Disk { z: -z, inner, outer }, 44, kind);
            add(right, 14 - number, Surface::Disk { z, inner, outer }, 44, kind);
        }
    }
    all
}

impl Layer {
    /// Whether it is a disk.
    pub fn is_disk(&self) -> bool {
        matches!(self.surface, Surface::Disk { .. })
    }

    /// Kind of its modules: 0 pixel, 1 short strip, 2 long strip.
    pub fn kind(&self) -> usize {
        match self.volume {
            7..=9 => 0,
            12..=14 => 1,
            _ => 2,
        }
    }

    /// The module at an angle, and how far from its middle that is, in half widths (-1..1).
    pub fn module(&self, phi: f64) -> (u32, f64) {
        let width = std::f64::consts::TAU / f64::from(self.modules);
        let place = phi.rem_euclid(std::f64::consts::TAU) / width;
        let index = (place.floor() as u32).min(self.modules - 1);
        (index, 2.0 * (place - f64::from(index)) - 1.0)
    }

    /// Where the plane of module `index` lies: its distance from the axis (barrel) or place on it (disk).
    pub fn plane(&self, index: u32) -> f64 {
        let side = if index.is_multiple_of(2) { -self.stagger } else { self.stagger };
        match self.surface {
            Surface::Barrel { r, .. } => r + side,
            Surface::Disk { z, .. } => z + side,
        }
    }

    /// Angle of the normal of module `index`.
    pub fn normal(&self, index: u32) -> f64 {
        (f64::from(index) + 0.5) * std::f64::consts::TAU / f64::from(self.modules)
    }
}
