//! The kernels of neighbours and samples.

use anyhow::Result;
use polarmae::geometry::{self, Points};

use crate::checks::{Case, Comparison, Tensors, equal_lists};

/// The valid rows of event `b` of a padded tensor.
pub fn rows(tensors: &Tensors, name: &str, b: usize, length: usize) -> Result<(Vec<f32>, usize)> {
    let shape = tensors.shape(name)?;
    let (most, width) = (shape[1], shape[2]);
    let values = tensors.f32s(name)?;
    Ok((values[b * most * width..][..length * width].to_vec(), width))
}

fn cloud(tensors: &Tensors, name: &str, b: usize, length: usize) -> Result<Points> {
    let (rows, width) = rows(tensors, name, b, length)?;
    Ok(Points::from_rows(&rows, width))
}

fn padded(mut list: Vec<i64>, length: usize, filler: i64) -> Vec<i64> {
    list.resize(length, filler);
    list
}

fn signed(list: &[u32]) -> Vec<i64> {
    list.iter().map(|&i| i64::from(i)).collect()
}

fn lengths(tensors: &Tensors, name: &str) -> Result<Vec<usize>> {
    Ok(tensors.i64s(name)?.iter().map(|&n| n as usize).collect())
}

/// `ops_fps`.
pub fn farthest_points(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let lengths = lengths(&inputs, "lengths")?;
    let mut all = Comparison::new();
    let sampled = |points: &str, b: usize, count: usize, start: u32, width: usize| -> Result<Vec<i64>> {
        let cloud = cloud(&inputs, points, b, lengths[b])?;
        Ok(padded(signed(&geometry::farthest_points(&cloud, count, start)), width, -1))
    };
    let counts = case.value("config.K")?.as_object().into_iter().flatten();
    for (name, count) in counts {
        let count = count.as_u64().unwrap_or(0) as usize;
        let points = if name == "dup" { "dup_points" } else { "points" };
        let want = expected.i64s(&format!("{name}.idx"))?;
        for b in 0..lengths.len() {
            let got = sampled(points, b, count, 0, count)?;
            all.add(equal_lists(&format!("{name}.{b}"), &got, &want[b * count..(b + 1) * count]));
        }
    }
    let (starts, counts) = (inputs.i64s("start")?, inputs.i64s("start_K")?);
    let width = expected.shape("start.idx")?[1];
    let want = expected.i64s("start.idx")?;
    for b in 0..lengths.len() {
        let got = sampled("points", b, counts[b] as usize, starts[b] as u32, width)?;
        all.add(equal_lists(&format!("start.{b}"), &got, &want[b * width..(b + 1) * width]));
    }
    all.finish()
}

/// `ops_ball_query`.
pub fn ball_query(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let (lengths, queries) = (lengths(&inputs, "lengths")?, lengths(&inputs, "query_lengths")?);
    let mut all = Comparison::new();
    for query in case.value("config.queries")?.as_array().into_iter().flatten() {
        let (most, radius) = (query["K"].as_u64().unwrap_or(0) as usize, query["radius"].as_f64().unwrap_or(0.0));
        let name = format!("K{most}_r{radius:.6}");
        let want = expected.i64s(&format!("{name}.idx"))?;
        let want_d = expected.f64s(&format!("{name}.dist2"))?;
        let width = expected.shape(&format!("{name}.idx"))?[1];
        for b in 0..lengths.len() {
            let points = cloud(&inputs, "points", b, lengths[b])?;
            let asked = cloud(&inputs, "queries", b, queries[b])?;
            for (form, found) in [
                ("cells", geometry::ball_query(&asked, &points, most, radius as f32)),
                ("plain", geometry::ball_query_plain(&asked, &points, most, radius as f32)),
            ] {
                let at = b * width * most..(b + 1) * width * most;
                let got: Vec<i64> = found.iter().flat_map(|list| padded(signed(list), most, -1)).collect();
                all.add(equal_lists(&format!("{name}.{b} {form}"), &padded(got, width * most, -1), &want[at.clone()]));
                let mut distances: Vec<f64> = vec![];
                for (i, list) in found.iter().enumerate() {
                    let row = list.iter().map(|&j| f64::from(points.distance2(j as usize, asked.at(i))));
                    distances.extend(row.chain(std::iter::repeat(0.0)).take(most));
                }
                distances.resize(width * most, 0.0);
                all.values(&format!("{name}.{b} {form} dist2"), &distances, &want_d[at], 1e-6);
            }
        }
    }
    all.finish()
}

