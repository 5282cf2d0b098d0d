//! Directions on the sphere as the IceCube competition has them: azimuth and zenith, vectors, opening angles.
//!
//! The vector of (azimuth a, zenith z) is `(sin a sin z, cos a sin z, cos z)`: its first component is the sine. That is
//! exchanged against the usual convention, consistent inside the system, and what published weights were trained with.

use std::f32::consts::{PI, TAU};

/// Shortest length that a vector is divided by.
const LEAST: f32 = 1e-12;

/// Azimuth in (0, 2 pi] and zenith in [0, pi] of an un-normalised vector, in f32 as upstream's `get_val`. The zero
/// vector gives (pi, pi / 2).
pub fn angles([x, y, z]: [f32; 3]) -> [f32; 2] {
    let length = (x * x + y * y + z * z).sqrt().max(LEAST);
    let (x, y, z) = (x / length, y / length, z / length);
    let zenith = z.clamp(-1.0, 1.0).acos();
    let flat = (x * x + y * y).sqrt().max(LEAST);
    let mut azimuth = (x / flat).clamp(-1.0, 1.0).asin();
    if y / flat <= 0.0 {
        azimuth = PI - azimuth;
    }
    if azimuth <= 0.0 {
        azimuth += TAU;
    }
    [azimuth, zenith]
}

/// The unit vector of a direction.
pub fn vector(azimuth: f64, zenith: f64) -> [f64; 3] {
    [azimuth.sin() * zenith.sin(), azimuth.cos() * zenith.sin(), zenith.cos()]
}

/// Length of a vector.
pub fn length(v: [f64; 3]) -> f64 {
    v.iter().map(|c| c * c).sum::<f64>().sqrt()
}

/// Angle between two vectors in radians; exact for small angles as well. A zero vector is at pi / 2 to everything.
pub fn opening(a: [f64; 3], b: [f64; 3]) -> f64 {
    let cross = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    let cross = length(cross);
    if cross == 0.0 && dot == 0.0 { std::f64::consts::FRAC_PI_2 } else { cross.atan2(dot) }
}

/// The angle around the mode that holds the share `p` of a von Mises-Fisher distribution of concentration `kappa`, in
/// radians: `cos = 1 + log(1 - p (1 - exp(-2 kappa))) / kappa`, in a form that holds for every `kappa` >= 0.
pub fn containment(kappa: f64, p: f64) -> f64 {
    if kappa < 1e-9 {
        return (1.0 - 2.0 * p).acos();
    }
    let cosine = 1.0 + (p * (-2.0 * kappa).exp_m1()).ln_1p() / kappa;
    cosine.clamp(-1.0, 1.0).acos()
}

/// The share of a von Mises-Fisher distribution within `angle` of its mode: inverse of [`containment`].
pub fn share_within(kappa: f64, angle: f64) -> f64 {
    if kappa < 1e-9 {
        return (1.0 - angle.cos()) / 2.0;
    }
    // 1 - cos without cancellation.
    let versine = 2.0 * (angle / 2.0).sin().powi(2);
    (-kappa * versine).exp_m1() / (-2.0 * kappa).exp_m1()
}

/// Logarithm of the von Mises-Fisher density at an angle from its mode, per steradian.
pub fn log_density(kappa: f64, angle: f64) -> f64 {
    let versine = 2.0 * (angle / 2.0).sin().powi(2);
    if kappa < 1e-6 {
        return kappa * (1.0 - versine) - (4.0 * std::f64::consts::PI).ln();
    }
    // log C3 with the mode's exponential taken out.
    kappa.ln() - (-(-2.0 * kappa).exp_m1()).ln() - std::f64::consts::TAU.ln() - kappa * versine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_undo_vectors_all_over_the_sphere() {
        for i in 0..40 {
            for j in 1..20 {
                let (a, z) = ((i as f64 + 0.5) / 40.0 * std::f64::consts::TAU, j as f64 / 20.0 * std::f64::consts::PI);
                let v = vector(a, z);
                let [azimuth, zenith] = angles(v.map(|c| (c * 7.5) as f32));
                // The arcsine is steep near the axis.
                assert!((f64::from(azimuth) - a).abs() < 2e-3 && (f64::from(zenith) - z).abs() < 2e-3, "{a} {z}");
                assert!(opening(v, vector(f64::from(azimuth), f64::from(zenith))) < 2e-3);
            }
        }
    }

    #[test]
    fn special_vectors_have_their_published_angles() {
        assert_eq!(angles([0.0; 3]), [PI, PI / 2.0]);
        assert_eq!(angles([0.0, 1.0, 0.0]), [TAU, PI / 2.0]);
    }

    #[test]
    fn opening_angles_are_exact_where_the_arccosine_is_not() {
        let tiny = 1e-9;
        assert!((opening(vector(1.0, 1.0), vector(1.0, 1.0 + tiny)) - tiny).abs() < 1e-15);
        assert_eq!(opening([0.0; 3], [1.0, 0.0, 0.0]), std::f64::consts::FRAC_PI_2);
        assert!((opening([1.0, 0.0, 0.0], [-2.0, 0.0, 0.0]) - std::f64::consts::PI).abs() < 1e-15);
    }

    #[test]
    fn containment_and_share_are_inverse_for_every_kappa() {
        for kappa in [0.0, 1e-12, 1e-6, 0.3, 5.0, 200.0, 1e5] {
            for p in [0.1, 0.5, 0.9] {
                let angle = containment(kappa, p);
                assert!((share_within(kappa, angle) - p).abs() < 1e-6, "{kappa} {p} {angle}");
            }
        }
        assert!((containment(0.0, 0.5) - std::f64::consts::FRAC_PI_2).abs() < 1e-12);
    }

    #[test]
    fn the_density_integrates_to_one() {
        for kappa in [0.0, 1e-8, 0.7, 12.0, 150.0] {
            let steps = 20_000;
            let width = std::f64::consts::PI / f64::from(steps);
            let sum: f64 = (0..steps)
                .map(|i| {
                    let angle = (f64::from(i) + 0.5) * width;
                    log_density(kappa, angle).exp() * std::f64::consts::TAU * angle.sin() * width
                })
                .sum();
            assert!((sum - 1.0).abs() < 1e-5, "{kappa}: {sum}");
        }
    }
}
