"""The commands around live sound: ``rtaudio live | devices | measure | status``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from rtaudio import cli
from rtaudio.errors import UserError

if TYPE_CHECKING:
    from rtaudio.files import AudioReader
    from rtaudio.graph import Graph
    from rtaudio.host import Device, Host
    from rtaudio.rack import Rack
    from rtaudio.server import Server
    from rtaudio.soundcard import SoundCard
    from rtaudio.virtual import Microphone
    from rtaudio.virtual import Server as SoundServer

MAXIMUM_PLACE = 256
"""Highest channel of a device."""
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
    """Add ``live``, ``devices``, ``measure`` and ``status``."""
    _add_live(commands)
    _add_devices(commands)
    _add_measure(commands)
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
    _add_device_options(live, ["auto", "jack", "alsa", "null"])
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
        "--rate", type=cli.whole, metavar="R", help="Hz (default: the file's, else the device's, else 48000)"
    )
    parser.add_argument(
        "--block",
        type=cli.whole,
        metavar="N",
        help="samples per block (default: the JACK server's, else 128)",
    )
    parser.add_argument(
        "--lane",
        choices=["auto", "0", "1", "2"],
        default="auto",
        help="where nodes run: 0 in the callback, 1 on a worker thread, a block later, 2 in a worker process "
        "(default auto: on a worker thread if they cost too much of a block)",
    )


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
    _prefer(options, rack)
    _check_live(options)
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
        channels, inputs = _inputs(options, file)
        outputs = _outputs(options, graph.heard(channels))
        sound_server = _sound_server(options)
        if sound_server is None:
            device, inputs = _device(options, file, channels, inputs, outputs)
        else:
            outputs = list(range(graph.heard(channels)))
            device, inputs = _call_device(options, sound_server, file, channels, inputs, outputs, stack)
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
            plan = Plan(graph, rate, block, channels, lane=_lane(options), burst=burst)
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
        called = "" if sound_server is None else f", microphone {options.virtual_mic!r} for your call program"
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


def _prefer(options: argparse.Namespace, rack: Rack | None) -> None:
    """Let the rack's device take the place of what the command line does not say, as far as it is there."""
    wanted = rack.device if rack is not None else None
    if wanted is None:
        return
    options.block = options.block or wanted.block
    if options.file is None:
        options.rate, options.channels = options.rate or wanted.rate, options.channels or wanted.channels
    # A card's names and channels are those of its API.
    if options.freewheel or options.virtual_mic is not None or options.api not in ("auto", wanted.api):
        return
    fed = options.file is not None and options.record_input is None
    names = {"output": wanted.output} if fed else {"input": wanted.input, "output": wanted.output}
    if any(getattr(options, option) is not None for option in ("input", "output", "map")):
        names = {}
    try:
        api = _preferred_api(wanted.api or "auto", names)
    except UserError as error:
        cli.say(f"the device of this rack is not there, the default takes its place: {error}")
        return
    options.api = api if wanted.api is not None else options.api
    if names and api != "null":
        options.map = _preferred_map(wanted.map, fed)
        for side, name in names.items():
            setattr(options, side, name)


def _preferred_api(api: str, names: Mapping[str, str | None]) -> str:
    """The API, where devices of these names, by direction, are there; `UserError` where not."""
    from rtaudio import soundcard

    found = []
    if api == "auto":
        api = _best_api()
        if api == "null" and any(names.values()):
            raise UserError("there is no sound card and no JACK server")
    if api != "null":
        found = soundcard.devices(api)
    for direction, name in names.items():
        if found and name:
            soundcard.find_device(found, name, direction)
    return api


def _preferred_map(text: str | None, fed: bool) -> tuple[list[int] | None, list[int] | None] | None:
    """A rack's channel map, without its inputs where a file is heard."""
    if text is None:
        return None
    try:
        inputs, outputs = _channel_map(text)
    except argparse.ArgumentTypeError as error:
        raise UserError(f"device: map: {error}") from None
    return (None if fed else inputs), outputs


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
    if options.freewheel and options.seconds is None and (options.file is None or options.loop):
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


def open_output(api: str, name: str | None, heard: int) -> tuple[Device, list[int]]:
    """A device for a graph that hears nothing, open but silent, and what each of its outputs plays.

    Parameters
    ----------
    api
        Of ``--api``.
    name
        Of the output; None: the API's own.
    heard
        Channels that come out of the graph.
    """
    options = argparse.Namespace(
        api=api, input=None, output=name, map=None, rate=None, freewheel=False, record_input=None
    )
    outputs = _outputs(options, heard)
    return _device(options, None, heard, [], outputs)[0], outputs


