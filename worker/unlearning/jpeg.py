"""What JPEG does to pixels (ITU-T T.81), without the bit stream: colour transform, 8×8 DCT, quantisation."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Annex K, tables K.1 and K.2.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """Compress and decompress: (N, C, H, W) in [0, 1] -> the same shape, 8-bit values.

    Three channels are coded as luminance and chrominance of half the resolution (4:2:0, what encoders do unless told
    otherwise), any other number as luminance each. `quality` (N,) runs from 1 to 100 in libjpeg's scale.
    """
    scaled = images * 255 - 128
    if images.shape[1] != 3:
        decoded = _quantise(scaled, _LUMINANCE, quality)
    else:
        to_ycc = scaled.new_tensor(_TO_YCC)
        ycc = torch.einsum("ij,njhw->nihw", to_ycc, scaled + 128)
        luminance = _quantise(ycc[:, :1] - 128, _LUMINANCE, quality) + 128  # (N, 1, H, W)
        half = F.avg_pool2d(ycc[:, 1:], 2, ceil_mode=True)  # (N, 2, ⌈H/2⌉, ⌈W/2⌉)
        full = F.interpolate(_quantise(half, _CHROMINANCE, quality), scale_factor=2, mode="bilinear")
        chrominance = full[:, :, : images.shape[2], : images.shape[3]]
        from_ycc = torch.linalg.inv(to_ycc)
        decoded = torch.einsum("ij,njhw->nihw", from_ycc, torch.cat([luminance, chrominance], 1)) - 128
    return (decoded + 128).round().clamp(0, 255) / 255


def _quantise(planes: Tensor, table: tuple[tuple[int, ...], ...], quality: Tensor) -> Tensor:
    """Round the DCT coefficients of every 8×8 block to multiples of the scaled table: (N, C, H, W) -> same."""
    n, c, h, w = planes.shape
    padded = F.pad(planes, (0, -w % 8, 0, -h % 8), mode="replicate")
    blocks = padded.unfold(2, 8, 8).unfold(3, 8, 8)  # (N, C, H/8, W/8, 8, 8)
    D = _dct_matrix().to(planes)
    factor = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality).to(planes)  # percent, libjpeg's rule
    steps = ((planes.new_tensor(table) * factor.view(-1, 1, 1) + 50) / 100).floor().clamp(1, 255)  # (N, 8, 8)
    steps = steps.view(n, 1, 1, 1, 8, 8)
    rounded = ((D @ blocks @ D.T) / steps).round() * steps
    restored = D.T @ rounded @ D
    return restored.permute(0, 1, 2, 4, 3, 5).reshape(n, c, h + -h % 8, w + -w % 8)[:, :, :h, :w]


def _dct_matrix() -> Tensor:
    """The orthonormal DCT-II of length 8: rows are frequencies, columns positions."""
    frequency, position = torch.arange(8.0)[:, None], torch.arange(8.0)[None]
    D = torch.cos(math.pi * (2 * position + 1) * frequency / 16) / 2  # (8, 8)
    D[0] /= math.sqrt(2)
    return D
