"""How a host that has gone is started again: with the options that it had, and the rack as it last was."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gui.application import made_state_folder
from rtaudio.errors import FileError, UserError

LAST = "last.toml"
"""The rack file, in the state folder."""
AT_END = 1.0
"""Seconds before its end from which on a file counts as played."""
REMIX = "remix(preset=live) | limiter"
"""What a file is played through where there is no rack."""
GUARD = "howl"
"""The engine that stops feedback from the loudspeaker to the microphone."""
_OF_DECK = {"--file": True, "--start": True, "--loop": True}
"""Options that say what a deck plays, and whether they may have a value: what it last played counts."""
_OF_INPUT = {"--input": True, "--map": True, "--channels": True}
"""Options that say what comes from a device; the channels are a file's then."""
_ONCE = {"--howl-guard": False, "--record": True, "--record-input": True, "--json": True}
"""Options that do not count again: the nodes have the guard, and a new recording would take the place of the
old one."""


def options_of(pid: int) -> tuple[list[str], str]:
    """The options of ``rtaudio live`` that a host runs with, and its working folder.

    Raises
    ------
    UserError
        It has just ended.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")[:-1]
        folder = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        raise UserError(f"process {pid} runs no live host of yours") from None
    return words[words.index("live") + 1 :] if "live" in words else [], folder


def chain_of(options: Sequence[str]) -> str:
    """What the options give as ``--chain``."""
    chain = ""
    for number, option in enumerate(options):
        if option == "--chain":
            chain = "".join(options[number + 1 : number + 2])
        elif option.startswith("--chain="):
            chain = option.removeprefix("--chain=")
    return chain


def options_again(options: Sequence[str], state: dict[str, Any], folder: str) -> list[str]:
    """The options with which a host is started again.

    Parameters
    ----------
    options, folder
        Those that it had, and its working folder.
    state
        The last that is known of it, see `rtaudio.state`; {}: it has never been heard.

    Raises
    ------
    UserError
        Its rack cannot be written.
    """
    if not state:
        return list(options)
    from gui.kept import without_band
    from rtaudio.rack import save_rack

    try:
        path = made_state_folder() / LAST
    except OSError as error:
        raise FileError(f"no place for the rack: {error}; set XDG_STATE_HOME to a folder of yours") from None
    save_rack(path, without_band(_rack(state, chain_of(options), folder)))
    deck = state.get("deck")
    kept = _without(options, _ONCE | {"--chain": True} | (_OF_DECK if deck is not None else {}))
    return [*kept, *(_deck_options(deck) if deck is not None else ()), f"--chain={path}"]


def _without(options: Sequence[str], dropped: Mapping[str, bool]) -> list[str]:
    """Options without some, of which it is told whether they may have a value."""
    kept, skips = [], False
    for option in options:
        name, has_value, _ = option.partition("=")
        if skips and not option.startswith("--"):
            skips = False
        elif name in dropped:
            skips = dropped[name] and not has_value
        else:
            skips = False
            kept.append(option)
    return kept


def _deck_options(deck: Mapping[str, Any]) -> list[str]:
    """The file that a deck plays, and its loop; from where it was, as far as is known, or anew at its end."""
    found = [f"--file={deck['file']}"]
    begin, end = deck["loop"] or (0.0, deck["duration"])
    if deck["loop"] is not None:
        whole = begin == 0.0 and end == deck["duration"]
        found.append("--loop" if whole else f"--loop={begin}:{end}")
    if 0.001 <= deck["position"] < end - AT_END:
        found.append(f"--start={deck['position']:.3f}")
    return found


def deck_lines(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Control lines after which a deck that was started anew goes on as another did, or pauses there.

    Parameters
    ----------
    before, now
        Decks, see `rtaudio.state`. One of another file stays as it is.
    """
    if before["file"] != now["file"]:
        return []
    lines = [f"cue set {before['cue']:.3f}"] if "cue" in before else []
    if not before.get("playing", True):
        lines += ["pause", f"seek {before['position']:.3f}"]
    return lines


def options_for(file: str, options: Sequence[str]) -> list[str]:
    """The options with which a host plays a file, in a loop, where others name the device and the rack.

    Where they name no rack it is `REMIX`.
    """
    kept = _without(options, _ONCE | _OF_DECK | _OF_INPUT)
    chain = [] if chain_of(kept) else [f"--chain={REMIX}"]
    return [*kept, f"--file={file}", "--loop", *chain]


def with_file(state: dict[str, Any], file: str, seconds: float) -> dict[str, Any]:
    """A state of a host, see `rtaudio.state`, as if it played a file of this length in a loop.

    No microphone is heard then: guards against its feedback, which take a held note for that, are bypassed.
    """
    deck = {"file": file, "position": 0.0, "duration": seconds, "loop": [0.0, seconds]}
    nodes = [node | {"bypass": node["bypass"] or node["engine"] == GUARD} for node in state["nodes"]]
    return state | {"deck": deck, "nodes": nodes}


DEVICE = ("api", "input", "output", "block", "rate")
"""Options of `gui.devices.Devices`."""


def device_of(options: Sequence[str]) -> dict[str, str]:
    """What options say of the device, by their names without dashes."""
    found = {}
    for option, following in zip(options, [*options[1:], ""], strict=True):
        name, has_value, value = option.removeprefix("--").partition("=")
        if option.startswith("--") and name in DEVICE:
            found[name] = value if has_value else following
    return found


def told_device(options: Sequence[str]) -> str:
    """The device that options name, for people; that of the system where they name none."""
    device = device_of(options)
    cards = " → ".join(dict.fromkeys(device[side] for side in ("input", "output") if device.get(side)))
    return f"{device.get('api', '')} {cards}".strip() or "the system's device"


def options_through(device: Mapping[str, str], options: Sequence[str]) -> list[str]:
    """The options with which a host plays through another device; a map of channels was for the old one."""
    kept, skips = [], False
    for option in options:
        name, has_value, _ = option.partition("=")
        if skips:
            skips = False
        elif name == "--map" or name.removeprefix("--") in DEVICE:
            skips = not has_value
        else:
            kept.append(option)
    names = {option.partition("=")[0] for option in kept}
    refused = {"input"} if "--file" in names and "--record-input" not in names else set()
    refused |= {"output"} if "--virtual-mic" in names else set()
    return [*kept, *(f"--{name}={value}" for name, value in device.items() if name not in refused)]


def _rack(state: dict[str, Any], chain: str, folder: str) -> Any:
    """The rack of a state; what a rack file has besides is from the one that the host was started with."""
    from msgspec.structs import replace

    from rtaudio.rack import Rack, RackNode, load_rack
    from rtaudio.racks import find_rack

    base = Rack()
    with suppress(UserError):
        file = os.path.join(folder, chain) if chain.lower().endswith(".toml") else find_rack(chain)
        if file is not None:
            base = load_rack(file)
    nodes = {}
    for node in state["nodes"]:
        values = {
            each["id"]: each["value"] for each in node["parameters"] if each["value"] != each["default"]
        }
        switches = {switch: node[switch] for switch in ("bypass", "mute", "solo")}
        inside = {
            f"{inner['name'].removeprefix(node['name'] + '/')}.{each['id']}": each["value"]
            for inner in node["inside"]
            for each in inner["parameters"]
            if each["automatable"] and each["value"] != each["default"]
        }
        nodes[node["name"]] = RackNode(engine=node["engine"], parameters=values, inside=inside, **switches)
    return replace(base, edges=state["edges"], nodes=nodes)
