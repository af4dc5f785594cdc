"""The DJ remix: separation, crossfader and switches, a strip with an insert per stem, and their sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from engines.gain import Gain
from engines.hpss import Hpss
from engines.stems import STEMS, Stems
from rtaudio.chain import parse_chain
from rtaudio.errors import UserError
from rtaudio.graph import IN, OUT, Composite, Engine, Graph, Mapped, Node
from rtaudio.processor import Parameter, Value

FADER = "fader"


class Strip(Composite):
    """A mixer strip: an insert, which is a chain written as text, then gain and balance.

    A chain that is wrong, or does not take the strip's input, is refused with a `UserError`.
    """

    id = "strip"
    summary = "A mixer strip: an insert chain, gain and balance"
    parameters = (
        Parameter("insert", "", scale="text", automatable=False, doc="a chain before the fader; '' is none"),
    )
    nodes: ClassVar[Mapping[str, Engine]] = {FADER: Gain}
    mapped = (Mapped("gain", FADER, "gain"), Mapped("pan", FADER, "pan"))

    def build(self, nodes: list[Node]) -> Graph:
        """The insert's nodes under their own names, then the fader."""
        try:
            insert = parse_chain(str(self.values["insert"]))
            if not any(edge.source.node == IN for edge in insert.edges):
                raise UserError("its first node is a source: an insert takes the stem in")
            for node in insert.nodes.values():
                if node.bypass or node.mute or node.solo:
                    raise UserError(f"{node.name}: bypass, mute and solo are for nodes outside of an insert")
            edges = [
                f"{edge.source} -> {FADER if edge.target.node == OUT else edge.target}"
                for edge in insert.edges
            ]
            return Graph([*insert.nodes.values(), *nodes], [*edges, f"{FADER} -> {OUT}"])
        except UserError as error:
            raise UserError(f"insert: {error}") from None


class Remix(Composite):
    """Harmonic/percussive remix.

    The stems of `Hpss` pass the crossfader, kill, mute and solo of `Stems`, then each its insert, gain and
    balance, and are summed. What silences a stem comes before its insert, so that the insert's echoes and
    reverberation ring on; the gain comes after it, so that it drives no compressor.

    An insert is text in the chain language, with one input and one output. Its nodes go by
    ``remix/percussive/NODE``. At the defaults the output is the delayed input.
    """

    id = "remix"
    summary = "Harmonic/percussive remix: crossfader, kills, and a strip with an insert per stem"
    nodes: ClassVar[Mapping[str, Engine]] = {"hpss": Hpss, "stems": Stems} | dict.fromkeys(STEMS, Strip)
    edges = (
        "in -> hpss",
        *(f"hpss.{stem} -> stems.{stem}" for stem in STEMS),
        *(f"stems.{stem} -> {stem}" for stem in STEMS),
        *(f"{stem} -> out" for stem in STEMS),
    )
    mapped = (
        *(
            Mapped(f"{stem}_{control}", stem, control)
            for stem in STEMS
            for control in ("gain", "pan", "insert")
        ),
        *(Mapped(parameter.id, "stems", parameter.id) for parameter in Stems.parameters),
        *(Mapped(parameter.id, "hpss", parameter.id) for parameter in Hpss.parameters),
    )
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "drums-out": {"percussive_mute": True},
        "drums-only": {"percussive_solo": True},
        "drums-up": {"percussive_gain": 6.0},
        "drums-down": {"percussive_gain": -6.0},
    }
    tolerance = Hpss.tolerance
