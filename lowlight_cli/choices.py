"""What the command line and the rest must agree on: defaults, words and limits.

`--help` reads them, and may load nothing heavy: standard library only.
"""

from __future__ import annotations

import re

MODEL = "neid"
"""The model that runs when none is named."""
BACKENDS = ("auto", "torch", "onnx")
"""What may be asked to run a network."""
DEVICES = ("auto", "cpu", "cuda", "mps")
"""Where a network may be asked to run."""
NUMBERED = re.compile(r"cuda:\d+", re.ASCII)
"""One of several devices."""
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""What a network may compute in."""
TRAINABLE = ("fp32", "bf16")
"""What it may be trained in."""
MOST_THREADS = 256
"""Threads that may be asked for."""
MAX_PIXELS = 200_000_000
"""Pixels of the largest picture that is decoded, unless another limit is given."""
EXPOSURES = (0.02, 0.98)
"""Least and largest mean luma that is asked of a model."""

SETTLE, POLL, PATIENCE = 2.0, 1.0, 30.0
"""Of a watch, in seconds: how long a file must rest, the time between looks, and how long a file must have rested at
the least before it is said to have failed."""

TOLERANCE = 2.0
"""Levels of 255 that a pixel made again may differ by. Other versions, back ends and processors round otherwise:
measured, a pixel differs by one level at most."""

PAPER, CAMERA, NIGHT = PRESETS = ("paper", "camera", "night")
"""How a photo may be darkened: see `data.darken`."""
MIXED = "mixed"
"""The preset of training that changes the photo, too: see `pairs.made_pair`."""
COPIES = 6
"""Darkened versions of each photo in training."""
PERCEPTUAL = ("required", "auto", "off")
"""How a training's perceptual loss may be had: see `training.settings`."""
