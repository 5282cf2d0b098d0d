//! Raw files to events, indexes, orders.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use neural::replay::distributed_order;
use polarmae::raw::{BLOCK, Event, RawFile, Selection, index_path};
use tch::Tensor;

use crate::checks::{Case, Comparison, equal_lists};

/// The files of a folder, in the order of their names.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("listing `{}`", folder.display()))?;
    let mut files: Vec<PathBuf> =
        entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|e| e == "h5")).collect();
    files.sort();
    Ok(files)
}

/// All kept events of a folder, and the rows kept of each file.
pub fn events(folder: &Path, selection: &Selection, most: usize) -> Result<(Vec<Event>, Vec<Vec<i64>>)> {
    let (mut all, mut rows) = (vec![], vec![]);
    for path in files(folder)? {
        let raw = RawFile::open(&path, None)?;
        let index = raw.index()?;
        let kept: Vec<usize> = (0..raw.len()).filter(|&i| index[i] >= selection.min_points as i64).collect();
        rows.push(kept.iter().map(|&i| i as i64).collect());
        for start in (0..raw.len()).step_by(BLOCK) {
            let block = start..(start + BLOCK).min(raw.len());
            all.extend(raw.events(block, selection, |i| kept.contains(&i))?.into_iter().flatten());
        }
    }
    all.truncate(most);
    Ok((all, rows))
}

/// The selection of points whose keys stand below `at`.
pub fn selection(case: &Case, at: &str) -> Result<Selection> {
    let key = |name: &str| format!("{at}.{name}");
    let threshold = case.f64(&key("energy_threshold"))?;
    Ok(Selection {
        energy_threshold: threshold,
        remove_low_energy_scatters: case.bool(&key("remove_low_energy_scatters"))?,
        energy_max: case.f64(&key("emax"))?,
        log_floor: if threshold > 0.0 { None } else { Some(case.f64(&key("emin"))?) },
        min_points: case.usize(&key("min_points"))? as u64,
        ..Selection::default()
    })
}

/// Events as one padded batch: points, semantic ids, cluster ids, lengths.
fn padded(events: &[Event]) -> [Tensor; 4] {
    let most = events.iter().map(Event::len).max().unwrap_or(0);
    let (mut points, mut semantic, mut cluster) = (vec![], vec![], vec![]);
    for event in events {
        points.extend(event.points.iter().copied().chain(std::iter::repeat(0.0)).take(4 * most));
        semantic.extend(event.semantic.iter().map(|&s| i64::from(s)).chain(std::iter::repeat(-1)).take(most));
        cluster.extend(event.cluster.iter().map(|&c| i64::from(c)).chain(std::iter::repeat(-1)).take(most));
    }
    let lengths: Vec<i64> = events.iter().map(|e| e.len() as i64).collect();
    let (b, n) = (events.len() as i64, most as i64);
    [
        Tensor::from_slice(&points).view([b, n, 4]),
        Tensor::from_slice(&semantic).view([b, n, 1]),
        Tensor::from_slice(&cluster).view([b, n, 1]),
        Tensor::from_slice(&lengths),
    ]
}