def _sound_server(options: argparse.Namespace) -> SoundServer | None:
    """What makes the virtual microphone; None if none is wanted, or JACK's ports have to do."""
    if options.virtual_mic is None:
        return None
    from rtaudio import jack, virtual

    server = virtual.sound_server()
    if server is not None and virtual.sweep():
        server = virtual.sound_server()
    by_jack = server is not None and server.pipewire and jack.choose_pipewire()
    if server is not None and (by_jack or options.api != "jack"):
        if server.pipewire and not by_jack:
            raise UserError("--virtual-mic needs PipeWire's JACK: apt-get install pipewire-jack")
        return server
    try:
        jack.devices()
    except UserError:
        raise UserError(virtual.INSTALL) from None
    options.api, options.output = "jack", None if options.monitor else ""
    cli.say(
        "JACK has no virtual microphones: connect the ports 'rtaudio:out_1' and on to what should hear them"
    )
    return None


def _call_device(
    options: argparse.Namespace,
    server: SoundServer,
    file: AudioReader | None,
    channels: int,
    inputs: list[int] | None,
    outputs: list[int],
    stack: ExitStack,
) -> tuple[SoundCard, list[int]]:
    """A new virtual microphone as the output, and the device's input of each of the graph's channels."""
    from rtaudio import soundcard, virtual
    from rtaudio.pulse import PulseDevice

    heard = len(outputs)
    if heard not in (1, 2):
        raise UserError(f"a microphone has 1 or 2 channels, and this chain plays {heard}: see --channels")
    unheard = file is not None and options.record_input is None
    if not server.pipewire:
        source = virtual.any_source(server) if unheard else virtual.find_source(options.input, server)
        info, rate = virtual.describe(source, server), options.rate or 48_000
        period = virtual.period_of(options.block, heard)
    else:
        virtual.ask_pipewire(options.block, options.rate)
        found = soundcard.devices("jack")
        info = None
        if not unheard:
            name = options.input or virtual.default_input(server, found)
            info = soundcard.find_device(found, name, "input")
        rate, period = options.rate or (found[0].rate if found else 48_000), 0
    if unheard or info is None:
        inputs = []
    elif inputs is None:
        inputs = [0] * channels if info.inputs == 1 else list(range(channels))
    width = max(inputs, default=-1) + 1
    if info is not None:
        soundcard.check_channels(info, "input", width)
    stack.enter_context(cli.on_signals(cli.leave, signal.SIGINT, *cli.ENDING))
    making = virtual.Microphone(options.virtual_mic, heard, rate, server, period, options.monitor)
    microphone = stack.enter_context(_made(making))
    if options.monitor and not options.howl_guard:
        cli.say("loudspeakers feed back to the microphone: use headphones, or give --howl-guard")
    if not server.pipewire:
        return PulseDevice(source, microphone, rate, period, width, heard), inputs
    virtual.await_node(microphone)
    return virtual.NodeDevice(microphone, None if info is None else info.name, options.rate, width), inputs


@contextmanager
def _made(microphone: Microphone) -> Iterator[Microphone]:
    """The microphone, there for a while. Signals wait while it is made and while it is removed."""
    late: list[int] = []
    wait = partial(cli.on_signals, lambda number, frame: late.append(number), signal.SIGINT, *cli.ENDING)
    try:
        with wait():
            microphone.make()
        for number in late[:1]:
            signal.raise_signal(number)
        yield microphone
    finally:
        with wait():
            microphone.close()


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


def _add_devices(commands: Any) -> None:
    devices = commands.add_parser(
        "devices", help="list sound cards and JACK", description="List the devices of every API."
    )
    devices.add_argument("--api", choices=["jack", "alsa", "pulse"], help="(default: all that are there)")
    devices.add_argument("--json", metavar="F", help="write them as JSON ('-' for stdout)")
    devices.set_defaults(run=run_devices)


def run_devices(options: argparse.Namespace) -> int:
    """``rtaudio devices``."""
    from dataclasses import asdict

    from rtaudio import soundcard
    from rtaudio.midiport import midi_ports, port_table

    cli.check_report(options.json, [])
    found = soundcard.devices(options.api)
    ports = [] if options.api == "pulse" else midi_ports()
    ports = [port for port in ports if options.api is None or port.api.startswith(options.api)]
    if options.json != "-":
        sys.stdout.write(soundcard.device_table(found) + port_table(ports))
    cli.write_report(options.json, [*map(asdict, found), *map(asdict, ports)])
    return 0


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


def _add_measure(commands: Any) -> None:
    measure = commands.add_parser("measure", help="measure the latency", description="Measure.")
    kinds = measure.add_subparsers(title="what", metavar="WHAT", required=True, parser_class=cli.Parser)
    latency = kinds.add_parser(
        "latency",
        help="from output to input, beside what is declared",
        description="Play noise, look for it in the input, and compare the latency with the declared one. "
        "On JACK the host's outputs are connected to its inputs; elsewhere, a cable has to.",
        epilog=cli.CHAIN_HELP,
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
    graph = cli.read_chain(options.chain)
    from rtaudio.graph import Graph
    from rtaudio.measure import loop

    cli.check_report(options.json, [])
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
        with cli.compiling():
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
    cli.write_report(options.json, report)
    if added != whole.declared:
        cli.say(f"warning: measured and declared differ by {added - whole.declared} samples")
    return int(added != whole.declared)


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
