"""Sets of recordings: the layouts they come in, who speaks, what may be done with them.

The layouts that are known, each by what stands in a folder:

==================  =========================================================================================
LJSpeech            ``metadata.csv`` of ``id|text`` or ``id|text|normalised text``, audio in ``wavs/`` or
                    beside it; the speaker is the folder's name
VoiceBank-DEMAND    ``clean_trainset_28spk_wav``, ``noisy_testset_wav`` and the like, with or without
                    ``_wav``; the speaker is the ``p232`` of ``p232_001.wav``
clean and noisy     ``clean/`` with ``noisy/`` or ``noise/`` (each also with ``_fullband`` behind): DNS
                    challenge, whose files pair by ``fileid_N`` and tell the speaker by ``reader_N``; and what
                    ``data mix`` writes, whose files pair by name
BUT ReverbDB        ``ROOM/MicID01/SpkID01_.../09/`` with impulse responses in ``RIR/`` and room noise in
                    ``silence/``
plain               audio files; the speaker is the first number of ``103-1240-0000`` (LibriSpeech), else the
                    ``p232`` or ``reader_N`` of names as above, else the folder's name
==================  =========================================================================================

Folders may be nested: what is of no layout itself is searched for folders that are.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtaudio.errors import FileError, UserError, nearest

# ------------------------------------------------------------------------------------------ layouts

LJSPEECH, VOICEBANK, PAIRS, ROOMS, PLAIN = (
    "LJSpeech",
    "VoiceBank-DEMAND",
    "clean and noisy",
    "BUT ReverbDB",
    "plain",
)
CLEAN, NOISY, NOISE, RESPONSES, ANY = "clean", "noisy", "noise", "rooms", "any"
"""What the recordings of a folder are; of plain ones nobody says whether they are speech."""
WANTED = (
    "want metadata.csv beside wavs/ (LJSpeech), clean_trainset_28spk_wav/ and the like (VoiceBank-DEMAND), "
    "clean/ with noisy/ or noise/ (DNS), MicID*/SpkID*/*/RIR/ (BUT ReverbDB), or audio files, alone or in "
    "folders named after their speakers"
)

_VOICEBANK = re.compile(r"(clean|noisy)_((?:train|test)set(?:_\d+spk)?)(?:_wav)?")
_POSITION = re.compile(r"(?:Mic|Spk)ID\d+")
_FILE_ID = re.compile(r"fileid_\d+$")
_SPEAKERS = re.compile(r"^(\d+)-\d+-\d+$|^(p\d{3})_\d+|(reader_\d+)")


@dataclass(frozen=True)
class Clip:
    """A recording of one speaker, and what is said in it, where that is known."""

    path: Path
    speaker: str
    text: str | None = None


def parts(folder: Path) -> list[tuple[str, Path]]:
    """The layouts in a folder, each with the folder that is of it; see the module's table.

    Raises
    ------
    FileError
        It is no folder, cannot be read, or nothing in it is of a layout that is known.
    """
    if not folder.is_dir():
        raise FileError(f"{folder} is not a folder")
    try:
        found = list(_parts(folder, set()))
    except OSError as error:
        raise FileError(f"cannot read {error.filename}: {error.strerror}") from None
    if not found:
        raise FileError(f"{folder} is of no layout known here: {WANTED}")
    return found


def _parts(folder: Path, seen: set[Path]) -> Iterator[tuple[str, Path]]:
    real = folder.resolve()
    if real in seen:  # a link to a folder above
        return
    seen.add(real)
    folders = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] != "."}
    if (folder / "metadata.csv").is_file():
        yield LJSPEECH, folder
    elif any(map(_VOICEBANK.fullmatch, folders)):
        yield VOICEBANK, folder
    elif _side(folder, CLEAN) and (_side(folder, NOISY) or _side(folder, NOISE)):
        yield PAIRS, folder
    elif any(map(_POSITION.match, (real.name, *folders))):
        yield ROOMS, folder
    else:
        if _audio(folder):
            yield PLAIN, folder
        for inside in folders.values():
            yield from _parts(inside, seen)


def _side(folder: Path, name: str) -> Path | None:
    """The folder of that name in one of `PAIRS`."""
    return next((path for end in ("", "_fullband") if (path := folder / f"{name}{end}").is_dir()), None)


def _audio(folder: Path | None, deep: bool = False) -> list[Path]:
    """A folder's audio files, sorted, those in its folders too if ``deep``; none where there is no folder."""
    from rtaudio.files import EXTENSIONS

    if folder is None or not folder.is_dir():
        return []
    return sorted(
        path
        for path in (folder.rglob("*") if deep else folder.iterdir())
        if path.suffix.lower() in EXTENSIONS and path.name[0] != "." and path.is_file()
    )


