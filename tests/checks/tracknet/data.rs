//! Reading events, making tracks, batches.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tch::{Kind, Tensor};
use tracknet::batch::Batch;
use tracknet::event::{Cells, Hits, Particles, Truth};
use tracknet::files;
use tracknet::normalizer::Normalizer;
use tracknet::tracks::{Filters, Recipe, Tracks, Transform, pt};

use crate::checks::{Case, Comparison, Tensors, compare, equal_lists};

/// Fails with a text unless something holds.
pub fn demand(holds: bool, text: String) -> Result<()> {
    ensure!(holds, text);
    Ok(())
}

/// Columns of the four files of an event, exact.
pub fn load_event(case: &Case) -> Result<()> {
    let prefix = case.path(case.str("files")?.trim_end_matches("-*.csv"));
    let expected = case.tensors("expected.safetensors")?;
    let (hits, cells) = (Hits::read(&prefix)?, Cells::read(&prefix)?);
    let (particles, truth) = (Particles::read(&prefix)?, Truth::read(&prefix)?);
    let mut checks = Comparison::new();
    let axis = |points: &[[f32; 3]], i: usize| points.iter().map(|p| p[i]).collect::<Vec<f32>>();
    let mut floats = |name: String, got: Vec<f32>| -> Result<()> {
        checks.add(equal_lists(&name, &got, &expected.f32s(&name)?));
        Ok(())
    };
    for (i, axis_name) in ["x", "y", "z"].iter().enumerate() {
        floats(format!("hits.{axis_name}"), axis(&hits.xyz, i))?;
        floats(format!("particles.v{axis_name}"), axis(&particles.vertex, i))?;
        floats(format!("particles.p{axis_name}"), axis(&particles.momentum, i))?;
        floats(format!("truth.t{axis_name}"), axis(&truth.position, i))?;
        floats(format!("truth.tp{axis_name}"), axis(&truth.momentum, i))?;
    }
    floats("truth.weight".into(), truth.weight.clone())?;
    floats("cells.value".into(), cells.value.clone())?;
    let mut whole = |name: &str, got: Vec<i64>| -> Result<()> {
        checks.add(equal_lists(name, &got, &expected.i64s(name)?));
        Ok(())
    };
    let wide = |list: &[i32]| list.iter().map(|&v| i64::from(v)).collect::<Vec<i64>>();
    whole("hits.hit_id", wide(&hits.hit_id))?;
    whole("hits.volume_id", wide(&hits.volume))?;
    whole("hits.layer_id", wide(&hits.layer))?;
    whole("hits.module_id", wide(&hits.module))?;
    whole("cells.hit_id", wide(&cells.hit_id))?;
    whole("cells.ch0", wide(&cells.ch0))?;
    whole("cells.ch1", wide(&cells.ch1))?;
    whole("particles.particle_id", particles.particle_id.clone())?;
    whole("particles.q", wide(&particles.charge))?;
    whole("particles.nhits", wide(&particles.nhits))?;
    whole("truth.hit_id", wide(&truth.hit_id))?;
    whole("truth.particle_id", truth.particle_id.clone())?;
    checks.finish()
}

/// Tracks of the training or validating events of a case whose filters stand under `at`.
pub fn tracks_of_part(case: &Case, at: &str, train: bool, normalizer: Normalizer) -> Result<Vec<Tracks>> {
    let folder = case.str("config.data_dir").or_else(|_| case.str("data_dir"))?;
    let blacklist = case.str("config.blacklist_dir").or_else(|_| case.str("blacklist_dir"))?;
    let all = files::events(&[case.path(folder)])?;
    let n = files::validation(all.len(), case.f64("config.validation_split")?);
    let recipe = Recipe {
        transforms: vec![Transform::DropRepeatedLayers, Transform::Normalize(normalizer)],
        filters: Filters {
            min_hits: Some(case.usize(&format!("{at}.min_hits"))?),
            min_pt: Some(case.f64(&format!("{at}.min_pt"))? as f32),
            first_layers: serde_json::from_value(case.value(&format!("{at}.valid_first_layers"))?.clone())?,
        },
    };
    let part = if train { &all[n..] } else { &all[..n] };
    let blacklist = case.path(blacklist);
    part.iter().map(|e| Ok(Tracks::of_event(e, Some(&blacklist), &recipe)?)).collect()
}

