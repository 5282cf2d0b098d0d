//! Groups of points: packed as we make them, compared in the published padded form.

use anyhow::Result;
use polarmae::grouping::{CHANNELS, GroupingConfig, Groups, Reduction, Seeds, group};
use tch::{Kind, Tensor};

use super::geometry::rows;
use crate::checks::{Case, Comparison, Tensors};

/// The geometry that a case names; keys as published, below `at`.
pub fn config(case: &Case, at: &str) -> Result<GroupingConfig> {
    let key = |name: &str| format!("{at}.{name}");
    let optional = |name: &str| case.find(&key(name)).and_then(|v| v.as_f64());
    let yes = |name: &str| case.find(&key(name)).and_then(|v| v.as_bool()).unwrap_or(false);
    let groups_key = if case.find(&key("num_groups")).is_some() { "num_groups" } else { "num_init_groups" };
    let groups = case.usize(&key(groups_key))?;
    Ok(GroupingConfig {
        seeds: if yes("use_fps_seed") { Seeds::Farthest(groups) } else { Seeds::AllPoints },
        suppression_neighbors: groups,
        overlap: optional("overlap_factor"),
        radius: optional("group_radius"),
        upscale_points: case.usize(&key("group_upscale_points"))?,
        slots: case.usize(&key("group_max_points"))?,
        reduction: if case.find(&key("reduction_method")).and_then(|v| v.as_str()) == Some("energy") {
            Reduction::Energy
        } else {
            Reduction::Fps
        },
        mean_centers: yes("normalize_group_centers"),
        relative_features: yes("use_relative_features"),
        max_groups: None,
    })
}

/// Groups in the published form, padded to `most` groups and all slots.
pub struct Padded {
    pub centers: Tensor,
    pub groups: Tensor,
    pub idx: Tensor,
    pub embedding_mask: Tensor,
    pub point_mask: Tensor,
    pub labels: Option<Tensor>,
}

/// Fills the padding: empty slots repeat the first point, labels of them are -1.
pub fn pad(all: &[Groups], slots: usize, most: usize, labels: Option<&[Vec<i64>]>) -> Padded {
    let events = all.len();
    let width = all.first().map_or(3, |g| g.center_width);
    let mut centers = vec![0f32; events * most * width];
    let mut features = vec![0f32; events * most * slots * CHANNELS];
    let mut idx = vec![-1i64; events * most * slots];
    let mut id = vec![-1i64; events * most * slots];
    let mut embedding = vec![0i64; events * most];
    let mut mask = vec![0i64; events * most * slots];
    for (b, event) in all.iter().enumerate() {
        let mut begin = 0;
        for (g, &count) in event.counts.iter().enumerate() {
            let (count, at) = (count as usize, b * most + g);
            embedding[at] = 1;
            centers[at * width..(at + 1) * width].copy_from_slice(&event.centers[g * width..(g + 1) * width]);
            for slot in 0..slots {
                let source = begin + if slot < count { slot } else { 0 };
                let target = at * slots + slot;
                features[target * CHANNELS..(target + 1) * CHANNELS]
                    .copy_from_slice(&event.features[source * CHANNELS..(source + 1) * CHANNELS]);
                idx[target] = i64::from(event.members[source]);
                if slot < count {
                    mask[target] = 1;
                    if let Some(labels) = labels {
                        id[target] = labels[b][event.members[source] as usize];
                    }
                }
            }
            begin += count;
        }
    }
    let (events, most, slots) = (events as i64, most as i64, slots as i64);
    let shape = [events, most, slots];
    Padded {
        centers: Tensor::from_slice(&centers).view([events, most, width as i64]),
        groups: Tensor::from_slice(&features).view([events, most, slots, CHANNELS as i64]),
        idx: Tensor::from_slice(&idx).view(shape),
        embedding_mask: Tensor::from_slice(&embedding).view([events, most]),
        point_mask: Tensor::from_slice(&mask).view(shape),
        labels: labels.map(|_| Tensor::from_slice(&id).view([events, most, slots, 1])),
    }
}

/// Rows of x, y, z, energy of each event.
pub type Points = Vec<Vec<f32>>;
/// The label of each of its points.
pub type Labels = Vec<Vec<i64>>;

/// The valid points of each event of a batch, and their labels.
pub fn events(inputs: &Tensors, prefix: &str) -> Result<(Points, Option<Labels>)> {
    let lengths: Vec<usize> = inputs.i64s(&format!("{prefix}lengths"))?.iter().map(|&n| n as usize).collect();
    let points = lengths.iter().enumerate().map(|(b, &n)| Ok(rows(inputs, &format!("{prefix}points"), b, n)?.0));
    let points = points.collect::<Result<Vec<_>>>()?;
    let name = format!("{prefix}semantic_id");
    if !inputs.has(&name) {
        return Ok((points, None));
    }
    let (most, ids) = (inputs.shape(&name)?[1], inputs.i64s(&name)?);
    let labels = lengths.iter().enumerate().map(|(b, &n)| ids[b * most..b * most + n].to_vec()).collect();
    Ok((points, Some(labels)))
}

/// `grouping_*`.
pub fn groups(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let config = config(case, "config")?;
    let (points, labels) = events(&inputs, "")?;
    let starts = if inputs.has("start_index") { inputs.i64s("start_index")? } else { vec![0; points.len()] };
    let found: Vec<Groups> =
        points.iter().zip(&starts).map(|(rows, &start)| group(&config, rows, start as u32)).collect();
    let most = expected.shape("groups")?[1];
    let padded = pad(&found, config.slots, most, labels.as_deref());
    let tolerance = case.f64("tolerance")?;
    let mut all = Comparison::new();
    let valid = expected.get("embedding_mask")?.to_kind(Kind::Float);
    all.tensors("embedding_mask", &padded.embedding_mask, &expected.get("embedding_mask")?, 0.0);
    all.tensors("point_mask", &padded.point_mask, &expected.get("point_mask")?, 0.0);
    all.tensors("idx", &padded.idx, &expected.get("idx")?, 0.0);
    if let Some(labels) = &padded.labels {
        all.tensors("semantic_id_groups", labels, &expected.get("semantic_id_groups")?, 0.0);
    }
    all.tensors("groups", &padded.groups, &expected.get("groups")?, tolerance);
    let want = expected.get("group_centers")? * valid.unsqueeze(2);
    all.tensors("group_centers", &padded.centers, &want, tolerance);
    all.finish()
}