/// `dataset_h5`: index files, kept events, batches.
pub fn dataset(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let tolerance = case.f64("tolerance")?;
    let mut all = Comparison::new();
    for set in ["train", "val"] {
        for path in files(&case.path(&format!("data/{set}")))? {
            let raw = RawFile::open(&path, None)?;
            let name = index_path(&path).file_name().unwrap_or_default().to_string_lossy().into_owned();
            let want = common::store::npy::NpyArray::open(case.path(&format!("expected_{set}_{name}")))?;
            all.add(equal_lists(&name, &raw.counts(0..raw.len())?, &want.to_i64()?));
            all.add(equal_lists(&format!("{name} read"), &raw.index()?, &want.to_i64()?));
        }
    }
    let settings = case.value("config")?.as_object().context("`config` is no map")?;
    for name in settings.keys() {
        let selection = selection(case, &format!("config.{name}"))?;
        let most = case.f64(&format!("config.{name}.maxlen"))?;
        let most = if most > 0.0 { most as usize } else { usize::MAX };
        for set in ["train", "val"] {
            let (events, rows) = events(&case.path(&format!("data/{set}")), &selection, most)?;
            let key = format!("index.{name}_{set}");
            all.add(equal_lists(&key, &[events.len()], &[case.usize(&format!("{key}.num_events"))?]));
            let want = case.value(&format!("{key}.kept_rows"))?.clone();
            all.add(equal_lists(&key, &[serde_json::json!(rows)], &[want]));
            if set == "val" {
                continue;
            }
            let size = expected.shape(&format!("{name}.batch0.lengths"))?[0];
            let [points, semantic, cluster, lengths] = padded(&events[..size]);
            all.tensors(name, &points, &expected.get(&format!("{name}.batch0.points"))?, tolerance);
            for (what, got) in [("semantic_id", semantic), ("cluster_id", cluster), ("lengths", lengths)] {
                all.tensors(&format!("{name} {what}"), &got, &expected.get(&format!("{name}.batch0.{what}"))?, 0.0);
            }
            if expected.has(&format!("{name}.last.points")) {
                let [points, semantic, cluster, _] = padded(&events[events.len() - 1..]);
                let want =
                    |what: &str| Ok::<_, anyhow::Error>(expected.get(&format!("{name}.last.{what}"))?.unsqueeze(0));
                all.tensors("last", &points, &want("points")?, tolerance);
                all.tensors("last semantic_id", &semantic, &want("semantic_id")?, 0.0);
                all.tensors("last cluster_id", &cluster, &want("cluster_id")?, 0.0);
            }
        }
    }
    all.finish()
}

/// `dataset_h5_variants`: no index, wide types, rows of six columns. Without an index upstream takes all events; ours
/// counts them, so the case's limit of points is not applied.
pub fn variants(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let selection = Selection { min_points: 0, ..selection(case, "config")? };
    let mut all = Comparison::new();
    for name in expected.names().filter_map(|name| name.strip_suffix(".points")) {
        let folder = case.path(&format!("data/{name}/train"));
        let raw = RawFile::open(&files(&folder)?[0], None)?;
        all.add(equal_lists(name, &[raw.cluster_width()], &[if name.contains("six") { 6 } else { 5 }]));
        let most = expected.shape(&format!("{name}.lengths"))?[0];
        let [points, semantic, cluster, lengths] = padded(&events(&folder, &selection, most)?.0);
        all.tensors(name, &points, &expected.get(&format!("{name}.points"))?, case.f64("tolerance")?);
        for (what, got) in [("semantic_id", semantic), ("cluster_id", cluster), ("lengths", lengths)] {
            all.tensors(&format!("{name} {what}"), &got, &expected.get(&format!("{name}.{what}"))?, 0.0);
        }
    }
    all.finish()
}

/// `sampler_order`.
pub fn sampler(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let mut all = Comparison::new();
    for name in expected.names() {
        let number = |part: usize, prefix: &str| -> Result<u64> {
            let text = name.split('.').nth(part).and_then(|p| p.strip_prefix(prefix));
            Ok(text.with_context(|| format!("`{name}`"))?.parse()?)
        };
        let (n, world) = (number(0, "n")?, number(1, "world")?);
        let (seed, epoch, rank) = (number(2, "seed")?, number(3, "epoch")?, number(4, "rank")?);
        let got = distributed_order(n as usize, world as usize, rank as usize, seed, epoch)?;
        all.add(equal_lists(name, &got, &expected.i64s(name)?));
        if world == 1 {
            let order = neural::loader::Order::new(n, &neural::loader::Shuffle::Torch, seed)?;
            let got: Vec<i64> = order.epoch(epoch)?.rows(0, n).iter().map(|&r| r as i64).collect();
            all.add(equal_lists(&format!("{name}, the loader"), &got, &expected.i64s(name)?));
        }
    }
    all.finish()
}
