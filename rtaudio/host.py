"""The host: a plan on a device, with files, a watch over nodes, workers and the device, and live edits.

Threads: the device's thread runs the compiled callback and nothing else; worker threads run the parts of the
graph that lane 1 has, processes those of lane 2, and a thread watches over these. A reader thread keeps the
deck's tape full, recorder threads empty the output rings, and one prepares an edit; the caller's thread
controls, and polls the watch.
"""

from __future__ import annotations

import gc
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np

from rtaudio.compilation import compile_apart
from rtaudio.counters import EDITS, LOSSES, TIME_BINS, TIMES, Counters, report, spent_s
from rtaudio.deck import CHUNK, IDLE, Deck
from rtaudio.edit import EDIT_LIMIT, PRE_ROLL, Edit, forget, pre_roll, reason, shown, to_play
from rtaudio.errors import FileError, UserError
from rtaudio.files import AudioReader, AudioWriter, left_recordings, same_file
from rtaudio.graph import MAIN, Graph
from rtaudio.history import History
from rtaudio.lanes import Segment, warm_up
from rtaudio.native import read_acquire, write_release
from rtaudio.null import NullDevice
from rtaudio.observation import Observation
from rtaudio.observe import Observer
from rtaudio.plan import NOW, Plan
from rtaudio.processor import Value
from rtaudio.realtime import (
    FIFO_PRIORITY,
    demote,
    is_real_time,
    lift_limit,
    limit_runaway,
    lock_memory,
    priority_of,
    raise_priority,
    trim_memory,
    unlock_memory,
)
from rtaudio.remote import RemoteSegment
from rtaudio.ring import Ring
from rtaudio.stream import (
    DONE,
    FILE,
    FILE_ENDED,
    FLAGGED,
    HISTORY_END,
    LONGEST_CALL,
    NEXT,
    NEXT_AFTER,
    NO_TURN,
    RECORD,
    RECORD_INPUT,
    TAKEN_OVER,
    TURN,
    Stream,
)

if TYPE_CHECKING:
    from rtaudio.history import Loaded
    from rtaudio.midi import Midi
    from rtaudio.rack import Rack

RECORD_SECONDS = 20.0
"""Length of the rings from the callback to a recording: what a busy disk may stall."""
RETRY_FIRST, RETRY_LONGEST = 1.0, 60.0
"""Seconds until a failed node is tried again; they double while it fails, and start over once it ran for the
longest of them."""
HANG = 1.0
"""Seconds without a block done after which a worker that has work counts as hanging."""
RUNAWAY = 0.5
"""Seconds of computing without a pause after which real-time threads lose their priority."""
OVERLOAD, RELIEF = 1.0, 0.9
"""Seconds over which it is looked whether the callback takes longer than there is time; share of that time at
which this is over."""
LOUD_SECONDS, LEAST_LOUD_SECONDS = 10.0, 3.0
"""Seconds of which a loudness is taken to be compared; fewer do not replace what was measured before."""
RETURN = 1.0
"""Seconds between two looks whether a lost device is back."""
GIVEN_UP = "the edit was given up"
"""Another value took its place, or the sound has ended."""
CLOSE_LIMIT = 5.0
"""Seconds that a host which closes waits for what an edit is loading."""
TOO_HEAVY = "the new graph cannot catch up with the sound: it is too heavy for this machine"
NO_CLOCK = "the new graph cannot catch up with the sound: that runs as fast as it can"
STANDS_STILL = "the device asks for no sound: the new graph cannot take over"
"""Why the callback has not taken a plan over."""


_kept: list[Plan | Stream | Deck | None] = []
"""What a thread that hangs still uses: it stays until the process ends."""


class Device(Protocol):
    """What calls the compiled callback: see `rtaudio.null` and `rtaudio.soundcard`."""

    name: str
    rate: int
    latency: int
    realtime: bool

    @property
    def period(self) -> int | None:
        """Samples per call; 0: it varies, None: the plan's block."""

    def start(self, stream: Stream, end: int = -1) -> None:
        """Start calling; a device without a clock stops by itself after ``end`` samples (-1: never)."""

    def stop(self) -> bool:
        """Stop; no call comes after that. False if one does not return: what it uses has to stay."""

    @property
    def running(self) -> bool:
        """Whether calls come."""

    def statistics(self) -> dict[str, Any]:
        """What the counters do not say."""


@runtime_checkable
class Losable(Device, Protocol):
    """A device that can go away and come back."""

    @property
    def lost(self) -> bool:
        """Whether it has gone away."""

    def abandon(self) -> bool:
        """Give the dead device up; whether no call can come through any more."""

    def reopen(self) -> bool:
        """Look for it and open it; whether it is back, to be started."""


@dataclass(eq=False)
class _Recording:
    """A file that a ring of the callback is emptied into by a thread."""

    word: int
    """Of the stream: where the callback finds the ring."""
    file: AudioWriter
    until: int | None = None
    """Calls after which the callback uses the ring no more; None: it goes on."""


