"""The ONNX Runtime runner: what memory it holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lowlight_cli.runners import onnx

SCRIPT = """
import json, os, sys
from pathlib import Path
import numpy as np
from lowlight_cli import manifest
from lowlight_cli.runners import RunnerOptions, open_runner
from lowlight_cli.runners.onnx import PATIENCE

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

runner = open_runner(manifest.models()["neid"], RunnerOptions(backend="onnx", device="cpu", threads=1))
vectors = runner.context(np.full((1, 3, 112, 112), 0.1, np.float32), None)
small, large = (np.full((1, 3, side, side), 0.1, np.float32) for side in (160, 1024))
megabytes, outputs = [], []
for batch in (small, large, *[small] * (PATIENCE - 1), large, *[small] * (PATIENCE + 1)):
    outputs.append(runner(batch, vectors)[0, 0, 0].tolist())
    megabytes.append(held())
print(json.dumps({"megabytes": megabytes, "same": outputs[0] == outputs[2] == outputs[-2] == outputs[-1]}))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell a process's memory")
def test_memory_of_a_large_picture_goes_back_when_several_small_ones_follow() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    first, large, *between, small, last = found["megabytes"]
    assert large - first > 100
    assert min(between) > large - 20, "a large one may come again"
    assert small - first < 0.5 * (large - first)
    assert last <= small + 20
    assert found["same"]


def test_what_onnx_runtime_misses_of_cuda_is_not_said_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnx.onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnx.onnxruntime, "preload_dlls", lambda: print("Failed to load libcublas"))
    name, options = onnx.OnnxRunner.wanted_provider(SimpleNamespace(device="cuda:1"))
    assert (name, options["device_id"]) == ("CUDAExecutionProvider", "1")
    assert capsys.readouterr() == ("", "Failed to load libcublas\n")
