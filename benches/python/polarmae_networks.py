"""PoLAr-MAE's networks in plain PyTorch: the other side of `benches/polarmae_networks.rs`, and one of `eager.py`.

    python benches/python/polarmae_networks.py FOLDER THREADS

Everything is padded and masked as published: the token network on all slots of all valid groups, encoder and decoder on
all 512 places. FOLDER holds the groups of a batch as raw arrays (`shapes.json` says their shapes). Every line of standard
input names what to do; the answer is its seconds and the peak resident memory in MiB.
"""

import json
import os
import resource
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class BatchNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x, mask):
        if self.training:
            n = mask.sum().clamp(min=1)
            mean = (x * mask).sum((0, 2), keepdim=True) / n
            var = (((x - mean) * mask) ** 2).sum((0, 2), keepdim=True) / n
            with torch.no_grad():
                self.running_mean.lerp_(mean.flatten(), 0.1)
                self.running_var.lerp_(var.flatten(), 0.1)
        else:
            mean, var = self.running_mean[None, :, None], self.running_var[None, :, None]
        return (x - mean) / torch.sqrt(var + 1e-5) * mask * self.weight[None, :, None] + self.bias[None, :, None]


class PointNet(nn.Module):
    def __init__(self, channels, dim, ordered):
        super().__init__()
        self.a, self.an, self.b = nn.Conv1d(channels, 128, 1, bias=False), BatchNorm(128), nn.Conv1d(128, 256, 1)
        self.c, self.cn, self.d = nn.Conv1d(512, 512, 1, bias=False), BatchNorm(512), nn.Conv1d(512, dim, 1)
        self.order = nn.Linear(256, 256) if ordered else None

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, x, mask):
        """In f32 also where the rest is not, as published."""
        f = self.b(F.relu(self.an(self.a(x), mask)))
        if self.order is not None:
            half = 128
            rate = torch.exp(torch.arange(half, device=x.device) * -(np.log(10000.0) / (half - 1)))
            angle = torch.arange(x.shape[2], device=x.device)[:, None] * rate[None]
            f = f + F.relu(self.order(torch.cat([angle.sin(), angle.cos()], 1))).T[None]
        g = f.max(2, keepdim=True).values.expand_as(f)
        return self.d(F.relu(self.cn(self.c(torch.cat([g, f], 1)), mask))).max(2).values


class TokenNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(1, 1, dim)), nn.Parameter(torch.zeros(1, 1, dim))

    def forward(self, x, mask):
        return self.gamma * normalise(x, mask) + self.beta


def normalise(x, mask):
    n = mask.sum() * x.shape[2]
    mean = (x * mask).sum() / n
    var = (((x - mean) * mask) ** 2).sum() / n
    return (x - mean) / (torch.sqrt(var + 1e-13) + 1e-13)


class Block(nn.Module):
    def __init__(self, dim, heads, drop_path):
        super().__init__()
        self.norm1, self.norm2, self.heads, self.drop_path = TokenNorm(dim), TokenNorm(dim), heads, drop_path
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def skip(self, x, mask):
        if not self.training or self.drop_path == 0:
            return x
        keep = 1 - self.drop_path
        return x * torch.empty(x.shape[0], x.shape[1], 1, device=x.device).bernoulli_(keep) / keep * mask

    def forward(self, x, mask, scores):
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x, mask)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        drop = 0.05 if self.training else 0.0
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=scores, dropout_p=drop)
        x = x + self.skip(self.proj(attended.transpose(1, 2).reshape(b, t, c)), mask)
        return x + self.skip(self.fc2(F.gelu(self.fc1(self.norm2(x, mask)))) * mask, mask)


class Transformer(nn.Module):
    def __init__(self, dim, depth, heads, postnorm):
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads, 0.25 * i / (depth - 1)) for i in range(depth))
        self.norm = TokenNorm(dim) if postnorm else None

    def forward(self, x, pos, mask):
        scores = ((1 - mask * mask.transpose(1, 2)) * -1e9)[:, None].expand(-1, self.blocks[0].heads, -1, -1)
        hidden = []
        for block in self.blocks:
            x = block(x + pos, mask, scores)
            hidden.append(x)
        return (self.norm(x, mask) if self.norm else x), hidden


class Encoder(nn.Module):
    def __init__(self, dim=384, depth=12, heads=6):
        super().__init__()
        self.transformer, self.embedding = Transformer(dim, depth, heads, False), PointNet(4, dim, False)
        self.pos = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, dim))

    def tokens(self, batch):
        valid = batch["valid"].bool()
        points, mask = batch["groups"][valid].transpose(1, 2), batch["mask"][valid][:, None]
        tokens = batch["groups"].new_zeros(*valid.shape, self.pos[2].out_features)
        tokens[valid] = self.embedding(points, mask)
        return tokens, self.pos(batch["centers"])


