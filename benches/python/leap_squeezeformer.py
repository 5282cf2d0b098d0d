"""The Squeezeformer of LEAP and its training step in plain PyTorch: the other side of `benches/leap_squeezeformer.rs`.

    python benches/python/leap_squeezeformer.py --batch 16 --steps 5 --threads 1

Needs torch (2.11 for a fair comparison). Prints one JSON line like the Rust bench.
"""

import pathlib
import sys

from step import measure

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/leap/benchmark"))
from networks import Squeezeformer, confidence_loss  # noqa: E402

if __name__ == "__main__":
    measure("leap_squeezeformer", lambda: Squeezeformer(confidence=True), confidence_loss, lr=1e-4, batch=16)