@dataclass
class _Watch:
    """What has failed: the wait after the last time, and when it is or was tried again."""

    delay: float = 0.0
    due: float = 0.0
    waiting: bool = False

    def begin(self, now: float) -> None:
        """It has failed again."""
        again = self.delay > 0.0 and now - self.due < RETRY_LONGEST
        self.delay = min(2.0 * self.delay, RETRY_LONGEST) if again else RETRY_FIRST
        self.due, self.waiting = now + self.delay, True


@dataclass
class _Spent:
    """Seconds that the callback of a plan has taken, in all and for each of its nodes."""

    plan: Plan | None = None
    all: float = 0.0
    nodes: dict[str, float] = field(default_factory=dict)


class Host:
    """Runs a plan live.

    Parameters
    ----------
    plan
        The prepared graph; closed with the host. Its main output is what is heard.
    device
        What calls it.
    file
        Input instead of the device's, see `deck`; at the plan's rate and channel count. Closed with the host.
    loop
        Start the file again, without a gap, when it ends; or begin and end, in seconds, of a part that
        repeats.
    record
        Where the output goes too; committed when the host closes. A full disk ends it, not the sound.
    seconds
        Stop by itself after this time, whether the file is shorter (silence follows it) or longer. Without
        it, stop when a file that does not loop has come out at the other end.
    record_input
        Where what the device gives goes too, as it came.
    inputs, outputs
        Channel maps, see `Stream`.
    counters
        Where the run is counted; closed with the host.
    start
        Where in the file to start, in seconds.
    stays
        Do not stop at the end of the file: silence follows it, and the deck may play again.

    Attributes
    ----------
    deck : Deck or None
        Seek, cue, loop, play and pause of the file.
    midi : Midi or None
        Controllers that move parameters; whoever controls puts it here, and polls it.

    Raises
    ------
    UserError
        The graph has no main output, or the file no such start or loop.
    """

    def __init__(
        self,
        plan: Plan,
        device: Device | Losable,
        file: AudioReader | None = None,
        loop: bool | tuple[float, float] = False,
        record: AudioWriter | None = None,
        seconds: float | None = None,
        record_input: AudioWriter | None = None,
        inputs: list[int] | None = None,
        outputs: list[int] | None = None,
        counters: Counters | None = None,
        start: float = 0.0,
        stays: bool = False,
    ) -> None:
        check_heard(plan)
        if file is not None and (file.rate, file.channels) != (plan.rate, plan.channels):
            raise ValueError(f"the file is at {file.rate} Hz with {file.channels} channels, the plan is not")
        for recording, channels in ((record, len(plan.heard)), (record_input, plan.channels)):
            if recording is not None and (recording.rate, recording.channels) != (plan.rate, channels):
                raise ValueError(
                    f"the recording is at {recording.rate} Hz with {recording.channels} channels"
                )
        self.plan, self.device = plan, device
        self.counters = counters or Counters()
        self.stream = Stream(plan, device.period, inputs, outputs, self.counters)
        plan.count_in(self.counters)
        self.problems: list[str] = []
        """What went wrong without stopping the sound, in words."""
        self.notes: list[str] = []
        """What is worth knowing, in words."""
        self.observer = Observer(self.counters, plan, self.notes)
        """Shows readers what is heard."""
        self.deck = None
        if file is not None:
            words, ramp, _ = self.stream.deck
            self.deck = Deck(file, words, ramp, plan.block, start, loop)
            self.deck.problems, self.deck.changed = self.problems, self._set_end
        self._file_over: int | None = None
        self._stays = stays
        recordings = (RECORD, record), (RECORD_INPUT, record_input)
        self._recordings = [_Recording(word, file) for word, file in recordings if file]
        self._seconds = seconds
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._watches: dict[str, _Watch] = {}
        self._progress: dict[int, tuple[int, float]] = {}
        self._locked: dict[Plan | Stream, list[Any]] = {}
        self._standby: NullDevice | None = None
        self._period = device.period
        self._next_look = 0.0
        self._behind: WeakKeyDictionary[Segment, _Watch] = WeakKeyDictionary()
        self._real_time = 0
        self._spent, self._overloaded = (0.0, 0, _Spent()), False
        self._calls, self._looked, self._silent = 0, 0.0, 0.0
        self._closed = self._hanging = self._no_priority = False
        self.midi: Midi | None = None
        self.rack: Rack | None = None
        """What the graph was loaded from, with all that it does not hold itself."""
        self.history = History(self)
        """What was done to the graph, to be undone."""
        self.dry = False
        """Whether the input is heard instead of the output: see `compare`."""
        self.dry_nodes: tuple[str, ...] = ()
        """Nodes that are bypassed for that."""
        self._match: float | None = None
        self._wet_since = 0
        self.gain = 0.0
        """Gain in dB of what is heard."""
        self._edit: Edit | None = None
        self._waiting: deque[Edit] = deque()
        self.memory = 0, 0
        """Bytes of the plan that are locked in memory, and that should be."""

    @property
    def _end(self) -> int:
        """Position at which the run ends; -1: never."""
        if self._seconds is not None:
            return max(1, round(self._seconds * self.plan.rate))
        if self.deck is not None and not self._stays:
            over = self._file_over if self.deck.length is None else self.deck.length
            if over is not None:
                return over + self.plan.latency + self.stream.latency
        return -1

    def start(self) -> None:
        """Fill the deck's tape, start the workers, then let the device call.

        `UserError` where a device with a clock is faster than the graph.
        """
        freewheel = getattr(self.device, "freewheel", False)
        if not freewheel:
            self.plan.check_pace()
        words = self.stream.words
        if self.deck is not None:
            words[FILE] = self.deck.address
            self.deck.fill()
            self._spawn(self._read, self.deck)
        for recording in self._recordings:
            self._begin_recording(recording)
        if not freewheel:
            limit_runaway(RUNAWAY)
            self._lock(self.stream)
            self.memory = self._lock(self.plan)
        self.plan.start(0)
        self.stream.begin(fade=isinstance(self.device, Losable))
        self.device.start(self.stream, self._end)
        if not freewheel:
            self._raise_workers(self.plan)
        self.observer.start()
        gc.freeze()  # What is here stays; so that to collect what an edit has left takes no time.

    def _lock(self, owner: Plan | Stream) -> tuple[int, int]:
        """Lock all memory of a plan or stream: see `lock_memory`."""
        self._locked[owner] = owner.arrays()
        return lock_memory(self._locked[owner])

    def _raise_workers(self, plan: Plan) -> None:
        """Give workers a priority just below the device thread's, and processes one less than their watch."""
        kind, priority = priority_of(self.stream.thread) if self.stream.thread else ("", 0)
        below = priority - 1 if kind in ("fifo", "rr") and priority > 1 else FIFO_PRIORITY - 1
        for segment in plan.segments:
            if isinstance(segment, RemoteSegment):
                level = max(1, below - 1)
                granted = segment.hurry(level)
            else:
                while segment.thread == 0:
                    time.sleep(0.001)
                level = below
                granted = raise_priority(segment.thread, level)
            segment.priority = level if granted else 0
            if not granted and not self._no_priority:
                self._no_priority = True
                self.notes.append("workers have no real-time priority: see 'rtaudio doctor'")
        if plan.watch_thread:
            raise_priority(plan.watch_thread, below)

    def _spawn(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(
            target=target, args=arguments, name=f"rtaudio{target.__name__}", daemon=True
        )
        thread.start()
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]

    def do_beside(self, work: Callable[[], None]) -> None:
        """Let a thread do what takes long; what it refuses is a problem, told. The host waits for its end."""

        def run() -> None:
            try:
                work()
            except UserError as error:
                self.problems.append(str(error))

        self._spawn(run)

    def _read(self, deck: Deck) -> None:
        """Keep the deck's tape full until the host closes."""
        try:
            deck.run(self._stop)
        finally:
            write_release(self.stream.words, FILE_ENDED, 1)

    def _begin_recording(self, recording: _Recording) -> None:
        ring = Ring(round(RECORD_SECONDS * self.plan.rate) * recording.file.channels)
        self._spawn(self._write, recording, ring)
        write_release(self.stream.words, recording.word, ring.address)

    def _write(self, recording: _Recording, ring: Ring) -> None:
        """Empty a ring into a recording until that, or the host, ends; after an error, into nothing.

        First it tells what recordings before have left in its folder.
        """
        file, failed = recording.file, False
        left = left_recordings(file.path.resolve().parent)
        self.notes.extend(line for line in left if line not in self.notes)
        while True:
            over = recording.until is not None and self.stream.callbacks > recording.until
            stopping = over or self._stop.is_set()
            taken = ring.pop(CHUNK * file.channels)
            if not taken.size:
                if stopping:
                    break
                self._stop.wait(IDLE)
            elif not failed:
                try:
                    file.write(np.ascontiguousarray(taken.reshape(-1, file.channels).T))
                except FileError as error:
                    failed = True
                    self.problems.append(f"the recording ended: {error}")
        if recording.until is not None:
            self._finish_recording(recording)
            if not failed:
                self.notes.append(f"recorded {file.samples / file.rate:.1f} s in {file.path}")

    def _finish_recording(self, recording: _Recording) -> None:
        """Commit what was recorded."""
        try:
            recording.file.close()
        except FileError as error:
            if not any(str(error) in problem for problem in self.problems):
                self.problems.append(str(error))

    def record(self, path: str | os.PathLike[str]) -> None:
        """Record what is heard from now on, until `end_recording` or the end of the host.

        Raises
        ------
        UserError
            It is being recorded already, no sound runs, or no such file can be made.
        """
        if not self.running:
            raise UserError("no sound runs: there is nothing to record")
        for recording in self._recordings:
            if recording.word == RECORD:
                raise UserError(f"{recording.file.path} is being recorded: 'record off' ends that")
        if self.deck is not None and same_file(self.deck.file.info.path, path):
            raise UserError(f"{path} is the input: record to another file")
        if os.path.lexists(path):
            raise UserError(f"{path} is there already: record to another file")
        file = AudioWriter(path, self.plan.rate, len(self.plan.heard))
        self._recordings.append(_Recording(RECORD, file))
        self._begin_recording(self._recordings[-1])

    def end_recording(self) -> AudioWriter:
        """End the recording of what is heard; its file is complete when the notes say so.

        `UserError` if there is none.
        """
        for recording in self._recordings:
            if recording.word == RECORD:
                write_release(self.stream.words, RECORD, 0)
                self._recordings.remove(recording)
                recording.until = self.stream.callbacks  # The one under way may still use the ring.
                return recording.file
        raise UserError("nothing is being recorded: 'record' begins")

    def compare(self, dry: bool, matched: bool = False) -> float:
        """Let the input be heard instead of what the nodes make of it, or that again; both are as late.

        Every node that is not bypassed is, until the other is heard again: no edit, nothing to be undone.

        Parameters
        ----------
        dry
            The input.
        matched
            At the loudness of the output: that of the last ten seconds, gated (ITU-R BS.1770-4), of both. It
            is raised by no more than its peaks allow for.

        Returns
        -------
        The gain in dB.

        Raises
        ------
        UserError
            One of the two was silent, so that there is no loudness to match.
        """
        if dry and not self.dry:
            self._measure_match()
        if dry and matched and self._match is None:
            raise UserError("'in' or 'out' was silent for the last seconds: there is no loudness to match")
        nodes = self.plan.graph.nodes
        for name in nodes if dry else self.dry_nodes:
            if name in nodes and (not dry or not nodes[name].bypass):
                self.bypass(name, dry)
                self.dry_nodes += (name,) * dry
        if self.dry and not dry:
            self.dry_nodes, self._wet_since = (), self.plan.position + self.plan.latency
        self.dry, self.gain = dry, self._match or 0.0 if dry and matched else 0.0
        self.stream.level[-1] = 10.0 ** (self.gain / 20.0)
        return self.gain

    def _measure_match(self) -> None:
        """By how many dB the output is louder than the input, since it was heard last, or as it was then."""
        seconds = min(LOUD_SECONDS, (self.plan.position - self._wet_since) / self.plan.rate)
        if self._match is not None and seconds < LEAST_LOUD_SECONDS:
            return
        try:
            look = Observation(os.getpid())
        except UserError:  # Nothing is shown of this host.
            return
        heard, loud = look.loudness("in", seconds), look.loudness("out", seconds)
        if not (math.isfinite(heard) and math.isfinite(loud)):
            self._match = None
            return
        peak = float(look.meters("in", 0).true_peak.max())
        self._match = min(loud - heard, -20.0 * math.log10(peak)) if loud > heard else loud - heard

    # ------------------------------------------------------------------------------------------ control

    def set(self, path: str, value: Value, at: int = NOW) -> None:
        """`Plan.set` of the plan that is heard, and of one that is in preparation."""
        self._set(("set", path, at), lambda plan: plan.set(path, value, at))

    def bypass(self, name: str, on: bool = True) -> None:
        """`Plan.bypass`, as `set`."""
        self._set(("bypass", name), lambda plan: plan.bypass(name, on))

    def mute(self, name: str, on: bool = True) -> None:
        """`Plan.mute`, as `set`."""
        self._set(("mute", name), lambda plan: plan.mute(name, on))

    def solo(self, name: str, on: bool = True) -> None:
        """`Plan.solo`, as `set`."""
        self._set(("solo", name), lambda plan: plan.solo(name, on))

    def _set(self, key: tuple[object, ...], change: Callable[[Plan], None]) -> None:
        edit = self._edit
        if edit is None or edit.plan is self.plan:
            change(self.plan)
            return
        with edit.lock:
            change(self.plan)
            edit.follow(key, change)

    def change(self, path: str, value: Value) -> Edit | None:
        """Change any parameter: at once if it is automatable, else by an edit that makes its node anew.

        The node's other values, switches and place stay; values that the engine does not have with the new
        one are gone. It and what comes after it are made anew, see `edit`. Returns at once: the edit is
        prepared in a thread of its own, and `poll` brings it to its end. There is one at a time, others wait;
        of several values for a parameter the last counts, and an edit that is on its way to another is given
        up. What has become of it is told in `notes`. A latency that changes moves the sound in time.

        Parameters
        ----------
        path
            ``"node.parameter"``; for a node inside of a composite, one that the composite has a parameter
            for.
        value
            In the parameter's unit.

        Returns
        -------
        The edit, to look at its ``done`` and ``error``; None if the value is set, or was before.

        Raises
        ------
        UserError
            Unknown node or parameter, a value out of range, or no sound runs.
        """
        if self.plan.parameter(path).automatable:
            self.set(path, value)
            return None
        if not self.running:
            raise UserError("no sound runs: there is nothing to edit")
        node, parameter = self.plan.owner(path)
        checked, path = parameter.checked(value, node.name), f"{node.name}.{parameter.id}"
        for edit in [edit for edit in self._waiting if edit.path == path]:
            self._waiting.remove(edit)
            edit.end(UserError(GIVEN_UP))
        if self._edit is not None and self._edit.path == path:
            self._edit.give_up()
        elif checked == self.plan.fixed(node.name, parameter.id):
            return None

        def make(graph: Graph) -> Graph:
            if node.name not in graph.nodes:
                raise UserError("there is no such node any more")
            return graph.replace(graph.nodes[node.name].changed(parameter.id, checked))

        title = f"set {path} {shown(checked)}"
        edit = Edit(make, None, title, path, shown(checked), partial(self.history.heard, title))
        self._waiting.append(edit)
        self._advance()
        return edit

    def submit(
        self,
        make: Callable[[Graph], Graph],
        title: str,
        heard: Callable[[Plan, Plan], None] | None = None,
    ) -> Edit:
        """Let another graph be heard from now on: as `edit`, but it returns at once, as `change` does.

        Parameters
        ----------
        make
            The new graph, of the one that is heard when the edit begins. Called in the edit's own thread.
        title
            What is done, in words: `notes` has it when it is heard, or cannot be.
        heard
            Called when it is heard, with the plan before and the one after it; None: it can be undone.

        Raises
        ------
        UserError
            ``make`` refuses the graph that is heard, or no sound runs.
        """
        if not self.running:
            raise UserError("no sound runs: there is nothing to edit")
        if not self.edits:
            make(self.plan.graph)
        edit = Edit(make, None, title, heard=heard or partial(self.history.heard, title))
        self._waiting.append(edit)
        self._advance()
        return edit

    def drop(self, edit: Edit) -> None:
        """Give an edit up that is not heard yet; one that is just being taken over is undone after it."""
        if edit in self._waiting:
            self._waiting.remove(edit)
            edit.end(UserError(GIVEN_UP))
        else:
            edit.unwanted = True
            edit.give_up()

    def edit(self, graph: Graph, burst: int | None = None) -> None:
        """Let another graph be heard from now on, with a crossfade.

        The new graph is prepared meanwhile, hears the last seconds of the input, and takes over at the start
        of a block, so that nothing starts from silence. Nodes that are the same in both, and hear the same,
        go on as if nothing had been (`rtaudio.succession`); of what others remember from before, and of
        changes that wait for their position, nothing is left. Returns when the fade is over and the old graph
        released.
        `Graph.insert` and `Graph.remove` make the new graph; nodes that both have keep their settings.
        ``burst`` is that of `Plan`; None: as it is.

        Raises
        ------
        UserError
            The graph has no main output, or another number of channels, or cannot catch up with the sound, or
            no sound runs, or another edit is under way. What is heard stays as it is.
        """
        if not self.running:
            raise UserError("no sound runs: there is nothing to edit")
        if self._edit is not None:
            raise UserError("another edit is under way: wait until it is heard")
        edit = Edit(lambda _: graph, burst)
        self._begin(edit)
        while not edit.done:
            time.sleep(0.001)
            self._watch_device()
            self._advance()
        if edit.error is not None:
            raise edit.error

    @property
    def recordings(self) -> list[AudioWriter]:
        """What is written of the output: none, or one."""
        return [recording.file for recording in self._recordings if recording.word == RECORD]

    @property
    def loaded(self) -> Loaded:
        """The rack that the graph comes from, and the controllers that move it; to be set."""
        return self.rack, () if self.midi is None else tuple(self.midi.bindings)

    @loaded.setter
    def loaded(self, loaded: Loaded) -> None:
        self.rack, bindings = loaded
        if self.midi is not None:
            self.midi.bindings = list(bindings)

    @property
    def edits(self) -> list[Edit]:
        """The edit that is under way, and those that wait."""
        return [*filter(None, [self._edit]), *self._waiting]

    def _set_end(self) -> None:
        """Tell a device without a clock when the run ends: after an edit, or a change on the deck."""
        if isinstance(self.device, NullDevice):
            self.device.until(self._end)

    def _take_turn(self, edit: Edit) -> None:
        """Begin an edit, or do it, where that needs no new plan."""
        try:
            if edit.turn():
                self._begin(edit)
                return
            error = None
        except UserError as wrong:
            error = wrong
        edit.end(error)

    def queue(self, edit: Edit, first: bool = False) -> None:
        """Let an edit be heard after those that wait, or before them."""
        if not self.running:
            raise UserError("no sound runs: there is nothing to edit")
        (self._waiting.appendleft if first else self._waiting.append)(edit)
        self._advance()

    def _begin(self, edit: Edit) -> None:
        """Prepare an edit in a thread of its own; `_advance` brings it to its end."""
        self._edit = edit
        edit.thread = threading.Thread(
            target=self._prepare, args=(edit, self.plan), name="rtaudio-edit", daemon=True
        )
        edit.thread.start()

    def _advance(self) -> None:
        """Look what has become of an edit, and begin the next one that waits."""
        edit, words = self._edit, self.stream.words
        if edit is None:
            while self._waiting and self.running and self._edit is None:
                self._take_turn(self._waiting.popleft())
            return
        if edit.plan is not self.plan:
            edit.follow_up()
        if edit.plan is not None and read_acquire(words, TURN) == DONE:
            edit.plan.succeed(self.plan)
            edit.leaving, self.plan, self.stream.plan = self.plan, edit.plan, edit.plan
            for plan in (edit.plan, edit.leaving):
                if plan in self._locked:
                    self._locked[plan] = plan.arrays()
            write_release(words, TURN, NO_TURN)
            self._set_end()
            edit.heard(edit.leaving, self.plan)
            edit.turned.set()
        if not self.running:
            edit.give_up()
            if read_acquire(words, TURN) == TAKEN_OVER and not edit.done:  # The callback may be in it.
                edit.end(UserError("the sound ended before the edit was heard"))
        if edit.thread is not None and not edit.thread.is_alive():
            self._finish(edit)

    def _finish(self, edit: Edit) -> None:
        """After the end of an edit's thread: count and tell what is heard now."""
        self._edit = None
        self.observer.keep(self.plan)
        try:
            self._tell(edit)
        finally:
            edit.end(edit.error)
            edit.plan = edit.leaving = None
        gc.collect()  # Its memory, which a plan that nothing refers to any more still holds.
        trim_memory()

    def _tell(self, edit: Edit) -> None:
        """Count and tell what is heard now."""
        old, new = edit.leaving, self.plan
        if old is not None and edit.plan is new:
            for name in set(old.sections()) - set(new.sections()):
                self.counters.drop(name)
            new.count_in(self.counters)
            self.counters.words[EDITS] += 1
            self.memory = edit.memory
            self._watches.clear()
            moved = f", latency {old.latency} -> {new.latency} samples" * (new.latency != old.latency)
            if edit.title:
                self.notes.append(f"{f'{edit.path} is {edit.value}' if edit.path else edit.title}{moved}")
            if edit.unwanted and self.running and not self._closed:
                self.history.take_back(edit)
        elif edit.title and not edit.path and not edit.given_up:
            self.notes.append(f"{edit.title}: {reason(edit.error)}")
            edit.failed()
        elif edit.path and not edit.given_up:
            name, _, parameter = edit.path.rpartition(".")
            value = new.fixed(name, parameter)
            stays = "" if value is None else f" stays {shown(value)}"
            self.notes.append(f"{edit.path}{stays}: {reason(edit.error).removeprefix(f'{name}: ')}")

    def _prepare(self, edit: Edit, old: Plan) -> None:
        """The thread of an edit: until the new plan is heard, and what goes is released."""
        try:
            self._offer(edit, old)
        except Exception as error:
            edit.error = error
            if edit.plan is not None:
                self._release(edit.plan)
            forget(error)
            return
        edit.turned.wait()
        if edit.leaving is not None:
            self._release(edit.leaving)

    def _offer(self, edit: Edit, old: Plan) -> None:
        """Make the plan of an edit, and let it catch up with the sound and be taken over; or `UserError`."""
        words, history, block = self.stream.words, self.stream.history, old.block
        burst = edit.burst or old.burst
        graph = edit.make(old.graph)
        compile_apart(graph, old.rate, block, old.channels, lambda: edit.given_up)
        new = Plan(graph, old.rate, block, old.channels, lane=old.lane, burst=burst)
        edit.plan = new
        if edit.given_up:
            raise UserError(GIVEN_UP)
        check_heard(new)
        shares = new.check_pace()
        if len(new.heard) != len(old.heard):
            has = f"{len(new.heard)} channels come out, not {len(old.heard)}"
            raise UserError(f"{has}: a live edit keeps their number")
        self.observer.watch(new)
        edit.catch_up(old)
        paced = old in self._locked
        if paced:
            edit.memory = self._lock(new)
        warm_up()
        pre_roll(words, new.words, history, edit.stop, 0, False)  # Compiles, and returns at once.
        wanted = max(new.latency, round(old.rate * to_play(shares, len(os.sched_getaffinity(0)))))
        blocks = min(int(PRE_ROLL * history.shape[1]) // block, -(-wanted // block))
        end = int(read_acquire(words, HISTORY_END))
        new.start(max(0, end - blocks * block))
        new.keep(old)
        words[NEXT], words[NEXT_AFTER] = new.words.ctypes.data, new.latency if new.keeps else 0
        limit, began = round(EDIT_LIMIT * 1e9), time.monotonic_ns()
        late = TOO_HEAVY if paced else NO_CLOCK
        caught_up = pre_roll(words, new.words, history, edit.stop, limit, False)
        if caught_up:
            if paced:
                self._raise_workers(new)
            calls, left = self.stream.callbacks, max(limit // 10, limit - (time.monotonic_ns() - began))
            if pre_roll(words, new.words, history, edit.stop, left, True):
                return
            late = STANDS_STILL if self.stream.callbacks == calls else late
        raise UserError(GIVEN_UP if edit.given_up else late)

    def _end_edits(self) -> None:
        """Give up what is not heard. Only while nothing calls, unless it hangs."""
        while self._waiting:
            self._waiting.pop().end(UserError(GIVEN_UP))
        edit = self._edit
        if edit is None or edit.thread is None:
            return
        edit.give_up()
        self._advance()
        if not edit.turned.is_set():
            if not self._hanging:
                edit.leaving = edit.plan
            edit.error = edit.error or UserError(GIVEN_UP)
            edit.turned.set()
        edit.thread.join(CLOSE_LIMIT)
        if self._edit is not edit:
            return
        if edit.thread.is_alive():  # It gives up, and releases what it has made, once that is loaded.
            self._edit = None
            edit.end(UserError(GIVEN_UP))
            what = edit.name or "an edit"
            self.problems.append(f"{what} still loads: it is not waited for")
        else:
            self._finish(edit)

    def _release(self, plan: Plan) -> None:
        """Close a plan that nothing calls any more."""
        arrays = self._locked.pop(plan, [])
        if plan.close():
            self.problems += plan.said()
            unlock_memory(arrays)
            trim_memory()
            for segment in plan.segments:
                self._progress.pop(segment.thread, None)
        else:
            _kept.append(plan)

    @property
    def running(self) -> bool:
        """Whether sound runs."""
        if self._end >= 0 and self.plan.position >= self._end:
            return False
        if self._hanging:
            return False
        gone = isinstance(self.device, Losable) and self.device.lost
        return self._standby is not None or self.device.running or gone

    def poll(self) -> None:
        """Watch over nodes, workers, the device and edits: call this several times a second."""
        self._advance()
        self._watch_nodes()
        self._watch_workers()
        self._watch_callback()
        self.problems += self.plan.said()
        self.plan.collect()
        self._watch_deck()
        self._watch_device()

    def _watch_deck(self) -> None:
        """End the run after the file where its length is not known beforehand."""
        if (
            self.deck is not None
            and self.deck.length is None
            and self.deck.ended != (self._file_over is not None)
        ):
            self._file_over = self.plan.position if self._file_over is None else None
            self._set_end()

    def _watch_nodes(self) -> None:
        """Give a node that failed a new state, and try it again after a while."""
        now = time.monotonic()
        for name in self.plan.failed():
            watch = self._watches.setdefault(name, _Watch())
            if not watch.waiting:
                watch.begin(now)
                reason = self.plan.reason(name)
                failed = f"{name} failed ({reason})" if reason else f"{name} failed"
                self.problems.append(f"{failed} and is bypassed; tried again in {watch.delay:g} s")
            elif now >= watch.due:
                with suppress(UserError):  # the command ring is full: next time
                    self.plan.rearm(name)
                    watch.waiting = False

    def _watch_workers(self) -> None:
        """Look which workers hang, and who has computed for so long that its priority is gone.

        A worker that was only behind gets it back when it has caught up.
        """
        now = time.monotonic()
        for segment in self.plan.segments:
            if not isinstance(segment, RemoteSegment):  # The pool watches processes.
                self._watch_progress(segment, now)
            self._watch_priority(segment, now)
        thread = self.stream.thread
        if self._hanging:
            return
        if thread and is_real_time(thread):
            self._real_time = thread
        elif thread and thread == self._real_time:
            self._real_time = 0
            self.problems.append(f"the callback computed for {RUNAWAY:g} s: it has lost its priority")

    def _watch_progress(self, segment: Segment, now: float) -> None:
        """Take a worker that hangs off its priority; what it should make stays bypassed."""
        published, done = segment.progress
        before, since = self._progress.get(segment.thread, (-1, now))
        if done != before or done == published:
            self._progress[segment.thread] = done, now
            if segment.hangs:
                segment.hangs = False
                self.problems.append(f"the worker of {segment.shown} goes on")
        elif now - since > HANG and not segment.hangs:
            segment.hangs = True
            demote(segment.thread)
            self.problems.append(f"the worker of {segment.shown} hangs: bypassed, its priority taken")

    def _watch_priority(self, segment: Segment, now: float) -> None:
        """Give a worker its priority back that has caught up, the later the more often it has lost it."""
        if not segment.has_lost_priority:
            return
        watch = self._behind.setdefault(segment, _Watch())
        if not watch.waiting:
            watch.begin(now)
            if not segment.hangs:
                self.problems.append(
                    f"the worker of {segment.shown} has more work than time: it has no priority until it has "
                    "caught up"
                )
        elif now >= watch.due and segment.rests:
            watch.waiting = False
            limit_runaway(RUNAWAY)
            segment.restore_priority()
            self.notes.append(f"the worker of {segment.shown} has caught up, and has its priority back")

    def _watch_callback(self) -> None:
        """Tell when the callback takes longer than there is time, and which node takes most of it."""
        now, position, plan = time.monotonic(), self.plan.position, self.plan
        begin, before, spent = self._spent
        if now - begin < OVERLOAD and plan is spent.plan:
            return
        words = self.counters.words
        found = _Spent(plan, spent_s(words[TIMES : TIMES + TIME_BINS]), plan.callback_seconds())
        self._spent = now, position, found
        seconds = (position - before) / plan.rate
        if plan is not spent.plan or seconds <= 0 or getattr(self.device, "freewheel", False):
            return
        share = (found.all - spent.all) / seconds
        if share > 1.0 and not self._overloaded:
            shares = {name: (took - spent.nodes[name]) / seconds for name, took in found.nodes.items()}
            most = max(shares, key=shares.__getitem__, default="")
            named = f", {most} alone {100 * shares[most]:.0f} %" if most else ""
            self.problems.append(
                f"the callback takes {100 * share:.0f} % of the time that there is{named}: sound breaks up; "
                "take larger blocks, or let what is expensive run on a worker, with lane=1"
            )
        self._overloaded = share > (RELIEF if self._overloaded else 1.0)

    def _watch_device(self) -> None:
        """Keep the graph running on the null device while the sound card is gone, and go back to it."""
        paced = self._standby or self.device
        if isinstance(paced, NullDevice) and not paced.freewheel and self._is_silent():
            self._hangs()
        if self._hanging:
            return
        if isinstance(self.device, Losable) and self._standby is None and self.device.lost:
            self._lose(self.device)
        if self._edit is not None:
            return  # What follows may take an edit: after the one under way.
        if isinstance(self.device, Losable) and self._standby is not None:
            if time.monotonic() >= self._next_look:
                self._look_for(self.device, self._standby)
                self._next_look = time.monotonic() + RETURN
        elif self.stream.words[FLAGGED] or self.device.period != self._period:
            try:
                self._adapt()
            except UserError as error:  # Sound goes on: workers may be late.
                self.problems.append(f"the device calls in other blocks now, but {error}")
            self.stream.words[FLAGGED] = 0

    def _lose(self, device: Losable) -> None:
        """Give up the sound card, and let the null device call."""
        if not device.abandon():
            self._hangs()
            return
        self._standby = NullDevice()
        self.stream.begin(fade=False)
        self._standby.start(self.stream)
        self._next_look = time.monotonic() + RETURN
        self.counters.words[LOSSES] += 1
        self.problems.append("the device is gone; the graph runs on without it until it is back")

    def _is_silent(self) -> bool:
        """Whether no call has come back for `HANG` seconds; the time between two looks counts in part."""
        now, calls = time.monotonic(), self.stream.callbacks
        self._silent = 0.0 if calls != self._calls else self._silent + min(now - self._looked, HANG / 2)
        self._calls, self._looked = calls, now
        period = self.plan.block / self.plan.rate
        return self._silent > HANG + 2 * period and (self._standby or self.device).running

    def _hangs(self) -> None:
        """The callback does not return: no other may call, and what it uses is never freed."""
        if self._hanging:
            return
        self._hanging = True
        demote(self.stream.thread)
        _kept.extend((self.plan, self.stream, self.deck, *(edit.plan for edit in self.edits)))
        self.problems.append("a node in the callback does not return: the sound has ended")

    def _look_for(self, device: Losable, standby: NullDevice) -> None:
        """Go back to the sound card if it is there; only one device calls at a time."""
        try:
            if not device.reopen():
                return
            self._adapt()
            standby.stop()
            self.stream.begin(fade=True)
            device.start(self.stream)
            self._standby = None
            self.notes.append("the device is back")
        except UserError as error:
            if not standby.running:
                self.stream.begin(fade=False)
                standby.start(self.stream)
            if str(error) not in " ".join(self.problems):
                self.problems.append(f"the device is back, but {error}")

    def _adapt(self) -> None:
        """Prepare re-blocking, and the workers, for the length in which the device calls now.

        `UserError` where the workers cannot be: they are as they were.
        """
        period, before = self.device.period, self.stream.latency + self.plan.latency
        self._period = period
        self.stream.adapt(period)
        burst = burst_of(period, self.plan.block, int(self.stream.words[LONGEST_CALL]))
        try:
            if self.plan.segments and burst != self.plan.burst:
                self.edit(self.plan.graph, burst)
        except Exception as error:
            raise UserError(reason(error)) from None
        finally:
            total = self.stream.latency + self.plan.latency
            if total != before:
                now = f"of {period} samples" if period else "of any length"
                self.problems.append(f"the device now calls in blocks {now}: latency is {total} samples")

    def statistics(self) -> dict[str, Any]:
        """`rtaudio.counters.report`, and what the device adds to it."""
        self.plan.collect()
        found = report(self.counters.words) | self.device.statistics()
        found["placement"] = self.plan.placement()
        found["compute"] = self.plan.compute()
        if self.midi is not None:
            found["midi"] = self.midi.statistics()
        found["locked_bytes"], found["lockable_bytes"] = self.memory
        found["problems"] = list(self.problems)
        return found

    def close(self) -> None:
        """Stop the device, the workers, then the file threads; commit recordings; release the plan.

        Closing again does nothing.
        """
        if self._closed:
            return
        self._closed = True
        if not (self._standby or self.device).stop():
            self._hangs()
        self._end_edits()
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.deck is not None:
            self.deck.close()
        for recording in self._recordings:
            self._finish_recording(recording)
        self.observer.close()
        if not self._hanging:
            self._release(self.plan)
            unlock_memory(self._locked.pop(self.stream, []))
        lift_limit()
        gc.unfreeze()
        self.counters.close()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def burst_of(period: int | None, block: int, longest: int = 0) -> int:
    """Blocks that a device which calls in ``period`` samples may ask for at once.

    Where it varies (0), after a call of ``longest`` samples; two to begin with.
    """
    if period is None:
        return 1
    return -(-period // block) or max(2, -(-(longest + block - 1) // block))


def check_heard(plan: Plan) -> None:
    """Refuse a plan without a main output."""
    if MAIN not in plan.outputs:
        others = ", ".join(f"out.{name}" for name in plan.outputs)
        raise UserError(f"nothing to hear: only {others} is connected; add an edge '... -> out', or render")
