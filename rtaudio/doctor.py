"""What works on this machine: packages, libraries, priorities, GPU, with the remedy for what does not."""

from __future__ import annotations

import ctypes.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

GOOD, POOR, BAD = "ok", "--", "!!"
"""Works; missing, but rendering and the null device do without; broken."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    state: str
    what: str
    detail: str
    remedy: str = ""


def report() -> int:
    """Print what was found; returns 1 if something that every command needs is broken, else 0."""
    findings = list(examine())
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        remedy = f" -> {finding.remedy}" if finding.remedy else ""
        sys.stdout.write(f"{finding.state}  {finding.what:{width}}  {finding.detail}{remedy}\n")
    return int(any(finding.state == BAD for finding in findings))


def examine() -> Iterator[Finding]:
    """Look at everything, the needed things first."""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    yield Finding(GOOD, "python", f"{platform.python_version()} on {system}")
    for name in ("numpy", "numba", "scipy", "soundfile", "soxr", "rich"):
        yield _package(name, BAD, "pip install rtaudio")
    yield from _engines()
    yield _cache()
    yield _clock()
    yield _real_time()
    yield _memory_lock()
    yield _library("portaudio", "PortAudio", "apt-get install libportaudio2")
    yield _library("jack", "JACK", "apt-get install jackd2")
    yield _sound("jack", "")
    yield _sound("alsa", "connect a sound card, or use --api null")
    yield _virtual_microphone()
    yield _library("espeak-ng", "eSpeak NG", "apt-get install espeak-ng")
    yield _network_runtime()
    yield _package("PySide6", POOR, "pip install 'rtaudio[gui]'", distribution="PySide6-Essentials")
    yield _display()
    yield _gpu()


def _package(module: str, otherwise: str, remedy: str, distribution: str = "") -> Finding:
    try:
        import_module(module)
        return Finding(GOOD, module, version(distribution or module))
    except (ImportError, OSError, PackageNotFoundError) as error:
        return Finding(otherwise, module, f"not usable: {error}", remedy)


def _engines() -> Iterator[Finding]:
    """The installed engines, after those that cannot be used."""
    from rtaudio.errors import UserError
    from rtaudio.registry import engine_names, load_engine

    usable = []
    for name in engine_names():
        try:
            load_engine(name)
            usable.append(name)
        except UserError as broken:
            yield Finding(BAD, "engines", str(broken), "mend or uninstall that package")
    if usable:
        yield Finding(GOOD, "engines", ", ".join(usable))
    else:
        yield Finding(BAD, "engines", "none is usable", "pip install rtaudio")


def _cache() -> Finding:
    import numba

    import rtaudio.native  # noqa: F401 - decides where the cache is

    folder = Path(numba.config.CACHE_DIR)
    if os.access(folder, os.W_OK):
        return Finding(GOOD, "compiled kernels", f"kept in {folder}")
    remedy = "set XDG_CACHE_HOME to a folder that is"
    return Finding(POOR, "compiled kernels", f"{folder} is not writable: every run compiles", remedy)


def _clock() -> Finding:
    from rtaudio.null import can_pace

    if can_pace():
        return Finding(GOOD, "live pacing", "clock_nanosleep")
    return Finding(POOR, "live pacing", "no clock_nanosleep", "rendering works; use Linux for live")


def _real_time() -> Finding:
    from threading import Thread, get_native_id

    from rtaudio.realtime import FIFO_PRIORITY, PRIORITY_REMEDY, raise_priority

    granted: list[str] = []
    thread = Thread(target=lambda: granted.append(raise_priority(get_native_id(), FIFO_PRIORITY)))
    thread.start()
    thread.join()
    by = {"fifo": "first in first out", "rtkit": "by RealtimeKit"}
    if granted[0]:
        return Finding(GOOD, "real-time priority", f"granted ({FIFO_PRIORITY}, {by[granted[0]]})")
    return Finding(POOR, "real-time priority", "refused: sound may break up under load", PRIORITY_REMEDY)


def _memory_lock() -> Finding:
    from rtaudio.realtime import MEMLOCK_REMEDY

    try:
        import resource
    except ImportError:
        return Finding(POOR, "memory lock", "this system has no such limit")
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if limit == resource.RLIM_INFINITY:
        return Finding(GOOD, "memory lock", "unlimited")
    return Finding(POOR, "memory lock", f"{limit // 1024} KiB", MEMLOCK_REMEDY)


def _sound(api: str, otherwise: str) -> Finding:
    """What there is to play through."""
    from rtaudio.errors import UserError
    from rtaudio.soundcard import devices

    try:
        found = devices(api)
    except UserError as error:
        return Finding(POOR, api, str(error), otherwise)
    if not found:
        return Finding(POOR, api, "no devices", otherwise)
    return Finding(GOOD, api, ", ".join(f"{device.name} ({device.rate} Hz)" for device in found))


def _virtual_microphone() -> Finding:
    """Whether ``live --virtual-mic`` finds a sound server."""
    from rtaudio.errors import UserError
    from rtaudio.jack import pipewire_library
    from rtaudio.virtual import sound_server

    what, remedy = "virtual microphone", "apt-get install pipewire-pulse wireplumber pipewire-jack"
    try:
        server = sound_server()
    except UserError as error:
        return Finding(POOR, what, str(error))
    if server is None:
        return Finding(POOR, what, "neither PipeWire nor PulseAudio answers", f"{remedy} pulseaudio-utils")
    if server.pipewire and not pipewire_library():
        return Finding(POOR, what, f"{server.name} without its JACK", "apt-get install pipewire-jack")
    return Finding(GOOD, what, server.name)


def _library(name: str, what: str, remedy: str) -> Finding:
    found = ctypes.util.find_library(name)
    return Finding(GOOD, what, found) if found else Finding(POOR, what, f"lib{name} not found", remedy)


def _network_runtime() -> Finding:
    from rtaudio.inference import available

    installed = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    if len(installed) > 1:
        return Finding(BAD, "onnxruntime", " and ".join(installed), "keep one: pip uninstall onnxruntime")
    if not installed:
        return Finding(POOR, "onnxruntime", "not installed", "pip install 'rtaudio[cpu]' (or [gpu])")
    reason = available()
    return Finding(POOR if reason else GOOD, "onnxruntime", reason or installed[0])


def _display() -> Finding:
    display = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    if display:
        return Finding(GOOD, "display", display)
    return Finding(POOR, "display", "none", "the command line works without")


def _gpu() -> Finding:
    program = shutil.which("nvidia-smi")
    if program is None:
        return Finding(POOR, "GPU", "no nvidia-smi", "everything runs on the CPU")
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return Finding(POOR, "GPU", "nvidia-smi does not answer", "everything runs on the CPU")
    return Finding(GOOD, "GPU", found.stdout.strip().replace("\n", "; "))
