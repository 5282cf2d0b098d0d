#!/usr/bin/env python3
"""Figures of `scripts/gpu` and `scripts/cpu`: the rate of a training run, and the table of all of them.

figures.py rate RUN --batch N [--warm-up N]   one JSON object: samples a second once the run is warm, peak memory
figures.py join LINES [KEY=VALUE]...    JSON lines of measurements -> one JSON object; the table goes to standard error;
                                            code 1 when one failed
figures.py check                        tries both on made-up figures

A line of a measurement has `pair` (what is compared with each other), `side` (`podium` or `eager`), `variant` and the
figures, or `failed` or `left_out` with the reason.
"""

import argparse
import json
import os
import re
import statistics
import sys
import tempfile

GOAL = 1.5
# Dense bf16 rates of the data sheets, TFLOP/s, by what the driver calls the chip; the first that fits.
RATES = [
    ("H100 PCIe", 756), ("H100 NVL", 835), ("H100", 989), ("H200", 989), ("B200", 2250), ("A100", 312), ("A10G", 70),
    ("L40S", 362), ("RTX 4090", 165), ("RTX 3090", 71),
]  # fmt: skip
STEP = re.compile(r"epoch (\d+)/\d+ step (\d+)/(\d+) ")


def rate_of(run, batch, warm_up=10):
    """Samples a second from the log of a run: the median time of a step between two lines of progress. The first steps,
    stretches with an evaluation, and the beginning of an epoch do not count."""
    before, step_s = None, []
    for line in open(os.path.join(run, "run.jsonl"), encoding="utf-8"):
        event = json.loads(line)
        found = STEP.match(event["message"])
        if not found:
            before = before if "evaluated in" not in event["message"] else None
            continue
        epoch, step, steps = map(int, found.groups())
        now = (epoch, step, event["time_s"])
        if before and before[0] == epoch and (epoch - 1) * steps + before[1] >= warm_up and step > before[1]:
            step_s += [(now[2] - before[2]) / (step - before[1])] * (step - before[1])
        before = now
    if not step_s:
        raise ValueError("too few lines of progress after the first steps: a longer run or a smaller `training.print_freq`")
    metrics = json.load(open(os.path.join(run, "stage.json"), encoding="utf-8"))["metrics"]
    step = statistics.median(step_s)
    return {
        "samples_per_s": batch / step,
        "step_s": step,
        "steps": len(step_s),
        "gpu_peak_mib": metrics.get("gpu_peak_mib"),
        "data_wait": metrics.get("data_wait"),
        "batch": batch,
    }


def bf16_rate(given, name):
    """TFLOP/s of the chip: what was given, else what is known of it."""
    return float(given) if given else next((rate for part, rate in RATES if part in (name or "")), None)


def join(lines, tflops):
    """Each of our figures beside eager PyTorch's, and what failed."""
    eager = lambda variant: {
        line["pair"]: line
        for line in lines
        if line["side"] == "eager" and line["variant"] == variant and "samples_per_s" in line
    }
    theirs, compiled = eager("plain"), eager("compiled")
    one = {line["pair"]: line for line in lines if line["side"] == "podium" and line["variant"] == "plain"}
    rows, failed, left_out = [], [], []
    for line in lines:
        name = f"{line['pair']}, {line['side']}" + (f", {line['variant']}" if line["variant"] != "plain" else "")
        if "failed" in line:
            failed.append({"what": name, "why": line["failed"]})
        elif "left_out" in line:
            left_out.append({"what": name, "why": line["left_out"]})
        elif line["side"] == "podium" and line.get("gpus", 1) > 1:
            base = one.get(line["pair"], {}).get("samples_per_s")
            scaling = line["samples_per_s"] / base if base else None
            rows.append(row(line, None, theirs.get(line["pair"]), tflops) | {"gpus": line["gpus"], "scaling": scaling})
        elif line["side"] == "podium":
            other = theirs.get(line["pair"])
            unlike = [k for k in ("batch", "precision") if other and line.get(k) != other.get(k)]
            if unlike:
                failed.append({"what": name, "why": f"the sides differ in {' and '.join(unlike)}"})
                other = None
            rows.append(row(line, other, other, tflops))
            if line["pair"] in compiled:
                other = compiled[line["pair"]]
                rows[-1] |= {
                    "compiled_samples_per_s": other["samples_per_s"],
                    "compiled_ratio": line["samples_per_s"] / other["samples_per_s"],
                }
    return {"rows": rows, "failed": failed, "left_out": left_out}


