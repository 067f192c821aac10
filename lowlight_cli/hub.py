"""Files on the Hugging Face Hub: where they are, where its cache has them, and how one is fetched.

`huggingface_hub` is imported only to download. Of what it does by itself, proxies (`HTTPS_PROXY`, ...) and `HF_TOKEN`
are read when they are used; its time-outs (`HF_HUB_ETAG_TIMEOUT`, `HF_HUB_DOWNLOAD_TIMEOUT`: 10 s without a byte) and
the place of a saved token once, when it is imported. It compares sizes, not hashes: `weights` does that.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowlight_cli import manifest
from lowlight_cli.errors import FULL, ModelUnavailable
from lowlight_cli.manifest import ModelSpec, WeightFile
from lowlight_cli.places import expanded

SETTINGS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",  # else it also asks for a list of harnesses before it looks into its cache
    "HF_HUB_DISABLE_XET": "1",  # plain HTTP: one way, whose time-outs are known
    "HF_HUB_DISABLE_SYMLINKS_WARNING": "1",
}
"""What `huggingface_hub` finds in the environment when it is imported, unless the user has chosen."""

PAUSES = (1.0, 3.0)
"""Seconds before the second and the third try when the Hub is busy or a connection broke."""
BUSY = (408, 429, 500, 502, 503, 504)
BROKEN = {"RemoteProtocolError", "ReadError", "ReadTimeout"}
UNKNOWN = 2**20
"""Bytes that are expected where neither we nor the server can tell: such files are small."""
PATIENCE = 30.0
"""Seconds after which a broken connection is not tried anew; one that cannot be made at all never is."""

REASONS = {
    "OfflineModeIsEnabled": ("the Hub is switched off", "Unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE."),
    "RepositoryNotFoundError": (
        "there is no such repository, or it is private",
        "Set HF_TOKEN for a private one, or LOWLIGHT_HUB_REPO to another.",
    ),
    "RevisionNotFoundError": ("the repository has no such revision", "Set LOWLIGHT_HUB_REPO=owner/name@revision."),
    "RemoteEntryNotFoundError": ("the repository has no such file (404)", "Update lowlight."),
    "FileMetadataError": ("the server does not answer as a Hub does", "Check HF_ENDPOINT and the proxy settings."),
    "ProxyError": ("the proxy refused", "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY."),
    "TimeoutException": (
        "the connection timed out",
        "Try again; HF_HUB_DOWNLOAD_TIMEOUT and HF_HUB_ETAG_TIMEOUT (seconds) allow more time.",
    ),
    "RemoteProtocolError": ("the connection ended early", "Try again."),
    "ReadError": ("the connection ended early", "Try again."),
    "UnicodeEncodeError": ("what would be sent is not plain ASCII", "Check HF_TOKEN and HF_ENDPOINT."),
    "TransportError": ("there is no connection", "Check the network, HF_ENDPOINT and the proxy settings."),
}
"""By the class of the error, or one it inherits from; the transport (httpx, httpx2) is not ours to import."""

STATUSES = {
    401: ("the server wants a token it knows (401)", "Set HF_TOKEN, or unset a wrong one."),
    403: ("the token does not allow it (403)", "Set HF_TOKEN to one that may."),
    404: ("the server has no such file (404)", "Check HF_ENDPOINT and LOWLIGHT_HUB_REPO."),
    429: ("the server limits the rate (429)", "Try again later, or set HF_TOKEN."),
}

ERRNOS = {
    **dict.fromkeys(FULL, ("the disk is full", "Free some space.")),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), ("no permission to write there", "")),
}


def is_offline() -> bool:
    """True where `HF_HUB_OFFLINE` forbids the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def endpoint() -> str | None:
    """The server in place of the public Hub: `HF_ENDPOINT`."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def cache() -> Path:
    """The folder of the Hub cache, by the rules of `huggingface_hub` (`HF_HUB_CACHE`, `HF_HOME`, ...)."""
    env = os.environ.get
    base = env("HF_HOME") or Path(env("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    chosen = env("HF_HUB_CACHE") or env("HUGGINGFACE_HUB_CACHE") or Path(base) / "hub"
    return expanded(os.path.expandvars(chosen))


def source(file: WeightFile) -> tuple[str, str]:
    """Repository and revision (40 hex digits, or empty for a file that is not published) of a file.

    `LOWLIGHT_HUB_REPO` may be `owner/name@revision`, because a copy of the repository has other commits.
    """
    repo, _, revision = (file.repo or manifest.hub_repo()).partition("@")
    revision = revision or file.revision or ""
    if revision and not re.fullmatch("[0-9a-f]{40}", revision):
        raise ModelUnavailable(
            f"The revision of {repo} is {revision!r}, not the 40 hex digits of a commit.",
            "Give LOWLIGHT_HUB_REPO as owner/name@<40 hex digits>.",
        )
    return repo, revision


def cached_path(file: WeightFile) -> Path | None:
    """Where the cache would have a file; None for one that is not published."""
    repo, revision = source(file)
    kind, name = typed(repo)
    return cache() / f"{kind}s--{name.replace('/', '--')}" / "snapshots" / revision / file.path if revision else None


def typed(repo: str) -> tuple[str, str]:
    """`model` or `dataset`, and owner/name; the Hub itself writes a data set as `datasets/owner/name`."""
    name = repo.removeprefix("datasets/")
    return "model" if name == repo else "dataset", name


def remedy(spec: ModelSpec, file: WeightFile) -> str:
    """How a user gets a file that is not there."""
    repo, revision = source(file)
    by_hand = f"`lowlight models import FILE` takes a copy of {file.path} (sha256 {file.sha256})"
    if not revision:
        return f"{'Reinstall lowlight' if file.bundled else 'It is not published'}; {by_hand}."
    return (
        f"Fetch it with `lowlight models pull {spec.name}`; {by_hand} brought from {repo} at revision {revision}. "
        "LOWLIGHT_HUB_REPO=owner/name@revision names another repository."
    )


def fetch(file: WeightFile, what: str, hint: str, *, force: bool = False, progress: bool = False) -> Path:
    """Fetch a file into the Hub cache, its bytes unchecked but for the size; every failure is a ModelUnavailable, of
    which `what` and `hint` are parts."""
    repo, revision = source(file)
    what = f"{what} cannot be fetched from {repo} at revision {revision}"
    failures, started = set_up(), time.monotonic()
    for pause in (*PAUSES, None):
        try:
            return _fetch(file, force, progress)
        except failures as error:
            if pause is None or not _passing(error, time.monotonic() - started):
                raise unavailable(what, error, hint) from error
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _fetch(file: WeightFile, force: bool, progress: bool) -> Path:
    """One try. A look first: alone, `hf_hub_download` would ask a server that hangs six times more, 60 s each."""
    import huggingface_hub
    from huggingface_hub import constants

    repo, revision = source(file)
    kind, name = typed(repo)
    url = huggingface_hub.hf_hub_url(name, file.path, repo_type=kind, revision=revision, endpoint=endpoint())
    size = huggingface_hub.get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT).size
    expected = size if file.bytes is None else file.bytes
    if size not in (None, expected):
        raise OSError(f"the server has {size} bytes where {expected} are expected")
    path = huggingface_hub.hf_hub_download(
        name,
        file.path,
        repo_type=kind,
        revision=revision,
        endpoint=endpoint(),
        cache_dir=cache(),
        force_download=force,
        tqdm_class=_bar(expected or UNKNOWN, progress),
    )
    return Path(path)


def _passing(error: BaseException, seconds: float) -> bool:
    """True where another try makes sense, so many seconds after the first."""
    return _status(error) in BUSY or (seconds < PATIENCE and not BROKEN.isdisjoint(_classes(error)))


def _bar(size: int, show: bool) -> type:
    """A progress bar that can be mute, and that ends a transfer which starts over and over."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        received = 0

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs if show else {**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self.received += max(n or 0, 0)
            if self.received > 4 * size:
                raise OSError(f"{self.received} bytes came where {size} were expected")
            return super().update(n)

    return Bar


def set_up() -> tuple[type[Exception], ...]:
    """Import `huggingface_hub` under our settings, and give the errors with which its transfers fail."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        from huggingface_hub import constants, errors
    except ValueError as error:
        raise ModelUnavailable(
            f"huggingface_hub cannot start: {error}.", "Check the environment variables that start with HF_."
        ) from error
    del constants  # imported for its errors: it reads the environment
    transport = next(base for base in errors.HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
    return (OSError, ValueError, RuntimeError, transport)


def unavailable(what: str, error: BaseException, hint: str = "") -> ModelUnavailable:
    """`error` in our words: what could not be had, why, and what to do about that."""
    reason, advice = _reason(error)
    return ModelUnavailable(f"{what}: {reason}.", f"{advice} {hint}".strip())


def _reason(error: BaseException) -> tuple[str, str]:
    """Why, and the remedy: by class, else by HTTP status, else by errno, else in its own words."""
    names = _classes(error)
    for name, words in REASONS.items():
        if name in names:
            return words
    status = _status(error)
    if status is not None:
        return STATUSES.get(status, (f"the server answered {status}", "Try again later."))
    if isinstance(error, OSError) and error.errno in ERRNOS:
        reason, advice = ERRNOS[error.errno]
        where = f" ({error.filename})" if error.filename else ""
        return f"{reason}{where}", advice or "Choose another folder with LOWLIGHT_HOME (imports) or HF_HOME (the Hub)."
    texts = dict.fromkeys(_first_line(link) for link in (error, [*_chain(error)][-1]))
    return ": ".join(texts), ""


def _first_line(error: BaseException) -> str:
    """What an error says, without a stop, or else its class; of the system's errors not their numbers."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return next(iter(str(error).strip().splitlines()), "").rstrip(".") or type(error).__name__


def _classes(error: BaseException) -> set[str]:
    """Names of the classes of an error and of those that caused it."""
    return {cls.__name__ for link in _chain(error) for cls in type(link).__mro__}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status behind an error, or None."""
    responses = (getattr(link, "response", None) for link in _chain(error))
    return next((response.status_code for response in responses if response is not None), None)
