"""NVIDIA's driver, asked without importing torch, which costs seconds."""

from __future__ import annotations

import ctypes
import sys


def cuda_devices() -> int:
    """Number of CUDA devices; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0
