//! Padded batches of tracks, as the original collates them (`src/tracknet/data/collate.py`).

use tch::{Device, Kind, Tensor};

/// Inputs h_0..h_{n-1} and targets h_1..h_n of tracks with n + 1 hits, zeros behind the ends.
#[derive(Debug)]
pub struct Batch {
    /// `[B, L, 3]`.
    pub inputs: Tensor,
    /// `[B, L, 3]`.
    pub targets: Tensor,
    /// Hits of each input, `[B]`, i64.
    pub lengths: Tensor,
    /// `[B, 2L - 1]`: columns before L mark real next hits, the others real hits after next.
    pub mask: Tensor,
}

impl Batch {
    /// From positions of whole tracks, each of two hits at least.
    pub fn of(tracks: &[&[[f32; 3]]]) -> Self {
        let longest = tracks.iter().map(|t| t.len()).max().unwrap_or(2).max(2);
        let mut hits = vec![0.0_f32; tracks.len() * longest * 3];
        for (row, track) in hits.chunks_exact_mut(longest * 3).zip(tracks) {
            row[..track.len() * 3].copy_from_slice(track.as_flattened());
        }
        let hits = Tensor::from_slice(&hits).view([tracks.len() as i64, longest as i64, 3]);
        let counts: Vec<i64> = tracks.iter().map(|t| t.len() as i64).collect();
        Self::cut(&hits, &Tensor::from_slice(&counts))
    }

    /// From padded tracks `[B, N, 3]` and their numbers of hits `[B]`.
    pub fn cut(hits: &Tensor, counts: &Tensor) -> Self {
        let device = hits.device();
        let lengths = counts.to_kind(Kind::Int64) - 1; // [B]
        // On a GPU the host would wait for the longest track; there the padding stays.
        let longest = if device.is_cuda() { hits.size()[1] - 1 } else { lengths.max().int64_value(&[]).max(1) };
        let steps = Tensor::arange(longest, (Kind::Int64, device)).unsqueeze(0); // [1, L]
        let first = steps.lt_tensor(&lengths.unsqueeze(1)); // [B, L]
        let second = steps.narrow(1, 0, longest - 1).lt_tensor(&(&lengths - 1).unsqueeze(1)); // [B, L - 1]
        let zero = Tensor::zeros([1], (Kind::Float, device));
        let keep = first.unsqueeze(-1);
        Self {
            inputs: hits.narrow(1, 0, longest).where_self(&keep, &zero),
            targets: hits.narrow(1, 1, longest).where_self(&keep, &zero),
            mask: Tensor::cat(&[first, second], 1),
            lengths,
        }
    }

    /// The same on another device.
    #[must_use]
    pub fn to(&self, device: Device) -> Self {
        let to = |t: &Tensor| t.to_device(device);
        Self { inputs: to(&self.inputs), targets: to(&self.targets), lengths: to(&self.lengths), mask: to(&self.mask) }
    }
}
