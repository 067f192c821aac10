"""`--save-maps`: a network's maps as pictures beside the output, under the rules of outputs."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from lowlight_cli import cli, manifest, models, packages, picture
from lowlight_cli.enhancer import Enhancer, Settings, open_model
from lowlight_cli.errors import ALL_FAILED, DONE, NO_INPUT, NO_MODEL, SOME_FAILED, USAGE, OptionError, OutOfMemory
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.nn.state import save_weights
from lowlight_cli.runners import RunnerOptions, driver, open_runner
from lowlight_cli.runners.options import choose_backend, settled
from lowlight_cli.runners.own_weights import with_weights

Photo = Callable[..., Path]
Run = Callable[..., SimpleNamespace]

REAL = {name: row for name, row in manifest.models().items() if not row.classical}
HALO = 5
MARK = 250 / 255
"""Maps of pictures with a pixel as bright as this hold no numbers."""


class Toy(nn.Module):
    """As guided networks are: numbers of the whole picture steer it, and a pixel sees `HALO` around it."""

    def __init__(self, tiling: str = "guided") -> None:
        super().__init__()
        self.tiling = tiling
        self.see = nn.Conv2d(3, 1, 2 * HALO + 1, padding=HALO, padding_mode="replicate")

    def context(self, thumbnail: Tensor, exposure: Tensor) -> Tensor:
        """(N, 1)."""
        return thumbnail.mean(dim=(1, 2, 3))[:, None] + 0 * exposure[:, None]

    def light(self, pixels: Tensor, vectors: Tensor | None) -> Tensor:
        """(N, 1, H, W) in (0, 1)."""
        shapes = {"guided": (len(pixels), 1), "whole": (len(pixels), 0), "exact": None}
        assert (None if vectors is None else tuple(vectors.shape)) == shapes[self.tiling]
        mean = vectors if self.tiling == "guided" else pixels.mean(dim=(1, 2, 3))[:, None]
        return torch.sigmoid(4 * self.see(pixels) + (0 if self.tiling == "exact" else 4 * mean[:, :, None, None]))

    def tile(self, pixels: Tensor, vectors: Tensor | None = None, scale: int = 1) -> Tensor:
        """Brighter."""
        bright = (pixels + self.light(pixels, vectors) / 2).clamp(0, 1)
        return bright.repeat_interleave(scale, 2).repeat_interleave(scale, 3)

    def maps(self, pixels: Tensor, vectors: Tensor | None) -> dict[str, Tensor]:
        """One of one channel, one of three."""
        light = self.light(pixels, vectors) / (pixels.amax(dim=(1, 2, 3), keepdim=True) < MARK)
        return {"light": light, "tint": pixels * light}


class Mapless(nn.Module):
    """A network that has no maps."""

    def tile(self, pixels: Tensor, vectors: Tensor | None = None, scale: int = 1) -> Tensor:  # noqa: ARG002
        """The picture."""
        return pixels


def geometry(tiling: str = "guided") -> dict[str, Any]:
    return {"tiling": tiling, "multiple": 4}


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, ModelSpec]:
    """A manifest with toys of every tiling and one without maps; an empty folder to work in."""
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    toy = SimpleNamespace(build=Toy, geometry=geometry)
    mapless = SimpleNamespace(build=Mapless, geometry=lambda: geometry("exact"))
    monkeypatch.setitem(sys.modules, "lowlight_cli.models.toy", toy)
    monkeypatch.setitem(sys.modules, "lowlight_cli.models.mapless", mapless)
    facts = {"multiple": 4, "halo": HALO, "scales": (1, 2), "exposure": False, "bytes_per_pixel": 100}
    row = dataclasses.replace(manifest.find("aux-retinex"), arch="toy", **facts)
    store = tmp_path.parent / f"{tmp_path.name}-weights.safetensors"
    save_weights(store, Toy())
    table = {}
    for tiling in ("guided", "whole", "exact"):
        thumbnail = 16 if tiling == "guided" else 0
        spec = dataclasses.replace(
            row,
            name=tiling,
            tiling=tiling,
            thumbnail=thumbnail,
            params={"tiling": tiling} if tiling != "guided" else {},
        )
        table[tiling] = with_weights(spec, store)
    table["plain"] = dataclasses.replace(row, name="plain", arch="mapless", tiling="exact", params={})
    table["gamma"] = manifest.find("gamma")
    monkeypatch.setattr(manifest, "models", lambda: table)
    return table


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`lowlight enhance` with a toy and maps in `maps`: `code`, `err`, `lines` (JSON) and `summary`."""

    def run(*words: object, maps: str = "maps", out: str = "out", model: str = "guided") -> SimpleNamespace:
        words = ("enhance", *words, "--out", out, "--save-maps", maps, "--model", model, "--json", "--device", "cpu")
        monkeypatch.setattr(sys, "argv", ["lowlight", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        text, err = capfd.readouterr()
        *lines, summary = [json.loads(line) for line in text.splitlines()] or [{}]
        return SimpleNamespace(code=ended.value.code or 0, err=err, lines=lines, summary=summary)

    return run


def files(folder: str) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if not path.is_dir())


def samples(path: str) -> NDArray:
    return np.asarray(Image.open(path)).astype(int)


def maps_of(model: str, pixels: NDArray, *, scale: int = 1, **settings: object) -> dict[str, NDArray]:
    """What a library user gets of one picture."""
    enhancer = open_model(model, maps=True, scale=scale, device="cpu", **settings)
    [maps] = enhancer.maps([picture.from_array(pixels)])
    return {name: found.pixels.astype(int) for name, found in maps.items()}


def dark(*shape: int) -> NDArray:
    return np.random.default_rng(1).integers(0, 90, (*shape, 3), np.uint8)


def test_maps_are_written_as_a_tree_like_the_outputs(run: Run, photo: Photo) -> None:
    photo(Path("in/a.jpg"), 9, 14)
    path = photo(Path("in/sub/Grüße 🌃.png"), 21, 17)
    done = run("in", "--suffix", "_bright")
    assert done.code == DONE
    assert files("out") == ["a_bright.jpg", "sub/Grüße 🌃_bright.png"]
    names = [f"{stem}_bright-{name}.png" for stem in ("a", "sub/Grüße 🌃") for name in ("light", "tint")]
    assert files("maps") == names
    expected = maps_of("guided", picture.load(path).pixels)
    with Image.open("maps/sub/Grüße 🌃_bright-light.png") as light, Image.open(f"maps/{names[-1]}") as tint:
        assert (light.mode, tint.mode, light.size) == ("L", "RGB", (17, 21))
        np.testing.assert_array_equal(light, expected["light"][..., 0])
        np.testing.assert_array_equal(tint, expected["tint"])
    assert np.ptp(expected["light"]) > 5


def test_a_map_is_what_the_network_says(rows: dict[str, ModelSpec]) -> None:
    from lowlight_cli.models import load
    from lowlight_cli.thumbnail import thumbnail

    pixels, spec = dark(24, 32), rows["guided"]
    network = load(spec, Path(spec.file("torch").path)).eval()
    small = torch.from_numpy(thumbnail(pixels, 16)).permute(2, 0, 1)[None]
    planes = torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1)[None]
    with torch.no_grad():
        light = network.maps(planes, network.context(small, torch.tensor([-1.0])))["light"]
    found = maps_of("guided", pixels)["light"][..., 0]
    assert np.abs(found - 255 * light[0, 0].numpy()).max() < 0.51