def row(line, other, counted, tflops):
    """`other` is compared with, `counted` knows the operations of a sample."""
    ratio = line["samples_per_s"] / other["samples_per_s"] if other else None
    flops = counted["flops_per_sample"] if counted else None
    share = lambda x: x["samples_per_s"] * flops / (tflops * 1e12 * x.get("gpus", 1)) if x and flops and tflops else None
    return {
        "pair": line["pair"],
        "variant": line["variant"],
        "batch": line["batch"],
        "precision": line["precision"],
        "samples_per_s": line["samples_per_s"],
        "eager_samples_per_s": other["samples_per_s"] if other else None,
        "ratio": ratio,
        "goal_reached": ratio >= GOAL if other else None,
        "gpu_peak_mib": line["gpu_peak_mib"],
        "eager_gpu_peak_mib": other["gpu_peak_mib"] if other else None,
        "eager_pieces": other.get("pieces", 1) if other else None,
        "bf16_share": share(line),
        "eager_bf16_share": share(other),
        "data_wait": line.get("data_wait"),
    }


def table(joined):
    """Lines for people."""
    say = lambda value, form: "-" if value is None else format(value, form)
    head = ["network", "variant", "precision", "batch", "samples/s", "eager", "ratio", f"goal {GOAL}"]
    head += ["MiB", "eager", "bf16 share", "eager", "data wait", "compiled", "ratio"]
    cells = [head]
    for r in joined["rows"]:
        goal = {None: "-", True: "reached", False: "not reached"}[r["goal_reached"]]
        if r.get("scaling"):
            goal = f"{r['scaling']:.2f} x one GPU"
        eager = say(r["eager_samples_per_s"], ",.4g")
        if (r["eager_pieces"] or 1) > 1:
            eager += f" ({r['eager_pieces']} pieces)"
        cells.append(
            [r["pair"], r["variant"], r["precision"], str(r["batch"]), say(r["samples_per_s"], ",.4g"), eager]
            + [say(r["ratio"], ".2f"), goal, say(r["gpu_peak_mib"], ","), say(r["eager_gpu_peak_mib"], ",")]
            + [say(r["bf16_share"], ".1%"), say(r["eager_bf16_share"], ".1%"), say(r["data_wait"], ".0%")]
            + [say(r.get("compiled_samples_per_s"), ",.4g"), say(r.get("compiled_ratio"), ".2f")]
        )
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    place = lambda i, cell: cell.ljust(widths[i]) if i < 3 else cell.rjust(widths[i])
    lines = ["  ".join(place(i, cell) for i, cell in enumerate(line)) for line in cells]
    lines += [f"left out: {x['what']}: {x['why']}" for x in joined["left_out"]]
    lines += [f"failed: {x['what']}: {x['why']}" for x in joined["failed"]]
    return [line.rstrip() for line in lines]


