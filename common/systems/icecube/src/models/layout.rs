//! How events lie in a packed tensor, and how attention sees them.
//!
//! All layers that treat tokens one by one run on packed rows `[N, D]`: the tokens of all events, one event after
//! another, no padding. Only attention needs events apart. On a GPU all events form one padded group, so that a batch
//! costs a few launches. On a CPU events of about the same length share a group: what a group costs by itself is
//! weighed against the work on padding, so that narrow networks get few groups and wide ones almost no padding.

use common::Result;
use neural::device;
use tch::{Device, Kind, Tensor};

/// Pairs of tokens and channels that attention works through in the time that a group costs by itself, on one core.
const GROUP_COST: i64 = 750_000;

/// Places of the tokens of each event.
#[derive(Debug)]
pub struct Layout {
    lengths: Vec<i64>,
    groups: Vec<Group>,
    /// Row of each place of all groups, padded places name row 0; and the place of each row. `None`: the groups are the
    /// rows as they lie.
    moves: Option<(Tensor, Tensor)>,
    /// Work that padding an event may cost; `None`: any.
    slack: Option<i64>,
    /// Rows of the packed tensor.
    rows: i64,
    round: bool,
}

/// Events that attention treats together.
#[derive(Debug)]
struct Group {
    /// Which events.
    events: Vec<i64>,
    /// Tokens of the longest.
    length: i64,
    /// False where there is no token, `[b, 1, 1, l]`; `None`: nothing is padded.
    keys: Option<Tensor>,
}

impl Layout {
    /// Events of these lengths, as the device likes them best; attention works on `channels` of each token.
    pub fn new(lengths: Vec<i64>, channels: i64, device: Device) -> Result<Self> {
        Self::grouped(lengths, slack_of(channels, device), device, false)
    }

    /// The same for a packed tensor whose rows, on a CPU, are rounded up by some that no event owns: products of a size
    /// that was seen before need not be prepared again, which for narrow networks costs more than the product.
    pub fn rounded(lengths: Vec<i64>, channels: i64, device: Device) -> Result<Self> {
        Self::grouped(lengths, slack_of(channels, device), device, device == Device::Cpu)
    }

    /// The same with all events in one padded group, on any device.
    pub fn padded(lengths: Vec<i64>, device: Device) -> Result<Self> {
        Self::grouped(lengths, None, device, false)
    }

    /// Events that lie padded to `length` as they are, one group: `keys` bool `[B, length]` says where there are tokens. For
    /// passes that are recorded: nothing is read of the values.
    pub fn recorded(keys: &Tensor) -> Self {
        let (events, length) = (keys.size()[0], keys.size()[1]);
        let group = Group { events: (0..events).collect(), length, keys: Some(keys.view([events, 1, 1, length])) };
        let lengths = vec![length; events as usize];
        Self { lengths, groups: vec![group], moves: None, slack: None, rows: events * length, round: false }
    }

    /// The same kind of layout for events of other lengths.
    pub fn like(&self, lengths: Vec<i64>, device: Device) -> Result<Self> {
        Self::grouped(lengths, self.slack, device, self.round)
    }

    fn grouped(lengths: Vec<i64>, slack: Option<i64>, device: Device, round: bool) -> Result<Self> {
        let tokens = lengths.iter().sum();
        let total = if round { rounded(tokens) } else { tokens };
        let firsts: Vec<i64> = lengths.iter().scan(0, |sum, n| Some(std::mem::replace(sum, *sum + n))).collect();
        let (mut rows, mut places) = (vec![], vec![0; total as usize]);
        let mut groups = vec![];
        for events in partition(&lengths, slack) {
            let length = events.iter().map(|&e| lengths[e as usize]).max().unwrap_or(0);
            let mut valid = Vec::with_capacity(events.len() * length as usize);
            for &event in &events {
                let (first, n) = (firsts[event as usize], lengths[event as usize]);
                for place in 0..length {
                    if place < n {
                        places[(first + place) as usize] = rows.len() as i64;
                    }
                    rows.push(if place < n { first + place } else { 0 });
                    valid.push(place < n);
                }
            }
            let keys = if valid.iter().all(|valid| *valid) {
                None
            } else {
                let keys = device::place(&Tensor::from_slice(&valid), device)?;
                Some(keys.view([events.len() as i64, 1, 1, length]))
            };
            groups.push(Group { events, length, keys });
        }
        let moved = rows.len() != places.len() || rows.iter().enumerate().any(|(place, row)| place as i64 != *row);
        let place = |list: &[i64]| device::place(&Tensor::from_slice(list), device);
        let moves = if moved { Some((place(&rows)?, place(&places)?)) } else { None };
        Ok(Self { lengths, groups, moves, slack, rows: total, round })
    }

    /// Tokens of each event.
    pub fn lengths(&self) -> &[i64] {
        &self.lengths
    }

    /// Rows of the packed tensor: one for each token, and those that rounding adds at the end.
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// `[N, C]` -> `[b, l, C]` for each group.
    pub fn split(&self, x: &Tensor) -> Vec<Tensor> {
        let x = match &self.moves {
            Some((rows, _)) => x.index_select(0, rows),
            None => x.shallow_clone(),
        };
        let shaped = |t: &Tensor, g: &Group| t.view([g.events.len() as i64, g.length, x.size()[1]]);
        if let [all] = self.groups.as_slice() {
            return vec![shaped(&x, all)];
        }
        let sizes: Vec<i64> = self.groups.iter().map(|g| g.events.len() as i64 * g.length).collect();
        let parts = x.split_with_sizes(sizes.as_slice(), 0);
        parts.iter().zip(&self.groups).map(|(t, g)| shaped(t, g)).collect()
    }