def recordings(layout: str, folder: Path) -> dict[str, list[Clip]]:
    """What a folder of a layout has, by what it is."""
    if layout == LJSPEECH:
        return {CLEAN: read_metadata(folder)[0]}
    files: dict[str, list[Path]] = {}
    known: dict[str, str] = {}
    if layout == VOICEBANK:
        for path in sorted(folder.iterdir()):
            if match := _VOICEBANK.fullmatch(path.name):
                files.setdefault(match[1], []).extend(_audio(path))
    elif layout == PAIRS:
        files = {what: _audio(_side(folder, what), deep=True) for what in (CLEAN, NOISY, NOISE)}
        known = _known_speakers(folder, files[NOISY])
    elif layout == ROOMS:
        found = _audio(folder, deep=True)
        for what, name in ((RESPONSES, "RIR"), (NOISE, "silence")):
            files[what] = [path for path in found if path.parent.name == name]
    else:
        files = {ANY: _audio(folder)}
    name = folder.resolve().name
    return {
        what: [Clip(path, known.get(_key(path)) or _speaker(path) or name) for path in own]
        for what, own in files.items()
        if own
    }


def _speaker(path: Path) -> str:
    """The speaker that a file's name tells, or nothing."""
    match = _SPEAKERS.search(path.stem)
    return next(filter(None, match.groups())) if match else ""


def _key(path: Path) -> str:
    """What a file's name has in common with its partner's."""
    match = _FILE_ID.search(path.stem)
    return match[0] if match else path.stem


def _known_speakers(folder: Path, noisy: Sequence[Path]) -> dict[str, str]:
    """Speakers by key, as ``pairs.csv`` or the names of noisy files tell them."""
    known = {_key(path): _speaker(path) for path in noisy}
    if (folder / "pairs.csv").is_file():
        rows = csv.DictReader(io.StringIO(read_text(folder / "pairs.csv"), newline=""))
        known |= {row["name"]: row["speaker"] for row in rows if row.get("name") and row.get("speaker")}
    return known


def read_metadata(folder: Path, speakers: bool = False) -> tuple[list[Clip], list[str], list[str]]:
    """Clips of an LJSpeech folder, what is wrong with its ``metadata.csv``, and ids that it leaves out.

    Ids are looked up among the files of ``wavs/``, or those beside the table where there is no such folder,
    so that none leads elsewhere. With ``speakers`` lines are ``id|speaker|text``. Of lines with more columns
    than a normalised text nobody knows which is the text.
    """
    files: dict[str, Path] = {}
    wavs = folder / "wavs"
    for path in _audio(wavs if wavs.is_dir() else folder):
        other = files.setdefault(path.stem, path)
        if other != path:
            raise FileError(f"{other} and {path} have one id: remove one")
    speaker = folder.resolve().name
    clips: dict[str, Clip] = {}
    problems = []
    for number, line in enumerate(read_text(folder / "metadata.csv").split("\n"), 1):
        if not line.strip():
            continue
        name, *texts = line.split("|")
        where = f"{speaker}/metadata.csv, line {number}"
        if len(texts) < 1 + speakers:
            problems.append(f"{where}: " + ("want id|speaker|text" if speakers else "no '|', want id|text"))
        elif name in clips:
            problems.append(f"{where}: {name!r} is there twice")
        elif name not in files:
            problems.append(f"{where}: no audio {name!r} in {'wavs/' if wavs.is_dir() else 'the folder'}")
        else:
            who = (texts.pop(0).strip() if speakers else "") or speaker
            normalised_first = map(str.strip, texts[1::-1])
            text = next(filter(None, normalised_first), "") if len(texts) <= 2 else None
            clips[name] = Clip(files[name], who, text)
    return sorted(clips.values(), key=lambda clip: clip.path), problems, sorted(set(files) - set(clips))


