"""The words that steer a running host: a line of text in, a line of text out.

| line | |
| --- | --- |
| ``load FILE`` | play another file, from its start |
| ``seek TIME`` | go on from another place of the file |
| ``cue``, ``cue set [TIME]`` | go to the cue point; set it, here or there |
| ``loop [BEGIN END]``, ``loop off`` | repeat a part of the file, or all of it; play on |
| ``play``, ``pause`` | |
| ``set NODE.PARAMETER VALUE`` | as ``set remix.crossfade 0.5``, or ``set remix.residual_insert ''`` |
| ``get NODE.PARAMETER`` | its value; where it moves smoothly, that to which it is on its way |
| ``mute NODE``, ``unmute NODE`` | and ``solo``, ``unsolo``, ``bypass``, ``unbypass`` |
| ``insert PLACE NODE`` | ``insert last limiter(ceiling=-1)``; or ``first``, ``before NODE``, ``after NODE`` |
| ``listen NODE`` | ``listen band: band(low=100)``: last, to listen through it; not undone, but removed |
| ``remove NODE``, ``move NODE PLACE`` | |
| ``replace NODE ENGINE`` | ``replace eq biquad(kind=peak)``: another engine in its place |
| ``connect A -> B``, ``disconnect A -> B`` | edges, as in a rack file |
| ``preset NODE NAME`` | values that an engine comes with, see ``rtaudio engines`` |
| ``chain CHAIN`` | another graph: text, the path of a rack file, or the name of a rack; ``''``: the wire |
| ``save NAME``, ``save FILE.toml`` | keep the graph as a rack, as it is set now |
| ``undo``, ``redo`` | whatever was done, values too |
| ``compare dry [matched]``, ``compare wet`` | hear the input, at the output's loudness; the output again |
| ``compare toggle [matched]`` | the one of them that is not heard |
| ``record [FILE]``, ``record off`` | what is heard; without a name, among the user's recordings |
| ``mark [FOLDER]`` | keep the last ten seconds, input and output, and the rack |
| ``midi learn NODE.PARAMETER [toggle] [pickup]`` | the controller that moves next is to move it |
| ``midi forget NODE.PARAMETER``, ``midi list`` | |
| ``watch``, ``watch off`` | on the control socket: be told what happens, see `rtaudio.server` |
| ``state`` | what is loaded; on the control socket, everything about the host |
| ``status``, ``help``, ``quit`` | |
| ``WORD NODE ...`` | what an engine takes itself, as ``say NODE TEXT`` of a voice: ``help`` names it |

What is fixed while sound runs, such as a model or a preset, is set by an edit (`Host.change`): it is loaded
while sound and lines go on, and heard in a crossfade; the host's notes tell when, or why not.

A source that is inserted ``last`` goes before a limiter that is last, or their sum could exceed full scale:
``after`` puts it behind that.

What the deck does is answered at once and done by its reader, which may have to read far; what touches the
graph ends a comparison, but for ``save``.

Times are seconds or ``m:ss``, both with decimals: 90.5 is 1:30.5. Paths begin in the host's working folder,
or at ``~``, the user's. This module has no thread of its own: whoever has a line applies it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from os.path import expanduser
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rtaudio.chain import open_chain, parse_node
from rtaudio.deck import check_place, check_places
from rtaudio.edit import shown
from rtaudio.errors import UserError, nearest
from rtaudio.files import AudioReader
from rtaudio.graph import preset_values
from rtaudio.moment import keep_moment, moment_folder, recording_file
from rtaudio.rack import Rack, rack_of, save_rack
from rtaudio.racks import user_file
from rtaudio.state import loading, state

if TYPE_CHECKING:
    from rtaudio.deck import Deck
    from rtaudio.edit import Edit
    from rtaudio.graph import Graph
    from rtaudio.host import Host
    from rtaudio.plan import Plan
    from rtaudio.processor import Value

_TIME = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,4}):)?(\d{1,7}(?:\.\d*)?|\.\d+)", re.ASCII)

WATCH = "watch [off]"
MOST_EDITS = 32
"""Edits that may be on their way; lines that would begin one more are refused."""
NAMED = 3
"""Of those ahead, as many are named."""


class Answer(str):
    """What a line is answered, in words, with the same as ``facts`` for programs."""

    facts: dict[str, object]

    def __new__(cls, words: str, **facts: object) -> Answer:
        """An answer in these words."""
        answer = super().__new__(cls, words)
        answer.facts = facts
        return answer


def parse_time(text: str) -> float:
    """Seconds that ``90.5``, ``1:30.5`` or ``1:02:03`` mean; `UserError` for anything else."""
    match = _TIME.fullmatch(text)
    hours, minutes, seconds = match.groups() if match else (None, None, "")
    if not seconds or (minutes and float(seconds) >= 60) or (hours and int(minutes or 0) >= 60):
        raise UserError(f"{text!r} is no time: write seconds, or m:ss")
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds)


def format_time(seconds: float) -> str:
    """``m:ss.mmm``."""
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    return f"{minutes}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"


def apply(host: Host, line: str) -> str | None:
    """Do what a line says; returns the answer, which may be an `Answer`, or None where it asks to quit.

    Raises
    ------
    UserError
        The line is wrong, or the host refuses it; nothing has changed, but that a comparison may be over.
    """
    words = line.split()
    if not words:
        return ""
    name = words[0]
    arguments = line.strip().split(maxsplit=_SPLIT.get(name, -1))[1:]
    if name == "quit" and not arguments:
        return None
    usage, run = _COMMANDS.get(name, ("", None))
    if name in _OF_GRAPH and host.dry:
        host.compare(False)
    answer = None if run is None else run(host, arguments)
    if answer is None:
        answer = _of_node(host, line)
    if answer is None and run is None:
        raise UserError(f"no command {name!r}{nearest(name, _COMMANDS)} ({', '.join(_COMMANDS)})")
    if answer is None:
        raise UserError(f"{line.strip()!r} is not of the form '{usage}'")
    return answer


def _of_node(host: Host, line: str) -> Answer | None:
    """Let a node do a line of its own; None if none takes such lines."""
    word, name, text = [*line.split(maxsplit=2), "", ""][:3]
    takers = [each for each, lines in host.plan.own_lines().items() if word in lines]
    if not takers:
        return None
    if name not in takers:
        what = f"{name!r} takes no {word!r}{nearest(name, takers)}" if name else f"{word!r} needs a node"
        raise UserError(f"{what} ({', '.join(takers)})")
    facts = host.plan.take(name, word, text.strip())
    return Answer(str(facts.pop("answer", "")), **facts)


def _deck(host: Host) -> Deck:
    if host.deck is None:
        raise UserError("no file plays: start with --file")
    return host.deck


def _load(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) != 1:
        return None
    deck = _deck(host)
    file = AudioReader(expanduser(arguments[0]), deck.rate)
    try:
        deck.check(file)
    except UserError:
        file.close()
        raise
    before = deck.coming
    is_whole = deck.loop == (0.0, before.samples / before.rate)
    whole = (0.0, file.samples / file.rate) if is_whole else None
    deck.soon(partial(deck.load, file), position=0.0, loop=whole, file=file)
    return f"playing {file.info.path.name}"


def _seek(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) != 1:
        return None
    deck, to = _deck(host), parse_time(arguments[0])
    check_place(deck.coming, to)
    deck.soon(lambda: deck.seek(to), position=to)
    return f"at {format_time(to)}"


def _cue(host: Host, arguments: list[str]) -> str | None:
    if arguments[:1] not in ([], ["set"]) or len(arguments) > 2:
        return None
    deck = _deck(host)
    if not arguments:
        deck.soon(deck.cue, position=deck.cue_point)
        return f"at the cue point, {format_time(deck.cue_point)}"
    deck.set_cue(parse_time(arguments[1]) if len(arguments) == 2 else None)
    return f"cue point at {format_time(deck.cue_point)}"


def _loop(host: Host, arguments: list[str]) -> str | None:
    if arguments != ["off"] and len(arguments) not in (0, 2):
        return None
    deck = _deck(host)
    if arguments == ["off"]:
        deck.soon(deck.clear_loop, loop=None)
        return "no loop"
    file = deck.coming
    begin, end = map(parse_time, arguments) if arguments else (0.0, file.samples / file.rate)
    check_places(file, 0.0, (begin, end))
    deck.soon(lambda: deck.set_loop(begin, end), loop=(begin, end))
    return f"loop {format_time(begin)} to {format_time(end)}"


def _loop_of(deck: Deck) -> str:
    return "no loop" if deck.loop is None else "loop {} to {}".format(*map(format_time, deck.loop))


def _play(host: Host, arguments: list[str]) -> str | None:
    if arguments:
        return None
    _deck(host).play()
    return f"playing from {format_time(_deck(host).position)}"


def _pause(host: Host, arguments: list[str]) -> str | None:
    if arguments:
        return None
    _deck(host).pause()
    return f"paused at {format_time(_deck(host).position)}"


def _set(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) != 2:
        return None
    path, text = arguments
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    value: Value = text
    if host.plan.parameter(path).scale != "text":
        value = {"true": True, "false": False}.get(text, text)
        with suppress(ValueError):
            value = float(text)
    edit = host.history.set(path, value)
    if edit is None:
        return f"{path} is {shown(text)}"
    return _under_way(host, edit)


def _under_way(host: Host, edit: Edit) -> str:
    """What is said of an edit that has just begun."""
    others = [each for each in host.edits if each is not edit and each.name]
    ahead = [each.name for each in others if not each.path or each.path != edit.path]
    if len(ahead) > NAMED:
        ahead[NAMED - 1 :] = [f"{ahead[NAMED - 1]} and {len(ahead) - NAMED} more"]
    return f"{edit.name} waits for {', '.join(ahead)}" if ahead else f"loading {edit.name}"


def _check_room(host: Host) -> None:
    """Refuse one more edit where many wait; one that `set` begins takes another's place."""
    if len(host.edits) >= MOST_EDITS:
        raise UserError(f"{MOST_EDITS} edits wait already: wait until one is heard, or 'undo' the last")


