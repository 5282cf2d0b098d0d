"""Training steps of the published networks in plain eager PyTorch, the other side of `scripts/gpu`.

    python benches/python/eager.py NETWORK [--batch N] [--length L] [--precision f32|tf32|bf16] [--device cpu|cuda]
        [--threads N] [--compile]
    python benches/python/eager.py --check

Prints one JSON line: samples a second, peak memory, and floating-point operations of a sample (forward and backward).
`--check` compares the parameters of all networks with the published lists instead. `--tiny` shrinks them for a CPU.

Plain means modules of the library and the published formulas, operation by operation, on random input of realistic
shapes that lies on the device already (ours reads its batches from files):

- icecube-b64: batches of events of similar length, padded; the encodings of all pairs projected, the relative attention
  written out, the main blocks' attention the library's.
- leap-022: ten `nn.LSTM`.
- leap-2lstm1mamba: `nn.LSTM`, and Mamba blocks whose scan runs level by level, what the original falls back to without
  its compiled extension. All states are kept for backward: a batch that does not fit is cut into pieces.
- polarmae-vit-small: groups padded to 32 points, events to 512 tokens; the fused attention of the library with a mask.
  Finding the groups is not part of the step (in ours it is).
- tracknet: `nn.GRU` over packed tracks. The metrics of the original's step are left out.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import pathlib
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import PackedSequence
from torch.utils.flop_counter import FlopCounterMode

import icecube_networks
import leap_mamba
import leap_train_step
import polarmae_networks
import tracknet_networks

GOLDEN = pathlib.Path(__file__).parents[2] / "tests/golden"


@dataclasses.dataclass
class Network:
    """How a network is built, fed and trained. `batches` gives dictionaries whose tensors all have a row a sample."""

    batch: int
    precision: str
    build: callable  # tiny -> module
    batches: callable  # arguments -> list of batches
    loss: callable  # module, batch -> loss
    optimizer: callable  # parameters -> optimizer
    clip: float
    parameters: tuple  # tensors, numbers
    listed: tuple  # file below tests/golden, start of the line above the list or None


# IceCube


def icecube_model(tiny):
    if tiny:
        return icecube_networks.DeepIce(dim=64, dim_base=16, depth=2, head_size=16)
    return icecube_networks.DeepIce(dim=768, dim_base=192, depth=12, head_size=64)


def icecube_batches(args, count=8):
    """As many pulses as the events that `scripts/gpu` simulates: 110 on average where 192 are the most."""
    longest = args.length or (24 if args.tiny else 192)
    median = 16 if args.tiny else 99
    lengths = (median * (0.63 * torch.randn(count * args.batch)).exp()).long().clamp(1, longest)
    batches = []
    for n in lengths.sort().values.view(count, args.batch):  # similar lengths together, as the original's sampler does
        places = (args.batch, int(n.max()))
        mask = torch.arange(places[1]) < n[:, None]
        batches.append(
            {
                "pos": (2 * torch.rand(*places, 3) - 1) * mask[..., None],
                "t": 0.3 * torch.rand(places) * mask,
                "charge": 0.3 * torch.rand(places) * mask,
                "auxiliary": (torch.rand(places) > 0.5).long() * mask,
                "mask": mask,
                "pulses": n,
                "target": 3 * torch.rand(args.batch, 2),
            }
        )
    return batches


def icecube_loss(model, batch):
    fields = ("pos", "t", "charge", "auxiliary", "mask", "pulses")
    return icecube_networks.loss_of(model(*(batch[name] for name in fields)).float(), batch["target"])


# LEAP


def leap_batches(args):
    return [{"x": torch.randn(args.batch, 60, 25), "y": torch.randn(args.batch, 368)}]


def leap_loss(beta):
    return lambda model, batch: leap_train_step.loss_of(model(batch["x"]).float(), batch["y"], beta)


# PoLAr-MAE


def polarmae_model(tiny):
    return polarmae_networks.Mae(dim=48, depth=2, decoder_depth=2) if tiny else polarmae_networks.Mae()


def polarmae_batches(args, count=4):
    """About 190 tokens an event and 12 points a token: what simulated events of 2,500 points have."""
    places, slots = (16, 32) if args.tiny else (512, 32)
    batches = []
    for _ in range(count):
        tokens = (places * (0.37 + 0.14 * torch.randn(args.batch))).round().clamp(places // 16, places)
        points = (11 * (0.5 * torch.randn(args.batch, places)).exp()).round().clamp(1, slots)
        valid = torch.arange(places) < tokens[:, None]
        # 60 % of the tokens of an event, drawn.
        scores = torch.rand(args.batch, places).masked_fill(~valid, math.inf)
        masked = scores.argsort(1).argsort(1) < (0.6 * tokens).floor()[:, None]
        mask = (torch.arange(slots) < points[..., None]) & valid[..., None]
        xyz = torch.rand(args.batch, places, slots, 3) * 2 - 1
        groups = torch.cat([xyz, torch.rand(args.batch, places, slots, 1)], -1)
        batches.append(
            {
                "groups": torch.where(mask[..., None], groups, groups[:, :, :1]) * valid[..., None, None],
                "mask": mask.float(),
                "centers": (torch.rand(args.batch, places, 3) - 0.5) * valid[..., None],
                "valid": valid.float(),
                "masked": masked.float(),
                "visible": (valid & ~masked).float(),
            }
        )
    return batches


# TrackNET


def tracknet_batches(args, count=8):
    """Tracks of 4 to 12 hits in normalised coordinates."""
    batches = []
    for _ in range(count):
        lengths = torch.randint(3, 12, (args.batch,))  # the last hit is no input
        longest = int(lengths.max())
        real = torch.arange(longest) < lengths[:, None]
        hits = torch.rand(args.batch, longest + 1, 3)
        batches.append(
            {
                "hits": hits[:, :-1] * real[..., None],
                "lengths": lengths,
                "targets": hits[:, 1:] * real[..., None],
                "mask": torch.cat([real, real[:, 1:]], 1),
            }
        )
    return batches


def tracknet_loss(model, batch):
    spheres = model(batch["hits"], batch["lengths"])
    longest = spheres[0].shape[1]  # of a piece of a batch, it may be shorter
    real = batch["mask"][:, :longest]
    mask = torch.cat([real, real[:, 1:]], 1)
    return tracknet_networks.loss_of(spheres, batch["targets"][:, :longest], mask)


def adam_w(rate, decay, betas=(0.9, 0.999)):
    return lambda params: torch.optim.AdamW(params, lr=rate, weight_decay=decay, betas=betas)


# Batches, losses, clipping and optimizers are those of the configs of the same names below `configs/`. The numbers of
# parameters are those of the published checkpoints, as the lists of the golden cases and the specifications say:
# IceCube 115,638,659 (B_MODEL_64), LEAP 15,393,806 (022) and 19,095,054 (2LSTM1mamba-3 with 64 states), PoLAr-MAE
# 29,570,080 (vit_small, 5 voxels; the list has 8 buffers more), TrackNET 10,152.
NETWORKS = {
    "icecube-b64": Network(
        32, "bf16", icecube_model, icecube_batches, icecube_loss, adam_w(1e-4, 0.05), 3.0, (232, 115_638_659),
        ("icecube/parameters/parameters.txt", "# B_64 (ensemble 2)"),
    ),
    "leap-022": Network(
        2048, "f32", lambda tiny: leap_train_step.Network022(*((8, 3) if tiny else ())), leap_batches, leap_loss(0.5),
        adam_w(8e-4, 0.01), 9.0, (102, 15_393_806), ("leap/fdzm-full-max022/parameters.txt", None),
    ),
    "leap-2lstm1mamba": Network(
        2048, "f32", lambda tiny: leap_mamba.TwoLstmOneMamba(*((8, 1, 4) if tiny else ())), leap_batches, leap_loss(1.0),
        adam_w(8e-4, 0.01, (0.9, 0.95)), 9.0, (111, 19_095_054),
        ("leap/fdzm-full-2lstm1mamba-state64/parameters.txt", None),
    ),
    "polarmae-vit-small": Network(
        32, "bf16", polarmae_model, polarmae_batches, lambda model, batch: model(batch), adam_w(1e-4, 0.05), 3.0,
        (225, 29_570_080), ("polarmae/full_size_parameters/polarmae_vit_small.txt", None),
    ),
    "tracknet": Network(
        2048, "f32", lambda tiny: tracknet_networks.StepAhead(), tracknet_batches, tracknet_loss,
        lambda params: torch.optim.Adam(params, lr=1e-3), 1.0, (16, 10_152), ("tracknet/init_seed42/parameters.txt", None),
    ),
}  # fmt: skip


def listed_shapes(path, heading):
    """Shapes of the parameters in a list of a golden case; buffers are left out."""
    lines = (GOLDEN / path).read_text().splitlines()
    if heading is not None:
        first = next(i for i, line in enumerate(lines) if line.startswith(heading)) + 2
        lines = lines[first:]
        lines = lines[: lines.index("")] if "" in lines else lines
    lines = [line for line in lines if line and not line.startswith("#") and not line.endswith("buffer")]
    numbers = lambda line: line[line.index("[" if "[" in line else "(") + 1 : line.index("]" if "]" in line else ")")]
    return sorted(tuple(int(n) for n in numbers(line).split(",") if n.strip()) for line in lines)


def check():
    """Whether every network has the published parameters."""
    wrong = False
    for name, network in NETWORKS.items():
        with torch.device("meta"):
            shapes = [tuple(p.shape) for p in network.build(False).parameters()]
        found = (len(shapes), sum(math.prod(shape) for shape in shapes))
        agree = found == network.parameters and sorted(shapes) == listed_shapes(*network.listed)
        wrong |= not agree
        expected = f"expected {network.parameters} and the shapes of tests/golden/{network.listed[0]}"
        say = "as published" if agree else expected
        print(f"{name}: {found[0]} tensors, {found[1]:,} parameters: {say}")
    return wrong


class Plainly(contextlib.ExitStack):
    """Forward passes whose operations `FlopCounterMode` can count: attention as matrix products, recurrent layers as
    stand-ins of the right shape. `recurrent` is what their products take, forward and backward."""

    def __init__(self, model):
        super().__init__()
        self.enter_context(sdpa_kernel(SDPBackend.MATH))
        self.recurrent = 0
        for module in model.modules():
            if isinstance(module, (nn.LSTM, nn.GRU)):
                module.forward = lambda x, module=module: (self.stand_in(module, x), None)
                self.callback(delattr, module, "forward")

    def stand_in(self, module, x):
        data = x.data if isinstance(x, PackedSequence) else x
        gates, ways, hidden = (4 if isinstance(module, nn.LSTM) else 3), 1 + module.bidirectional, module.hidden_size
        positions = data.numel() // data.shape[-1]
        for layer in range(module.num_layers):
            inputs = module.input_size if layer == 0 else ways * hidden
            passes = 3 if layer > 0 or data.requires_grad else 2  # no gradient of the network's input
            self.recurrent += 2 * positions * ways * gates * hidden * (passes * inputs + 3 * hidden)
        y = (data.mean(-1, keepdim=True) + module.weight_ih_l0.mean()).expand(*data.shape[:-1], ways * hidden)
        return x._replace(data=y) if isinstance(x, PackedSequence) else y


def convolution_backward(
    grad, _x, weight, _bias, _stride, _padding, _dilation, _transposed, _output_padding, _groups, wanted, **_
):
    """What the forward pass takes for each gradient; the library's own formula knows no groups."""
    return 2 * math.prod(grad) * math.prod(weight[1:]) * sum(wanted[:2])