def check():
    """A run and a table, made up."""
    with tempfile.TemporaryDirectory() as run:
        clock, log = 100.0, []

        def step(epoch, n, seconds):
            nonlocal clock
            clock += seconds
            log.append({"time_s": round(clock, 3), "message": f"epoch {epoch}/2 step {n}/30  loss 0.5"})

        # Slow at first, an evaluation in the middle of the second epoch, one slow stretch: 0.1 s a step all the same.
        for epoch in (1, 2):
            for n, seconds in ((5, 9.0), (10, 2.0), (15, 0.5), (20, 0.5), (25, 0.5 if epoch == 1 else 3.0), (30, 0.5)):
                step(epoch, n, seconds)
                if (epoch, n) == (2, 15):
                    clock += 50
                    log.append({"time_s": clock, "message": "x: epoch 2 step 15: score 0.1  loss 0.2  evaluated in 50 s"})
        open(os.path.join(run, "run.jsonl"), "w").write("".join(json.dumps(line) + "\n" for line in log))
        open(os.path.join(run, "stage.json"), "w").write(json.dumps({"metrics": {"gpu_peak_mib": 900, "data_wait": 0.25}}))
        found = rate_of(run, 32)
        assert abs(found["samples_per_s"] - 320) < 1 and found["gpu_peak_mib"] == 900, found
        open(os.path.join(run, "run.jsonl"), "w").write(json.dumps(log[0]) + "\n")
        try:
            rate_of(run, 32)
            raise AssertionError("a run that is too short has a rate")
        except ValueError:
            pass

    ours = lambda pair, variant, rate, **more: {
        "pair": pair, "side": "podium", "variant": variant, "samples_per_s": rate, "gpu_peak_mib": 1000, "batch": 32,
        "precision": "f32", "data_wait": 0.01,
    } | more  # fmt: skip
    eager = lambda pair, rate, **more: {
        "pair": pair, "side": "eager", "variant": "plain", "samples_per_s": rate, "gpu_peak_mib": 3000, "batch": 32,
        "precision": "f32", "flops_per_sample": 2e9,
    } | more  # fmt: skip
    joined = join(
        [
            ours("a", "plain", 100.0), ours("a", "CUDA graphs", 300.0), eager("a", 200.0, pieces=4),
            ours("a", "2 GPUs", 180.0, gpus=2, batch=64),
            ours("b", "plain", 50.0), {"pair": "b", "side": "eager", "variant": "plain", "left_out": "no torch"},
            {"pair": "c", "side": "podium", "variant": "plain", "failed": "see c.log"}, eager("c", 10.0),
            ours("d", "plain", 50.0, precision="bf16"), eager("d", 10.0),
            ours("e", "plain", 50.0), eager("e", 40.0), eager("e", 25.0, variant="compiled"),
        ],
        bf16_rate(None, "NVIDIA H100 80GB HBM3"),
    )  # fmt: skip
    by = {(r["pair"], r["variant"]): r for r in joined["rows"]}
    plain, graphs, two = by["a", "plain"], by["a", "CUDA graphs"], by["a", "2 GPUs"]
    assert plain["ratio"] == 0.5 and plain["goal_reached"] is False
    assert graphs["ratio"] == 1.5 and graphs["goal_reached"] is True
    assert abs(graphs["bf16_share"] - 600e9 / 989e12) < 1e-12 and abs(graphs["eager_bf16_share"] - 400e9 / 989e12) < 1e-12
    assert two["scaling"] == 1.8 and two["ratio"] is None and abs(two["bf16_share"] - 360e9 / 1978e12) < 1e-12
    assert by["b", "plain"]["ratio"] is None and by["b", "plain"]["bf16_share"] is None
    assert by["d", "plain"]["ratio"] is None
    assert (by["e", "plain"]["ratio"], by["e", "plain"]["compiled_ratio"]) == (1.25, 2.0)
    assert [x["what"] for x in joined["failed"]] == ["c, podium", "d, podium"], joined["failed"]
    assert [x["what"] for x in joined["left_out"]] == ["b, eager"]
    assert bf16_rate("500", "NVIDIA H100") == 500 and bf16_rate("", "unheard of") is None
    print("\n".join(table(joined)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rate", "join", "check"))
    parser.add_argument("path", nargs="?")
    parser.add_argument("more", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--warm-up", type=int, default=10, help="steps before those that count")
    args = parser.parse_args()
    if args.what == "check":
        return check()
    if args.what == "rate":
        return print(json.dumps(rate_of(args.path, args.batch, args.warm_up)))
    about = dict(pair.split("=", 1) for pair in args.more)
    tflops = bf16_rate(about.pop("bf16_tflops", None), about.get("gpu"))
    lines = [json.loads(line) for line in open(args.path, encoding="utf-8")]
    joined = join(lines, tflops)
    print("\n".join(table(joined)), file=sys.stderr)
    print(json.dumps(about | {"bf16_tflops": tflops, "goal": GOAL} | joined | {"figures": lines}))
    sys.exit(1 if joined["failed"] else 0)


if __name__ == "__main__":
    main()