def _edit(host: Host, make: Callable[[Graph], Graph], title: str) -> str:
    _check_room(host)
    return _under_way(host, host.submit(make, title))


def _insert(host: Host, arguments: list[str]) -> str | None:
    words = arguments[0].split(maxsplit=1) if arguments else []
    if words and words[0] in ("before", "after"):
        words = arguments[0].split(maxsplit=2)
    if len(words) < 2:
        return None
    place, text = " ".join(words[:-1]), words[-1]

    def make(graph: Graph) -> Graph:
        node = parse_node(text, graph.nodes)
        return graph.insert(node, *graph.place(place, node))

    return _edit(host, make, f"insert {place} {text}")


def _listen(host: Host, arguments: list[str]) -> str | None:
    if not arguments:
        return None
    _check_room(host)
    node = parse_node(arguments[0], host.plan.graph.nodes)

    def make(graph: Graph) -> Graph:
        return graph.insert(node, *graph.place("last", node))

    edit = host.submit(make, f"listen {arguments[0]}", host.history.listened)
    edit.listens = node.name
    return _under_way(host, edit)


def _remove(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) != 1:
        return None
    (name,) = arguments
    coming = [edit for edit in host.edits if edit.listens == name and not edit.given_up]
    if coming:
        host.drop(coming[-1])
        return f"{coming[-1].title} is given up"
    _check_room(host)
    heard = host.history.listened if name in host.history.aside else None
    return _under_way(host, host.submit(lambda graph: graph.remove(name), f"remove {name}", heard))


