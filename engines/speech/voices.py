"""The voices that are there: espeak-ng's, and those of Piper's kind that a user has added.

An added voice lies in ``$XDG_DATA_HOME/rtaudio/voices/NAME`` with ``rtaudio.json``, which has the hashes of
its files: what has changed since is not run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.speech.cuts import cut_of, recall
from engines.speech.espeak import Espeak, EspeakVoice
from engines.speech.pronunciation import find_pronouncer
from engines.speech.voice import Voice
from rtaudio.errors import FileError, UserError, nearest
from rtaudio.folders import data_folder

if TYPE_CHECKING:
    from engines.speech.piper import PiperVoice

RECORD = "rtaudio.json"
ESPEAK = "espeak-"
ESPEAK_LICENCE = "GPL-3.0-or-later"
VARIETIES = {"en": "en-us", "bn": "bn"}
"""espeak-ng's voice of a language that is read here."""
PAPERS = "MODEL_CARD", "LICENSE", "LICENSE.txt", "LICENSE.md"
"""Files that are kept with a voice."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*(\.[A-Za-z0-9_+-]+)*")
LONGEST_NAME = 64
TRIALS = "This is how fast it is.", "en-us"


@dataclass(frozen=True)
class Known:
    """A voice that is there."""

    name: str
    kind: str
    """``espeak-ng`` or ``piper``"""
    language: str
    licence: str
    bytes: int | None
    """Of its networks; None: not known."""
    rate: int
    """Hz"""
    speakers: int
    speed: float | None
    """CPU seconds for a second of sound, where it was measured."""
    trouble: str = ""
    """Why it cannot be used."""
    note: str = ""
    """What who uses it may want to know."""


def user_voices() -> Path:
    """Folder of the voices that a user has added."""
    return data_folder() / "voices"


def open_voice(name: str = "", language: str = "en") -> Voice:
    """A voice, ready to speak.

    Parameters
    ----------
    name
        As in `known_voices`, ``espeak-XX`` for any voice of espeak-ng, or the path of a folder or NAME.onnx
        of Piper's kind. Empty: the one that a language has by default.
    language
        ``en`` or ``bn``.

    Raises
    ------
    UserError
        There is none such, or it cannot be used.
    """
    name = name or f"{ESPEAK}{language}"
    check_name(name)
    if _is_added(name):
        return _open_added(user_voices() / name)
    if name.startswith(ESPEAK):
        variety = name.removeprefix(ESPEAK)
        return EspeakVoice(name, VARIETIES.get(variety, variety), find_pronouncer(variety))
    from engines.speech.piper import PiperVoice

    path = Path(name)
    return PiperVoice(path, path.stem if path.suffix == ".onnx" else path.resolve().name)


def anywhere(name: str) -> str:
    """What `open_voice` takes for the same voice in a process with another current folder."""
    if not name or name.startswith(ESPEAK) or (user_voices() / name / RECORD).is_file():
        return name
    return os.path.abspath(name) if Path(name).exists() else name


def known_voices() -> list[Known]:
    """All voices: those that were added, by name, then espeak-ng's."""
    found = []
    for name in _added_names():
        try:
            found.append(_known(user_voices() / name))
        except UserError as error:
            found.append(Known(name, "piper", "", "", None, 0, 0, None, str(error)))
    espeak = Espeak()
    rate, speed, trouble = 0, None, ""
    try:
        espeak.start()
        rate, begun = espeak.rate, espeak.cpu
        samples, _ = espeak.synthesise(*TRIALS)
        speed = (espeak.cpu - begun) * rate / len(samples)
    except UserError as error:
        trouble = str(error)
    espeak.close()
    for language in VARIETIES:
        name = f"{ESPEAK}{language}"
        found.append(Known(name, "espeak-ng", language, ESPEAK_LICENCE, None, rate, 1, speed, trouble))
    return found