def read_text(path: Path, errors: str = "strict") -> str:
    """The text of a file; `FileError` where it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig", errors=errors)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise FileError(f"cannot read {path}: it is not UTF-8 text in line {line}") from None


def shown(path: Path) -> str:
    """The last two names of a path, which tell what it is and not whose machine it is on."""
    return Path(*path.resolve().parts[1:][-2:]).as_posix()


def find_clips(folders: Sequence[Path]) -> list[Clip]:
    """Every recording of speech in folders of any layout; of pairs the clean one.

    Parameters
    ----------
    folders
        As the module's table has them, or folders of such.

    Returns
    -------
    In the order of the folders, sorted in each, each file once.

    Raises
    ------
    FileError
        A folder is of no known layout or has no speech, or a ``metadata.csv`` names audio that is not there.
    """
    found: dict[Path, Clip] = {}
    for folder in folders:
        clips = []
        for layout, part in parts(folder):
            if layout == LJSPEECH and (problems := read_metadata(part)[1]):
                more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
                raise FileError(f"{problems[0]}{more}: mend {part / 'metadata.csv'}")
            clips += [clip for what in (CLEAN, ANY) for clip in recordings(layout, part).get(what, [])]
        if not clips:
            raise FileError(f"{folder} has no speech: {WANTED}")
        found.update((clip.path, clip) for clip in clips)
    return list(found.values())


def find_noise(folders: Sequence[Path]) -> list[Path]:
    """Every recording of noise: ``noise/`` of DNS folders, ``silence/`` of rooms, and all plain files.

    Raises
    ------
    FileError
        A folder is of no known layout, or its noise is not apart from speech.
    """
    return _files(folders, (NOISE, ANY), "noise apart from speech: want noise/, silence/ or plain files")


def find_rooms(folders: Sequence[Path]) -> list[Path]:
    """Every measured room impulse response: ``RIR/`` of BUT ReverbDB folders, and all plain files.

    I. Szöke, M. Skácel, L. Mošner, J. Paliesek, J. Černocký, "Building and evaluation of a real room impulse
    response dataset", IEEE Journal of Selected Topics in Signal Processing 13 (4), 2019.

    Raises
    ------
    FileError
        A folder has none.
    """
    return _files(
        folders, (RESPONSES, ANY), "room impulse responses: want RIR/ (BUT ReverbDB) or plain files"
    )


def _files(folders: Sequence[Path], wanted: Collection[str], missing: str) -> list[Path]:
    found: dict[Path, None] = {}
    for folder in folders:
        each_part = [recordings(layout, part) for layout, part in parts(folder)]
        files = [clip.path for own in each_part for what in wanted for clip in own.get(what, [])]
        if not files:
            raise FileError(f"{folder} has no {missing}")
        found.update(dict.fromkeys(files))
    return list(found)


def find_pairs(source: Path | tuple[Path, Path]) -> list[tuple[Path, Path]]:
    """Clean and noisy recordings that belong together.

    Parameters
    ----------
    source
        A VoiceBank-DEMAND folder, or one with ``clean/`` and ``noisy/``, or folders of such; or two folders,
        the noisy one first. Files pair by the ``fileid_N`` that their names end with, else by their name
        without extension.

    Returns
    -------
    ``(clean, noisy)`` paths, sorted by the clean one.

    Raises
    ------
    FileError
        There are none, or a file has no partner.
    """
    sides = (
        [source]
        if not isinstance(source, Path)
        else [side for part in parts(source) for side in sides_of(*part)]
    )
    if not sides:
        raise FileError(f"{source} has no pairs: want clean/ and noisy/, or clean_testset_wav/ and the like")
    found = []
    for noisy, clean in sides:
        pairs, problems = match(noisy, clean)
        if problems:
            raise FileError(problems[0])
        found += pairs
    return found


def speakers_of(pairs: Sequence[tuple[Path, Path]], folder: Path) -> list[str]:
    """Speakers of pairs (clean, noisy) from a folder with ``clean/`` and ``noisy/``.

    They are told by its ``pairs.csv`` or by the files' names; else by the name of the clean file's folder.
    """
    known = _known_speakers(folder, [noisy for _, noisy in pairs])
    return [known.get(_key(clean)) or _speaker(clean) or clean.parent.resolve().name for clean, _ in pairs]


def sides_of(layout: str, folder: Path) -> list[tuple[Path, Path]]:
    """Noisy and clean folders that belong together, in a folder of a layout."""
    if layout == PAIRS:
        noisy, clean = _side(folder, NOISY), _side(folder, CLEAN)
        return [(noisy, clean)] if noisy and clean else []
    if layout != VOICEBANK:
        return []
    sides: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        if match := _VOICEBANK.fullmatch(path.name):
            sides.setdefault(match[2], {})[match[1]] = path
    return [(side[NOISY], side[CLEAN]) for side in sides.values() if len(side) == 2]


def match(noisy: Path, clean: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Pairs of two folders, and what does not pair."""
    problems = []
    sides: list[dict[str, Path]] = []
    for folder in (clean, noisy):
        if not folder.is_dir():
            raise FileError(f"{folder} is not a folder")
        files: dict[str, Path] = {}
        for path in _audio(folder, deep=True):
            other = files.setdefault(_key(path), path)
            if other != path:
                problems.append(f"{other} and {path} would have one partner: rename or remove one")
        if not files:
            raise FileError(f"no audio files in {folder}")
        sides.append(files)
    for own, others, place in ((sides[0], sides[1], noisy), (sides[1], sides[0], clean)):
        problems += [
            f"{path} has no partner {key!r} in {place}{nearest(key, others)}"
            for key, path in own.items()
            if key not in others
        ]
    return [(path, sides[1][key]) for key, path in sides[0].items() if key in sides[1]], problems


