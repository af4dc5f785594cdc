"""The devices of a command: options, channel maps, what a rack prefers; ``rtaudio devices | measure``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from rtaudio import cli
from rtaudio.errors import UserError

if TYPE_CHECKING:
    from rtaudio.files import AudioReader
    from rtaudio.host import Device
    from rtaudio.rack import Rack
    from rtaudio.soundcard import SoundCard
    from rtaudio.virtual import Microphone
    from rtaudio.virtual import Server as SoundServer

MAXIMUM_PLACE = 256
"""Highest channel of a device."""


def add_commands(commands: Any) -> None:
    """Add ``devices`` and ``measure``."""
    _add_devices(commands)
    _add_measure(commands)


def add_device_options(parser: argparse.ArgumentParser, apis: Sequence[str]) -> None:
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
        type=channel_map,
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
        "(default auto: on a worker thread if they cost too much of a block; engines in Python in a process)",
    )


def prefer(options: argparse.Namespace, rack: Rack | None) -> None:
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
        inputs, outputs = channel_map(text)
    except argparse.ArgumentTypeError as error:
        raise UserError(f"device: map: {error}") from None
    return (None if fed else inputs), outputs


def inputs_of(options: argparse.Namespace, file: AudioReader | None) -> tuple[int, list[int] | None]:
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


def outputs_of(options: argparse.Namespace, heard: int) -> list[int]:
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


def device_of(
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
    outputs = outputs_of(options, heard)
    return device_of(options, None, heard, [], outputs)[0], outputs


def sound_server(options: argparse.Namespace) -> SoundServer | None:
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


def call_device(
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


def lane_of(options: argparse.Namespace) -> int | None:
    """What ``--lane`` says: None is ``auto``."""
    return None if options.lane == "auto" else int(options.lane)


def _best_api() -> str:
    """JACK where a server runs, else ALSA where there is a card that plays, else the null device."""
    from rtaudio import soundcard

    for api in soundcard.APIS:
        with suppress(UserError):
            if any(device.outputs for device in soundcard.devices(api)):
                return api
    return "null"


def channel_map(text: str) -> tuple[list[int] | None, list[int] | None]:
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
    add_device_options(latency, ["auto", "jack", "alsa"])
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
    channels, inputs = inputs_of(options, None)
    found = []
    for each in (Graph([], ["in -> out"]), graph):
        outputs = outputs_of(options, each.heard(channels))
        device, places = device_of(options, None, channels, inputs or list(range(channels)), outputs)
        block = options.block or device.period or 128
        with cli.compiling():
            lane = lane_of(options) if each is graph else 0
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
