//! How events lie in a packed tensor, and how attention sees them.
//!
//! All layers that treat tokens one by one run on packed rows `[N, D]`: the tokens of all events, one event after
//! another, no padding. Only attention needs events apart. On a CPU each event is a group of its own, so nothing is
//! ever padded or masked; on a GPU all events form one padded group, so that a batch costs a few launches.

use common::Result;
use neural::Doing;
use tch::{Device, Kind, Tensor};

/// Places of the tokens of each event.
#[derive(Debug)]
pub struct Layout {
    lengths: Vec<i64>,
    padded: Option<Padded>,
}

#[derive(Debug)]
struct Padded {
    /// Row of each place of `[B, L]`; padded places name row 0.
    rows: Tensor,
    /// Place of each row.
    places: Tensor,
    /// True where there is a token, `[B, 1, 1, L]`.
    keys: Tensor,
    shape: [i64; 2],
}

impl Layout {
    /// Events of these lengths (each at least 1), as the device likes them best.
    pub fn new(lengths: Vec<i64>, device: Device) -> Result<Self> {
        let padded = if device == Device::Cpu { None } else { Some(Padded::new(&lengths, device)?) };
        Ok(Self { lengths, padded })
    }

    /// The same with all events in one padded group, on any device.
    pub fn padded(lengths: Vec<i64>, device: Device) -> Result<Self> {
        let padded = Some(Padded::new(&lengths, device)?);
        Ok(Self { lengths, padded })
    }

    /// The same kind of layout for events of other lengths.
    pub fn like(&self, lengths: Vec<i64>, device: Device) -> Result<Self> {
        if self.padded.is_some() { Self::padded(lengths, device) } else { Ok(Self { lengths, padded: None }) }
    }

    /// Tokens of each event.
    pub fn lengths(&self) -> &[i64] {
        &self.lengths
    }

    /// `[N, C]` -> `[b, l, C]` for each group.
    pub fn split(&self, x: &Tensor) -> Vec<Tensor> {
        match &self.padded {
            Some(padded) => {
                let [events, length] = padded.shape;
                vec![x.index_select(0, &padded.rows).view([events, length, -1])]
            }
            None if self.lengths.len() == 1 => vec![x.unsqueeze(0)],
            None => x.split_with_sizes(self.lengths.as_slice(), 0).iter().map(|t| t.unsqueeze(0)).collect(),
        }
    }

    /// The inverse of [`Layout::split`]; what stands in padded places is dropped.
    pub fn join(&self, groups: &[Tensor]) -> Tensor {
        match &self.padded {
            Some(padded) => groups[0].flatten(0, 1).index_select(0, &padded.places),
            None if groups.len() == 1 => groups[0].squeeze_dim(0),
            None => Tensor::cat(&groups.iter().map(|g| g.squeeze_dim(0)).collect::<Vec<_>>(), 0),
        }
    }

    /// What is added to attention logits, 0 or minus infinity, `[b, 1, 1, l]` in the number format of the logits; none
    /// where nothing is padded. (Masks of another format than the logits give wrong numbers in libtorch 2.11.)
    pub fn mask(&self, kind: Kind) -> Option<Tensor> {
        self.padded.as_ref().map(|padded| {
            let zeros = padded.keys.zeros_like().to_kind(kind);
            zeros.masked_fill(&padded.keys.logical_not(), f64::NEG_INFINITY)
        })
    }
}

impl Padded {
    fn new(lengths: &[i64], device: Device) -> Result<Self> {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut rows = Vec::with_capacity(lengths.len() * longest as usize);
        let (mut places, mut valid) = (vec![], Vec::with_capacity(rows.capacity()));
        let mut first = 0;
        for (event, &length) in lengths.iter().enumerate() {
            for place in 0..longest {
                let inside = place < length;
                rows.push(if inside { first + place } else { 0 });
                valid.push(inside);
                if inside {
                    places.push(event as i64 * longest + place);
                }
            }
            first += length;
        }
        let shape = [lengths.len() as i64, longest];
        let move_to = |t: Tensor| t.f_to_device(device).doing("placing the events of a batch");
        Ok(Self {
            rows: move_to(Tensor::from_slice(&rows))?,
            places: move_to(Tensor::from_slice(&places))?,
            keys: move_to(Tensor::from_slice(&valid))?.view([shape[0], 1, 1, shape[1]]),
            shape,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_give_back_what_they_were_made_of() {
        let x = Tensor::arange(12, (Kind::Float, Device::Cpu)).view([6, 2]);
        for layout in [Layout::new(vec![1, 3, 2], Device::Cpu), Layout::padded(vec![1, 3, 2], Device::Cpu)] {
            let layout = layout.unwrap();
            assert_eq!(layout.join(&layout.split(&x)), x);
        }
        let padded = Layout::padded(vec![1, 2], Device::Cpu).unwrap();
        let mask = Vec::<f32>::try_from(padded.mask(Kind::Float).unwrap().flatten(0, -1)).unwrap();
        assert_eq!(mask, [0.0, f32::NEG_INFINITY, 0.0, 0.0]);
    }
}
