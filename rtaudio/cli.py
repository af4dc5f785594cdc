"""The command line: ``rtaudio live | render | devices | measure | status | engines | doctor``, and more.

Engines add their own commands.

Numba and the engines are imported by the commands that need them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rtaudio import __version__
from rtaudio.errors import UserError

if TYPE_CHECKING:
    from rtaudio.files import AudioReader
    from rtaudio.graph import Engine, Graph
    from rtaudio.host import Device, Host
    from rtaudio.plan import Plan
    from rtaudio.render import Job

CHAIN_HELP = """chain: a rack file (TOML) or text such as
  'biquad(kind=highpass, frequency=80) | remix(preset=live, percussive_gain=-60)'
  a|b feeds b from a; NAME: names a node; .PORT or .PORT+PORT picks outputs; see 'rtaudio engines'

exit status: 0 done, 1 done but for what is said, 2 a mistake, found before the work began, 130 Ctrl-C"""

MAXIMUM_BLOCK = 65_536
MAXIMUM_PLACE = 256
"""Highest channel of a device."""
ENDING = signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)
"""Signals that ask for an end from outside of the terminal, or because it is gone."""
_CLEAR = "\r\x1b[K"


class _Parser(argparse.ArgumentParser):
    """One line on stderr and exit status 2 for a mistake."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {one_line(message)} (see '{self.prog} --help')\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status (see `CHAIN_HELP`)."""
    description = "A real-time audio plug-in host whose processors are compiled Python."
    parser = _Parser(prog="rtaudio", description=description)
    parser.add_argument("--version", action="version", version=f"rtaudio {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)
    _add_live(commands)
    _add_render(commands)
    _add_devices(commands)
    _add_measure(commands)
    _add_status(commands)
    _add_engines(commands)
    _add_doctor(commands)
    _add_contributed(commands)
    try:
        options = parser.parse_args(arguments)
        status: int = options.run(options)
        sys.stdout.flush()
    except UserError as error:
        return fail(str(error))
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return fail(str(error))
    return status


def _add_contributed(commands: Any) -> None:
    """Add the commands of installed engine packages; a broken one is said and left out."""
    from rtaudio.registry import command_names, load_command

    for name in command_names():
        try:
            load_command(name)(commands)
        except UserError as error:
            say(f"warning: {error}")


# ------------------------------------------------------------------------------------ live


def _add_live(commands: Any) -> None:
    live = commands.add_parser(
        "live",
        help="run a chain live",
        description="Run a chain live. Ctrl-C ends it with a summary.",
        epilog=CHAIN_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_device_options(live, ["auto", "jack", "alsa", "null"])
    live.add_argument("--file", type=file_path, metavar="F", help="a file as input")
    live.add_argument("--loop", action="store_true", help="start the file again when it ends")
    live.add_argument(
        "--channels", type=_whole, metavar="N", help="(default: those of the map or the file, else 2)"
    )
    live.add_argument(
        "--seconds", type=_seconds, metavar="S", help="stop after this time (default: with the file)"
    )
    live.add_argument(
        "--record", type=file_path, metavar="F", help="write what is heard to a WAV or FLAC file"
    )
    live.add_argument(
        "--record-input", type=file_path, metavar="F", help="write what the device gives, as it came"
    )
    live.add_argument(
        "--howl-guard", action="store_true", help="stop feedback from the speaker to the microphone"
    )
    live.add_argument("--freewheel", action="store_true", help="null device: do not wait for the clock")
    live.add_argument(
        "--stress",
        choices=["none", "gil", "gc", "cpu"],
        default="none",
        help="diagnostic: load this very process with a busy interpreter, garbage or arithmetic",
    )
    live.add_argument("--json", metavar="F", help="write the summary as JSON ('-' for stdout)")
    live.set_defaults(run=run_live)


def _add_device_options(parser: argparse.ArgumentParser, apis: Sequence[str]) -> None:
    """The options of every command that opens a sound card."""
    parser.add_argument("--chain", default="", metavar="C", help="(default: the input goes to the output)")
    parser.add_argument(
        "--api",
        choices=apis,
        default="auto",
        help="what to play through (default auto: JACK where a server runs, else ALSA where there is a card"
        + (", else null, a clock without a sound card)" if "null" in apis else ")"),
    )
    parser.add_argument(
        "--input", metavar="D", help="input device, see 'rtaudio devices' (default: the API's)"
    )
    parser.add_argument("--output", metavar="D", help="output device (default: the API's)")
    parser.add_argument(
        "--map",
        type=_channel_map,
        metavar="M",
        help="device channels, counted from 1: 'in=3' hears input 3, 'in=1,1' one microphone on both "
        "channels, 'out=3,4' plays on outputs 3 and 4; 'in=3/out=1,2' is both",
    )
    parser.add_argument(
        "--rate", type=_whole, metavar="R", help="Hz (default: the file's, else the device's, else 48000)"
    )
    parser.add_argument(
        "--block", type=_whole, metavar="N", help="samples per block (default: the JACK server's, else 128)"
    )
    parser.add_argument(
        "--lane",
        choices=["auto", "0", "1"],
        default="auto",
        help="where nodes run: 0 in the callback, 1 on a worker thread, a block later "
        "(default auto: on a worker if they cost too much of a block)",
    )


def run_live(options: argparse.Namespace) -> int:
    """``rtaudio live``."""
    graph = read_chain(options.chain)
    from rtaudio.counters import Counters
    from rtaudio.files import AudioReader, AudioWriter, same_file
    from rtaudio.host import Host, burst_of
    from rtaudio.null import can_pace
    from rtaudio.parts import graph_rate
    from rtaudio.plan import Plan
    from rtaudio.realtime import PRIORITY_WARNING
    from rtaudio.stress import stress

    if not can_pace():
        raise UserError("live needs Linux (clock_nanosleep): use render here")
    _check_live(options)
    if options.howl_guard:
        graph = _guarded(graph)
    records = [path for path in (options.record, options.record_input) if path is not None]
    for path in records:
        if options.file is not None and same_file(options.file, path):
            raise UserError(f"{path} is the input: record to another file")
    if len(records) == 2 and os.path.realpath(records[0]) == os.path.realpath(records[1]):
        raise UserError(f"{options.record} is named twice: record the input to another file")
    check_report(options.json, filter(None, [options.file, *records]))
    stopping: list[int] = []
    with ExitStack() as stack:
        file = record = record_input = None
        if options.file is not None:
            file = stack.enter_context(AudioReader(options.file, options.rate))
        channels, inputs = _inputs(options, file)
        outputs = _outputs(options, graph.heard(channels))
        device, inputs = _device(options, file, channels, inputs, outputs)
        rate = device.rate or (file.rate if file else options.rate) or 48_000
        if file is not None and file.rate != rate:
            file.close()
            file = stack.enter_context(AudioReader(options.file, rate))
        block = options.block or device.period or 128
        taken = graph_rate(graph, rate)
        if taken != rate:
            raise UserError(f"an engine of this chain does not take {rate} Hz: give --rate {taken}")
        with compiling():
            burst = burst_of(device.period, block)
            plan = Plan(graph, rate, block, channels, lane=_lane(options), burst=burst)
            stack.callback(plan.close)
            if options.record is not None:
                record = stack.enter_context(AudioWriter(options.record, rate, len(plan.heard)))
            if options.record_input is not None:
                record_input = stack.enter_context(AudioWriter(options.record_input, rate, channels))
            counters = Counters(shared=True)
            stack.callback(counters.close)
            note = on_signals(lambda number, frame: stopping.append(number), signal.SIGINT, *ENDING)
            stack.enter_context(note)
            host = Host(
                plan,
                device,
                file,
                options.loop,
                record,
                options.seconds,
                record_input,
                inputs,
                outputs,
                counters,
            )
            stack.enter_context(host)
            stack.enter_context(stress(options.stress))
            host.start()
        say(_ready(host))
        if not (options.freewheel or device.realtime):
            say(f"warning: {PRIORITY_WARNING}")
        shown = _watch(host, stopping)
    for problem in host.problems[shown:]:
        say(f"warning: {problem}")
    report = host.statistics()
    _summary(report)
    write_report(options.json, report)
    return int(bool(host.problems or report["file_underflows"] or report["record_overflows"]))


def _check_live(options: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    from rtaudio.processor import RATES

    if options.loop and options.file is None:
        raise UserError("--loop needs a file: give --file")
    fed = options.file is not None and options.record_input is None
    if fed and (options.input is not None or (options.map and options.map[0] is not None)):
        raise UserError("--file is heard instead of the device: leave the input out, or give --record-input")
    if options.freewheel and options.api not in ("auto", "null"):
        raise UserError(f"--freewheel needs --api null: {options.api} has a clock of its own")
    if options.freewheel and options.seconds is None and (options.file is None or options.loop):
        raise UserError("--freewheel never ends here: give --seconds")
    if options.block is not None and options.block > MAXIMUM_BLOCK:
        raise UserError(f"--block {options.block} is out of range (1 to {MAXIMUM_BLOCK})")
    if options.rate is not None and not RATES[0] <= options.rate <= RATES[1]:
        raise UserError(f"--rate {options.rate} is out of range ({RATES[0]} to {RATES[1]})")
    if options.api == "null":
        for option in ("input", "output", "map"):
            if getattr(options, option) is not None:
                raise UserError(f"--{option} needs a sound card: the null device has no channels")


def _inputs(options: argparse.Namespace, file: AudioReader | None) -> tuple[int, list[int] | None]:
    """Channels of the graph, and the device's input of each, from 0; None: not said."""
    inputs = options.map[0] if options.map else None
    channels = options.channels or (file.channels if file else len(inputs or [])) or 2
    if file is not None and channels != file.channels:
        has = f"{options.file} has {file.channels}"
        raise UserError(f"--channels {options.channels}: {has}; leave --channels out")
    if inputs is not None and len(inputs) == 1:
        inputs = inputs * channels
    if inputs is not None and len(inputs) != channels:
        raise UserError(f"--map names {len(inputs)} inputs for {channels} channels: name one for each")
    return channels, inputs


def _outputs(options: argparse.Namespace, heard: int) -> list[int]:
    """What each output of the device plays: a channel of the graph from 0, or -1; one channel goes to all."""
    places = options.map[1] if options.map else None
    if places is None:
        return [0, 0] if heard == 1 and options.api != "null" else list(range(heard))
    if heard not in (1, len(places)):
        raise UserError(f"--map names {len(places)} outputs for {heard} channels: name one for each")
    played = [-1] * (max(places) + 1)
    for channel, place in enumerate(places):
        played[place] = channel if heard > 1 else 0
    return played


def _device(
    options: argparse.Namespace,
    file: AudioReader | None,
    channels: int,
    inputs: list[int] | None,
    outputs: list[int],
) -> tuple[Device, list[int] | None]:
    """The device, open but silent, and its input of each of the graph's channels."""
    from rtaudio import soundcard
    from rtaudio.null import NullDevice

    api = options.api
    if api == "auto":
        api = "null" if options.freewheel else _best_api()
    if api == "null":
        for option in ("input", "output", "map"):
            if getattr(options, option) is not None:
                raise UserError(f"--{option} needs a sound card or a JACK server: give --api")
        return NullDevice(options.freewheel, options.rate or (file.rate if file else 48_000)), None
    if file is not None and options.record_input is None:
        inputs = []
    elif inputs is None:
        source = soundcard.find_device(soundcard.devices(api), options.input, "input")
        inputs = [0] * channels if source.inputs == 1 else list(range(channels))
    width = max(inputs, default=-1) + 1
    rate = options.rate or (file.rate if file and api == "alsa" else None)
    return soundcard.open_device(api, options.input, options.output, rate, width, len(outputs)), inputs


def _lane(options: argparse.Namespace) -> int | None:
    return None if options.lane == "auto" else int(options.lane)


def _best_api() -> str:
    """JACK where a server runs, else ALSA where there is a card that plays, else the null device."""
    from rtaudio import soundcard

    for api in soundcard.APIS:
        with suppress(UserError):
            if any(device.outputs for device in soundcard.devices(api)):
                return api
    return "null"


def _guarded(graph: Graph) -> Graph:
    """The graph with a howl guard before its main output."""
    from rtaudio.graph import MAIN, OUT, Graph, Node
    from rtaudio.registry import load_engine

    edges = []
    for edge in graph.edges:
        heard = edge.target.node == OUT and edge.target.port == MAIN
        edges.append(f"{edge.source} -> {'howl-guard' if heard else edge.target}")
    nodes = [*graph.nodes.values(), Node("howl-guard", load_engine("howl"))]
    return Graph(nodes, [*edges, "howl-guard -> out"])


def _ready(host: Host) -> str:
    """The line that says that sound runs."""
    report, plan = host.statistics(), host.plan
    rate, latency = plan.rate, report["latency"]
    cards = " -> ".join(filter(None, (report.get("input"), report.get("output"))))
    parts = [f"{name} {samples}" for name, samples in latency.items() if name != "total"]
    out = "" if len(plan.heard) == plan.channels else f" in, {len(plan.heard)} out"
    block = f"block {plan.block}"
    if report["period"] != plan.block:
        block += f" (device {report['period'] or 'varies'})"
    words = [
        f"READY {report['api']}{f' {cards}' if cards else ' device'}",
        f"{rate} Hz",
        f"{plan.channels} channel{'s' * (plan.channels > 1)}{out}",
        block,
        f"latency {latency['total']} samples ({1e3 * latency['total'] / rate:.1f} ms"
        + (f": {', '.join(parts)})" if parts else ")"),
    ]
    if report["placement"]:
        words.append(f"on workers: {report['placement']}")
    if report.get("freewheel"):
        words.append("freewheeling")
    elif host.device.realtime:
        words.append("real-time priority")
    return ", ".join(words)


def _watch(host: Host, stopping: list[int]) -> int:
    """Redraw the status line until the sound ends or a signal comes; returns how many problems were told."""
    shown = 0
    drawn = _on_terminal()
    while host.running and not stopping:
        host.poll()
        for problem in host.problems[shown:]:
            say(f"{_CLEAR * drawn}warning: {problem}")
            shown += 1
        for note in host.notes:
            say(f"{_CLEAR * drawn}{note}")
        host.notes.clear()
        if drawn:
            report = host.statistics()
            line = (
                f"{report['seconds']:7.1f} s   load {100 * report['load']:5.1f} %   "
                f"xruns {report['xruns']}   misses {report['misses']}   "
                f"over 0 dBFS {report['over_full_scale']}   Ctrl-C ends"
            )
            with suppress(OSError):  # the terminal is gone
                width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
                say(_CLEAR + line[: width - 1], end="")
        time.sleep(0.05)
    if drawn:
        say(_CLEAR, end="")
    return shown


def _summary(report: dict[str, Any]) -> None:
    latency, block_us = report["latency"], 1e6 * report["block"] / report["rate"]
    parts = ", ".join(f"{name} {samples}" for name, samples in latency.items() if name != "total" and samples)
    times = report["callback_us"]
    say(
        f"{report['seconds']:.1f} s, {report['blocks']} blocks of {report['block']} at "
        f"{report['rate']} Hz, latency {latency['total']} samples{f' ({parts})' if parts else ''}"
    )
    say(
        f"xruns {report['xruns']}, misses {report['misses']}, load {100 * report['load']:.2f} %, "
        f"callback p50 {times['p50']:.0f} us, p99 {times['p99']:.0f} us, "
        f"max {times['max']:.0f} us of {block_us:.0f} us"
    )
    counted = {
        "non-finite input samples replaced by 0": report["non_finite_replaced"],
        "output samples over full scale": report["over_full_scale"],
        "samples silent, since the device called in another length": report["unfit_samples"],
        "losses of the device": report["device_losses"],
        "input samples that the file reader was late for": report["file_underflows"],
        "output samples that the recorder was late for": report["record_overflows"],
        **{f"failures of {name}": node["failures"] for name, node in report["nodes"].items()},
    }
    for what, count in counted.items():
        if count:
            say(f"{count} {what}")


# ------------------------------------------------------------------------------------ looking


def _add_devices(commands: Any) -> None:
    devices = commands.add_parser(
        "devices", help="list sound cards and JACK", description="List the devices of every API."
    )
    devices.add_argument("--api", choices=["jack", "alsa"], help="(default: all that are there)")
    devices.add_argument("--json", metavar="F", help="write them as JSON ('-' for stdout)")
    devices.set_defaults(run=run_devices)


def run_devices(options: argparse.Namespace) -> int:
    """``rtaudio devices``."""
    from dataclasses import asdict

    from rtaudio import soundcard

    check_report(options.json, [])
    found = soundcard.devices(options.api)
    if options.json != "-":
        sys.stdout.write(soundcard.device_table(found))
    write_report(options.json, [asdict(device) for device in found])
    return 0


def _add_status(commands: Any) -> None:
    status = commands.add_parser(
        "status",
        help="say what a running host counts",
        description="Say what a host that runs live in another process counts, without disturbing it.",
    )
    status.add_argument("pid", nargs="?", type=_whole, metavar="PID", help="(default: the only one)")
    status.add_argument("--json", metavar="F", help="write it as JSON ('-' for stdout)")
    status.set_defaults(run=run_status)


def run_status(options: argparse.Namespace) -> int:
    """``rtaudio status``."""
    from rtaudio import counters

    check_report(options.json, [])
    found = counters.running()
    if options.pid is None and len(found) != 1:
        listed = f"{', '.join(map(str, found))}: say which" if found else "none"
        raise UserError(f"hosts that run live: {listed}")
    report = counters.report(counters.attach(options.pid or found[0]))
    if not report["rate"]:
        raise UserError(f"process {report['pid']} is only starting: ask again")
    if options.json != "-":
        _summary(report)
    write_report(options.json, report)
    return 0


def _add_measure(commands: Any) -> None:
    measure = commands.add_parser("measure", help="measure the latency", description="Measure.")
    kinds = measure.add_subparsers(title="what", metavar="WHAT", required=True, parser_class=_Parser)
    latency = kinds.add_parser(
        "latency",
        help="from output to input, beside what is declared",
        description="Play noise, look for it in the input, and compare the latency with the declared one. "
        "On JACK the host's outputs are connected to its inputs; elsewhere, a cable has to.",
        epilog=CHAIN_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_device_options(latency, ["auto", "jack", "alsa"])
    latency.add_argument("--cable", action="store_true", help="on JACK too: through the card and a cable")
    latency.add_argument("--json", metavar="F", help="write the figures as JSON ('-' for stdout)")
    latency.set_defaults(
        run=run_measure_latency, freewheel=False, file=None, record_input=None, channels=None
    )


def run_measure_latency(options: argparse.Namespace) -> int:
    """``rtaudio measure latency``."""
    graph = read_chain(options.chain)
    from rtaudio.graph import Graph
    from rtaudio.measure import loop

    check_report(options.json, [])
    if options.api == "auto":
        options.api = _best_api()
    if options.api == "null":
        raise UserError("no sound card and no JACK server: there is no latency to measure")
    if options.api == "jack" and not options.cable:
        for option in ("input", "output", "map"):
            if getattr(options, option) is not None:
                raise UserError(f"--{option} needs --cable: without, the host is connected to itself")
        options.input = options.output = ""
    channels, inputs = _inputs(options, None)
    found = []
    for each in (Graph([], ["in -> out"]), graph):
        outputs = _outputs(options, each.heard(channels))
        device, places = _device(options, None, channels, inputs or list(range(channels)), outputs)
        block = options.block or device.period or 128
        with compiling():
            lane = _lane(options) if each is graph else 0
            found.append(loop(device, each, block, channels, lane, places, outputs))
    alone, whole = found
    added, rate = whole.found - (alone.found - alone.declared), device.rate
    of_device = alone.found - alone.declared
    if options.json != "-":
        for what, samples in (
            ("device, out and in", of_device),
            ("graph, as declared", whole.declared),
            ("graph, as measured", added),
            ("total", whole.found),
        ):
            sys.stdout.write(f"{what:18}  {samples:6} samples  {1e3 * samples / rate:7.2f} ms\n")
    report = {
        "api": device.name,
        "rate": rate,
        "block": block,
        "device": of_device,
        "declared": whole.declared,
        "measured": added,
        "total": whole.found,
        "likeness": whole.likeness,
    }
    write_report(options.json, report)
    if added != whole.declared:
        say(f"warning: measured and declared differ by {added - whole.declared} samples")
    return int(added != whole.declared)


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
        "--jobs", type=_whole, metavar="N", help="processes for several files (default: CPU cores)"
    )
    parser.add_argument("--json", metavar="F", help="write the report as JSON ('-' for stdout)")


def run_render(options: argparse.Namespace) -> int:
    """``rtaudio render``."""
    graph = read_chain(options.chain)
    from rtaudio.files import writable

    output: Path = options.output
    one = len(options.inputs) == 1 and not options.inputs[0].is_dir()
    to_file = bool(output.suffix) and not output.is_dir()
    if not one and to_file and writable(output):
        raise UserError(f"{output} is a file: several inputs need a folder")
    jobs = []
    for source, place in find_inputs(options.inputs, output):
        target = output / (place if writable(place) else place.with_suffix(".wav"))
        if one and to_file:
            target = output
        jobs.append(make_job(source, {name: _named(target, name) for name in graph.output_names()}, options))
    return render_jobs(graph, jobs, options)


def _named(target: Path, output: str) -> Path:
    from rtaudio.graph import MAIN

    return target if output == MAIN else target.with_name(f"{target.stem}.{output}{target.suffix}")


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

    check_targets(jobs)
    check_report(options.json, [path for job in jobs for path in (job.source, *job.targets.values())])
    rate = graph_rate(graph, 48_000)
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %")
    console = Console(stderr=True, emoji=False)
    bar = Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not _on_terminal(), transient=True
    )
    reports = []
    with ExitStack() as stack:
        stack.callback(bar.stop)
        stack.enter_context(on_signals(_leave, signal.SIGINT, *ENDING))
        if len(jobs) == 1:
            task = bar.add_task(jobs[0].source.name)

            def show(done: int, total: int) -> None:
                bar.start()
                bar.update(task, completed=done, total=total)

            with compiling():
                reports.append(render(graph, jobs[0], show))
            bar.stop()
            _say_rendered(reports[0], console)
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
    order = [str(job.source) for job in jobs]
    reports.sort(key=lambda report: order.index(report["source"]))
    write_report(options.json, reports[0] if len(jobs) == 1 else reports)
    return int(any("error" in report or report["failures"] for report in reports))


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
            facts.append(f"{report['clipped']} samples clipped: lower the gain, or write float")
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
    engines.add_argument("name", nargs="?", metavar="NAME", help="print its ports, parameters and latency")
    engines.set_defaults(run=run_engines)


def run_engines(options: argparse.Namespace) -> int:
    """``rtaudio engines [NAME]``."""
    from rtaudio.registry import engine_names, load_engine

    if options.name is not None:
        sys.stdout.write(_description(load_engine(options.name)))
        return 0
    names = engine_names()
    for name in names:
        try:
            summary = load_engine(name).summary
        except UserError as error:
            summary = f"not usable: {error}"
        sys.stdout.write(_entry(name, max(map(len, names)), summary))
    return 0


def _description(engine: Engine) -> str:
    """An engine's ports, parameters and latency."""
    from rtaudio.graph import Graph, Node, parameters_of
    from rtaudio.parts import graph_rate

    name = engine.id
    edges = [f"in -> {name}.{port.name}" for port in engine.inputs if not port.optional]
    edges += [f"{name}.{port.name} -> out.{port.name}" for port in engine.outputs]
    graph = Graph([Node(name, engine)], edges)
    rate = graph_rate(graph, 48_000)
    plan = make_plan(graph, rate, 128, 2)
    latency, milliseconds = plan.latency, 1e3 * plan.latency / rate
    plan.close()
    text = [_entry(f"{name}:", 0, f"{engine.summary} (version {engine.version})"), "\n"]
    for kind, ports in (("inputs", engine.inputs), ("outputs", engine.outputs)):
        labels = [
            port.name
            + (f" ({port.channels} channels)" if port.channels else "")
            + (" (optional)" if port.optional else "")
            for port in ports
        ]
        text.append(_entry(kind, 7, ", ".join(labels) or "none"))
    where = f"at {rate} Hz in blocks of 128, with the defaults"
    text.append(_entry("latency", 7, f"{latency} samples ({milliseconds:.1f} ms) {where}"))
    parameters = parameters_of(engine)
    settings = [f"{parameter.id} = {_shown(parameter.default)}" for parameter in parameters]
    head = "parameter = default"
    width = max(map(len, [head, *settings]))
    if parameters:
        text += ["\n", _entry(head, width, "range; meaning (fixed: not while sound runs)")]
    for setting, parameter in zip(settings, parameters, strict=True):
        unit = parameter.unit if parameter.choices else ""  # a range of numbers has it
        fixed = "" if parameter.automatable else " (fixed)"
        meaning = f"{parameter.range} {unit}".rstrip() + f"; {parameter.doc}" * bool(parameter.doc) + fixed
        text.append(_entry(setting, width, meaning))
    return "".join(text)


def _shown(value: float | str | bool) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _entry(label: str, width: int, text: str) -> str:
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
    from rtaudio.chain import load_chain

    return load_chain(text)


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
        if _on_terminal():
            say(f"{_CLEAR}compiling {name} (once; kept for the next run)", end="")
        elif not told:
            say("compiling kernels (once; kept for the next run)")
        told = True

    with on_compile(tell):
        yield
    if told and _on_terminal():
        say(_CLEAR, end="")


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


def _leave(number: int, frame: Any) -> NoReturn:
    """Clean up and end, whatever else comes: a second signal would cut that short."""
    for other in (signal.SIGINT, *ENDING):
        signal.signal(other, signal.SIG_IGN)
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


def _on_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def file_path(text: str) -> Path:
    """The type of arguments that name files: an empty one is a variable that was not set, not this folder."""
    if not text:
        raise argparse.ArgumentTypeError("an empty name is no file: give a path")
    return Path(text)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _channel_map(text: str) -> tuple[list[int] | None, list[int] | None]:
    """``in=3/out=1,2`` as device channels from 0."""
    found: dict[str, list[int] | None] = {"in": None, "out": None}
    for part in text.split("/"):
        side, equals, numbers = part.partition("=")
        places = numbers.split(",")
        right = all(
            place.isascii() and place.isdigit() and 0 < int(place) <= MAXIMUM_PLACE for place in places
        )
        if side not in found or found[side] is not None or not equals or not right:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no map: say in=N,... or out=N,... or in=N,.../out=N,... with channels from 1"
            )
        if side == "out" and len(set(places)) < len(places):
            raise argparse.ArgumentTypeError(f"{text!r} plays two channels on one output")
        found[side] = [int(place) - 1 for place in places]
    return found["in"], found["out"]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds above 0")
    return seconds
