"""The command ``rtaudio enhance``: files of speech without their noise."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engines.chunks import ChunkModel
    from rtaudio.files import AudioReader, Block

MODES = ("butt", "overlap", "sliding")
"""Of `engines.chunks.Sliding.of_mode`."""
MODEL = Path(__file__).parent / "models" / "wgan.onnx"
"""The Wasserstein enhancer: its card, beside it, says how it was trained and how it scores."""


def command(commands: Any) -> None:
    """Add ``enhance`` to the command line."""
    from rtaudio.cli import INPUTS_HELP, file_path

    parser = commands.add_parser(
        "enhance",
        help="take noise out of files of speech",
        description="Write files of speech with less noise: aligned with the input, as long, at its rate. "
        "The network was trained on recordings with little noise, 15 dB below the speech or less. What lies "
        "above 8 kHz stays as it is.",
    )
    parser.add_argument("inputs", nargs="+", type=file_path, metavar="IN", help=INPUTS_HELP)
    parser.add_argument(
        "-o", "--output", type=file_path, required=True, metavar="OUT",
        help="a file for one input, else a folder",
    )  # fmt: skip
    parser.add_argument("--model", type=file_path, default=MODEL, metavar="M.onnx", help="another network")
    parser.add_argument(
        "--mode", choices=MODES, default="overlap",
        help="chunks that overlap (default), butted as in the paper, or a window that slides as live",
    )  # fmt: skip
    parser.add_argument(
        "--mix", type=_part, default=1.0, metavar="X", help="how much of the noise to take out, 0 to 1 (1)"
    )
    parser.add_argument("--subtype", metavar="T", help="16, 24, 32, float ... (default: the input's)")
    parser.set_defaults(run=run)


def _part(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def run(options: argparse.Namespace) -> int:
    """Enhance every file; 1 if one of several could not be."""
    from rich.console import Console
    from rich.progress import Progress

    from engines.chunks import ChunkModel
    from rtaudio.cli import find_inputs, on_terminal, say
    from rtaudio.errors import UserError
    from rtaudio.files import writable
    from rtaudio.render import Job, check_targets

    model = ChunkModel(options.model)
    one = len(options.inputs) == 1 and not options.inputs[0].is_dir()
    to_file = bool(options.output.suffix) and not options.output.is_dir()
    if to_file and not one:
        raise UserError(f"{options.output} is a file: several inputs need a folder")
    jobs = []
    for source, place in find_inputs(options.inputs, options.output):
        target = options.output / (place if writable(place) else place.with_suffix(".wav"))
        jobs.append(Job(source, {"out": options.output if to_file else target}, options.subtype))
    check_targets(jobs)
    console = Console(stderr=True, emoji=False)
    failed = 0
    with Progress(console=console, disable=not on_terminal(), transient=True) as bar:
        for job in jobs:
            task = bar.add_task(job.source.name, total=1.0)

            def show(done: float, task: Any = task) -> None:
                bar.update(task, completed=done)

            try:
                enhance_file(
                    model, options.mode, options.mix, job.source, job.targets["out"], job.subtype, show
                )
            except UserError as error:
                if one:
                    raise
                failed += 1
                say(str(error))
            else:
                console.print(f"{job.targets['out']}", markup=False, highlight=False, soft_wrap=True)
            bar.remove_task(task)
    return int(failed > 0)


def enhance_file(
    model: ChunkModel,
    mode: str,
    mix: float,
    source: Path,
    target: Path,
    subtype: str | None,
    show: Callable[[float], None],
) -> None:
    """Enhance a file, channel by channel, in memory that does not grow with its length.

    The network says what to take out, at its own rate; at the file's, that is taken out of the file. So what
    lies above the network's band is kept, and with ``mix`` 0 everything is.

    Raises
    ------
    UserError
        The file cannot be read or written; nothing is left half-written.
    """
    import numpy as np
    import soxr

    from rtaudio.files import AudioReader, AudioWriter
    from rtaudio.render import make_folder

    make_folder(target.parent)
    with AudioReader(source) as reader, AudioReader(source, model.rate) as heard:
        rate, channels = reader.rate, reader.channels
        up = soxr.ResampleStream(model.rate, rate, channels, quality="VHQ")
        with AudioWriter(target, rate, channels, source=reader.info, subtype=subtype) as writer:
            left = reader.samples
            for noise, last in noise_of(model, mode, heard):
                raised = np.ascontiguousarray(noise.T)
                if rate != model.rate:
                    raised = up.resample_chunk(raised, last=last)
                wanted = left if last else min(left, len(raised))
                if wanted:
                    block = reader.read(wanted)
                    taken = min(wanted, len(raised))
                    block[:, :taken] -= np.float32(mix) * raised[:taken].T
                    writer.write(block)
                    left -= wanted
                show(1 - left / reader.samples)


def noise_of(model: ChunkModel, mode: str, heard: AudioReader) -> Iterator[tuple[Block, bool]]:
    """What the network would take out, block by block, aligned with the file; and whether it is the last."""
    import numpy as np

    from engines.chunks import Sliding

    windows = [Sliding.of_mode(model, mode) for _ in range(heard.channels)]
    hop, late = windows[0].hop, windows[0].latency - windows[0].hop
    waiting = np.zeros((heard.channels, late), np.float32)
    position, end = -late, heard.samples
    while position < end:
        block = heard.read(hop)
        fresh = np.pad(np.nan_to_num(block, posinf=0.0, neginf=0.0), ((0, 0), (0, hop - block.shape[1])))
        waiting = np.concatenate([waiting, fresh], axis=1)
        enhanced = np.stack([window.push(x) for window, x in zip(windows, fresh, strict=True)])
        noise = (waiting[:, :hop] - enhanced)[:, max(0, -position) : end - position]
        waiting, position = waiting[:, hop:], position + hop
        if noise.shape[1]:
            yield noise, position >= end
