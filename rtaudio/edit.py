"""Edits: a graph that is to be heard, made ready beside the sound.

A thread of the host makes the new plan and plays past input to it, faster than it came. Once that has caught
up with the sound the callback takes it over, in a crossfade. What is set meanwhile is set in both plans.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from traceback import clear_frames
from typing import Any

import numpy as np

from rtaudio.errors import UserError
from rtaudio.executor import CONTEXT, run_block
from rtaudio.graph import Graph
from rtaudio.kernel import channel, ring_read
from rtaudio.lanes import await_slots
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
from rtaudio.plan import IN, N_SEGMENTS, SEGMENTS, Plan
from rtaudio.processor import Value
from rtaudio.stream import BLOCK, HISTORY_END, NEXT_AT, NO_TURN, OFFERED, TURN

EDIT_LIMIT = 10.0
"""Seconds after which an edit is given up: the new graph cannot catch up with the sound."""
PRE_ROLL = 0.75
"""Share of the kept input that an edit plays to the new graph before it is heard."""
TAKE_OVER_WAIT = 50_000
"""Nanoseconds between two looks whether the callback has taken a plan over."""
STOP_WAIT = 20_000_000
"""Nanoseconds of waiting for workers between two looks whether to give up."""


@compiled
def pre_roll(stream: Any, plan: Any, history: Any, stop: Any, limit: int) -> bool:
    """Play past input to a plan until it has caught up with the sound, and offer it to the callback.

    Returns True when the callback has taken it over; False where that is not possible within ``limit`` ns, or
    ``stop`` is not 0 any more.
    """
    n, deadline = stream[BLOCK], now_ns() + limit
    segments = int64_at(plan[SEGMENTS], plan[N_SEGMENTS])
    at = int64_at(plan[CONTEXT], 1)[0]
    while now_ns() < deadline and load_acquire(stop, 0) == 0:
        if not await_slots(segments, at, now_ns() + STOP_WAIT):
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
        stream[NEXT_AT] = at
        store_release(stream, TURN, OFFERED)
        while load_acquire(stream, HISTORY_END) == at and load_acquire(stream, TURN) == OFFERED:
            if now_ns() > deadline or load_acquire(stop, 0) != 0:
                break
            sleep_until_ns(now_ns() + TAKE_OVER_WAIT)
        if not exchange(stream, TURN, OFFERED, NO_TURN):
            return True
    return False


class Edit:
    """An edit on its way, and what has become of it.

    Parameters
    ----------
    make
        The new graph, of the one that is heard when the edit begins. Called in the edit's own thread.
    burst
        That of the new plan; None: as it is.
    path, value
        The parameter that it changes, ``"node.parameter"``, and to what, in words; empty: it changes others.

    Attributes
    ----------
    done : bool
        Whether it is over.
    error : Exception or None
        Why it is not heard: the sound is as it was.
    """

    def __init__(
        self, make: Callable[[Graph], Graph], burst: int | None = None, path: str = "", value: str = ""
    ) -> None:
        self.make, self.burst, self.path, self.value = make, burst, path, value
        self.plan: Plan | None = None
        """The new plan, once there is one."""
        self.leaving: Plan | None = None
        """The plan that the thread releases after `turned`."""
        self.turned = threading.Event()
        """Set when control knows which plan goes."""
        self.thread: threading.Thread | None = None
        self.error: Exception | None = None
        self.done = False
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
    def given_up(self) -> bool:
        """Whether it is to be dropped."""
        return bool(self.stop[0])

    def follow(self, key: tuple[object, ...], change: Callable[[Plan], None]) -> None:
        """Change the new plan as the one that is heard; with `lock` held.

        Before the new plan is there, the change is kept: the last one of each ``key``.
        """
        if self._follows and self.plan is not None:
            with suppress(UserError):  # what it was set in is gone
                change(self.plan)
        else:
            self._changes.pop(key, None)
            self._changes[key] = change

    def catch_up(self, old: Plan) -> None:
        """Set in the new plan what was set in the old one, and the graph does not hold."""
        with self.lock:
            self._follows = True
            for path, value in list(old.inside.items()):
                self.follow((), lambda plan, path=path, value=value: plan.set(path, value))  # type: ignore[misc]
            for change in self._changes.values():
                self.follow((), change)
            self._changes.clear()


def forget(error: BaseException | None) -> None:
    """Let go of what an error's frames hold: a whole plan, which would stay until the collector comes."""
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__context__


def shown(value: Value) -> str:
    """A parameter's value as a line shows it."""
    return f"{value:g}" if isinstance(value, float) else str(value) or "''"