def _move(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) not in (2, 3):
        return None
    name, place = arguments[0], " ".join(arguments[1:])
    return _edit(host, lambda graph: graph.move(name, place), f"move {name} {place}")


def _replace(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) != 2:
        return None
    name, text = arguments

    def make(graph: Graph) -> Graph:
        graph.node(name)
        return graph.replace(parse_node(f"{name}: {text}"))

    return _edit(host, make, f"replace {name} {text}")


def _connect(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) != 1:
        return None
    return _edit(host, lambda graph: graph.connect(arguments[0]), f"connect {arguments[0]}")


def _disconnect(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) != 1:
        return None
    return _edit(host, lambda graph: graph.disconnect(arguments[0]), f"disconnect {arguments[0]}")


def _chain(host: Host, arguments: list[str]) -> str | None:
    if not arguments:
        return None
    _check_room(host)
    text = expanduser(arguments[0])
    graph, rack = open_chain("" if text in ("''", '""') else text)

    def heard(old: Plan, new: Plan) -> None:
        before = host.loaded
        host.loaded = rack, before[1] if rack is None else rack.midi
        host.history.heard(title, old, new, (before, host.loaded))

    title = f"chain {text}"
    return _under_way(host, host.submit(lambda _: graph.copy(), title, heard))


def _preset(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) != 2:
        return None
    name, preset = arguments
    node = host.plan.graph.node(name)
    _check_room(host)
    title = f"preset {name} {preset}"
    edit = host.history.set_all(title, name, preset_values(node.declared, preset))
    return f"{name} is as in {preset}" if edit is None else _under_way(host, edit)


