"""What every row of the manifest with a network must hold, whatever the network; and how each is built."""

from __future__ import annotations

import contextlib

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from lowlight_cli import manifest, models, tiles, weights
from lowlight_cli.data.pairs import Pair
from lowlight_cli.enhancer import Enhancer, Settings
from lowlight_cli.errors import DeviceUnavailable, ModelUnavailable, OptionError
from lowlight_cli.models import aux_retinex, neid
from lowlight_cli.picture import from_array
from lowlight_cli.runners import RunnerOptions, open_runner
from lowlight_cli.training.validation import Judge

pytestmark = pytest.mark.usefixtures("seeded")
ROWS = sorted(name for name, spec in manifest.models().items() if not spec.classical and not spec.untrained)
BACKENDS = ("onnx", "torch")


@pytest.fixture(scope="module")
def opened():
    """Open runners, one for each row, back end and scale."""
    runners = {}

    def get(name, backend, scale=1):
        key = (name, backend, scale)
        if key not in runners:
            runners[key] = open_runner(manifest.find(name), RunnerOptions(backend=backend, scale=scale, threads=2))
        return runners[key]

    return get


def dark(height, width, seed=0):
    """A dark picture with structure and noise, 8 bits."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = 0.06 + 0.05 * np.sin(x / 17)[..., None] * np.cos(y / 23)[..., None] * np.array([1.0, 0.8, 0.6])
    return np.clip(np.rint((waves + rng.normal(0, 0.01, (height, width, 3))) * 255), 0, 255).astype(np.uint8)


def enhanced(runner, pixels, scale=1, **settings):
    """Output integers, 16 bits, so that small differences are seen."""
    enhancer = Enhancer(runner, Settings(depth=16, **settings), scale)
    return enhancer.enhance([from_array(pixels)])[0].pixels.astype(np.float64) / 65535


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [name for name in ROWS if manifest.find(name).exposure])
def test_beside_lights_the_dark_stays_free_of_others(opened, name, backend):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 3, (192, 240, 3)).astype(np.uint8)
    for _ in range(20):
        y, x, height, width = rng.integers((0, 0, 2, 2), (170, 220, 20, 20))
        pixels[y : y + height, x : x + width] = rng.integers(40, 200)
    far = cv2.erode((pixels.max(axis=2) < 4).astype(np.uint8), np.ones((9, 9))) > 0
    out = enhanced(opened(name, backend), pixels, exposure=0.4, shadows=0.0)
    assert (out[far].max(axis=1) > 0.8).mean() < 0.01


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("size", [(1, 1), (17, 23), (64, 65), (3, 200)])
def test_any_size_gives_the_same_size(opened, name, backend, size):
    assert enhanced(opened(name, backend), dark(*size)).shape == (*size, 3)


@pytest.mark.parametrize("name", ROWS)
def test_black_white_and_noise_give_finite_values(opened, name):
    rng = np.random.default_rng(0)
    for pixels in (np.zeros((40, 50, 3)), np.full((40, 50, 3), 255), rng.integers(0, 256, (40, 50, 3))):
        values = enhanced(opened(name, "onnx"), pixels.astype(np.uint8))
        assert np.isfinite(values).all()
    assert values.std() > 0.01


@pytest.mark.parametrize("name", ROWS)
def test_a_dark_picture_gets_brighter(opened, name):
    low = dark(96, 128)
    assert enhanced(opened(name, "onnx"), low).mean() > 3 * low.mean() / 255


@pytest.mark.parametrize("name", [name for name in ROWS if manifest.find(name).exposure])
def test_a_bright_picture_stays_as_it_is(opened, name):
    low = dark(96, 128)
    bright = np.clip(low.astype(int) * 6 + 60, 0, 255).astype(np.uint8)
    assert abs(enhanced(opened(name, "onnx"), bright).mean() - bright.mean() / 255) < 0.06


@pytest.mark.parametrize("name", ROWS)
def test_both_back_ends_give_the_same_picture(opened, name):
    for scale in manifest.find(name).scales:
        a, b = (enhanced(opened(name, backend, scale), dark(130, 170), scale) for backend in BACKENDS)
        assert a.std() > 0.01
        assert np.abs(a - b).max() < 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ROWS)
def test_tiles_give_what_the_whole_picture_gives(opened, name, backend):
    for scale in manifest.find(name).scales:
        pixels = dark(400 // scale, 560 // scale)
        whole = enhanced(opened(name, backend, scale), pixels, scale, tile=0)
        tiled = enhanced(opened(name, backend, scale), pixels, scale, tile=96)
        assert whole.std() > 0.01
        assert np.abs(whole - tiled).max() < 1.5 / 65535


@pytest.mark.parametrize("name", ROWS)
def test_the_halo_of_the_row_covers_what_the_network_sees(name):
    spec = manifest.find(name)
    network = models.load(spec, weights.find(spec, "torch")).eval()
    side = tiles.round_up(2 * spec.halo + 1, spec.multiple) + 2 * spec.multiple
    # Of a tile as small as can be, the first and the last pixel.
    start = side // 2 // spec.multiple * spec.multiple
    end, gradient = start + spec.multiple - 1, 0.0
    # Units may be off for one picture, so several are asked.
    for seed in range(4):
        torch.manual_seed(seed)
        pixels = (torch.rand(1, 3, side, side) * 0.2).requires_grad_()
        vectors = None
        if spec.tiling == "guided":
            thumbnail = torch.rand(1, 3, spec.thumbnail, spec.thumbnail) * 0.2
            vectors = network.context(thumbnail, torch.tensor([0.5])).detach()
        output = network.tile(pixels, vectors)[0]
        (output[:, start, start] + output[:, end, end]).sum().backward()
        gradient = gradient + pixels.grad[0].abs().sum(0)
    seen = gradient.nonzero()
    assert len(seen) > 2
    assert start - int(seen.min()) <= spec.halo
    assert int(seen.max()) - end <= spec.halo


@pytest.mark.parametrize("name", [name for name in ROWS if manifest.find(name).exposure])
def test_the_brightness_asked_for_is_reached(opened, name):
    pixels = np.rint(data.coffee()[::2, ::2] * 0.2).astype(np.uint8)
    for asked in (0.3, 0.6):
        luma = enhanced(opened(name, "onnx"), pixels, exposure=asked) @ [0.299, 0.587, 0.114]
        assert luma.mean() == pytest.approx(asked, abs=0.03)


@pytest.mark.parametrize("name", [name for name in ROWS if manifest.find(name).exposure])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("side", [24, 64, 112])
def test_and_in_small_pictures(opened, name, backend, side):
    pixels = cv2.resize(data.coffee()[:, 100:500], (side, side), interpolation=cv2.INTER_AREA)
    luma = enhanced(opened(name, backend), np.rint(pixels * 0.2).astype(np.uint8), exposure=0.3) @ [0.299, 0.587, 0.114]
    assert luma.mean() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("name", ["ema-cyclegan", "drs-cyclegan"])
@pytest.mark.parametrize("size", [(64, 96), (40, 200)])
def test_validation_scores_what_a_user_gets(opened, name, size):
    runner = opened(name, "torch")
    spec, pixels = runner.spec, dark(*size)
    judge = Judge(
        *([], []),
        multiple=spec.multiple,
        smallest=spec.smallest,
        thumbnail_side=spec.thumbnail,
        device=torch.device("cpu"),
        autocast=contextlib.nullcontext,
    )
    with torch.inference_mode():
        output, truth = judge.output(runner.network, Pair("a", pixels, pixels))
    assert output.shape == truth.shape == (1, 3, *size)
    wanted = enhanced(runner, pixels)
    assert np.abs(output[0].numpy().transpose(1, 2, 0).clip(0, 1) - wanted).mean() < 0.002


@pytest.mark.parametrize("name", ROWS)
def test_the_row_states_the_number_of_parameters(name):
    spec = manifest.find(name)
    network = models.module(spec.arch).build(**spec.params)
    assert sum(p.numel() for p in network.parameters()) == spec.parameters


@pytest.mark.parametrize("name", ROWS)
def test_no_weight_is_denormal(name):
    spec = manifest.find(name)
    for key, value in models.load(spec, weights.find(spec, "torch")).state_dict().items():
        # By their bits: where denormals are flushed they compare as zero.
        bits = value.float().contiguous().view(torch.int32)
        assert not (((bits & 0x7F800000) == 0) & ((bits & 0x007FFFFF) != 0)).any(), key


def test_weights_of_another_network_are_refused_by_name():
    spec = manifest.find("aux-retinex")
    with pytest.raises(ModelUnavailable, match="does not fit aux-retinex"):
        models.load(spec, weights.find(manifest.find("neid"), "torch"))


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelUnavailable):
        models.load(manifest.find("neid"), path)
    torch.save(Evil(), path)
    with pytest.raises(ModelUnavailable):
        models.load(manifest.find("neid"), path)
    assert not (tmp_path / "owned").exists()


def test_own_weights_run_on_both_back_ends(tmp_path):
    from lowlight_cli.nn.state import save_weights

    torch.manual_seed(0)
    save_weights(tmp_path / "mine.safetensors", aux_retinex.build())
    spec = manifest.find("aux-retinex")
    outputs = []
    for backend in BACKENDS:
        runner = open_runner(spec, RunnerOptions(backend=backend, weights=tmp_path / "mine.safetensors"))
        assert runner.sha256 != spec.file("torch").sha256
        outputs.append(enhanced(runner, dark(40, 50)))
    assert np.abs(outputs[0] - outputs[1]).max() < 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_device_that_is_not_there_is_an_error_and_no_silent_cpu_run(backend):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(DeviceUnavailable, match="cuda:0"):
        open_runner(manifest.find("aux-retinex"), RunnerOptions(backend=backend, device="cuda"))


def test_what_a_model_cannot_do_is_refused():
    spec = manifest.find("aux-retinex")
    with pytest.raises(OptionError, match="no scale 2"):
        open_runner(spec, RunnerOptions(scale=2))
    with pytest.raises(OptionError, match="fp16"):
        open_runner(spec, RunnerOptions(precision="fp16"))
    with pytest.raises(OptionError, match="fp32"):
        open_runner(spec, RunnerOptions(backend="onnx", precision="bf16"))


def test_neid_without_refinement_has_the_cost_of_light_enhancement_and_fusing_alone():
    from torch.utils.flop_counter import FlopCounterMode

    def cost(network):
        vectors = network.context(torch.rand(1, 3, 112, 112), torch.tensor([0.4]))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.tile(torch.rand(1, 3, 256, 256), vectors)
        return counter.get_total_flops()

    full, plain = neid.build(), neid.build(dr=False, ff=False)
    features = 2 * 2 * 128 * 128 * 9 * (256 // 16) ** 2
    assert cost(full) == cost(plain) + features
    assert cost(full) / (256 * 256) < 60_000


def test_neid_fuses_with_shares_between_nothing_and_all():
    network = neid.build()
    shares = network.context(torch.rand(2, 3, 112, 112), torch.tensor([0.4, -1.0]))[:, 2:]
    assert shares.shape == (2, 128)
    assert ((shares > 0) & (shares < 1)).all()
    light, detail = torch.ones(1, 4, 2, 2), torch.zeros(1, 4, 2, 2)
    share = torch.tensor([[0.0, 0.25, 0.5, 1.0]])
    assert neid.FeatureFusing.fuse(light, detail, share)[0, :, 0, 0].tolist() == [0.0, 0.25, 0.5, 1.0]


def test_neid_as_in_the_paper_takes_the_plain_picture():
    network = neid.build(exposure=False, detail=False, init=0.02)
    assert network.encoder.levels[0][0].weight.shape[1] == 3
    assert network.encoder.levels[1][0].weight.std().item() == pytest.approx(0.02, rel=0.1)
    vectors = network.context(torch.rand(1, 3, 112, 112), torch.tensor([-1.0]))
    assert network.tile(torch.rand(1, 3, 32, 32), vectors, scale=2).shape == (1, 3, 64, 64)


def test_neid_refuses_fusing_without_refinement():
    with pytest.raises(ValueError, match="dr=False"):
        neid.build(dr=False)


def test_aux_retinex_deploys_one_stage_of_1345_parameters():
    assert sum(p.numel() for p in aux_retinex.build().parameters()) == 1345
    assert [branch.dilation for branch in aux_retinex.build().features.branches] == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_aux_retinex_keeps_hue_and_never_darkens():
    network = aux_retinex.build()
    pixels = torch.rand(1, 3, 24, 24) * 0.2 + 0.01
    output = network(pixels, torch.rand(1, 3, 112, 112) * 0.2, torch.tensor([0.4]))
    assert (output >= pixels - 1e-6).all()
    ratio = output / pixels
    assert torch.allclose(ratio[:, 0], ratio[:, 2], rtol=1e-4)
