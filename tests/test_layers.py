"""The house: imports point down, only the CLI knows Click, modules stay small, and --help stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "lowlight_cli"
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    {"cli"},
    {"tasks"},
    {"report"},
    {"enhancer"},
    {"tile_choice"},
    {"runners", "training", "data", "metrics"},
    {"models"},
    {"nn", "classical"},
]
"""From the top. A module imports from its own part, from lower layers, and from the core: whatever is not named."""
CORE = len(LAYERS)

HEAVY = "numpy torch onnxruntime cv2 PIL rich huggingface_hub onnx scipy safetensors accelerate jinja2 yaml"


def layer(module: str) -> tuple[int, str]:
    """Where `lowlight_cli.a.b` stands, and the part of the package it belongs to."""
    part = [*module.split("."), ""][1]
    return next((depth for depth, parts in enumerate(LAYERS) if part in parts), CORE), part


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imports(source: str, module: str, package: bool = False) -> Iterator[str]:
    """Full names of what a module imports, inside functions too, but not under `if TYPE_CHECKING`."""

    class Finder(ast.NodeVisitor):
        def __init__(self) -> None:
            self.names: list[str] = []

        def visit_If(self, node: ast.If) -> None:
            parts = node.orelse if ast.unparse(node.test).endswith("TYPE_CHECKING") else [*node.body, *node.orelse]
            for part in parts:
                self.visit(part)

        def visit_Import(self, node: ast.Import) -> None:
            self.names += [alias.name for alias in node.names]

        def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
            up = module.split(".")
            up = up[: len(up) - node.level + package] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            self.names += [f"{base}.{alias.name}" for alias in node.names]

    finder = Finder()
    finder.visit(ast.parse(source))
    yield from finder.names


def upward(module: str, names: Iterator[str]) -> list[str]:
    """Imports that do not point down."""
    depth, part = layer(module)
    found = [(name, *layer(name)) for name in names if name.split(".")[0] == "lowlight_cli"]
    return [
        f"{module} imports {name}"
        for name, below, other in found
        if (other != part and below <= depth < CORE) or below < depth == CORE
    ]


def test_imports_point_down() -> None:
    assert len(MODULES) > 40
    wrong = []
    for path in MODULES:
        module = name_of(path)
        if module not in ("lowlight_cli", "lowlight_cli.__main__"):  # the two entrances
            wrong += upward(module, imports(path.read_text(), module, path.stem == "__init__"))
    assert not wrong


@pytest.mark.parametrize(
    ("module", "line", "allowed"),
    [
        ("lowlight_cli.tasks.enhance", "from lowlight_cli.cli.console import Console", False),
        ("lowlight_cli.runners.onnx", "def f():\n    from lowlight_cli import enhancer", False),
        ("lowlight_cli.runners.onnx", "import lowlight_cli.training.loop", False),
        ("lowlight_cli.jobs", "from . import runners", False),
        ("lowlight_cli.nn.losses", "from ..models import neid", False),
        ("lowlight_cli.models.neid", "from lowlight_cli.nn import losses", True),
        ("lowlight_cli.tasks.enhance", "from lowlight_cli.enhancer import Enhancer", True),
        ("lowlight_cli.tasks.enhance", "from lowlight_cli.tasks import pipe", True),
        ("lowlight_cli.jobs", "from . import picture", True),
        ("lowlight_cli.jobs", "if TYPE_CHECKING:\n    from lowlight_cli.cli import group", True),
    ],
)
def test_this_test_sees_an_arrow_that_points_up(module: str, line: str, allowed: bool) -> None:
    assert bool(upward(module, imports(line, module))) != allowed


def test_only_the_cli_imports_click() -> None:
    users = {path for path in MODULES for name in imports(path.read_text(), name_of(path)) if name.startswith("click")}
    assert users
    assert all(path.parent.name == "cli" for path in users)


@pytest.mark.parametrize(
    "part", ["choices", "cli", "jobs", "manifest", "errors", "atomic", "weights", "memory", "stopwatch"]
)
def test_parts_without_pixels_import_no_arrays(part: str) -> None:
    paths = [path for path in MODULES if name_of(path).split(".")[1:2] == [part]]
    names = [name for path in paths for name in imports(path.read_text(), name_of(path))]
    assert names
    assert not [name for name in names if name.split(".")[0] in ("numpy", "torch", "cv2", "PIL", "onnxruntime")]


def test_torch_is_imported_only_where_tensors_may_be() -> None:
    allowed = (
        "models",
        "nn",
        "training",
        "data",
        "runners.pytorch",
        "runners.cuda",
        "runners.device_frames",
        "runners.export",
        "runners.graphs",
        "metrics.perceptual",
        "tasks.train",
    )
    users = [
        name_of(path).removeprefix("lowlight_cli.")
        for path in MODULES
        if any(name.split(".")[0] == "torch" for name in imports(path.read_text(), name_of(path)))
    ]
    assert [module for module in users if not module.startswith(allowed)] == []
    assert [place for place in allowed if not any(module.startswith(place) for module in users)] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_longer_than_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def loaded(code: str, *words: str, of: str = HEAVY) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """Which of the heavy packages a fresh Python holds after `code`."""
    tail = f"\nimport sys\nprint('LOADED', *[name for name in {of.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + tail, *words], capture_output=True, text=True, check=False)
    assert "LOADED" in done.stdout, done.stderr
    return {*done.stdout.split("LOADED")[1].split()}, done


MAIN = "import lowlight_cli.cli\ntry: lowlight_cli.cli.main()\nexcept SystemExit as e: assert not e.code, e.code"


@pytest.mark.parametrize("words", [(), ("enhance",), ("models",), ("doctor",)])
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    heavy, done = loaded(MAIN, *words, "--help")
    assert "Usage: lowlight" in done.stdout
    assert not heavy


def test_importing_the_library_imports_nothing_heavy() -> None:
    heavy, _ = loaded("import lowlight_cli")
    assert not heavy


def test_enhancing_through_onnx_runtime_never_imports_torch(photo: Callable[..., Path], tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png", 24, 40)
    words = ("enhance", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--device", "cpu", "--threads", "1")
    heavy, done = loaded(MAIN, *words)
    assert (tmp_path / "out" / "a.png").exists(), done.stderr
    assert heavy == {"numpy", "onnxruntime", "cv2", "PIL"}


def test_reading_a_jpeg_imports_the_parts_of_pillow_for_jpeg_alone(photo: Callable[..., Path], tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg")
    code = f"from lowlight_cli import picture\nimport pathlib\npicture.load(pathlib.Path({str(path)!r}))"
    parts = "PIL.JpegImagePlugin PIL.PngImagePlugin PIL.GifImagePlugin PIL.BmpImagePlugin PIL.ImageCms"
    assert loaded(code, of=parts)[0] == {"PIL.JpegImagePlugin"}


def test_at_its_end_the_command_leaves_the_collector_nothing_to_search() -> None:
    told = "import atexit, gc\natexit.register(lambda: print(gc.get_freeze_count(), len(gc.get_objects())))\n"
    done = subprocess.run([sys.executable, "-c", told + MAIN, "--help"], capture_output=True, text=True, check=True)
    frozen, left = map(int, done.stdout.split("\n")[-2].split())
    assert frozen > 1000 > left


def test_an_export_of_a_file_of_weights_needs_nothing_that_only_trainings_do() -> None:
    code = "import sys, lowlight_cli.tasks.export as e; sys.exit('accelerate' in sys.modules or 'yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
