//! How well the heads beside the direction do: energy, vertex, track against cascade.

use serde_json::{Value, json};

use super::report::Scored;

/// Scores of the heads that are there and whose truth is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Targets {
    /// Events, mean absolute error and mean error of the decimal logarithm of the energy.
    energy: Option<(usize, f64, f64)>,
    /// Events, median and mean distance of the vertex in metres.
    vertex: Option<(usize, f64, f64)>,
    /// Events, and the area under the curve of tracks found over cascades taken for tracks.
    track: Option<(usize, f64)>,
}

impl Targets {
    /// Scores events.
    pub fn of(scored: &[Scored]) -> Self {
        let with = || scored.iter().filter_map(|event| Some((event, event.extra?)));
        let energies: Vec<f64> =
            with().map(|(event, extra)| (extra[0] / event.energy).log10()).filter(|error| error.is_finite()).collect();
        let mut distances: Vec<f64> = with()
            .map(|(event, extra)| (0..3).map(|k| (extra[1 + k] - event.vertex[k]).powi(2)).sum::<f64>().sqrt())
            .filter(|distance| distance.is_finite())
            .collect();
        distances.sort_by(f64::total_cmp);
        let tracks: Vec<(f64, bool)> = with()
            .filter(|(_, extra)| extra[4].is_finite())
            .filter_map(|(event, extra)| match event.kind.as_deref() {
                Some("track") => Some((extra[4], true)),
                Some("cascade") => Some((extra[4], false)),
                _ => None,
            })
            .collect();
        let mean = |values: &mut dyn Iterator<Item = f64>, n: usize| values.sum::<f64>() / n as f64;
        let (n, m) = (energies.len(), distances.len());
        Self {
            energy: (n > 0)
                .then(|| (n, mean(&mut energies.iter().map(|e| e.abs()), n), mean(&mut energies.iter().copied(), n))),
            vertex: (m > 0).then(|| (m, distances[m / 2], mean(&mut distances.iter().copied(), m))),
            track: auc(&tracks).map(|auc| (tracks.len(), auc)),
        }
    }

    /// For the report.
    pub fn json(&self) -> Value {
        json!({
            "energy": self.energy.map(|(n, error, bias)| json!({ "events": n, "mean_abs_log10": error, "mean_log10": bias })),
            "vertex": self.vertex.map(|(n, median, mean)| json!({ "events": n, "median_m": median, "mean_m": mean })),
            "track": self.track.map(|(n, auc)| json!({ "events": n, "auc": auc })),
        })
    }

    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((n, error, bias)) = self.energy {
            lines.push(format!("{:22}  {n:>8}  {error:>9.5} in log10 of the energy, bias {bias:+.5}", "energy"));
        }
        if let Some((n, median, mean)) = self.vertex {
            lines.push(format!("{:22}  {n:>8}  {median:>9.2} m median distance, mean {mean:.2}", "vertex"));
        }
        if let Some((n, auc)) = self.track {
            lines.push(format!("{:22}  {n:>8}  {auc:>9.5} area under the curve, 0.5 is a guess", "track"));
        }
        lines
    }
}

/// The chance that a true one scores above a false one, ties counted by half; none where there are not both.
fn auc(scores: &[(f64, bool)]) -> Option<f64> {
    let positives = scores.iter().filter(|(_, truth)| *truth).count();
    let negatives = scores.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut sum, mut begin) = (0.0, 0);
    while begin < sorted.len() {
        let same = sorted[begin..].iter().take_while(|(score, _)| *score == sorted[begin].0).count();
        // Equal scores share the mean of their ranks.
        let rank = begin as f64 + (same as f64 + 1.0) / 2.0;
        sum += rank * sorted[begin..begin + same].iter().filter(|(_, truth)| *truth).count() as f64;
        begin += same;
    }
    let (p, n) = (positives as f64, negatives as f64);
    Some((sum - p * (p + 1.0) / 2.0) / (p * n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        assert_eq!(auc(&[(0.1, false), (0.4, true), (0.35, false), (0.8, true)]), Some(1.0));
        assert_eq!(auc(&[(0.1, false), (0.4, false), (0.35, true), (0.8, true)]), Some(0.75));
        assert_eq!(auc(&[(0.5, false), (0.5, true), (0.5, false), (0.5, true)]), Some(0.5));
        assert_eq!(auc(&[(0.5, true)]), None);
    }

    #[test]
    fn only_what_is_known_on_both_sides_is_scored() {
        let event = |extra, energy: f64, kind: &str| Scored {
            angle: 0.1,
            azimuth: 2.0,
            zenith: 1.0,
            kappa: None,
            length: None,
            regions: None,
            pulses: None,
            kind: Some(kind.into()),
            extra,
            energy,
            vertex: [0.0, 0.0, f64::NAN],
        };
        let found = Targets::of(&[
            event(Some([100.0, 0.0, 0.0, 0.0, 0.9]), 10.0, "track"),
            event(Some([10.0, 0.0, 0.0, 0.0, 0.2]), 100.0, "cascade"),
            event(Some([10.0, 0.0, 0.0, 0.0, 0.2]), f64::NAN, "other"),
            event(None, 10.0, "track"),
        ]);
        assert_eq!(found.energy, Some((2, 1.0, 0.0)));
        assert_eq!((found.vertex, found.track), (None, Some((2, 1.0))));
        assert_eq!(Targets::of(&[]), Targets::default());
        assert!(Targets::default().lines().is_empty());
    }
}
