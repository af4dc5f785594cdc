"""Kernels compiled in another process."""

import subprocess
import sys

import pytest
from edited import chain, node

from rtaudio import compilation
from rtaudio.compilation import compile_apart
from rtaudio.registry import load_engine

COLD = """
import sys
from rtaudio.compilation import compile_apart
from rtaudio.graph import Graph, Node
from rtaudio.registry import load_engine
engine = load_engine("gate")
graph = Graph([Node("gate", engine)], ["in -> gate", "gate -> out"])
compile_apart(graph, 48_000, 64, 2)
assert not engine.KERNEL.loaded
engine.KERNEL.address
stats = engine.KERNEL.compiled._cache_hits
print("hits", stats)
"""


def test_what_is_compiled_there_is_loaded_here(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "hits 1\n"


def test_what_is_loaded_starts_no_process(monkeypatch):
    load_engine("gain").KERNEL.address  # noqa: B018
    monkeypatch.setattr(compilation.subprocess, "Popen", None)
    compile_apart(chain(node("gain")), 48_000, 64, 2)


def test_who_gives_up_does_not_wait(monkeypatch):
    started = []

    class Process(subprocess.Popen):
        def __init__(self, arguments, **options):
            super().__init__([sys.executable, "-c", "import time; time.sleep(1000)"], **options)
            started.append(self)

    monkeypatch.setattr(compilation.subprocess, "Popen", Process)
    monkeypatch.setattr(type(load_engine("gain").KERNEL), "loaded", False)
    compile_apart(chain(node("gain")), 48_000, 64, 2, lambda: True)
    assert started[0].returncode == -9


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import os; os._exit(1)", "print('x' * 10_000_000)"])
def test_what_goes_wrong_there_is_no_error_here(monkeypatch, code):
    popen = subprocess.Popen
    monkeypatch.setattr(
        compilation.subprocess,
        "Popen",
        lambda arguments, **options: popen([sys.executable, "-c", code], **options),
    )
    monkeypatch.setattr(type(load_engine("gain").KERNEL), "loaded", False)
    compile_apart(chain(node("gain")), 48_000, 64, 2)