/// The tracks that the case's configuration yields, with the event of each.
pub fn tracks_of(case: &Case) -> Result<(Vec<(i64, Tracks)>, usize)> {
    let mut folders: Vec<PathBuf> = match case.find("data_dirs") {
        Some(_) => case.strings("data_dirs")?.iter().map(|d| case.path(d)).collect(),
        None => vec![case.path(case.str("data_dir")?)],
    };
    let all = match files::events(&folders) {
        // The copies of cases hold one event of several.
        Ok(all) => all,
        Err(_) => {
            folders.retain(|f| f.is_dir());
            files::events(&folders)?
        }
    };
    let fraction = case.f64_or("config.validation_split", case.f64_or("validation_split", 0.0)?)?;
    let n = files::validation(all.len(), fraction);
    let part = match case.find("config.split").and_then(|v| v.as_str()) {
        Some("train") => &all[n..],
        _ => &all[..n],
    };
    let recipe = recipe(case)?;
    let blacklist = match (case.find("blacklist_dir"), case.find("config.blacklist")) {
        (Some(_), Some(wanted)) if !wanted.as_bool().unwrap_or(true) => None,
        (Some(_), _) => Some(case.path(case.str("blacklist_dir")?)),
        _ => None,
    };
    let names = case.find("events").map(|_| case.strings("events")).transpose()?;
    let mut found = Vec::new();
    for prefix in part {
        let name = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let index = names.as_ref().and_then(|n| n.iter().position(|e| *e == name)).unwrap_or(0);
        found.push((index as i64, Tracks::of_event(prefix, blacklist.as_deref(), &recipe)?));
    }
    Ok((found, n))
}

fn recipe(case: &Case) -> Result<Recipe> {
    let normalizer = match case.find("normalizer") {
        Some(value) => serde_json::from_value(value.clone())?,
        None => Normalizer::default(),
    };
    let mut transforms = Vec::new();
    for name in case.strings("config.transforms")? {
        transforms.push(match name.as_str() {
            "drop_repeated" => Transform::DropRepeatedLayers,
            "normalizer" => Transform::Normalize(normalizer),
            other => anyhow::bail!("transform `{other}`"),
        });
    }
    let first_layers = match case.find("config.valid_first_layers") {
        Some(value) => serde_json::from_value(value.clone())?,
        None => vec![],
    };
    let filters = Filters {
        min_hits: case.find("config.min_hits").and_then(|v| v.as_u64()).map(|v| v as usize),
        min_pt: case.find("config.min_pt").and_then(|v| v.as_f64()).map(|v| v as f32),
        first_layers,
    };
    Ok(Recipe { transforms, filters })
}

/// Of the cases: coordinates relative to the largest.
const COORDINATES: f64 = 1e-6;

/// The sequence of tracks.
pub fn dataset(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let (found, _) = tracks_of(case)?;
    let mut checks = Comparison::new();
    let all = |take: &dyn Fn(&Tracks) -> Vec<i64>| found.iter().flat_map(|(_, t)| take(t)).collect::<Vec<i64>>();
    let wide = |list: &[i32]| list.iter().map(|&v| i64::from(v)).collect::<Vec<i64>>();
    let whole: [(&str, Vec<i64>); 7] = [
        ("particle_id", all(&|t| t.particle_id.clone())),
        ("track_id", all(&|t| t.track_id.clone())),
        ("charge", all(&|t| wide(&t.charge))),
        ("hit_ids", all(&|t| wide(&t.hit_id))),
        ("volume_ids", all(&|t| wide(&t.volume))),
        ("layer_ids", all(&|t| wide(&t.layer))),
        ("module_ids", all(&|t| wide(&t.module))),
    ];
    for (name, got) in whole {
        checks.add(equal_lists(name, &got, &expected.i64s(name)?));
    }
    let events: Vec<i64> = found.iter().flat_map(|(e, t)| vec![*e; t.len()]).collect();
    checks.add(equal_lists("event_index", &events, &expected.i64s("event_index")?));
    let mut offsets = vec![0_i64];
    for (_, tracks) in &found {
        for i in 0..tracks.len() {
            offsets.push(offsets.last().unwrap_or(&0) + tracks.hits(i).len() as i64);
        }
    }
    checks.add(equal_lists("offsets", &offsets, &expected.i64s("offsets")?));
    let floats = |take: &dyn Fn(&Tracks) -> Vec<f32>| {
        found.iter().flat_map(|(_, t)| take(t)).map(f64::from).collect::<Vec<f64>>()
    };
    let reals: [(&str, Vec<f64>); 6] = [
        ("hits_xyz", floats(&|t| t.xyz.as_flattened().to_vec())),
        ("hits_cylindrical", floats(&|t| t.cylindrical.as_flattened().to_vec())),
        ("px", floats(&|t| t.momentum.iter().map(|p| p[0]).collect())),
        ("py", floats(&|t| t.momentum.iter().map(|p| p[1]).collect())),
        ("pz", floats(&|t| t.momentum.iter().map(|p| p[2]).collect())),
        ("pt", floats(&|t| t.momentum.iter().map(|p| pt(*p)).collect())),
    ];
    for (name, got) in reals {
        checks.values(name, &got, &expected.f64s(name)?, COORDINATES);
    }
    let tracks = found.iter().map(|(_, t)| t.len()).sum::<usize>();
    checks.add(demand(tracks == case.usize("n_tracks")?, format!("{tracks} tracks")));
    checks.finish()
}