# ------------------------------------------------------------------------------------------ split


def split(clips: Sequence[Clip], held_out: float | Sequence[str], seed: int) -> tuple[list[Clip], list[Clip]]:
    """Part clips by their speakers, so that nobody is on both sides.

    Parameters
    ----------
    clips
        In any order, which is kept.
    held_out
        Names of speakers, or the share of speakers, from 0 to below 1, that ``seed`` draws: at least one
        unless it is 0.

    Returns
    -------
    Clips to train on, and those that are held out.

    Raises
    ------
    UserError
        A name is not that of a speaker, the share is out of range, or nobody would be left to train on.
    """
    speakers = sorted({clip.speaker for clip in clips})
    if isinstance(held_out, (int, float)):
        if not 0 <= held_out < 1:
            raise UserError(f"{held_out:g} is no share of speakers to hold out: want 0 to below 1")
        count = max(1, round(held_out * len(speakers))) if held_out else 0
        drawn = np.random.default_rng(seed).permutation(len(speakers))[:count]
        out = {speakers[number] for number in drawn}
    else:
        out = set(held_out)
        for name in sorted(out - set(speakers)):
            raise UserError(f"no speaker {name!r} to hold out{nearest(name, speakers)}")
    if not set(speakers) - out:
        raise UserError(f"holding out {', '.join(sorted(out))} leaves nobody to train on: add speakers")
    sides: tuple[list[Clip], list[Clip]] = ([], [])
    for clip in clips:
        sides[clip.speaker in out].append(clip)
    return sides