    /// The inverse of [`Layout::split`]; what stands in padded places is dropped. Rows of no event hold anything finite.
    pub fn join(&self, groups: &[Tensor]) -> Tensor {
        let flat: Vec<Tensor> = groups.iter().map(|g| g.flatten(0, 1)).collect();
        let all = if let [all] = flat.as_slice() { all.shallow_clone() } else { Tensor::cat(&flat, 0) };
        match &self.moves {
            Some((_, places)) => all.index_select(0, places),
            None => all,
        }
    }

    /// One row an event, `[B, C]` -> `[b, C]` for each group.
    pub fn split_events(&self, x: &Tensor) -> Vec<Tensor> {
        let of = |g: &Group| x.index_select(0, &device::placed(&Tensor::from_slice(&g.events), x.device()));
        if let [_] = self.groups.as_slice() { vec![x.shallow_clone()] } else { self.groups.iter().map(of).collect() }
    }

    /// The inverse of [`Layout::split_events`].
    pub fn join_events(&self, groups: &[Tensor]) -> Tensor {
        if let [all] = groups {
            return all.shallow_clone();
        }
        let mut order: Vec<i64> = vec![0; self.lengths.len()];
        for (place, event) in self.groups.iter().flat_map(|g| &g.events).enumerate() {
            order[*event as usize] = place as i64;
        }
        let all = Tensor::cat(groups, 0);
        all.index_select(0, &device::placed(&Tensor::from_slice(&order), all.device()))
    }

    /// What is added to the attention logits of each group, 0 or minus infinity, `[b, 1, 1, l]` in the number format of
    /// the logits; none where nothing is padded. (Masks of another format give wrong numbers in libtorch 2.11.)
    pub fn masks(&self, kind: Kind) -> Vec<Option<Tensor>> {
        let mask = |keys: &Tensor| {
            let zeros = Tensor::zeros(keys.size(), (kind, keys.device()));
            zeros.masked_fill(&keys.logical_not(), f64::NEG_INFINITY)
        };
        self.groups.iter().map(|g| g.keys.as_ref().map(mask)).collect()
    }
}

fn slack_of(channels: i64, device: Device) -> Option<i64> {
    (device == Device::Cpu).then(|| GROUP_COST / channels.max(1))
}

/// Up to a sixteenth more rows, so that few numbers of rows occur.
fn rounded(rows: i64) -> i64 {
    let step = (1 << rows.max(1).ilog2()) / 16;
    (rows as u64).next_multiple_of(step.max(64)) as i64
}

/// Events by group: longer ones first, and into each group what is not much shorter than its longest. Events without a
/// token stay alone on a CPU. One group of all without a `slack`.
fn partition(lengths: &[i64], slack: Option<i64>) -> Vec<Vec<i64>> {
    let mut order: Vec<i64> = (0..lengths.len() as i64).collect();
    let Some(slack) = slack else { return vec![order] };
    order.sort_by_key(|&event| -lengths[event as usize]);
    let mut groups: Vec<Vec<i64>> = vec![];
    for event in order {
        let n = lengths[event as usize];
        match groups.last_mut() {
            Some(group) if n > 0 && lengths[group[0] as usize].pow(2) - n * n <= slack => group.push(event),
            _ => groups.push(vec![event]),
        }
    }
    // In the order of the batch where that is possible: then nothing has to be moved.
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups.sort_by_key(|group| group[0]);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_give_back_what_they_were_made_of() {
        let x = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([12, 2]);
        let lengths = vec![1, 3, 2, 0, 5, 1];
        for channels in [1, 100_000, 1 << 40] {
            let layout = Layout::new(lengths.clone(), channels, Device::Cpu).unwrap();
            assert_eq!(layout.join(&layout.split(&x)), x, "{channels}");
            let events = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([6, 1]);
            assert_eq!(layout.join_events(&layout.split_events(&events)), events);
        }
        let layout = Layout::padded(lengths, Device::Cpu).unwrap();
        assert_eq!(layout.join(&layout.split(&x)), x);
        let padded = Layout::padded(vec![1, 2], Device::Cpu).unwrap();
        let masks = padded.masks(Kind::Float);
        let mask = Vec::<f32>::try_from(masks[0].as_ref().unwrap().flatten(0, -1)).unwrap();
        assert_eq!(mask, [0.0, f32::NEG_INFINITY, 0.0, 0.0]);
    }

    #[test]
    fn rounding_adds_rows_that_no_event_sees() {
        for (rows, expected) in [(0, 0), (1, 64), (64, 64), (1025, 1088), (3400, 3456), (6000, 6144)] {
            assert_eq!(rounded(rows), expected);
        }
        let layout = Layout::rounded(vec![1, 3, 2], 64, Device::Cpu).unwrap();
        assert_eq!(layout.rows(), 64);
        let x = Tensor::arange(128, (Kind::Float, Device::Cpu)).view([64, 2]);
        let back = layout.join(&layout.split(&x));
        assert_eq!((back.size(), back.narrow(0, 0, 6)), (vec![64, 2], x.narrow(0, 0, 6)));
    }

    #[test]
    fn narrow_networks_get_few_groups_and_wide_ones_no_padding() {
        let lengths = [60, 90, 100, 100, 64, 0];
        assert_eq!(partition(&lengths, Some(GROUP_COST / 64)), [vec![0, 1, 2, 3, 4], vec![5]]);
        assert_eq!(partition(&lengths, Some(GROUP_COST / 768)), [vec![0, 4], vec![1], vec![2, 3], vec![5]]);
        assert_eq!(partition(&lengths, None), [vec![0, 1, 2, 3, 4, 5]]);
    }
}