class Mae(nn.Module):
    def __init__(self, dim=384, depth=12, heads=6, decoder_depth=4, slots=32):
        super().__init__()
        self.encoder, self.decoder = Encoder(dim, depth, heads), Transformer(dim, decoder_depth, heads, True)
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.increase, self.patches = nn.Conv1d(dim, 4 * slots, 1), PointNet(3, dim, True)
        self.energies = nn.Conv1d(2 * dim, slots, 1)

    def forward(self, batch):
        tokens, pos = self.encoder.tokens(batch)
        masked, visible = batch["masked"][..., None], batch["visible"][..., None]
        encoded, _ = self.encoder.transformer(tokens, pos, visible)
        decoded, _ = self.decoder(encoded * visible + self.mask_token * masked, pos, masked + visible)
        chosen = batch["masked"].bool()
        hidden = decoded[chosen]
        truth, mask = batch["groups"][chosen], batch["mask"][chosen]
        guess = self.increase(hidden[..., None])[..., 0].float().view(-1, mask.shape[1], 4)
        distances = ((guess[:, :, None] - truth[:, None]) ** 2).sum(-1)
        far = distances.masked_fill(mask[:, None] == 0, np.inf)
        back = distances.masked_fill(mask[:, :, None] == 0, np.inf)
        n = mask.sum(1)
        there = (far.min(2).values.masked_fill(mask == 0, 0).sum(1) / n).mean()
        again = (back.min(1).values.masked_fill(mask == 0, 0).sum(1) / n).mean()
        patches = self.patches(truth[..., :3].transpose(1, 2), mask[:, None])
        energies = self.energies(torch.cat([patches, hidden], 1)[..., None])[..., 0].float()
        return there + again + F.mse_loss(energies[mask.bool()], truth[..., 3][mask.bool()])


class Segmentation(nn.Module):
    def __init__(self, dim=384):
        super().__init__()
        self.encoder = Encoder(dim)
        self.up1, self.un1 = nn.Conv1d(dim + 3, dim, 1, bias=False), BatchNorm(dim)
        self.up2, self.un2 = nn.Conv1d(dim, dim, 1, bias=False), BatchNorm(dim)
        self.h1, self.hn1 = nn.Conv1d(3 * dim, 512, 1, bias=False), BatchNorm(512)
        self.h2, self.hn2, self.h3 = nn.Conv1d(512, 256, 1, bias=False), BatchNorm(256), nn.Conv1d(256, 4, 1)

    def forward(self, batch):
        tokens, pos = self.encoder.tokens(batch)
        valid = batch["valid"][..., None]
        _, hidden = self.encoder.transformer(tokens, pos, valid)
        features = sum(normalise(hidden[i], valid) * valid for i in (3, 7, 11)) / 3
        largest = features.masked_fill(valid == 0, -1e10).max(1).values
        overall = torch.cat([largest, (features * valid).sum(1) / valid.sum(1)], 1)
        index = batch["neighbors"].long()
        b, n, k = index.shape
        near = features.gather(1, index.view(b, -1, 1).expand(-1, -1, features.shape[2])).view(b, n, k, -1)
        x = torch.cat([batch["places"], (near * batch["weights"][..., None]).sum(2)], 2).transpose(1, 2)
        mask = batch["point_valid"][:, None]
        x = F.relu(self.un1(self.up1(x), mask))
        x = F.relu(self.un2(self.up2(x), mask))
        x = torch.cat([x, overall[..., None].expand(-1, -1, n)], 1)
        x = F.dropout(F.relu(self.hn1(self.h1(x), mask)), 0.5, self.training)
        logits = self.h3(F.relu(self.hn2(self.h2(x), mask))).transpose(1, 2)
        chosen = batch["point_valid"].bool()
        log_p = F.log_softmax(logits[chosen], -1)
        own = log_p.gather(1, batch["labels"][chosen].long()[:, None])[:, 0]
        return (-((1 - own.exp()) ** 2) * own).mean()


def main():
    folder, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    shapes = json.load(open(os.path.join(folder, "shapes.json")))
    load = lambda name: np.fromfile(os.path.join(folder, name), np.float32).reshape(shapes[name])
    batch = {name: torch.from_numpy(load(name).copy()) for name in shapes}
    mae, segmentation = Mae(), Segmentation()
    optimizers = {id(m): torch.optim.AdamW(m.parameters(), lr=1e-6, weight_decay=0.05) for m in (mae, segmentation)}

    def step(model):
        model.train()
        optimizer = optimizers[id(model)]
        optimizer.zero_grad()
        model(batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3)
        optimizer.step()

    def tokens():
        mae.eval()
        with torch.no_grad():
            mae.encoder.tokens(batch)

    for line in sys.stdin:
        begun = time.perf_counter()
        {"tokens": tokens, "pretrain": lambda: step(mae), "segment": lambda: step(segmentation)}[line.strip()]()
        seconds = time.perf_counter() - begun
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


if __name__ == "__main__":
    main()
