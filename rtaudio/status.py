"""What a running host does, on a terminal: meters of its views, load, misses and what is bypassed."""

from __future__ import annotations

import sys
import time

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rtaudio.cli import one_line
from rtaudio.errors import UserError
from rtaudio.observation import ROWS, Observation, decibels, frequencies

REFRESH = 0.1
"""Seconds between two pictures."""
METER_FLOOR = -60.0
"""dB at the left end of a meter."""
METER_CELLS = 24
STEPS = " ▁▂▃▄▅▆▇█"
SPECTRUM_CELLS = 64
SPECTRUM_FLOOR = -96.0
"""dB of an empty cell of a spectrum."""
SEARCH = 1.0
"""Seconds that a host which has ended has for another to take its place."""


def level(linear: float) -> float:
    """DB of a magnitude; minus infinity for 0."""
    return float(20.0 * np.log10(linear)) if linear > 0.0 else -np.inf


def meter(rms: float, peak: float) -> Text:
    """A bar up to the RMS, and a mark at the peak; both linear, red where full scale is passed."""
    shares = (max(0.0, min(1.0, 1.0 - level(each) / METER_FLOOR)) for each in (rms, peak))
    bar, mark = (round(share * METER_CELLS) for share in shares)
    line = list("━" * bar + " " * (METER_CELLS - bar))
    if mark:
        line[mark - 1] = "┃"
    return Text("".join(line), style="red" if peak > 1.0 else "green")


def spectrum(column: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> str:
    """A column as a line of `SPECTRUM_CELLS` cells, from the lowest frequency to the highest."""
    loudest = decibels(column).reshape(SPECTRUM_CELLS, ROWS // SPECTRUM_CELLS).max(axis=1)
    places = np.round((loudest / -SPECTRUM_FLOOR + 1.0) * (len(STEPS) - 1)).clip(0, len(STEPS) - 1)
    return "".join(STEPS[int(place)] for place in places)


def spectrum_line(seen: Observation, view: str) -> str:
    """The newest column of a view with its ends in Hz. `UserError` if there is no such view."""
    found = seen.views().get(view)
    _, columns = seen.columns(view, found.position - 2 * seen.hop if found else 0)
    ends = frequencies(seen.rate)[[0, -1]]
    cells = spectrum(columns[-1]) if len(columns) else " " * SPECTRUM_CELLS
    return f"{view}: {ends[0]:.0f} Hz {cells} {ends[1]:.0f} Hz"


def picture(seen: Observation, since: dict[str, int], view: str | None = None) -> Group:
    """What is seen now.

    Parameters
    ----------
    since
        Position up to which a view has been shown, by name; brought up to date.
    view
        The view whose spectrum is shown too.
    """
    counted = seen.counters()
    bypassed = ", ".join(map(one_line, counted["bypassed"]))
    head = (
        f"host {seen.pid}: {counted['rate']} Hz, blocks of {counted['block']}, latency "
        f"{counted['latency']['total']} samples, {counted['seconds']:.1f} s\n"
        f"load {100 * counted['load']:.1f} %, xruns {counted['xruns']}, misses {counted['misses']}"
        f"{f', bypassed: {bypassed}' if bypassed else ''}"
    )
    table = Table(box=None, pad_edge=False)
    for name in ("", "", "peak", "true peak", "RMS", "LUFS", "clipped"):
        table.add_column(name, justify="left" if not name else "right")
    for name in seen.views():
        found = seen.meters(name, since.get(name))
        since[name] = found.position
        for channel, peak in enumerate(found.peak):
            levels = (level(float(each)) for each in (peak, found.true_peak[channel], found.rms[channel]))
            table.add_row(
                Text("" if channel else one_line(name)),
                meter(float(found.rms[channel]), float(peak)),
                *(f"{each:.1f}" for each in levels),
                "" if channel else f"{found.loudness:.1f}",
                str(found.clipped[channel]),
            )
    return Group(Text(head), table, Text(spectrum_line(seen, view) if view is not None else ""))


def watch(pid: int | None, view: str | None = None) -> None:
    """Show a host until Ctrl-C, and one that takes its place.

    Parameters
    ----------
    pid, view
        See `Observation` and `picture`.

    Raises
    ------
    UserError
        No such host, no such view, no terminal, or the host has ended.
    """
    if not sys.stdout.isatty():
        raise UserError("--watch draws on a terminal: leave it out here")
    seen, since = Observation(pid), dict[str, int]()
    try:
        with Live(picture(seen, since, view), console=Console(), auto_refresh=False) as shown:
            while True:
                time.sleep(REFRESH)
                found = seen.again(SEARCH)
                if found is not seen:
                    seen, since = found, {}
                try:
                    shown.update(picture(seen, since, view), refresh=True)
                except UserError:  # An edit has just taken a view away.
                    if view is not None and view not in seen.views():
                        raise
    except KeyboardInterrupt:
        return
