"""The network against naive versions of its parts, and weights from before it had some of them."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from celltrack.learn.store import load_model
from celltrack.learn.train import save_model
from celltrack.segment.unet import Residual, Stem, UNet, local_contrast


def naive_contrast(image, block, reach, floor):  # (y, x)
    "Return the image against mean and deviation of the pixels around each block."
    rows, columns = image.shape[0] // block, image.shape[1] // block
    mean, square = np.zeros((rows, columns)), np.zeros((rows, columns))
    for r, c in np.ndindex(rows, columns):
        top, left = max(r - reach, 0) * block, max(c - reach, 0) * block
        around = image[top : (r + reach + 1) * block, left : (c + reach + 1) * block]
        mean[r, c] = around.mean()
        square[r, c] = around.var() + around.mean() ** 2
    maps = torch.tensor(np.stack([mean, square]))[None]
    mean, square = interpolate(maps, image.shape, mode="bilinear")[0].numpy()
    return np.clip((image - mean) / (np.sqrt(square - mean**2) + floor), -3, 3)


@pytest.mark.parametrize("block, reach, floor", [(1, 2, 0.05), (8, 1, 0.05), (4, 4, 0.5)])
def test_local_contrast(block, reach, floor):
    image = np.random.default_rng(0).gamma(0.5, size=(48, 64))
    images = [image, image[::-1].copy(), 7 - 2 * image]
    batch = torch.tensor(np.stack([images, images[::-1]], 1))  # two channels
    found = local_contrast(batch, block, reach, floor).numpy()
    for own, channels in zip(batch.numpy(), found, strict=True):
        for expected, channel in zip(own, channels, strict=True):
            assert np.allclose(channel, naive_contrast(expected, block, reach, floor))
    assert abs(found).max() == 3  # bright specks are cut off


def test_contrast_does_not_depend_on_the_light():
    image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = local_contrast(image, floor=0.0)
    assert torch.allclose(local_contrast(5 * image + 3, floor=0.0), plain, atol=1e-3)
    assert torch.allclose(local_contrast(1 - image, floor=0.0), -plain, atol=1e-3)


def test_a_square_of_pixels_is_one_pixel_with_more_channels():
    torch.manual_seed(0)
    x = torch.randn(2, 1, 16, 24)
    squares = torch.cat([x[..., r::2, c::2] for r in (0, 1) for c in (0, 1)], 1)
    stem = Stem(1, 6, fold=2, local=False).eval()
    assert torch.equal(stem(x), Residual.forward(stem, squares))
    both = Stem(1, 6, fold=2, local=True)
    assert both.body[0].weight.shape[1] == 8  # four of the image, four of its local contrast


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_each_pixel_of_a_square_has_its_own_output(place):
    model = UNet(1, 1, (4, 8), fold=2).eval()
    nn.init.zeros_(model.last.weight)
    nn.init.zeros_(model.last.bias)
    row, column = place
    model.last.bias.data[2 * row + column] = 1
    drawn = model(torch.randn(1, 1, 15, 22))[0, 0]  # of a size that is padded
    assert (drawn[row::2, column::2] == 1).all() and drawn.sum() == drawn[row::2, column::2].numel()


def test_weights_from_before_fold_and_local(tmp_path):
    torch.manual_seed(0)
    model = UNet(1, 2, (4, 8, 16)).eval()
    x = torch.randn(1, 1, 20, 33)
    for name in ("fold", "local"):
        del model.config[name]
    save_model(model, tmp_path / "old.safetensors")
    old, _ = load_model(tmp_path / "old.safetensors")
    assert "fold" not in model.config and (old.config["fold"], old.config["local"]) == (1, False)
    assert torch.equal(old.eval()(x), model(x))
