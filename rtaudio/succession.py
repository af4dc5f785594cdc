"""Which nodes of a plan go on, with all that they remember, when another plan takes over from it.

A step of the new plan is the same as one of the old if it is made of the same engine with the same fixed
values, at the same place in time, and hears what the other hears: the graph's input, or steps that are the
same. A worker goes on as a whole, if all of its steps are the same and it gives the same.

While the old plan fades out, the new one plays what such steps of the old make, so that they run once. Then
their memory changes hands: the callback does that for what runs (`executor.go_on`), `Plan.succeed` for what
control keeps.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rtaudio.executor import (
    DRY,
    DRY_DELAY,
    DRY_SIZE,
    HOP,
    INPUTS,
    N_INPUTS,
    N_OUTPUTS,
    N_RAMPS,
    ORIGIN,
    OUTPUTS,
    STAGED,
)
from rtaudio.kernel import addresses
from rtaudio.lanes import Receive, Segment, Send
from rtaudio.layout import Step, Walk
from rtaudio.remote import Remote
from rtaudio.routing import Align, bare

if TYPE_CHECKING:
    from rtaudio.plan import Plan

ALIKE = N_INPUTS, N_OUTPUTS, N_RAMPS, HOP, ORIGIN, STAGED, DRY_SIZE, DRY_DELAY
"""Words that are the same in rows that do the same."""


@dataclass
class Succession:
    """What goes on, each in a pair of the old plan's and the new one's."""

    steps: list[tuple[str, str]] = field(default_factory=list)
    """Of the callback, by name."""
    segments: list[tuple[int, int]] = field(default_factory=list)
    """Workers, by number."""


def succession(old: Plan, new: Plan) -> Succession:
    """What goes on of ``old`` in ``new``. Worker processes do all or none: they have one watch."""
    found = _succession(old, new, processes=True)
    there = [sum(segment.lane == 2 for segment in plan.segments) for plan in (old, new)]
    kept = sum(old.segments[number].lane == 2 for number, _ in found.segments)
    return found if there == [kept, kept] else _succession(old, new, processes=False)


def _succession(old: Plan, new: Plan, processes: bool) -> Succession:
    found = Succession()
    names: dict[str, str] = {}
    there = {what: name for name, what in _of_callback(old, None)}
    for name, what in _of_callback(new, names):
        if what not in there:
            continue
        sender = new.layout.steps[name].processor
        if isinstance(sender, Send):
            if sender.segment.lane == 2 and not processes:
                continue
            before = old.layout.steps[there[what]].processor
            assert isinstance(before, Send)  # noqa: S101 - the same does the same
            found.segments.append((old.segments.index(before.segment), new.segments.index(sender.segment)))
        names[name] = there.pop(what)
        found.steps.append((names[name], name))
    return found


def _of_callback(plan: Plan, names: Mapping[str, str] | None) -> Iterator[tuple[str, Hashable]]:
    """The callback's steps in order, and what each is, hashable: the same for steps that do the same.

    ``names`` has the old plan's names of those of the new plan that are the same, as far as they are known;
    None for the old plan.
    """
    made: dict[int, tuple[str, int]] = {at: ("", c) for c, at in enumerate(addresses(plan.entry).tolist())}
    senders: dict[int, str] = {}
    for name, step in _steps(plan, plan.layout.walk):
        made |= {at: (name, c) for c, at in enumerate(_channels(step, OUTPUTS, N_OUTPUTS))}
        reads = [made.get(at) for at in _reads(step)]
        what: Hashable = None
        if isinstance(step.processor, Send):
            senders[id(step.processor.segment)] = name
            what = _worker(plan, step.processor.segment)
        elif isinstance(step.processor, Receive):
            reads.append((senders[id(step.processor.segment)], step.processor.first))
        yield name, (_alike(plan, name, step), what, *(_of_old(place, names) for place in reads))


def _of_old(place: tuple[str, int] | None, names: Mapping[str, str] | None) -> Hashable:
    """The channel of the old plan's step; one of a step that is not the same is like no other."""
    if place is None or not place[0] or names is None:
        return place
    return (names[place[0]], place[1]) if place[0] in names else object()


def steps_of(plan: Plan, segment: Segment) -> list[str]:
    """Names of the steps that a worker runs, in order."""
    return [name for name, step in plan.layout.steps.items() if step.walk.names == segment.names]


def _worker(plan: Plan, segment: Segment) -> Hashable:
    """What a worker does."""
    walk = plan.layout.steps[steps_of(plan, segment)[0]].walk
    made: dict[int, tuple[int, int]] = {}
    for number, signal in enumerate(walk.inputs.values()):
        made |= {at: (-1 - number, c) for c, at in enumerate(addresses(signal.buffer).tolist())}
    found: list[Hashable] = [segment.lane, segment.ahead, *map(str, walk.inputs)]
    for name, step in _steps(plan, walk):
        made |= {at: (step.row, c) for c, at in enumerate(_channels(step, OUTPUTS, N_OUTPUTS))}
        found += [_alike(plan, name, step), *(made.get(at) for at in _reads(step))]
    return *found, *(made.get(at) for at in segment.gives.tolist())


def _steps(plan: Plan, walk: Walk) -> Iterator[tuple[str, Step]]:
    for name, step in plan.layout.steps.items():
        if step.walk is walk:
            yield name, step


def _channels(step: Step, which: int, count: int) -> list[int]:
    """Addresses of a step's input or output channels."""
    return [int(at) for at in step.memory[which][: step.words[count]]]


def _reads(step: Step) -> list[int]:
    """Addresses of what a step reads, its dry inputs too; 0 for silence."""
    return _channels(step, INPUTS, N_INPUTS) + [int(at) for at in step.memory[DRY]]


def _alike(plan: Plan, name: str, step: Step) -> Hashable:
    """What a step is, whatever it hears."""
    processor = step.processor
    made = bare(processor.made if isinstance(processor, Remote) else processor)
    fixed = [(each.id, made.values[each.id]) for each in made.parameters if not each.automatable]
    return (
        name if name in plan.layout.parts else processor.id,
        type(processor),
        type(made),
        *fixed,
        made.connected,
        processor.latency,
        processor.waiting,
        step.heard_at,
        step.ahead,
        *map(int, step.words[list(ALIKE)]),
        processor.samples if isinstance(processor, Align) else 0,
    )
