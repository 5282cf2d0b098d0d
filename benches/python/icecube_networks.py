"""IceCube's `DeepIceModel` in plain PyTorch: the other side of `benches/icecube_networks.rs`, and one of `eager.py`.

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
from torch import nn
from torch.nn import functional as F


def sinusoid(x, dim):
    half = dim // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float32, device=x.device) * -(math.log(10000) / half))
    angle = x[..., None] * rates
    return torch.cat([angle.sin(), angle.cos()], -1)


class Extractor(nn.Module):
    """Sinusoids of position, charge, time and number of pulses beside the auxiliary flag, and two linear maps."""

    def __init__(self, base, dim):
        super().__init__()
        self.base = base
        self.aux_emb = nn.Embedding(2, base // 2)
        self.proj = nn.Sequential(
            nn.Linear(6 * base, 6 * base), nn.LayerNorm(6 * base), nn.GELU(), nn.Linear(6 * base, dim)
        )

    def forward(self, pos, t, charge, auxiliary, pulses):
        x = torch.cat(
            [
                sinusoid(4096 * pos, self.base).flatten(2),
                sinusoid(1024 * charge, self.base),
                sinusoid(4096 * t, self.base),
                self.aux_emb(auxiliary),
                sinusoid(torch.log10(pulses.float()), self.base // 2)[:, None].expand(-1, t.shape[1], -1),
            ],
            -1,
        )
        return self.proj(x)


class RelPos(nn.Module):
    """The space-time interval of every pair, encoded and projected: `[B, L, L, head]`."""

    def __init__(self, head):
        super().__init__()
        self.head, self.proj = head, nn.Linear(head, head)

    def forward(self, pos, t):
        interval = ((pos[:, :, None] - pos[:, None]) ** 2).sum(-1) - ((t[:, :, None] - t[:, None]) * 18) ** 2
        interval = (interval.sign() * interval.abs().sqrt()).clip(-4, 4)
        return self.proj(sinusoid(1024 * interval, self.head))


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class RelAttention(nn.Module):
    """Attention written out; the encoding of a pair is added to its key and to its value."""

    def __init__(self, dim, head):
        super().__init__()
        self.head = head
        self.proj_q, self.proj_k, self.proj_v = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x, hidden, rel):
        b, l, d = x.shape
        split = lambda y: y.view(b, l, d // self.head, self.head).transpose(1, 2)
        q, k, v = split(self.proj_q(x)) * self.head**-0.5, split(self.proj_k(x)), split(self.proj_v(x))
        scores = q @ k.transpose(2, 3)
        if rel is not None:
            scores = scores + torch.einsum("bhic,bijc->bhij", q, rel)
        a = (scores + hidden).softmax(-1)
        out = (a @ v).transpose(1, 2)
        if rel is not None:
            out = out + torch.einsum("bhij,bijc->bihc", a, rel)
        return self.proj(out.reshape(b, l, d))


class BlockRel(nn.Module):
    def __init__(self, dim, head):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), RelAttention(dim, head)
        self.norm2, self.mlp = nn.LayerNorm(dim), Mlp(dim)

    def forward(self, x, hidden, rel):
        x = x + self.attn(self.norm1(x), hidden, rel)
        return x + self.mlp(self.norm2(x))


class Block(nn.Module):
    """The library's attention, and a scale for each channel of what is added."""

    def __init__(self, dim, head):
        super().__init__()
        self.gamma_1, self.gamma_2 = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.ones(dim))
        self.norm1, self.attn = nn.LayerNorm(dim), nn.MultiheadAttention(dim, dim // head, batch_first=True)
        self.norm2, self.mlp = nn.LayerNorm(dim), Mlp(dim)

    def forward(self, x, padded):
        y = self.norm1(x)
        x = x + self.gamma_1 * self.attn(y, y, y, key_padding_mask=padded, need_weights=False)[0]
        return x + self.gamma_2 * self.mlp(self.norm2(x))


class DeepIce(nn.Module):
    """Names and shapes of the parameters are the published ones."""

    def __init__(self, dim, dim_base, depth, head_size, depth_rel=4, n_rel=1):
        super().__init__()
        self.n_rel = n_rel
        self.extractor, self.rel_pos = Extractor(dim_base, dim), RelPos(head_size)
        self.sandwich = nn.ModuleList(BlockRel(dim, head_size) for _ in range(depth_rel))
        self.cls_token = nn.Linear(dim, 1, bias=False)
        self.blocks = nn.ModuleList(Block(dim, head_size) for _ in range(depth))
        self.proj_out = nn.Linear(dim, 3)

    def forward(self, pos, t, charge, auxiliary, mask, pulses):
        b, l = t.shape
        x = self.extractor(pos, t, charge, auxiliary, pulses)
        rel = self.rel_pos(pos, t)
        hidden = torch.zeros(b, 1, l, l, device=t.device)
        hidden = hidden.masked_fill((mask[:, :, None] != mask[:, None])[:, None], -math.inf)
        for i, block in enumerate(self.sandwich):
            x = block(x, hidden, rel if i < self.n_rel else None)
        x = torch.cat([self.cls_token.weight[None].expand(b, -1, -1), x], 1)
        padded = F.pad(~mask, (1, 0))
        for block in self.blocks:
            x = block(x, padded)
        return self.proj_out(x[:, 0])


def loss_of(p, target):
    azimuth, zenith = target.T
    truth = torch.stack([azimuth.sin() * zenith.sin(), azimuth.cos() * zenith.sin(), zenith.cos()], 1)
    kappa = p.double().norm(dim=1)
    log_c = kappa.log() - kappa - (-2 * kappa).expm1().neg().log() - math.log(2 * math.pi)
    return (-log_c - (p * truth).sum(1)).mean()


def main():
    torch.set_num_threads(1)
    folder = sys.argv[1]
    described = json.load(open(os.path.join(folder, "shapes.json")))

    def load(name, about):
        values = np.fromfile(os.path.join(folder, name), about["type"])
        return torch.from_numpy(values.reshape(about["shape"]).copy())

    everything = {name: load(name, about) for name, about in described["arrays"].items()}
    names = ("dim", "dim_base", "depth", "head_size", "depth_rel", "n_rel")
    model = DeepIce(**{name: described["sizes"][name] for name in names})
    model.load_state_dict({n.removeprefix("w."): t for n, t in everything.items() if n.startswith("w.")})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=0.05)

    def forward(*batch):
        with torch.no_grad():
            return model(*batch[:-1])

    def step(*batch):
        p = model(*batch[:-1])
        loss_of(p, batch[-1]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3)
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


if __name__ == "__main__":
    main()
