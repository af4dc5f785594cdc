"""MIDI controllers that move parameters: which controller moves what, and what is sent back to it.

A `Port` gives messages, each with the position in the input at which it came. `Midi` makes values of them and
sets these a constant delay later, so that what lies between two messages is kept to the sample although the
interpreter comes to see them at odd times. Values that somebody else has changed are sent to the controller,
for motor faders and rings of lights.

Inside, the place of a controller has 14 bits; one of 7 bits is spread so that 0, 64 and 127 are the lower
end, the exact middle and the upper end. Everything here is for the control thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from rtaudio.errors import UserError
from rtaudio.plan import NoRoomError, Plan
from rtaudio.processor import Parameter, Value
from rtaudio.rack import WIDE_CONTROLLERS, MidiBinding

if TYPE_CHECKING:
    from rtaudio.host import Host

INSTALL = "MIDI needs mido and python-rtmidi: pip install 'rtaudio[midi]'"
DELAY = 0.010
"""Seconds from a message to the beginning of the change: some turns of a busy interpreter."""
PAIR_SECONDS = 0.003
"""The two halves of a 14-bit value come within this time."""
LEARN_SECONDS = 0.020
"""Time from the first message of a controller that is learnt; its other half is known then."""
ECHO_SECONDS = 0.020
"""Time in which the light of a button may come back from it, and is not taken for a press."""
LOOK = 1.0
"""Seconds between two looks whether a controller is there."""
MESSAGES = 256
"""Messages that are looked at in one turn, so that a flood of them stops nothing else."""

HALF, FULL = 8192, 16383
"""Middle and upper end of 14 bits."""
FADER_DB = 80.0
"""A fader that ends in silence: amplitude goes with the fourth power of the way."""


class Port(Protocol):
    """Where messages come from and go to: `rtaudio.jack.JackMidi`, `rtaudio.midiport.RtMidiPort`."""

    name: str

    def read(self, most: int) -> list[tuple[int, bytes]]:
        """Messages that have come, at most so many, each with the position in the input at which it did."""

    def write(self, message: bytes) -> bool:
        """Send a message; False where that is not possible now."""

    def look(self) -> str:
        """Look for a controller that is gone; what there is to tell, or "". Call it once a second."""

    def statistics(self) -> dict[str, int]:
        """What was not taken, by what it was."""

    def close(self) -> None:
        """Close the port."""


# ---------------------------------------------------------------------------------------------- values


def widened(value: int) -> int:
    """A value of 7 bits in 14: 0, 64 and 127 are 0, 8192 and 16383."""
    return value * 128 if value <= 64 else HALF + round((value - 64) * (FULL - HALF) / 63)


def narrowed(place: int) -> int:
    """The nearest of 7 bits to a place of 14."""
    return round(place / 128) if place <= HALF else 64 + round((place - HALF) * 63 / (FULL - HALF))


def _share(place: int) -> float:
    """A place as a share of the way, 0 to 1, whose middle is exact."""
    return place / (2 * HALF) if place <= HALF else 0.5 + (place - HALF) / (2 * (FULL - HALF))


def _place(share: float) -> int:
    """The nearest place to a share of the way."""
    share = min(max(share, 0.0), 1.0)
    return round(share * 2 * HALF) if share <= 0.5 else HALF + round((share - 0.5) * 2 * (FULL - HALF))


def _is_switch(parameter: Parameter) -> bool:
    return isinstance(parameter.default, bool)


def _ends(parameter: Parameter, binding: MidiBinding) -> tuple[float, float]:
    """Values at the lower and the upper end, which are those of the parameter where they lie beyond."""
    lower = parameter.minimum if binding.minimum is None else binding.minimum
    upper = parameter.maximum if binding.maximum is None else binding.maximum
    lower, upper = (min(max(end, parameter.minimum), parameter.maximum) for end in (lower, upper))
    if parameter.scale == "integer":
        return float(round(lower)), float(round(upper))
    return lower, upper


def _steps(parameter: Parameter, ends: tuple[float, float]) -> int:
    """How many values there are; 0: a continuum."""
    if parameter.scale == "choice":
        return len(parameter.choices)
    if _is_switch(parameter):
        return 2
    return int(abs(ends[1] - ends[0])) + 1 if parameter.scale == "integer" else 0


def _silent_end(parameter: Parameter, ends: tuple[float, float]) -> bool:
    """Whether a fader's one end is silence, and the other is not."""
    return parameter.scale == "dB" and parameter.silence and min(ends) == parameter.minimum < max(ends)


