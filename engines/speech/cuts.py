"""What has been found out about how voices can be run piece by piece, kept in the user's cache folder.

A file is named after the hash of the networks' content, so that it is of those and of no others. What they
are cut into is not kept: to cut takes less time than to read and check a copy.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rtaudio.folders import cache_folder

VERSION = 3
"""Of the way in which networks are cut and tried."""
WIDEST, FARTHEST = 1 << 16, 1 << 10


@dataclass(frozen=True)
class Cut:
    """How a voice's one network, or its pair, is run."""

    channels: int = 0
    """Of the frames between its halves; 0: it is run on the whole sentence."""
    reach: int = 0
    """Frames on either side that the second half hears."""
    hop: int = 0
    """Samples of a frame."""
    flow: int = 0
    """Frames on either side that the flow hears; 0: it is not cut from the first half."""
    moving: tuple[int, ...] = ()
    """Which of what the flow takes, counted from 0, is of every frame; all else is the same for all."""
    why: str = ""
    """Why it is run on the whole sentence."""
    least: int = 0
    """Frames that the second half is given at least, where a sentence has so many."""

    def note(self, voice: str) -> str:
        """What who uses the voice may want to know, or nothing."""
        return f"voice {voice} is heard when all of a sentence is made, since {self.why}" if self.why else ""


def cut_of(said: object) -> Cut | None:
    """A cut from its fields by name; None if that is none."""
    if not isinstance(said, Mapping):
        return None
    moving, why = said.get("moving"), said.get("why")
    if not isinstance(moving, (list, tuple)) or not isinstance(why, str):
        return None
    found = [*(said.get(name, 0) for name in ("channels", "reach", "hop", "flow", "least")), *moving]
    numbers = [number for number in found if type(number) is int]
    if len(numbers) < len(found):
        return None
    channels, reach, hop, flow, least, *moving = numbers
    fits = all(0 <= number < WIDEST for number in (channels, hop))
    fits = fits and all(0 <= number < FARTHEST for number in (reach, flow, least))
    if not fits or bool(channels and hop) == bool(why) or bool(flow) != (0 in moving):
        return None
    return Cut(channels, reach, hop, flow, tuple(moving), why, least)


def _place(networks: Sequence[bytes]) -> Path:
    found = hashlib.sha256()
    for content in networks:
        found.update(hashlib.sha256(content).digest())
    return cache_folder() / "voices" / f"{found.hexdigest()}.json"


def recall(networks: Sequence[bytes]) -> Cut | None:
    """What is known of a voice's networks; None: nothing."""
    try:
        said: Any = json.loads(_place(networks).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    known = isinstance(said, dict) and said.get("version") == VERSION
    return cut_of(said) if known else None


def remember(networks: Sequence[bytes], cut: Cut) -> None:
    """Keep what was found out; where that is not possible it is found out again the next time."""
    place = _place(networks)
    part = place.with_name(f".{place.stem}.{secrets.token_hex(4)}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"version": VERSION, **asdict(cut)}, file)
        part.replace(place)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
