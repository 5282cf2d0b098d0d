"""Network 022 of LEAP and its training step in plain PyTorch: the other side of `benches/leap_train_step.rs`.

    python benches/python/leap_train_step.py --batch 64 --steps 5 --threads 1

Needs torch (2.11 for a fair comparison). Prints one JSON line like the Rust bench.
"""

import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

PARTS = ("forward", "loss", "backward", "clip", "optimizer")


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


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fused", action="store_true", help="AdamW(fused=True) instead of the default")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    model = Network022().to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=8e-4, weight_decay=0.01, **({"fused": True} if args.fused else {}))
    x, y = torch.randn(args.batch, 60, 25, device=args.device), torch.randn(args.batch, 368, device=args.device)

    walls, cpus, parts = [], [], [[] for _ in PARTS]
    for step in range(args.steps + 1):
        optimizer.zero_grad()
        marks, cpu = [time.perf_counter()], cpu_seconds()
        output = model(x)
        marks.append(time.perf_counter())
        loss = loss_of(output, y)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 9.0)
        marks.append(time.perf_counter())
        optimizer.step()
        if args.device != "cpu":
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
        if step > 0:
            walls.append(marks[-1] - marks[0])
            cpus.append(cpu_seconds() - cpu)
            for part, (a, b) in zip(parts, zip(marks, marks[1:])):
                part.append(b - a)
    wall, cpu = statistics.median(walls), statistics.median(cpus)
    print(
        json.dumps(
            {
                "bench": "leap_train_step",
                "implementation": "pytorch " + torch.__version__ + (" fused" if args.fused else ""),
                "batch": args.batch,
                "threads": args.threads,
                "wall_s": wall,
                "cpu_s": cpu,
                "samples_per_s": args.batch / wall,
                "gpu_peak_mib": None if args.device == "cpu" else torch.cuda.max_memory_allocated() >> 20,
                "rows_per_cpu_s": args.batch / cpu,
                "parts": {f"{name}_s": statistics.median(p) for name, p in zip(PARTS, parts)},
            }
        )
    )


if __name__ == "__main__":
    main()