/// Numbers of validation files.
pub fn validation_split(case: &Case) -> Result<()> {
    let rows = case.value("table")?.as_array().cloned().unwrap_or_default();
    ensure!(!rows.is_empty(), "no rows");
    for row in rows {
        let number = |i: usize| row[i].as_f64().unwrap_or(f64::NAN);
        let got = files::validation(number(0) as usize, number(1));
        ensure!(got as f64 == number(2), "{} files, {}: {got}, expected {}", number(0), number(1), number(2));
    }
    Ok(())
}

/// Normalisation there and back.
pub fn normalizer(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let xyz = points(&case.tensors("inputs.safetensors")?, "xyz")?;
    let mut checks = Comparison::new();
    let wide = |list: &[[f32; 3]]| list.as_flattened().iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    let near = case.f64("tolerance")?;
    for name in expected.names().filter_map(|name| name.strip_suffix(".normalized")) {
        let normalizer: Normalizer = serde_json::from_value(case.value(name)?.clone())?;
        let there: Vec<_> = xyz.iter().map(|&p| normalizer.normalize(p)).collect();
        let back: Vec<_> = xyz.iter().map(|p| normalizer.denormalize(p.map(|v| v / 1000.0))).collect();
        checks.values(name, &wide(&there), &expected.f64s(&format!("{name}.normalized"))?, near);
        checks.values(name, &wide(&back), &expected.f64s(&format!("{name}.denormalized"))?, near);
        checks.values(name, &wide(&[normalizer.range()]), &expected.f64s(&format!("{name}.range"))?, near);
    }
    checks.finish()
}

/// Points of a tensor `[..., 3]`.
pub fn points(tensors: &Tensors, name: &str) -> Result<Vec<[f32; 3]>> {
    Ok(tensors.f32s(name)?.as_chunks::<3>().0.to_vec())
}

/// Positions of the tracks that another case lists.
pub fn listed_tracks(folder: &Path) -> Result<Vec<Vec<[f32; 3]>>> {
    let listed = Tensors::read(&folder.join("expected.safetensors"))?;
    let (xyz, offsets) = (points(&listed, "hits_xyz")?, listed.i64s("offsets")?);
    Ok(offsets.windows(2).map(|w| xyz[w[0] as usize..w[1] as usize].to_vec()).collect())
}

/// Padded batches.
pub fn collate(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let tracks = listed_tracks(&case.path(case.str("tracks")?))?;
    let chunks: Vec<&[Vec<[f32; 3]>]> = tracks.chunks(case.usize("batch_size")?).collect();
    ensure!(chunks.len() == case.usize("n_batches")?, "{} batches", chunks.len());
    let mut checks = Comparison::new();
    // The first batches in order, and the last one.
    let stored = (0..).take_while(|index| expected.has(&format!("{index}.inputs"))).count();
    ensure!(stored > 0, "no batches");
    for index in 0..stored {
        let chunk = if index + 1 < stored { chunks[index] } else { chunks[chunks.len() - 1] };
        let batch = Batch::of(&chunk.iter().map(Vec::as_slice).collect::<Vec<_>>());
        for (name, got, tolerance) in [
            ("inputs", &batch.inputs, case.f64("tolerance")?),
            ("targets", &batch.targets, case.f64("tolerance")?),
            ("input_lengths", &batch.lengths, 0.0),
            ("target_mask", &batch.mask.to_kind(Kind::Uint8), 0.0),
        ] {
            let name = format!("{index}.{name}");
            checks.add(compare(&name, got, &expected.get(&name)?, tolerance));
        }
    }
    checks.finish()
}

/// The order of the batches: each track once, as with a single worker of the original.
pub fn loader_order(case: &Case) -> Result<()> {
    use neural::loader::{Batches, Order, Shuffle};
    let want = case.tensors("expected.safetensors")?.get("workers0")?;
    let (rows, size) = (want.size()[0], want.size()[1]);
    let n = want.ge(0).sum(Kind::Int64).int64_value(&[]) as u64;
    let order = Order::new(n, &Shuffle::Sequential, 0)?;
    let batches = Batches::evaluation(size as u64);
    ensure!(batches.steps(n) as i64 == rows, "{} batches, expected {rows}", batches.steps(n));
    let mut got = vec![-1_i64; (rows * size) as usize];
    for step in 0..batches.steps(n) {
        let positions = batches.positions(n, step);
        let at = step as usize * size as usize;
        for (place, row) in order.epoch(0)?.rows(positions.start, positions.end).into_iter().enumerate() {
            got[at + place] = row as i64;
        }
    }
    compare("workers0", &Tensor::from_slice(&got).view([rows, size]), &want, 0.0)
}
