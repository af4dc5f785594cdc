"""Separation by kernel additive modelling with proximity kernels of one's own.

D. FitzGerald, A. Liutkus, Z. Rafii, B. Pardo, L. Daudet, "Harmonic/percussive separation using kernel
additive modelling", ISSC 2014, section II b: any set of neighbours makes a kernel. One of frames a period
apart is a repeating source, as in A. Liutkus, Z. Rafii, R. Badeau, B. Pardo, G. Richard, "Adaptive
filtering for music/voice separation exploiting the repeating musical structure", ICASSP 2012.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from engines.backfitting import (
    MASKS,
    MOST_ITERATIONS,
    Offset,
    Separator,
    Source,
    along_frequency,
    along_time,
    framing,
    number,
)
from rtaudio.errors import UserError
from rtaudio.processor import Parameter, Port, Value

KERNELS = ("time SIZE", "frequency SIZE", "repeat SECONDS COUNT", "(BINS, FRAMES) ...")
"""What a kernel's text may be made of, joined by +."""
_TERM = re.compile(
    r"time\s+(?P<time>\d+)|frequency\s+(?P<frequency>\d+)|repeat\s+(?P<period>\d*\.?\d+)\s?s?\s+(?P<count>\d+)"
    r"|(?P<set>(?:\(\s*-?\d+\s*,\s*-?\d+\s*\)\s*)+)"
)
_PAIR = re.compile(r"\(\s*(-?\d+)\s*,\s*(-?\d+)\s*\)")
MOST_BINS, MOST_FRAMES, MOST_OFFSETS = 64, 16_384, 129
"""How far a kernel reaches up and down, and back, and how many bins it may have."""


def read_kernel(text: str, lookahead: int, frames_per_s: float) -> tuple[Offset, ...]:
    """The offsets that a kernel's text means.

    Parameters
    ----------
    text
        ``time 17`` (equation 12), ``frequency 17`` (equation 11), ``repeat 2.0 5`` (a bin and the same bin 2,
        4, 6 and 8 s before), ``(0, 0) (1, 0) (-1, -2)`` (bins above, frames after), or several joined by +.
    lookahead
        Frames after the present one that there are.
    frames_per_s
        Frames per second.

    Raises
    ------
    ValueError
        In words, what is wrong.
    """
    offsets: list[Offset] = []
    for term in text.split("+"):
        found = _TERM.fullmatch(term.strip())
        if not found:
            raise ValueError(f"{term.strip()!r} is none of: {', '.join(KERNELS)}")
        size = int(found["time"] or found["frequency"] or 1)
        if size % 2 == 0 or size > MOST_OFFSETS:
            raise ValueError(f"a size of {size} is not odd, from 1 to {MOST_OFFSETS}")
        if found["time"]:
            offsets += along_time(size, lookahead)
        elif found["frequency"]:
            offsets += along_frequency(size)
        elif found["period"]:
            period, count = float(found["period"]) * frames_per_s, int(found["count"])
            if period < 1:
                raise ValueError(f"a period of {found['period']} s is shorter than a frame")
            if not 1 <= count <= MOST_OFFSETS:
                raise ValueError(f"a count of {count} is not from 1 to {MOST_OFFSETS}")
            offsets += [(0, -round(p * period)) for p in range(count)]
        else:
            offsets += [(int(df), int(dt)) for df, dt in _PAIR.findall(found["set"])]
    kernel = tuple(sorted(set(offsets)))
    if not 1 <= len(kernel) <= MOST_OFFSETS:
        raise ValueError(f"{len(kernel)} bins; a kernel has 1 to {MOST_OFFSETS}")
    for df, dt in kernel:
        if abs(df) > MOST_BINS:
            raise ValueError(f"({df}, {dt}) is more than {MOST_BINS} bins away")
        if dt > lookahead:
            raise ValueError(f"({df}, {dt}) is after lookahead={lookahead}")
        if dt < -MOST_FRAMES:
            raise ValueError(
                f"({df}, {dt}) is over {MOST_FRAMES} frames back: come nearer, or use a longer hop"
            )
    return kernel


_text = partial(Parameter, scale="text", automatable=False)
NAMES = ("harmonic", "percussive", "repeating")


class Kam(Separator):
    """Separation into two or three sources, each with a proximity kernel of your own.

    A kernel is text: ``time 17``, ``frequency 17``, ``repeat 2.0 5`` (the same bin now and four times 2 s
    earlier: what comes back every bar, as in REPET), ``(0, 0) (1, -2)`` (any bins above and frames after), or
    several of them joined by ``+``. The outputs sum to the delayed input; ``repeating`` is silent without a
    kernel.

    Raises
    ------
    UserError
        Kernels that are no kernels, or lengths that do not fit together.
    """

    id = "kam"
    summary = "Separation by kernel additive modelling, with any proximity kernels"
    outputs = (*map(Port, NAMES), Port("residual"))
    parameters = (
        _text("harmonic_kernel", "time 17", doc="equation 12"),
        _text("percussive_kernel", "frequency 17", doc="equation 11"),
        _text("repeating_kernel", "", doc="such as 'repeat 2.0 5'; empty for none"),
        *(
            number(
                f"{name}_iterations", 1, 1, MOST_ITERATIONS, "", "integer", doc=f"before {name} is filtered"
            )
            for name in NAMES
        ),
        *framing(1024, 4096, 8),
        *MASKS,
        *(
            number(f"{name}_margin", 1.0, 1.0, 16.0, doc=f"above 1 leaves what is not clearly {name}")
            for name in NAMES
        ),
    )

    def __init__(self, **values: Value) -> None:
        super().__init__(**values)
        self._read(44_100 / int(self.values["hop"]))

    def _read(self, frames_per_s: float) -> list[Source]:
        found = []
        for name in NAMES:
            text = str(self.values[f"{name}_kernel"])
            if not text and name == "repeating":
                continue
            try:
                kernel = read_kernel(text, self.lookahead, frames_per_s)
            except ValueError as error:
                raise UserError(f"kam: {name}_kernel: {error}") from None
            iterations, margin = int(self.values[f"{name}_iterations"]), float(self.values[f"{name}_margin"])
            found.append(Source((kernel,), iterations, margin))
        return found

    def sources(self) -> Sequence[Source]:
        """Harmonic, percussive and, with a kernel, repeating."""
        return self._read(self.rate / (self.hop or 1))
