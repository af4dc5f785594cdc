"""Systems that enhance speech, to be scored by `export.enhancement`.

Networks, external commands, this project's chains, and what people can pick today: RNNoise, speexdsp, WebRTC,
noisereduce.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from engines.chunks import ChunkModel, enhance
from export.metrics import RATE, alignment
from rtaudio.errors import FileError, UserError

Audio = NDArray[np.float32]
"""(samples,) at 16 kHz, `export.metrics.RATE`, where nothing else is said."""
Enhance = Callable[[Audio], Audio]
"""From noisy to enhanced, as long as before."""
NOISY = "noisy"
"""The system that does nothing."""


@dataclass(frozen=True)
class System:
    """Something that enhances.

    Attributes
    ----------
    name, mode
        Two systems differ in one of these.
    start
        Makes the function that enhances. It crosses processes.
    what
        What decides the function: a hash, a command line.
    latency
        Milliseconds by which it follows live, where it says so.
    peer
        Whether its lag is measured, on the clean speech, and taken out.
    speakers
        Whom it was trained on, where it says so.
    """

    name: str
    mode: str
    start: Callable[[], Enhance]
    what: str
    latency: float | None = None
    peer: bool = False
    speakers: frozenset[str] = frozenset()


def unchanged() -> Enhance:
    """The noisy speech itself."""
    return lambda x: x


load_model = cache(ChunkModel)


def from_model(path: Path, mode: str, hop: int, lookahead: int) -> Enhance:
    """A network that enhances in chunks, run as `engines.chunks.enhance` does."""
    model = load_model(path)
    return at_rate(partial(enhance, model, mode=mode, hop=hop, lookahead=lookahead), model.rate)


def from_chain(chain: str, speech: int = RATE) -> Enhance:
    """Engines of this project, run offline, as ``rtaudio render`` does; for signals at ``speech`` Hz."""
    from rtaudio.cli import read_chain
    from rtaudio.parts import graph_rate
    from rtaudio.plan import Plan
    from rtaudio.render import BLOCK

    graph = read_chain(chain)
    rate = graph_rate(graph, speech)

    def process(x: Audio) -> Audio:
        plan = Plan(graph, rate, BLOCK, 1, offline=True)
        heard = slice(plan.latency, plan.latency + len(x))
        padded = np.pad(x, (0, plan.latency + -(plan.latency + len(x)) % BLOCK))
        blocks = [np.ascontiguousarray(block[None]) for block in padded.reshape(-1, BLOCK)]
        y = np.concatenate([plan.process(block)[output][0].copy() for block in blocks])
        failed = plan.failed()
        plan.close()
        if failed:
            raise UserError(f"{', '.join(failed)} failed and was bypassed: there is nothing to score")
        return y[heard]

    plan = Plan(graph, rate, BLOCK, 1, offline=True)
    shapes = {name: len(block) for name, block in plan.outputs.items()}
    plan.close()
    if list(shapes.values()) != [1]:
        found = ", ".join(f"{name} of {channels} channels" for name, channels in shapes.items())
        raise UserError(f"chain {chain!r} gives {found} for mono: want one output of one channel")
    (output,) = shapes
    return at_rate(process, rate, speech)


def chain_latency(chain: str) -> float:
    """What a chain declares at its rate for speech, in milliseconds."""
    from rtaudio.cli import make_plan, read_chain
    from rtaudio.parts import graph_rate
    from rtaudio.render import BLOCK

    graph = read_chain(chain)
    rate = graph_rate(graph, RATE)
    plan = make_plan(graph, rate, BLOCK, 1)
    plan.close()
    return 1e3 * plan.latency / rate


def from_command(line: str, rate: int, timeout: float) -> Enhance:
    """An external command, run once for each file.

    Parameters
    ----------
    line
        Split as a shell does, but run without one: ``{in}`` and ``{out}`` are mono WAV files of float32.
    rate
        Of both, in Hz.
    timeout
        Seconds that it may take for a file.
    """
    from rtaudio.files import AudioReader, AudioWriter

    words = shlex.split(line)

    def process(x: Audio) -> Audio:
        with tempfile.TemporaryDirectory(prefix="rtaudio-") as folder:
            source, target = Path(folder) / "in.wav", Path(folder) / "out.wav"
            with AudioWriter(source, rate, 1, samples=len(x)) as writer:
                writer.write(x[None])
            files = {"{in}": str(source), "{out}": str(target)}
            run_program([_filled(word, files) for word in words], Path(folder) / "errors", timeout)
            if not target.is_file():
                raise UserError(f"{words[0]} wrote nothing to {{out}}")
            try:
                with AudioReader(target) as reader:
                    y = reader.read(reader.samples)
            except FileError:
                raise UserError(f"what {words[0]} wrote to {{out}} is not audio, or none") from None
        got, want = (
            f"{hertz} Hz, {channels} channels, {samples} samples"
            for hertz, channels, samples in ((reader.rate, *y.shape), (rate, 1, len(x)))
        )
        if got != want:
            hint = "" if reader.rate == rate else f"; --command-rate {reader.rate} gives it files at its rate"
            raise UserError(f"{words[0]} wrote {got}, want {want} as in {{in}}{hint}")
        return y[0]  # type: ignore[no-any-return]

    return at_rate(process, rate)


def _filled(word: str, files: Mapping[str, str]) -> str:
    return re.sub("{in}|{out}", lambda match: files[match[0]], word)


def run_program(words: Sequence[str], errors: Path, timeout: float) -> None:
    """Run a program to its end; what it prints goes to the file ``errors``.

    Raises
    ------
    UserError
        It cannot be started, takes longer than ``timeout`` seconds, or fails. It is ended then, with all that
        it has started.
    """
    try:
        with errors.open("wb") as log:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )
    except OSError as error:
        raise UserError(f"cannot run {words[0]}: {error.strerror}") from None
    try:
        status = process.wait(timeout)
    except BaseException as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise UserError(f"{words[0]} took longer than {timeout:g} s and was ended") from None
        raise
    if status:
        lines = errors.read_text("utf-8", "replace").split("\n")
        told = next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
        raise UserError(f"{words[0]} ended with status {status}{told}")


def at_rate(process: Enhance, rate: int, speech: int = RATE) -> Enhance:
    """A function for signals at ``speech`` Hz, of one for signals at ``rate`` Hz."""

    def resampled(x: Audio) -> Audio:
        y = soxr.resample(process(soxr.resample(x, speech, rate)), rate, speech)[: len(x)]
        return np.pad(np.asarray(y, np.float32), (0, len(x) - len(y)))

    return process if rate == speech else resampled


# ------------------------------------------------------------------------------------------ peers


def rnnoise(speech: int = RATE) -> Enhance:
    """RNNoise by ``pyrnnoise``, else by the program ``rnnoise_demo``; for signals at ``speech`` Hz.

    J.-M. Valin, "A hybrid DSP/deep learning approach to real-time full-band speech enhancement", MMSP 2018.
    """
    if importlib.util.find_spec("pyrnnoise") is None:
        return at_rate(_rnnoise_demo, 48_000, speech)
    from pyrnnoise import rnnoise as native  # type: ignore[import-untyped, import-not-found, unused-ignore]

    def process(x: Audio) -> Audio:
        state = native.create()
        frames = [native.process_mono_frame(state, frame)[0] for frame in _frames(x, native.FRAME_SIZE)]
        native.destroy(state)
        return _floats(np.concatenate(frames))[: len(x)]

    return at_rate(process, 48_000, speech)


def _rnnoise_demo(x: Audio) -> Audio:
    with tempfile.TemporaryDirectory(prefix="rtaudio-") as folder:
        source, target, errors = (Path(folder) / name for name in ("in.raw", "out.raw", "errors"))
        source.write_bytes(_frames(x, 480).tobytes())
        run_program(["rnnoise_demo", str(source), str(target)], errors, 600.0)
        y = _floats(np.frombuffer(target.read_bytes(), np.int16))[: len(x)]
    return np.pad(y, (0, len(x) - len(y)))  # it leaves the first frame out


def speexdsp() -> Enhance:
    """The preprocessor of speexdsp, in frames of 20 ms, by ``speexdsp-ns``."""
    from speexdsp_ns import NoiseSuppression  # type: ignore[import-untyped, import-not-found, unused-ignore]

    def process(x: Audio) -> Audio:
        suppressor = NoiseSuppression.create(320, RATE)
        frames = [suppressor.process(frame.tobytes()) for frame in _frames(x, 320)]
        return _floats(np.frombuffer(b"".join(frames), np.int16))[: len(x)]

    return process


def webrtc() -> Enhance:
    """WebRTC's noise suppressor at its level "high", without automatic gain, by ``webrtc-noise-gain``."""
    from webrtc_noise_gain import AudioProcessor  # type: ignore[import-untyped, import-not-found, unused-ignore]

    def process(x: Audio) -> Audio:
        processor = AudioProcessor(0, 3)
        frames = [processor.Process10ms(frame.tobytes()).audio for frame in _frames(x, 160)]
        return _floats(np.frombuffer(b"".join(frames), np.int16))[: len(x)]

    return process


