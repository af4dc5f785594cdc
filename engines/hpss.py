"""Harmonic/percussive separation by kernel additive modelling.

D. FitzGerald, A. Liutkus, Z. Rafii, B. Pardo, L. Daudet, "Harmonic/percussive separation using kernel
additive modelling", ISSC 2014, section III b: the proximity kernels are equations 11 (percussive:
neighbouring bins of a frame) and 12 (harmonic: neighbouring frames of a bin).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from engines import fusion
from engines.backfitting import (
    MASKS,
    MOST_ITERATIONS,
    Separator,
    Source,
    along_frequency,
    along_time,
    choice,
    framing,
    number,
)
from rtaudio.errors import UserError
from rtaudio.processor import Port, Value

LEARNED: dict[str, Value] = {
    "n_fft": str(fusion.N_FFT),
    "hop": str(fusion.HOP),
    "lookahead": fusion.LOOKAHEAD,
}
"""Lengths for which the network that estimates the spectrograms was trained."""
PRESETS: dict[str, dict[str, Value]] = {
    "live": {},
    "balanced": {
        "estimate": "medians",
        "n_fft": "4096",
        "hop": "1024",
        "synthesis": "2048",
        "lookahead": 4,
        "harmonic_kernel": 9,
        "percussive_kernel": 9,
    },
    "quality": {
        "estimate": "medians",
        "n_fft": "4096",
        "hop": "1024",
        "synthesis": "4096",
        "lookahead": 8,
    },
}
"""``live`` are the parameters' own defaults. At 44.1 kHz 11.6, 116 and 255 ms late. ``quality`` is the
paper's evaluation (section IV)."""
LIVE_MEDIANS: dict[str, Value] = {
    "n_fft": "4096",
    "hop": "256",
    "synthesis": "512",
    "lookahead": 0,
    "estimate": "scales",
    "percussive_kernel": 9,
}
"""``live`` with an ``estimate`` of medians, or with other lengths: 5.8 ms late."""
SCALES, SCALES_PERCUSSIVE = (5, 9, 17, 33), 0.7
"""Frames of the medians of which ``estimate=scales`` takes the geometric mean, and the weight of what is
percussive beside it. A causal median of 17 frames knows of a note when it is 9 frames old, one of 5 when it
is 3 frames old. Chosen on rendered music: docs/separation.md."""


class Hpss(Separator):
    """Harmonic, percussive and residual parts of the input.

    The three outputs sum to the input, delayed by ``synthesis - hop + iterations * lookahead * hop`` samples.
    Without margins and with as many iterations for both the residual is silent. ``channels=linked`` gives all
    channels one mask (Algorithm 1 with R = I), ``independent`` one each; ``spatial`` learns a covariance of
    the channels per source and bin. With a hard mask what is equally harmonic and percussive is
    percussive.

    Raises
    ------
    UserError
        Kernel sizes that are even, or lengths that do not fit together.
    """

    id = "hpss"
    summary = "Harmonic/percussive separation (kernel additive modelling)"
    outputs = (Port("harmonic"), Port("percussive"), Port("residual"))
    parameters = (
        choice("preset", "live", choices=tuple(PRESETS), doc="sets the defaults of lengths and kernels"),
        *framing(fusion.HOP, fusion.SYNTHESIS, fusion.LOOKAHEAD),
        choice(
            "estimate",
            "learned",
            choices=("medians", "scales", "learned"),
            doc="spectrograms: one median each, medians over several times, or (at first) a network",
        ),
        number(
            "harmonic_kernel",
            17,
            3,
            65,
            "frames",
            "integer",
            doc="time median, odd (equation 12); not with estimate=scales",
        ),
        number(
            "percussive_kernel",
            17,
            3,
            129,
            "bins",
            "integer",
            doc="frequency median, odd (equation 11); learned uses both from the second iteration on",
        ),
        number(
            "harmonic_iterations", 1, 1, MOST_ITERATIONS, "", "integer", doc="before harmonic is filtered"
        ),
        number(
            "percussive_iterations", 1, 1, MOST_ITERATIONS, "", "integer", doc="before percussive is filtered"
        ),
        *MASKS,
        number(
            "harmonic_margin",
            1.0,
            1.0,
            16.0,
            doc="above 1 leaves what is not clearly harmonic to the residual",
        ),
        number(
            "percussive_margin",
            1.0,
            1.0,
            16.0,
            doc="above 1 leaves what is not clearly percussive to the residual",
        ),
    )

    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "fast": {"estimate": "scales"},
        "clear": {"preset": "quality", "harmonic_margin": 2.0, "percussive_margin": 2.0},
    }

    def __init__(self, **values: Value) -> None:
        super().__init__(**values)
        self.learned = self.values["estimate"] == "learned"
        for name, wanted in LEARNED.items() if self.learned else ():
            if self.values[name] != wanted:
                given = f"{name}={wanted}, not {self.values[name]}"
                raise UserError(f"hpss: estimate=learned takes {given}: use estimate=scales or medians")
        self.sizes = int(self.values["harmonic_kernel"]), int(self.values["percussive_kernel"])
        for name, size in zip(("harmonic_kernel", "percussive_kernel"), self.sizes, strict=True):
            if size % 2 == 0:
                raise UserError(
                    f"hpss: {name}={size} is even: the median needs an odd size, such as {size + 1}"
                )
        if self.values["estimate"] != "scales" and self.lookahead > self.sizes[0] // 2:
            raise UserError(
                f"hpss: lookahead={self.lookahead} is more than half of harmonic_kernel={self.sizes[0]}: "
                f"use {self.sizes[0] // 2} or less"
            )

    def defaults(self, values: Mapping[str, Value]) -> Mapping[str, Value]:
        """Lengths and kernels of the preset. ``live`` is learned unless the given lengths are others."""
        preset = str(values.get("preset", "live"))
        others = any(
            str(values.get(name, LEARNED[name])).removesuffix(".0") != str(LEARNED[name]) for name in LEARNED
        )
        if preset == "live" and (values.get("estimate", "learned") != "learned" or others):
            return LIVE_MEDIANS
        return PRESETS.get(preset, {})

    def sources(self) -> Sequence[Source]:
        """Harmonic and percussive."""
        scales = self.values["estimate"] == "scales"
        sizes = SCALES if scales else self.sizes[:1]
        along = tuple(along_time(size, self.lookahead) for size in sizes)
        return [
            Source(
                kernels,
                int(self.values[f"{name}_iterations"]),
                float(self.values[f"{name}_margin"]),
                weight if scales else None,
            )
            for name, kernels, weight in (
                ("harmonic", along, 1.0),
                ("percussive", (along_frequency(self.sizes[1]),), SCALES_PERCUSSIVE),
            )
        ]
