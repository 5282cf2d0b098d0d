"""The networks of LEAP's first place and of the benchmark in plain PyTorch, and figures of them to test against.

    python tests/leap/benchmark/networks.py tests/leap/benchmark/networks.safetensors

Written from the descriptions of the networks, without our Rust code at hand; names of parameters are the published ones.
Weights and inputs follow from their names (`value`), so that the file holds results only: outputs in training and
evaluation, the loss, and for every parameter the sum and the norm of its gradient. Needs torch (made with 2.11, CPU).
"""

import json
import sys

import torch
from torch import nn
from torch.nn import functional as F

LEVELS, SCALARS_IN, PROFILES_IN, SCALARS, PROFILES = 60, 16, 9, 8, 6
CHANNELS = SCALARS_IN + PROFILES_IN
PLACES = 8


def value(name, n):
    """`n` numbers in -0.5..0.5 that follow from a name."""
    seed = 2166136261
    for byte in name.encode():
        seed = ((seed ^ byte) * 16777619) & 0xFFFFFFFF
    i = torch.arange(1, n + 1, dtype=torch.int64)
    x = (seed + i * 2654435761) & 0xFFFFFFFF
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    x = x ^ (x >> 16)
    return (x.to(torch.float64) / 2**32 - 0.5).to(torch.float32)


def fill(network):
    """Gives every parameter and running statistic its value."""
    with torch.no_grad():
        for name, t in network.state_dict().items():
            if not t.dtype.is_floating_point:
                continue
            u = value(name, t.numel()).reshape(t.shape)
            last = name.rsplit(".", 1)[-1]
            if last == "running_mean":
                t.copy_(u)
            elif last == "running_var":
                t.copy_(1 + u)
            elif t.dim() == 1 and last in ("weight", "scale", "weights", "gamma"):
                t.copy_(1 + 0.4 * u)
            elif t.dim() == 1:
                t.copy_(0.4 * u)
            else:
                t.copy_(u * (2 / t[0].numel() ** 0.5))


def targets(channels):
    """`[B, 60, 14]` -> `[B, 368]`: means of eight channels, then six profiles."""
    profiles = channels[:, :, SCALARS:].transpose(1, 2).reshape(channels.shape[0], -1)
    return torch.cat([channels[:, :, :SCALARS].mean(dim=1), profiles], dim=1)