/// `ops_knn`: five neighbours; the second cloud has only three candidates.
pub fn nearest(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let (from, to) = (lengths(&inputs, "lengths1")?, lengths(&inputs, "lengths2")?);
    let tolerance = case.f64("tolerance")?;
    let shape = expected.shape("sorted1.idx")?;
    let (width, k) = (shape[1], shape[2]);
    let mut all = Comparison::new();
    for b in 0..from.len() {
        let points = cloud(&inputs, "p2", b, to[b])?;
        let found = geometry::nearest(&cloud(&inputs, "p1", b, from[b])?, &points, k).filled(k);
        let at = b * width * k..b * width * k + from[b] * k;
        let real = k.min(to[b]);
        let only_real = |list: &[i64]| list.chunks(k).flat_map(|row| row[..real].to_vec()).collect::<Vec<_>>();
        for name in ["sorted0", "sorted1"] {
            let distances: Vec<f64> = found.distances2.iter().map(|&d| f64::from(d)).collect();
            let want = &expected.f64s(&format!("{name}.dist2"))?[at.clone()];
            if name == "sorted1" {
                all.values(&format!("{name}.{b}"), &distances, want, tolerance);
                let want = &expected.i64s(&format!("{name}.idx"))?[at.clone()];
                all.add(equal_lists(&format!("{name}.{b}"), &only_real(&signed(&found.indices)), &only_real(want)));
            } else {
                // In any order: compare as sets of distances.
                let sorted = |list: &[f64]| {
                    list.chunks(k)
                        .flat_map(|row| {
                            let mut row = row.to_vec();
                            row.sort_by(f64::total_cmp);
                            row
                        })
                        .collect::<Vec<_>>()
                };
                all.values(&format!("{name}.{b}"), &sorted(&distances), &sorted(want), tolerance);
            }
        }
    }
    all.finish()
}

/// `ops_cnms`.
pub fn suppression(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let lengths = lengths(&inputs, "lengths")?;
    let width = inputs.shape("points")?[1];
    let mut all = Comparison::new();
    for one in case.value("config")?.as_array().into_iter().flatten() {
        let name = one["name"].as_str().unwrap_or_default();
        let number = |key: &str| one[key].as_f64().unwrap_or(f64::NAN);
        let most = one["K"].as_u64().unwrap_or(0) as usize;
        for (b, &length) in lengths.iter().enumerate() {
            let points = cloud(&inputs, "points", b, length)?;
            for (form, found) in [
                ("cells", geometry::suppress(&points, number("radius"), number("overlap_factor"), most)),
                ("plain", geometry::suppress_plain(&points, number("radius"), number("overlap_factor"), most)),
            ] {
                let name = |what: &str| format!("{name}.{what}");
                let want = |what: &str| -> Result<Vec<i64>> {
                    Ok(expected.i64s(&name(what))?[b * width..(b + 1) * width].to_vec())
                };
                all.add(equal_lists(
                    &format!("{} {b} {form}", name("counts")),
                    &signed(&found.counts),
                    &want("counts")?[..length],
                ));
                let kept = found.retained.len();
                all.add(equal_lists(
                    &format!("{} {b}", name("lengths")),
                    &[kept as i64],
                    &expected.i64s(&name("lengths"))?[b..=b],
                ));
                all.add(equal_lists(
                    &format!("{} {b} {form}", name("order")),
                    &signed(&found.order()),
                    &want("order")?[..length],
                ));
                let mut retain = vec![0i64; length];
                found.retained.iter().for_each(|&i| retain[i as usize] = 1);
                all.add(equal_lists(&format!("{} {b} {form}", name("retain")), &retain, &want("retain")?[..length]));
            }
        }
    }
    all.finish()
}
