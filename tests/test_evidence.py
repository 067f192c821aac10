"""The evidence log: a chain that shows whatever was done to it."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lowlight_cli import evidence, evidence_chain
from lowlight_cli.errors import LogError, NoInput, OptionError
from lowlight_cli.evidence import Log, read
from lowlight_cli.evidence_chain import Line

pytestmark = pytest.mark.usefixtures("here")
LOG = Path("log.jsonl")


def made(count: int) -> list[bytes]:
    """A log of so many records; its lines."""
    log = Log(LOG)
    for number in range(count):
        log.append({"kind": "picture", "run": "r", "value": number})
    return LOG.read_bytes().splitlines(keepends=True)


def found() -> dict[int, list[str]]:
    """The problems of a log by record."""
    wrong: dict[int, list[str]] = {}
    for line in read(LOG):
        if line.problems:
            wrong.setdefault(line.number, []).extend(line.problems)
    return wrong


def test_each_record_carries_the_digest_of_the_line_before() -> None:
    lines = made(3)
    assert json.loads(lines[0])["previous"] == "0" * 64
    for before, after in itertools.pairwise(lines):
        assert json.loads(after)["previous"] == hashlib.sha256(before.rstrip(b"\n")).hexdigest()
    assert [json.loads(line)["record"] for line in lines] == [1, 2, 3]
    assert found() == {}


def test_the_head_can_be_had_with_standard_tools() -> None:
    log = Log(LOG)
    log.append({"kind": "start", "run": "r"})
    log.seal()
    done = subprocess.run(f"tail -n 1 {LOG} | tr -d '\\n' | sha256sum", shell=True, capture_output=True, check=True)
    assert done.stdout.decode().split()[0] == log.head
    assert evidence.head_path(LOG).read_text().split() == [log.head, "1"]


@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_changed_record_is_found(at: int) -> None:
    lines = made(5)
    lines[at] = lines[at].replace(b'"value":', b'"valuE":')
    LOG.write_bytes(b"".join(lines))
    assert list(found()) == [at + 1]


@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_removed_record_is_found(at: int) -> None:
    lines = made(5)
    del lines[at]
    LOG.write_bytes(b"".join(lines))
    assert list(found()) == [at + 2]
    assert "missing" in found()[at + 2][0]


def test_records_in_another_order_are_found() -> None:
    lines = made(5)
    lines[1], lines[2] = lines[2], lines[1]
    LOG.write_bytes(b"".join(lines))
    assert found()


def test_a_record_that_is_put_in_is_found() -> None:
    lines = made(4)
    forged = {**json.loads(lines[2]), "value": "forged", "previous": hashlib.sha256(lines[1].rstrip(b"\n")).hexdigest()}
    LOG.write_bytes(b"".join([*lines[:2], json.dumps(forged, separators=(",", ":")).encode() + b"\n", *lines[2:]]))
    assert found()


def test_a_record_made_anew_breaks_the_chain_at_the_next() -> None:
    lines = made(4)
    forged = {**json.loads(lines[1]), "value": "forged"}
    lines[1] = json.dumps(forged, separators=(",", ":")).encode() + b"\n"
    LOG.write_bytes(b"".join(lines))
    assert list(found()) == [2]


def test_a_doubled_record_is_found() -> None:
    lines = made(3)
    LOG.write_bytes(b"".join([*lines[:2], lines[1], *lines[2:]]))
    assert found()


def test_a_number_that_was_changed_is_found() -> None:
    lines = made(2)
    LOG.write_bytes(lines[0] + lines[1].replace(b'"record":2', b'"record":3'))
    assert "number" in found()[3][0]


@pytest.mark.parametrize("left", [1, 40, -2])
def test_a_log_that_ends_within_a_line_is_found(left: int) -> None:
    lines = made(3)
    LOG.write_bytes(b"".join(lines[:2]) + lines[2][:left])
    assert "not whole" in found()[2][0]


def test_a_torn_line_stays_and_the_next_record_tells_of_it() -> None:
    made(2)
    before = LOG.read_bytes() + b'{"lowlight_evidence":1,"rec'
    LOG.write_bytes(before)
    record = Log(LOG).append({"kind": "start", "run": "s"})
    assert LOG.read_bytes().startswith(before)
    assert record["record"] == 3
    assert record["torn"] == {"bytes": 27, "sha256": hashlib.sha256(before.splitlines()[-1]).hexdigest()}
    assert found() == {}
    assert [line.notes for line in read(LOG) if line.record is None] != [[]]


@pytest.mark.parametrize(
    "left", [b'{"half', b'{"half\n', b"\n", b'{"half\n{"other half', b"x" * (17 << 20), b"\0" * 900]
)
def test_what_power_cuts_left_is_gone_on_with_by_whoever_read_the_log(left: bytes) -> None:
    made(2)
    before = LOG.read_bytes() + left
    LOG.write_bytes(before)
    log = Log(LOG)
    assert len(list(log.records())) == 2
    assert [log.append({"kind": "start", "run": "s"})["record"] for _ in range(2)] == [3, 4]
    assert LOG.read_bytes().startswith(before)
    assert found() == {}
    assert len(list(Log(LOG).records())) == 4


def test_of_two_torn_lines_the_next_record_tells_both() -> None:
    made(2)
    whole = LOG.read_bytes()
    LOG.write_bytes(whole + b"one\ntwo")
    record = Log(LOG).append({"kind": "start", "run": "s"})
    lost = [hashlib.sha256(data).hexdigest() for data in (b"one", b"two")]
    assert record["torn"] == [{"bytes": 3, "sha256": digest} for digest in lost]
    for other in (b"one\n", b"two\n", b"two\none\n", b""):
        LOG.write_bytes(LOG.read_bytes()[: len(whole)] + other + LOG.read_bytes().splitlines(keepends=True)[-1])
        assert found(), other


def test_a_record_that_lacks_its_end_is_gone_on_with_by_whoever_read_the_log() -> None:
    made(2)
    LOG.write_bytes(LOG.read_bytes()[:-1])
    log = Log(LOG)
    assert len(list(log.records())) == 2
    log.seal()
    log.append({"kind": "start", "run": "s"})
    assert found() == {}
    assert len(LOG.read_bytes().splitlines()) == 3


def test_a_torn_line_that_is_taken_out_or_changed_is_found() -> None:
    lines = made(2)
    LOG.write_bytes(b"".join(lines) + b'{"half')
    Log(LOG).append({"kind": "start", "run": "s"})
    whole = LOG.read_bytes()
    for other in (b"", b'{"hale\n'):
        LOG.write_bytes(whole.replace(b'{"half\n', other))
        assert found(), other


def test_a_last_line_that_lacks_only_its_end_is_whole() -> None:
    lines = made(2)
    LOG.write_bytes(b"".join(lines).rstrip(b"\n"))
    assert Log(LOG).append({"kind": "start", "run": "s"})["record"] == 3
    assert found() == {}
    assert len(LOG.read_bytes().splitlines()) == 3


def test_a_broken_log_is_not_extended() -> None:
    lines = made(4)
    LOG.write_bytes(b"".join([lines[0], *lines[2:]]))
    with pytest.raises(OptionError, match="broken at record 3"):
        list(Log(LOG).records())


@pytest.mark.parametrize("content", [b"a photo\n", b'{"a": 1}\n', b"[]\n", b"[" * 100_000, b"\xff\xfe\n", b"\0" * 4096])
def test_a_file_that_is_no_log_is_refused(content: bytes) -> None:
    LOG.write_bytes(content)
    with pytest.raises(OptionError, match="no evidence log"):
        list(Log(LOG).records())
    assert LOG.read_bytes() == content


def test_an_empty_file_becomes_a_log() -> None:
    LOG.touch()
    log = Log(LOG)
    assert list(log.records()) == []
    log.append({"kind": "start", "run": "r"})
    assert found() == {}


def test_a_log_that_is_not_there_or_no_file_is_told() -> None:
    with pytest.raises(NoInput):
        list(read(LOG))
    LOG.mkdir()
    with pytest.raises(OptionError, match="not a regular file"):
        list(read(LOG))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_device_is_no_log() -> None:
    LOG.symlink_to("/dev/full")
    with pytest.raises(LogError, match="not a regular file"):
        Log(LOG).append({"kind": "start", "run": "r"})


def test_a_full_disk_is_an_error_with_a_remedy_and_the_log_can_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made(2)
    log, write = Log(LOG), os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 50:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:50])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(LogError, match="No space left") as caught:
            log.append({"kind": "picture", "run": "r", "text": "x" * 10})
    assert caught.value.hint == "Free some space."
    log.append({"kind": "end", "run": "r"})
    assert found() == {}
    assert sum(line.record is not None for line in read(LOG)) == 3


def test_a_line_that_could_not_be_ended_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made(2)
    log, write = Log(LOG), os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) == 1:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) - 1])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(LogError):
            log.append({"kind": "picture", "run": "r", "status": "done"})
    assert [line.record["run"] for line in read(LOG)] == ["r", "r"]
    assert len(list(read(LOG))) == 2


def test_a_log_whose_first_line_was_torn_goes_on() -> None:
    line = made(1)[0]
    for left in (5, 40):
        LOG.write_bytes(line[:left])
        log = Log(LOG)
        assert list(log.records()) == []
        log.append({"kind": "start", "run": "s"})
        assert found() == {}


def test_a_log_that_is_cut_while_a_run_writes_is_not_extended() -> None:
    lines = made(3)
    log = Log(LOG)
    log.append({"kind": "picture", "run": "r"})
    LOG.write_bytes(b"".join(lines[:1]))
    with pytest.raises(LogError, match="cut or replaced"):
        log.append({"kind": "picture", "run": "r"})


def test_a_log_that_was_changed_while_a_run_writes_is_not_extended() -> None:
    made(3)
    log = Log(LOG)
    log.append({"kind": "picture", "run": "r"})
    last = LOG.read_bytes().splitlines()[-1]
    strange = json.loads(last) | {"record": 5, "previous": "1" * 64}
    with LOG.open("ab") as stream:
        stream.write(json.dumps(strange, separators=(",", ":")).encode() + b"\n")
    before = LOG.read_bytes()
    with pytest.raises(LogError, match="broken at record 5"):
        log.append({"kind": "picture", "run": "r"})
    assert LOG.read_bytes() == before


WRITER = """
import sys
from pathlib import Path
from lowlight_cli.evidence import Log
log = Log(Path("log.jsonl"))
for number in range(60):
    log.append({"kind": "picture", "run": sys.argv[1], "number": number})
