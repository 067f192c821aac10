"""A network share that stalls: a folder served through FUSE, some of whose files never answer a read.

Speaks the kernel's FUSE protocol itself (include/uapi/linux/fuse.h, version 7.31), read only: no library is needed, but
root and /dev/fuse are.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import threading
from pathlib import Path

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, INIT, OPENDIR, READDIR = 1, 2, 3, 14, 15, 17, 18, 26, 27, 28
RELEASEDIR, BATCH_FORGET, INTERRUPT = 29, 42, 36
SILENT = {FORGET, BATCH_FORGET, INTERRUPT}
HEADER = struct.Struct("<IIQQIII4x")
ANSWER = struct.Struct("<IiQ")
BUFFER = 1 << 18


class Share:
    """`folder` at `mount`; reads of files whose relative path is in `stalled` are not answered, until it is emptied."""

    def __init__(self, folder: Path, mount: Path, stalled: set[str]) -> None:
        self.folder, self.mount, self.stalled = folder, mount, stalled
        self.paths = {1: folder}
        self.numbers = {folder: 1}
        self.held: list[tuple[int, bytes]] = []
        self.lock = threading.Lock()

    def __enter__(self) -> Share:
        self.mount.mkdir(parents=True, exist_ok=True)
        self.device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"share", os.fsencode(self.mount), b"fuse", 0, options):
            number = ctypes.get_errno()
            os.close(self.device)
            raise OSError(number, os.strerror(number))
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()
        ctypes.CDLL(None).umount2(os.fsencode(self.mount), 2)  # MNT_DETACH
        os.close(self.device)

    def release(self) -> None:
        """The share is back: what waits is answered."""
        with self.lock:
            self.stalled.clear()
            held, self.held = self.held, []
        for unique, answer in held:
            self.answer(unique, answer)

    def serve(self) -> None:
        """Answer the kernel until the folder is unmounted."""
        while True:
            try:
                request = os.read(self.device, BUFFER)
            except OSError:
                return
            _, code, unique, node = HEADER.unpack_from(request)[:4]
            body = request[HEADER.size :]
            if code in SILENT:
                if code == INTERRUPT:
                    self.interrupt(*struct.unpack_from("<Q", body))
                continue
            try:
                answer = self.given(code, node, body)
            except OSError as error:
                self.answer(unique, b"", -(error.errno or 5))
                continue
            with self.lock:
                stalls = code == READ and str(self.paths[node].relative_to(self.folder)) in self.stalled
                if stalls:
                    self.held.append((unique, answer))
            if not stalls:
                self.answer(unique, answer)

    def interrupt(self, unique: int) -> None:
        """Whoever waits was killed: a network file system lets go of it then, but FUSE waits for its server."""
        with self.lock:
            waits = [held for held in self.held if held[0] == unique]
            self.held = [held for held in self.held if held[0] != unique]
        if waits:
            self.answer(unique, b"", -4)

    def answer(self, unique: int, data: bytes, error: int = 0) -> None:
        """Tell the kernel; it may have given up on the question."""
        try:
            os.write(self.device, ANSWER.pack(ANSWER.size + len(data), error, unique) + data)
        except OSError:
            return

    def given(self, code: int, node: int, body: bytes) -> bytes:
        """The answer's body."""
        path = self.paths.get(node, self.folder)
        if code == INIT:
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 0, 16, 12, 4096, 1, 32, 0, 0)
        if code == LOOKUP:
            return self.entry(path / os.fsdecode(body.rstrip(b"\0")))
        if code == GETATTR:
            return struct.pack("<QII", 1, 0, 0) + self.attributes(path)
        if code in (OPEN, OPENDIR):
            return struct.pack("<QII", node, 0, 0)
        if code == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return path.read_bytes()[offset : offset + size]
        if code == READDIR:
            _, offset, size = struct.unpack_from("<QQI", body)
            return self.listing(path, offset, size)
        if code == STATFS:
            return struct.pack("<QQQQQIIII24x", 1, 1, 1, 1, 1, 4096, 255, 4096, 0)
        if code in (RELEASE, RELEASEDIR):
            return b""
        raise OSError(38, "not implemented")

    def entry(self, path: Path) -> bytes:
        """A name's number and attributes."""
        attributes = self.attributes(path)
        number = self.numbers.setdefault(path, len(self.numbers) + 1)
        self.paths[number] = path
        return struct.pack("<QQQQII", number, 0, 1, 1, 0, 0) + attributes

    def attributes(self, path: Path) -> bytes:
        """As of the real file."""
        found = path.stat()
        number = self.numbers.setdefault(path, len(self.numbers) + 1)
        seconds, nanos = divmod(found.st_mtime_ns, 10**9)
        times = (seconds, seconds, seconds, nanos, nanos, nanos)
        owner = (found.st_mode, 1, found.st_uid, found.st_gid, 0, 4096, 0)
        return struct.pack("<QQQQQQIIIIIIIIII", number, found.st_size, 8, *times, *owner)

    def listing(self, folder: Path, offset: int, size: int) -> bytes:
        """Names from a place on."""
        data = b""
        for place, path in enumerate(sorted(folder.iterdir())):
            if place < offset:
                continue
            name = os.fsencode(path.name)
            kind = stat.S_IFMT(path.stat().st_mode) >> 12
            record = struct.pack("<QQII", place + 2, place + 1, len(name), kind) + name
            record += b"\0" * (-len(record) % 8)
            if len(data) + len(record) > size:
                break
            data += record
        return data
