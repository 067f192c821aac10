"""A small server that speaks enough of the Hub protocol for `huggingface_hub` to fetch and to commit, with faults.

    with Hub() as hub:
        hub.add("owner/name", REVISION, "x.onnx", b"...")
        hub.fault("truncated", method="GET", times=1)
        ... HF_ENDPOINT=hub.endpoint

Faults: `missing` (404, no such file), `no repository` (404), `busy` (503), `truncated` (the connection ends halfway),
`wrong` (right length, other bytes), `short` (an honest answer with fewer bytes), `stalled` (headers, then silence),
`hung` (no answer at all), `forbidden` (403). A fault acts `times` times (None: always) on requests of that method.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import threading
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from lowlight_cli import hub as hub_settings
from lowlight_cli.manifest import ModelSpec, WeightFile

REPO, REVISION = "someone/weights", "0123456789abcdef" * 2 + "01234567"

STATUS = {"busy": (503, ""), "forbidden": (403, ""), "missing": (404, "EntryNotFound"), "lost": (404, "")}
STATUS["no repository"] = (404, "RepoNotFound")
SILENCE = 20.0
"""Seconds a stalled connection stays silent at most; the end of the server ends it sooner."""


@dataclass
class Hub:
    """Files by (repository, revision, path); `requests` holds (method, path, headers) of all that came."""

    files: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    faults: list[list[Any]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Hub:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.hub = self
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def add(self, repo: str, revision: str, path: str, data: bytes) -> None:
        self.files[repo, revision, path] = data

    def fault(self, kind: str, *, method: str = "GET", times: int | None = None) -> None:
        self.faults.append([kind, method, times])

    def next_fault(self, method: str) -> str:
        for fault in self.faults:
            if fault[1] == method and fault[2] != 0:
                fault[2] = None if fault[2] is None else fault[2] - 1
                return fault[0]
        return ""

    def count(self, method: str) -> int:
        return sum(request[0] == method for request in self.requests)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ThreadingHTTPServer

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.serve()

    def do_GET(self) -> None:
        self.serve()

    def do_PUT(self) -> None:
        self.route().blobs[self.where.rpartition("/")[2]] = self.body()
        self.answer(200, b"")

    def do_POST(self) -> None:
        hub = self.route()
        body = self.body()
        kind, error_code = STATUS.get(hub.next_fault("POST"), (200, ""))
        if kind != 200:
            return self.answer(kind, b"{}", error_code)
        if self.where.endswith("/info/lfs/objects/batch"):
            reply = {"objects": [self.upload_action(item) for item in json.loads(body)["objects"]]}
        elif "/preupload/" in self.where:
            reply = {"files": [upload_mode(item["path"]) for item in json.loads(body)["files"]]}
        elif "/commit/" in self.where:
            reply = self.commit(body)
        elif self.where == "/api/repos/create":
            asked = json.loads(body)
            reply = {"url": f"{hub.endpoint}/{asked['organization']}/{asked['name']}"}
        else:
            reply = {"errors": [], "warnings": []}
        return self.answer(200, json.dumps(reply).encode())

    def route(self) -> Hub:
        """Note the request; `self.where` is its path, also where a proxy is sent a whole address."""
        self.where = unquote(urlsplit(self.path).path)
        self.server.hub.requests.append((self.command, self.path, dict(self.headers)))
        return self.server.hub

    def body(self) -> bytes:
        """The request's body, chunked or not."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def answer(self, status: int, body: bytes, error_code: str = "", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if error_code:
            self.send_header("X-Error-Code", error_code)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def serve(self) -> None:
        """HEAD and GET of /{repo}/resolve/{revision}/{path}, with a `Range`."""
        hub = self.route()
        fault = hub.next_fault(self.command)
        repo, _, rest = self.where.strip("/").partition("/resolve/")
        revision, _, path = rest.partition("/")
        data = hub.files.get((repo, revision, path))
        if fault == "hung":
            hub.closing.wait(SILENCE)
            self.close_connection = True
        elif fault in STATUS or data is None:
            status, error_code = STATUS[fault or "missing"]
            self.answer(status, b"", error_code)
        else:
            self.send_file(hub, data, revision, fault)

    def send_file(self, hub: Hub, data: bytes, revision: str, fault: str) -> None:
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        headers = {"ETag": tag, "X_Linked_Etag": tag, "X_Repo_Commit": revision, "Accept_Ranges": "bytes"}
        if fault == "wrong":
            data = bytes(byte ^ 0xFF for byte in data)
        if fault == "short":
            data = data[: len(data) // 2]
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        part = data[start:]
        headers |= {"Content_Length": str(len(part)), "X_Linked_Size": str(len(data))}
        cut = part[: len(part) // 2] if fault in ("truncated", "stalled") else part
        self.answer(206 if start else 200, cut, **headers)
        if fault == "stalled":
            self.wfile.flush()
            hub.closing.wait(SILENCE)
        self.close_connection = cut is not part

    def upload_action(self, item: dict[str, Any]) -> dict[str, Any]:
        upload = {"upload": {"href": f"{self.server.hub.endpoint}/lfs/{item['oid']}"}}
        return {"oid": item["oid"], "size": item["size"], "actions": upload}

    def commit(self, body: bytes) -> dict[str, Any]:
        """Store the files of a commit under a new revision, which is the sha1 of its text."""
        hub, revision = self.server.hub, hashlib.sha1(body).hexdigest()
        repo = self.where.removeprefix("/api/models/").partition("/commit/")[0]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "lfsFile":
                hub.add(repo, revision, value["path"], hub.blobs[value["oid"]])
            elif line["key"] == "file":
                hub.add(repo, revision, value["path"], base64.b64decode(value["content"]))
        return {"commitOid": revision, "commitUrl": f"{hub.endpoint}/{repo}/commit/{revision}"}


def upload_mode(path: str) -> dict[str, Any]:
    mode = "lfs" if path.endswith((".safetensors", ".onnx")) else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}


def weight_file(role: str, data: bytes, **fields: Any) -> WeightFile:
    """A row's file with the size and the sha256 of `data`, on the Hub unless said otherwise."""
    place = {"path": f"tiny/{role}.bin", "repo": REPO, "revision": REVISION} | fields
    return WeightFile(role=role, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), **place)