def _save(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) != 1:
        return None
    text = expanduser(arguments[0])
    path = Path(text) if text.lower().endswith(".toml") else user_file(text)
    rack, replaces = present_rack(host), path.exists()
    save_rack(path, rack)
    host.rack = rack
    return f"{'replaced' if replaces else 'saved as'} {path}"


def present_rack(host: Host) -> Rack:
    """The graph that is heard as a rack, with the rest of what it was loaded from."""
    base = host.rack or Rack()
    if host.midi is not None:
        base = replace(base, midi=host.midi.bindings)
    rack = rack_of(host.plan.graph, base)
    compared = {
        name: replace(rack.nodes[name], bypass=False) for name in host.dry_nodes if name in rack.nodes
    }
    return replace(rack, nodes=rack.nodes | compared)


def _undo(host: Host, arguments: list[str]) -> str | None:
    return None if arguments else host.history.undo()


def _redo(host: Host, arguments: list[str]) -> str | None:
    return None if arguments else host.history.redo()


def _compare(host: Host, arguments: list[str]) -> str | None:
    match arguments:
        case ["toggle"] | ["toggle", "matched"]:
            return _compare(host, ["wet"] if host.dry else ["dry", *arguments[1:]])
        case ["wet"]:
            host.compare(False)
            return "the output is heard"
        case ["dry"] | ["dry", "matched"]:
            gain = host.compare(True, matched=len(arguments) == 2)
            return Answer(f"the input is heard, {gain:+.1f} dB", gain=gain)
    return None


def _record(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) > 1:
        return None
    if arguments == ["off"]:
        file = host.end_recording()
        return f"recorded {file.samples / file.rate:.1f} s in {file.path}"
    path = Path(expanduser(arguments[0])) if arguments else recording_file()
    host.record(path)
    return f"recording {path}"


def _mark(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) > 1:
        return None
    folder = Path(expanduser(arguments[0])) if arguments else moment_folder()
    seconds = keep_moment(host, folder, present_rack(host))
    return f"the last {seconds:.1f} s go to {folder}"


def _switch(switch: str, on: bool, done: str) -> Callable[[Host, list[str]], str | None]:
    def run(host: Host, arguments: list[str]) -> str | None:
        if len(arguments) != 1:
            return None
        host.history.switch(arguments[0], switch, on)
        return f"{arguments[0]} is {done}"

    return run


def _get(host: Host, arguments: list[str]) -> str | None:
    if len(arguments) != 1:
        return None
    path = arguments[0]
    value, unit = host.plan.value(path), host.plan.parameter(path).unit
    return Answer(f"{path} is {shown(value)} {unit}".rstrip(), value=value, unit=unit)


def _state(host: Host, arguments: list[str]) -> str | None:
    if arguments:
        return None
    found = state(host)
    loaded = ", ".join(f"{node['name']} ({node['engine']})" for node in found["nodes"])
    return Answer(f"{loaded or 'no nodes'}, latency {found['latency']['total']} samples", state=found)


def _watch(host: Host, arguments: list[str]) -> str | None:
    raise UserError("what happens is told here anyway: 'watch' is for 'rtaudio ctl'")


