"""Latency as it is: a signal goes out of the device, comes back through a cable, and is looked for."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from rtaudio.errors import UserError
from rtaudio.files import AudioReader, AudioWriter
from rtaudio.graph import Graph
from rtaudio.host import Device, Host, burst_of
from rtaudio.plan import Plan

LEAD, BURST, AFTER = 0.25, 0.5, 1.0
"""Seconds of silence before the signal (the host fades in), of the signal, and of waiting for it, besides the
latency that is declared."""
LEVEL = 0.1
"""Standard deviation of the noise that is played: -20 dBFS."""
PEAK, UNIQUE = 64, 0.9
"""Samples around the best place, and the share of its correlation that no other place may reach."""
CERTAIN = 0.5
"""Correlation below which what came back is not taken to be what went out."""


@dataclass(frozen=True)
class Measured:
    """A loop from output to input."""

    declared: int
    """Samples that the graph and its re-blocking say they add."""
    found: int
    """Samples between what the graph was given and what came back."""
    likeness: float
    """Correlation of what came back with what had to, 0 to 1."""


def loop(
    device: Device,
    graph: Graph,
    block: int,
    channels: int,
    lane: int | None,
    inputs: list[int] | None = None,
    outputs: list[int] | None = None,
) -> Measured:
    """Play noise through a graph and the device's output, and look for it in the device's input.

    The noise goes into the graph instead of the device's input, and what is recorded is that input. It is
    compared with what the graph makes of the noise offline, so any graph will do, not only one that passes
    the noise as it is.

    Raises
    ------
    UserError
        Nothing like it came back, or it fits in several places.
    """
    rate = device.rate
    random = np.random.default_rng(0)
    signal = np.zeros((channels, round((LEAD + BURST + AFTER) * rate)), np.float32)
    begin, end = round(LEAD * rate), round((LEAD + BURST) * rate)
    signal[:, begin:end] = random.normal(0.0, LEVEL, end - begin)
    plan = Plan(graph, rate, block, channels, lane=lane, burst=burst_of(device.period, block))
    seconds = signal.shape[1] / rate + plan.latency / rate
    with tempfile.TemporaryDirectory() as folder:
        sent, came = Path(folder) / "sent.wav", Path(folder) / "came.wav"
        with AudioWriter(sent, rate, channels, subtype="float") as writer:
            writer.write(signal)
        recording = AudioWriter(came, rate, channels, subtype="float")
        ends = AudioReader(sent), False, None, seconds, recording
        with Host(plan, device, *ends, inputs, outputs) as host:
            host.start()
            _connect(device)
            while host.running:
                host.poll()
                time.sleep(0.05)
            declared = plan.latency + host.stream.latency
            missed = host.statistics()["misses"]
        with AudioReader(came) as reader:
            heard = reader.read(reader.samples)
    return _find(_expected(graph, rate, signal), heard, declared, missed)


def _connect(device: Device) -> None:
    """Connect a JACK client that is connected to nothing to itself."""
    connect = getattr(device, "connect_loopback", None)
    if connect is not None and not device.statistics()["output"]:
        connect()


def _expected(graph: Graph, rate: int, signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the graph makes of a signal, without its latency."""
    plan = Plan(graph, rate, signal.shape[1], len(signal), offline=True)
    try:
        made = next(iter(plan.process(np.ascontiguousarray(signal)).values()))
        return made[:1, plan.latency :].copy()
    finally:
        plan.close()


def _find(
    expected: NDArray[np.float32], heard: NDArray[np.float32], declared: int, missed: int = 0
) -> Measured:
    found, likeness, rival = 0, 0.0, 0.0
    for channel in heard:
        against = fftconvolve(channel, expected[0, ::-1].astype(np.float64))[expected.shape[1] - 1 :]
        lag = int(np.argmax(np.abs(against)))
        scale = np.linalg.norm(channel[lag : lag + expected.shape[1]]) * np.linalg.norm(expected)
        alike = float(abs(against[lag]) / scale) if scale else 0.0
        if alike > likeness:
            found, likeness = lag, alike
            elsewhere = np.abs(np.delete(against, np.s_[max(0, lag - PEAK) : lag + PEAK + 1]))
            rival = float(elsewhere.max(initial=0.0) / abs(against[lag]))
    if likeness < CERTAIN and missed:
        raise UserError(
            f"{missed} blocks were not made in time, and the input was played for them: "
            "measure again, with larger blocks or less else to do"
        )
    if likeness < CERTAIN:
        level = 20.0 * np.log10(max(1e-10, float(np.abs(heard).max(initial=0.0))))
        raise UserError(
            f"what was played did not come back (the input peaks at {level:.0f} dBFS): "
            "connect the output to the input with a cable, or on JACK leave --cable out"
        )
    if rival > UNIQUE:
        raise UserError("what the graph plays fits in several places: measure without sources and echoes")
    return Measured(declared, found, round(likeness, 4))
