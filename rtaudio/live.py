"""Live sound: the commands ``rtaudio live | status``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rtaudio import cli
from rtaudio.devices import (
    add_device_options,
    call_device,
    device_of,
    inputs_of,
    lane_of,
    outputs_of,
    prefer,
    sound_server,
)
from rtaudio.errors import UserError

if TYPE_CHECKING:
    from rtaudio.graph import Graph
    from rtaudio.host import Device, Host
    from rtaudio.server import Server

LOOK = 0.05
"""Seconds between two looks at the host."""
TURN = 0.0005
"""Seconds for which another thread may keep the interpreter: Python's own 5 ms would be felt in a fader."""
MICROPHONE = "rtaudio microphone"
"""Name of the virtual one, if not said."""
MIDI_LOOK = 0.003
"""Seconds between two looks at MIDI."""
SILENT_SECONDS = 3.0
"""Length of digital silence in the input that is worth a hint."""
MIDI_COUNTS = {
    "late": "that came too late for their place",
    "refused": "refused: too many changes at once",
    "lost": "lost: more than the interpreter could look at",
    "unsent": "not sent: more than the port takes",
}
SAVE_CURSOR, RESTORE_CURSOR, UP = "\x1b7", "\x1b8", "\x1b[A"


def add_commands(commands: Any) -> None:
    """Add ``live`` and ``status``."""
    _add_live(commands)
    _add_status(commands)


