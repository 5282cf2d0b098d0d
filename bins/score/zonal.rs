//! Zonal means: true and predicted means, errors and R2 of every target in bands of latitude, weighted by the area of the rows.

use std::fmt::Write as _;
use std::path::Path;

use common::durable;
use common::metrics::{Matrix, r2};
use common::system::Places;
use common::{Error, Result};
use rayon::prelude::*;

/// Bands from south to north, equally wide.
pub const BANDS: usize = 18;
/// Rows summed at once by a thread.
const ROWS: usize = 256;

/// Sums of one target in one band, in its own unit, around a value near the truth's mean.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    rows: u64,
    weight: f64,
    truth: f64,
    truth_squares: f64,
    error: f64,
    error_squares: f64,
}

impl Sums {
    fn add(&mut self, weight: f64, truth: f64, error: f64) {
        self.rows += 1;
        self.weight += weight;
        self.truth += weight * truth;
        self.truth_squares += weight * truth * truth;
        self.error += weight * error;
        self.error_squares += weight * error * error;
    }

    fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.weight += other.weight;
        self.truth += other.truth;
        self.truth_squares += other.truth_squares;
        self.error += other.error;
        self.error_squares += other.error_squares;
    }
}

/// Figures of one target in one band, or on the globe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Rows in it; without any all else is NaN.
    pub rows: u64,
    /// Mean of the truth.
    pub truth: f64,
    /// Mean of the predictions minus that.
    pub bias: f64,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// 1 - squared errors over squared distances from the mean of the band.
    pub r2: f64,
}

/// Figures of all bands and targets of one file.
#[derive(Debug, Clone)]
pub struct Zonal {
    /// `[bands + 1][targets]`, the globe last.
    bands: Vec<Vec<Figures>>,
}

/// Edges of the bands in degrees.
pub fn edges() -> Vec<f64> {
    (0..=BANDS).map(|i| -90.0 + 180.0 * i as f64 / BANDS as f64).collect()
}

fn band(latitude: f64) -> usize {
    (((latitude + 90.0) / 180.0 * BANDS as f64).max(0.0) as usize).min(BANDS - 1)
}

impl Zonal {
    /// Of predictions in the space of the truth.
    ///
    /// # Errors
    /// Where there are fewer places than rows.
    pub fn of(places: &Places, truth: &Matrix, predictions: &Matrix) -> Result<Self> {
        let (rows, columns) = (truth.rows(), truth.columns());
        if places.latitude.len() < rows || places.area.len() < rows || places.scale.len() != columns {
            let problem = format!("{} places of {} columns", places.latitude.len(), places.scale.len());
            return Err(Error::failed(format!("{problem} for {rows} rows of {columns}")));
        }
        // Squares are summed around the first row: far from 0 they would lose their digits.
        let mut first = vec![0.0; columns];
        if rows > 0 {
            truth.read(0, 0..columns, &mut first);
        }
        let part = |from: usize| {
            let mut sums = vec![Sums::default(); BANDS * columns];
            let (mut y, mut p) = (vec![0.0; columns], vec![0.0; columns]);
            for row in from..(from + ROWS).min(rows) {
                truth.read(row, 0..columns, &mut y);
                predictions.read(row, 0..columns, &mut p);
                let at = band(places.latitude[row]) * columns;
                let values = y.iter().zip(&p).zip(&first);
                for (sums, ((y, p), first)) in sums[at..at + columns].iter_mut().zip(values) {
                    sums.add(places.area[row], y - first, p - y);
                }
            }
            sums
        };
        let mut sums = vec![Sums::default(); BANDS * columns];
        let starts: Vec<usize> = (0..rows).step_by(ROWS).collect();
        // In waves, joined in order: the result does not depend on the number of threads, nor the memory on the rows.
        for wave in starts.chunks(4 * rayon::current_num_threads().max(1)) {
            let parts: Vec<Vec<Sums>> = wave.par_iter().map(|from| part(*from)).collect();
            parts.iter().for_each(|part| sums.iter_mut().zip(part).for_each(|(all, one)| all.merge(one)));
        }
        let figures = |c: usize, sums: &Sums| {
            let (scale, shift) = (places.scale[c], places.shift[c]);
            let mean = |sum: f64| sum / sums.weight;
            let spread = sums.truth_squares - sums.truth * mean(sums.truth);
            Figures {
                rows: sums.rows,
                truth: (mean(sums.truth) + first[c]) * scale + shift,
                bias: mean(sums.error) * scale,
                rmse: mean(sums.error_squares).sqrt() * scale.abs(),
                r2: if sums.rows > 0 { r2(sums.error_squares, spread.max(0.0)) } else { f64::NAN },
            }
        };
        let mut bands: Vec<Vec<Figures>> =
            (0..BANDS).map(|b| (0..columns).map(|c| figures(c, &sums[b * columns + c])).collect()).collect();
        let globe = (0..columns).map(|c| {
            let mut all = Sums::default();
            (0..BANDS).for_each(|b| all.merge(&sums[b * columns + c]));
            figures(c, &all)
        });
        bands.push(globe.collect());
        Ok(Self { bands })
    }

