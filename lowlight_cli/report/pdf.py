"""A page as PDF, printed by a browser that is on this machine: without a window, without network, with nothing of its
user's settings."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from lowlight_cli.errors import SOME_FAILED, LowlightError, OptionError, reason_of

VARIABLE = "LOWLIGHT_BROWSER"
"""Names the browser to use, as a path or as a name on PATH."""
NAMES = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    *("msedge", "microsoft-edge", "microsoft-edge-stable"),
)
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
TIMEOUT = 300.0
"""Seconds; a page of 200 pictures takes a tenth of it on a slow machine."""
REMEDY = "Write the report as .html and print it from any browser."
CLOSED = "http://127.0.0.1:9"
"""A proxy where nobody answers: whatever the browser would ask of a network goes there."""


class PrintFailed(LowlightError):
    """The browser did not print."""

    exit_code = SOME_FAILED


def browser() -> str:
    """The browser to print with; OptionError where there is none."""
    if asked := os.environ.get(VARIABLE):
        if found := shutil.which(asked):
            return found
        raise OptionError(f"{VARIABLE} names {asked}, which cannot be run.", "Name a Chromium, Chrome or Edge.")
    found = next((path for name in (*NAMES, *PLACES) if (path := shutil.which(name))), None)
    if found is None:
        raise OptionError(
            "A PDF is printed by Chromium, Chrome or Edge, and none of them is on PATH.",
            f"{REMEDY} Or name a browser by {VARIABLE}.",
        )
    return found


def printed(html: str, *, timeout: float = TIMEOUT) -> bytes:
    """The PDF of a page."""
    program = os.path.abspath(browser())  # noqa: PTH100 - it runs in another folder; links are its own affair
    with tempfile.TemporaryDirectory(prefix="lowlight-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        page, made = folder / "report.html", folder / "report.pdf"
        page.write_bytes(html.encode("utf-8", "backslashreplace"))
        told = print_page(command(program, folder, page, made), folder, timeout)
        data = made.read_bytes() if made.is_file() else b""
    if not (data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF")):
        raise PrintFailed(f"{program} made no PDF{told}.", REMEDY)
    return data


def command(program: str, folder: Path, page: Path, made: Path) -> list[str]:
    """The words to run."""
    return [
        program,
        "--headless",
        "--disable-gpu",
        "--disable-extensions",
        "--disable-sync",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-default-apps",
        "--no-first-run",
        "--no-default-browser-check",
        f"--proxy-server={CLOSED}",
        "--proxy-bypass-list=<-loopback>",
        f"--user-data-dir={folder / 'profile'}",
        *(["--no-sandbox"] if is_root() else []),
        "--no-pdf-header-footer",
        f"--print-to-pdf={made}",
        page.as_uri(),
    ]


def is_root() -> bool:
    """Whether this is the superuser, for whom the browser has no sandbox."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def print_page(words: list[str], folder: Path, timeout: float) -> str:
    """Run the browser until it ends; gives the last line that it said, as a part of a sentence."""
    log = folder / "browser.log"
    with log.open("wb") as told:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=sys.platform != "win32",
            )
        except OSError as error:
            raise PrintFailed(f"{words[0]} cannot be run: {reason_of(error)}.", REMEDY) from error
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise PrintFailed(f"{words[0]} had not printed after {timeout:g} s.", REMEDY) from None
        finally:
            end(process)
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return f": {lines[-1].strip()[:200].rstrip('.')}" if lines and process.returncode else ""


def end(process: subprocess.Popen[bytes]) -> None:
    """Leave neither the browser nor a child of it behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
