"""One training step in plain PyTorch, over and over: forward, loss, backward, clip, AdamW. What benches of LEAP's networks share."""

import argparse
import json
import resource
import statistics
import time

import torch

PARTS = ("forward", "loss", "backward", "clip", "optimizer")


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(bench, build, loss_of, lr, batch):
    """Prints one JSON line like the Rust bench; `build` makes the network, which is trained at the rate `lr`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fused", action="store_true", help="AdamW(fused=True) instead of the default")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    model = build().train().to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01, **({"fused": True} if args.fused else {}))
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
                "bench": bench,
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