def value_of(parameter: Parameter, binding: MidiBinding, place: int) -> Value:
    """The value at a place of a controller.

    Along the parameter's own scale: linear, in dB, or in octaves. A level in dB whose lowest value is
    silence follows a fader's law, ``80 log10(share of the way)`` dB below the upper end. Choices, whole
    numbers and switches have equal parts of the way.

    Parameters
    ----------
    parameter
        What is moved.
    binding
        Its ends count, no more.
    place
        0 to 16383.
    """
    ends = lower, upper = _ends(parameter, binding)
    steps = _steps(parameter, ends)
    if steps:
        number = place * steps >> 14
        if parameter.scale == "choice":
            return parameter.choices[number]
        if _is_switch(parameter):
            return ends[number]
        return lower + (number if upper >= lower else -number)
    share = _share(place)
    if place in (0, FULL):
        return upper if place else lower
    if _silent_end(parameter, ends):
        way = share if upper > lower else 1.0 - share
        return max(parameter.minimum, max(ends) + FADER_DB * math.log10(way))
    octaves = parameter.scale == "log"
    value = lower * math.pow(upper / lower, share) if octaves else lower + share * (upper - lower)
    return min(max(value, min(ends)), max(ends))


def place_of(parameter: Parameter, binding: MidiBinding, value: Value) -> int:
    """The place of a controller at a value, 0 to 16383: the inverse of `value_of`."""
    ends = lower, upper = _ends(parameter, binding)
    steps = _steps(parameter, ends)
    if steps:
        if parameter.scale == "choice":
            number = parameter.choices.index(str(value))
        elif _is_switch(parameter):
            number = int(float(value) == upper)
        else:
            number = round(abs(min(max(float(value), min(ends)), max(ends)) - lower))
        return FULL if number == steps - 1 > 0 else 0 if number == 0 else (2 * number + 1) * HALF // steps
    level = min(max(float(value), min(ends)), max(ends))
    if lower == upper:
        return 0
    if _silent_end(parameter, ends):
        way = math.pow(10.0, (level - max(ends)) / FADER_DB) if level > parameter.minimum else 0.0
        return _place(way if upper > lower else 1.0 - way)
    if parameter.scale == "log":
        return _place(math.log(level / lower) / math.log(upper / lower))
    return _place((level - lower) / (upper - lower))


def _other(parameter: Parameter, binding: MidiBinding, value: Value) -> Value:
    """What a press goes to: the next choice, or the other end."""
    if parameter.scale == "choice":
        return parameter.choices[(parameter.choices.index(str(value)) + 1) % len(parameter.choices)]
    lower, upper = _ends(parameter, binding)
    return lower if float(value) == upper else upper


def present_value(plan: Plan, path: str) -> Value:
    """What a parameter was last set to, in its unit."""
    name, _, parameter = path.rpartition(".")
    node = plan.graph.nodes.get(name)
    if node is not None and parameter in node.values:
        return node.values[parameter]
    if path in plan.inside:
        return plan.inside[path]
    value = plan.fixed(name, parameter)
    return plan.parameter(path).default if value is None else value


# ---------------------------------------------------------------------------------------------- 14 bits

MSB, LSB = 0, 1