def noisereduce() -> Enhance:
    """Spectral gating with the defaults of ``noisereduce``: it adapts, and sees the whole file."""
    from noisereduce import reduce_noise  # type: ignore[import-untyped, import-not-found, unused-ignore]

    return lambda x: np.asarray(reduce_noise(x, RATE), np.float32)


PEERS: dict[str, tuple[Callable[[], Enhance], str, str]] = {
    "RNNoise": (rnnoise, "pyrnnoise", "pyrnnoise"),
    "speexdsp": (speexdsp, "speexdsp_ns", "speexdsp-ns"),
    "WebRTC": (webrtc, "webrtc_noise_gain", "webrtc-noise-gain"),
    "noisereduce": (noisereduce, "noisereduce", "noisereduce"),
}
"""By name: what starts it, its module, its package."""
FLUSH = RATE // 5
"""Samples of silence after what a peer hears, so that all of it comes out."""


def _frames(x: Audio, frame: int) -> NDArray[np.int16]:
    """Frames of 16 bits, limited to full scale, (any, frame); the last is filled with zeros."""
    pcm = np.clip(np.round(x * 32_768), -32_768, 32_767).astype(np.int16)
    return np.pad(pcm, (0, -len(x) % frame)).reshape(-1, frame)


def _floats(pcm: NDArray[np.int16]) -> Audio:
    return pcm.astype(np.float32) / np.float32(32_768)