def add_voice(path: Path, name: str = "") -> Known:
    """Copy a voice of Piper's kind to the user's, after trying it.

    Parameters
    ----------
    path
        A folder with one voice, or NAME.onnx.
    name
        What it is called from now on; empty: as its file, or its folder for a pair of networks.

    Raises
    ------
    UserError
        A file is missing or wrong, the voice makes no sound or cannot be given phonemes, or there is one of
        that name. Nothing is left behind.
    """
    from engines.speech.config import find_parts
    from engines.speech.piper import PiperVoice

    card, networks = find_parts(path)
    name = name or (card.name.removesuffix(".onnx.json") if len(networks) == 1 else path.resolve().name)
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME or name.startswith(ESPEAK):
        want = f"letters, digits, - _ + and single dots, at most {LONGEST_NAME}, not {ESPEAK}..."
        raise UserError(f"{name!r} is no name for a voice ({want}): give --name")
    target = user_voices() / name
    if target.exists():
        raise UserError(
            f"there is a voice {name!r} already: give another --name, or 'rtaudio voices remove {name}' first"
        )
    with _folder_beside(target) as made:
        for source in (card, *networks, *(card.with_name(paper) for paper in PAPERS)):
            if source.is_file():
                shutil.copyfile(source, made / source.name)
        # What was copied is tried, and the bytes that are tried are those that the hashes are of.
        inside = made / networks[0].name if len(networks) == 1 else made
        card, networks = find_parts(inside)
        contents = [network.read_bytes() for network in networks]
        with _named_after(made, path if path.is_dir() else path.parent):
            voice = PiperVoice(inside, name, contents=contents)
            try:
                voice.check()
                speed = min(voice.speed() for _ in range(2))
            finally:
                voice.close()
        known = recall(contents)  # Nothing, where it was tried in vain.
        hashes = {each.name: _hash(content) for each, content in zip(networks, contents, strict=True)}
        record = {
            "sha256": {card.name: _hash(card.read_bytes()), **hashes},
            "speed": round(speed, 4),
            "cut": None if known is None else asdict(known),
        }
        (made / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        try:
            made.rename(target)
        except OSError as error:
            raise FileError(f"cannot make {target}: {error.strerror}") from None
    return _known(target)


def remove_voice(name: str) -> Path:
    """Remove a voice that a user has added; returns the folder that it was in.

    Raises
    ------
    UserError
        There is none such, or it cannot be removed.
    """
    target = user_voices() / name
    known = _added_names()
    if not NAME.fullmatch(name) or not (name in known or target.is_dir()):
        listed = f" ({', '.join(known)})" if known else ": none has been added"
        raise UserError(f"no voice {name!r} has been added{nearest(name, known)}{listed}")
    away = target.with_name(f".{name}.{secrets.token_hex(4)}.part")
    try:
        if target.is_symlink():
            target.unlink()
        else:
            target.rename(away)  # So that it is there whole, or not.
            shutil.rmtree(away)
    except OSError as error:
        raise FileError(f"cannot remove {target}: {error.strerror}") from None
    return target


def check_name(name: str) -> None:
    """Whether there may be such a voice, without opening it: `UserError` if `open_voice` knows none of it."""
    if name and not name.startswith(ESPEAK) and not _is_added(name) and not _is_path(name):
        known = [*_added_names(), *(f"{ESPEAK}{each}" for each in VARIETIES)]
        listed = f" ({', '.join(known)})"
        raise UserError(f"no voice {name!r}{nearest(name, known)}{listed}: see 'rtaudio voices'")


def _is_added(name: str) -> bool:
    return NAME.fullmatch(name) is not None and (user_voices() / name / RECORD).is_file()


def _is_path(name: str) -> bool:
    path = Path(name)
    return path.name != name or path.suffix == ".onnx" or path.is_dir()


@contextmanager
def _named_after(made: Path, given: Path) -> Iterator[None]:
    """What is wrong with a copy is told of what was copied."""
    try:
        yield
    except UserError as error:
        raise type(error)(str(error).replace(str(made), str(given))) from None


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    """A folder beside another, gone at the end unless it has taken its name."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=target.parent))
    except OSError as error:
        raise FileError(
            f"cannot make {target}: {error.strerror}; set XDG_DATA_HOME to a folder of yours"
        ) from None
    try:
        made.chmod(0o755)
        yield made
    except OSError as error:
        raise FileError(f"cannot make {target}: {error.strerror}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _added_names() -> list[str]:
    return sorted(
        each.parent.name for each in user_voices().glob(f"*/{RECORD}") if NAME.fullmatch(each.parent.name)
    )


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        hashes = found["sha256"]
        fits = all(isinstance(value, str) and Path(name).name == name for name, value in hashes.items())
        fits = fits and isinstance(found["speed"], (int, float))
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        fits = False
    if not fits:
        raise FileError(
            f"{path} is damaged: run 'rtaudio voices remove {folder.name}', and add the voice anew"
        )
    return dict(found)


def _network(folder: Path, record: dict[str, Any]) -> Path:
    """What `find_parts` takes for an added voice: its network, or the folder of a pair."""
    networks = [name for name in record["sha256"] if name.endswith(".onnx")]
    return folder / networks[0] if len(networks) == 1 else folder


def _known(folder: Path) -> Known:
    from engines.speech.config import find_parts, read_config

    record = _record(folder)
    card, networks = find_parts(_network(folder, record))
    config = read_config(card)
    size = sum(network.stat().st_size for network in networks)
    cut = cut_of(record.get("cut"))
    return Known(
        folder.name,
        "piper",
        config.language,
        config.licence,
        size,
        config.rate,
        max(1, len(config.speakers)),
        record["speed"],
        note="" if cut is None else cut.note(folder.name),
    )


def _open_added(folder: Path) -> PiperVoice:
    from engines.speech.config import find_parts
    from engines.speech.piper import PiperVoice

    record = _record(folder)
    path = _network(folder, record)
    card, networks = find_parts(path)
    contents = []
    for file in (card, *networks):
        try:
            contents.append(file.read_bytes())
        except OSError as error:
            raise FileError(f"{file}: {error.strerror}") from None
        if _hash(contents[-1]) != record["sha256"].get(file.name):
            raise FileError(
                f"{file} has changed since it was added: run "
                f"'rtaudio voices remove {folder.name}', and add the voice anew"
            )
    return PiperVoice(path, folder.name, contents[1:], cut_of(record.get("cut")))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# ------------------------------------------------------------------------------------ the command
