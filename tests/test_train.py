"""`lowlight train` and `lowlight export` from the command line, on pictures small enough for seconds."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import errno
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from lowlight_cli import manifest, picture
from lowlight_cli.cli import group
from lowlight_cli.cli.train import span
from lowlight_cli.errors import (
    NO_INPUT,
    SOME_FAILED,
    USAGE,
    DeviceUnavailable,
    Diverged,
    LowlightError,
    ModelUnavailable,
    NoInput,
    NotWritten,
    OptionError,
    OutputExists,
)
from lowlight_cli.nn.state import load_weights
from lowlight_cli.runners import RunnerOptions, open_runner
from lowlight_cli.tasks import train as train_task
from lowlight_cli.tasks.export import ExportOptions
from lowlight_cli.tasks.export import run as export
from lowlight_cli.tasks.train import TrainOptions, run
from lowlight_cli.tasks.train_plan import resolve
from lowlight_cli.training import loop
from lowlight_cli.training.loop import LAST
from lowlight_cli.training.run import Limits

TINY = {"params": {"widths": [16, 16]}, "crop": 64, "batch": 2, "ema": 0.9, "lr": 1e-3, "steps": 6}


@pytest.fixture
def lol(tmp_path):
    """Four pairs of 72x80 in low/ and high/."""
    for number in range(4):
        rng = np.random.default_rng(number)
        high = np.kron(rng.integers(40, 250, (9, 10, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        for folder, pixels in (("low", high // 10), ("high", high)):
            (tmp_path / "lol" / folder).mkdir(parents=True, exist_ok=True)
            picture.save(picture.from_array(pixels), tmp_path / "lol" / folder / f"{number}.png")
    return tmp_path / "lol"


def options(lol, out, **changes):
    """A training of a few steps of a tiny neid."""
    overrides = {**TINY, **changes.pop("overrides", {})}
    return TrainOptions(
        **{"model": "neid", "data": lol, "out": out, "validation": 1, "threads": 1, **changes}, overrides=overrides
    )


def command(lol, out, *more, model="neid", **settings):
    """The arguments of `lowlight train` for the same."""
    chosen = [f"--set={name}={json.dumps(value)}" for name, value in {**TINY, **settings}.items()]
    return [
        "train",
        "--model",
        model,
        "--data",
        str(lol),
        "--out",
        str(out),
        "--val",
        "1",
        "--threads",
        "1",
        "--json",
        *chosen,
        *more,
    ]


def invoke(*arguments):
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 0, result.output
    return result


def weights_of(folder):
    state = torch.load(folder / "last.pt", weights_only=True)
    return state["networks"]["network"] | {f"ema.{name}": value for name, value in state["averaged"].items()}


def assert_same(one, other, **tolerance):
    for name, value in one.items():
        assert torch.allclose(value, other[name], **tolerance) if tolerance else torch.equal(value, other[name]), name


def test_the_command_trains_logs_and_writes_weights_that_enhance_takes_at_once(lol, tmp_path):
    result = invoke(*command(lol, tmp_path / "run", log_every=2, validate_every=3))
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines[-1]["step"] == 6
    assert {"psnr", "ssim", "mae", "psnr_gtmean", "loss_total"} <= set(lines[-1])
    assert "3 pairs" in result.stderr
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (kept["model"], kept["steps"], kept["params"]) == ("neid", 6, {"widths": [16, 16]})
    [start] = json.loads((tmp_path / "run" / "run.json").read_text())["starts"]
    assert start["packages"]["torch"] == torch.__version__
    assert start["data"]["sha256"]
    logged = [*csv.DictReader((tmp_path / "run" / "log.csv").read_text().splitlines())]
    assert {"data_seconds", "step_seconds", "lr_network", "train_huber"} <= {row["name"] for row in logged}
    bright = invoke(
        *("enhance", str(lol / "low"), "--out", str(tmp_path / "bright"), "--model", "neid"),
        *("--weights", str(tmp_path / "run" / "best.safetensors")),
    )
    assert "4 done" in bright.stderr


def test_a_line_of_text_tells_the_pace_and_the_time_left(lol, tmp_path):
    arguments = [word for word in command(lol, tmp_path / "run", steps=4, log_every=1) if word != "--json"]
    _, *lines = [line for line in invoke(*arguments).stderr.splitlines() if line.startswith("step ")]
    assert all(re.match(r"step \d+  \d+ s  [\d.e+-]+ steps/s  ", line) for line in lines)
    assert re.search(r"steps/s  about \d+ s left  ", lines[0])
    assert "left" not in lines[-1]


@pytest.mark.parametrize(("seconds", "text"), [(99, "99 s"), (100, "2 min"), (5999, "100 min"), (6000, "1.7 h")])
def test_a_time_left_is_told_as_people_say_it(seconds, text):
    assert span(seconds) == text


def test_a_run_that_was_stopped_goes_on_bit_for_bit(lol, tmp_path):
    [*run(options(lol, tmp_path / "a"))]
    [*run(options(lol, tmp_path / "b", limits=Limits(steps=2)))]
    plain = TrainOptions(model="neid", data=lol, out=tmp_path / "b", validation=1, threads=1, resume=True)
    assert [*run(plain)][-1].step == 6  # its settings come from its folder
    assert_same(weights_of(tmp_path / "a"), weights_of(tmp_path / "b"))
    [nothing] = run(plain)
    assert (nothing.step, nothing.complete, nothing.values) == (6, True, {})


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_run_goes_on_to_the_same_numbers(lol, tmp_path):
    more = {"steps": 40, "validate_every": 2, "log_every": 2}
    [*run(options(lol, tmp_path / "a", overrides=more))]
    arguments = command(lol, tmp_path / "b", **more)
    with subprocess.Popen([sys.executable, "-m", "lowlight_cli", *arguments], stdout=subprocess.PIPE) as process:
        while process.poll() is None and json.loads(process.stdout.readline())["step"] < 6:
            pass
        time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert 4 <= torch.load(tmp_path / "b" / "last.pt", weights_only=True)["position"]["step"] < 40
    invoke(*command(lol, tmp_path / "b", "--resume", **more))
    assert_same(weights_of(tmp_path / "a"), weights_of(tmp_path / "b"))
    kept = [
        [row for row in csv.reader((tmp_path / name / "log.csv").read_text().splitlines()) if "seconds" not in row[2]]
        for name in "ab"
    ]
    assert [(row[0], *row[2:]) for row in kept[0]] == [(row[0], *row[2:]) for row in kept[1]]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_sigterm_stops_after_the_step_in_hand_with_a_checkpoint(lol, tmp_path):
    arguments = command(lol, tmp_path / "run", steps=100_000, validate_every=100_000, log_every=1)
    process = subprocess.Popen(
        [sys.executable, "-m", "lowlight_cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while json.loads(process.stdout.readline())["step"] < 2:
        pass
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(r"stopped at step \d+ of 100000; go on with the same command and --resume", said)
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["position"]["step"] >= 2


def test_a_stop_that_comes_with_the_last_step_ends_a_training_that_is_done(lol, tmp_path, monkeypatch):
    whole = loop.validate

    def validate(*words):
        signal.raise_signal(signal.SIGINT)
        return whole(*words)

    monkeypatch.setattr(loop, "validate", validate)
    before = signal.getsignal(signal.SIGINT)
    try:
        result = CliRunner().invoke(group, command(lol, tmp_path / "run", steps=2))
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == 0, result.output
    assert "stopping after this step" in result.stderr


@pytest.mark.parametrize("device", ["cpu:x", "auto:0", "gpu"])
def test_a_device_that_cannot_be_is_refused(lol, tmp_path, device):
    result = CliRunner().invoke(group, [*command(lol, tmp_path / "run"), "--device", device])
    assert result.exit_code == USAGE
    assert f"'{device}' is none of auto, cpu, cuda, cuda:N, mps." in result.output


def test_a_run_that_is_over_says_so_and_leaves_everything_as_it_is(lol, tmp_path):
    [*run(options(lol, tmp_path / "run", overrides={"steps": 1}))]
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.safetensors")}
    heard = []
    [end] = run(options(lol, tmp_path / "run", overrides={"steps": 1}, resume=True), heard.append)
    assert (end.step, end.values, end.complete) == (1, {}, True)
    assert "nothing to do: the last step was reached before" in heard
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.safetensors")}


def test_two_processes_do_what_one_does(lol, tmp_path):
    more = {"batch": 4, "steps": 3, "ema": 0.5}
    [*run(options(lol, tmp_path / "one", overrides=more))]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, "-m", "lowlight_cli", *command(lol, tmp_path / "two", **more)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "nothing to do" not in done.stderr
    assert [json.loads(line)["step"] for line in done.stdout.splitlines()][-1] == 3
    assert json.loads((tmp_path / "two" / "run.json").read_text())["starts"][0]["processes"] == 2
    assert_same(weights_of(tmp_path / "one"), weights_of(tmp_path / "two"), atol=1e-5)


def test_a_configuration_file_is_checked_and_set_goes_over_it(lol, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("model: neid\nlr: 0.005\nloss:\n  ssim: 0.2\n")
    [*run(options(lol, tmp_path / "a", config=file, overrides={"steps": 1, "lr": 0.002}))]
    kept = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())
    assert (kept["lr"], kept["loss"]["ssim"], kept["loss"]["huber"]) == (0.002, 0.2, 1.0)
    for text, words in (
        ("lrr: 1", "Did you mean 'lr'"),
        ("model: aux-retinex", "not of neid"),
        ("- 1", "holds no settings"),
        ("a: [", "cannot be read as YAML"),
    ):
        file.write_text(text)
        with pytest.raises(OptionError, match=words):
            next(run(options(lol, tmp_path / "b", config=file)))
    assert not (tmp_path / "b").exists()


def test_a_configuration_file_that_is_not_there_is_told_with_a_near_name(lol, tmp_path):
    (tmp_path / "small.yaml").write_text("perceptual: off\n")
    with pytest.raises(NoInput) as caught:
        next(run(options(lol, tmp_path / "a", config=tmp_path / "smal.yaml")))
    assert caught.value.exit_code == NO_INPUT
    assert caught.value.message == f"There is no file {tmp_path / 'smal.yaml'}."
    assert caught.value.hint == f"Did you mean {tmp_path / 'small.yaml'}?"
    for name in ("other.txt", "none/small.yaml"):
        with pytest.raises(NoInput, match=r"There is no file .* Check the name\."):
            next(run(options(lol, tmp_path / "a", config=tmp_path / name)))
    assert resolve(options(lol, tmp_path / "a", config=tmp_path / "small.yaml")).settings.perceptual == "off"
    assert not (tmp_path / "a").exists()


def test_what_cannot_start_says_why_and_leaves_no_folder_behind(lol, tmp_path):
    for wrong, error, words in (
        ({"data": lol / "nope"}, NoInput, "no folder"),
        ({"validation": 600}, OptionError, "600"),
        ({"model": "clahe"}, OptionError, "nothing to train"),
        ({"model": "nied"}, ModelUnavailable, "Did you mean 'neid'"),
        ({"resume": True}, OptionError, "no checkpoint"),
        ({"overrides": {"params": {"depth": 3}}}, OptionError, "no argument of this network .depth."),
        ({"overrides": {"batch": 3, "accumulate": 2}}, OptionError, "does not split"),
        ({"device": "cuda:9"}, DeviceUnavailable, "cuda:9"),
        ({"device": "tpu"}, DeviceUnavailable, "tpu"),
    ):
        with pytest.raises(error, match=words):
            next(run(options(lol, tmp_path / "a", **wrong)))
    assert not (tmp_path / "a").exists()


def test_a_run_is_not_written_over(lol, tmp_path):
    [*run(options(lol, tmp_path / "a", overrides={"steps": 1}))]
    with pytest.raises(OptionError, match="holds a run"):
        next(run(options(lol, tmp_path / "a")))


def test_weights_to_start_from_bring_the_shape_of_their_network(lol, tmp_path):
    [*run(options(lol, tmp_path / "a", overrides={"steps": 1, "params": {"widths": [2, 4]}}))]
    start = tmp_path / "a" / "last.safetensors"
    small = {name: value for name, value in TINY.items() if name != "params"} | {"steps": 1}
    chosen = dataclasses.replace(options(lol, tmp_path / "b", init=start), overrides=small)
    [*run(chosen)]
    assert yaml.safe_load((tmp_path / "b" / "config.yaml").read_text())["params"] == {"widths": [2, 4]}
    with pytest.raises(ModelUnavailable, match="Use model neid"):
        next(run(dataclasses.replace(chosen, model="aux-retinex", out=tmp_path / "c", overrides={})))


def test_a_run_can_start_from_weights(lol, tmp_path):
    [*run(options(lol, tmp_path / "a", overrides={"steps": 2}))]
    last = tmp_path / "a" / "last.safetensors"
    [*run(options(lol, tmp_path / "b", init=last, overrides={"steps": 1, "lr": 0.0}))]
    assert_same(load_weights(last), load_weights(tmp_path / "b" / "last.safetensors"))
    with pytest.raises(OptionError, match=r"trained with other params\.widths"):
        next(run(options(lol, tmp_path / "c", init=last, overrides={"params": {"widths": [16, 32]}})))
    assert not (tmp_path / "c").exists()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(lol, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        invoke(*command(lol, tmp_path / name, "--seed", str(seed), steps=2))
    assert_same(weights_of(tmp_path / "a"), weights_of(tmp_path / "b"))
    one, other = weights_of(tmp_path / "a"), weights_of(tmp_path / "c")
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_refused_resume_leaves_the_run_as_it_was(lol, tmp_path):
    out = tmp_path / "run"
    [*run(options(lol, out, overrides={"steps": 2}))]
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    spare = tmp_path / "other"
    shutil.copytree(lol, spare)
    (spare / "low" / "3.png").unlink()
    (spare / "high" / "3.png").unlink()
    for changed, words in (
        (
            {"overrides": {"steps": 3, "params": {"widths": [16, 8]}}},
            r"other settings: .* is \w+x\w+x3x3 there, \w+x\w+x3x3 here",
        ),
        ({"overrides": {"steps": 3}, "validation": 2}, "held_out differ"),
        ({"overrides": {"steps": 3}, "data": spare}, "sha256"),
        ({"overrides": {"steps": 2, "lr": 0.5}}, None),  # nothing to do
    ):
        trying = run(options(lol, out, resume=True, **changed))
        if words is None:
            assert [(told.step, told.complete) for told in trying] == [(2, True)]
        else:
            with pytest.raises(LowlightError, match=words):
                next(trying)
        assert before == {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def test_what_a_resumed_run_does_otherwise_is_told(lol, tmp_path):
    [*run(options(lol, tmp_path / "run", overrides={"steps": 1}))]
    heard = []
    [*run(options(lol, tmp_path / "run", overrides={"steps": 2, "lr": 0.002}, resume=True), heard.append)]
    assert {line for line in heard if "changed" in line} == {
        "changed since the run began: steps: 1 -> 2",
        "changed since the run began: lr: 0.001 -> 0.002",
    }


def test_another_optimizer_on_resume_is_refused(lol, tmp_path):
    [*run(options(lol, tmp_path / "run", overrides={"steps": 1}))]
    with pytest.raises(LowlightError, match="other settings") as caught:
        next(run(options(lol, tmp_path / "run", overrides={"steps": 2, "optimizer": "muon"}, resume=True)))
    assert "optimizer" in caught.value.hint


def test_a_run_that_never_reached_a_checkpoint_starts_anew_without_resume(lol, tmp_path):
    stuck = tmp_path / "run"
    with pytest.raises(Diverged):
        [*run(options(lol, stuck, overrides={"lr": 1e30, "clip": 0.0, "log_every": 1}))]
    with pytest.raises(OptionError, match="no checkpoint") as caught:
        next(run(options(lol, stuck, resume=True)))
    assert "Leave out --resume" in caught.value.hint
    assert [*run(options(lol, stuck, overrides={"steps": 1}))][-1].step == 1
    assert len(json.loads((stuck / "run.json").read_text())["starts"]) == 1
    rows = [row[2] for row in csv.reader((stuck / "log.csv").read_text().splitlines()) if row[0] == "0"]
    assert len(rows) == len({*rows})


def test_weights_without_a_checkpoint_are_not_written_over(lol, tmp_path):
    out = tmp_path / "run"
    [*run(options(lol, out, overrides={"steps": 1}))]
    (out / LAST).unlink()
    for resume in (False, True):
        with pytest.raises(OptionError) as caught:
            next(run(options(lol, out, resume=resume)))
        assert "delete" in caught.value.hint


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_stop_before_the_first_step_comes_after_it_with_a_checkpoint(lol, tmp_path, monkeypatch, name):
    whole, number = loop.untrained, getattr(signal, name)

    def untrained(*words):
        signal.raise_signal(number)
        return whole(*words)

    monkeypatch.setattr(loop, "untrained", untrained)
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        result = CliRunner().invoke(group, command(lol, tmp_path / "run"))
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert result.exit_code == 130, result.output
    assert "stopped at step 1 of 6" in result.stderr
    assert torch.load(tmp_path / "run" / LAST, weights_only=True)["position"]["step"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked there")
def test_a_run_that_still_goes_on_is_not_resumed_beside_itself(lol, tmp_path):
    out = tmp_path / "run"
    first = run(options(lol, out, overrides={"steps": 3, "validate_every": 1}))
    while not (out / LAST).exists():
        next(first)
    before = (out / "log.csv").read_bytes(), (out / "run.json").read_bytes()
    with pytest.raises(OptionError, match="Another training writes"):
        next(run(options(lol, out, overrides={"steps": 5}, resume=True)))
    assert before == ((out / "log.csv").read_bytes(), (out / "run.json").read_bytes())
    first.close()
    assert [*run(options(lol, out, overrides={"steps": 5}, resume=True))][-1].step == 5


@pytest.mark.parametrize("resume", [False, True])
def test_what_another_training_wrote_while_this_one_read_its_data_stays(lol, tmp_path, monkeypatch, resume):
    out = tmp_path / "run"
    if resume:
        [*run(options(lol, out, limits=Limits(steps=2)))]
    open_data, others = train_task.open_data, []

    def slow(*arguments):
        if not others:
            others.append(True)
            [*run(options(lol, out, resume=resume, overrides={"steps": 6}))]
        return open_data(*arguments)

    monkeypatch.setattr(train_task, "open_data", slow)
    with pytest.raises(OptionError, match=r"wrote to .* while this one was getting ready"):
        [*run(options(lol, out, resume=resume, overrides={"steps": 9, "seed": 5}))]
    assert torch.load(out / LAST, weights_only=True)["position"]["step"] == 6
    assert "seed: 5" not in (out / "config.yaml").read_text()


@pytest.mark.parametrize("kept", ["best.safetensors", "last.safetensors", "last.pt"])
def test_a_folder_with_weights_is_not_written_over_though_its_settings_are_gone(lol, tmp_path, kept):
    out = tmp_path / "run"
    out.mkdir()
    (out / kept).write_bytes(b"mine")
    with pytest.raises(OptionError, match="holds a run"):
        next(run(options(lol, out)))
    assert [path.name for path in out.iterdir()] == [kept]


def test_what_cannot_be_a_folder_is_told_before_any_work(lol, tmp_path, monkeypatch):
    monkeypatch.setattr(train_task, "open_data", None)
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    for out in ("file", "file/run", "gone"):
        with pytest.raises(OptionError, match="is not a folder") as caught:
            next(run(options(lol, tmp_path / out)))
        assert "another --out" in caught.value.hint


def test_settings_that_are_cut_off_are_not_gone_on_with(lol, tmp_path):
    [*run(options(lol, tmp_path / "run", overrides={"steps": 2}))]
    config = tmp_path / "run" / "config.yaml"
    config.write_text("".join(config.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(OptionError, match="is cut off"):
        next(run(options(lol, tmp_path / "run", resume=True)))


def logged(folder, name):
    """Values of the log by step."""
    rows = csv.reader((folder / "log.csv").read_text().splitlines()[1:])
    return {int(step): float(value) for step, _, found, value in rows if found == name}


def test_a_rate_that_is_changed_on_resume_is_the_rate_of_the_steps_that_follow(lol, tmp_path):
    plain = {"log_every": 1, "decay": "none", "lr": 0.001}
    [*run(options(lol, tmp_path / "run", overrides={**plain, "steps": 2}))]
    changed = {**plain, "steps": 4, "lr": 0.004, "betas": [0.5, 0.9]}
    [*run(options(lol, tmp_path / "run", resume=True, overrides=changed))]
    assert logged(tmp_path / "run", "lr_network") == {1: 0.001, 2: 0.001, 3: 0.004, 4: 0.004}
    state = torch.load(tmp_path / "run" / LAST, weights_only=True)["optimizers"]["network"]["param_groups"][0]
    assert (state["lr"], tuple(state["betas"])) == (0.004, (0.5, 0.9))


def test_scores_of_another_name_do_not_stand_in_the_way_of_the_best_weights(lol, tmp_path):
    few = {"steps": 2, "validate_every": 1}
    [*run(options(lol, tmp_path / "run", overrides=few))]
    assert torch.load(tmp_path / "run" / LAST, weights_only=True)["position"]["best"] > 1  # dB
    [*run(options(lol, tmp_path / "run", resume=True, overrides={**few, "steps": 3, "best": "ssim"}))]
    position = torch.load(tmp_path / "run" / LAST, weights_only=True)["position"]
    assert position["best"] == pytest.approx(logged(tmp_path / "run", "ssim")[3], abs=1e-5)


def test_a_checkpoint_is_read_by_each_of_several_processes_on_a_cpu(lol, tmp_path):
    from types import SimpleNamespace

    from lowlight_cli.training.checkpoint import loaded

    [*run(options(lol, tmp_path / "run", overrides={"steps": 1}))]
    assert loaded(tmp_path / "run" / LAST, SimpleNamespace(device=torch.device("cpu:0")))["position"]["step"] == 1


def test_a_moving_average_that_is_wanted_or_not_on_resume_alone_is_told_by_its_name(lol, tmp_path):
    [*run(options(lol, tmp_path / "run", overrides={"steps": 1}))]
    with pytest.raises(LowlightError, match="with a moving average") as caught:
        next(run(options(lol, tmp_path / "run", resume=True, overrides={"steps": 2, "ema": 0})))
    assert "ema" in caught.value.hint


@pytest.mark.parametrize("wrong", [{"position": {"step": "x"}}, {"networks": 3}, {"position": []}])
def test_a_checkpoint_of_odd_parts_is_called_damaged(lol, tmp_path, wrong):
    last = tmp_path / "run" / LAST
    [*run(options(lol, tmp_path / "run", overrides={"steps": 1}))]
    torch.save(torch.load(last, weights_only=True) | wrong, last)
    with pytest.raises(LowlightError, match="is damaged"):
        next(run(options(lol, tmp_path / "run", resume=True, overrides={"steps": 2})))


def test_a_limit_that_is_no_number_is_refused(lol, tmp_path):
    result = CliRunner().invoke(group, [*command(lol, tmp_path / "run"), "--max-minutes", "nan"])
    assert result.exit_code == USAGE
    assert "nan is not a number of its range" in result.output
    with pytest.raises(OptionError, match="nan is not a limit"):
        Limits(minutes=math.nan)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", ".", ".neid", "my neid", "modèle"])
def test_a_name_to_export_under_leads_nowhere_else(lol, tmp_path, name):
    [*run(options(lol, tmp_path / "run", overrides={"steps": 1}))]
    before = {*tmp_path.iterdir()}
    with pytest.raises(OptionError, match="no name that a manifest takes"):
        export(ExportOptions(source=tmp_path / "run", out=tmp_path / "out", name=name))
    assert before == {*tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("loss.delta", "0 is not valid for loss.delta"),
        ("discriminator.width", "neid has no discriminator"),
        ("params.width", "There is no argument of this network 'width'"),
    ],
)
def test_settings_that_a_network_does_not_take_are_refused_before_anything_is_written(lol, tmp_path, setting, words):
    with pytest.raises(OptionError, match=words):
        next(run(options(lol, tmp_path / "run", overrides={setting: 0})))
    assert not (tmp_path / "run").exists()


def test_what_tensorboards_thread_cannot_write_is_told_once(lol, tmp_path, monkeypatch, capfd):
    from tensorboard.compat.tensorflow_stub.io import gfile

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(gfile.LocalFileSystem, "append", full)
    with pytest.raises(NotWritten, match="No space left on device"):
        [*run(options(lol, tmp_path / "run", overrides={"steps": 1}))]
    time.sleep(0.2)
    assert "Exception in thread" not in capfd.readouterr().err


def test_a_run_that_is_not_there_is_told_by_export(tmp_path):
    with pytest.raises(ModelUnavailable, match="no run and no file"):
        export(ExportOptions(source=tmp_path / "nope", out=tmp_path / "out"))


def test_the_last_weights_are_those_of_a_folder_not_of_a_file(tmp_path):
    (tmp_path / "best.safetensors").touch()
    with pytest.raises(OptionError, match="--last takes the folder of a run"):
        export(ExportOptions(source=tmp_path / "best.safetensors", out=tmp_path / "out", last=True))
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_is_no_file_of_weights(lol, tmp_path):
    [*run(options(lol, tmp_path / "run", overrides={"steps": 1}))]
    runner = RunnerOptions(weights=tmp_path / "run" / "last.pt", backend="torch", device="cpu")
    with pytest.raises(ModelUnavailable, match="is a checkpoint") as caught:
        open_runner(manifest.find("neid"), runner)
    assert "best.safetensors" in caught.value.hint


@pytest.mark.parametrize("widths", [[], [0], [-3, 4], ["a"]])
def test_params_that_no_network_has_are_refused(lol, tmp_path, widths):
    with pytest.raises(OptionError, match="no channels" if widths == [0] else "do not fit"):
        next(run(options(lol, tmp_path / "run", overrides={"params": {"widths": widths}})))
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate") or not Path("/dev/full").exists(), reason="/dev/full")
def test_torchs_own_errors_of_a_full_disk_say_what_to_do(lol, tmp_path, monkeypatch):
    from lowlight_cli.training import checkpoint

    save = torch.save
    monkeypatch.setattr(checkpoint.torch, "save", lambda state, _: save(state, "/dev/full"))
    with pytest.raises(LowlightError, match=r"last\.pt cannot be written") as caught:
        [*run(options(lol, tmp_path / "a", overrides={"steps": 1}))]
    assert "start anew" in caught.value.hint  # there is no checkpoint to go on from
    assert caught.value.exit_code == SOME_FAILED


def test_a_disk_that_fills_up_ends_in_an_error_that_says_what_to_do(lol, tmp_path, monkeypatch):
    from lowlight_cli.training import checkpoint

    def full(*_):
        raise OSError(28, "No space left on device", str(tmp_path / "a" / "last.pt"))

    [*run(options(lol, tmp_path / "a", overrides={"steps": 1}))]
    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(LowlightError, match="No space left") as caught:
        [*run(options(lol, tmp_path / "a", resume=True, overrides={"steps": 2}))]
    assert "--resume" in caught.value.hint


def test_a_run_is_exported_with_its_own_shape_and_the_row_says_how_it_was_made(lol, tmp_path):
    invoke(*command(lol, tmp_path / "run", model="aux-retinex", params={"width": 2}, steps=2))
    out = tmp_path / "out"
    row = json.loads(invoke("export", str(tmp_path / "run"), "--out", str(out), "--name", "mine").stdout)["mine"]
    assert {file["role"] for file in row["files"]} == {"torch", "onnx-context", "onnx-x1"}
    assert sorted(path.name for path in out.iterdir()) == sorted(file["path"] for file in row["files"])
    assert (row["arch"], row["params"], row["training"]["seed"]) == ("aux_retinex", {"width": 2}, 0)
    assert row["parameters"] < 1345
    assert row["training"]["validation"]["step"] == 2
    from lowlight_cli import manifest

    assert manifest.spec_from_row("mine", row).params == {"width": 2}
    done = invoke(
        *("enhance", str(lol / "low" / "0.png"), "--out", str(tmp_path / "bright"), "--model", "aux-retinex"),
        *("--weights", str(out / "mine.safetensors")),
    )
    assert "1 done" in done.stderr


def test_export_never_writes_over_others_and_says_what_it_lacks(tmp_path):
    from lowlight_cli import manifest, weights

    source = weights.find(manifest.find("aux-retinex"), "torch")
    given = {"source": source, "out": tmp_path, "name": "mine"}
    export(ExportOptions(**given, model="aux-retinex"))
    (nameless := tmp_path / "nameless.pt").touch()
    for options_, error, words in (
        (ExportOptions(**given, model="aux-retinex"), OutputExists, "mine"),
        (ExportOptions(**given, model="clahe"), OptionError, "classical"),
        (ExportOptions(**given | {"source": nameless}), OptionError, "whose"),
        (ExportOptions(**given | {"source": tmp_path}), ModelUnavailable, "no folder of a run"),
    ):
        with pytest.raises(error, match=words):
            export(options_)


@pytest.mark.parametrize(
    ("spoil", "out", "words"),
    [
        (lambda run, _: (run / "run.json").write_text('{"sta'), "e", "run.json is damaged"),
        (
            lambda _, out: (out / "mine-x1.onnx").mkdir(parents=True),
            "e",
            "exists already. Use another --name, or remove it",
        ),
        (lambda _, out: out.mkdir() or (out / "mine-x1.onnx").symlink_to("nowhere"), "e", "exists already"),
        (lambda _, out: out.write_text(""), "e", "is no folder"),
    ],
)
def test_what_stands_in_the_way_of_an_export_is_found_before_anything_is_made(lol, tmp_path, spoil, out, words):
    invoke(*command(lol, tmp_path / "run", model="aux-retinex", params={"width": 2}, steps=1))
    spoil(tmp_path / "run", tmp_path / out)
    before = sorted(path.name for path in tmp_path.glob(f"{out}/*"))
    overwrite = "remove" in words
    with pytest.raises(LowlightError, match=re.escape(words)):
        export(ExportOptions(source=tmp_path / "run", out=tmp_path / out, name="mine", overwrite=overwrite))
    assert sorted(path.name for path in tmp_path.glob(f"{out}/*")) == before


def test_a_file_that_tells_its_network_is_exported_without_its_name(tmp_path):
    from safetensors.torch import save

    from lowlight_cli import models
    from lowlight_cli.tasks.export import located
    from lowlight_cli.weights_metadata import Origin, texts, with_metadata

    geometry = models.module("aux_retinex").geometry()
    content = with_metadata(save({}), texts(Origin("aux_retinex", {}, geometry)))
    (path := tmp_path / "best.safetensors").write_bytes(content)
    said = []
    assert located(ExportOptions(source=path, out=tmp_path), said.append) == (path, "aux-retinex")
    assert said == ["best.safetensors says that it is of aux-retinex"]
    path.write_bytes(content.replace(b'"aux_retinex"', b'"aux_retinew"'))
    with pytest.raises(ModelUnavailable, match="for 'aux_retinew', a network that is not known here"):
        located(ExportOptions(source=path, out=tmp_path), said.append)


def test_a_full_disk_under_an_export_names_its_folder(tmp_path, monkeypatch):
    from lowlight_cli import manifest, weights
    from lowlight_cli.tasks import export as task

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(task, "save_weights", full)
    source = weights.find(manifest.find("aux-retinex"), "torch")
    with pytest.raises(OSError, match="No space left") as caught:
        export(ExportOptions(source=source, out=tmp_path / "out", name="mine", model="aux-retinex"))
    assert caught.value.filename == str(tmp_path / "out")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_configuration_and_no_weights(lol, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OptionError, match="not a regular file"):
        next(run(options(lol, tmp_path / "a", config=tmp_path / "pipe")))
    with pytest.raises(ModelUnavailable, match="There is no file"):
        next(run(options(lol, tmp_path / "a", init=tmp_path / "pipe")))


def test_a_crop_that_is_no_cell_of_the_network_is_refused_before_anything_is_written(lol, tmp_path):
    options = TrainOptions(
        model="neid",
        out=tmp_path / "run",
        data=lol,
        overrides={"params": {"widths": [8] * 7}, "crop": 64, "batch": 2},
        cache=tmp_path / "cache",
    )
    with pytest.raises(OptionError, match=r"crop of 64 pixels is too small.*--set crop=128"):
        next(run(options))
    assert not (tmp_path / "run").exists()


def test_a_crop_smaller_than_what_whole_pictures_are_filled_up_to_is_taken(tmp_path):
    options = TrainOptions(model="ba-gan", out=tmp_path / "run", data=tmp_path / "none", overrides={"crop": 21})
    with pytest.raises(NoInput):
        next(run(options))


def test_of_many_pictures_that_are_held_out_those_scored_are_spread_and_told(lol, tmp_path, monkeypatch):
    monkeypatch.setattr(train_task, "MOST_VALIDATED", 2)
    said = []
    options = TrainOptions(
        model="neid",
        out=tmp_path / "run",
        data=lol,
        validation=lol,
        overrides={**TINY, "steps": 1},
        cache=tmp_path / "c",
    )
    with contextlib.closing(run(options, said.append)) as going:
        next(going)
    assert "2 of the 4 pictures that are held out are scored" in said
    assert train_task.scored([0, 1, 2, 3]) == [0, 2]
    assert train_task.scored([0, 1]) == [0, 1]
