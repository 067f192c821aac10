"""What metrics there are: names, needs, and the sentence that defines each in reports. No package is imported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One column of a report; `target` is `module:function` in this package.

    The function takes the output, then the truth or the source if one is needed, all (H, W, 3) uint8 RGB of one size,
    and gives a float, which may be infinite (`psnr` of equal pictures) or NaN (`cast` without shadows).
    """

    name: str
    label: str
    target: str
    definition: str
    unit: str = ""
    higher_is_better: bool | None = False
    """None: zero is best, and the sign says which way it was missed."""
    needs_reference: bool = False
    needs_source: bool = False
    needs_either: bool = False
    """The truth, or where there is none the source."""
    opens: bool = False
    """The function takes `offline` and loads files: its result has them as `files`, and a `score`."""

    def missing(self, *, truth: bool, source: bool) -> str:
        """What it needs and is not there, in words; empty where it can be measured."""
        if self.needs_reference and not truth:
            return "the ground truth"
        if self.needs_source and not source:
            return "the source picture"
        return "the ground truth or the source picture" if self.needs_either and not (truth or source) else ""


PSNR = "10 log10(255^2 / mean square error over all pixels of RGB)"
SSIM = "structural similarity (Wang 2004), Gaussian window 11x11, sigma 1.5, peak 255, mean over RGB and the interior"
AT_MEAN = (
    "after the output is multiplied by one factor to the truth's mean BT.601 luma, clipped and rounded; "
    "it hides errors of exposure"
)

ROWS = (
    Metric(
        "psnr",
        "PSNR",
        "fidelity:psnr",
        f"{PSNR}; no alignment.",
        unit="dB",
        higher_is_better=True,
        needs_reference=True,
    ),
    Metric(
        "ssim",
        "SSIM",
        "fidelity:ssim",
        f"{SSIM}; no alignment.",
        higher_is_better=True,
        needs_reference=True,
    ),
    Metric(
        "psnr_gtmean",
        "PSNR at GT mean",
        "fidelity:psnr_gtmean",
        f"{PSNR}, {AT_MEAN}.",
        unit="dB",
        higher_is_better=True,
        needs_reference=True,
    ),
    Metric(
        "ssim_gtmean",
        "SSIM at GT mean",
        "fidelity:ssim_gtmean",
        f"{SSIM}, {AT_MEAN}.",
        higher_is_better=True,
        needs_reference=True,
    ),
    Metric(
        "mae",
        "MAE",
        "fidelity:mae",
        "mean absolute difference over all pixels of RGB, in 8-bit levels (0 to 255); no alignment.",
        unit="levels",
        needs_reference=True,
    ),
    Metric(
        "ciede2000",
        "CIEDE2000",
        "difference:ciede2000",
        "mean over the pixels of the colour difference Delta E 2000, sRGB to CIELAB under D65 at 2 degrees, "
        "kL = kC = kH = 1; no alignment.",
        needs_reference=True,
    ),
    Metric(
        "lpips",
        "LPIPS (VGG16)",
        "perceptual:open_lpips",
        "learned perceptual distance (Zhang 2018) v0.1 with the VGG16 net (ImageNet-1k weights of torchvision), "
        "RGB scaled to [-1, 1], at the picture's own size; no alignment.",
        needs_reference=True,
        opens=True,
    ),
    Metric(
        "niqe",
        "NIQE",
        "naturalness:open_niqe",
        "natural image quality (Mittal 2013) of the output alone, MATLAB's rgb2gray, Gaussian window 7x7, sigma 7/6, "
        "all whole 96x96 patches at full and at half size, the authors' pristine model.",
        opens=True,
    ),
    Metric(
        "loe",
        "LOE",
        "blind:loe",
        "lightness order error (Wang 2013) against the source: largest channel, its maximum within 7 pixels, sampled "
        "to 50 to 99 pixels on the shorter side; mean number of samples whose order to a sample changed.",
        unit="samples",
        needs_source=True,
    ),
    Metric(
        "pcqi",
        "PCQI",
        "contrast:pcqi",
        "patch-based contrast quality (Wang 2015) against the ground truth, or against the source in a set without "
        "truths; MATLAB's rgb2gray, Gaussian window 11x11, sigma 1.5, C = 3, L = 256, interior mean.",
        higher_is_better=True,
        needs_either=True,
    ),
    Metric(
        "brightness",
        "Brightness change",
        "blind:brightness",
        "mean BT.601 luma of the output minus that of the source, of a full scale of 1.",
        higher_is_better=None,
        needs_source=True,
    ),
    Metric(
        "clipped",
        "Newly clipped",
        "blind:clipped",
        "share of pixels with a channel at 254 or 255 in the output, minus that share in the source.",
        needs_source=True,
    ),
    Metric(
        "cast",
        "Shadow cast",
        "blind:cast",
        "largest |ln ratio|, output to source, of a channel's mean over the mean of the three, where the source's "
        "luma is under 40 of 255; not measured where that is under 2 % of the pixels or a mean of the source is under "
        "half a level; the output's means count as half a level at least.",
        needs_source=True,
    ),
)
