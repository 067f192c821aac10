"""benchmarks/speed.py: ratios within rounds, the roofline's arithmetic, bars, and the page, from made-up figures."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Gives a script of benchmarks/ as a module; it finds those beside it."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.mark.parametrize("name", ["enhance_worker", "speed_worker", "report_check"])
def test_a_script_that_others_start_answers_help_without_what_it_needs(name: str) -> None:
    words = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage:" in done.stdout


def event(name: str, kind: str, inputs: list[list[int]], output: list[int], ms: float = 1.0) -> dict[str, Any]:
    """What ONNX Runtime's profiler tells of one float32 node of one run; the first input is no parameter."""
    sizes = [4 * area(shape) for shape in inputs]
    told = {"op_name": kind, "node_index": name, "output_size": str(4 * area(output))}
    told |= {"activation_size": str(sizes[0]), "parameter_size": str(sum(sizes[1:]))}
    told |= {"input_type_shape": [{"float": s} for s in inputs], "output_type_shape": [{"float": output}]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": 1e3 * ms, "args": told}


def area(shape: list[int]) -> int:
    return shape[0] * area(shape[1:]) if shape else 1


def about(date: str = "2026-01-01", **settings: Any) -> dict[str, Any]:
    """A machine that nothing else keeps busy."""
    settings = {"quick": False, "photos": False, "environment": {}, **settings}
    told = {"cpu": "some", "cores": {"used": 2, "of": 2}, "system": "Linux", "versions": {"lowlight": "1"}}
    return {**told, "commit": "a" * 40, "changed_files": 0, "date": date, "busy": 0.0, "settings": settings}


def test_what_is_compared_is_measured_in_turn_and_no_round_begins_that_would_pass_the_limit(script, monkeypatch):
    interleave = script("interleave")
    clock, order = [0.0], []

    def measure(name: str, seconds: float) -> float:
        order.append(name)
        clock[0] += seconds
        return seconds

    monkeypatch.setattr(interleave.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(interleave.time, "sleep", lambda _: None)
    work = {"a": lambda: measure("a", 3), "b": lambda: measure("b", 1)}
    assert interleave.rounds(work, 5, limit=9) == {"a": [3, 3], "b": [1, 1]}
    assert order == ["a", "b", "a", "b"]
    assert len(interleave.rounds(work, 5)["a"]) == 5
    assert len(interleave.rounds(work, 5, limit=0.1)["a"]) == 1


def test_a_ratio_is_taken_within_its_round(script):
    found = script("interleave").ratios([2.0, 30.0, 4.0], [1.0, 10.0, 4.0])
    assert found == {"median": 2.0, "min": 1.0, "max": 3.0, "all": [2.0, 3.0, 1.0]}


def test_a_worker_answers_requests_in_a_process_with_its_own_environment(script, tmp_path):
    interleave = script("interleave")
    path = tmp_path / "worker.py"
    path.write_text(
        "import os, sys\nfor line in sys.stdin: print(line.strip()[:-1] + f', {os.environ[\"N\"]}]', flush=True)"
    )
    with interleave.Worker(path, environment={"N": "7"}) as worker:
        assert worker.ask("add", 1) == ["add", 1, 7]
    assert worker.process.returncode == 0


def test_a_worker_that_ends_ends_the_run(script, tmp_path):
    (tmp_path / "worker.py").write_text("input()")
    with script("interleave").Worker(tmp_path / "worker.py") as worker, pytest.raises(SystemExit, match="'add'"):
        worker.ask("add")


@pytest.mark.parametrize(
    ("kind", "inputs", "output", "flop"),
    [
        ("Conv", [[1, 3, 10, 20], [16, 3, 3, 3], [16]], [1, 16, 10, 20], 2 * 16 * 200 * 27),
        ("Conv", [[1, 16, 10, 20], [16, 1, 3, 3]], [1, 16, 10, 20], 2 * 16 * 200 * 9),
        ("ConvTranspose", [[1, 8, 5, 5], [8, 4, 2, 2]], [1, 4, 10, 10], 0),
        ("MatMul", [[2, 5, 7], [7, 3]], [2, 5, 3], 2 * 2 * 5 * 7 * 3),
        ("Gemm", [[7, 5], [7, 3], [3]], [5, 3], 2 * 5 * 7 * 3),
        ("Relu", [[1, 3, 10, 20]], [1, 3, 10, 20], 0),
    ],
)
def test_operations_come_from_shapes(script, kind, inputs, output, flop):
    assert script("speed_roofline").flop(kind, inputs, [output]) == flop


def test_a_profile_becomes_milliseconds_bytes_and_operations_by_kind(script):
    roofline = script("speed_roofline")
    conv = [[1, 3, 8, 8], [16, 3, 1, 1]]
    events = [
        event("c", "FusedConv", conv, [1, 16, 8, 8], 90.0),  # the first run allocates
        event("r", "Reshape", [[1, 16, 8, 8]], [16, 64], 0.5),
        event("s", "Slice", [[1, 16, 8, 8], [4]], [1, 1, 8, 8], 0.25),
        event("d", "Conv", conv, [1, 16, 8, 8], 1.0),
    ]
    events += [event("c", "FusedConv", conv, [1, 16, 8, 8], ms) for ms in (5.0, 1.0, 3.0)]
    events += [e for e in events[1:4] for _ in range(3)]
    events.append({"cat": "Session", "name": "model_run", "dur": 1, "args": {}})
    kinds = roofline.by_kind(roofline.nodes(events, 4))
    assert list(kinds) == ["Conv", "Reshape", "Slice"]
    assert kinds["Conv"] == {
        "nodes": 2,
        "ms": 4.0,
        "bytes": 2 * 4 * (3 * 64 + 48 + 16 * 64),
        "flop": 2 * 2 * 16 * 64 * 3,
    }
    assert kinds["Reshape"]["bytes"] == 0
    assert kinds["Slice"]["bytes"] == 2 * 4 * 64
    assert roofline.total(kinds)["ms"] == 4.75


def test_a_profile_that_lacks_a_run_of_a_node_is_refused(script):
    with pytest.raises(ValueError, match="2 runs tells of 3 r_kernel_time 1 times"):
        script("speed_roofline").nodes(
            [event("r", "Relu", [[4]], [4]) | {"args": event("3", "Relu", [[4]], [4])["args"]}], 2
        )


@pytest.mark.parametrize(
    ("flop", "roof", "of_roof"),
    [(8e9, 40.0, 0.2), (80e9, 100.0, 0.8)],
)
def test_the_roof_is_the_lower_of_both(script, flop, roof, of_roof):
    place = script("speed_roofline").place({"flop": flop, "bytes": 2e9}, 1.0, product=100e9, copy=10e9)
    assert place["roof"] == pytest.approx(roof * 1e9)
    assert place["of_roof"] == pytest.approx(of_roof)
    assert place["of_copy"] == pytest.approx(0.2)
    assert place["intensity"] == pytest.approx(flop / 2e9)


@pytest.mark.parametrize(
    ("sense", "limit", "met"), [("at most", 2, True), ("at most", 1.9, False), ("at least", 2.1, False)]
)
def test_the_median_decides_about_a_bar(script, sense, limit, met):
    measured = script("interleave").summary([1.0, 2.0, 9.0])
    bars = script("speed_bars")
    assert bars.met(bars.bar("start", measured, sense, limit)) is met


def test_growth_is_the_last_results_by_the_first(script):
    bars = script("speed_bars")
    told = {"first": 11, "middle": 15, "last": 16.5, "growth": 1.5, "late": 1.1}
    assert bars.flat([10, 12, 14, 16, 99, 99, 16, 17], 2) == told
    with pytest.raises(ValueError, match="3 results"):
        bars.flat([1, 2, 3], 2)


@pytest.mark.parametrize(("limit", "right"), [(1, False), (2, True), (3, True), (4, True), (8, False)])
def test_a_limit_is_right_where_its_batch_is_as_fast_as_the_fastest(script, limit, right):
    found = script("speed_bars").best_batch({1: 1.0, 2: 0.82, 4: 0.80, 8: 0.9}, limit)
    assert (found["best"], found["right"]) == (4, right)


def test_a_folder_has_a_large_picture_in_forty_and_each_fourth_file_is_a_fair_sample(script):
    sizes = script("speed_pictures").mixed_sizes(200)
    assert len(sizes) == 200
    assert sizes.count((4000, 3000)) == 5
    assert len({*sizes}) == 6
    sample = sizes[3::4]
    assert 0.9 < 4 * sum(w * h for w, h in sample) / sum(w * h for w, h in sizes) < 1.3


def test_cores_that_work_between_two_readings_are_counted(script):
    first = "cpu  100 0 50 850 0 0 0 0 0 0\ncpu0 1\ncpu1 1\nintr 5"
    second = "cpu  125 10 65 945 55 0 0 0 0 0\ncpu0 1\ncpu1 1\nintr 5"
    assert script("speed").cores_busy(first, second) == pytest.approx(2 * 50 / 200)


def test_the_process_that_starts_the_others_imports_nothing_heavy():
    code = "import sys, speed; print(*{'numpy', 'cv2', 'onnxruntime', 'torch', 'PIL'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def made_up(script: Callable[[str], ModuleType]) -> dict[str, Any]:
    """A document with every part."""
    summary, bar, place = script("interleave").summary, script("speed_bars").bar, script("speed_models").placed
    conv = event("c", "Conv", [[1, 3, 64, 64], [16, 3, 3, 3]], [1, 16, 64, 64], 4.0)
    roofline = script("speed_roofline")
    kinds = {form: roofline.by_kind(roofline.nodes([conv], 1)) for form in ("run", "logical")}
    network = {"kinds": kinds} | {f"{form} total": roofline.total(kinds[form]) for form in kinds}
    network |= place(network, [(0.01, 100e9, 10e9), (0.02, 100e9, 10e9)])
    ones = summary([1.0, 1.0])
    batches = {"sizes": {str(n): ones for n in (1, 2)}, "best": 2, "limit": 1, "right": False}
    gains = {"gains": {"product": ones}, "picture": [600, 400], "seconds": {}}
    return {
        "start": {"seconds": {"neid": ones}, "bars": [bar("start, neid", summary([1.5, 2.5, 1.9]), "at most", 2.0)]},
        "pipeline": {
            "seconds": {"pipeline neid": ones},
            "folders": {"neid": {"files": 50, "megapixels": 39.0}},
            "bars": [bar("pipeline, neid", summary([1.3]), "at most", 1.15)],
        },
        "roofline": {"picture": [64, 64], "networks": {"neid": network}, "bars": []},
        "memory": {
            "folder": {
                "neid": {"first": 1e6, "middle": 2e6, "last": 2e6, "growth": 2.0, "late": 1.0, "files": 500, "ends": 50}
            },
            "bars": [],
        },
        "scale": {"ms_per_megapixel": {"neid": {"1": ones, "4": ones}}, **gains, "bars": []},
        "batch": {"batches": {"neid 600x400": batches}, "bars": []},
        "int8": {"skipped": "neid does not run in int8."},
    }


def test_the_page_tells_of_every_bar_whether_it_is_met(script):
    page = script("speed_page").page({name: {"about": about(), **part} for name, part in made_up(script).items()})
    assert "| start | start, neid | at most 2 x | 1.90 (1.50 to 2.50) | 3 | met |" in page
    assert "| pipeline | pipeline, neid | at most 1.15 x | 1.30 (1.30 to 1.30) | 1 | **missed** |" in page
    assert "| int8 |  |  |  |  | not measured: neid does not run in int8. |" in page
    assert "| neid | 600x400 | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) | 1 | **slower than 2** |" in page
    assert "| Conv | 1 | 4.0 | 100% | 0.3 | 0.00 | 0.3 | 0.00 | 0.1 | 1 | 4.0 |" in page
    assert "| neid | 50 files, 39 MP | pipeline | 1.00 (1.00 to 1.00) |" in page
    assert "busy" not in page.partition("## Bars")[0]


@pytest.mark.parametrize(("vnni", "told"), [(True, "processor has instr"), (False, "has not"), (None, "may have")])
def test_the_page_tells_whether_the_processor_can_multiply_bytes(script, vnni, told):
    ones = script("interleave").summary([1.0])
    part = {"about": about(), "seconds": {"600x400 int8": ones}, "vnni": vnni, "bars": []}
    page = script("speed_page").page({"int8": part})
    assert told in page
    assert "| 600x400 int8 | 1.000 (1.000 to 1.000) |" in page


def test_the_page_tells_what_makes_the_figures_of_a_part_worth_less(script):
    part = {"skipped": "none"}
    quick = {**about(quick=True, environment={"OMP_NUM_THREADS": "1"}), "busy": 1.5, "commit": "b" * 40}
    page = script("speed_page").page(
        {"start": {"about": quick, **part}, "int8": {"about": about("2026-02-02"), **part}}
    )
    assert f"- start: Commit {'b' * 12}, 2026-01-01; **a quick run" in page
    assert "other work kept 1.5 cores busy before it; OMP_NUM_THREADS=1 in the environment" in page
    assert "- int8:" not in page


def test_a_part_that_is_measured_alone_leaves_the_others_as_they_are(script, monkeypatch, tmp_path):
    speed = script("speed")
    parts = {
        name: (lambda folder, options, name=name: {"skipped": f"{name} of {folder.is_dir()}"}) for name in speed.PARTS
    }
    monkeypatch.setattr(speed, "PARTS", parts)
    monkeypatch.setattr(speed, "busy", lambda: 0.0)
    out = tmp_path / "results" / "speed.json"
    speed.main(["--out", str(out), "--only", "int8"])
    first = json.loads(out.read_text())
    assert list(first) == ["int8"]
    parts["int8"] = lambda folder, options: pytest.fail("not asked for")
    speed.main(["--out", str(out), "--only", "start", "--quick"])
    second = json.loads(out.read_text())
    assert list(second) == ["start", "int8"]
    assert second["int8"] == first["int8"]
    assert second["start"]["about"]["settings"]["quick"] is True
    assert "start of True" in out.with_suffix(".md").read_text()
