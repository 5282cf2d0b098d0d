//! Directions: weights of vectors under the mean opening angle, and their weighted sum.
//!
//! A blend of networks adds their un-normalised vectors, so that a network that is sure of an event counts more there.
//! The published weights were fitted on validation events; how is not known. Here coordinates are moved in turn by
//! steps that shrink, from equal weights and from the best single network, and the better end is taken. Never worse
//! than either of them on the events that it was fitted on.

use std::path::{Path, PathBuf};

use climb::weights::{self, Weights, stem};
use common::oof::resolve;
use common::stage::{Manifest, Stage};
use common::system::{Blend, BlendRequest, SearchRequest};
use common::{Error, Result, durable};
use rayon::prelude::*;
use serde_json::json;
use tracing::{info, warn};

use crate::NAME;
use crate::angles;
use crate::directions::calibration::Calibration;
use crate::directions::{self, Predictions, Truth};

/// Blends of directions.
pub const BLEND: Blend = Blend {
    members: "IceCube: tables of directions with the vectors `x`, `y`, `z`, as `train-model` and `predict` write them.",
    truth: "IceCube: a table with `event_id`, `azimuth` and `zenith`, or the folder of `prepare-data` or `simulate-data`.",
    metric: "Directions are fitted under the mean opening angle and take no settings of the search: vectors are added with \
             weights from 0, neither below the best single network nor below equal weights on the events given.",
    submissions: "IceCube: tables of directions with their vectors, or folders of `predict`, which stand for their output \
                  `predictions`.",
    search: |request| match truth(request.truth, request.setting)? {
        Some(truth) => search(request, &truth).map(|()| true),
        None => Ok(false),
    },
    blend,
};

/// First and last step of a weight.
const STEPS: [f64; 2] = [0.25, 0.25 / 256.0];
/// Passes over all weights at most.
const PASSES: usize = 400;
/// A step must gain more than this, in radians.
const GAIN: f64 = 1e-9;
/// Events whose angles are added up at a time: sums do not depend on the threads.
const BLOCK: usize = 4096;
/// What a score calls the blend whose calibration is applied, where it holds several.
const BLENDED: &str = "blend";
/// Lengths of vectors are cut here, as in prediction.
const LONGEST: f64 = 1000.0;

/// The truth that an argument stands for, if it is one of directions; a piped manifest is left alone. A `setting` of plain
/// values says what the columns are.
fn truth(argument: &str, setting: Option<&str>) -> Result<Option<Truth>> {
    let path = Path::new(argument);
    if !path.is_dir() {
        return if setting.is_some() { Ok(Truth::of_file(path)) } else { Truth::claimed(path) };
    }
    let manifest = Manifest::read(argument)?;
    if manifest.system == NAME { Truth::of_stage(&manifest).map(Some) } else { Ok(None) }
}

/// Members of a blend on the same events.
struct Members {
    names: Vec<String>,
    paths: Vec<PathBuf>,
    ids: Vec<i64>,
    /// A list of vectors for each member.
    vectors: Vec<Vec<[f64; 3]>>,
    /// What the heads of each member say, where it has any.
    extras: Vec<Option<Vec<[f64; 5]>>>,
}

impl Members {
    /// Opens `(name, path)` pairs, which must hold the same events.
    fn open(members: &[(String, PathBuf)], limit: Option<u64>) -> Result<Self> {
        let mut all = Self { names: vec![], paths: vec![], ids: vec![], vectors: vec![], extras: vec![] };
        for (name, path) in members {
            let found = Predictions::read(path, limit)?;
            let vectors = found.vectors.ok_or_else(|| {
                Error::input(path, "has no columns `x`, `y`, `z`")
                    .hint("directions are blended as vectors: pass the parquet tables of `train-model` and `predict`")
            })?;
            if all.names.contains(name) {
                return Err(Error::usage(format!("two models are called `{name}`")).hint("name them: `NAME=FILE`"));
            }
            if all.names.is_empty() {
                all.ids = found.ids;
            } else if all.ids != found.ids {
                let differ = found.ids.iter().find(|id| all.ids.binary_search(id).is_err());
                let problem = match differ {
                    Some(id) => format!("has event {id}, which `{}` has not", all.paths[0].display()),
                    None => {
                        format!("has {} events, `{}` has {}", found.ids.len(), all.paths[0].display(), all.ids.len())
                    }
                };
                return Err(Error::input(path, problem).hint("all members must predict the same events"));
            }
            all.vectors.push(vectors.into_iter().map(|v| v.map(|c| c.clamp(-LONGEST, LONGEST))).collect());
            all.extras.push(found.extra);
            all.names.push(name.clone());
            all.paths.push(path.clone());
        }
        Ok(all)
    }

