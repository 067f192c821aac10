"""DRS-CycleGAN: its paths, blocks and thresholds as the paper has them, tiles as the whole, and its recipe."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from lowlight_cli.models import drs_cyclegan
from lowlight_cli.models.drs_cyclegan import Generator, Thresholds, shrink
from lowlight_cli.nn.guide import Guide
from lowlight_cli.training.settings import Settings

pytestmark = pytest.mark.usefixtures("seeded")
TINY = {"width": 4, "blocks": (1, 1, 1)}


def network(**params: object) -> Generator:
    """A tiny one for inference, its biases random: zero ones could hide what they should not."""
    tiny = drs_cyclegan.build(**{**TINY, **params}).eval().requires_grad_(False)
    for name, values in tiny.named_parameters():
        if name.endswith("bias"):
            values.normal_(0, 0.1)
    return tiny


def dark(*size: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, *size) ** 2 * 0.3


def convolutions(path: nn.Module) -> list[nn.Conv2d]:
    return [module for module in path.modules() if isinstance(module, nn.Conv2d)]


def test_the_three_paths_are_the_papers() -> None:
    paper = drs_cyclegan.build()
    for path, width, kernel, blocks, dilation in (
        (paper.path1, 64, 3, 9, 2),
        (paper.path2, 64, 1, 6, 2),
        (paper.path3, 32, 5, 6, 1),
    ):
        first, *rest = convolutions(path)
        assert (first.out_channels, first.kernel_size, first.dilation) == (width, (3, 3), (dilation, dilation))
        assert len(path.blocks) == blocks
        assert len(rest) == 2 * blocks
        assert {(c.in_channels, c.out_channels, c.kernel_size) for c in rest} == {(width, width, (kernel, kernel))}
        assert {c.stride for c in rest} == {(1, 1)}


def test_out_is_x1_y1_y2_of_192_channels_smoothed_by_1x1_and_dilated_3x3() -> None:
    paper = drs_cyclegan.build(blocks=(1, 1, 1))
    assert (paper.smooth.in_channels, paper.smooth.out_channels, paper.smooth.kernel_size) == (192, 64, (1, 1))
    assert (paper.last.out_channels, paper.last.kernel_size, paper.last.dilation) == (3, (3, 3), (2, 2))
    pixels = dark(16, 16)
    with torch.no_grad():
        out = paper.features(pixels, Guide())
        x1 = paper.path1(pixels, Guide())[1]
        x2 = paper.reduce(paper.path2(pixels, Guide())[1])
        x3, x4 = paper.path3(pixels, Guide())
    assert [x.shape[1] for x in (x1, x2, x3, x4)] == [64, 32, 32, 32]
    assert torch.equal(out, torch.cat([x1, x3, x4, x2, x3], dim=1))


def test_the_paper_s_widths_have_1179171_parameters() -> None:
    shares = {width: 2 * (width * width + width) for width in (64, 32)}
    path1 = (3 * 64 * 9 + 64) + 9 * (2 * 64 * 64 * 9 + 64 + shares[64])
    path2 = (3 * 64 * 9 + 64) + 6 * (2 * 64 * 64 + 64 + shares[64]) + (64 * 32 + 32)
    path3 = (3 * 32 * 9 + 32) + 6 * (2 * 32 * 32 * 25 + 32 + shares[32])
    exits = (192 * 64 + 64) + (64 * 3 * 9 + 3)
    assert path1 + path2 + path3 + exits == 1_179_171
    assert sum(p.numel() for p in drs_cyclegan.build().parameters()) == 1_179_171


@pytest.mark.parametrize("gone", ["path1", "path2", "path3"])
def test_every_path_has_a_say(gone: str) -> None:
    whole, pixels = network(), dark(24, 24)
    before = whole.whole(pixels)[0]
    for values in getattr(whole, gone).parameters():
        values.zero_()
    assert (whole.whole(pixels)[0] - before).abs().max() > 1e-3


def test_shrinkage_makes_small_values_exactly_zero_and_large_ones_smaller_by_the_threshold() -> None:
    values = torch.tensor([-2.0, -0.5, -0.25, 0.0, 0.25, 0.5, 2.0]).reshape(1, 1, 1, 7).repeat(1, 2, 1, 1)
    found = shrink(values, torch.tensor([[0.5, 0.0]]))
    assert found[0, 0, 0].tolist() == [-1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5]
    assert torch.equal(found[0, 1], values[0, 1])


def test_thresholds_are_a_share_of_each_channel_s_absolute_average() -> None:
    thresholds = Thresholds(6)
    features = torch.randn(2, 6, 9, 9) * torch.tensor([0.1, 0.5, 1.0, 2.0, 4.0, 0.0])[:, None, None]
    found, averages = thresholds(features), features.abs().mean(dim=(2, 3))
    assert found.shape == (2, 6)
    assert ((found[:, :5] > 0) & (found[:, :5] < averages[:, :5])).all()
    assert (found[:, 5] == 0).all()
    shares = found[:, :5] / averages[:, :5]
    assert shares.std(dim=1).min() > 1e-3  # not one share for all channels
    assert torch.allclose(found, thresholds(-features))


def test_a_block_shrinks_its_branch_by_the_thresholds_that_it_gives_the_guide() -> None:
    block = network(width=8).path1.blocks[0]
    features = torch.randn(2, 8, 12, 12)
    guide = Guide()
    output = block(features, guide)
    assert [values.shape[1] for values in guide.kept] == [8, 8, 8, 8, 8]  # mean, variance, twice; thresholds
    vectors = guide.vectors()
    assert ((output - features) == 0).any()
    vectors[:, -8:] = 1e6
    assert torch.equal(block(features, Guide(vectors)), features)


def test_thresholds_are_learned() -> None:
    tiny = drs_cyclegan.build(**TINY)
    tiny.whole(dark(24, 24))[0].square().sum().backward()
    for block in (*tiny.path1.blocks, *tiny.path2.blocks, *tiny.path3.blocks):
        assert all(p.grad is not None for p in block.thresholds.parameters())
        assert block.thresholds.share[2].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("downsample", [1, 2, 4])
def test_tiles_give_what_the_whole_picture_gives(downsample: int) -> None:
    tiny, pixels = network(downsample=downsample), dark(150, 160)
    facts = drs_cyclegan.geometry(**TINY, downsample=downsample)
    vectors = tiny.context(dark(48, 48), torch.tensor([-1.0]))
    whole = tiny.tile(pixels, vectors)
    halo = -(-facts["halo"] // facts["multiple"]) * facts["multiple"]
    assert halo < 64
    for top, left in product((64, 68), (64, 72)):
        part = pixels[:, :, top - halo : top + 16 + halo, left - halo : left + 16 + halo]
        core = tiny.tile(part, vectors)[:, :, halo : halo + 16, halo : halo + 16]
        assert torch.allclose(core, whole[:, :, top : top + 16, left : left + 16], atol=1e-5)
    other = tiny.context(dark(48, 48) + 0.3, torch.tensor([-1.0]))
    assert (tiny.tile(pixels, other) - whole).abs().max() > 1e-3


@pytest.mark.parametrize("params", [{}, {"blocks": (2, 1, 1)}, {"blocks": (3, 1, 1)}, {"downsample": 2}])
def test_the_halo_is_what_a_pixel_sees(params: dict[str, object]) -> None:
    tiny = network(**params)
    facts = drs_cyclegan.geometry(**{**TINY, **params})
    halo, multiple = facts["halo"], facts["multiple"]
    side = 2 * (halo + 4) // multiple * multiple
    seen = 0
    for seed, phase in product(range(3), range(multiple)):
        torch.manual_seed(seed)
        vectors = tiny.context(dark(32, 32), torch.tensor([-1.0]))
        pixels = dark(side, side).requires_grad_()
        middle = side // 2 // multiple * multiple + phase
        tiny.tile(pixels, vectors)[0, :, middle, middle].sum().backward()
        seen = max(seen, int((pixels.grad[0].abs().sum(0).nonzero() - middle).abs().max()))
    assert seen == halo


def test_the_paper_s_halo_is_27_pixels() -> None:
    paper = drs_cyclegan.geometry()
    assert paper["halo"] == 1 + 6 * 2 * 2 + 2
    assert (paper["tiling"], paper["multiple"], paper["exposure"]) == ("guided", 1, False)
    assert drs_cyclegan.geometry(blocks=(13, 6, 6))["halo"] == 2 + 13 * 2 + 2


@pytest.mark.parametrize("downsample", [1, 4])
def test_without_a_guide_a_picture_takes_its_own_statistics(downsample: int) -> None:
    plain, guided = network(guided=False, downsample=downsample), network(downsample=downsample)
    guided.load_state_dict(plain.state_dict())
    pixels, exposure = dark(40, 44), torch.tensor([-1.0])
    vectors = plain.context(dark(32, 32), exposure)
    assert vectors.shape == (1, 0)
    assert drs_cyclegan.geometry(**TINY, guided=False)["tiling"] == "whole"
    own = guided.tile(pixels, guided.context(pixels, exposure))
    assert torch.allclose(plain.tile(pixels, vectors), own, atol=1e-6)
    assert torch.allclose(plain.tile(pixels), own, atol=1e-6)
    assert torch.allclose(plain(pixels, dark(32, 32), exposure), own, atol=1e-6)
    output, none = plain.whole(pixels)
    assert torch.allclose(output, own, atol=1e-6)
    assert none.shape == (1, 0)


def test_the_whole_thumbnail_gives_the_vectors_of_the_context() -> None:
    tiny, thumbnail = network(), dark(32, 32, count=2)
    output, vectors = tiny.whole(thumbnail)
    assert torch.equal(vectors, tiny.context(thumbnail, torch.tensor([-1.0, 0.5])))
    assert vectors.dtype == torch.float32
    assert torch.allclose(output, tiny.tile(thumbnail, vectors), atol=1e-6)
    assert vectors.shape == (2, (4 + 4 + 2) * 5)


def test_bfloat16_stays_inside_the_network() -> None:
    tiny, thumbnail = network(), dark(32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        output, vectors = tiny.whole(thumbnail)
        part = tiny.tile(thumbnail, vectors)
    assert {output.dtype, vectors.dtype, part.dtype} == {torch.float32}
    assert (output - tiny.whole(thumbnail)[0]).abs().max() < 0.05
    assert torch.allclose(part, output, atol=0.02)


def test_a_guided_network_without_vectors_is_an_error() -> None:
    with pytest.raises(ValueError, match="vectors"):
        network().tile(dark(8, 8))


@pytest.mark.parametrize("params", [{"width": 5}, {"downsample": 3}])
def test_impossible_params_are_refused(params: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"even|1, 2 or 4"):
        drs_cyclegan.build(**params)


@pytest.mark.parametrize("size", [(1, 1), (17, 23), (65, 3)])
@pytest.mark.parametrize("downsample", [1, 2, 4])
def test_any_size_gives_the_same_size_in_range(size: tuple[int, int], downsample: int) -> None:
    tiny = network(downsample=downsample)
    for level in (0.0, 1.0, 0.3):
        pixels = torch.full((1, 3, *size), level)
        output = tiny(pixels, dark(31, 33), torch.tensor([-1.0]))
        assert output.shape == pixels.shape
        assert ((output >= 0) & (output <= 1)).all()


def test_after_doubling_neighbours_still_differ() -> None:
    tiny = network(downsample=2)
    output = tiny.whole(dark(32, 32))[0]
    cells = output.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    assert (cells.amax(dim=-1) - cells.amin(dim=-1))[:, :, 3:-3, 3:-3].median() > 1e-3


def test_the_discriminator_gives_one_score_for_a_picture_of_two_kernel_sizes() -> None:
    discriminator = drs_cyclegan.Discriminator(width=4)
    assert [{c.kernel_size for c in convolutions(path)} for path in discriminator.paths] == [{(3, 3)}, {(5, 5)}]
    assert discriminator.joined[0].in_channels == 2 * 16
    for size in ((9, 9), (64, 64), (65, 97)):
        pictures = dark(*size, count=2)
        scores = discriminator(pictures)
        assert scores.shape == (2, 1)
        assert torch.allclose(scores[1:], discriminator(pictures[1:]), atol=1e-5)  # each with its own statistics
    for path in discriminator.paths:
        parameters = [p for p in path.parameters() if p.ndim > 1]
        assert all(g.abs().sum() > 0 for g in torch.autograd.grad(discriminator(pictures).sum(), parameters))


def settings(**values: object) -> Settings:
    changed = {"params": TINY, "discriminator": {"width": 2}, "pool": 2, "crop": 24, "steps": 100}
    return Settings(**drs_cyclegan.DEFAULTS).override({**changed, **values})


def test_defaults_are_the_papers() -> None:
    chosen = Settings(**drs_cyclegan.DEFAULTS)
    assert (chosen.lr, chosen.lr_discriminator, chosen.batch, chosen.crop) == (1e-3, 2e-3, 1, 96)
    assert chosen.steps == 485_000
    recipe = drs_cyclegan.recipe(settings())
    assert recipe.data == "unpaired"
    assert recipe.objective == "lsgan"
    assert recipe.optimizers["generators"].param_groups[0]["lr"] == 1e-3
    assert recipe.optimizers["discriminators"].param_groups[0]["lr"] == 2e-3
    assert recipe.networks["discriminator_low"].joined[-1].in_channels == 8
    assert isinstance(recipe.networks[recipe.deploy], Generator)
