"""PSNR and SSIM of a model on LOL's eval15, plain and at ground-truth mean, from 8-bit RGB outputs.

python benchmarks/lol.py LOL/eval15 --model neid
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import lowlight_cli as lowlight
from lowlight_cli.data.pairs import load_pairs
from lowlight_cli.metrics.fidelity import at_mean_of, psnr, ssim


def scores(model: lowlight.Enhancer, folder: Path) -> dict[str, list[float]]:
    """Figures of every pair."""
    figures: dict[str, list[float]] = {"psnr": [], "ssim": [], "psnr_gtmean": [], "ssim_gtmean": []}
    for pair in load_pairs(folder / "low", folder / "high"):
        output = model(pair.low)
        aligned = at_mean_of(output, pair.high)
        for name, image in (("", output), ("_gtmean", aligned)):
            figures[f"psnr{name}"].append(psnr(image, pair.high))
            figures[f"ssim{name}"].append(ssim(image, pair.high))
    return figures


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="neid")
    parser.add_argument("--backend", default="onnx")
    parser.add_argument("--weights", type=Path)
    args = parser.parse_args()
    model = lowlight.open_model(args.model, backend=args.backend, weights=args.weights)
    figures = scores(model, args.folder)
    means = {name: round(float(np.mean(values)), 3) for name, values in figures.items()}
    spread = {f"{name}_std": round(float(np.std(values)), 3) for name, values in figures.items()}
    print(json.dumps({"model": args.model, "set": args.folder.name, "n": len(figures["psnr"]), **means, **spread}))


if __name__ == "__main__":
    main()
