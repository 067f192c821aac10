"""What every test gets: a fresh machine without network. And a model that costs nothing."""

from __future__ import annotations

import io
import json
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_runner import FakeRunner
from hub_server import isolate, row
from hypothesis import settings
from PIL import Image

from lowlight_cli import cli, enhancer
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.runners import RunnerOptions
from lowlight_cli.tasks import enhance as task

# Whoever runs the tests in the background may have them ignore signals, and so would every process that they start.
for name in ("SIGINT", "SIGHUP"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)

# How long an example takes tells how busy the machine is.
settings.register_profile("lowlight", deadline=None)
settings.load_profile("lowlight")


@pytest.fixture(autouse=True)
def isolation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Empty homes, no settings of the machine's, no socket to anywhere else, signals as they were."""
    isolate(monkeypatch, tmp_path)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, only_loopback(getattr(socket.socket, name)))
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def only_loopback(connect: Callable[..., Any]) -> Callable[..., Any]:
    def connect_here(self: socket.socket, address: Any) -> Any:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test would connect to {address}")
        return connect(self, address)

    return connect_here


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of the test, in which it runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def seeded() -> None:
    """PyTorch draws the same in every run."""
    import torch

    torch.manual_seed(0)


@pytest.fixture
def spec() -> ModelSpec:
    """A row that asks for multiples of 4 and a halo of 8."""
    return row(name="fake", scales=(1, 2))


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, spec: ModelSpec) -> list[FakeRunner]:
    """Every model that is opened is a fake one, which doubles the values; the list holds them."""
    opened: list[FakeRunner] = []

    def open_fake(_: ModelSpec, options: RunnerOptions) -> FakeRunner:
        opened.append(FakeRunner(spec, options.scale, deterministic=options.deterministic))
        return opened[-1]

    for module in (enhancer, task):
        monkeypatch.setattr(module, "open_runner", open_fake)
    return opened


@pytest.fixture
def photo() -> Callable[..., Path]:
    """Makes a small dark picture file, noise under `top` unless `value` is given, folders included."""

    def make(path: Path, height: int = 6, width: int = 8, *, value: int | None = None, top: int = 60) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(height * width)
        pixels = rng.integers(0, top, (height, width, 3), np.uint8)
        if value is not None:
            pixels[:] = value
        Image.fromarray(pixels).save(path)
        return path

    return make


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., SimpleNamespace]:
    """The whole command in this process: `code`, `out` (bytes), `err` (text), `lines` (JSON)."""

    def run(*words: object, stdin: bytes = b"") -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["lowlight", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfdbinary.readouterr()
        lines = [json.loads(line) for line in out.splitlines()] if "--json" in words else None
        return SimpleNamespace(code=ended.value.code or 0, out=out, err=err.decode(), lines=lines)

    return run
