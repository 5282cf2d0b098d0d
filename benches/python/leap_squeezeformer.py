"""The Squeezeformer of LEAP and its training step in plain PyTorch: the other side of `benches/leap_squeezeformer.rs`.

    python benches/python/leap_squeezeformer.py --batch 16 --steps 5 --threads 1

Needs torch (2.11 for a fair comparison). Prints one JSON line like the Rust bench.
"""

import argparse
import json
import pathlib
import resource
import statistics
import sys
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/leap/benchmark"))
from networks import Squeezeformer, confidence_loss  # noqa: E402

PARTS = ("forward", "loss", "backward", "clip", "optimizer")


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    model = Squeezeformer(confidence=True).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    x, y = torch.randn(args.batch, 60, 25), torch.randn(args.batch, 368)
    walls, cpus, parts = [], [], [[] for _ in PARTS]
    for step in range(args.steps + 1):
        optimizer.zero_grad()
        marks, cpu = [time.perf_counter()], cpu_seconds()
        output = model(x)
        marks.append(time.perf_counter())
        loss = confidence_loss(output, y)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 9.0)
        marks.append(time.perf_counter())
        optimizer.step()
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
                "bench": "leap_squeezeformer",
                "implementation": "pytorch " + torch.__version__,
                "batch": args.batch,
                "threads": args.threads,
                "wall_s": wall,
                "cpu_s": cpu,
                "rows_per_cpu_s": args.batch / cpu,
                "parts": {f"{name}_s": statistics.median(p) for name, p in zip(PARTS, parts)},
            }
        )
    )


if __name__ == "__main__":
    main()
