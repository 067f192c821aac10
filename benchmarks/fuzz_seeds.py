"""Small honest files to begin with: settings, logs, weights, archives; pictures are in `fuzz_seed_pictures`."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from fuzz_seed_pictures import pictures, pixels, saved
from PIL import Image

from lowlight_cli import manifest

TINY = {
    "aux_retinex": {"width": 2},
    "ba_gan": {"widths": [4, 4], "attention": [4, 4, 4]},
    "drs_cyclegan": {"width": 4, "blocks": [1, 0, 0]},
    "ema_cyclegan": {"width": 4, "blocks": 1, "groups": 2, "ema": False, "aspp": False},
    "neid": {"widths": [2, 4]},
}
"""Params of small networks."""


def manifests() -> dict[str, bytes]:
    """Rows of the manifest by name, and the assets."""
    document = json.loads(manifest.manifest_path().read_text(encoding="utf-8"))
    rows = {name: json.dumps({name: row}).encode() for name, row in document["models"].items()}
    return rows | {"assets": json.dumps({"assets": document["assets"]}).encode()}


def weights() -> dict[str, bytes]:
    """Files of weights: small networks, with what they say of themselves and without, and PyTorch's own."""
    import torch

    from lowlight_cli import models
    from lowlight_cli.nn.state import save_weights
    from lowlight_cli.weights_metadata import Origin, texts

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for arch, params in TINY.items():
            code = models.module(arch)
            network, path = code.build(**params), Path(folder) / "x.safetensors"
            for name, told in ((arch, texts(Origin(arch, params, code.geometry(**params)))), (f"{arch} bare", None)):
                save_weights(path, network, told)
                found[name] = path.read_bytes()
            small = {"weight": torch.ones(2, 3), "bias": torch.zeros(3, dtype=torch.bfloat16)}
            for name, state, old in (
                (f"{arch} pt", network.state_dict(), False),
                ("pt", small, False),
                ("pt old", small, True),
            ):
                torch.save(state, path, _use_new_zipfile_serialization=not old)
                found[name] = path.read_bytes()
    return found


def settings() -> dict[str, bytes]:
    """Settings of training as a run keeps them, of each network."""
    import yaml
    from fuzz_targets import NETWORKS, default_settings

    from lowlight_cli.tasks.train_record import plain

    found = {}
    for arch in NETWORKS:
        values = {name: plain(value) for name, value in vars(default_settings(arch)).items()}
        text = yaml.safe_dump({"model": arch.replace("_", "-"), **values}, sort_keys=False)
        found[arch] = f"#{arch}\n{text}".encode()
    return found | {"set": b"#set\nloss.ssim=0.5", "set json": b'#set\nloss={"huber": 1, "delta": 0.05}'}


def logs() -> dict[str, bytes]:
    """Files that runs leave behind; the first line says whose."""
    record = {"folder": "all", "name": "a.png", "photo": "a.jpg", "photo_sha256": "0" * 64, "seed": 1}
    told = {"photos": ["a.jpg"], "preset": "camera", "seed": 1, "copies": 1}
    start = {"started": "2026-11-22T00:00:00+00:00", "command": "lowlight train", "data": {"kind": "x", "summary": "y"}}
    row = {
        "model": "neid",
        "picture": "a",
        "width": 8,
        "height": 6,
        "seconds": 0.1,
        "error": None,
        "metrics": {"psnr": 20.0},
    }
    entry = {"key": "k", "output": "0" * 64, "measured": {"psnr": "d"}, "row": row}
    index = {
        "key": "k",
        "place": "x",
        "bytes": 3,
        "names": ["a"],
        "sha256": ["0"],
        "sizes": [[1, 1]],
        "means": [[0.0]],
        "offsets": [0],
    }
    return {
        "synth": b"#synth\n" + b"\n".join([json.dumps(record).encode()] * 3) + b"\n",
        "synth settings": b"#settings\n" + json.dumps(told).encode(),
        "run": b"#run\n" + json.dumps({"model": "neid", "starts": [start, start]}).encode(),
        "journal": b"#journal\nstep,seconds,name,value\n1,0.5,loss,0.25\n2,1.0,psnr,20.1\n2,1.0,ssim,0.5\n",
        "rows": b"#rows\n" + b"\n".join([json.dumps(entry).encode()] * 2) + b"\n",
        "cache": b"#cache\n" + json.dumps(index).encode(),
        "scenes": b"#scenes\n" + json.dumps({"our485_scenes": [[2], [5, 6]]}).encode(),
        "names": b"#names\n" + json.dumps(["a", "b"]).encode(),
        "names text": b"#names\na\nb\n",
        "exported": b"#exported\n" + json.dumps({"version": "0", "sha256": {"x1.onnx": "0" * 64}}).encode(),
        "evidence": b"#evidence\n" + evidence(),
    }


def evidence() -> bytes:
    """A log of three records with a whole chain."""
    from lowlight_cli.evidence import Log

    common = {"run": "0" * 32, "case": "7", "examiner": None, "note": None}
    size = {"width": 8, "height": 6, "bits": 8, "format": "png"}
    file = {"path": "/x/b.png", "bytes": 3, "sha256": "0" * 64, "pixels_sha256": "0" * 64, **size}
    source = {**file, "path": "/x/a.png", "relative": "a.png", "modified": None, "sha256_after": "0" * 64}
    method = {
        "model": "neid",
        "arch": "neid",
        "generative": False,
        "params": {},
        "weights": [],
        "settings": {"scale": 1},
    }
    method |= {"backend": "onnx", "provider": "CPU", "device": "cpu", "threads": 1, "limits": ["Dark."], "paper": {}}
    system = {
        "lowlight": "0",
        "python": "3",
        "packages": {"numpy": "2"},
        "os": "x",
        "cpu": "y",
        "cores": 2,
        "host": "z",
    }
    told = {"status": "done", "error": None, "hint": None, "notices": [], "seconds": 0.1, "maps": [], "baseline": None}
    told |= {"input": source, "output": file, "method": method, "system": system, "tiles": {"side": 0, "rows": 1}}
    with tempfile.TemporaryDirectory() as folder:
        log = Log(Path(folder) / "log.jsonl")
        start = {"argv": ["enhance"], "pictures": 1, "already_done": 0, "system": system, "method": method}
        log.append({"kind": "start", **common, **start})
        log.append({"kind": "picture", **common, **told})
        counts = {"done": 1, "failed": 0, "skipped": 0}
        log.append({"kind": "end", **common, "status": "finished", "counts": counts, "exit_code": 0})
        return log.path.read_bytes()


def archives() -> dict[str, bytes]:
    """Zip archives, packed and not, with folders."""
    found = {}
    for name, packing in (("stored", zipfile.ZIP_STORED), ("packed", zipfile.ZIP_DEFLATED)):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", packing) as zipped:
            zipped.mkdir("set")
            for member in ("set/low/1.png", "set/high/1.png"):
                zipped.writestr(member, saved(Image.fromarray(pixels()), "PNG"))
        found[name] = out.getvalue()
    return found


SEEDS: Mapping[str, Callable[[], dict[str, bytes]]] = {
    "picture": pictures,
    "manifest": manifests,
    "safetensors": weights,
    "config": settings,
    "log": logs,
    "archive": archives,
}
