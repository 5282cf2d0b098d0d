"""A module in Python beside the same network in eager PyTorch: the other side of `benches/export.rs`.

    python benches/python/export.py NETWORK MODULE.pt FOLDER REPEAT THREADS

FOLDER holds the inputs `in0.npy`, `in1.npy`, .. and what `predict` makes of them, `out0.npy`, .. Prints one JSON line with rows a second
and the largest difference of a number in units of its column's largest value. The eager networks are those of the other
benches; they see normalised inputs of the same shape, so what the module does before and behind the network is not in their time.
"""

import json
import pathlib
import statistics
import sys
import time

import numpy
import torch

import icecube_networks
import leap_mamba
import leap_squeezeformer
import leap_train_step
import tracknet_networks


def eager(name, inputs):
    """The network and its inputs, or none."""
    rows = len(inputs[0])
    if name == "leap-022":
        return leap_train_step.Network022(), [torch.randn(rows, 60, 25)]
    if name == "leap-2lstm1mamba":
        return leap_mamba.TwoLstmOneMamba(), [torch.randn(rows, 60, 25)]
    if name == "leap-squeezeformer":
        return leap_squeezeformer.Squeezeformer(), [torch.randn(rows, 60, 25)]
    if name == "icecube-b32":
        position, t, charge, auxiliary, mask, count = inputs
        scaled = [position / 500, (t - 1e4) / 3e4, charge.clamp(min=1e-3).log10() / 3]
        scaled = [x * (mask[..., None] if x.dim() == 3 else mask) for x in scaled]
        return icecube_networks.DeepIce(dim=384, dim_base=128, depth=12, head_size=32), [*scaled, auxiliary, mask, count]
    if name == "tracknet":
        hits, lengths = inputs
        return tracknet_networks.StepAhead(), [hits / 1000, lengths]
    return None


def read(folder, name):
    tensors = []
    while (file := folder / f"{name}{len(tensors)}.npy").exists():
        tensors.append(torch.from_numpy(numpy.load(file)))
    return tensors


def difference(found, wanted):
    """The largest one over all columns."""
    largest = 0.0
    for a, b in zip(found, wanted, strict=True):
        a, b = (x.double().reshape(-1, x.shape[-1] if x.dim() > 1 else 1) for x in (a, b))
        largest = max(largest, ((a - b).abs().amax(0) / b.abs().amax(0).clamp(min=1e-300)).max().item())
    return float(f"{largest:.1e}")


def main():
    name, path, folder, repeat, threads = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    inputs, wanted = read(folder, "in"), read(folder, "out")
    module = getattr(torch.jit.load(path), sys.argv[6])
    with torch.no_grad():
        found = module(*inputs)
    off = difference([found] if isinstance(found, torch.Tensor) else found, wanted)
    sides = {"python_module_rows_per_s": lambda: module(*inputs)}
    found = eager(name, inputs)
    if found is not None:
        network, given = found
        network.eval()
        sides["eager_rows_per_s"] = lambda: network(*given)
    times = {side: [] for side in sides}
    with torch.no_grad():
        for _ in range(repeat + 2):
            for side, run in sides.items():
                start = time.perf_counter()
                run()
                times[side].append(time.perf_counter() - start)
    rates = {side: round(len(inputs[0]) / statistics.median(all_[2:])) for side, all_ in times.items()}
    print(json.dumps({"python_difference": off, "torch": torch.__version__} | rates))


main()