def find_peers() -> list[System]:
    """Those that are installed; a line says which are not."""
    from importlib.metadata import PackageNotFoundError, version

    from rtaudio.cli import say

    found, missing = [], []
    for name, (start, module, package) in PEERS.items():
        demo = name == "RNNoise" and shutil.which("rnnoise_demo") is not None
        if importlib.util.find_spec(module) is None and not demo:
            missing.append(name)
            continue
        try:
            what = f"{package} {version(package)}"
        except PackageNotFoundError:
            what = "rnnoise_demo" if demo else package
        found.append(System(name, "", start, what, peer=True))
    if missing:
        packages = " ".join(PEERS[name][2] for name in missing)
        say(f"left out, since not installed: {', '.join(missing)} (pip install {packages})")
    return found


def lag_of(process: Enhance, clean: Audio) -> int:
    """Samples by which clean speech is later behind a system."""
    padded = np.pad(clean, (0, FLUSH))
    return alignment(padded, process(padded))[0]


def on_time(process: Enhance, lag: int, x: Audio) -> Audio:
    """Enhance, and take a lag out."""
    y = process(np.pad(x, (0, FLUSH)))
    y = np.pad(y, (max(0, -lag), max(0, lag)))
    return y[max(0, lag) : max(0, lag) + len(x)]
