"""The voices that are there: the project's own, espeak-ng's, and those of Piper's kind that a user has added.

An added voice lies in ``$XDG_DATA_HOME/rtaudio/voices/NAME`` with ``rtaudio.json``, which has the hashes of
its files: what has changed since is not run. So do the project's own in ``engines/models/voices``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.cards import SHIPPED
from engines.speech.cuts import Cut, cut_of, recall
from engines.speech.espeak import Espeak, EspeakVoice
from engines.speech.pronunciation import find_pronouncer
from engines.speech.voice import Voice
from rtaudio.errors import FileError, UserError, nearest
from rtaudio.folders import data_folder

if TYPE_CHECKING:
    from engines.speech.piper import PiperVoice

SHIPPED_VOICES = SHIPPED / "voices"
DEFAULTS = {"en": "kathleen"}
"""The project's own voice of a language, which speaks it unless another is asked for."""
RECORD = "rtaudio.json"
ESPEAK = "espeak-"
ESPEAK_LICENCE = "GPL-3.0-or-later"
VARIETIES = {"en": "en-us", "bn": "bn"}
"""espeak-ng's voice of a language that is read here."""
PAPERS = "MODEL_CARD", "LICENSE", "LICENSE.txt", "LICENSE.md", "tokens.txt"
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
    """CPU seconds for a second of sound, if it is known."""
    trouble: str = ""
    """Why it cannot be used."""
    note: str = ""
    """What who uses it may want to know."""


def user_voices() -> Path:
    """Folder of the voices that a user has added."""
    return data_folder() / "voices"


def default_voice(language: str) -> str:
    """Name of the voice that speaks a language, ``en`` or ``bn``, unless another is asked for.

    Without ONNX Runtime, which runs the project's own, it is espeak-ng's.
    """
    own = DEFAULTS.get(language)
    return own if own and importlib.util.find_spec("onnxruntime") else f"{ESPEAK}{language}"


def open_voice(name: str = "", language: str = "en") -> Voice:
    """A voice, ready to speak.

    Parameters
    ----------
    name
        As in `known_voices`, ``espeak-XX`` for any voice of espeak-ng, or the path of a folder or NAME.onnx
        of Piper's kind. Empty: `default_voice`.
    language
        ``en`` or ``bn``.

    Raises
    ------
    UserError
        There is none such, or it cannot be used.
    """
    name = name or default_voice(language)
    check_name(name)
    folder = _folder_of(name)
    if folder is not None:
        return _opened(folder)
    if name.startswith(ESPEAK):
        variety = name.removeprefix(ESPEAK)
        return EspeakVoice(name, VARIETIES.get(variety, variety), find_pronouncer(variety))
    from engines.speech.piper import PiperVoice

    path = Path(name)
    return PiperVoice(path, path.stem if path.suffix == ".onnx" else path.resolve().name)


def anywhere(name: str) -> str:
    """What `open_voice` takes for the same voice in a process with another current folder."""
    if not name or name.startswith(ESPEAK) or _folder_of(name) is not None:
        return name
    return os.path.abspath(name) if Path(name).exists() else name


def known_voices() -> list[Known]:
    """All voices: the project's own, those that were added, espeak-ng's."""
    found = []
    for folder in _folders():
        name = folder.name
        try:
            found.append(_known(folder))
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
    if _is_own(name):
        raise UserError(f"{name!r} is a voice that comes with rtaudio: give another --name")
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
        write_record(made, (card, *networks), known, round(speed, 4))
        try:
            made.rename(target)
        except OSError as error:
            raise FileError(f"cannot make {target}: {error.strerror}") from None
    return _known(target)


def write_record(folder: Path, files: Iterable[Path], cut: Cut | None, speed: float | None = None) -> None:
    """Write `RECORD` for a voice.

    Parameters
    ----------
    folder
        Of the voice.
    files
        Those that it is opened with: its JSON, then its networks.
    cut
        How they are run, if that is known.
    speed
        CPU seconds for a second of sound, if it is known.
    """
    record: dict[str, Any] = {"sha256": {file.name: _hash(file.read_bytes()) for file in files}}
    record |= {} if speed is None else {"speed": speed}
    record["cut"] = None if cut is None else asdict(cut)
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


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
        if _is_own(name):
            raise UserError(f"{name!r} comes with rtaudio, and stays")
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
    if name and not name.startswith(ESPEAK) and _folder_of(name) is None and not _is_path(name):
        known = [*(folder.name for folder in _folders()), *(f"{ESPEAK}{each}" for each in VARIETIES)]
        listed = f" ({', '.join(known)})"
        raise UserError(f"no voice {name!r}{nearest(name, known)}{listed}: see 'rtaudio voices'")


def _is_own(name: str) -> bool:
    return name in DEFAULTS.values()


def _folder_of(name: str) -> Path | None:
    """The folder of one of the project's own voices, or of one that a user has added."""
    if _is_own(name):
        return SHIPPED_VOICES / name
    folder = user_voices() / name
    return folder if NAME.fullmatch(name) and (folder / RECORD).is_file() else None


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


def _folders() -> list[Path]:
    """The folders of all voices but espeak-ng's."""
    names = (*DEFAULTS.values(), *_added_names())
    return [folder for name in dict.fromkeys(names) if (folder := _folder_of(name)) is not None]


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        hashes = found["sha256"]
        fits = all(isinstance(value, str) and Path(name).name == name for name, value in hashes.items())
        fits = fits and isinstance(found.get("speed", 0.0), (int, float))
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        fits = False
    if not fits:
        raise FileError(
            f"{path} is damaged: run 'rtaudio voices remove {folder.name}', and add the voice anew"
        )
    return dict(found)


@contextmanager
def _as_installed(folder: Path) -> Iterator[None]:
    """What is wrong with the files of one of the project's own voices is told in one way."""
    try:
        yield
    except FileError:
        if folder.parent != SHIPPED_VOICES:
            raise
        raise FileError(
            f"{folder} is missing or damaged: install rtaudio anew, or speak with --voice {ESPEAK}en"
        ) from None


def _network(folder: Path, record: dict[str, Any]) -> Path:
    """What `find_parts` takes for a voice with a record: its network, or the folder of a pair."""
    networks = [name for name in record["sha256"] if name.endswith(".onnx")]
    return folder / networks[0] if len(networks) == 1 else folder


def _known(folder: Path) -> Known:
    from engines.speech.config import find_parts, read_config

    with _as_installed(folder):
        record = _record(folder)
        card, networks = find_parts(_network(folder, record))
        config = read_config(card)
        size = sum(network.stat().st_size for network in networks)
        cut = cut_of(record.get("cut"))
    speed = record.get("speed")
    if speed is None:
        with closing(_opened(folder)) as voice:
            voice.check()
            speed = voice.speed()
    return Known(
        folder.name,
        "piper",
        config.language,
        config.licence,
        size,
        config.rate,
        max(1, len(config.speakers)),
        speed,
        note="" if cut is None else cut.note(folder.name),
    )


def _opened(folder: Path) -> PiperVoice:
    """A voice with a record, ready to speak."""
    from engines.speech.config import find_parts
    from engines.speech.piper import PiperVoice

    with _as_installed(folder):
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
