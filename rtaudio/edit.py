"""Edits: a graph that is to be heard, made ready beside the sound.

A thread of the host makes the new plan and plays past input to it, faster than it came. Once that has caught
up with the sound the callback takes it over, in a crossfade. What is set meanwhile is set in both plans.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from traceback import clear_frames
from typing import Any

import numpy as np

from rtaudio.errors import UserError
from rtaudio.executor import CONTEXT, run_block
from rtaudio.graph import Graph
from rtaudio.kernel import channel, ring_read
from rtaudio.lanes import all_rest, await_slots
from rtaudio.native import (
    compiled,
    exchange,
    int64_at,
    load_acquire,
    now_ns,
    sleep_until_ns,
    store_release,
    write_release,
)
from rtaudio.plan import IN, N_SEGMENTS, NOW, SEGMENTS, NoRoomError, Plan
from rtaudio.processor import Value
from rtaudio.stream import BLOCK, HISTORY_END, NEXT_AT, NO_TURN, OFFERED, TURN

EDIT_LIMIT = 10.0
"""Seconds after which an edit is given up: the new graph cannot catch up with the sound."""
PRE_ROLL = 0.75
"""Share of the kept input that an edit plays to the new graph before it is heard, at most."""
CATCH_UP = 0.25
"""Share of `EDIT_LIMIT` that playing it may take, as far as is known beforehand."""
TAKE_OVER_WAIT = 50_000
"""Nanoseconds between two looks whether the callback has taken a plan over."""
STOP_WAIT = 20_000_000
"""Nanoseconds of waiting for workers between two looks whether to give up."""
REST_AFTER, REST = 10_000_000, 200_000
"""Nanoseconds after which workers get a rest, and of that: real-time threads that never pause are taken to
run away, and keep others of their priority from running."""


@compiled
def pre_roll(stream: Any, plan: Any, history: Any, stop: Any, limit: int, offer: bool) -> bool:
    """Play past input to a plan until it has caught up with the sound; then ``offer`` it to the callback.

    Returns True when it has caught up, or the callback has taken it over if it is offered; False where that
    is not possible within ``limit`` ns, or ``stop`` is not 0 any more.
    """
    n, deadline = stream[BLOCK], now_ns() + limit
    rest = now_ns() + REST_AFTER
    segments = int64_at(plan[SEGMENTS], plan[N_SEGMENTS])
    at = int64_at(plan[CONTEXT], 1)[0]
    while now_ns() < deadline and load_acquire(stop, 0) == 0:
        if not await_slots(segments, at, now_ns() + STOP_WAIT):
            continue
        if now_ns() > rest:
            resting = all_rest(segments)
            sleep_until_ns(now_ns() + REST)
            if resting:
                rest = now_ns() + REST_AFTER
            continue
        end = load_acquire(stream, HISTORY_END)
        if at < end:
            for c in range(history.shape[0]):
                ring_read(history[c], at, channel(plan[IN], c, n), n)
            if load_acquire(stream, HISTORY_END) + n - at > history.shape[1]:
                return False
            run_block(plan, n)
            at += n
            continue
        if not offer:
            return True
        stream[NEXT_AT] = at
        store_release(stream, TURN, OFFERED)
        while load_acquire(stream, HISTORY_END) == at and load_acquire(stream, TURN) == OFFERED:
            if now_ns() > deadline or load_acquire(stop, 0) != 0:
                break
            sleep_until_ns(now_ns() + TAKE_OVER_WAIT)
        if not exchange(stream, TURN, OFFERED, NO_TURN):
            return True
    return False


def to_play(shares: Sequence[float], processors: int) -> float:
    """Seconds of past input that a plan can be played without running out of time.

    Parameters
    ----------
    shares
        Of real time, that its callback and each of its workers need, see `Plan.check_pace`.
    processors
        Of the machine; half of them are taken to be busy with what is heard.
    """
    share = max(*shares, 2.0 * sum(shares) / processors)
    return CATCH_UP * EDIT_LIMIT * (1.0 - share) / share if share > 0.0 else EDIT_LIMIT


class Edit:
    """An edit on its way, and what has become of it.

    Parameters
    ----------
    make
        The new graph, of the one that is heard when the edit begins. Called in the edit's own thread.
    burst
        That of the new plan; None: as it is.
    title
        What is done, in words; empty: nothing that a user has asked for.
    path, value
        The parameter that it changes, ``"node.parameter"``, and to what, in words; empty: it changes others.
    heard
        Called by control when it is heard, with the plan before and the one after it.

    Attributes
    ----------
    done : bool
        Whether it is over.
    error : Exception or None
        Why it is not heard: the sound is as it was.
    unwanted : bool
        Whether it is to be undone if it is heard.
    """

    def __init__(
        self,
        make: Callable[[Graph], Graph],
        burst: int | None = None,
        title: str = "",
        path: str = "",
        value: str = "",
        heard: Callable[[Plan, Plan], None] = lambda old, new: None,
    ) -> None:
        self.make, self.burst, self.title, self.path, self.value = make, burst, title, path, value
        self.heard = heard
        self.failed: Callable[[], None] = lambda: None
        """Called by control when it cannot be heard."""
        self.turn: Callable[[], bool] = lambda: True
        """Called when its turn comes: False where that has done it, and no new plan is needed."""
        self.listens = ""
        """Name of the node that it puts in to listen through: that is no step of the history."""
        self.of_history = False
        """Whether it undoes something, or does it again."""
        self.plan: Plan | None = None
        """The new plan, once there is one."""
        self.leaving: Plan | None = None
        """The plan that the thread releases after `turned`."""
        self.memory = 0, 0
        """`Host.memory` once it is heard."""
        self.turned = threading.Event()
        """Set when control knows which plan goes."""
        self.thread: threading.Thread | None = None
        self.error: Exception | None = None
        self.done = self.unwanted = False
        self.stop = np.zeros(1, np.int64)
        """1: give it up."""
        self.lock = threading.Lock()
        """Held while both plans, or the new one, are set."""
        self._changes: dict[tuple[object, ...], Callable[[Plan], None]] = {}
        self._follows = False

    def give_up(self) -> None:
        """Drop it, unless it has been taken over."""
        write_release(self.stop, 0, 1)

    def end(self, error: Exception | None) -> None:
        """It is over."""
        self.error, self.done = error, True

    @property
    def name(self) -> str:
        """What is on its way, in words; empty: nothing that a user has asked for."""
        return f"{self.path} {self.value}" if self.path else self.title

    @property
    def given_up(self) -> bool:
        """Whether it is to be dropped."""
        return bool(self.stop[0])

    def follow(self, key: tuple[object, ...], change: Callable[[Plan], None]) -> None:
        """Change the new plan as the one that is heard; with `lock` held.

        Before the new plan is there, or while it has no room, changes are kept in their order: the last one
        of each ``key``.
        """
        self._changes.pop(key, None)
        self._changes[key] = change
        self._send()

    def follow_up(self) -> None:
        """Change the new plan by what is kept, as far as it is there and has room."""
        with self.lock:
            self._send()

    def catch_up(self, old: Plan) -> None:
        """Set in the new plan what was set in the old one, and the graph does not hold."""
        with self.lock:
            for path, value in list(old.inside.items()):
                self._changes.setdefault(
                    ("set", path, NOW),
                    lambda plan, path=path, value=value: plan.set(path, value),  # type: ignore[misc]
                )
            self._follows = True
            self._send()

    def _send(self) -> None:
        while self._follows and self.plan is not None and self._changes:
            key, change = next(iter(self._changes.items()))
            try:
                change(self.plan)
            except NoRoomError:
                return
            except UserError:
                pass  # What it was set in is gone.
            del self._changes[key]


def forget(error: BaseException | None) -> None:
    """Let go of what an error's frames hold: a whole plan, which would stay until the collector comes."""
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__context__


def reason(error: BaseException | None) -> str:
    """Why an edit is not heard, in a line."""
    known = isinstance(error, UserError)
    return " ".join(f"{'' if known else f'{type(error).__name__}: '}{error}".split())


def shown(value: Value) -> str:
    """A parameter's value as a line shows it."""
    return f"{value:g}" if isinstance(value, float) else str(value) or "''"
