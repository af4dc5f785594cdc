"""What a window needs to draw a running host, and what has changed since it last looked."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rtaudio.edit import shown
from rtaudio.errors import UserError
from rtaudio.graph import SWITCHES, parameters_of

if TYPE_CHECKING:
    from rtaudio.deck import Deck
    from rtaudio.graph import Engine
    from rtaudio.host import Host
    from rtaudio.plan import Plan
    from rtaudio.processor import Parameter

KEPT = 50
"""Notes, and problems, that the state has: the last ones."""


def state(host: Host) -> dict[str, Any]:
    """Everything about a running host, in what JSON has.

    Returns
    -------
    ``pid``, ``rate`` (Hz), ``block`` (samples), ``channels``, ``position`` (samples since the start),
    ``latency`` (samples, by the parts that have some, and ``total``), ``device`` (what was opened), ``nodes``
    (in running order), ``edges`` (``"a.port -> b.port"``), ``deck`` (None without a file), ``recordings``
    (files of what is heard), ``compare`` (see `compare_state`), ``loading`` (edits on their way), ``notes``,
    ``problems``.

    A node has its ``name``, ``engine``, ``version``, ``inputs``, ``outputs``, ``presets`` (names),
    ``parameters``, ``bypass``, ``mute``, ``solo``, ``failed`` (bypassed since its kernel failed), ``lane``
    (that of the slowest of its parts) and ``inside``: the nodes of a composite, without switches; their
    ``name`` is what ``set`` takes. One that takes lines of its own (`Processor.lines`) has them in ``lines``,
    and in ``told`` how what they have begun goes on, with ``words`` for people.
    """
    plan, report = host.plan, host.statistics()
    engines, lanes = plan.engines(), {name: node["lane"] for name, node in report["nodes"].items()}
    lines, told = plan.own_lines(), plan.told()
    own = {name: {"lines": dict(taken), "told": told[name]} for name, taken in lines.items()}
    nodes = []
    for name in plan.graph.order():
        node = plan.graph.nodes[name]
        inside = [inner for inner in engines if inner.startswith(f"{name}/")]
        nodes.append(
            _described(plan, name, engines[name])
            | own.get(name, {})
            | {switch: getattr(node, switch) for switch in SWITCHES}
            | {"failed": name in report["bypassed"]}
            | {"lane": max(lanes.get(part, 0) for part in (name, *inside))}
            | {"inside": [_described(plan, inner, engines[inner]) | own.get(inner, {}) for inner in inside]}
        )
    return {
        **{word: report[word] for word in ("pid", "rate", "block", "channels")},
        "position": plan.position,
        "latency": report["latency"],
        "device": host.device.statistics() | {"period": report["period"]},
        "nodes": nodes,
        "edges": [f"{edge.source} -> {edge.target}" for edge in plan.graph.edges],
        "deck": None if host.deck is None else deck_state(host.deck),
        "recordings": [str(recording.path) for recording in host.recordings],
        "compare": compare_state(host),
        "loading": loading(host),
        "notes": host.notes[-KEPT:],
        "problems": host.problems[-KEPT:],
    }


def _described(plan: Plan, name: str, engine: Engine) -> dict[str, Any]:
    return {
        "name": name,
        "engine": engine.id,
        "version": engine.version,
        "inputs": [port.name for port in engine.inputs],
        "outputs": [port.name for port in engine.outputs],
        "presets": list(engine.presets),
        "parameters": [
            _declared(each) | {"value": plan.value(f"{name}.{each.id}")} for each in parameters_of(engine)
        ],
    }


def _declared(parameter: Parameter) -> dict[str, Any]:
    """What a parameter says of itself; numbers have bounds and may be switches, choices have choices."""
    found: dict[str, Any] = {
        "id": parameter.id,
        "unit": parameter.unit,
        "scale": parameter.scale,
        "default": parameter.checked(parameter.default, ""),
        "automatable": parameter.automatable,
        "doc": parameter.doc,
    }
    if parameter.scale == "choice":
        return found | {"choices": list(parameter.choices)}
    if parameter.scale == "text":
        return found
    bounds = {"minimum": parameter.minimum, "maximum": parameter.maximum}
    return found | bounds | {"silence": parameter.silence, "switch": isinstance(parameter.default, bool)}


def deck_state(deck: Deck) -> dict[str, Any]:
    """Where a deck is and what it does; times in seconds."""
    return {
        "file": str(deck.file.info.path.absolute()),
        "position": deck.position,
        "duration": deck.duration,
        "playing": deck.playing,
        "loop": deck.loop,
        "cue": deck.cue_point,
    }


def compare_state(host: Host) -> dict[str, Any]:
    """Whether the input is heard instead of the output, its gain in dB, and the nodes bypassed for that."""
    return {"dry": host.dry, "gain": host.gain, "nodes": list(host.dry_nodes)}


def loading(host: Host) -> list[str]:
    """The edits that are on their way, in words."""
    return [edit.name for edit in host.edits if edit.name]


class Changes:
    """What changes in a host, as events: see `rtaudio.server`. Made anew, it knows what is now."""

    def __init__(self, host: Host) -> None:
        self._host, self._plan, self._seen = host, host.plan, _facts(host)

    def events(self) -> list[dict[str, Any]]:
        """What has changed since the last time."""
        plan, before, now = self._host.plan, self._seen, _facts(self._host)
        swapped, self._plan, self._seen = plan is not self._plan, plan, now
        found: list[dict[str, Any]] = []
        if swapped:
            nodes = ", ".join(plan.graph.order())
            text = f"another graph is heard: {nodes}, latency {plan.latency} samples"
            found.append({"event": "edit", "text": text})
        changed = [fact for fact in {**before, **now} if before.get(fact) != now.get(fact)]
        for fact in changed:
            kind, name, switch = fact
            if kind == "loading":
                edits = list(now[fact])
                text = f"loading {', '.join(edits)}" if edits else "nothing is loading"
                found.append({"event": kind, "edits": edits, "text": text})
            elif kind == "compare":
                compared = now[fact]
                text = f"the input is heard, {compared['gain']:+.1f} dB"
                text = text if compared["dry"] else "the output is heard"
                found.append({"event": kind, "compare": compared, "text": text})
            elif kind == "record":
                files = list(now[fact])
                text = f"recording {', '.join(files)}" if files else "nothing is recorded"
                found.append({"event": kind, "recordings": files, "text": text})
            elif kind == "told" and fact in now:
                told = now[fact]
                text = f"{name}: {told.get('words', '')}"
                found.append({"event": kind, "node": name, "told": told, "text": text})
            elif kind == "switch" and fact in now and bool(now[fact]) != bool(before.get(fact)):
                on = bool(now[fact])
                text = f"{name}: {switch} {'on' if on else 'off'}"
                found.append({"event": kind, "node": name, "switch": switch, "on": on, "text": text})
        moved = [name for kind, name, _ in changed if kind == "set"]
        for path in dict.fromkeys(_outermost(plan, name) for name in moved):
            with suppress(UserError):  # It has gone with its node.
                value = plan.value(path)
                text = f"{path} is {shown(value)}"
                found.append({"event": "set", "parameter": path, "value": value, "text": text})
        return found


def _outermost(plan: Plan, path: str) -> str:
    """The parameter of a node of the graph that stands for one inside of a composite, or else that one."""
    try:
        node, parameter = plan.owner(path)
    except UserError:
        return path
    return f"{node.name}.{parameter.id}"


def _facts(host: Host) -> dict[tuple[str, str, str], Any]:
    """What can change: values, switches, recordings, the comparison, edits on their way, what nodes tell."""
    plan = host.plan
    found: dict[tuple[str, str, str], Any] = {
        ("loading", "", ""): tuple(loading(host)),
        ("compare", "", ""): compare_state(host),
        ("record", "", ""): tuple(str(file.path) for file in host.recordings),
    }
    for name, node in plan.graph.nodes.items():
        found |= {("set", f"{name}.{each}", ""): value for each, value in node.values.items()}
        found |= {("switch", name, switch): getattr(node, switch) for switch in SWITCHES}
    found |= {("told", name, ""): told for name, told in plan.told().items()}
    return found | {("set", path, ""): value for path, value in plan.inside.items()}
