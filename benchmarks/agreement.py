"""Compare the PSNR and SSIM of a benchmark's results with scikit-image's, on the pictures that were kept.

lowlight benchmark --dataset LOL --root LOL --model neid --results out/ && python benchmarks/agreement.py out/ LOL
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lowlight_cli.data import pairs, sets


def main() -> None:
    """Print the largest differences over all pictures of all models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("root", type=Path)
    args = parser.parse_args()
    summary = json.loads((args.results / "summary.json").read_text(encoding="utf-8"))
    items = {item.name: item for item in sets.find(summary["dataset"], args.root, summary["split"]).items}
    worst, count = {"psnr": 0.0, "ssim": 0.0}, 0
    with (args.results / "per_image.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            path = args.results / "pictures" / row["model"] / f"{row['picture']}.png"
            low, truth = sets.load(items[row["picture"]])
            output = low if row["model"] == "input" else pairs.eight_bit(path)
            theirs = {
                "psnr": peak_signal_noise_ratio(truth, output, data_range=255),
                "ssim": structural_similarity(
                    truth,
                    output,
                    channel_axis=2,
                    gaussian_weights=True,
                    sigma=1.5,
                    use_sample_covariance=False,
                    data_range=255,
                ),
            }
            worst = {name: max(worst[name], abs(float(row[name]) - value)) for name, value in theirs.items()}
            count += 1
    print(f"{count} pictures: largest difference {worst['psnr']:.1e} dB PSNR, {worst['ssim']:.1e} SSIM")


if __name__ == "__main__":
    main()