# ------------------------------------------------------------------------------------------ licence

NOT_STATED = "not stated"

_LICENCE_FILES = re.compile(r"(?:licen[cs]e|copying|readme)(?:[.-].*)?", re.IGNORECASE)
_LICENCE = re.compile(r"licen[cs]e|creative commons|\bcc[ -]?(?:by|0)\b|public domain", re.IGNORECASE)
_LABEL = re.compile(r"licen[cs]e\W*", re.IGNORECASE)
_LONGEST = 160


def licence(folder: Path) -> str:
    """What is written about a folder's licence, on one line, or `NOT_STATED`.

    It is looked for in READMEs of the folder and the three above it, for a table with a column "licence" (or
    "license") and a row for the folder, one that holds it or those in it; then in ``set.json``, LICENSE,
    LICENCE, COPYING and README files of the folder and the one above it, for a first line that speaks of it.
    """
    folder = folder.resolve()
    above = [folder, *folder.parents][:4]
    for place in above:
        for path in _licence_files(place):
            if rows := _licence_rows(path, folder):
                return "; ".join(dict.fromkeys(rows))
    for place in above[:2]:
        for path in _licence_files(place):
            if line := _licence_line(path):
                return line
    return NOT_STATED


def _licence_files(folder: Path) -> list[Path]:
    """Files that may tell a licence: the set's own first, READMEs last."""
    try:
        names = sorted(path for path in folder.iterdir() if _LICENCE_FILES.fullmatch(path.name))
    except OSError:
        return []
    names.sort(key=lambda path: path.name.lower().startswith("readme"))
    return [path for path in (folder / "set.json", *names) if path.is_file()]


def _licence_rows(path: Path, folder: Path) -> list[str]:
    """Licences in a README's table, of the rows whose first cell is a folder's path below the README."""
    own = folder.relative_to(path.parent).as_posix()
    column, found = 0, []
    for line in read_text(path, "replace").splitlines():
        cells = [cell.strip().strip("`*") for cell in line.replace(r"\|", "/").strip().strip("|").split("|")]
        titles = [cell.lower() for cell in cells]
        if not line.strip().startswith("|"):
            column = 0
        elif not column:
            column = next((titles.index(title) for title in ("licence", "license") if title in titles), 0)
        elif column < len(cells) and cells[column].strip("-: "):
            row = cells[0].strip("/")
            if row and (own in (".", row) or own.startswith(f"{row}/") or row.startswith(f"{own}/")):
                found.append(cells[column])
    return found


def _licence_line(path: Path) -> str:
    """The first line of a text that speaks of a licence, or what follows it if that is a mere heading."""
    text = read_text(path, "replace")
    if path.name == "set.json":
        return _licence_of_set(text)
    lines = [line.strip(" \t#*_=-|>") for line in text.splitlines()]
    lines = [" ".join(line.split()) for line in lines if line]
    for number, line in enumerate(lines):
        if _LICENCE.search(line):
            told = _LABEL.sub("", line, count=1) if _LABEL.match(line) else line
            told = told or next(iter(lines[number + 1 :]), "")
            return told[:_LONGEST].rstrip()
    if lines and not path.name.lower().startswith("readme"):
        return lines[0][:_LONGEST].rstrip()
    return ""


def _licence_of_set(text: str) -> str:
    """The licences of what a set that ``data`` made was made of."""
    try:
        return "; ".join(dict.fromkeys(str(source["licence"]) for source in json.loads(text)["licences"]))
    except (ValueError, KeyError, TypeError):
        return ""