def flops_per_sample(network, model, batches, autocast):
    """Counted, not timed. Matrix products and convolutions only, as is usual; elementwise operations are left out."""
    total = rows = 0
    for batch in batches:
        batch = first_rows(batch, 32)
        mapping = {torch.ops.aten.convolution_backward: convolution_backward}
        with Plainly(model) as plain, FlopCounterMode(display=False, custom_mapping=mapping) as counter:
            with autocast():
                loss = network.loss(model, batch)
            loss.backward()
        total += counter.get_total_flops() + plain.recurrent
        rows += size(batch)
    model.zero_grad()
    return total / rows


def size(batch):
    return len(next(iter(batch.values())))


def first_rows(batch, count):
    return {name: tensor[:count] for name, tensor in batch.items()}


def measure(args):
    network = NETWORKS[args.network]
    args.batch = args.batch or (8 if args.tiny else network.batch)
    args.precision = args.precision or network.precision
    torch.manual_seed(1)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision == "tf32"
    autocast = lambda: torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16")
    on_gpu = args.device != "cpu"
    synchronise = torch.cuda.synchronize if on_gpu else lambda: None

    model = network.build(args.tiny).to(args.device).train()
    optimizer = network.optimizer(model.parameters())
    # Lengths of tracks are numbers of the host, as in the original.
    place = lambda name, tensor: tensor if name == "lengths" else tensor.to(args.device)
    batches = [{name: place(name, t) for name, t in batch.items()} for batch in network.batches(args)]
    flops = flops_per_sample(network, model, batches, autocast)
    if args.compile:
        model = torch.compile(model)

    def step(batch, pieces):
        optimizer.zero_grad()
        rows = size(batch)
        for i in range(pieces):
            cut = slice(rows * i // pieces, rows * (i + 1) // pieces)
            piece = {name: tensor[cut] for name, tensor in batch.items()} if pieces > 1 else batch
            with autocast():
                loss = network.loss(model, piece)
            (loss * (size(piece) / rows)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), network.clip)
        optimizer.step()

    def round_of(pieces):
        start = time.perf_counter()
        for batch in batches:
            step(batch, pieces)
        synchronise()
        return (time.perf_counter() - start) / len(batches)

    pieces = args.pieces
    rounds = lambda steps: range(max(1, math.ceil(steps / len(batches))))
    while True:
        try:
            for _ in rounds(args.warm_up):
                round_of(pieces)
            break
        except torch.cuda.OutOfMemoryError:
            if 2 * pieces > args.batch:
                raise
        # Outside of the handler, which holds on to what did not fit.
        pieces *= 2
        optimizer.zero_grad()
        torch.cuda.empty_cache()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    step_s = statistics.median(round_of(pieces) for _ in rounds(args.steps))
    return {
        "network": args.network,
        "implementation": f"pytorch {torch.__version__} {'compiled' if args.compile else 'eager'}",
        "samples_per_s": args.batch / step_s,
        "step_s": step_s,
        "gpu_peak_mib": torch.cuda.max_memory_allocated() >> 20 if on_gpu else None,
        "flops_per_sample": flops,
        "batch": args.batch,
        "pieces": pieces,
        "length": args.length,
        "precision": args.precision,
        "tiny": args.tiny,
    }


def main():
    parser = argparse.ArgumentParser(description="Training steps of the published networks in plain eager PyTorch.")
    parser.add_argument("network", nargs="?", choices=NETWORKS)
    parser.add_argument("--check", action="store_true", help="compare parameters with the published lists and end")
    parser.add_argument("--batch", type=int, help="samples of a step (default: the config's)")
    parser.add_argument("--length", type=int, help="IceCube: pulses of an event at most (default 192)")
    parser.add_argument("--precision", choices=("f32", "tf32", "bf16"), help="default: the published one")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, help="threads of a CPU (default: PyTorch's)")
    parser.add_argument("--compile", action="store_true", help="the network through torch.compile")
    parser.add_argument("--warm-up", type=int, default=8, help="steps before those that are timed")
    parser.add_argument("--steps", type=int, default=24, help="timed steps")
    parser.add_argument("--pieces", type=int, default=1, help="pieces of a batch; doubled while they do not fit")
    parser.add_argument("--tiny", action="store_true", help="small widths and lengths, to try the script on a CPU")
    args = parser.parse_args()
    if args.check:
        sys.exit(check())
    if args.network is None:
        parser.error("which network?")
    print(json.dumps(measure(args)))


if __name__ == "__main__":
    main()
