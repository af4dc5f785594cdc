"""A demonstration: a clip of instruments and drums goes live through `remix` while the faders move.

``python examples/demo.py [OUT]`` takes about ten seconds. It leaves in OUT (default ``out``): ``mix.wav``,
what was heard; ``clip.harmonic.wav`` and ``clip.percussive.wav``; ``spectrograms.png``; ``summary.json``.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
from spectrogram import spectrogram_picture

from rtaudio.chain import load_chain
from rtaudio.cli import compiling
from rtaudio.files import AudioReader, AudioWriter
from rtaudio.graph import Graph, Node
from rtaudio.host import Host
from rtaudio.null import NullDevice
from rtaudio.plan import Plan
from rtaudio.registry import load_engine
from rtaudio.render import Job, render

CLIP = Path(__file__).with_name("clip.flac")
BLOCK = 128
STEMS = ("harmonic", "percussive")


def faders(share: float) -> tuple[float, float]:
    """Gains in dB of the harmonic and the percussive fader at a share (0 to 1) of the clip.

    First the drums fade down and come back, then the instruments.
    """
    down = -60.0 * 0.5 * (1.0 - math.cos(2.0 * math.pi * (share % 0.5) / 0.5))
    return (0.0, down) if share < 0.5 else (down, 0.0)


def draw(gain: float) -> str:
    """A fader as text, -60 dB at the left."""
    place = round((gain + 60.0) / 60.0 * 12)
    return "-" * place + "o" + "-" * (12 - place)


def play(out: Path) -> dict[str, object]:
    """Run the clip live, moving the faders by hand, so to speak; returns the host's statistics."""
    file = AudioReader(CLIP)
    with compiling():
        plan = Plan(load_chain("remix(preset=live)"), file.rate, BLOCK, file.channels)
    length = file.samples
    record = AudioWriter(out / "mix.wav", file.rate, file.channels)
    with Host(plan, NullDevice(), file=file, record=record) as host:
        host.start()
        late = f"{plan.latency} samples ({1e3 * plan.latency / file.rate:.1f} ms) late"
        print(f"{CLIP.name} through 'remix', live, {late}")
        while host.running:
            harmonic, percussive = faders(min(1.0, plan.position / length))
            plan.set("remix.harmonic_gain", harmonic)
            plan.set("remix.percussive_gain", percussive)
            host.poll()
            if sys.stdout.isatty():
                seconds = plan.position / file.rate
                print(
                    f"\r{seconds:5.1f} s  harmonic {draw(harmonic)}  percussive {draw(percussive)} ",
                    end="",
                    flush=True,
                )
            time.sleep(0.02)
        if sys.stdout.isatty():
            print()
    return host.statistics()


def main() -> int:
    """Play, separate, draw."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
    out.mkdir(parents=True, exist_ok=True)
    summary = play(out)
    parts = {stem: out / f"clip.{stem}.wav" for stem in STEMS}
    separator = Node("hpss", load_engine("hpss"), {"preset": "quality"})
    graph = Graph([separator], ["in -> hpss", *(f"hpss.{stem} -> out.{stem}" for stem in STEMS)])
    render(graph, Job(CLIP, parts, subtype="float"))
    clip, rate = soundfile.read(CLIP, dtype="float32")
    harmonic, percussive, mix = (soundfile.read(path)[0] for path in (*parts.values(), out / "mix.wav"))
    error = np.abs(harmonic + percussive - clip).max()
    summary["harmonic_plus_percussive_minus_clip_dbfs"] = round(20.0 * math.log10(max(error, 1e-12)), 1)
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    panels = [
        ("clip", clip.T),
        ("harmonic", harmonic.T),
        ("percussive", percussive.T),
        ("live mix, faders moving", mix.T),
    ]
    spectrogram_picture(out / "spectrograms.png", panels, rate)
    load = 100 * float(str(summary["load"]))
    print(f"{summary['callbacks']} blocks, {summary['misses']} misses, load {load:.1f} % of a core")
    print(f"harmonic + percussive = clip to {summary['harmonic_plus_percussive_minus_clip_dbfs']} dBFS")
    for path in sorted(out.iterdir()):
        print(f"  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
