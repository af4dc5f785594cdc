"""The DJ remix: separation with a strip per output."""

from __future__ import annotations

from engines.gain import Gain
from engines.hpss import Hpss
from rtaudio.graph import Composite, Mapped

STEMS = ("harmonic", "percussive", "residual")


class Remix(Composite):
    """Harmonic/percussive separation, a strip (gain, pan, mute) per part, and their sum."""

    id = "remix"
    summary = "Harmonic/percussive remix: separation with a strip per part"
    nodes = {"hpss": Hpss} | dict.fromkeys(STEMS, Gain)
    edges = (
        "in -> hpss",
        *(f"hpss.{stem} -> {stem}" for stem in STEMS),
        *(f"{stem} -> out" for stem in STEMS),
    )
    mapped = (
        *(
            Mapped(f"{stem}_{control}", stem, control)
            for stem in STEMS
            for control in ("gain", "pan", "mute")
        ),
        *(Mapped(parameter.id, "hpss", parameter.id) for parameter in Hpss.parameters),
    )
    tolerance = Hpss.tolerance
