//! The fitted tracks of events as a table: `tracks.parquet` and `tracks.csv`.

use std::path::Path;

use common::Result;
use common::durable::Written;
use common::store::tables::{Column, Table, write_csv, write_parquet};
use rayon::prelude::*;

use super::conditions::Conditions;
use super::fit::{Fit, NAMES, fit};
use super::helix::Estimate;
use super::state::Point;
use crate::event::{Hits, Places};
use crate::submission::Submission;

/// One track of an event.
#[derive(Debug)]
pub struct Row {
    /// Number of the event.
    pub event: i64,
    /// Number of the track in the submission.
    pub track: i64,
    /// Its hits.
    pub hits: usize,
    /// The fit; none where no helix meets all hits.
    pub fit: Option<Fit>,
}

/// The points of each track of a submission, in the order of its way out.
pub fn points(hits: &Hits, submission: &Submission) -> Result<Vec<(i64, Vec<Point>)>> {
    let places = Places::of(&hits.hit_id, Path::new("the event"))?;
    let mut tracks: std::collections::BTreeMap<i64, Vec<Point>> = std::collections::BTreeMap::new();
    for (hit, track) in submission.hit_id.iter().zip(&submission.track_id).filter(|(_, track)| **track > 0) {
        if let Some(row) = places.get(*hit) {
            tracks.entry(*track).or_default().push(Point::new(hits.xyz[row], hits.volume[row]));
        }
    }
    let way = |p: &Point| p.r.hypot(p.xyz[2]);
    for list in tracks.values_mut() {
        list.sort_by(|a, b| way(a).total_cmp(&way(b)));
    }
    Ok(tracks.into_iter().collect())
}

/// Places along the beam that tracks come from, of those that come from near the axis.
pub fn origins(tracks: &[(i64, Vec<Point>)]) -> Vec<f64> {
    let of = |(_, points): &(i64, Vec<Point>)| -> Option<Estimate> {
        let points: Vec<[f32; 3]> = points.iter().map(|p| p.xyz.map(|v| v as f32)).collect();
        super::helix::estimate(&points)
    };
    tracks.iter().filter_map(of).filter(|e| e.d0.abs() < 2.0).map(|e| e.z0).collect()
}

/// Fits the tracks of an event.
pub fn rows(event: i64, tracks: &[(i64, Vec<Point>)], conditions: &Conditions) -> Vec<Row> {
    let one = |(track, points): &(i64, Vec<Point>)| Row {
        event,
        track: *track,
        hits: points.len(),
        fit: fit(points, conditions),
    };
    tracks.par_iter().map(one).collect()
}

/// Writes the rows as `tracks.parquet` and `tracks.csv`; what a track without fit has not is NaN.
pub fn write(rows: &[Row], folder: &Path) -> Result<[Written; 2]> {
    let mut table = Table::new();
    table.push("event_id", Column::I64(rows.iter().map(|r| r.event).collect()))?;
    table.push("track_id", Column::I64(rows.iter().map(|r| r.track).collect()))?;
    table.push("hits", Column::I64(rows.iter().map(|r| r.hits as i64).collect()))?;
    let mut number = |name: String, of: &dyn Fn(&Fit) -> f64| {
        let values = rows.iter().map(|row| row.fit.as_ref().map_or(f64::NAN, of)).collect();
        table.push(name, Column::F64(values))
    };
    for (k, name) in NAMES.iter().enumerate() {
        number((*name).to_string(), &|fit| fit.parameters[k])?;
    }
    number("chi2".into(), &|fit| fit.chi2)?;
    number("degrees".into(), &|fit| fit.degrees as f64)?;
    for (a, first) in NAMES.iter().enumerate() {
        for (b, second) in NAMES.iter().enumerate().skip(a) {
            number(format!("cov_{first}_{second}"), &|fit| fit.covariance[a][b])?;
        }
    }
    Ok([write_parquet(folder.join("tracks.parquet"), &table)?, write_csv(folder.join("tracks.csv"), &table)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fitted_tracks_are_written_with_their_covariance_and_failures_are_nan() {
        let folder = tempfile::tempdir().unwrap();
        let fit = Fit { parameters: [0.1, 5.0, 0.2, 1.2, -0.7], covariance: [[0.5; 5]; 5], chi2: 3.0, degrees: 7 };
        let rows =
            [Row { event: 3, track: 1, hits: 6, fit: Some(fit) }, Row { event: 3, track: 2, hits: 4, fit: None }];
        let [parquet, csv] = write(&rows, folder.path()).unwrap();
        let table = common::store::tables::read_parquet(&parquet.path, None).unwrap();
        assert_eq!(table.f64("qop").unwrap()[0], -0.7);
        assert!(table.f64("cov_d0_qop").unwrap()[1].is_nan());
        let text = std::fs::read_to_string(&csv.path).unwrap();
        assert!(text.starts_with("event_id,track_id,hits,d0,z0,phi,theta,qop,chi2,degrees,cov_d0_d0"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }
}