    /// Figures of a target in a band.
    pub fn at(&self, band: usize, target: usize) -> &Figures {
        &self.bands[band][target]
    }
}

/// Writes the table: a line for every file, band and target; the globe's bands end at both poles.
///
/// # Errors
/// Those of writing.
pub fn write(path: &Path, all: &[(&str, &Zonal, Vec<&str>)], watts: impl Fn(&str) -> Option<f64>) -> Result<()> {
    let mut text = String::from(
        "predictions,latitude_from,latitude_to,target,rows,truth,predicted,bias,rmse,r2,w_m2,bias_w_m2,rmse_w_m2\n",
    );
    let edges = edges();
    for (name, zonal, targets) in all {
        for (b, band) in zonal.bands.iter().enumerate() {
            let (from, to) = if b < BANDS { (edges[b], edges[b + 1]) } else { (-90.0, 90.0) };
            for (target, figures) in targets.iter().zip(band).filter(|(_, figures)| figures.rows > 0) {
                let Figures { rows, truth, bias, rmse, r2 } = figures;
                let _ = write!(text, "{},{from},{to},{target},{rows},{truth:e},", super::errors::quoted(name));
                let _ = write!(text, "{:e},{bias:e},{rmse:e},{r2}", truth + bias);
                match watts(target) {
                    Some(watts) => _ = writeln!(text, ",{watts:e},{:e},{:e}", bias * watts, rmse * watts),
                    None => text += ",,,\n",
                }
            }
        }
    }
    durable::write(path, text.as_bytes()).map(|_| ())
}

/// What the table needs.
pub fn no_places(truth: &Path) -> Error {
    Error::input(truth, "does not say where its rows are, which `--zonal` needs")
        .hint("score validation arrays of netCDF files of a known grid; rows of csv files have no place")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_weighted_means_of_each_band_in_the_targets_unit() {
        // Two rows in the far south of areas 1 and 3, one in the north; one column, unit 10 x + 1.
        let places = Places {
            latitude: vec![-89.0, -81.0, 5.0],
            area: vec![1.0, 3.0, 2.0],
            scale: vec![10.0],
            shift: vec![1.0],
        };
        let (y, p) = ([1e3, 1e3 + 4.0, 7.0], [1e3 + 1.0, 1e3 + 3.0, 7.5]);
        let zonal = Zonal::of(&places, &Matrix::f64(&y, 1).unwrap(), &Matrix::f64(&p, 1).unwrap()).unwrap();
        let south = zonal.at(0, 0);
        // Mean (1000 + 3 * 1004) / 4 = 1003; errors 1 and -1 with weights 1 and 3; SST 9 + 3.
        let expected = Figures { rows: 2, truth: 10_031.0, bias: -5.0, rmse: 10.0, r2: 1.0 - 4.0 / 12.0 };
        assert!((south.truth - expected.truth).abs() < 1e-9 && (south.r2 - expected.r2).abs() < 1e-12, "{south:?}");
        assert_eq!((south.rows, south.bias, south.rmse), (2, expected.bias, expected.rmse));
        assert_eq!((zonal.at(9, 0).rows, zonal.at(1, 0).rows), (1, 0));
        let globe = zonal.at(BANDS, 0);
        assert!((globe.bias - 10.0 * (1.0 - 3.0 + 1.0) / 6.0).abs() < 1e-9, "{globe:?}");
        assert_eq!((band(-90.0), band(0.0), band(89.9), band(90.0)), (0, 9, 17, 17));
        let few = Places { latitude: vec![0.0], ..places };
        assert!(Zonal::of(&few, &Matrix::f64(&y, 1).unwrap(), &Matrix::f64(&p, 1).unwrap()).is_err());
    }
}