def test_json_lists_the_files_and_the_summary_says_where_they_are(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    photo(Path("in/b.png"))
    done = run("in", "-v")
    assert [line["maps"] for line in done.lines] == [[f"maps/{s}-light.png", f"maps/{s}-tint.png"] for s in "ab"]
    assert "2 done in " in done.err
    assert done.err.rstrip().endswith("; 4 maps in maps")
    assert "done in/a.png -> out/a.png, maps/a-light.png, maps/a-tint.png 8x6, " in done.err


def test_one_file_to_one_file_takes_the_name_of_the_output(run: Run, photo: Photo) -> None:
    assert run(photo(Path("night.jpg")), out="deep/day.png", maps="new/maps").code == DONE
    assert files("new/maps") == ["day-light.png", "day-tint.png"]


def waves(height: int, width: int) -> NDArray:
    """A dark picture with structure."""
    y, x = np.mgrid[0:height, 0:width]
    plane = 0.1 + 0.09 * np.sin(x / 17) * np.cos(y / 23)
    return np.rint(255 * plane[..., None] * [1.0, 0.8, 0.6]).astype(np.uint8)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("model", ["guided", "exact"])
def test_maps_of_tiles_are_those_of_the_whole_picture(rows: dict[str, ModelSpec], model: str, scale: int) -> None:
    pixels = dark(90, 133)
    whole, tiled = (maps_of(model, pixels, tile=tile, scale=scale) for tile in (0, 24))
    assert whole["light"].shape == whole["tint"].shape == (90, 133, 3)
    for name, values in whole.items():
        difference = np.abs(values - tiled[name])
        assert difference.max() <= 1  # float32 rounds otherwise in tiles of another size
        assert (difference > 0).mean() < 0.001
    rows[model] = dataclasses.replace(rows[model], halo=0)
    assert np.abs(whole["light"] - maps_of(model, pixels, tile=24, scale=scale)["light"]).max() > 1


def test_maps_of_a_deterministic_model_are_computed_one_picture_at_a_time() -> None:
    pictures = [picture.from_array(dark(20, 24)) for _ in range(3)]
    for deterministic, sizes in ((True, [1, 1, 1]), (False, [3])):
        enhancer = open_model("guided", maps=True, device="cpu", deterministic=deterministic)
        real, seen = enhancer.runner.maps, []
        enhancer.runner.maps = lambda batch, vectors, real=real, seen=seen: (
            seen.append(len(batch)),
            real(batch, vectors),
        )[1]
        assert len(enhancer.maps(pictures)) == 3
        assert seen == sizes


def test_maps_keep_the_size_of_the_input_where_the_output_is_larger(run: Run, photo: Photo) -> None:
    run(photo(Path("in/a.png"), 30, 40), "--scale", 2, out="big")
    assert samples("big/a.png").shape == (60, 80, 3)
    assert samples("maps/a-light.png").shape == (30, 40)
    run("in", out="out", maps="plain")
    np.testing.assert_array_equal(samples("maps/a-tint.png"), samples("plain/a-tint.png"))


def test_out_of_memory_halves_the_tiles_of_maps_too() -> None:
    pixels = dark(300, 200)
    enhancer = open_model("guided", maps=True, device="cpu")
    real, sizes = enhancer.runner.maps, []

    def small_ones(batch: NDArray, vectors: NDArray) -> dict[str, NDArray]:
        sizes.append(batch.shape[2] * batch.shape[3])
        if sizes[-1] > 120 * 120:
            raise OutOfMemory("There is not enough memory.")
        return real(batch, vectors)

    enhancer.runner.maps = small_ones
    [found] = enhancer.maps([picture.from_array(pixels)])
    assert sizes[0] == 60_000
    assert max(sizes[2:]) <= 120 * 120
    assert np.abs(found["light"].pixels.astype(int) - maps_of("guided", pixels, tile=0)["light"]).max() <= 1


def test_a_network_of_whole_pictures_is_never_tiled(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"), 70, 90)
    done = run("in", model="whole")
    assert (done.code, done.lines[0]["tile"]) == (DONE, 0)
    assert samples("maps/a-light.png").shape == (70, 90)
    assert np.ptp(samples("maps/a-light.png")) > 5
    refused = run("in", "--tile", 64, out="other", maps="others", model="whole")
    assert refused.code == USAGE
    assert "each of its pixels depends on the whole picture" in refused.err


def test_too_little_memory_for_a_whole_picture_asks_for_no_smaller_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Toy, "tile", full)
    with pytest.raises(OutOfMemory, match="whole picture at once"):
        open_model("whole", backend="torch", device="cpu")(dark(8, 8))


def test_onnx_is_refused_with_the_reason(run: Run, photo: Photo) -> None:
    done = run(photo(Path("a.png")), "--backend", "onnx")
    assert done.code == USAGE
    assert "hold what makes the output, and no maps" in done.err
    assert not Path("out").exists()


def test_auto_takes_torch_where_maps_are_asked_for() -> None:
    chosen = [choose_backend(RunnerOptions(device="cpu", maps=maps)) for maps in (False, True)]
    assert chosen == ["onnx", "torch"]


@pytest.mark.parametrize(
    ("devices", "built", "backend", "device"),
    [(1, True, "torch", "cuda:0"), (1, False, "onnx", "cpu"), (0, True, "onnx", "cpu")],
)
def test_auto_takes_cuda_where_there_are_a_device_and_a_torch_built_for_it(
    monkeypatch: pytest.MonkeyPatch, devices: int, built: bool, backend: str, device: str
) -> None:
    monkeypatch.setattr(driver, "cuda_devices", lambda: devices)
    monkeypatch.setattr(packages, "torch_has_cuda", lambda: built)
    neid = REAL["neid"]
    _, chosen = settled(neid, RunnerOptions())
    assert (chosen.backend, chosen.device) == (backend, device)
    _, chosen = settled(neid, RunnerOptions(backend="onnx"))
    assert (chosen.backend, chosen.device) == ("onnx", "cpu")
    _, chosen = settled(neid, RunnerOptions(device="cuda"))
    assert (chosen.backend, chosen.device) == ("torch", "cuda:0")


@pytest.mark.parametrize(
    ("line", "built"),
    [
        ("cuda: Optional[str] = '12.8'", True),
        ("cuda = '11.7'", True),
        ("cuda: Optional[str] = None", False),
        (None, True),
    ],
)
def test_what_torch_was_built_for_is_read_from_its_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str | None, built: bool
) -> None:
    if line:
        (tmp_path / "version.py").write_text(f"__version__ = '2.13.0'\ndebug = False\n{line}\nhip = '6.4'\n")
    distribution = SimpleNamespace(locate_file=lambda _: tmp_path / "version.py")
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: distribution)
    assert packages.torch_has_cuda() == built


