"""What the howl guard does in closed loops and on programme without feedback, and what it costs.

``python benchmarks/howl.py [--rooms N] [--data FOLDER]`` prints tables in Markdown. The rooms are those of
the tests (`tests/feedback_loop.py`), half of them decaying noise and half image sources, at 48 kHz in blocks
of 128, and nothing but the guard bounds the loop. ``FOLDER`` holds recordings, ``speech/**`` and
``stems/*``; without it only the made programme is counted.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from feedback_loop import Room, decaying_noise, levels, music_like, shoebox, speech_like

from engines.howl import AIM, BROAD, FREE, HEARD, HOLDING, NOTCH, STATE, STEPPED, Howl

RATE, BLOCK = 48_000, 128
GAINS = (-3.0, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0)


def guard(channels=1, block=BLOCK, **values):
    """A prepared guard."""
    processor = Howl(**values)
    processor.prepare(RATE, block, channels=channels)
    return processor


def quiet(room, gain, seed):
    """Seconds from as loud as speech (-26 dB) to 20 dB less, after 50 ms of noise at -46 dB; peak in dB."""
    x = np.zeros(6 * RATE)
    x[4800:7200] = 10 ** (-46 / 20) * np.random.default_rng(seed).standard_normal(2400)
    heard = levels(room.play(x, gain, guard()), RATE, 0.01)
    loud = np.flatnonzero(heard > -26)
    if not len(loud):
        return 0.0, heard.max()
    after = np.flatnonzero((np.arange(len(heard)) > heard.argmax()) & (heard < -46))
    return (0.01 * (after[0] - loud[0]) if len(after) else np.inf), heard.max()


def talking(room, gain, seed, seconds=15):
    """Seconds louder than the programme's loudest by 3 dB, peak amplitude, stable gain (dB), notches."""
    x = speech_like(seconds, RATE, seed)
    processor = guard()
    y = room.play(x, gain, processor)
    loud = 0.1 * (levels(y, RATE, 0.1) > levels(x, RATE, 0.1).max() + 3).sum()
    stable = gain + 20 * np.log10(processor._state[BROAD][AIM])
    return loud, np.abs(y).max(), stable, (processor._state[NOTCH][:, STATE] != FREE).sum()


def false_notches(x):
    """Notches that programme without feedback sets."""
    processor, found = guard(block=512, release=5.0), 0
    out = np.empty((1, 512), np.float32)
    states = processor._state[NOTCH][:, STATE]
    for at in range(0, len(x) - 511, 512):
        before = states.copy()
        processor.process(np.ascontiguousarray(x[None, at : at + 512], np.float32), out)
        found += int(((before == FREE) & (states != FREE)).sum())
    return found


def recordings(paths, minutes):
    """Recordings end to end, mono at 48 kHz."""
    parts, wanted = [], minutes * 60 * RATE
    for path in paths:
        x, rate = soundfile.read(path, always_2d=True)
        parts.append(np.clip(soxr.resample(x.mean(axis=1), rate, RATE), -1, 1))
        wanted -= len(parts[-1])
        if wanted <= 0:
            break
    return np.concatenate(parts)


def share_of_a_core(x, active, channels=2):
    """CPU time over sound time; ``active`` with all its notches set."""
    processor = guard(channels)
    block = np.zeros((channels, BLOCK), np.float32)
    out, count = np.empty_like(block), len(x) // BLOCK
    if active:
        processor._state[NOTCH][:16, [STATE, STEPPED, HEARD]] = HOLDING, -1e9, 1e9
    blocks = [
        np.repeat(x[None, i * BLOCK : (i + 1) * BLOCK], channels, 0).astype(np.float32) for i in range(count)
    ]
    shares = []
    for _ in range(3):
        begin = time.thread_time()
        for piece in blocks:
            processor.process(piece, out)
        shares.append((time.thread_time() - begin) / (count * BLOCK / RATE))
    return min(shares)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", type=int, default=24)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    rooms = [Room(seed, RATE, (decaying_noise, shoebox)[seed % 2]) for seed in range(options.rooms)]
    print("| above the limit | quiet: peak | to -20 dB: median, 90 %, most | too loud: median, most "
          "| peak | stable gain: median, least | notches |")  # fmt: skip
    print("| ---: " * 7 + "|")
    for gain in GAINS:
        down = np.array([quiet(room, gain, seed) for seed, room in enumerate(rooms)])
        talk = np.array([talking(room, gain, seed) for seed, room in enumerate(rooms)])
        seconds = " / ".join(f"{np.quantile(down[:, 0], q, method='lower'):.2f}" for q in (0.5, 0.9, 1))
        print(
            f"| {gain:+g} dB | {np.median(down[:, 1]):.0f} dBFS | {seconds} s "
            f"| {np.median(talk[:, 0]):.1f} / {talk[:, 0].max():.1f} s "
            f"| {20 * np.log10(talk[:, 1].max()):+.1f} dBFS "
            f"| {np.median(talk[:, 2]):.1f} / {talk[:, 2].min():.1f} dB | {talk[:, 3].mean():.1f} |",
            flush=True,
        )
    programme = {
        "speech-like": speech_like(240, RATE, 1),
        "music-like": music_like(240, RATE, 1),
    }
    if options.data:
        for folder in ("librispeech-251", "kathleen/wavs", "kerstin/wavs"):
            programme[folder] = recordings(sorted((options.data / "speech" / folder).glob("*")), 4)
        pitched = sorted((options.data / "stems").glob("*.pitched.flac"))
        drums = [path.with_name(path.name.replace("pitched", "drums")) for path in pitched]
        pairs = [(recordings([a], 1), recordings([b], 1)) for a, b in zip(pitched, drums, strict=True)]
        programme["stems, pitched"] = np.concatenate([pair[0] for pair in pairs])
        programme["stems, mixed"] = np.concatenate([a[: len(b)] + b[: len(a)] for a, b in pairs])
        programme["noises"] = recordings(sorted((options.data / "noise" / "train").glob("*")), 10)
    print("\n| programme | minutes | notches a minute |\n| --- | ---: | ---: |")
    for name, x in programme.items():
        minutes = len(x) / RATE / 60
        print(f"| {name} | {minutes:.1f} | {false_notches(x) / minutes:.2f} |", flush=True)
    x = speech_like(20, RATE, 2)
    print(f"\nCPU, stereo: {100 * share_of_a_core(x, False):.2f} % of a core, "
          f"with 16 notches {100 * share_of_a_core(x, True):.2f} %")  # fmt: skip


if __name__ == "__main__":
    main()
