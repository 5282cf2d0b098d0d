"""The network S of IceCube in plain PyTorch: the other side of `benches/icecube_networks.rs`.

    python benches/python/icecube_networks.py FOLDER

Batches are padded to their longest event, the encodings of all pairs are projected, as published. FOLDER holds the
weights and the batches as raw arrays (`shapes.json` says their shapes and types). Every line of standard input is
`forward BATCH` or `step BATCH`; the answer is the CPU seconds that it took and the sum of the predicted vectors.
"""

import json
import math
import os
import sys
import time

import numpy as np
import torch
from torch.nn import functional as F

torch.set_num_threads(1)
folder = sys.argv[1]
described = json.load(open(os.path.join(folder, "shapes.json")))
sizes = described["sizes"]
D, BASE, H = sizes["dim"], sizes["dim_base"], sizes["head_size"]


def load(name, about):
    values = np.fromfile(os.path.join(folder, name), about["type"])
    return torch.from_numpy(values.reshape(about["shape"]).copy())


everything = {name: load(name, about) for name, about in described["arrays"].items()}
w = {n.removeprefix("w."): torch.nn.Parameter(t) for n, t in everything.items() if n.startswith("w.")}
optimizer = torch.optim.AdamW(w.values(), lr=1e-6, weight_decay=0.05)


def linear(x, name):
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def norm(x, name):
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def sinusoid(x, dim):
    half = dim // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000) / half))
    angle = x[..., None] * rates
    return torch.cat([angle.sin(), angle.cos()], -1)


def mlp(x, name):
    return linear(F.gelu(linear(x, f"{name}.fc1")), f"{name}.fc2")


def network(pos, t, charge, auxiliary, mask, pulses):
    b, l = t.shape
    x = torch.cat(
        [
            sinusoid(4096 * pos, BASE).flatten(2),
            sinusoid(1024 * charge, BASE),
            sinusoid(4096 * t, BASE),
            F.embedding(auxiliary, w["extractor.aux_emb.weight"]),
            sinusoid(torch.log10(pulses.float()), BASE // 2)[:, None].expand(-1, l, -1),
        ],
        -1,
    )
    x = F.gelu(norm(linear(x, "extractor.proj.0"), "extractor.proj.1"))
    x = linear(x, "extractor.proj.3")
    interval = ((pos[:, :, None] - pos[:, None]) ** 2).sum(-1) - ((t[:, :, None] - t[:, None]) * 18) ** 2
    interval = (interval.sign() * interval.abs().sqrt()).clip(-4, 4)
    rel = linear(sinusoid(1024 * interval, H), "rel_pos.proj")
    hidden = torch.zeros(b, 1, l, l).masked_fill((mask[:, :, None] != mask[:, None])[:, None], -math.inf)
    split = lambda y: y.view(b, -1, D // H, H).transpose(1, 2)
    for i in range(sizes["depth_rel"]):
        name = f"sandwich.{i}"
        y = norm(x, f"{name}.norm1")
        q, k, v = (split(linear(y, f"{name}.attn.proj_{part}")) for part in "qkv")
        q = q * H**-0.5
        scores = q @ k.transpose(2, 3)
        if i < sizes["n_rel"]:
            scores = scores + torch.einsum("bhic,bijc->bhij", q, rel)
        a = (scores + hidden).softmax(-1)
        out = (a @ v).transpose(1, 2)
        if i < sizes["n_rel"]:
            out = out + torch.einsum("bhij,bijc->bihc", a, rel)
        x = x + linear(out.reshape(b, l, D), f"{name}.attn.proj")
        x = x + mlp(norm(x, f"{name}.norm2"), f"{name}.mlp")
    x = torch.cat([w["cls_token.weight"][None].expand(b, -1, -1), x], 1)
    valid = torch.cat([torch.ones(b, 1, dtype=torch.bool), mask], 1)
    keys = torch.zeros(b, 1, 1, l + 1).masked_fill(~valid[:, None, None], -math.inf)
    for i in range(sizes["depth"]):
        name = f"blocks.{i}"
        qkv = F.linear(norm(x, f"{name}.norm1"), w[f"{name}.attn.in_proj_weight"], w[f"{name}.attn.in_proj_bias"])
        q, k, v = (split(part) for part in qkv.chunk(3, -1))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=keys).transpose(1, 2).reshape(b, l + 1, D)
        x = x + w[f"{name}.gamma_1"] * linear(out, f"{name}.attn.out_proj")
        x = x + w[f"{name}.gamma_2"] * mlp(norm(x, f"{name}.norm2"), f"{name}.mlp")
    return linear(x[:, 0], "proj_out")


def loss(p, target):
    azimuth, zenith = target.T
    truth = torch.stack([azimuth.sin() * zenith.sin(), azimuth.cos() * zenith.sin(), zenith.cos()], 1)
    kappa = p.double().norm(dim=1)
    log_c = kappa.log() - kappa - (-2 * kappa).expm1().neg().log() - math.log(2 * math.pi)
    return (-log_c - (p * truth).sum(1)).mean()


def forward(*batch):
    with torch.no_grad():
        return network(*batch[:-1])


def step(*batch):
    p = network(*batch[:-1])
    loss(p, batch[-1]).backward()
    torch.nn.utils.clip_grad_norm_(w.values(), 3)
    optimizer.step()
    optimizer.zero_grad()
    return p


for line in sys.stdin:
    what, which = line.split()
    names = ("pos", "time", "charge", "auxiliary", "mask", "pulses", "target")
    batch = [everything[f"{which}.{name}"] for name in names]
    begun = time.process_time()
    predicted = (forward if what == "forward" else step)(*batch)
    print(time.process_time() - begun, float(predicted.detach().double().sum()), flush=True)
