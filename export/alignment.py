"""``python -m export align``: write how many frames each phoneme of a corpus has, as an aligner finds."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from export.corpus import (
    CORPUS,
    DURATIONS,
    FORMAT,
    HOP,
    Clip,
    Corpus,
    StoredDurations,
    read_corpus,
    read_sound,
    record_of,
)
from export.mel import logmel
from export.models.aligner import BLANK, MELS, WINDOW, AlignerTask, check_fits, read_utterance
from export.output import appear, file_hash, progress
from export.training import load_checkpoint, read_run
from rtaudio.errors import FileError, UserError

TOGETHER = 8
"""Clips that are aligned at once."""
DRAWN = 4
"""Clips in the picture, from the shortest to the longest."""


def durations_of(clip: Clip, tokens: NDArray[np.int64]) -> tuple[int, ...]:
    """Frames of each id of a clip, of those of its tokens: the blanks, which are not aligned, have none."""
    found = iter(tokens.tolist())
    return tuple(0 if number == BLANK else next(found) for number in clip.ids)


def align(task: AlignerTask, network: torch.nn.Module, corpus: Corpus) -> dict[str, tuple[int, ...]]:
    """The most likely alignment of every clip of a corpus.

    Returns
    -------
    By the clip's name: frames of each of its ids, which add up to ``samples // HOP``.
    """
    found: dict[str, tuple[int, ...]] = {}
    clips = sorted(corpus.clips, key=lambda clip: clip.samples)
    with progress(len(clips)) as advance:
        for begin in range(0, len(clips), TOGETHER):
            some = clips[begin : begin + TOGETHER]
            utterances = []
            for clip in some:
                advance(clip.name)
                utterances.append(read_utterance(clip, corpus.rate))
            for clip, tokens in zip(some, task.durations(network, utterances), strict=True):
                found[clip.name] = durations_of(clip, tokens)
    return {clip.name: found[clip.name] for clip in corpus.clips}


def check_learned(learned: Mapping[str, Any], run: Path, corpus: Corpus, folder: Path) -> None:
    """`UserError` if the symbols, speakers or rate of a corpus are not those that an aligner has learned.

    Parameters
    ----------
    learned
        The record's ``data``, see `export.corpus.record_of`.
    run, corpus, folder
        The aligner's; what is to be aligned, and where.
    """
    if learned["content"] == file_hash(folder / CORPUS):
        return
    now = record_of(corpus, corpus.clips)
    for name in ("symbols", "speakers", "rate"):
        if learned.get(name) != now[name]:
            raise UserError(f"{folder} has other {name} than {run} was trained on: train an aligner on it")


def draw(corpus: Corpus, clips: Sequence[Clip], durations: dict[str, tuple[int, ...]], path: Path) -> None:
    """Draw clips' log mel spectra with their phonemes, where they were found to be, into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = {number: symbol for symbol, number in corpus.symbols.items()}
    figure = Figure(figsize=(16, 3.2 * len(clips)), layout="constrained")
    for ax, clip in zip(figure.subplots(len(clips), 1, squeeze=False).flat, clips, strict=True):
        spectrum = logmel(read_sound(clip)[None], corpus.rate, MELS, HOP, WINDOW)[0]
        seconds = len(spectrum) * HOP / corpus.rate
        ax.imshow(
            spectrum.T, origin="lower", aspect="auto", extent=(0, seconds, 0, MELS), cmap="magma", vmin=-10
        )
        start = 0
        for number, frames in zip(clip.ids, durations[clip.name], strict=True):
            if frames:
                at, middle = (place * HOP / corpus.rate for place in (start, start + frames / 2))
                ax.axvline(at, color="white", linewidth=0.6)
                ax.text(middle, MELS + 1, names[number], ha="center", fontsize=9)
            start += frames
        ax.set_title(f"{clip.name}: {clip.text}", loc="left", fontsize=10, pad=16)
        ax.set_ylabel("mel band")
    ax.set_xlabel("time, s")
    FigureCanvasAgg(figure).print_png(path)  # type: ignore[no-untyped-call, unused-ignore]


def command(commands: Any) -> None:
    """Add ``align`` to a command line."""
    from rtaudio.cli import file_path

    parser = commands.add_parser(
        "align",
        help="find which frames each phoneme has",
        description="Write the frames of every id of every clip of CORPUS, held-out ones too, as the aligner "
        "trained in RUN finds them.",
    )
    parser.add_argument(
        "run_folder", type=file_path, metavar="RUN", help="folder of a run of the task aligner"
    )
    parser.add_argument("corpus", type=file_path, metavar="CORPUS", help="as 'data speech' makes it")
    parser.add_argument(
        "-o", "--output", type=file_path, metavar="JSON", help=f"({DURATIONS} in the folder of the corpus)"
    )
    parser.add_argument("--figure", type=file_path, metavar="PNG", help="draw some alignments")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """``align``."""
    from rtaudio.cli import say

    corpus = read_corpus(options.corpus)
    task, network, record = read_run(options.run_folder)
    if not isinstance(task, AlignerTask):
        raise UserError(f"{options.run_folder} is a run of the task {record['task']}: want one of aligner")
    check_fits(corpus, task.settings.model, options.corpus)
    check_learned(record["data"], options.run_folder, corpus, options.corpus)
    found = align(task, network, corpus)
    state = load_checkpoint(options.run_folder)[1]
    path = options.output or options.corpus / DURATIONS
    content = StoredDurations(
        format=FORMAT,
        command=f"python -m export align {options.run_folder.name} {options.corpus.name}",
        run={"sha256": state["sha256"], "step": state["step"]},
        corpus=file_hash(options.corpus / CORPUS),
        hop=HOP,
        durations=found,
    )
    try:
        appear(path, lambda hidden: hidden.write_bytes(msgspec.json.encode(content)))
        if options.figure:
            clips = sorted(corpus.clips, key=lambda clip: clip.samples)
            chosen = [clips[k] for k in np.linspace(0, len(clips) - 1, min(DRAWN, len(clips))).astype(int)]
            appear(options.figure, lambda hidden: draw(corpus, chosen, found, hidden))
    except OSError as error:
        raise FileError(f"{error.filename}: {error.strerror}; name another file") from None
    say(f"{path}: {len(found)} clips, {sum(map(sum, found.values()))} frames")
    return 0
