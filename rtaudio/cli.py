"""The command line: ``rtaudio live | ctl | status | render | devices | measure | engines | rack | doctor``.

Engines add commands of their own.

Numba and the engines are imported by the commands that need them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rtaudio import __version__
from rtaudio.errors import UserError

if TYPE_CHECKING:
    from rtaudio.graph import Engine, Graph
    from rtaudio.plan import Plan
    from rtaudio.rack import Rack
    from rtaudio.render import Job

CHAIN_HELP = """chain: a rack, by its file (.toml) or its name, see 'rtaudio rack list'; or text such as
  'biquad(kind=highpass, frequency=80) | remix(preset=live, percussive_gain=-60)'
  a|b feeds b from a; NAME: names a node; .PORT or .PORT+PORT picks outputs; use=NAME takes a preset;
  see 'rtaudio engines'

exit status: 0 done, 1 done but for what is said, 2 a mistake, found before the work began, 130 Ctrl-C"""

MAXIMUM_BLOCK = 65_536
ENDING = signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)
"""Signals that ask for an end from outside of the terminal, or because it is gone."""
CLEAR = "\r\x1b[K"
STEP = 0.1
"""Seconds between two lines of ``--progress``, at least."""


class Parser(argparse.ArgumentParser):
    """One line on stderr and exit status 2 for a mistake."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; leave with status 2."""
        self.exit(2, f"{self.prog}: {one_line(message)} (see '{self.prog} --help')\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status (see `CHAIN_HELP`)."""
    from rtaudio import ctl, devices, live, racks

    description = "A real-time audio plug-in host whose processors are compiled Python."
    parser = Parser(prog="rtaudio", description=description)
    parser.add_argument("--version", action="version", version=f"rtaudio {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    live.add_commands(commands)
    devices.add_commands(commands)
    ctl.add_command(commands)
    _add_render(commands)
    _add_engines(commands)
    racks.add_commands(commands)
    _add_doctor(commands)
    _add_contributed(commands)
    try:
        options = parser.parse_args(arguments)
        status: int = options.run(options)
        sys.stdout.flush()
    except (UserError, KeyboardInterrupt, OSError) as error:
        return failed(error)
    return status


def failed(error: BaseException) -> int:
    """Say why a command ends early; returns its exit status."""
    if isinstance(error, KeyboardInterrupt):
        say("interrupted")
        return 130
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return fail(str(error))


def _add_contributed(commands: Any) -> None:
    """Add the commands of installed engine packages; a broken one is said and left out."""
    from rtaudio.registry import command_names, load_command

    for name in command_names():
        try:
            load_command(name)(commands)
        except UserError as error:
            say(f"warning: {error}")


# ------------------------------------------------------------------------------------ render


def _add_render(commands: Any) -> None:
    render = commands.add_parser(
        "render",
        help="render files through a chain",
        description="Render files through a chain: aligned with the input and as long.",
        epilog=CHAIN_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    render.add_argument("inputs", nargs="+", type=file_path, metavar="IN", help=INPUTS_HELP)
    render.add_argument(
        "-o",
        "--output",
        type=file_path,
        required=True,
        metavar="OUT",
        help="a file for one input, else a folder",
    )
    render.add_argument("--chain", default="", metavar="C", help="(default: the input goes to the output)")
    add_render_options(render)
    render.set_defaults(run=run_render)


INPUTS_HELP = "files and folders, whose structure is kept; OUT inside of a folder is no input"


def add_render_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that renders files."""
    parser.add_argument("--tail", action="store_true", help="keep what rings on after the end")
    parser.add_argument("--subtype", metavar="T", help="16, 24, 32, float ... (default: the input's)")
    parser.add_argument("--no-dither", action="store_true", help="round to 16 bits without dither")
    parser.add_argument(
        "--jobs", type=whole, metavar="N", help="processes for several files (default: CPU cores)"
    )
    add_compute_option(parser)
    parser.add_argument("--json", metavar="F", help="write the report as JSON ('-' for stdout)")
    parser.add_argument(
        "--progress",
        action="store_true",
        help="tell a program, on stdout, how far it is, in lines of JSON: of one file its 'source', the "
        "seconds 'done' and in 'total', and the 'speed', times real time; then the report of every file",
    )


def add_compute_option(parser: argparse.ArgumentParser) -> None:
    """``--compute``, of every command that runs networks."""
    parser.add_argument(
        "--compute",
        type=_compute,
        metavar="C",
        help="what networks run on that do not say it themselves: cpu, cuda:N, or auto (default)",
    )


def _compute(text: str) -> str:
    """The type of ``--compute``; the engines read it."""
    kind, _, number = text.partition(":")
    if text in ("auto", "cpu", "cuda") or (kind == "cuda" and number.isascii() and number.isdecimal()):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is not auto, cpu or cuda:N, such as cuda:0")


def set_compute(graph: Graph, compute: str | None) -> None:
    """Let the networks of a graph run where ``--compute`` says; refuse a GPU where there is none to run."""
    if compute is not None and not graph.set_default("compute", compute) and compute.startswith("cuda"):
        raise UserError(f"--compute {compute}: nothing in this chain can run on a GPU; leave it out")


def run_render(options: argparse.Namespace) -> int:
    """``rtaudio render``."""
    graph = read_chain(options.chain)
    jobs = [
        make_job(source, {name: _named(target, name) for name in graph.output_names()}, options)
        for source, target in find_targets(options.inputs, options.output)
    ]
    return render_jobs(graph, jobs, options)


def _named(target: Path, output: str) -> Path:
    from rtaudio.graph import MAIN

    return target if output == MAIN else target.with_name(f"{target.stem}.{output}{target.suffix}")


def find_targets(inputs: Sequence[Path], output: Path) -> list[tuple[Path, Path]]:
    """Every input file with the file to write: the output itself for one input, else one in that folder."""
    from rtaudio.files import writable

    one = len(inputs) == 1 and not inputs[0].is_dir()
    to_file = bool(output.suffix) and not output.is_dir()
    if not one and to_file and writable(output):
        raise UserError(f"{output} is a file: several inputs need a folder")
    if one and to_file:
        return [(source, output) for source, _ in find_inputs(inputs, output)]
    return [
        (source, output / (place if writable(place) else place.with_suffix(".wav")))
        for source, place in find_inputs(inputs, output)
    ]


def find_inputs(inputs: Sequence[Path], output: Path) -> list[tuple[Path, Path]]:
    """Every input file, with its path below the folder that was named, or else its name.

    An output folder inside of an input folder is passed over: what is there, an earlier run has written.
    """
    from rtaudio.files import audio_files

    written, found = output.resolve(), []
    for source in audio_files(inputs):
        folder = next((path for path in inputs if path.is_dir() and source.is_relative_to(path)), None)
        if folder is None:
            found.append((source, Path(source.name)))
        elif folder.resolve() not in written.parents or written not in source.resolve().parents:
            found.append((source, source.relative_to(folder)))
    if not found:
        raise UserError(f"no audio files besides those in the output folder {output}")
    return found


def make_job(source: Path, targets: dict[str, Path], options: argparse.Namespace) -> Job:
    """A `Job` with the options of `add_render_options`."""
    from rtaudio.render import Job

    return Job(source, targets, options.subtype, not options.no_dither, options.tail)


def render_jobs(graph: Graph, jobs: Sequence[Job], options: argparse.Namespace) -> int:
    """Render files with a progress bar; returns 0, or 1 if one of several, or an engine, failed."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from rtaudio.parts import graph_rate
    from rtaudio.render import check_targets, make_folder, render, render_many, try_to_render

    set_compute(graph, options.compute)
    check_targets(jobs)
    if options.progress and options.json == "-":
        raise UserError("--progress and --json - both write to stdout: give --json a file")
    check_report(options.json, [path for job in jobs for path in (job.source, *job.targets.values())])
    rate = graph_rate(graph, 48_000)
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %")
    console = Console(stderr=True, emoji=False)
    bar = Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not on_terminal(), transient=True
    )
    reports = []
    with ExitStack() as stack:
        stack.callback(bar.stop)
        stack.enter_context(on_signals(leave, signal.SIGINT, *ENDING))
        if len(jobs) == 1:
            task = bar.add_task(jobs[0].source.name)
            steps = _Steps(jobs[0].source) if options.progress else None

            def show(done: int, total: int) -> None:
                bar.start()
                bar.update(task, completed=done, total=total)
                if steps is not None:
                    steps.tell(done / total)

            with compiling():
                reports.append(render(graph, jobs[0], show))
            bar.stop()
            _say_rendered(reports[0], console)
            if options.progress:
                _tell(reports[0])
        else:
            make_folder(options.output)
            with suppress(UserError):  # of this rate and width; the files have their own
                make_plan(graph, rate, 1024, 2).close()
            processes = min(options.jobs or os.cpu_count() or 1, len(jobs))
            if processes > 1:
                found = render_many(graph, jobs, processes)
                stack.callback(found.close)
            else:
                found = (try_to_render(graph, job) for job in jobs)
            bar.start()
            for report in bar.track(found, total=len(jobs), description=f"{len(jobs)} files"):
                _say_rendered(report, console)
                reports.append(report)
                if options.progress:
                    _tell(report)
    order = [str(job.source) for job in jobs]
    reports.sort(key=lambda report: order.index(report["source"]))
    write_report(options.json, reports[0] if len(jobs) == 1 else reports)
    return int(any("error" in report or report["failures"] for report in reports))


class _Steps:
    """Tells how far a file is, in lines for a program."""

    def __init__(self, source: Path) -> None:
        from rtaudio.files import AudioReader

        with AudioReader(source) as reader:
            self._seconds = reader.samples / reader.rate
        self._source, self._started, self._told = source, 0.0, -math.inf

    def tell(self, part: float) -> None:
        """So much of it is done, 0 to 1: told if that is long enough after the last time."""
        now = time.monotonic()
        self._started = self._started or now
        if now - self._told < STEP:
            return
        self._told = now
        done = part * self._seconds
        _tell(
            {
                "source": str(self._source),
                "done": round(done, 3),
                "total": round(self._seconds, 3),
                "speed": round(done / max(now - self._started, 1e-3), 1),
            }
        )


def _tell(step: dict[str, Any]) -> None:
    """A line of JSON on stdout, for a program that waits for it."""
    sys.stdout.write(json.dumps(step) + "\n")
    sys.stdout.flush()


def _say_rendered(report: dict[str, Any], console: Any) -> None:
    style = "red"
    if "error" in report:
        line = f"rtaudio: {report['error']}"
    else:
        facts = [
            f"{report['samples'] / report['file_rate']:.2f} s",
            f"{report['speed']:g} x real time",
            *report["notes"],
        ]
        if report["clipped"]:
            facts.append(f"{report['clipped']} samples clipped: lower the gain, or --subtype float")
        if report["non_finite_replaced"]:
            facts.append(f"{report['non_finite_replaced']} non-finite input samples replaced by 0")
        facts += report["failures"]
        style = "red" if report["failures"] else ""
        line = f"{', '.join(report['outputs'].values())}  ({'; '.join(facts)})"
    console.print(one_line(line), style=style, markup=False, highlight=False, soft_wrap=True)


# ------------------------------------------------------------------------------------ engines, doctor


def _add_engines(commands: Any) -> None:
    engines = commands.add_parser(
        "engines", help="list engines, or describe one", description="List the engines."
    )
    engines.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="print its ports, parameters and latency; with values that decide them in parentheses, such as "
        "\"network(model='NAME.onnx')\"",
    )
    engines.add_argument(
        "--json", metavar="F", help="write names, summaries, ports and presets as JSON ('-' for stdout)"
    )
    engines.set_defaults(run=run_engines)


def run_engines(options: argparse.Namespace) -> int:
    """``rtaudio engines [NAME]``."""
    from rtaudio.registry import engine_names, load_engine

    check_report(options.json, [])
    if options.json is not None:
        if options.name is not None:
            raise UserError(f"--json writes all engines: leave {options.name} out")
        write_report(options.json, _catalogue())
        return 0
    if options.name is not None:
        engine = _configured(options.name) if "(" in options.name else load_engine(options.name)
        sys.stdout.write(_description(engine))
        return 0
    names = engine_names()
    for name in names:
        try:
            summary = _summary(load_engine(name))
        except UserError as error:
            summary = f"not usable: {error}"
        sys.stdout.write(entry(name, max(map(len, names)), summary))
    return 0


def _catalogue() -> list[dict[str, Any]]:
    """What the engines are, by name; those that cannot be used are left out."""
    from rtaudio.registry import engine_names, load_engine

    found = []
    for name in engine_names():
        with suppress(UserError):
            engine = load_engine(name)
            ports = {"inputs": engine.inputs, "outputs": engine.outputs}
            found.append(
                {"name": name, "summary": _summary(engine)}
                | {kind: [port.name for port in listed] for kind, listed in ports.items()}
                | {"presets": list(engine.presets)}
            )
    return found


def _configured(text: str) -> Engine:
    """The engine with the ports and parameters that go with some values, as a chain has them."""
    from rtaudio.chain import load_chain

    nodes = list(load_chain(text).nodes.values())
    if len(nodes) != 1:
        raise UserError(f"{text!r} is {len(nodes)} engines: give one")
    return nodes[0].engine


def _summary(engine: Engine) -> str:
    """What an engine says it is, or the first line of its text."""
    return engine.summary or next(iter((engine.__doc__ or "").split("\n")), "").rstrip(".") or engine.id


def _description(engine: Engine) -> str:
    """An engine's ports, parameters and latency."""
    from rtaudio.graph import Graph, Node, parameters_of
    from rtaudio.parts import graph_rate
    from rtaudio.rack import USE

    name = engine.id
    edges = [f"in -> {name}.{port.name}" for port in engine.inputs if not port.optional]
    edges += [f"{name}.{port.name} -> out.{port.name}" for port in engine.outputs]
    graph = Graph([Node(name, engine)], edges)
    rate = graph_rate(graph, 48_000)
    try:
        plan = make_plan(graph, rate, 128, 2)
    except UserError as error:
        late = f"not known: {error}"
    else:
        samples = f"{plan.latency} samples ({1e3 * plan.latency / rate:.1f} ms)"
        late = f"{samples} at {rate} Hz in blocks of 128, with the defaults"
        plan.close()
    text = [entry(f"{name}:", 0, f"{_summary(engine)} (version {engine.version})"), "\n"]
    for kind, ports in (("inputs", engine.inputs), ("outputs", engine.outputs)):
        labels = [
            port.name
            + (f" ({port.channels} channels)" if port.channels else "")
            + (" (optional)" if port.optional else "")
            for port in ports
        ]
        text.append(entry(kind, 7, ", ".join(labels) or "none"))
    text.append(entry("latency", 7, late))
    parameters = parameters_of(engine)
    settings = [f"{parameter.id} = {_shown(parameter.default)}" for parameter in parameters]
    head = "parameter = default"
    width = max(map(len, [head, *settings]))
    if parameters:
        text += ["\n", entry(head, width, "range; meaning (fixed: not while sound runs)")]
    for setting, parameter in zip(settings, parameters, strict=True):
        unit = parameter.unit if parameter.choices else ""  # a range of numbers has it
        fixed = "" if parameter.automatable else " (fixed)"
        meaning = f"{parameter.range} {unit}".rstrip() + f"; {parameter.doc}" * bool(parameter.doc) + fixed
        text.append(entry(setting, width, meaning))
    if engine.presets:
        width = max(map(len, engine.presets))
        text += ["\n", entry("preset", width, f"values; {name}({USE}=PRESET)")]
    for preset, values in engine.presets.items():
        listed = ", ".join(f"{parameter} = {_shown(value)}" for parameter, value in values.items())
        text.append(entry(preset, width, listed))
    return "".join(text)


def _shown(value: float | str | bool) -> str:
    return value or "''" if isinstance(value, str) else f"{value:g}"


def entry(label: str, width: int, text: str) -> str:
    """A label and a text beside it, which is wrapped to the terminal."""
    columns = max(60, shutil.get_terminal_size().columns)
    indent = " " * (max(width, len(label)) + 2)
    return textwrap.fill(text, columns, initial_indent=f"{label:{width}}  ", subsequent_indent=indent) + "\n"


def _add_doctor(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor", help="say what works here", description="Say what works here, and what to do."
    )
    doctor.set_defaults(run=run_doctor)


def run_doctor(options: argparse.Namespace) -> int:
    """``rtaudio doctor``."""
    from rtaudio import doctor

    return doctor.report()


# ------------------------------------------------------------------------------------ shared by commands


def read_chain(text: str) -> Graph:
    """`chain.load_chain`, imported late."""
    return open_chain(text)[0]


def open_chain(text: str) -> tuple[Graph, Rack | None]:
    """`chain.open_chain`, imported late."""
    from rtaudio.chain import open_chain

    return open_chain(text)


def make_plan(graph: Graph, rate: int, block: int, channels: int) -> Plan:
    """A `Plan`, with a line on stderr while kernels are compiled."""
    from rtaudio.plan import Plan

    with compiling():
        return Plan(graph, rate, block, channels)


@contextmanager
def compiling() -> Iterator[None]:
    """Say so when kernels are being compiled meanwhile: all names on one line of a terminal, else once."""
    from rtaudio.kernel import on_compile

    told = False

    def tell(name: str) -> None:
        nonlocal told
        if on_terminal():
            say(f"{CLEAR}compiling {name} (once; kept for the next run)", end="")
        elif not told:
            say("compiling kernels (once; kept for the next run)")
        told = True

    with on_compile(tell):
        yield
    if told and on_terminal():
        say(CLEAR, end="")


@contextmanager
def on_signals(handler: Callable[[int, Any], Any], *numbers: int) -> Iterator[None]:
    """Handle signals meanwhile, but those that are ignored (as by ``nohup``)."""
    before = {
        number: signal.signal(number, handler)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handled in before.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, handled)


def leave(number: int, frame: Any) -> NoReturn:
    """Clean up and end, whatever else comes: a second signal would cut that short."""
    for other in (signal.SIGINT, *ENDING):
        signal.signal(other, signal.SIG_IGN)

    def again(unraisable: Any) -> None:
        """In a finaliser, where Python drops what is raised. What else fails on the way out is not told."""
        if isinstance(unraisable.exc_value, KeyboardInterrupt | SystemExit):
            signal.signal(number, leave)
            threading.Timer(0.01, os.kill, (os.getpid(), number)).start()

    sys.unraisablehook = again
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def check_report(path: str | None, others: Iterable[Path]) -> None:
    """Refuse a ``--json`` that cannot be written or is one of the others, before there is a report."""
    if path is None or path == "-":
        return
    file = Path(path)
    exists, real = file.exists(), os.path.realpath(file)
    for other in others:
        if os.path.realpath(other) == real or (exists and other.exists() and file.samefile(other)):
            raise UserError(f"{path} is an input or an output: write the report to another file")
    if exists and not (file.is_file() or file.is_dir()):
        return  # a pipe or a device, which trying would disturb
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o666))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another file") from None
    if not exists:
        file.unlink()


