import io

import pytest
import torch

from worker.unlearning.jpeg import jpeg


def quality(n, value):
    return torch.full((n,), float(value))


def test_a_flat_block_keeps_only_its_rounded_mean():
    """Grey 200: (200 − 128) · 8 = 576 is the constant coefficient; quality 50 rounds it to a multiple of 16: 576."""
    assert (jpeg(torch.full((1, 1, 8, 8), 200 / 255), quality(1, 50)) * 255).round().unique().tolist() == [200]


def test_a_flat_block_moves_to_the_next_step_of_a_coarse_table():
    """Quality 10 scales 16 by 5: step 80 in the coefficient, 10 in the pixel: −20 · … 205 − 128 = 77 becomes 80."""
    assert (jpeg(torch.full((1, 1, 8, 8), 205 / 255), quality(1, 10)) * 255).round().unique().tolist() == [208]


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 8, 8), (2, 3, 13, 21), (2, 4, 5, 5)])
def test_any_size_and_number_of_channels_comes_back(shape, rng):
    images = torch.rand(shape, generator=rng)
    out = jpeg(images, quality(2, 100))
    assert out.shape == shape
    assert 0 <= out.min() <= out.max() <= 1


def test_each_image_has_its_own_quality(rng):
    images = torch.rand(1, 3, 16, 16, generator=rng).repeat(2, 1, 1, 1)
    both = jpeg(images, torch.tensor([95.0, 10.0]))
    assert (both[0] - images[0]).abs().mean() < (both[1] - images[1]).abs().mean()
    assert torch.equal(both[1:], jpeg(images[1:], quality(1, 10)))


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_it_is_close_to_a_real_encoder(mode, channels, rng):
    """Pillow's decoded file differs by smooth chrominance upsampling and rounding only."""
    image = pytest.importorskip("PIL.Image")
    smooth = torch.nn.functional.interpolate(
        torch.rand(1, channels, 5, 5, generator=rng), size=(32, 32), mode="bicubic"
    )
    smooth = smooth.clamp(0, 1).mul(255).round().div(255)
    pixels = smooth[0].mul(255).round().to(torch.uint8).permute(1, 2, 0).squeeze(-1).contiguous()
    file = io.BytesIO()
    image.frombytes(mode, (32, 32), bytes(pixels.flatten().tolist())).save(file, "jpeg", quality=75)
    decoded = torch.tensor(list(image.open(file).tobytes())).view(32, 32, channels).permute(2, 0, 1)
    assert (jpeg(smooth, quality(1, 75))[0] * 255 - decoded).abs().mean() < 2
