"""TrackNET's step-ahead network and its loss in plain PyTorch, one of `eager.py`."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class StepAhead(nn.Module):
    """Two GRU layers over packed tracks; four heads say a sphere for the next hit and one for the hit after it."""

    def __init__(self, inputs=3, hidden=32, outputs=3):
        super().__init__()
        self.rnn = nn.GRU(inputs, hidden, num_layers=2, batch_first=True)
        self.coords_1, self.radius_1 = nn.Linear(hidden, outputs), nn.Linear(hidden, 1)
        self.coords_2, self.radius_2 = nn.Linear(hidden, outputs), nn.Linear(hidden, 1)

    def forward(self, hits, lengths):
        packed = pack_padded_sequence(hits, lengths, batch_first=True, enforce_sorted=False)
        x = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0]  # zeros behind the end of a track
        spheres = (self.coords_1(x), F.softplus(self.radius_1(x)), self.coords_2(x), F.softplus(self.radius_2(x)))
        return spheres


def loss_of(spheres, targets, mask, alpha=0.0008):
    """Distance in radii against squared radius, over the real steps; `mask` is `[B, 2 L - 1]`: next hits, then those
    after them."""
    coords_1, radius_1, coords_2, radius_2 = spheres
    coords_2, radius_2 = coords_2[:, :-1], radius_2[:, :-1]
    near = ((coords_1 - targets) / radius_1).norm(dim=-1)
    far = ((coords_2 - targets[:, 1:]) / radius_2).norm(dim=-1)
    points = torch.cat([near, far], 1)
    sizes = torch.cat([radius_1, radius_2], 1)[..., 0] ** 2
    return (alpha * points + (1 - alpha) * sizes)[mask].mean()
