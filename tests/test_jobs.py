"""Planning: every source gets its target, and every conflict is found before any work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lowlight_cli import atomic, jobs
from lowlight_cli.errors import NO_INPUT, NoInput, OptionError, OutputExists
from lowlight_cli.inputs import gather, passed_over
from lowlight_cli.jobs import Job, Layout

pytestmark = pytest.mark.usefixtures("here")


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")


def plan(*inputs: str, out: str = "out", **layout: object) -> list[Job]:
    return jobs.plan(inputs, Layout(out=Path(out), **layout))


def pairs(planned: Iterable[Job]) -> list[tuple[str, str]]:
    return [(str(job.source), str(job.target)) for job in planned]


def test_a_folder_is_mirrored_with_all_below_it() -> None:
    touch("in/a.jpg", "in/deep/er/b.PNG", "in/notes.txt")
    assert pairs(plan("in")) == [("in/a.jpg", "out/a.jpg"), ("in/deep/er/b.PNG", "out/deep/er/b.PNG")]


def test_several_folders_keep_their_names() -> None:
    touch("one/a.jpg", "x/two/a.jpg")
    assert pairs(plan("one", "x/two")) == [("one/a.jpg", "out/one/a.jpg"), ("x/two/a.jpg", "out/two/a.jpg")]


def test_a_folder_beside_files_keeps_its_name_as_when_a_shell_expands_a_pattern() -> None:
    touch("in/a.jpg", "in/sub/a.jpg")
    assert pairs(plan("in/a.jpg", "in/sub")) == [("in/a.jpg", "out/a.jpg"), ("in/sub/a.jpg", "out/sub/a.jpg")]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*.jpg", ["out/a.jpg"]),
        ("in/**/*.jpg", ["out/a.jpg", "out/deep/er/b.jpg"]),
        ("in/d*/**/*.jpg", ["out/deep/er/b.jpg"]),
        ("./in/[ab].jpg", ["out/a.jpg"]),
        ("i?/a.*", ["out/in/a.jpg"]),
        ("in/*", ["out/a.jpg"]),
    ],
)
def test_the_targets_of_a_pattern_are_relative_to_its_part_without_wildcards(pattern: str, expected: list[str]) -> None:
    touch("in/a.jpg", "in/a.txt", "in/deep/er/b.jpg")
    assert [target for _, target in pairs(plan(pattern))] == expected


def test_a_pattern_with_an_absolute_path_is_relative_to_its_fixed_part_too(here: Path) -> None:
    touch("in/deep/b.jpg")
    assert [target for _, target in pairs(plan(f"{here}/in/**/*.jpg"))] == ["out/deep/b.jpg"]


def test_a_file_whose_name_has_brackets_is_no_pattern() -> None:
    touch("night[1].jpg", "night1.jpg")
    assert pairs(plan("night[1].jpg")) == [("night[1].jpg", "out/night[1].jpg")]


def test_one_file_goes_to_one_file() -> None:
    touch("in/a.jpg")
    assert pairs(plan("in/a.jpg", out="new/day.png")) == [("in/a.jpg", "new/day.png")]


def test_one_file_goes_into_a_folder_even_if_that_has_a_dot_in_its_name() -> None:
    touch("a.jpg")
    Path("b.png").mkdir()
    assert pairs(plan("a.jpg", out="v1.2")) == [("a.jpg", "v1.2/a.jpg")]
    assert pairs(plan("a.jpg", out="b.png")) == [("a.jpg", "b.png/a.jpg")]


def test_suffix_format_and_flatten_shape_the_name() -> None:
    touch("in/deep/a.b.JPEG", "in/c.png")
    planned = plan("in", suffix="_bright", format="png", flatten=True)
    assert [str(job.target) for job in planned] == ["out/c_bright.png", "out/a.b_bright.png"]


def test_an_extension_that_means_the_format_already_stays() -> None:
    touch("in/a.JPEG", "in/b.tif")
    assert [job.target.name for job in plan("in", format="jpg")] == ["a.JPEG", "b.jpg"]


@pytest.mark.parametrize("pattern", ["in", "in/**/*.jpg"])
def test_an_out_folder_inside_the_inputs_is_not_enhanced_again(pattern: str) -> None:
    touch("in/a.jpg", "in/out/b.jpg", "in/out/deep/c.jpg")
    Path("alias").symlink_to("in/out")
    assert [str(job.source) for job in plan(pattern, out="in/out", existing="overwrite")] == ["in/a.jpg"]
    assert [str(job.source) for job in plan(pattern, out="alias", existing="overwrite")] == ["in/a.jpg"]


@pytest.mark.parametrize("pattern", ["in/*.jpg", "in"])
def test_an_out_folder_around_the_inputs_hides_none_of_them(pattern: str) -> None:
    touch("in/a.jpg")
    assert pairs(plan(pattern, out=".")) == [("in/a.jpg", "a.jpg")]


@pytest.mark.parametrize("pattern", ["in", "in/*.jpg"])
def test_outputs_may_lie_beside_the_inputs_under_other_names(pattern: str) -> None:
    touch("in/a.jpg")
    assert pairs(plan(pattern, out="in", suffix="_bright")) == [("in/a.jpg", "in/a_bright.jpg")]


@pytest.mark.parametrize("pattern", ["in", "in/**/*.jpg", "in/**"])
def test_a_loop_of_links_ends_and_names_each_file_once(pattern: str) -> None:
    touch("in/b/c/night.jpg", "in/a.jpg")
    Path("in/b/c/again").symlink_to("../../b")
    Path("in/b/self").symlink_to("self")
    assert [str(job.source) for job in plan(pattern)] == ["in/a.jpg", "in/b/c/night.jpg"]


@pytest.mark.parametrize("pattern", ["in", "in/**/*.jpg", "in/**", "i*/**/**/*.jpg"])
def test_links_that_lead_upwards_name_each_file_once_and_soon(pattern: str) -> None:
    folders = [f"in/[{number}]" for number in range(8)]
    touch(*(f"{folder}/a.jpg" for folder in folders), "in/.hidden/b.jpg", "in/[0]/notes.txt")
    for folder in folders:
        Path(folder, "up").symlink_to("..")
    assert [str(job.source) for job in plan(pattern)] == [f"{folder}/a.jpg" for folder in folders]


def test_a_link_to_a_folder_that_lies_there_itself_does_not_move_its_outputs() -> None:
    touch("in/A/a.jpg", "in/B/b.jpg", "elsewhere/c.jpg")
    Path("in/A/best").symlink_to("../B")
    Path("in/A/far").symlink_to("../../elsewhere")
    wanted = [("in/A/a.jpg", "out/A/a.jpg"), ("in/A/far/c.jpg", "out/A/far/c.jpg"), ("in/B/b.jpg", "out/B/b.jpg")]
    assert pairs(plan("in")) == wanted


def test_a_file_that_is_named_is_not_taken_for_what_a_link_leads_to(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("in/A/a.jpg", "in/z.jpg")
    Path("in/A/loop").symlink_to("..")
    monkeypatch.chdir("in")
    found = pairs(plan("A", "z.jpg", out="../out"))
    assert ("z.jpg", "../out/z.jpg") in found
    assert len(found) == 2


def test_links_that_are_shortcuts_move_no_outputs() -> None:
    touch("P/a/2024/07/x.png", "P/b/2024/07/x.png")
    Path("P/latest-a").symlink_to("a/2024/07")
    Path("P/latest-b").symlink_to("b/2024/07")
    found = pairs(plan("P/a", "P/b", "P/latest-a", "P/latest-b"))
    assert [target for _, target in found] == ["out/a/2024/07/x.png", "out/b/2024/07/x.png"]


def test_a_folder_that_may_be_listed_and_not_entered_is_told_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("in/a.jpg", "in/deep/b.jpg")

    def forbidden(_: Path) -> bool:
        raise PermissionError  # what Python 3.11 says of a path in it

    monkeypatch.setattr(Path, "is_symlink", forbidden)
    assert len([*gather(["in"], Path("out"))]) == 2


def test_a_file_named_twice_is_enhanced_once() -> None:
    touch("in/a.jpg")
    Path("alias").symlink_to("in")
    assert pairs(plan("in/a.jpg", "./in/a.jpg", "in/*.jpg", "alias/a.jpg")) == [("in/a.jpg", "out/a.jpg")]


@pytest.mark.parametrize("given", ["in", "in/gone.jpg", "in/*.jpg"])
def test_a_broken_link_becomes_a_job_that_will_fail(given: str) -> None:
    Path("in").mkdir()
    Path("in/gone.jpg").symlink_to("nowhere.jpg")
    assert pairs(plan(given)) == [("in/gone.jpg", "out/gone.jpg")]


def test_a_broken_link_to_one_file_makes_no_folder_with_the_name_of_a_picture() -> None:
    Path("gone.jpg").symlink_to("nowhere.jpg")
    assert pairs(plan("gone.jpg", out="day.png")) == [("gone.jpg", "day.png")]


def test_an_unreadable_folder_becomes_a_job_that_tells_so(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("in/a.jpg", "in/closed/b.jpg", "in/closed.png")
    scan = os.scandir

    def refuse(path: str) -> object:
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may read everything
    planned = plan("in")
    assert [str(job.source) for job in planned if not job.problem] == ["in/a.jpg", "in/closed.png"]
    assert [(str(job.source), job.problem) for job in planned if job.problem] == [
        ("in/closed", "The folder cannot be read: Permission denied.")
    ]


@pytest.mark.parametrize(
    ("names", "options"),
    [(("in/a.jpg", "in/a.png"), {"format": "png"}), (("in/x/a.jpg", "in/y/a.jpg"), {"flatten": 1})],
)
def test_two_inputs_with_one_target_are_refused_and_named(names: tuple[str, ...], options: dict) -> None:
    touch(*names)
    with pytest.raises(OutputExists) as caught:
        plan("in", **options)
    assert all(name in caught.value.message for name in names)


def test_names_that_differ_in_case_or_unicode_form_are_one_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("in/x/Grün.jpg", "in/y/gru\u0308n.jpg")
    assert len(plan("in", flatten=True)) == 2
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(OutputExists):
        plan("in", flatten=True)


@pytest.mark.parametrize("existing", ["refuse", "overwrite", "skip"])
def test_an_input_is_never_a_target_by_any_name(existing: str) -> None:
    touch("in/a.jpg", "other/b.jpg")
    Path("alias").symlink_to("in")
    Path("soft").mkdir()
    Path("soft/a.jpg").symlink_to("../in/a.jpg")
    Path("hard").mkdir()
    Path("hard/a.jpg").hardlink_to("in/a.jpg")
    for out in ("in", "./other/../in", "alias", "soft", "hard"):
        with pytest.raises(OutputExists, match="never writes over its inputs"):
            plan("in", out=out, existing=existing)
    for out in ("in/a.jpg", "soft/a.jpg", "hard/a.jpg"):
        with pytest.raises(OutputExists, match="never writes over its inputs"):
            plan("in/a.jpg", out=out, existing=existing)


def test_another_input_is_no_target_either() -> None:
    touch("in/a.jpg", "in/a_x.jpg")
    with pytest.raises(OutputExists, match=r"in/a_x\.jpg is an input"):
        plan("in", out="in", suffix="_x", existing="overwrite")


def test_existing_outputs_are_refused_by_name_and_number() -> None:
    names = [f"{number}.jpg" for number in range(1, 8)]
    touch(*(f"{folder}/{name}" for folder in ("in", "out") for name in names))
    with pytest.raises(OutputExists) as caught:
        plan("in")
    assert "out/1.jpg, out/2.jpg" in caught.value.message
    assert "and 2 more exist already" in caught.value.message
    assert "--skip-existing" in caught.value.hint


def test_existing_outputs_are_skipped_or_replaced_when_asked() -> None:
    touch("in/a.jpg", "in/b.jpg", "out/a.jpg")
    assert [job.skip for job in plan("in", existing="skip")] == [True, False]
    assert [job.skip for job in plan("in", existing="overwrite")] == [False, False]


def test_a_folder_where_a_picture_would_go_is_refused() -> None:
    touch("in/a.jpg", "out/a.jpg/x")
    with pytest.raises(OutputExists, match=r"out/a\.jpg is a folder"):
        plan("in", existing="overwrite")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_where_a_picture_would_go_is_refused() -> None:
    touch("in/a.jpg", "out/b.jpg")
    os.mkfifo("out/a.jpg")
    with pytest.raises(OutputExists, match=r"out/a\.jpg is not a regular file"):
        plan("in", existing="overwrite")
    assert not Path("out/a.jpg").is_file()


def test_shards_go_by_the_bytes_of_a_name_whatever_the_locale_makes_of_them() -> None:
    """Parts of one folder may run on machines of different locales."""
    told = {
        subprocess.run(
            [sys.executable, *options, "-c", SHARDS, "k\u00f6ln.jpg".encode().hex()],
            env={**os.environ, "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for options in (("-X", "utf8=0"), ("-X", "utf8=1"))
    }
    assert len(told) == 1


SHARDS = """
import os, pathlib, sys
from lowlight_cli import jobs
from lowlight_cli.tasks import synth
name = os.fsdecode(bytes.fromhex(sys.argv[1]))
print([jobs.in_shard(pathlib.Path(name), (part, 97)) for part in range(1, 98)].index(True), synth.digest(0, name))
"""


# Bytes that are no text come as the surrogates dc80 to dcff, and no others come from a disk.
letters = some.characters(exclude_categories=["Cs"], exclude_characters="\0/") | some.characters(
    min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]
)
paths = some.sets(some.text(letters, min_size=1), min_size=1, max_size=20)


@given(paths, some.integers(1, 9))
def test_shards_are_an_exact_partition(names: set[str], parts: int) -> None:
    for name in names:
        assert [jobs.in_shard(Path(name), (part, parts)) for part in range(1, parts + 1)].count(True) == 1


def test_a_shard_does_not_change_when_other_files_come_and_go() -> None:
    touch(*(f"in/{number}.jpg" for number in range(0, 40, 2)))
    before = {job.source for job in plan("in", shard=(2, 3))}
    touch(*(f"in/{number}.jpg" for number in range(1, 40, 2)))
    after = {job.source for job in plan("in", shard=(2, 3))}
    assert before
    assert before == {path for path in after if int(path.stem) % 2 == 0}


def test_shards_have_about_the_same_size() -> None:
    sizes = [sum(jobs.in_shard(Path(f"{n}.jpg"), (part, 4)) for n in range(1000)) for part in range(1, 5)]
    assert sum(sizes) == 1000
    assert min(sizes) > 200


def test_only_the_shards_own_outputs_count_as_existing() -> None:
    touch("in/a.jpg", "in/b.jpg", "in/c.jpg", "in/d.jpg")
    for job in plan("in", shard=(1, 2)):
        touch(str(job.target))
    assert plan("in", shard=(2, 2))


def test_limit_takes_the_first_in_natural_order() -> None:
    touch("in/n10.jpg", "in/n9.jpg", "in/n1.jpg", "in/n01.jpg")
    assert [job.source.name for job in plan("in")] == ["n01.jpg", "n1.jpg", "n9.jpg", "n10.jpg"]
    assert [job.source.name for job in plan("in", limit=3)] == ["n01.jpg", "n1.jpg", "n9.jpg"]


@pytest.mark.parametrize("name", ["Grüße ä.jpg", "🌃 night.jpg", "a b  c.jpg", "a\nb.jpg", os.fsdecode(b"bad\xff.jpg")])
def test_any_name_a_file_system_allows_is_kept(name: str) -> None:
    touch(f"in/{name}")
    for given_name in ("in", f"in/{name}", "in/*.jpg"):
        [job] = plan(given_name)
        assert (job.source, job.target) == (Path("in") / name, Path("out") / name)


@pytest.mark.parametrize("given", ["in", "in/**/*", "in/*.jpg"])
def test_hidden_files_and_our_temporary_files_are_ignored(given: str) -> None:
    touch("in/a.jpg", "in/.b.jpg", "in/.thumbs/c.jpg", f"in/{atomic.PREFIX}0123.tmp", f"in/{atomic.PREFIX}0123.jpg")
    assert [str(job.source) for job in plan(given)] == ["in/a.jpg"]


def test_a_hidden_file_or_folder_that_is_named_is_taken() -> None:
    touch(".in/a.jpg", ".b.jpg")
    assert [str(job.source) for job in plan(".in", ".b.jpg")] == [".in/a.jpg", ".b.jpg"]


@pytest.mark.parametrize("name", ["nowhere", "no\0where", "n" * 300, "in/a.jpg/x", "in/*.png"])
def test_an_input_that_is_not_there_is_no_input(name: str) -> None:
    touch("in/a.jpg")
    with pytest.raises(NoInput) as caught:
        plan("in/a.jpg" if "*" not in name else name, name)
    assert caught.value.exit_code == NO_INPUT


def test_inputs_among_others_that_give_nothing_are_told() -> None:
    touch("in/a.jpg", "in/notes.txt", "empty/b.txt", "out/c.jpg")
    told: list[str] = []
    inputs = ("in", "empty", "nope/*.png", "in/*.xyz", "out")
    assert [str(job.source) for job in jobs.plan(inputs, Layout(out=Path("out")), told.append)] == ["in/a.jpg"]
    assert told == ["empty", "nope/*.png", "in/*.xyz", "out"]


def test_pictures_that_are_passed_over_are_counted_once_behind_links_too() -> None:
    touch("in/a.jpg", "in/b.gif", "real/c.gif", "in/.d.gif")
    Path("in/link").symlink_to("../real")
    Path("real/loop").symlink_to("../in")
    assert passed_over(["in", "in", "real"]) == {".gif": 2}


def test_a_run_with_a_suffix_goes_on_beside_its_inputs() -> None:
    touch("in/a.jpg", "in/b.jpg", "in/a_bright.jpg")
    options = {"out": "in", "suffix": "_bright", "existing": "skip"}
    assert [(str(job.source), job.skip) for job in plan("in", **options)] == [("in/a.jpg", True), ("in/b.jpg", False)]
    for rule in ("refuse", "overwrite"):
        with pytest.raises(OutputExists, match="is an input"):
            plan("in", **{**options, "existing": rule})
    with pytest.raises(OutputExists, match="is an input"):
        plan("in/a.jpg", "in/a_bright.jpg", **options)


def test_a_folder_that_cannot_be_read_is_not_done_because_a_picture_has_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    touch("in/sub.png", "in/sub/lost.jpg", "out/sub.png")
    scandir = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert [(job.skip, bool(job.problem)) for job in plan("in", existing="skip")] == [(True, False), (False, True)]
    with pytest.raises(OutputExists, match=r"^out/sub.png exists already"):
        plan("in")


def test_an_empty_folder_is_no_input() -> None:
    touch("in/notes.txt")
    with pytest.raises(NoInput, match="no pictures in in"):
        plan("in")


def test_a_folder_that_may_not_be_looked_into_is_told_apart_from_one_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse)
        patch.setattr(os, "lstat", refuse)
        with pytest.raises(NoInput, match="Permission denied"):
            list(gather(["closed/a.jpg"], Path("out")))


@pytest.mark.parametrize("out", ["day.gif", "day.HEIC", "day.pdf"])
def test_a_suffix_that_cannot_be_written_is_refused(out: str) -> None:
    touch("a.jpg")
    with pytest.raises(OptionError, match="cannot be written as"):
        plan("a.jpg", out=out)


def test_out_and_format_must_agree() -> None:
    touch("a.jpg")
    assert pairs(plan("a.jpg", out="day.jpeg", format="jpg")) == [("a.jpg", "day.jpeg")]
    with pytest.raises(OptionError, match="do not agree"):
        plan("a.jpg", out="day.jpg", format="png")


def test_a_suffix_has_no_place_in_a_name_that_is_given_whole() -> None:
    touch("a.jpg")
    with pytest.raises(OptionError, match="--suffix _bright has no place"):
        plan("a.jpg", out="day.jpg", suffix="_bright")
    assert pairs(plan("a.jpg", out="day", suffix="_bright")) == [("a.jpg", "day/a_bright.jpg")]


def test_several_pictures_do_not_go_into_one_file() -> None:
    touch("in/a.jpg", "in/b.jpg", "there.txt")
    for out in ("day.jpg", "there.txt"):
        with pytest.raises(OptionError, match="names a file, not a folder"):
            plan("in", out=out)


@pytest.mark.parametrize("suffix", ["a/b", "\0"])
def test_a_suffix_that_is_no_part_of_a_name_is_refused(suffix: str) -> None:
    touch("in/a.jpg")
    with pytest.raises(OptionError, match="--suffix"):
        plan("in", suffix=suffix)
