"""What was done to a running graph, to be undone and done again.

A value or a switch is kept as what it was and what it became. An edit is kept as the graph before and the
graph after it; to undo it, what differs between these is set back in the graph that is heard, so that all
else stays as it is. Nodes that were put in to listen through are no part of these graphs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from rtaudio.edit import Edit
from rtaudio.errors import UserError
from rtaudio.graph import SWITCHES, Graph, Node

if TYPE_CHECKING:
    from rtaudio.host import Host
    from rtaudio.plan import Plan
    from rtaudio.processor import Value
    from rtaudio.rack import MidiBinding, Rack

Loaded: TypeAlias = "tuple[Rack | None, Sequence[MidiBinding]]"
"""The rack that a graph comes from, and the controllers that move it."""

LONGEST = 200
"""Changes that are kept."""
MOST_WAITING = 32
"""Steps back and forth that may wait for their turn."""
ONE_MOVE = 1.0
"""Seconds between two values of a parameter up to which they are one move of a fader."""


@dataclass
class Change:
    """What was done, in words, and what it changed: before and after."""

    title: str
    values: dict[str, tuple[Value, Value]] = field(default_factory=dict)
    """By path."""
    switches: dict[tuple[str, str], tuple[bool, bool]] = field(default_factory=dict)
    """By node and switch."""
    graphs: tuple[Graph, Graph] | None = None
    loaded: tuple[Loaded, Loaded] | None = None
    """`Host.loaded`, where a rack was loaded."""
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
    aside : set of str
        Nodes that were put in to listen through, last: what is done to them is no change.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.done: list[Change] = []
        self.undone: list[Change] = []
        self.aside: set[str] = set()

    def set(self, path: str, value: Value) -> Edit | None:
        """`Host.change`, to be undone."""
        parameter = self._host.plan.parameter(path)
        if not parameter.automatable:
            return self._host.change(path, value)
        before = self._host.plan.value(path)
        self._host.set(path, value)
        values = {path: (before, self._host.plan.value(path))}
        if values[path][0] == values[path][1]:
            return None
        now, last = time.monotonic(), None if self.undone else self._moved_lately(path)
        if last is not None:
            last.values[path], last.at = (last.values[path][0], values[path][1]), now
            last.title = f"set {path} {value}"
        else:
            self._add(Change(f"set {path} {value}", values, at=now))
        return None

    def _moved_lately(self, path: str) -> Change | None:
        """The change that is the present move of a fader, which one other may move along with."""
        for change in reversed(self.done[-2:]):
            if len(change.values) != 1 or time.monotonic() - change.at >= ONE_MOVE:
                return None
            if path in change.values:
                return change
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

    def heard(self, title: str, old: Plan, new: Plan, loaded: tuple[Loaded, Loaded] | None = None) -> None:
        """An edit is heard, from one plan to another: keep it."""
        aside = self.aside
        self.aside = aside & new.graph.nodes.keys()
        try:
            graphs = _without(old.graph, aside).copy(), _without(new.graph, aside).copy()
        except UserError as error:  # What a node is made of, a model's file, has gone meanwhile.
            self._host.notes.append(f"{title} cannot be undone: {error}")
            return
        self._add(Change(title, graphs=graphs, loaded=loaded))

    def listened(self, old: Plan, new: Plan) -> None:
        """A node that was put in to listen through is heard, or has gone."""
        put_in = new.graph.nodes.keys() - old.graph.nodes.keys()
        self.aside = (self.aside | put_in) & new.graph.nodes.keys()

    def _add(self, change: Change) -> None:
        moved = {path.partition(".")[0] for path in change.values} | {name for name, _ in change.switches}
        if moved and moved <= self.aside:
            return
        self.done = [*self.done, change][-LONGEST:]
        self.undone.clear()

    def undo(self) -> str:
        """Take the last change back, or an edit that is not heard yet; returns what, in words.

        Where other edits are on their way it waits for its turn.

        Raises
        ------
        UserError
            There is nothing to undo, or it cannot be: then that change is forgotten.
        """
        coming = [edit for edit in self._host.edits if edit.title and not edit.given_up]
        wanted = [edit for edit in coming if edit.heard != self.listened]
        if wanted and not wanted[-1].of_history:
            self._host.drop(wanted[-1])
            return f"{wanted[-1].title} is given up"
        return self._queue(back=True)

    def redo(self) -> str:
        """Do again what was undone last; returns what, in words. Waits and refuses as `undo`."""
        return self._queue(back=False)

    def take_back(self, edit: Edit) -> None:
        """Undo an edit that has just been heard, before anything else that waits."""
        name = edit.listens
        undone = Edit(lambda graph: graph.remove(name), title=f"remove {name}", heard=self.listened)
        self._host.queue(undone if name else self._step(back=True), first=True)

    def _queue(self, back: bool) -> str:
        if sum(edit.of_history for edit in self._host.edits) >= MOST_WAITING:
            raise UserError(f"{MOST_WAITING} of these wait already: wait until one is heard")
        edit = self._step(back)
        self._host.queue(edit)
        if edit.done and edit.error is not None:
            raise edit.error
        return edit.title if edit.done or edit is self._host.edits[0] else f"{edit.title} waits for its turn"

    def _step(self, back: bool) -> Edit:
        edit = Edit(lambda graph: graph, title="undo" if back else "redo")
        edit.of_history, edit.turn = True, partial(self._take_turn, edit, back)
        return edit

    def _take_turn(self, edit: Edit, back: bool) -> bool:
        """Do at once what can be, or let the edit do it; whether that is so."""
        source = self.done if back else self.undone
        if not source:
            raise UserError("nothing to undo" if back else "nothing to do again")
        change, which = source[-1], 0 if back else 1
        edit.title = f"{edit.title} {change.title}"
        if change.graphs is not None:
            begin, end = change.graphs[1 - which], change.graphs[which]
            edit.make = lambda graph: self._set_back(graph, begin, end)
            edit.heard = lambda old, new: self._moved(change, back)
            edit.failed = lambda: self._forget(change)
            return True
        try:
            for path, values in change.values.items():
                self._host.set(path, values[which])
            for (name, switch), states in change.switches.items():
                getattr(self._host, switch)(name, states[which])
        except UserError as error:
            self._forget(change)
            raise UserError(f"{edit.title}: {error}; it is forgotten") from None
        self._moved(change, back)
        return False

    def _set_back(self, graph: Graph, begin: Graph, end: Graph) -> Graph:
        """`merged`; what was put in to listen through stays, last."""
        made = merged(_without(graph, self.aside), begin, end)
        for name in self.aside & graph.nodes.keys() - made.nodes.keys():
            made = made.insert(graph.nodes[name], *made.place("last", graph.nodes[name]))
        return made

    def _moved(self, change: Change, back: bool) -> None:
        """A change is undone, or done again."""
        source, sink = (self.done, self.undone) if back else (self.undone, self.done)
        if source and source[-1] is change:
            sink.append(source.pop())
            change.at = 0.0
        which = 0 if back else 1
        if change.loaded is not None:
            self._host.loaded = change.loaded[which]

    def _forget(self, change: Change) -> None:
        for changes in (self.done, self.undone):
            changes[:] = [each for each in changes if each is not change]


def _without(graph: Graph, names: Set[str]) -> Graph:
    """A graph without some nodes, as far as it has them."""
    for name in names & graph.nodes.keys():
        graph = graph.remove(name)
    return graph


def _with_values(graph: Graph, name: str, values: Mapping[str, Value]) -> Graph:
    node = graph.node(name)
    return graph.replace(node.with_values({**node.values, **values}))


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
    values = _merged_values(here.values, was.values, wanted.values)
    inside = _merged_values(here.inside, was.inside, wanted.inside)
    switches = [
        getattr(wanted if getattr(was, switch) != getattr(wanted, switch) else here, switch)
        for switch in (*SWITCHES, "lane")
    ]
    before = [here.values, here.inside, *(getattr(here, switch) for switch in (*SWITCHES, "lane"))]
    if [values, inside, *switches] == before:
        return here
    held = here.held and bool(switches[0])
    return Node(here.name, here.declared, values, *switches, held=held, inside=inside)


def _merged_values(
    here: Mapping[str, Value], was: Mapping[str, Value], wanted: Mapping[str, Value]
) -> dict[str, Value]:
    values = dict(here)
    for name in was.keys() | wanted.keys():
        if was.get(name) != wanted.get(name):
            values.pop(name, None)
            if name in wanted:
                values[name] = wanted[name]
    return values