def _add_live(commands: Any) -> None:
    live = commands.add_parser(
        "live",
        help="run a chain live",
        description="Run a chain live. Ctrl-C ends it with a summary. On a terminal, or with --control, "
        "lines on standard input steer it: 'seek 1:30', 'loop 8 16', 'set remix.crossfade 0.5', 'help' ...; "
        "so does 'rtaudio ctl' from elsewhere.",
        epilog=cli.CHAIN_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_device_options(live, ["auto", "jack", "alsa", "null"])
    live.add_argument("--file", type=cli.file_path, metavar="F", help="a file as input")
    live.add_argument(
        "--start", type=_time, default=0.0, metavar="T", help="where in the file, in seconds or m:ss"
    )
    live.add_argument(
        "--loop",
        type=_loop,
        nargs="?",
        const=True,
        default=False,
        metavar="A:B",
        help="start the file again when it ends; with 8.0:16.0 (seconds) or 1:30-2:00, repeat that part",
    )
    live.add_argument(
        "--stay", action="store_true", help="stand at the end of the file, rather than stop with it"
    )
    live.add_argument(
        "--control", action="store_true", help="take commands from standard input, terminal or not"
    )
    live.add_argument(
        "--channels", type=cli.whole, metavar="N", help="(default: those of the map or the file, else 2)"
    )
    live.add_argument(
        "--seconds", type=cli.seconds, metavar="S", help="stop after this time (default: with the file)"
    )
    live.add_argument(
        "--record", type=cli.file_path, metavar="F", help="write what is heard to a WAV or FLAC file"
    )
    live.add_argument(
        "--record-input", type=cli.file_path, metavar="F", help="write what the device gives, as it came"
    )
    live.add_argument(
        "--howl-guard", action="store_true", help="stop feedback from the speaker to the microphone"
    )
    live.add_argument(
        "--virtual-mic",
        type=_microphone_name,
        nargs="?",
        const=MICROPHONE,
        metavar="NAME",
        help=f"play to a microphone of this name (default: {MICROPHONE}), which call programs list "
        "meanwhile; on PipeWire and PulseAudio",
    )
    live.add_argument(
        "--monitor", action="store_true", help="with --virtual-mic: play to the default output too"
    )
    cli.add_compute_option(live)
    live.add_argument(
        "--no-safe-start",
        dest="safe_start",
        action="store_false",
        help="run a node, too, in which the last run has crashed",
    )
    live.add_argument(
        "--midi",
        nargs="?",
        const="",
        metavar="NAME",
        help="let MIDI controllers move parameters ('midi learn NODE.PARAMETER'): those of a port, see "
        "'rtaudio devices'; on JACK, without a name, what others connect to rtaudio:midi_in",
    )
    live.add_argument(
        "--midi-delay",
        type=_midi_delay,
        metavar="MS",
        help="milliseconds from a MIDI message to its effect, the same for all (default: 10)",
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


def run_live(options: argparse.Namespace) -> int:
    """``rtaudio live``."""
    graph, rack = cli.open_chain(options.chain)
    from rtaudio import crash
    from rtaudio.counters import Counters
    from rtaudio.deck import check_places
    from rtaudio.files import AudioReader, AudioWriter, same_file
    from rtaudio.host import Host, burst_of
    from rtaudio.null import can_pace
    from rtaudio.observation import OBSERVED
    from rtaudio.parts import graph_rate
    from rtaudio.plan import Plan
    from rtaudio.realtime import PRIORITY_WARNING
    from rtaudio.server import Server
    from rtaudio.stress import stress

    if not can_pace():
        raise UserError("live needs Linux (clock_nanosleep): use render here")
    prefer(options, rack)
    _check_live(options)
    if options.api != "null":
        _check_sound(graph)
    if options.howl_guard:
        graph = _guarded(graph)
    cli.set_compute(graph, options.compute)
    records = [path for path in (options.record, options.record_input) if path is not None]
    for path in records:
        if options.file is not None and same_file(options.file, path):
            raise UserError(f"{path} is the input: record to another file")
    if len(records) == 2 and os.path.realpath(records[0]) == os.path.realpath(records[1]):
        raise UserError(f"{options.record} is named twice: record the input to another file")
    cli.check_report(options.json, filter(None, [options.file, *records]))
    standard_input = _standard_input(options.control)
    stopping: list[int] = []
    with ExitStack() as stack:
        file = record = record_input = None
        if options.file is not None:
            file = stack.enter_context(AudioReader(options.file, options.rate))
            check_places(file, options.start, options.loop)
        channels, inputs = inputs_of(options, file)
        outputs = outputs_of(options, graph.heard(channels))
        calls = sound_server(options)
        if calls is None:
            device, inputs = device_of(options, file, channels, inputs, outputs)
        else:
            outputs = list(range(graph.heard(channels)))
            device, inputs = call_device(options, calls, file, channels, inputs, outputs, stack)
        rate = device.rate or (file.rate if file else options.rate) or 48_000
        if file is not None and file.rate != rate:
            file.close()
            file = stack.enter_context(AudioReader(options.file, rate))
        block = options.block or device.period or 128
        taken = graph_rate(graph, rate)
        if taken != rate:
            raise UserError(f"an engine of this chain does not take {rate} Hz: give --rate {taken}")
        if options.safe_start:
            _start_safely(graph)
        counters = Counters(shared=True, room=OBSERVED.itemsize)
        stack.callback(counters.close)
        stack.enter_context(crash.told_in(counters))
        with cli.compiling():
            burst = burst_of(device.period, block)
            plan = Plan(graph, rate, block, channels, lane=lane_of(options), burst=burst)
            stack.callback(plan.close)
            if options.record is not None:
                record = stack.enter_context(AudioWriter(options.record, rate, len(plan.heard)))
            if options.record_input is not None:
                record_input = stack.enter_context(AudioWriter(options.record_input, rate, channels))
            note = cli.on_signals(lambda number, frame: stopping.append(number), signal.SIGINT, *cli.ENDING)
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
                options.start,
                options.stay,
            )
            host.rack = rack
            stack.enter_context(host)
            _open_midi(host, options, stack)
            stack.enter_context(stress(options.stress))
            host.start()
            server = stack.enter_context(Server(standard_input))
            stack.enter_context(_quick_turns())
        try:
            server.listen()
        except UserError as error:
            cli.say(f"warning: 'rtaudio ctl' does not reach this host: {error}")
        called = "" if calls is None else f", microphone {options.virtual_mic!r} for your call program"
        cli.say(f"{_ready(host)}{called}")
        if not (options.freewheel or device.realtime):
            cli.say(f"warning: {PRIORITY_WARNING}")
        hush = _Hush(host, _source_name(graph, device)) if file is None else None
        shown = _watch(host, stopping, server, hush)
    for problem in host.problems[shown:]:
        cli.say(f"warning: {problem}")
    report = host.statistics()
    _summary(report)
    cli.write_report(options.json, report)
    return int(bool(host.problems or report["file_underflows"] or report["record_overflows"]))


def _start_safely(graph: Graph) -> None:
    """Bypass the node in whose kernel the last host has crashed, and do not run that."""
    from rtaudio import crash

    for name, node in graph.nodes.items():
        found = next((each for each in crash.crashes() if each.hit(name, node.engine.id)), None)
        if found is not None:
            node.bypass = node.held = True
            inside = f", inside of {found.node!r}" * (found.node != name)
            cli.say(
                f"the last run crashed (signal {found.signal}) in {name!r}{inside}: it starts bypassed; "
                f"'unbypass {name}', or --no-safe-start"
            )


def _check_sound(graph: Graph) -> None:
    """`UserError` if what is no sound would be played."""
    from rtaudio.graph import IN, MAIN, OUT, End

    for edge in graph.edges:
        source = edge.source
        if edge.target == End(OUT, MAIN) and source.node != IN and graph.output(source).control:
            raise UserError(f"{source} is no sound and is not played: rtaudio render writes it to a file")


def _check_live(options: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    from rtaudio.processor import RATES

    for option in ("loop", "start"):
        if getattr(options, option) and options.file is None:
            raise UserError(f"--{option} needs a file: give --file")
    fed = options.file is not None and options.record_input is None
    if fed and (options.input is not None or (options.map and options.map[0] is not None)):
        raise UserError("--file is heard instead of the device: leave the input out, or give --record-input")
    if options.freewheel and options.api not in ("auto", "null"):
        raise UserError(f"--freewheel needs --api null: {options.api} has a clock of its own")
    endless = options.file is None or options.loop or options.stay
    if options.freewheel and options.seconds is None and endless:
        raise UserError("--freewheel never ends here: give --seconds")
    if options.block is not None and options.block > cli.MAXIMUM_BLOCK:
        raise UserError(f"--block {options.block} is out of range (1 to {cli.MAXIMUM_BLOCK})")
    if options.rate is not None and not RATES[0] <= options.rate <= RATES[1]:
        raise UserError(f"--rate {options.rate} is out of range ({RATES[0]} to {RATES[1]})")
    if options.midi_delay is not None and options.midi is None:
        raise UserError("--midi-delay goes with --midi")
    if options.api == "null":
        for option in ("input", "output", "map"):
            if getattr(options, option) is not None:
                raise UserError(f"--{option} needs a sound card: the null device has no channels")
    if options.virtual_mic is None:
        if options.monitor:
            raise UserError("--monitor goes with --virtual-mic: without, the output is heard anyway")
        return
    if options.output is not None or (options.map and options.map[1] is not None):
        raise UserError("--virtual-mic is the output: leave --output and 'out=' out; --monitor plays it too")
    if options.api in ("alsa", "null") or options.freewheel:
        what = "--freewheel" if options.freewheel else f"--api {options.api}"
        raise UserError(f"--virtual-mic needs PipeWire, PulseAudio or JACK: leave {what} out")


def _open_midi(host: Host, options: argparse.Namespace, stack: ExitStack) -> None:
    """Give the host its MIDI controllers, if they are wanted; before it starts."""
    if options.midi is None:
        return
    from rtaudio.jack import JackDevice
    from rtaudio.midi import DELAY, Midi, Port
    from rtaudio.midiport import RtMidiPort

    port: Port
    if isinstance(host.device, JackDevice):
        port = host.device.open_midi(options.midi)
    elif options.midi:
        port = RtMidiPort(options.midi, host.stream)
    else:
        raise UserError("--midi needs the name of a port here, see 'rtaudio devices': only JACK has its own")
    stack.callback(port.close)
    delay = DELAY if options.midi_delay is None else options.midi_delay
    host.midi = Midi(host, port, delay, host.rack.midi if host.rack is not None else ())


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
    words += [f"{name} on {runs_on}" for name, runs_on in report["compute"].items()]
    if report.get("freewheel"):
        words.append("freewheeling")
    elif host.device.realtime:
        words.append("real-time priority")
    return ", ".join(words)


def _standard_input(wanted: bool) -> int | None:
    """The descriptor of standard input, if it is a terminal or is wanted."""
    try:
        file = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        if wanted:
            raise UserError("--control needs standard input: it is closed") from None
        return None
    return file if wanted or os.isatty(file) else None


@contextmanager
def _quick_turns() -> Iterator[None]:
    """Let the thread that controls wait less for another one that computes in the interpreter."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class _Hush:
    """Notices, once, that a microphone gives nothing but digital silence.

    ``source`` is its name; empty: nothing is heard.
    """

    def __init__(self, host: Host, source: str) -> None:
        self._host, self._source = host, source
        self._since = host.plan.position

    def look(self) -> str:
        """What to say; empty: nothing."""
        if not self._source:
            return ""
        host = self._host
        at = host.plan.position
        if not host.device.running or not host.stream.silent_since(self._since):
            self._since = at
        if at - self._since < SILENT_SECONDS * host.plan.rate:
            return ""
        source, self._source = self._source, ""
        return (
            f"nothing but digital silence comes from {source!r}: is the microphone muted, or "
            f"{_where_to_look(host.device.name)}"
        )


def _where_to_look(api: str) -> str:
    """The rest of the question why an input is silent."""
    from rtaudio.jack import on_pipewire

    if api == "jack" and not on_pipewire():
        return "not connected? See 'jack_lsp -c' and the card's mixer"
    where = "alsamixer" if api == "alsa" else "pactl list sources"
    return f"its use not permitted? See '{where}' and the system's privacy settings"


def _source_name(graph: Graph, device: Device) -> str:
    """What the graph hears; empty: nothing."""
    from rtaudio.graph import IN
    from rtaudio.soundcard import SoundCard

    if isinstance(device, SoundCard) and any(edge.source.node == IN for edge in graph.edges):
        return device.input_name
    return ""


def _watch(host: Host, stopping: list[int], server: Server, hush: _Hush | None) -> int:
    """Redraw the status line, and do what lines say, until the sound ends, a signal comes or a line quits.

    Returns how many problems were told. Where lines are typed below it, the status line is the one above.
    """
    from rtaudio.steering import Steering

    drawn = cli.on_terminal()
    typed = drawn and server.terminal

    def tell(text: str, answers: bool) -> None:
        if text or (answers and typed):
            cli.say(f"{cli.CLEAR * drawn}{text}", end="\n\n" if typed else "\n")

    if typed:
        cli.say("type 'help' for what can be done meanwhile\n")
    steering = Steering(host, server, tell)
    due = 0.0
    while host.running and not stopping:
        if time.monotonic() >= due:
            if hush is not None and (hint := hush.look()):
                host.notes.append(hint)
            steering.look()
            if drawn:
                _draw_status(host, typed)
            due = time.monotonic() + LOOK
        wait = max(0.0, due - time.monotonic())
        if host.midi is not None:
            host.midi.poll()
            wait = min(wait, MIDI_LOOK)
        if not steering.serve(wait):
            break
    if drawn:
        cli.say(cli.CLEAR, end="")
    return steering.problems


def _draw_status(host: Host, above: bool) -> None:
    """Draw the status line, where the cursor is or in the line above."""
    report = host.statistics()
    line = (
        f"{report['seconds']:7.1f} s   load {100 * report['load']:5.1f} %   "
        f"xruns {report['xruns']}   misses {report['misses']}   "
        f"over 0 dBFS {report['over_full_scale']}   "
    )
    line += f"bypassed {', '.join(report['bypassed'])}" if report["bypassed"] else "Ctrl-C ends"
    with suppress(OSError):  # the terminal is gone
        width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        line = cli.CLEAR + line[: width - 1]
        cli.say(f"{SAVE_CURSOR}{UP}{line}{RESTORE_CURSOR}" if above else line, end="")


def _summary(report: dict[str, Any]) -> None:
    latency, block_us = report["latency"], 1e6 * report["block"] / report["rate"]
    parts = ", ".join(f"{name} {samples}" for name, samples in latency.items() if name != "total" and samples)
    times = report["callback_us"]
    cli.say(
        f"{report['seconds']:.1f} s, {report['blocks']} blocks of {report['block']} at "
        f"{report['rate']} Hz, latency {latency['total']} samples{f' ({parts})' if parts else ''}"
    )
    cli.say(
        f"xruns {report['xruns']}, misses {report['misses']}, load {100 * report['load']:.2f} %, "
        f"callback p50 {times['p50']:.0f} us, p99 {times['p99']:.0f} us, "
        f"max {times['max']:.0f} us of {block_us:.0f} us"
    )
    counted = {
        "non-finite input samples replaced by 0": report["non_finite_replaced"],
        "output samples over full scale": report["over_full_scale"],
        "samples silent, since the device called in another length": report["unfit_samples"],
        "losses of the device": report["device_losses"],
        **{f"MIDI messages {what}": report.get("midi", {}).get(key, 0) for key, what in MIDI_COUNTS.items()},
        "input samples that the file reader was late for": report["file_underflows"],
        "output samples that the recorder was late for": report["record_overflows"],
        **{f"failures of {name}": node["failures"] for name, node in report["nodes"].items()},
        **{
            f"blocks of {name} that came late and were bypassed": node["misses"]
            for name, node in report["nodes"].items()
            if not name.startswith("worker ")
        },
        **{
            f"times that the CPU took over from the GPU in {name}": node.get("takeovers", 0)
            for name, node in report["nodes"].items()
        },
        **{f"restarts of {name}": node.get("restarts", 0) for name, node in report["nodes"].items()},
    }
    for what, count in counted.items():
        if count:
            cli.say(f"{count} {what}")
    if report["bypassed"]:
        cli.say(f"bypassed: {', '.join(report['bypassed'])}")


# ------------------------------------------------------------------------------------ looking


def _add_status(commands: Any) -> None:
    status = commands.add_parser(
        "status",
        help="say what a running host counts",
        description="Say what a host that runs live in another process counts, without disturbing it.",
    )
    status.add_argument("pid", nargs="?", type=cli.whole, metavar="PID", help="(default: the only one)")
    status.add_argument("--json", metavar="F", help="write it as JSON ('-' for stdout)")
    status.add_argument("--watch", action="store_true", help="show meters and counts until Ctrl-C")
    status.add_argument(
        "--spectrum", metavar="VIEW", help="show the spectrum of a view: in, out, a stem (remix/harmonic)"
    )
    status.set_defaults(run=run_status)


def run_status(options: argparse.Namespace) -> int:
    """``rtaudio status``."""
    from rtaudio import counters

    cli.check_report(options.json, [])
    if options.watch or options.spectrum is not None:
        return _look(options)
    found = counters.running()
    if options.pid is None and len(found) != 1:
        listed = f"{', '.join(map(str, found))}: say which" if found else "none"
        raise UserError(f"hosts that run live: {listed}")
    report = counters.report(counters.attach(options.pid or found[0]))
    if not report["rate"]:
        raise UserError(f"process {report['pid']} is only starting: ask again")
    if options.json != "-":
        _summary(report)
    cli.write_report(options.json, report)
    return 0


def _look(options: argparse.Namespace) -> int:
    """``rtaudio status`` with meters or a spectrum."""
    from rtaudio.observation import Observation
    from rtaudio.status import spectrum_line, watch

    if options.json is not None:
        raise UserError("--json writes what is counted: leave --watch and --spectrum out")
    if options.watch:
        watch(options.pid, options.spectrum)
    else:
        sys.stdout.write(f"{spectrum_line(Observation(options.pid), options.spectrum)}\n")
    return 0


def _microphone_name(text: str) -> str:
    """The type of ``--virtual-mic``."""
    from rtaudio.virtual import check_name

    try:
        return check_name(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _time(text: str) -> float:
    """``90.5`` or ``1:30.5``, in seconds."""
    from rtaudio.control import parse_time

    try:
        return parse_time(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _midi_delay(text: str) -> float:
    """Milliseconds, in seconds."""
    with suppress(ValueError):
        if 0.0 <= float(text) <= 1000.0:
            return float(text) / 1000.0
    raise argparse.ArgumentTypeError(f"{text!r} is no delay in milliseconds (0 to 1000)")


def _loop(text: str) -> tuple[float, float]:
    """``8.0:16.0`` or ``1:30-2:00``: two times, in seconds."""
    try:
        begin, end = map(_time, text.split("-" if "-" in text else ":"))
        return begin, end
    except (argparse.ArgumentTypeError, ValueError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no loop: write begin and end as 8.0:16.0 (seconds) or 1:30-2:00"
        ) from None