    fn sum(&self, weights: &[f64]) -> Vec<[f64; 3]> {
        let mut sum = vec![[0.0; 3]; self.ids.len()];
        for (vectors, weight) in self.vectors.iter().zip(weights) {
            for (sum, vector) in sum.iter_mut().zip(vectors) {
                (0..3).for_each(|k| sum[k] += weight * vector[k]);
            }
        }
        sum
    }

    /// What heads say, as `predict` has it of an ensemble: means of the logarithm of the energy, of the vertex and of the
    /// logit of a track, each over the members that have it; none where no member has any.
    fn extra(&self, shares: &[f64]) -> Option<Vec<[f32; 5]>> {
        let learned = |k: usize, v: f64| match k {
            0 => v.log10(),
            4 => {
                // What rounds to certainty in narrow floats.
                let p = v.clamp(1e-7, 1.0 - 1e-7);
                (p / (1.0 - p)).ln()
            }
            _ => v,
        };
        let given = |k: usize, v: f64| match k {
            0 => 10f64.powf(v),
            4 => 1.0 / (1.0 + (-v).exp()),
            _ => v,
        };
        self.extras.iter().any(Option::is_some).then_some(())?;
        let of = |event: usize, k: usize| -> f32 {
            let (mut sum, mut weight) = (0.0, 0.0);
            for (extra, share) in self.extras.iter().zip(shares) {
                let value = extra.as_ref().map_or(f64::NAN, |extra| learned(k, extra[event][k]));
                // A member of weight 0 is asked only where nobody else knows.
                let share = share.max(f64::from(f32::MIN_POSITIVE));
                if value.is_finite() {
                    sum += share * value;
                    weight += share;
                }
            }
            given(k, sum / weight) as f32
        };
        Some((0..self.ids.len()).map(|event| std::array::from_fn(|k| of(event, k))).collect())
    }

    /// The blend as it is written.
    fn blend(&self, shares: &[f64]) -> Vec<[f32; 3]> {
        self.sum(shares).into_iter().map(|v| v.map(|c| c as f32)).collect()
    }
}

/// The models of a search: `[NAME=]PATH`.
fn named(argument: &str, outputs: &[&str]) -> Result<(String, PathBuf)> {
    let (name, path) = common::oof::named(argument);
    let file = resolve(path, outputs)?;
    let given = Path::new(path);
    let own = if given.is_dir() { given.file_name() } else { file.file_name() };
    let own = own.unwrap_or_default().to_string_lossy();
    Ok((stem(name.unwrap_or(&own)).to_owned(), file))
}

/// `hill-climb search`.
fn search(args: &SearchRequest, truth: &Truth) -> Result<()> {
    if let Some(flag) = args.setting {
        return Err(Error::usage(format!(
            "`{flag}`: weights of directions are searched in one way, which has no settings"
        ))
        .hint("leave out everything but the models, `--truth`, `--out`, `--limit` and `--threads`"));
    }
    let members =
        args.members.iter().map(|argument| named(argument, &["oof", "predictions"])).collect::<Result<Vec<_>>>()?;
    let members = Members::open(&members, args.run.limit)?;
    let folder = args.run.folder("hill-climb");
    let first = Predictions::read(&members.paths[0], args.run.limit)?;
    let targets: Vec<[f64; 3]> = first.truths(truth)?.into_iter().map(|known| known.direction).collect();
    info!("{} models, {} events", members.names.len(), members.ids.len());
    if args.run.dry_run {
        info!("would search the weights and write them to `{}`", folder.display());
        return Ok(());
    }
    args.run.cpu_threads();
    let mut stage = Stage::begin("hill-climb", NAME, &folder, "metric: opening_angle\n", 0, args.run.force)?;
    for (i, path) in truth.files().iter().enumerate() {
        stage.input(&format!("truth/{i}"), path)?;
    }
    for (name, path) in members.names.iter().zip(&members.paths) {
        stage.input(&format!("oof/{name}"), path)?;
    }
    let found = fit(&members.vectors, &targets);
    let without = left_out(&members.vectors, &targets);
    let mut text = format!("{:24}  {:>9}  {:>9}  {:>9}", "model", "alone rad", "left out", "weight");
    for (i, name) in members.names.iter().enumerate() {
        let rest = without.get(i).map_or_else(String::new, |angle| format!("{angle:.5}"));
        text += &format!("\n{name:24}  {:>9.5}  {rest:>9}  {:>9.5}", found.single[i], found.weights[i]);
    }
    info!("{text}\n{:24}  {:>9.5}\n{:24}  {:>9.5}", "equal weights", found.equal, "blend", found.angle);
    for (name, _) in members.names.iter().zip(&found.weights).filter(|(_, weight)| **weight == 0.0) {
        warn!("`{name}` has weight 0: the blend is the same without it");
    }
    let table: Vec<(String, f64)> = members.names.iter().cloned().zip(found.weights.iter().copied()).collect();
    let out = stage.folder().to_path_buf();
    stage.output("weights", &weights::write_csv(&out.join("weights.csv"), &table, &[])?);
    let value = json!({
        "metric": "mean_opening_angle_rad",
        "score": found.angle,
        "equal_weights": found.equal,
        "weights": table.iter().map(|(name, weight)| (name.clone(), (*weight).into())).collect::<serde_json::Map<_, _>>(),
        "left_out": members.names.iter().cloned().zip(without.iter().map(|&v| v.into())).collect::<serde_json::Map<_, _>>(),
        "single": members.names.iter().cloned().zip(found.single.iter().map(|&v| v.into())).collect::<serde_json::Map<_, _>>(),
    });
    let text = serde_json::to_string_pretty(&value).map_err(|e| Error::failed(format!("weights: {e}")))?;
    stage.output("weights_json", &durable::write(out.join("weights.json"), format!("{text}\n").as_bytes())?);
    // The blend on the events that it was fitted on, for a score and a calibration.
    let (vectors, extra) = (members.blend(&found.weights), members.extra(&found.weights));
    let path = out.join("oof.parquet");
    let plain = Calibration::default();
    stage.output("oof", &directions::write_calibrated(&path, &members.ids, &vectors, &plain, extra.as_deref())?);
    stage.metric("blend", found.angle);
    stage.metric("equal_weights", found.equal);
    let single = members.names.iter().cloned().zip(found.single.iter().map(|&v| v.into()));
    stage.metric("members", single.collect::<serde_json::Map<_, _>>());
    stage.finish()?;
    Ok(())
}