class Pair:
    """Puts the halves of 14-bit values together, in whichever order a controller sends them.

    The half that comes first waits for the other. As long as no lower half has come, an upper one alone is a
    value of 7 bits; later on it stands for itself after a while, with the lower half 0, as MIDI has it. A
    lower half alone moves the value finely. Which half comes first is seen from the time between them: that
    within a value is shorter than that from one value to the next.

    Parameters
    ----------
    window
        Samples within which both halves of a value come.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._halves: list[int | None] = [None, None]
        self._first = MSB
        self._last, self._at, self._gap = -1, 0, -1
        self._waits = False

    def take(self, half: int, value: int, at: int) -> list[tuple[int, int]]:
        """A half (`MSB` or `LSB`) that came at a position; returns positions and places now known."""
        known = self.flush(at)
        if self._waits and half == self._first:
            known += self._alone()
        if self._last < 0:
            self._first = half
        elif half != self._last:
            gap = at - self._at
            if self._gap >= 0 and gap != self._gap and min(gap, self._gap) <= self._window:
                self._first = half if self._gap < gap else self._last
            self._gap = gap
        else:
            self._gap = -1
        self._last, self._at, self._halves[half] = half, at, value
        if self._halves[LSB] is None:
            return [*known, (at, widened(value))]
        self._waits = half == self._first
        return known if self._waits else known + self._whole()

    def flush(self, before: int) -> list[tuple[int, int]]:
        """What has waited for its other half for too long at a position."""
        return self._alone() if self._waits and self._at + self._window < before else []

    def _alone(self) -> list[tuple[int, int]]:
        self._waits = False
        if self._first == MSB and 0 <= self._gap <= self._window:
            self._first = LSB  # What came just before is its other half.
        elif self._first == MSB:
            self._halves[LSB] = 0
        return self._whole()

    def _whole(self) -> list[tuple[int, int]]:
        upper, lower = self._halves
        return [] if upper is None or lower is None else [(self._at, upper << 7 | lower)]


# ---------------------------------------------------------------------------------------------- bindings


@dataclass
class _Control:
    """A binding at work. Places are as the controller has them: 7 bits widened, or 14."""

    binding: MidiBinding
    pair: Pair | None
    parameter: Parameter | None = None
    """None: it sleeps, since the graph has no such parameter."""
    told: bool = False
    """Whether that was told."""
    received: int = -1
    """Place that came last; -1: none."""
    exchanged: int = -1
    """Place that came or was sent last."""
    lit: int = -1
    """Place that was sent last; -1: it has come back."""
    lit_until: int = 0
    """Position until which that coming back is no press."""
    held: Value | None = None
    """What it set last."""
    shown: Value | None = None
    """What the controller shows, as far as is known."""

    def as_shown(self, place: int) -> int:
        """The nearest place that the controller has."""
        return place if self.binding.wide else widened(narrowed(place))


@dataclass
class _Learning:
    """A parameter that waits for a controller, and which has come."""

    parameter: str
    toggle: bool
    pickup: bool
    channel: int = 0
    controllers: set[int] = field(default_factory=set)
    since: int = 0

    def take(self, channel: int, controller: int, at: int) -> bool:
        """Whether a message is of the controller that moved first, or of its other half."""
        if not self.controllers:
            self.channel, self.since = channel, at
        elif channel != self.channel or all(
            _upper(controller) != _upper(known) for known in self.controllers
        ):
            return False
        self.controllers.add(controller)
        return True


class Midi:
    """Controllers at a running host. Call `poll` every few milliseconds.

    Parameters
    ----------
    host
        Whose parameters are moved.
    port
        Of the controllers; closed by `close`.
    delay
        Seconds from a message to the beginning of the change.
    bindings
        What moves what; several controllers may move one parameter, and one several.

    Raises
    ------
    UserError
        mido is not installed.
    """

    def __init__(
        self, host: Host, port: Port, delay: float = DELAY, bindings: Iterable[MidiBinding] = ()
    ) -> None:
        self._parse = _parser()
        self._host, self.port = host, port
        self._rate = host.plan.rate
        self.delay = round(delay * self._rate)
        """Samples from a message to the beginning of the change."""
        self._counts = dict.fromkeys(("messages", "set", "late", "refused", "ignored"), 0)
        self._plan: Plan | None = None
        self._learning: _Learning | None = None
        self._next_look = 0.0
        self._controls: list[_Control] = []
        self._moves: dict[tuple[int, int], list[_Control]] = {}
        self.bindings = list(bindings)

    @property
    def bindings(self) -> list[MidiBinding]:
        """What moves what: for the rack file. Set it to replace all."""
        return [control.binding for control in self._controls]

    @bindings.setter
    def bindings(self, bindings: Sequence[MidiBinding]) -> None:
        kept = {control.binding: control for control in self._controls}
        self._controls = [kept.get(binding) or self._control(binding) for binding in dict.fromkeys(bindings)]
        self._moves = {}
        for control in self._controls:
            binding = control.binding
            places = [binding.controller, binding.controller + WIDE_CONTROLLERS][: 1 + binding.wide]
            for controller in places:
                self._moves.setdefault((binding.channel, controller), []).append(control)
        self._resolve(self._host.plan)

    def _control(self, binding: MidiBinding) -> _Control:
        return _Control(binding, Pair(round(PAIR_SECONDS * self._rate)) if binding.wide else None)

    def learn(self, path: str, toggle: bool = False, pickup: bool = False) -> None:
        """Bind a parameter to the controller that moves next; another one that it had is forgotten.

        Raises
        ------
        UserError
            There is no such parameter, or it is fixed while sound runs.
        """
        if not self._host.plan.parameter(path).automatable:
            raise UserError(f"{path} is fixed while sound runs: a controller cannot move it")
        self._learning = _Learning(path, toggle, pickup)

    def forget(self, path: str) -> None:
        """Unbind a parameter; `UserError` if nothing is bound to it."""
        waiting = self._learning is not None and self._learning.parameter == path
        left = [binding for binding in self.bindings if binding.parameter != path]
        if len(left) == len(self._controls) and not waiting:
            bound = ", ".join(dict.fromkeys(binding.parameter for binding in self.bindings)) or "none"
            raise UserError(f"no controller moves {path!r} (bound: {bound})")
        self._learning = None if waiting else self._learning
        self.bindings = left

    def poll(self) -> None:
        """Take what has come, and send what has changed."""
        host, position = self._host, self._host.plan.position
        if host.plan is not self._plan:
            self._resolve(host.plan)
        for at, data in self.port.read(MESSAGES):
            self._counts["messages"] += 1
            moved = False
            for message in self._parse(data):
                if message.type == "control_change":
                    moved = True
                    self._moved(message.channel + 1, message.control, message.value, at)
            self._counts["ignored"] += not moved
        for control in self._controls:
            for at, place in control.pair.flush(position) if control.pair else ():
                self._turn(control, place, at)
        if self._learning is not None:
            self._bind(self._learning, position)
        for control in self._controls:
            self._show(control, position)
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK
            if news := self.port.look():
                host.notes.append(news)
                for control in self._controls:
                    control.exchanged, control.shown = -1, None

    def _resolve(self, plan: Plan) -> None:
        """Look for every binding's parameter in a plan that is heard now."""
        self._plan = plan
        for control in self._controls:
            path, why = control.binding.parameter, ""
            try:
                parameter: Parameter | None = plan.parameter(path)
            except UserError as error:
                parameter, why = None, str(error)
            if parameter is not None and not parameter.automatable:
                parameter, why = None, f"{path} is fixed while sound runs"
            control.parameter = parameter
            if why and not control.told:
                self._host.notes.append(f"MIDI: {_source(control.binding)} moves nothing: {why}")
            control.told = bool(why)

    def _moved(self, channel: int, controller: int, value: int, at: int) -> None:
        if self._learning is not None and self._learning.take(channel, controller, at):
            return
        for control in self._moves.get((channel, controller), ()):
            if control.pair is None:
                self._turn(control, widened(value), at)
            else:
                half = MSB if controller == control.binding.controller else LSB
                for when, place in control.pair.take(half, value, at):
                    self._turn(control, place, when)

    def _bind(self, learning: _Learning, position: int) -> None:
        """Bind the controller that has come, once it is known whether it has 14 bits."""
        if not learning.controllers or position < learning.since + LEARN_SECONDS * self._rate:
            return
        binding = MidiBinding(
            parameter=learning.parameter,
            channel=learning.channel,
            controller=min(learning.controllers),
            wide=len(learning.controllers) == 2,
            toggle=learning.toggle,
            pickup=learning.pickup,
        )
        self._learning = None
        same = [other for other in self.bindings if _overlap(binding, other)]
        left = [
            other for other in self.bindings if other.parameter != binding.parameter and other not in same
        ]
        self.bindings = [*left, binding]
        lost = ", ".join(other.parameter for other in same if other.parameter != binding.parameter)
        self._host.notes.append(
            f"MIDI: {_source(binding)} moves {binding.parameter}{f', not {lost} any more' if lost else ''}"
        )

    def _turn(self, control: _Control, place: int, at: int) -> None:
        """A controller is at a place since a position."""
        parameter, binding, host = control.parameter, control.binding, self._host
        if binding.toggle and HALF <= place == control.lit and at <= control.lit_until:
            control.lit = -1
            return
        before, control.received = control.received, place
        still, control.exchanged = place == control.exchanged, place
        if parameter is None or (still and not binding.toggle):
            return
        now = present_value(host.plan, binding.parameter)
        if binding.toggle:
            if not before < HALF <= place:
                return
            value = _other(parameter, binding, now)
        else:
            if binding.pickup and control.held != now:
                there = control.as_shown(place_of(parameter, binding, now))
                before = place if before < 0 else before
                if not min(before, place) - 128 < there < max(before, place) + 128:
                    return
            value = value_of(parameter, binding, place)
        try:
            host.set(binding.parameter, value, at + self.delay)
        except NoRoomError:
            self._counts["refused"] += 1
            return
        self._counts["late"] += at + self.delay < host.plan.position
        self._counts["set"] += 1
        control.held = control.shown = present_value(host.plan, binding.parameter)

    def _show(self, control: _Control, position: int) -> None:
        """Send a value that the controller does not show: what it sent itself it does, unless by a press."""
        parameter, binding = control.parameter, control.binding
        if parameter is None:
            return
        now = present_value(self._host.plan, binding.parameter)
        if now == control.shown and not binding.toggle:
            return
        place = control.as_shown(place_of(parameter, binding, now))
        if place != control.exchanged:
            values = [place >> 7, place & 0x7F] if binding.wide else [narrowed(place)]
            status = 0xB0 | binding.channel - 1
            for value, controller in zip(values, (binding.controller, binding.controller + 32), strict=False):
                if not self.port.write(bytes([status, controller, value])):
                    return
            control.exchanged = control.lit = place
            control.lit_until = position + round(ECHO_SECONDS * self._rate)
        control.shown = now

    def described(self) -> list[str]:
        """A line for every binding, and for what is learnt."""
        lines = [
            f"{control.binding.parameter}: {_source(control.binding)}"
            + ", toggle" * control.binding.toggle
            + ", pickup" * control.binding.pickup
            + ", asleep" * (control.parameter is None)
            for control in self._controls
        ]
        return lines + ([f"{self._learning.parameter}: move a controller"] if self._learning else [])

    def statistics(self) -> dict[str, int]:
        """Counts, with those of the port.

        Messages that came; values set by them, of these too late, and refused for want of room; messages that
        are not of a controller.
        """
        return self._counts | self.port.statistics()

    def close(self) -> None:
        """Close the port."""
        self.port.close()


def _parser() -> Any:
    """What makes messages of bytes; pieces of one that was cut off make none."""
    try:
        from mido import parse_all
    except ImportError:
        raise UserError(INSTALL) from None
    return parse_all


def _upper(controller: int) -> int:
    """The controller that has the upper half where this one has the lower."""
    lower = WIDE_CONTROLLERS <= controller < 2 * WIDE_CONTROLLERS
    return controller - WIDE_CONTROLLERS * lower


def _source(binding: MidiBinding) -> str:
    wide = f" and {binding.controller + WIDE_CONTROLLERS} (14 bits)" if binding.wide else ""
    return f"controller {binding.controller}{wide} of channel {binding.channel}"


def _overlap(binding: MidiBinding, other: MidiBinding) -> bool:
    """Whether two bindings share a controller."""
    mine, others = (
        {each.controller, each.controller + WIDE_CONTROLLERS * each.wide} for each in (binding, other)
    )
    return binding.channel == other.channel and not mine.isdisjoint(others)
