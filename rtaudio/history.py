"""What was done to a running graph, to be undone and done again.

A value or a switch is kept as what it was and what it became. An edit is kept as the graph before and the
graph after it; to undo it, what differs between these is set back in the graph that is heard, so that all
else stays as it is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rtaudio.errors import UserError, nearest
from rtaudio.graph import Graph, Node

if TYPE_CHECKING:
    from rtaudio.edit import Edit
    from rtaudio.host import Host
    from rtaudio.processor import Value

LONGEST = 200
"""Changes that are kept."""
ONE_MOVE = 1.0
"""Seconds between two values of a parameter up to which they are one move of a fader."""
SWITCHES = "bypass", "mute", "solo"


@dataclass
class Change:
    """What was done, in words, and what it changed: before and after."""

    title: str
    values: dict[str, tuple[Value, Value]] = field(default_factory=dict)
    """By path."""
    switches: dict[tuple[str, str], tuple[bool, bool]] = field(default_factory=dict)
    """By node and switch."""
    graphs: tuple[Graph, Graph] | None = None
    at: float = 0.0
    """When, by the monotonic clock."""


class History:
    """The changes of a host's graph.

    Parameters
    ----------
    host
        What they are made to.

    Attributes
    ----------
    done, undone : list of Change
        What can be undone, and done again; the next one last.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.done: list[Change] = []
        self.undone: list[Change] = []

    def set(self, path: str, value: Value) -> Edit | None:
        """`Host.change`, to be undone."""
        parameter = self._host.plan.parameter(path)
        if not parameter.automatable:
            return self._host.change(path, value)
        before = self._host.plan.value(path)
        self._host.set(path, value)
        values = {path: (before, self._host.plan.value(path))}
        now, last = time.monotonic(), self.done[-1] if self.done else None
        if last is not None and list(last.values) == [path] and now - last.at < ONE_MOVE and not self.undone:
            last.values[path], last.at = (last.values[path][0], values[path][1]), now
            last.title = f"set {path} {value}"
        else:
            self._add(Change(f"set {path} {value}", values, at=now))
        return None

    def set_all(self, title: str, name: str, values: Mapping[str, Value]) -> Edit | None:
        """Set several parameters of a node of the graph at once, to be undone at once; see `Host.change`."""
        plan = self._host.plan
        paths = {f"{name}.{each}": value for each, value in values.items()}
        if any(not plan.parameter(path).automatable for path in paths):
            return self._host.submit(lambda graph: _with_values(graph, name, values), title)
        for path, value in paths.items():
            plan.parameter(path).checked(value, name)
        before = {path: plan.value(path) for path in paths}
        for path, value in paths.items():
            self._host.set(path, value)
        self._add(Change(title, {path: (before[path], plan.value(path)) for path in paths}))
        return None

    def switch(self, name: str, switch: str, on: bool) -> None:
        """`Host.bypass`, ``mute`` or ``solo``, to be undone."""
        node = self._host.plan.graph.nodes.get(name)
        was = bool(getattr(node, switch, on))
        getattr(self._host, switch)(name, on)
        if was != on:
            self._add(Change(f"{'' if on else 'un'}{switch} {name}", switches={(name, switch): (was, on)}))

    def heard(self, title: str, before: Graph, after: Graph) -> None:
        """An edit is heard: keep it."""
        self._add(Change(title, graphs=(before.copy(), after.copy())))

    def _add(self, change: Change) -> None:
        self.done = [*self.done, change][-LONGEST:]
        self.undone.clear()

    def undo(self) -> str:
        """Take the last change back, or an edit that is not heard yet; returns what, in words.

        Raises
        ------
        UserError
            There is nothing to undo, or it cannot be.
        """
        waiting = [edit for edit in self._host.edits if edit.title]
        if waiting:
            self._host.drop(waiting[-1])
            return f"{waiting[-1].title} is given up"
        if not self.done:
            raise UserError("nothing to undo")
        change = self.done[-1]
        self._go(change, back=True)
        return f"undo {change.title}"

    def redo(self) -> str:
        """Do again what was undone last; returns what, in words. `UserError` as `undo`."""
        if not self.undone:
            raise UserError("nothing to do again")
        if any(edit.title for edit in self._host.edits):
            raise UserError("an edit is under way: wait until it is heard")
        change = self.undone[-1]
        self._go(change, back=False)
        return f"redo {change.title}"

    def _go(self, change: Change, back: bool) -> None:
        """Set back what a change made, or make it again."""
        which = 0 if back else 1
        for path, values in change.values.items():
            self._host.set(path, values[which])
        for (name, switch), states in change.switches.items():
            getattr(self._host, switch)(name, states[which])
        if change.graphs is None:
            self._moved(change, back)
            return
        begin, end = change.graphs[1 - which], change.graphs[which]
        title = f"{'undo' if back else 'redo'} {change.title}"
        self._host.submit(
            lambda graph: merged(graph, begin, end), title, lambda before, after: self._moved(change, back)
        )

    def _moved(self, change: Change, back: bool) -> None:
        source, sink = (self.done, self.undone) if back else (self.undone, self.done)
        if source and source[-1] is change:
            sink.append(source.pop())
            change.at = 0.0


def _with_values(graph: Graph, name: str, values: Mapping[str, Value]) -> Graph:
    node = graph.nodes.get(name)
    if node is None:
        raise UserError(f"no node {name!r}{nearest(name, graph.nodes)} ({', '.join(graph.nodes)})")
    state = node.bypass, node.mute, node.solo, node.lane
    return graph.replace(Node(name, node.declared, {**node.values, **values}, *state, held=node.held))


def merged(graph: Graph, begin: Graph, end: Graph) -> Graph:
    """A graph with what differs between two others as the second has it, and all else as it is.

    `UserError` where it then is no graph.
    """
    nodes = []
    for name, wanted in end.nodes.items():
        here, was = graph.nodes.get(name), begin.nodes.get(name)
        if here is None or was is None or not (here.declared is was.declared is wanted.declared):
            nodes.append(wanted.copy())
        else:
            nodes.append(_merged(here, was, wanted))
    nodes += [node for name, node in graph.nodes.items() if name not in {*begin.nodes, *end.nodes}]
    changed = set(begin.edges) != set(end.edges)
    return Graph(nodes, (end if changed else graph).texts())


def _merged(here: Node, was: Node, wanted: Node) -> Node:
    """A node with what differs between two states of it as the second has it."""
    values = dict(here.values)
    for name in was.values.keys() | wanted.values.keys():
        if was.values.get(name) != wanted.values.get(name):
            values.pop(name, None)
            if name in wanted.values:
                values[name] = wanted.values[name]
    switches = [
        getattr(wanted if getattr(was, switch) != getattr(wanted, switch) else here, switch)
        for switch in (*SWITCHES, "lane")
    ]
    if values == here.values and switches == [getattr(here, switch) for switch in (*SWITCHES, "lane")]:
        return here
    return Node(here.name, here.declared, values, *switches)
