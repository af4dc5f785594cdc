"""What has been found out about voices of one network that were cut in two, kept in the user's cache folder.

A file is named after the hash of the network's content, so that it is of that network and of no other. The
halves are not kept: to cut takes less time than to read and check a copy.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rtaudio.folders import cache_folder

VERSION = 1
"""Of the way in which networks are cut and tried."""
WIDEST, FARTHEST = 1 << 16, 1 << 10


@dataclass(frozen=True)
class Cut:
    """How a network is run."""

    channels: int = 0
    """Of the frames between its halves; 0: it stays whole."""
    reach: int = 0
    """Frames on either side that the second half hears."""
    hop: int = 0
    """Samples of a frame."""
    why: str = ""
    """Why it stays whole."""

    def note(self, voice: str) -> str:
        """What who uses the voice may want to know, or nothing."""
        return f"voice {voice} is heard when all of a sentence is made, since {self.why}" if self.why else ""


def cut_of(said: object) -> Cut | None:
    """A cut from its fields by name; None if that is none."""
    if not isinstance(said, Mapping):
        return None
    channels, reach, hop, why = (said.get(name) for name in ("channels", "reach", "hop", "why"))
    if (
        type(channels) is not int
        or type(reach) is not int
        or type(hop) is not int
        or not isinstance(why, str)
    ):
        return None
    fits = 0 <= channels < WIDEST and 0 <= reach < FARTHEST and 0 <= hop < WIDEST
    return Cut(channels, reach, hop, why) if fits and bool(channels and hop) != bool(why) else None


def _place(content: bytes) -> Path:
    return cache_folder() / "voices" / f"{hashlib.sha256(content).hexdigest()}.json"


def recall(content: bytes) -> Cut | None:
    """What is known of a network; None: nothing."""
    try:
        said: Any = json.loads(_place(content).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    known = isinstance(said, dict) and said.get("version") == VERSION
    return cut_of(said) if known else None


def remember(content: bytes, cut: Cut) -> None:
    """Keep what was found out; where that is not possible it is found out again the next time."""
    place = _place(content)
    part = place.with_name(f".{place.stem}.{secrets.token_hex(4)}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"version": VERSION, **asdict(cut)}, file)
        part.replace(place)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
