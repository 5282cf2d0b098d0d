"""Network 022 of LEAP and its training step in plain PyTorch: the other side of `benches/leap_train_step.rs`.

    python benches/python/leap_train_step.py --batch 64 --steps 5 --threads 1

Needs torch (2.11 for a fair comparison). Prints one JSON line like the Rust bench.
"""

import torch
from step import measure
from torch import nn
from torch.nn import functional as F


class Network022(nn.Module):
    """Ten bidirectional LSTMs with joint layer norm over [60, 512], weighted skips and GELU."""

    def __init__(self, hidden=256, layers=10):
        super().__init__()
        width = 2 * hidden
        self.lstms = nn.ModuleList(
            nn.LSTM(25 if i == 0 else width, hidden, batch_first=True, bidirectional=True) for i in range(layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm([60, width]) for _ in range(layers))
        self.gelu = nn.GELU()
        self.fc = nn.Linear(width, 14)

    def forward(self, x):
        residual = None
        for lstm, norm in zip(self.lstms, self.norms):
            x = norm(lstm(x)[0])
            if residual is not None:
                x = 0.7 * x + 0.3 * residual
            x = self.gelu(x)
            residual = x
        return targets(self.fc(x))


def targets(out):
    """`[B, 60, 14]` -> `[B, 368]`: the mean over the levels for eight scalars, then six profiles."""
    profiles = out[:, :, 8:].transpose(1, 2).reshape(out.shape[0], -1)
    return torch.cat([out[:, :, :8].mean(dim=1), profiles], dim=1)


def loss_of(pred, target, beta=0.5):
    loss = F.smooth_l1_loss(pred, target, beta=beta)
    for g in range(6):
        columns = slice(8 + 60 * g, 68 + 60 * g)
        p, t = pred[:, columns], target[:, columns]
        loss = loss + F.smooth_l1_loss(p[:, 1:] - p[:, :-1], t[:, 1:] - t[:, :-1], beta=beta) / 6
    return loss


if __name__ == "__main__":
    measure("leap_train_step", Network022, loss_of, lr=8e-4, batch=64)
