"""Environment that decides the bits of a computation beside its input: processor and libraries.

Independent of what is computed.
"""

import platform
import re
from fractions import Fraction
from functools import cache
from importlib.metadata import version

import av
import torch


def libraries(*names: str) -> dict[str, str]:
    """Return the versions of Python, of installed distributions, and of PyAV's FFmpeg and x264."""
    installed = {name: version(name) for name in names}
    beneath = {"ffmpeg": av.ffmpeg_version_info, "x264": _x264()}
    return {**installed, **beneath, "python": platform.python_version()}


def processor() -> str:
    """Return architecture, name and the instructions that torch uses: others round differently."""
    named = str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor())
    told = (platform.machine(), named.strip(), torch.backends.cpu.get_cpu_capability())
    return ", ".join(part for part in told if part)


def device_name(device: torch.device) -> str:
    """Return the make of a device; that of the processor for "cpu"."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    return processor() if device.type == "cpu" else device.type


@cache
def _x264() -> str:
    """Read the version of the encoder, which it writes nowhere but into the streams it makes."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = 16, 16, "yuv420p"
    context.time_base, context.thread_count = Fraction(1), 1
    frame = av.VideoFrame(16, 16, "yuv420p")
    frame.pts = 0
    stream = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode()])
    found = re.search(rb"x264 - core (\d+(?: r\d+ \w+)?)", stream)
    return "unknown" if found is None else found[1].decode()
