//! Centrality-based non-maximum suppression of packed clouds, in rounds.
//!
//! The published walk is sequential: by falling number of neighbours a point, unless suppressed by then, suppresses its
//! list. Here a point is decided as soon as all earlier points that list it are, which gives the same result; a round
//! decides many points, and pairs that can change nothing any more are dropped.

use common::Result;
use tch::{Kind, Tensor};

use super::Cloud;
use super::neighbors::ball_query;

/// Rounds between two looks at what is left, for which the host waits.
const ROUNDS: usize = 4;

/// Retained points as rows of the cloud, ascending.
pub(super) fn suppress(cloud: &Cloud, radius: f64, overlap: f64, most: usize) -> Result<Tensor> {
    // Rounded once, as a Python float handed to a kernel is.
    let lists = ball_query(cloud, cloud, most, (2.0 * radius * overlap) as f32)?;
    let device = cloud.places.device();
    let total = cloud.places.size()[0];
    // Smaller is earlier: by number of neighbours, then by index. Points of other events are never compared.
    let turn = (-&lists.counts + most as i64) * total + Tensor::arange(total, (Kind::Int64, device));
    let others = lists.owners().ne_tensor(&lists.points);
    let (from, to) = (lists.owners().masked_select(&others), lists.points.masked_select(&others));
    let flags = || Tensor::zeros([total], (Kind::Bool, device));
    // Points that any of these pairs names. Pairs that do not count name a row behind the last: choosing them would make the
    // host wait for their number.
    let named = |points: &Tensor, which: &Tensor| {
        let rows = points.where_scalarother(which, total);
        Tensor::zeros([total + 1], (Kind::Bool, device)).index_fill(0, &rows, 1).narrow(0, 0, total)
    };
    let (mut acts, mut open) = (flags(), flags().logical_not());
    // Pairs that matter for turns: an earlier point lists a later one that is still open.
    let early = turn.index_select(0, &from).lt_tensor(&turn.index_select(0, &to));
    let (mut before, mut after) = (from.masked_select(&early), to.masked_select(&early));
    while before.size()[0] > 0 {
        // A round after the last changes nothing.
        for _ in 0..ROUNDS {
            let dead = named(&after, &acts.index_select(0, &before));
            let waits = named(&after, &open.index_select(0, &before));
            acts = acts.logical_or(&open.logical_and(&dead.logical_not()).logical_and(&waits.logical_not()));
            open = open.logical_and(&waits).logical_and(&dead.logical_not());
        }
        // What is decided needs no pair; what is dead suppresses nothing.
        let useful = open.index_select(0, &after).logical_and(&open.logical_or(&acts).index_select(0, &before));
        (before, after) = (before.masked_select(&useful), after.masked_select(&useful));
    }
    // Whatever is open now waits for nobody.
    acts = acts.logical_or(&open);
    let gone = named(&to, &acts.index_select(0, &from));
    Ok(gone.logical_not().nonzero().squeeze_dim(1))
}
