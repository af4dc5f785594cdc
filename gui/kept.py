"""What is kept of a rack that plays: not what is only there to listen to it here and now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gui.recovery import GUARD
from gui.solo import ENGINE, NODE

if TYPE_CHECKING:
    from rtaudio.rack import Rack


def keep_all_frequencies(path: str | Path) -> None:
    """Take a band that is heard alone, see `gui.solo`, out of a rack file; `UserError` if it cannot be."""
    from rtaudio.rack import load_rack, save_rack

    rack = load_rack(path)
    kept = without_band(rack)
    if kept is not rack:
        save_rack(path, kept)


def keep_for_files(path: str | Path) -> None:
    """Have a rack file render files: no band alone, and no guard, as no microphone hears a loudspeaker.

    A guard takes held notes for feedback. `UserError` where the file cannot be read or written.
    """
    from msgspec.structs import replace

    from rtaudio.rack import load_rack, save_rack

    rack = without_band(load_rack(path))
    nodes = {
        name: replace(node, bypass=node.bypass or node.engine == GUARD) for name, node in rack.nodes.items()
    }
    save_rack(path, replace(rack, nodes=nodes))


def without_band(rack: Rack) -> Rack:
    """A rack without a band that is heard alone: what led to its node leads to where that led."""
    from msgspec.structs import replace

    if NODE not in rack.nodes or rack.nodes[NODE].engine != ENGINE:
        return rack
    edges = [
        (source.strip(), target.strip())
        for source, _, target in (each.partition("->") for each in rack.edges)
    ]
    into = [source for source, target in edges if _node(target) == NODE]
    out = [target for source, target in edges if _node(source) == NODE]
    kept = [f"{source} -> {target}" for source, target in edges if NODE not in (_node(source), _node(target))]
    return replace(
        rack,
        edges=list(dict.fromkeys([*kept, *(f"{source} -> {target}" for source in into for target in out)])),
        nodes={name: node for name, node in rack.nodes.items() if name != NODE},
        midi=[binding for binding in rack.midi if _node(binding.parameter) != NODE],
    )


def _node(end: str) -> str:
    return end.partition(".")[0]