def write_report(path: str | None, report: Any) -> None:
    """Write a report where ``--json`` says."""
    if path is None:
        return
    text = json.dumps(report, indent=2) + "\n"
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another file") from None


def fail(message: str) -> int:
    """Print a one-line error; returns exit status 2."""
    say(f"rtaudio: {one_line(message)}")
    return 2


def say(text: str, end: str = "\n") -> None:
    """A line for the user, on stderr. A terminal that is gone is no reason to stop."""
    with suppress(OSError):
        sys.stderr.write(text + end)
        sys.stderr.flush()


def one_line(text: str) -> str:
    """The text on one line, without what could steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def on_terminal() -> bool:
    """Whether somebody sees stderr as it is written."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def file_path(text: str) -> Path:
    """The type of arguments that name files: an empty one is a variable that was not set, not this folder."""
    if not text:
        raise argparse.ArgumentTypeError("an empty name is no file: give a path")
    return Path(text)


def whole(text: str) -> int:
    """The type of arguments that are whole numbers above 0."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def from_zero(text: str) -> int:
    """The type of arguments that are whole numbers, 0 too."""
    if not (text.isascii() and text.isdigit() and int(text) < 2**53):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def decibels(text: str) -> float:
    """The type of arguments that are levels in dB."""
    try:
        level = float(text)
    except ValueError:
        level = math.nan
    if not -100.0 <= level <= 100.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a level in dB, from -100 to 100")
    return level


def seconds(text: str) -> float:
    """The type of arguments that are times above 0."""
    try:
        duration = float(text)
    except ValueError:
        duration = 0.0
    if not 0.0 < duration < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds above 0")
    return duration
