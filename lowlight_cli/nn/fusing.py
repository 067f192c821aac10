"""NEID's FF: features of two decoders, channel by channel.

Jiang et al., "Bridge the Vision Gap from Field to Command: A Deep Learning Network Enhancing Illumination
and Details", 2021 (preprint), Section 2.2.
"""

from __future__ import annotations

from torch import Tensor, nn

from lowlight_cli.nn.unet import LEAK


class FeatureFusing(nn.Module):
    """FF: per-channel weights from DR features, for the weighted sum of LE and DR features."""

    def __init__(self, width: int, reduction: int = 4) -> None:
        super().__init__()
        self.excite = nn.Sequential(
            nn.Linear(width, width // reduction),
            nn.LeakyReLU(LEAK, inplace=True),
            nn.Linear(width // reduction, width),
            nn.Sigmoid(),
        )

    def forward(self, detail_features: Tensor) -> Tensor:
        """(N, width, H, W) -> (N, width) in (0, 1): the share of LE in each channel; DR has the rest."""
        return self.excite(detail_features.mean(dim=(2, 3)))

    @staticmethod
    def fuse(light: Tensor, detail: Tensor, share: Tensor) -> Tensor:
        """The weighted sum of LE and DR features."""
        share = share[:, :, None, None]
        return share * light + (1 - share) * detail