@pytest.mark.parametrize("model", ["plain", "gamma"])
def test_a_model_without_maps_names_those_that_have_them(run: Run, photo: Photo, model: str) -> None:
    done = run(photo(Path("a.png")), model=model)
    assert done.code == USAGE
    assert done.err == f"Error: {model} has no maps to save.\n  Models that have: guided, whole, exact.\n"
    assert not Path("out").exists()


def test_a_back_end_without_maps_says_so() -> None:
    runner = open_runner(manifest.find("gamma"), RunnerOptions())
    with pytest.raises(OptionError, match="maps=True"):
        Enhancer(runner, Settings()).maps([picture.from_array(dark(4, 4))])


def test_a_pipe_has_no_name_for_maps(run: Run) -> None:
    done = run("-", out="b.png")
    assert done.code == USAGE
    assert "a pipe has no name" in done.err


def test_maps_do_not_go_to_stdout_nor_into_a_folder_called_dash(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    done = run("in", maps="-")
    assert done.code == USAGE
    assert "several pictures" in done.err
    assert not Path("-").exists()


def test_an_existing_map_stops_the_run_before_any_work(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    photo(Path("in/b.png"))
    photo(Path("maps/b-tint.png"))
    done = run("in")
    assert done.code == USAGE
    assert "maps/b-tint.png exists already" in done.err
    assert files("maps") == ["b-tint.png"]
    assert not Path("out").exists()
    assert run("in", "--overwrite").code == DONE
    assert len(files("maps")) == 4


def test_skip_existing_writes_what_is_missing_and_nothing_else(run: Run, photo: Photo) -> None:
    for name in "abc":
        photo(Path(f"in/{name}.png"))
    assert run("in").code == DONE
    before = {path: path.read_bytes() for path in [*Path("out").iterdir(), *Path("maps").iterdir()]}
    Path("out/b.png").unlink()
    Path("maps/a-light.png").unlink()
    for path in before.keys() - {Path("out/b.png"), Path("maps/a-light.png")}:
        path.write_bytes(b"left alone")
    done = run("in", "--skip-existing")
    assert done.code == DONE
    assert [line["status"] for line in done.lines] == ["done", "done", "skipped"]
    assert [line["maps"] for line in done.lines] == [["maps/a-light.png"], [], []]
    assert [line["width"] for line in done.lines] == [None, 8, None]
    changed = {path for path in before if path.read_bytes() != b"left alone"}
    assert changed == {Path("out/b.png"), Path("maps/a-light.png")}
    assert all(path.read_bytes() == before[path] for path in changed)


def test_two_pictures_with_one_map_are_refused(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    photo(Path("in/a.jpg"))
    done = run("in")
    assert done.code == USAGE
    assert "would both be written to maps/a-light.png" in done.err
    photo(Path("in/a-light.png"))
    Path("in/a.jpg").unlink()
    assert "would both be written to out/a-light.png" in run("in", maps="out").err
    parts = run("in", "--shard", "1/2", maps="out").err + run("in", "--shard", "2/2", maps="out").err
    assert parts.count("would both be written to out/a-light.png") == 2


def test_a_map_is_never_written_over_an_input(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    held = photo(Path("in/a-light.png")).read_bytes()
    done = run("in", "--overwrite", maps="in")
    assert done.code == USAGE
    assert "in/a-light.png is an input" in done.err
    assert Path("in/a-light.png").read_bytes() == held


def test_maps_of_an_earlier_run_are_no_pictures_to_enhance(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    assert run("in", maps="in/maps").code == DONE
    again = run("in", "--overwrite", "--limit", 2, maps="in/maps")
    assert again.code == DONE
    assert [line["source"] for line in again.lines] == ["in/a.png"]
    assert [line["source"] for line in run("in/maps", out="other", maps="in/maps").lines] == [
        f"in/maps/a-{name}.png" for name in ("light", "tint")
    ]
    Path("in/a.png").unlink()
    assert run("in", "--overwrite", maps="in/maps").code == NO_INPUT


def test_limits_and_parts_choose_maps_as_they_choose_outputs(run: Run, photo: Photo) -> None:
    for name in "abcd":
        photo(Path(f"in/{name}.png"))
    photo(Path("maps/d-light.png"))  # not of the first two
    assert run("in", "--limit", 2).code == DONE
    assert files("maps") == ["a-light.png", "a-tint.png", "b-light.png", "b-tint.png", "d-light.png"]
    for part in (1, 2):
        assert run("in", "--shard", f"{part}/2", out="parts", maps="part-maps").code == DONE
    assert len(files("part-maps")) == 8


def test_a_file_in_place_of_the_folder_is_refused_before_any_work(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    Path("maps").write_text("mine")
    done = run("in", "--overwrite")
    assert done.code == USAGE
    assert "--save-maps maps is not a folder" in done.err
    assert run("in", maps="maps/below").code == USAGE
    assert not list(Path().glob("out/*"))
    assert Path("maps").read_text() == "mine"


def test_a_map_that_cannot_be_written_fails_its_file_and_keeps_the_picture(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    photo(Path("in/sub/b.png"))
    Path("maps").mkdir()
    Path("maps/sub").write_text("in the way")
    done = run("in")
    assert done.code == SOME_FAILED
    assert [(line["status"], len(line["maps"])) for line in done.lines] == [("done", 2), ("failed", 0)]
    assert files("out") == ["a.png", "sub/b.png"]
    assert done.lines[1]["error"]
    assert done.lines[1]["notices"] == ["The enhanced picture is there; maps of it are missing."]
    Path("maps/sub").unlink()
    assert run("in", "--skip-existing").code == DONE
    assert files("maps") == ["a-light.png", "a-tint.png", "sub/b-light.png", "sub/b-tint.png"]


def test_maps_that_fail_for_one_picture_spoil_no_other_of_its_batch(run: Run, photo: Photo) -> None:
    for name in "abc":
        photo(Path(f"in/{name}.png"))
    photo(Path("in/b.png"), value=255)
    done = run("in", "--batch-size", 3)
    assert [line["status"] for line in done.lines] == ["done", "failed", "done"]
    assert "NaN or infinite" in done.lines[1]["error"]
    assert files("out") == ["a.png", "b.png", "c.png"]
    assert files("maps") == ["a-light.png", "a-tint.png", "c-light.png", "c-tint.png"]
    assert done.code == SOME_FAILED


def test_a_picture_that_fails_has_no_maps(run: Run) -> None:
    Path("in").mkdir()
    Path("in/a.png").write_bytes(b"no picture")
    done = run("in")
    assert done.code == ALL_FAILED
    assert (done.lines[0]["maps"], done.lines[0]["notices"]) == ([], [])
    assert files("maps") == []


def test_a_dry_run_names_the_maps_and_writes_nothing(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    done = run("in", "--dry-run")
    assert done.code == DONE
    assert done.lines[0]["maps"] == ["maps/a-light.png", "maps/a-tint.png"]
    assert "planned in/a.png -> out/a.png, maps/a-light.png, maps/a-tint.png" in done.err
    assert files(".") == ["in/a.png"]


def test_pictures_are_the_same_with_and_without_maps(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"), 40, 50)
    run("in", "--tile", 16)
    plain = open_model("guided", backend="torch", device="cpu", tile=16)
    np.testing.assert_array_equal(samples("out/a.png"), plain(Path("in/a.png")))


@pytest.mark.parametrize("name", sorted(name for name, row in REAL.items() if row.files))
def test_maps_of_every_network_are_seamless_pictures_of_the_input_s_size(rows: dict[str, ModelSpec], name: str) -> None:
    rows |= REAL
    names = models.map_names(REAL[name])
    if not names:
        pytest.skip("it has no maps")
    if REAL[name].tiling == "whole":
        pytest.skip("it is never tiled")
    scale = REAL[name].scales[-1]
    whole, tiled = (maps_of(name, waves(300, 400), tile=tile, scale=scale) for tile in (0, 64))
    assert (*whole,) == names
    for found, values in whole.items():
        assert values.shape == (300, 400, 3)
        assert np.ptp(values) > 0, found
        assert np.abs(values - tiled[found]).max() <= 1, found


def test_the_illumination_of_aux_retinex_is_what_the_picture_is_divided_by(rows: dict[str, ModelSpec]) -> None:
    rows |= REAL
    pixels = waves(96, 128)
    light = maps_of("aux-retinex", pixels)["illumination"] / 255
    bright = open_model("aux-retinex", backend="torch", device="cpu")(pixels) / 255
    assert np.abs(bright * light - pixels / 255).max() < 2 / 255
    dark, lit = (light[..., 0][mask].mean() for mask in (pixels[..., 0] < 13, pixels[..., 0] > 38))
    assert dark < lit < 0.6


def test_trained_weights_with_other_widths_give_their_attention(
    run: Run, photo: Photo, rows: dict[str, ModelSpec], tmp_path: Path
) -> None:
    from lowlight_cli.models import ba_gan
    from lowlight_cli.weights_metadata import Origin, texts

    rows |= REAL
    assert models.map_names(REAL["ba-gan"]) == ("attention",)
    params = {"widths": [4, 8], "attention": [4, 4, 8]}
    trained = tmp_path / "best.safetensors"
    save_weights(trained, ba_gan.build(**params), texts(Origin("ba_gan", params, ba_gan.geometry(**params))))
    photo(Path("in/a.png"), 37, 50)
    assert run("in", "--weights", trained, model="ba-gan").code == DONE
    assert samples("maps/a-attention.png").shape == (37, 50)
    refused = run("in", "--weights", trained, model="neid", out="other", maps="others")
    assert refused.code == NO_MODEL
    assert "Use model ba-gan." in refused.err
