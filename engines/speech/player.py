"""A queue of texts, played on a device."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from engines.speech.source import Queue, source_of
from rtaudio import cli
from rtaudio.devices import open_output
from rtaudio.errors import UserError
from rtaudio.graph import MAIN, Graph, Node
from rtaudio.host import Host, burst_of
from rtaudio.null import can_pace
from rtaudio.plan import Plan

if TYPE_CHECKING:
    from engines.speech.reading import Reading

LOOK = 0.02
"""Seconds between two looks at the sound."""


class Player:
    """Plays readings, one after the other; silence between them.

    Parameters
    ----------
    api, device, block
        Of the command line: what to play through, the output's name, samples per block.
    first
        Makes a reading, which begins while the graph is made ready; see `Queue.add`.

    Raises
    ------
    UserError
        There is no such device, or no sound on this system.
    """

    def __init__(
        self,
        api: str,
        device: str | None,
        block: int | None,
        first: Callable[[], Reading] | None = None,
    ) -> None:
        if not can_pace():
            raise UserError("to play needs Linux (clock_nanosleep): write a file with -o")
        self.queue = Queue()
        with ExitStack() as stack:
            stack.callback(self.queue.close)
            opened, outputs = open_output(api, device, 1)
            rate = opened.rate or 48_000
            block = block or opened.period or 128
            self.queue.open(rate)
            if first is not None:
                self.queue.add(first)
            graph = Graph([Node("say", source_of(self.queue))], [f"say -> out.{MAIN}"])
            with cli.compiling():
                plan = Plan(graph, rate, block, 1, lane=0, burst=burst_of(opened.period, block))
            stack.callback(plan.close)
            self.host = stack.enter_context(Host(plan, opened, inputs=[], outputs=outputs))
            self.queue.wait_ready()
            self.host.start()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def described(self) -> str:
        """The line that says that sound runs."""
        report, plan = self.host.statistics(), self.host.plan
        where = f"{report['api']} {report.get('output', '')}".strip()
        return f"READY {where}, {plan.rate} Hz, block {plan.block}"

    def watch(self) -> bool:
        """Look after the host, for whoever waits; whether sound runs. Takes a moment."""
        time.sleep(LOOK)
        self.host.poll()
        return self.host.running

    def drain(self) -> None:
        """Wait until what was played last is heard."""
        late = self.host.statistics()["latency"]["total"] / self.host.plan.rate
        until = time.monotonic() + LOOK + late
        while time.monotonic() < until and self.watch():
            pass

    def close(self) -> None:
        """End the sound. Closing again does nothing."""
        self._stack.close()