"""


def test_processes_and_threads_write_one_chain() -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, name]) for name in "ab"]
    log = Log(LOG)

    def work(name: str) -> None:
        for number in range(60):
            log.append({"kind": "picture", "run": name, "number": number})

    threads = [threading.Thread(target=work, args=(name,)) for name in "cd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [writer.wait(60) for writer in writers] == [0, 0]
    lines = list(read(LOG))
    assert found() == {}
    assert len(lines) == 240
    for name in "abcd":
        numbers = [line.record["number"] for line in lines if line.record["run"] == name]
        assert numbers == list(range(60))


def test_a_clock_that_is_set_back_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(LOG)
    for time in ("2026-01-02T00:00:10.000000Z", "2026-01-02T00:00:09.000000Z", "2026-01-01T00:00:00.000000Z"):
        monkeypatch.setattr(evidence, "now", lambda time=time: time)
        log.append({"kind": "picture", "run": "r"})
    assert found() == {}
    assert [len(line.notes) for line in read(LOG)] == [0, 0, 1]


def test_a_line_without_end_takes_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    made(1)
    monkeypatch.setattr(evidence_chain, "LONGEST", 1000)
    with LOG.open("ab") as stream:
        stream.write(b"x" * 5000)
    lines: list[Line] = list(read(LOG))
    assert max(line.size for line in lines) <= 1000
    assert found()