def row(*files: WeightFile, name: str = "tiny", **fields: Any) -> ModelSpec:
    """A row of the manifest for tests of files."""
    facts = {"arch": "tiny", "summary": "For tests.", "paper": {}, "licence": "MIT", "params": {}, "parameters": 12000}
    facts |= {"multiple": 4, "halo": 8, "tiling": "exact", "thumbnail": 0, "scales": (1,), "exposure": False}
    facts |= {"precisions": ("fp32",), "bytes_per_pixel": 100, "generative": False, "training": {}, "figures": ()}
    return ModelSpec(name=name, files=files, **facts | fields)


@contextlib.contextmanager
def quick_hub(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Hub]:
    """A running server, and `huggingface_hub` turned to it with short time-outs and no pauses.

    The library reads most of the environment only when it is imported: what we rely on is set in its constants too.
    """
    hub_settings.set_up()
    import huggingface_hub
    from huggingface_hub import constants, file_download

    isolate(monkeypatch, folder)
    fixed = {"HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True, "HF_HUB_DISABLE_TELEMETRY": True}
    fixed |= {"HF_HUB_DOWNLOAD_TIMEOUT": 0.3, "HF_HUB_ETAG_TIMEOUT": 0.3, "HF_TOKEN_PATH": str(folder / "token")}
    for name, value in fixed.items():
        monkeypatch.setattr(constants, name, value)
    clock = {name: getattr(time, name) for name in dir(time)} | {"sleep": lambda _: None}
    monkeypatch.setattr(file_download, "time", types.SimpleNamespace(**clock))
    monkeypatch.setattr(hub_settings, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(hub_settings, "PATIENCE", 0.5)
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        huggingface_hub.close_session()
        yield hub
        huggingface_hub.close_session()


def isolate(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Our home, the Hub's, and its settings: as on a fresh machine, under `folder`."""
    for name in [*os.environ]:
        if name.startswith(("HF_", "HUGGINGFACE_", "LOWLIGHT_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    for name, value in hub_settings.SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOWLIGHT_HOME", str(folder / "home"))
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