def _midi(host: Host, arguments: list[str]) -> str | None:
    if host.midi is None:
        raise UserError("no MIDI port is open: start with --midi")
    match arguments:
        case ["learn", path, *ways] if len(set(ways)) == len(ways) and set(ways) <= {"toggle", "pickup"}:
            host.midi.learn(path, "toggle" in ways, "pickup" in ways)
            return f"move a controller for {path}"
        case ["forget", path]:
            host.midi.forget(path)
            return f"no controller moves {path}"
        case ["list"]:
            return "; ".join(host.midi.described()) or "no controller moves anything"
    return None


def _status(host: Host, arguments: list[str]) -> str | None:
    if arguments:
        return None
    report = host.statistics()
    words = [f"load {100 * report['load']:.1f} %", f"xruns {report['xruns']}", f"misses {report['misses']}"]
    if report["bypassed"]:
        words.append(f"bypassed {' '.join(report['bypassed'])}")
    words += [f"loading {edit}" for edit in loading(host)]
    if host.deck is not None:
        deck = host.deck
        at = f"{format_time(deck.position)} of {format_time(deck.duration)}"
        words = [at, "playing" if deck.playing else "paused", _loop_of(deck), *words]
    return ", ".join(words)


def _help(host: Host, arguments: list[str]) -> str | None:
    if arguments:
        return None
    own = [
        f"{word} {name} {usage}".rstrip()
        for name, lines in host.plan.own_lines().items()
        for word, usage in lines.items()
    ]
    return " | ".join([*(usage for usage, _ in _COMMANDS.values()), *own])


_COMMANDS: dict[str, tuple[str, Callable[[Host, list[str]], str | None]]] = {
    "load": ("load FILE", _load),
    "seek": ("seek TIME", _seek),
    "cue": ("cue [set [TIME]]", _cue),
    "loop": ("loop [BEGIN END | off]", _loop),
    "play": ("play", _play),
    "pause": ("pause", _pause),
    "set": ("set NODE.PARAMETER VALUE", _set),
    "get": ("get NODE.PARAMETER", _get),
    "mute": ("mute NODE", _switch("mute", True, "muted")),
    "unmute": ("unmute NODE", _switch("mute", False, "not muted")),
    "solo": ("solo NODE", _switch("solo", True, "soloed")),
    "unsolo": ("unsolo NODE", _switch("solo", False, "not soloed")),
    "bypass": ("bypass NODE", _switch("bypass", True, "bypassed")),
    "unbypass": ("unbypass NODE", _switch("bypass", False, "not bypassed")),
    "insert": ("insert PLACE NODE", _insert),
    "listen": ("listen NODE", _listen),
    "remove": ("remove NODE", _remove),
    "move": ("move NODE PLACE", _move),
    "replace": ("replace NODE ENGINE", _replace),
    "connect": ("connect A -> B", _connect),
    "disconnect": ("disconnect A -> B", _disconnect),
    "chain": ("chain CHAIN", _chain),
    "preset": ("preset NODE NAME", _preset),
    "save": ("save NAME", _save),
    "undo": ("undo", _undo),
    "redo": ("redo", _redo),
    "compare": ("compare dry [matched] | compare wet | compare toggle [matched]", _compare),
    "record": ("record [FILE] | record off", _record),
    "mark": ("mark [FOLDER]", _mark),
    "midi": ("midi learn NODE.PARAMETER [toggle] [pickup] | midi forget NODE.PARAMETER | midi list", _midi),
    "watch": (WATCH, _watch),
    "state": ("state", _state),
    "status": ("status", _status),
    "help": ("help", _help),
    "quit": ("quit", lambda host, arguments: None),
}
_SPLIT = {
    **dict.fromkeys(
        ("insert", "listen", "connect", "disconnect", "chain", "save", "load", "record", "mark"), 1
    ),
    **dict.fromkeys(("set", "replace"), 2),
}
"""Spaces at which a line is divided, where the rest may have some of its own."""
_EDITS = "insert", "listen", "remove", "move", "replace", "connect", "disconnect", "chain", "preset"
_OF_GRAPH = {*_EDITS, "undo", "redo", "bypass", "unbypass"}
"""Words that end a comparison."""
