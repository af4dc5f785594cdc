"""The command ``rtaudio enhance``: files of speech without their noise."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engines.chunks import ChunkModel
    from rtaudio.files import AudioReader, Block

MODES = ("butt", "overlap", "sliding")
"""Of `engines.chunks.Sliding.of_mode`."""
FOLDER = Path(__file__).parent / "models"
MODELS = {"live": FOLDER / "live.onnx", "paper": FOLDER / "wgan.onnx"}
"""The network for live sound, and the Wasserstein enhancer. Cards beside them say how they were trained."""
MIX = 0.6
"""Where the latter scores best: with all taken out, PESQ falls (docs/enhancement.md)."""


def command(commands: Any) -> None:
    """Add ``enhance`` to the command line."""
    from rtaudio.cli import INPUTS_HELP, add_render_options, file_path

    parser = commands.add_parser(
        "enhance",
        help="take noise out of files of speech",
        description="Write files of speech with less noise: aligned with the input, as long, at its rate. "
        "--model live is the network of the engine 'enhance': the whole band that is heard, any noise, some "
        "hundredths of a core. --model paper is the Wasserstein enhancer: up to 8 kHz, for recordings whose "
        "noise lies 15 dB below the speech or less, a hundredth to a tenth of a core (--mode). What lies "
        "above a network's band stays as it is.",
    )
    parser.add_argument("inputs", nargs="+", type=file_path, metavar="IN", help=INPUTS_HELP)
    parser.add_argument(
        "-o", "--output", type=file_path, required=True, metavar="OUT",
        help="a file for one input, else a folder",
    )  # fmt: skip
    parser.add_argument(
        "--model", default="live", metavar="M",
        help="live (default), paper, the name of a network that is installed, or NAME.onnx",
    )  # fmt: skip
    parser.add_argument(
        "--mix", type=_part, metavar="X",
        help="how much to take out of what the network finds, 0 to 1 (default: 1; with paper and other "
        f"networks that see chunks {MIX}, more costs PESQ)",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=_limit, metavar="DB",
        help="lower noise by so many dB at most, 0 to 100 (default: 30; with networks that see chunks, none)",
    )  # fmt: skip
    parser.add_argument(
        "--onset", type=_part, metavar="X",
        help="take less out where speech begins, 0 to 1; not for networks that see chunks",
    )  # fmt: skip
    parser.add_argument(
        "--stereo", choices=("each", "linked"),
        help="clean each channel by itself (default), or all by common gains, which keep where sounds stand; "
        "not for those that see chunks",
    )  # fmt: skip
    parser.add_argument(
        "--mode", choices=MODES,
        help="paper and other networks that see chunks: chunks that overlap (default), butted as in the "
        "paper, or a window that slides as live",
    )  # fmt: skip
    add_render_options(parser)
    parser.set_defaults(run=run)


def _part(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _limit(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of dB from 0 to 100")
    return value


def run(options: argparse.Namespace) -> int:
    """Enhance every file; 1 if one of several could not be."""
    from engines.chunks import KIND
    from engines.enhancer import kind_of, path_of

    return (run_chunks if kind_of(path_of(options.model)) == KIND else run_engine)(options)


def refuse(options: argparse.Namespace, names: Sequence[str], networks: str) -> None:
    """`UserError` for the first of some options that is given: they are for other networks."""
    from rtaudio.errors import UserError

    for name in names:
        value = getattr(options, name)
        if value is not None and value is not False:
            raise UserError(f"--{name} is for {networks}: leave it out with --model {options.model}")


def run_engine(options: argparse.Namespace) -> int:
    """Render through the engine ``enhance``."""
    from engines.enhancer import Enhance
    from rtaudio.cli import find_targets, make_job, render_jobs
    from rtaudio.graph import MAIN, Graph, Node

    refuse(options, ["mode"], "networks that see chunks, such as paper")
    given = {name: getattr(options, name) for name in ("model", "mix", "limit", "onset", "stereo")}
    values = {name: value for name, value in given.items() if value is not None}
    graph = Graph([Node("enhance", Enhance, values)], ["in -> enhance", f"enhance.out -> out.{MAIN}"])
    targets = find_targets(options.inputs, options.output)
    jobs = [make_job(source, {MAIN: target}, options) for source, target in targets]
    return render_jobs(graph, jobs, options)


def run_chunks(options: argparse.Namespace) -> int:
    """Enhance every file with a network that sees chunks."""
    from rich.console import Console
    from rich.progress import Progress

    from engines.chunks import ChunkModel
    from engines.enhancer import path_of
    from engines.sessions import AUTO
    from rtaudio.cli import ENDING, find_targets, leave, on_signals, on_terminal, say
    from rtaudio.errors import UserError
    from rtaudio.render import Job, check_targets

    others = ["onset", "stereo", "tail", "jobs", "json", "progress"]
    refuse(options, others, "networks of spectra, such as live")
    part = MIX if options.mix is None else options.mix
    if options.limit is not None:
        part *= 1 - 10 ** (-options.limit / 20)
    model = ChunkModel(path_of(options.model), options.compute or AUTO)
    found = find_targets(options.inputs, options.output)
    check_targets([Job(source, {"out": target}) for source, target in found])
    console = Console(stderr=True, emoji=False, markup=False, highlight=False)
    failed = 0
    with (
        on_signals(leave, signal.SIGINT, *ENDING),
        Progress(console=console, disable=not on_terminal(), transient=True) as bar,
    ):
        for source, target in found:
            task = bar.add_task(source.name, total=1.0)

            def show(done: float, task: Any = task) -> None:
                bar.update(task, completed=done)

            try:
                clipped, bad = enhance_file(
                    model,
                    options.mode or "overlap",
                    part,
                    source,
                    target,
                    options.subtype,
                    not options.no_dither,
                    show,
                )
            except UserError as error:
                if len(found) == 1:
                    raise
                failed += 1
                say(str(error))
            else:
                notes = [] if model.runs_on == "cpu" else [f"on {model.runs_on}"]
                notes += [f"{clipped} samples clipped"] if clipped else []
                notes += [f"{bad} samples that are not finite set to 0"] if bad else []
                console.print(": ".join(filter(None, (str(target), ", ".join(notes)))), soft_wrap=True)
            bar.remove_task(task)
    return int(failed > 0)


def enhance_file(
    model: ChunkModel,
    mode: str,
    mix: float,
    source: Path,
    target: Path,
    subtype: str | None,
    dither: bool,
    show: Callable[[float], None],
) -> tuple[int, int]:
    """Enhance a file, channel by channel, in memory that does not grow with its length.

    The network says what to take out, at its own rate; at the file's, that is taken out of the file. So what
    lies above the network's band is kept, and with ``mix`` 0 everything is.

    Returns
    -------
    Samples that were clipped, and that were not finite, which become 0.

    Raises
    ------
    UserError
        The file cannot be read or written; nothing is left half-written.
    """
    import numpy as np
    import soxr

    from rtaudio.files import AudioReader, AudioWriter
    from rtaudio.render import make_folder

    with AudioReader(source) as reader, AudioReader(source, model.rate) as heard:
        make_folder(target.parent)
        rate, channels = reader.rate, reader.channels
        up = soxr.ResampleStream(model.rate, rate, channels, quality="VHQ")
        left, bad = reader.samples, 0
        with AudioWriter(
            target, rate, channels, source=reader.info, subtype=subtype, dither=dither, samples=left
        ) as writer:
            for noise, last in noise_of(model, mode, heard):
                # The end is held on, for the samples that resampling has in the making.
                after = model.rate // 100 if last else 0
                raised = np.ascontiguousarray(np.pad(noise, ((0, 0), (0, after)), mode="edge").T)
                if rate != model.rate:
                    raised = up.resample_chunk(raised, last=last)
                if wanted := min(left, len(raised)):
                    block = reader.read(wanted)
                    bad += int(np.count_nonzero(~np.isfinite(block)))
                    block = np.nan_to_num(block, posinf=0.0, neginf=0.0)
                    writer.write(block - np.float32(mix) * raised[:wanted].T)
                    left -= wanted
                show(1 - left / reader.samples)
    return writer.clipped, bad


def noise_of(model: ChunkModel, mode: str, heard: AudioReader) -> Iterator[tuple[Block, bool]]:
    """What the network would take out, block by block, aligned with the file; and whether it is the last."""
    import numpy as np

    from engines.chunks import Sliding

    windows = [Sliding.of_mode(model, mode) for _ in range(heard.channels)]
    hop, late = windows[0].hop * model.batch, windows[0].latency - windows[0].hop
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