/// `hill-climb blend`, if the members are tables of vectors; else nothing is done and false returned.
fn blend(args: &BlendRequest) -> Result<bool> {
    let outputs = ["predictions"];
    let listed = args.predictions.iter().filter(|argument| argument.as_str() != "-");
    let found: Vec<(String, PathBuf)> = listed.filter_map(|argument| named(argument, &outputs).ok()).collect();
    if found.len() != args.predictions.len() || !found.iter().all(|(_, path)| Predictions::is_table(path)) {
        return Ok(false);
    }
    if let Some(flag) = args.setting {
        return Err(Error::usage(format!("`{flag}`: blends of directions have no such setting")).hint("leave it out"));
    }
    let table = resolve(args.weights, &["weights_json", "weights"])?;
    let weights = Weights::read(&table)?;
    let chosen = weights
        .models
        .iter()
        .map(|model| {
            let place = found.iter().position(|(name, _)| name == model);
            place.map(|place| found[place].clone()).ok_or_else(|| {
                let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
                Error::input(&table, format!("no predictions of the model `{model}`"))
                    .hint(format!("found {}; pass the missing one as `NAME=FILE`", names.join(", ")))
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let members = Members::open(&chosen, None)?;
    let calibration = match args.calibration {
        Some(path) => Calibration::read(path, BLENDED)?,
        None => Calibration::default(),
    };
    let folder = args.run.folder("hill-climb");
    info!("{} models, {} events", members.names.len(), members.ids.len());
    if args.run.dry_run {
        info!("would write the blend to `{}`", folder.display());
        return Ok(true);
    }
    args.run.cpu_threads();
    let mut stage = Stage::begin("hill-climb", NAME, &folder, args.config, 0, args.run.force)?;
    stage.input("weights", &table)?;
    if let Some(path) = args.calibration {
        stage.input("calibration", &Calibration::file(path)?)?;
    }
    for (name, path) in members.names.iter().zip(&members.paths) {
        stage.input(&format!("predictions/{name}"), path)?;
    }
    let sum: f64 = weights.of("").iter().sum();
    if sum == 0.0 {
        return Err(Error::input(&table, "the weights add up to 0"));
    }
    let shares: Vec<f64> = weights.of("").iter().map(|w| w / sum).collect();
    let vectors = members.blend(&shares);
    let out = stage.folder().to_path_buf();
    let path = out.join("predictions.parquet");
    let written =
        directions::write_calibrated(&path, &members.ids, &vectors, &calibration, members.extra(&shares).as_deref())?;
    stage.output("predictions", &written);
    if args.csv {
        let mut text = String::from("event_id,azimuth,zenith\n");
        for (id, vector) in members.ids.iter().zip(&vectors) {
            let [azimuth, zenith] = angles::angles(*vector);
            text += &format!("{id},{azimuth:?},{zenith:?}\n");
        }
        let written = durable::write(out.join(format!("{}.csv", args.name)), text.as_bytes())?;
        stage.output("submission", &written);
    }
    stage.metric("events", members.ids.len() as u64);
    stage.finish()?;
    Ok(true)
}

/// What a fit found.
struct Fit {
    /// Weights that add up to 1, none negative.
    weights: Vec<f64>,
    /// Mean opening angle of the blend, of equal weights, and of every member alone.
    angle: f64,
    equal: f64,
    single: Vec<f64>,
}

fn mean_angle(members: &[Vec<[f64; 3]>], weights: &[f64], targets: &[[f64; 3]]) -> f64 {
    let places: Vec<usize> = (0..targets.len()).step_by(BLOCK).collect();
    let sums: Vec<f64> = places
        .par_iter()
        .map(|&begin| {
            (begin..(begin + BLOCK).min(targets.len()))
                .map(|i| {
                    let blended: [f64; 3] =
                        std::array::from_fn(|k| members.iter().zip(weights).map(|(m, w)| w * m[i][k]).sum());
                    angles::opening(blended, targets[i])
                })
                .sum()
        })
        .collect();
    sums.iter().sum::<f64>() / targets.len() as f64
}

fn fit(members: &[Vec<[f64; 3]>], targets: &[[f64; 3]]) -> Fit {
    let n = members.len();
    let angle = |weights: &[f64]| mean_angle(members, weights, targets);
    let unit = |member: usize| (0..n).map(|m| f64::from(u8::from(m == member))).collect::<Vec<f64>>();
    let single: Vec<f64> = (0..n).map(|member| angle(&unit(member))).collect();
    let even = vec![1.0 / n as f64; n];
    let equal = angle(&even);
    let best = (0..n).min_by(|&a, &b| single[a].total_cmp(&single[b])).unwrap_or_default();
    let climbed = [(even, equal), (unit(best), single[best])].map(|(weights, score)| climb(weights, score, &angle));
    let [(mut weights, score), other] = climbed;
    let score = if other.1 < score {
        weights = other.0;
        other.1
    } else {
        score
    };
    Fit { weights, angle: score, equal, single }
}

/// The mean angle of the blend of all others, with weights of their own, for each member; nothing for a single one.
fn left_out(members: &[Vec<[f64; 3]>], targets: &[[f64; 3]]) -> Vec<f64> {
    let others = |member: usize| -> Vec<Vec<[f64; 3]>> {
        members.iter().enumerate().filter(|(m, _)| *m != member).map(|(_, vectors)| vectors.clone()).collect()
    };
    if members.len() < 2 {
        return Vec::new();
    }
    (0..members.len()).map(|member| fit(&others(member), targets).angle).collect()
}

/// Moves one weight at a time, up or down, by steps that are halved when none of them helps.
fn climb(mut weights: Vec<f64>, mut score: f64, angle: &dyn Fn(&[f64]) -> f64) -> (Vec<f64>, f64) {
    let mut step = STEPS[0];
    for _ in 0..PASSES {
        let mut moved = false;
        for member in 0..weights.len() {
            for change in [step, -step] {
                let mut tried = weights.clone();
                tried[member] = (tried[member] + change).max(0.0);
                let sum: f64 = tried.iter().sum();
                if sum <= 0.0 {
                    continue;
                }
                // Only the proportions count.
                tried.iter_mut().for_each(|w| *w /= sum);
                let found = angle(&tried);
                if found < score - GAIN {
                    (weights, score, moved) = (tried, found, true);
                    break;
                }
            }
        }
        if !moved {
            step /= 2.0;
            if step < STEPS[1] {
                break;
            }
        }
    }
    (weights, score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fit_prefers_the_better_member_and_is_never_worse_than_it() {
        let targets: Vec<[f64; 3]> =
            (0..200).map(|i| angles::vector(f64::from(i), 0.2 + f64::from(i % 7) * 0.4)).collect();
        let noisy = |scale: f64, phase: f64| -> Vec<[f64; 3]> {
            let noise = |i: usize, k: usize| scale * ((i * 3 + k) as f64 * 12.9898 + phase).sin();
            targets.iter().enumerate().map(|(i, t)| std::array::from_fn(|k| t[k] + noise(i, k))).collect()
        };
        let members = [noisy(0.3, 0.0), noisy(0.9, 1.0), noisy(5.0, 2.0)];
        let found = fit(&members, &targets);
        assert!((found.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(found.weights[0] > found.weights[1].max(found.weights[2]), "{:?}", found.weights);
        assert!(found.angle < found.single[0] && found.angle <= found.equal, "{}", found.angle);
        assert_eq!(found.single.len(), 3);
        let without = left_out(&members, &targets);
        // The best one is missed most, by far.
        assert!(without[0] > 2.0 * without[1].max(without[2]), "{without:?}");
        assert!(without.iter().all(|angle| *angle > found.angle - 1e-3), "{without:?} {}", found.angle);
        assert!(left_out(&members[..1], &targets).is_empty());
    }
}