class GatedMaps(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.dense_1 = nn.Linear(width, hidden)
        self.dense_2 = nn.Linear(hidden // 2, width)

    def forward(self, x):
        return self.dense_2(swish_gate(self.dense_1(x)))


def swish_gate(x):
    value, gate = x.chunk(2, dim=-1)
    return value * F.silu(gate)


class ScaleBias(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return x * self.scale + self.bias


class LevelWeights(nn.Module):
    """A factor for each level from the mean over its channels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 5, padding="same", bias=False)

    def forward(self, x):
        return x * torch.sigmoid(self.conv(x.mean(dim=2).unsqueeze(1))).transpose(1, 2)


class ConvBlock(nn.Module):
    def __init__(self, dim, kernel, expand):
        super().__init__()
        hidden = dim * expand
        self.scale_bias = ScaleBias(dim)  # unused
        self.ffn = GatedMaps(dim, hidden)
        self.layer_norm_2 = nn.LayerNorm(dim, eps=1e-6)
        self.scale_bias_1, self.scale_bias_2 = ScaleBias(dim), ScaleBias(dim)
        self.dwconv = nn.Conv1d(hidden // 2, hidden // 2, kernel, padding="same", groups=hidden // 2, bias=False)
        self.batch_norm = nn.BatchNorm1d(hidden // 2, momentum=0.95)
        self.eca_layer = LevelWeights()
        self.expand = nn.Linear(dim, hidden)
        self.project = nn.Linear(hidden // 2, dim)

    def forward(self, x):
        h = swish_gate(self.expand(x))
        h = self.dwconv(h.permute(0, 2, 1).contiguous())
        h = F.silu(self.batch_norm(h).permute(0, 2, 1).contiguous())
        x = x + self.scale_bias_1(self.project(self.eca_layer(h)))
        return self.layer_norm_2(x + self.scale_bias_2(self.ffn(x)))


class AttentionBlock(nn.Module):
    def __init__(self, dim, heads, expand):
        super().__init__()
        self.att = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ffn = GatedMaps(dim, dim * expand)
        self.layer_norm_1, self.layer_norm_2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.scale_bias_1, self.scale_bias_2 = ScaleBias(dim), ScaleBias(dim)

    def forward(self, x):
        x = self.layer_norm_1(x + self.scale_bias_1(self.att(x, x, x, need_weights=True)[0]))
        return self.layer_norm_2(x + self.scale_bias_2(self.ffn(x)))


class Head(nn.Module):
    def __init__(self, dim, width):
        super().__init__()
        self.dense = nn.Linear(dim, width)

    def forward(self, x):
        return F.silu(self.dense(x))


class Squeezeformer(nn.Module):
    def __init__(self, dim=384, head_dim=2048, heads=4, blocks=12, kernel=15, expand=4, first="layer_norm", confidence=False, places=False):
        super().__init__()
        self.dense = nn.Linear(CHANNELS, dim, bias=False)
        self.layer_norm = nn.LayerNorm(dim, eps=1e-6) if first == "layer_norm" else nn.BatchNorm1d(dim)
        self.conv_blocks = nn.ModuleList(ConvBlock(dim, kernel, expand) for _ in range(blocks))
        self.transformer_encoders = nn.ModuleList(AttentionBlock(dim, heads, expand) for _ in range(blocks))
        self.head_dense = Head(dim, head_dim)
        self.ffn = GatedMaps(head_dim, dim * expand)
        self.final_dense_pred = nn.Linear(head_dim, SCALARS + PROFILES)
        if confidence:
            self.final_dense_conf = nn.Linear(head_dim, SCALARS + PROFILES)
        if places:
            self.final_dense_places = nn.Linear(head_dim, PLACES)

    def forward(self, x):
        x = self.dense(x)
        if isinstance(self.layer_norm, nn.BatchNorm1d):
            x = self.layer_norm(x.transpose(1, 2)).transpose(1, 2)
        else:
            x = self.layer_norm(x)
        for convolution, attention in zip(self.conv_blocks, self.transformer_encoders):
            x = attention(convolution(x))
        x = self.ffn(self.head_dense(x))
        out = targets(self.final_dense_pred(x))
        if hasattr(self, "final_dense_conf"):
            out = torch.cat([out, targets(self.final_dense_conf(x))], dim=1)
        if hasattr(self, "final_dense_places") and self.training:
            out = torch.cat([out, self.final_dense_places(x.mean(dim=1))], dim=1)
        return out


class UnetConv(nn.Module):
    """A convolution that may halve or double the length first."""

    def __init__(self, inputs, outputs, kernel, resample=None):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.resample = resample

    def forward(self, x):
        if self.resample == "halve":
            x = F.avg_pool1d(x, 2)
        elif self.resample == "double":
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return F.conv1d(x, self.weight, self.bias, padding=self.weight.shape[2] // 2)


def group_norm(channels):
    return nn.GroupNorm(min(32, channels // 4), channels, eps=1e-6)


class UnetBlock(nn.Module):
    def __init__(self, inputs, outputs, resample=None, attention=False):
        super().__init__()
        self.norm0, self.conv0 = group_norm(inputs), UnetConv(inputs, outputs, 3, resample)
        self.norm1, self.conv1 = group_norm(outputs), UnetConv(outputs, outputs, 3)
        self.skip = UnetConv(inputs, outputs, 1, resample) if inputs != outputs or resample else None
        self.inputs = inputs
        if attention:
            self.norm2, self.qkv, self.proj = (
                group_norm(outputs),
                UnetConv(outputs, 3 * outputs, 1),
                UnetConv(outputs, outputs, 1),
            )

    def forward(self, x):
        h = self.conv1(self.norm1(self.conv0(F.silu(self.norm0(x)))))
        x = (h + (self.skip(x) if self.skip else x)) * 0.5**0.5
        if hasattr(self, "qkv"):
            q, k, v = self.qkv(self.norm2(x)).reshape(x.shape[0], x.shape[1], 3, -1).unbind(2)
            w = torch.einsum("ncq,nck->nqk", q, k / k.shape[1] ** 0.5).softmax(dim=2)
            x = (self.proj(torch.einsum("nqk,nck->ncq", w, v)) + x) * 0.5**0.5
        return x


class Unet(nn.Module):
    def __init__(self, channels=128, multiples=(1, 2, 2, 2), blocks=2, confidence=False):
        super().__init__()
        step = 2 ** (len(multiples) - 1)
        self.length = -(-LEVELS // step) * step
        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
        width, skips = channels, [channels]
        self.enc[f"{self.length}_conv"] = UnetConv(CHANNELS, channels, 3)
        for level, multiple in enumerate(multiples):
            size = self.length >> level
            if level:
                self.enc[f"{size}_down"] = UnetBlock(width, width, "halve")
                skips.append(width)
            for i in range(blocks):
                self.enc[f"{size}_block{i}"] = UnetBlock(width, channels * multiple)
                width = channels * multiple
                skips.append(width)
        for level in reversed(range(len(multiples))):
            size = self.length >> level
            if level == len(multiples) - 1:
                self.dec[f"{size}_in0"] = UnetBlock(width, width, attention=True)
                self.dec[f"{size}_in1"] = UnetBlock(width, width)
            else:
                self.dec[f"{size}_up"] = UnetBlock(width, width, "double")
            for i in range(blocks + 1):
                self.dec[f"{size}_block{i}"] = UnetBlock(width + skips.pop(), channels * multiples[level])
                width = channels * multiples[level]
        self.dec_aux_norm = nn.ModuleDict({f"{self.length}_aux_norm": group_norm(width)})
        last = lambda: nn.ModuleDict({f"{self.length}_aux_conv": UnetConv(width, SCALARS + PROFILES, 3)})
        self.dec_aux_conv = last()
        if confidence:
            self.dec_aux_conv_conf = last()

    def forward(self, x):
        pad = self.length - LEVELS
        x = F.pad(x.transpose(1, 2), (pad, 0))
        skips = []
        for block in self.enc.values():
            x = block(x)
            skips.append(x)
        for block in self.dec.values():
            if x.shape[1] != block.inputs:
                x = torch.cat([x, skips.pop()], dim=1)
            x = block(x)
        for norm in self.dec_aux_norm.values():
            x = F.silu(norm(x))
        heads = [self.dec_aux_conv] + ([self.dec_aux_conv_conf] if hasattr(self, "dec_aux_conv_conf") else [])
        outputs = [targets(conv(x)[:, :, pad:].transpose(1, 2)) for head in heads for conv in head.values()]
        return torch.cat(outputs, dim=1)


class FeatureScale(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.ones(LEVELS))
        self.biases = nn.Parameter(torch.zeros(LEVELS))

    def forward(self, x):
        return x * self.weights + self.biases


class PaoBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        conv = lambda: nn.Conv1d(width, width, 5, padding=2)
        self.conv = nn.Sequential(conv(), nn.BatchNorm1d(width), nn.GELU(), conv(), nn.BatchNorm1d(width), nn.GELU())
        layer = nn.TransformerEncoderLayer(width, heads, dim_feedforward=width, dropout=0.0, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, num_layers=1, enable_nested_tensor=False)

    def forward(self, x):
        return self.transformer((self.conv(x) + x).transpose(1, 2)).transpose(1, 2)


def gelu_maps(*widths):
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b), nn.GELU()]
    return nn.Sequential(*layers[:-1])


class Pao(nn.Module):
    def __init__(self, hidden_profile=160, hidden_scalar=160, heads=8, confidence=False):
        super().__init__()
        width = hidden_profile + hidden_scalar
        self.feature_scale_list = nn.ModuleList(FeatureScale() for _ in range(PROFILES_IN))
        self.positional_encoding = nn.Embedding(LEVELS, hidden_profile)
        self.input_linear = nn.Linear(PROFILES_IN, hidden_profile)
        norm = lambda: nn.BatchNorm1d(hidden_scalar)
        self.other_feats_mlp = nn.Sequential(
            nn.Linear(SCALARS_IN, hidden_scalar), norm(), nn.GELU(), nn.Linear(hidden_scalar, hidden_scalar), norm(), nn.GELU()
        )
        self.other_feats_proj_list = nn.ModuleList(nn.Linear(hidden_scalar, hidden_scalar) for _ in range(LEVELS))
        self.profile_layer_norm = nn.LayerNorm(width)
        self.cnn1 = nn.Sequential(*(PaoBlock(width, heads) for _ in range(4)))
        self.lstm = nn.Sequential(nn.LSTM(width, width, 2, batch_first=True, bidirectional=True))
        profile = lambda: gelu_maps(2 * width, width, width, hidden_profile, PROFILES)
        scalar = lambda: gelu_maps(2 * width * LEVELS, hidden_scalar, hidden_scalar, SCALARS)
        self.profile_output_mlp, self.scalar_output_mlp = profile(), scalar()
        self.scalar_layer_norm = nn.LayerNorm(2 * width * LEVELS)
        if confidence:
            self.profile_output_mlp_conf, self.scalar_output_mlp_conf = profile(), scalar()

    def forward(self, x):
        scalars, profiles = x[:, 0, :SCALARS_IN], x[:, :, SCALARS_IN:]
        profiles = torch.stack([scale(profiles[:, :, i]) for i, scale in enumerate(self.feature_scale_list)], dim=2)
        profiles = self.input_linear(profiles) + self.positional_encoding(torch.arange(LEVELS))
        scalars = self.other_feats_mlp(scalars)
        scalars = torch.stack([proj(scalars) for proj in self.other_feats_proj_list], dim=1)
        h = self.profile_layer_norm(torch.cat([profiles, scalars], dim=2))
        h = self.lstm(self.cnn1(h.transpose(1, 2)).transpose(1, 2))[0]
        flat = self.scalar_layer_norm(h.reshape(h.shape[0], -1))
        rows = lambda profile, scalar: torch.cat([scalar(flat), profile(h).transpose(1, 2).reshape(len(h), -1)], dim=1)
        out = rows(self.profile_output_mlp, self.scalar_output_mlp)
        if hasattr(self, "profile_output_mlp_conf"):
            out = torch.cat([out, rows(self.profile_output_mlp_conf, self.scalar_output_mlp_conf)], dim=1)
        return out


class Pointwise(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.pwconv1, self.pwconv2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.pwconv2(F.gelu(self.pwconv1(x)))


class ConvnextBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, 7, padding="same", groups=dim)
        self.norm = nn.BatchNorm1d(dim)
        self.pwconv = Pointwise(dim)
        self.gamma = nn.Parameter(1e-6 * torch.ones(dim))

    def forward(self, x):
        h = self.pwconv(self.norm(self.dwconv(x)).permute(0, 2, 1))
        return x + (self.gamma * h).permute(0, 2, 1)


class Downsample(nn.Module):
    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.norm = nn.BatchNorm1d(inputs)
        self.conv = nn.Conv1d(inputs, outputs, kernel, padding="same")

    def forward(self, x):
        return self.conv(self.norm(x))


class Convnext(nn.Module):
    def __init__(self, depths=(3, 3, 9, 3), dims=(96, 192, 384, 768), kernels=(4, 2, 2, 2), confidence=False):
        super().__init__()
        stem = nn.Sequential(nn.Conv1d(CHANNELS, dims[0], kernels[0], padding="same"), nn.BatchNorm1d(dims[0]))
        between = [Downsample(a, b, k) for a, b, k in zip(dims, dims[1:], kernels[1:])]
        self.downsample_layers = nn.ModuleList([stem, *between])
        self.stages = nn.ModuleList(nn.Sequential(*(ConvnextBlock(d) for _ in range(n))) for d, n in zip(dims, depths))
        conv = lambda: nn.Conv1d(dims[-1], SCALARS + PROFILES, 3, padding="same")
        scalar = lambda: nn.Linear(SCALARS * LEVELS, SCALARS)
        self.final_conv_layer, self.fc_scalar = conv(), scalar()
        if confidence:
            self.final_conv_layer_conf, self.fc_scalar_conf = conv(), scalar()

    def forward(self, x):
        x = x.transpose(1, 2)
        for downsample, stage in zip(self.downsample_layers, self.stages):
            x = stage(downsample(x))

        def rows(conv, scalar):
            channels = conv(x)
            return torch.cat([scalar(channels[:, :SCALARS].flatten(1)), channels[:, SCALARS:].flatten(1)], dim=1)

        out = rows(self.final_conv_layer, self.fc_scalar)
        if hasattr(self, "fc_scalar_conf"):
            out = torch.cat([out, rows(self.final_conv_layer_conf, self.fc_scalar_conf)], dim=1)
        return out


class ReluMaps(nn.Module):
    def __init__(self, *widths):
        super().__init__()
        layers = []
        for a, b in zip(widths, widths[1:]):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.network = nn.Sequential(*layers[:-1])

    def forward(self, x):
        return self.network(x)


class EncdecLstm(nn.Module):
    def __init__(self, code=(15, 8, 4), hidden=512, layers=3, gru=16, confidence=False, dropout=0.09):
        super().__init__()
        widths = [CHANNELS * w for w in (LEVELS, *code)]
        self.encoder, self.decoder = ReluMaps(*widths), ReluMaps(*reversed(widths))
        self.lstm = nn.LSTM(2 * CHANNELS, hidden, layers, batch_first=True, dropout=dropout, bidirectional=True)
        self.lstm2 = nn.GRU(2 * hidden, gru, batch_first=True, bidirectional=True)
        row = 2 * gru * LEVELS
        last = lambda: ReluMaps(row, row // 2, SCALARS + PROFILES * LEVELS)
        self.fc_lstm = last()
        if confidence:
            self.fc_lstm_conf = last()

    def forward(self, x):
        unfolded = self.decoder(self.encoder(x.flatten(1))).reshape(x.shape)
        h = self.lstm2(self.lstm(torch.cat([x, unfolded], dim=2))[0])[0].flatten(1)
        out = self.fc_lstm(h)
        return torch.cat([out, self.fc_lstm_conf(h)], dim=1) if hasattr(self, "fc_lstm_conf") else out


class PureReslstm(nn.Module):
    def __init__(self, hidden_state=256, num_lstm=10, confidence=False):
        super().__init__()
        width = 2 * hidden_state
        self.lstm_stack = nn.ModuleDict(
            {
                f"lstm{i + 1}": nn.LSTM(width if i else CHANNELS, hidden_state, batch_first=True, bidirectional=True)
                for i in range(num_lstm)
            }
        )
        norm = lambda: nn.LayerNorm([LEVELS, width])
        self.residual_stack = nn.ModuleList(norm() if i else nn.Sequential(norm(), nn.GELU()) for i in range(num_lstm))
        self.fc = nn.Sequential(nn.Linear(width, SCALARS + PROFILES))
        if confidence:
            self.fc_conf = nn.Sequential(nn.Linear(width, SCALARS + PROFILES))

    def forward(self, x):
        before = None
        for lstm, residual in zip(self.lstm_stack.values(), self.residual_stack):
            x = residual(lstm(x)[0])
            x = x if before is None else F.gelu(0.7 * x + 0.3 * before)
            before = x
        out = targets(self.fc(x))
        return torch.cat([out, targets(self.fc_conf(x))], dim=1) if hasattr(self, "fc_conf") else out


def confidence_loss(output, target):
    """Huber, and how far each expected error is from the error that was made."""
    predicted, expected = output[:, :368], output[:, 368:736]
    made = F.huber_loss(predicted, target, reduction="none")
    return (made + F.huber_loss(expected, made.detach(), reduction="none")).mean()


NETWORKS = {
    "squeezeformer": (Squeezeformer, dict(dim=8, head_dim=12, heads=2, blocks=2, kernel=5, confidence=True)),
    "squeezeformer_batch": (Squeezeformer, dict(dim=8, head_dim=10, heads=4, blocks=1, kernel=15, first="batch_norm")),
    "squeezeformer_places": (Squeezeformer, dict(dim=8, head_dim=12, heads=2, blocks=1, kernel=5, confidence=True, places=True)),
    "unet": (Unet, dict(channels=8, multiples=[1, 2, 2], blocks=1, confidence=True)),
    "pao": (Pao, dict(hidden_profile=4, hidden_scalar=6, heads=2, confidence=True)),
    "convnext": (Convnext, dict(depths=[1, 2], dims=[6, 8], kernels=[4, 2], confidence=True)),
    "encdec_lstm": (EncdecLstm, dict(code=[2, 1], hidden=5, layers=1, gru=2, confidence=True)),
    "pure_reslstm": (PureReslstm, dict(hidden_state=4, num_lstm=3, confidence=True)),
}
BATCH = 3


def results(name, kind, sizes):
    """Everything that is compared of one network."""
    network = kind(**sizes, **({"dropout": 0.0} if kind is EncdecLstm else {}))
    fill(network)
    # Inputs that repeat the scalars on every level, as the real ones do.
    x = 4 * value(f"{name}.x", BATCH * LEVELS * CHANNELS).reshape(BATCH, LEVELS, CHANNELS)
    x[:, :, :SCALARS_IN] = x[:, :1, :SCALARS_IN]
    y = 4 * value(f"{name}.y", BATCH * 368).reshape(BATCH, 368)
    found = {}
    with torch.no_grad():
        found["eval"] = network.eval()(x)
    output = network.train()(x)
    loss = confidence_loss(output, y) if sizes.get("confidence") else F.l1_loss(output, y)
    if sizes.get("places"):
        loss = loss + 0.5 * F.mse_loss(output[:, -PLACES:], value(f"{name}.places", BATCH * PLACES).reshape(BATCH, PLACES))
    loss.backward()
    found["train"], found["loss"] = output.detach(), loss.detach().reshape(1)
    with torch.no_grad():
        found["eval_after"] = network.eval()(x)
    names = [n for n, p in network.named_parameters()]
    # What is never used has no gradient.
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for _, p in network.named_parameters()]
    found["gradient_sums"] = torch.stack([g.double().sum() for g in gradients])
    found["gradient_norms"] = torch.stack([g.double().norm() for g in gradients])
    return found, names


def main():
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    tensors, about = {}, {}
    for name, (kind, sizes) in NETWORKS.items():
        found, names = results(name, kind, sizes)
        tensors |= {f"{name}.{key}": t.contiguous() for key, t in found.items()}
        full = kind(**({"confidence": True} if sizes.get("confidence") else {}))
        about[name] = {
            "sizes": sizes,
            "parameters": names,
            "published_parameters": sum(p.numel() for p in full.parameters()),
        }
    save_file(tensors, sys.argv[1], metadata={"networks": json.dumps(about)})
    for name, entry in about.items():
        print(name, entry["published_parameters"])


if __name__ == "__main__":
    main()
