"""The Mamba block in plain PyTorch with a sequential scan: the other side of `benches/leap_mamba.rs`; and the network
2LSTM1mamba of LEAP, which is made of such blocks, one of `eager.py`.

    python benches/python/leap_mamba.py --batch 16 --states 16 --repetitions 5 --threads 1

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

from leap_train_step import targets


class Mamba(nn.Module):
    """Decays and inputs of all levels at once, then one level after the other."""

    def __init__(self, dim=512, states=16, taps=4, expand=2):
        super().__init__()
        inner, rank = expand * dim, -(-dim // 16)
        self.split = [rank, states, states]
        self.a_log = nn.Parameter(torch.arange(1, states + 1).float().log().repeat(inner, 1))
        self.d = nn.Parameter(torch.ones(inner))
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, taps, groups=inner, padding=taps - 1)
        self.x_proj = nn.Linear(inner, rank + 2 * states, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.out_proj = nn.Linear(inner, dim, bias=False)

    def forward(self, u):
        length = u.shape[1]
        x, z = self.in_proj(u).chunk(2, dim=-1)
        x = F.silu(self.conv(x.transpose(1, 2))[..., :length]).transpose(1, 2)
        dt, b, c = self.x_proj(x).split(self.split, dim=-1)
        delta = F.softplus(self.dt_proj(dt))
        decay = torch.exp(torch.einsum("bli,in->blin", delta, -self.a_log.exp()))
        inputs = torch.einsum("bli,bln,bli->blin", delta, b, x)
        state, levels = u.new_zeros(inputs.shape[0], *inputs.shape[2:]), []
        for t in range(length):
            state = decay[:, t] * state + inputs[:, t]
            levels.append(torch.einsum("bin,bn->bi", state, c[:, t]))
        return self.out_proj((torch.stack(levels, dim=1) + x * self.d) * F.silu(z))


class LstmBlock(nn.Module):
    """Two stacked bidirectional LSTMs and a feed-forward part, each added to what came in, then normalised."""

    def __init__(self, hidden):
        super().__init__()
        width = 2 * hidden
        self.lstm_layer = nn.LSTM(width, hidden, num_layers=2, batch_first=True, bidirectional=True)
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.norm1, self.norm2 = nn.LayerNorm([60, width]), nn.LayerNorm([60, width])

    def forward(self, x):
        x = self.norm1(x + self.lstm_layer(x)[0])
        return self.norm2(x + self.feed_forward(x))


class TwoLstmOneMamba(nn.Module):
    """2LSTM1mamba: a Mamba block after each of three LSTM blocks."""

    def __init__(self, hidden=256, blocks=3, states=64):
        super().__init__()
        width = 2 * hidden
        self.enc_norm = nn.LayerNorm(width)  # in every checkpoint, and in no forward pass
        self.lstm_layers = nn.ModuleList(
            nn.Sequential(LstmBlock(hidden), Mamba(width, states)) for _ in range(blocks)
        )
        self.lstm_enc = nn.LSTM(25, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(width, 14)

    def forward(self, x):
        x = self.lstm_enc(x)[0]
        for pair in self.lstm_layers:
            x = pair(x)
        return targets(self.fc(x))


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def timed(work):
    start, cpu = time.perf_counter(), cpu_seconds()
    work()
    return cpu_seconds() - cpu, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--states", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    block = Mamba(states=args.states)
    u = torch.randn(args.batch, 60, 512)

    def forward():
        with torch.no_grad():
            block(u)

    def train():
        block.zero_grad()
        block(u.detach().requires_grad_()).square().mean().backward()

    rounds = [(*timed(forward), *timed(train)) for _ in range(args.repetitions + 1)][1:]
    names = ["forward_cpu_s", "forward_wall_s", "train_cpu_s", "train_wall_s"]
    result = {name: statistics.median(r[i] for r in rounds) for i, name in enumerate(names)}
    about = {"bench": "leap_mamba", "implementation": "pytorch " + torch.__version__}
    print(json.dumps(about | {"batch": args.batch, "states": args.states, "threads": args.threads} | result))


if __name__ == "__main__":
    main()
