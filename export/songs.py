"""Training material for the separator: songs whose drums and pitched parts are rendered apart.

Three kinds of files, 44.1 kHz stereo FLAC:

- ``songNNNN.drums.flac`` and ``songNNNN.pitched.flac``: a composed song, rendered with a SoundFont;
- ``kitNNNN.drums.flac``: drum patterns played with the samples of a Hydrogen drum kit;
- ``voiceNNNN.pitched.flac``: speech, or speech turned into singing with the WORLD vocoder.

Every file depends on the seed and its number only, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from rtaudio.errors import FileError, UserError

RATE = 44_100
TICKS = 480
"""MIDI ticks per beat."""
DRUM_CHANNEL = 9

Audio = NDArray[np.float32]
Random = np.random.Generator


class Note(NamedTuple):
    """A note: begin and length in beats, MIDI pitch and velocity."""

    begin: float
    length: float
    pitch: int
    velocity: int


class Part(NamedTuple):
    """An instrument and what it plays: General MIDI program from 0, MIDI pan and volume."""

    program: int
    pan: int
    volume: int
    notes: list[Note]
    vibrato: int = 0


# --------------------------------------------------------------------------------------------- composition

MODES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10), (0, 2, 4, 5, 7, 9, 10))
"""Major, minor, dorian, mixolydian, in semitones."""
PROGRESSIONS = (
    (0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 4), (1, 4, 0, 0),
    (0, 0, 3, 4), (5, 3, 0, 4), (0, 6, 5, 6), (0, 2, 3, 4),
)  # fmt: skip
BASSES = (32, 33, 34, 35, 36, 37, 38, 39, 43, 58, 70, 87)
PADS = (0, 4, 16, 17, 18, 19, 20, 21, 23, 44, 48, 49, 50, 51, 52, 53, 54, 61, 62, 63, *range(88, 104))
COMPS = (0, 1, 2, 3, 4, 5, 6, 7, 11, 21, 24, 25, 26, 27, 28, 29, 30, 45, 61, 62, 81, 105)
ARPEGGIOS = (*range(16), 24, 25, 26, 27, 45, 46, 80, 81, 84, 98, 104, 105, 106, 107, 108, 114)
LEADS = (11, 12, 22, 26, 27, 29, 30, 40, 41, 42, 52, 53, 54, 56, 57, 59, 60, *range(64, 88), 109, 110, 111)

# One bar in sixteenths: x hit, o soft or open, . nothing.
GROOVES: dict[str, dict[int, str]] = {
    "rock": {36: "x.....x.x.......", 38: "....x.......x...", 42: "x.x.x.x.x.x.x.x."},
    "ballad": {36: "x.........x.....", 37: "....x.......x...", 42: "x...x...x...x..."},
    "house": {36: "x...x...x...x...", 39: "....x.......x...", 46: "..x...x...x...x.", 42: "x.ox.ox.ox.ox.oo"},
    "funk": {36: "x..x..x...x..x..", 38: "....x..o.o..x..o", 42: "xoxoxoxoxoxoxoxo", 46: "..............x."},
    "hiphop": {36: "x......x..x.....", 38: "....x.......x..o", 42: "x.x.x.xxx.x.x.x."},
    "jazz": {51: "x...x.ox....x.ox", 44: "....x.......x...", 38: "o..o...o..o....o", 36: "o.......o..o...."},
    "latin": {36: "x..xx..xx..xx..x", 62: "..x.....x.x.....", 63: "...x..x....x..xx", 64: "x.......x...x...",
              75: "x..x..x...x.x...", 70: "xoxoxoxoxoxoxoxo", 56: "x...x...x...x..."},
    "metal": {36: "xxxxxxxxxxxxxxxx", 38: "....x.......x...", 49: "x...............", 51: "x.x.x.x.x.x.x.x."},
    "blast": {36: "x.x.x.x.x.x.x.x.", 38: ".x.x.x.x.x.x.x.x", 51: "x.x.x.x.x.x.x.x."},
    "break": {36: "x.x.......x..x..", 38: "....x..o.o.ox..o", 51: "x.x.x.x.x.x.x.x."},
    "orchestral": {36: "x.......x.......", 38: "x.ooxooox.ooxooo", 49: "x...............",
                   54: "....x.......x..."},
    "percussion": {60: "x..x..x.x..x..x.", 61: "..x..x...x.x...x", 69: "x.o.x.o.x.o.x.o.",
                   54: "....x.......x...", 76: "x...x..x....x.x.", 67: "..x...x...x...x."},
}  # fmt: skip
FILL = (50, 48, 47, 45, 43, 41, 38, 38)
KITS = (0, 0, 0, 8, 16, 24, 25, 32, 40, 48)


def _human(rng: Random, begin: float, swing: float) -> float:
    late = swing * 0.25 if round(begin * 4) % 2 else 0.0
    return max(0.0, begin + late + rng.normal(0, 0.008))


def drum_notes(rng: Random, bars: int, groove: str, swing: float) -> list[Note]:
    """A groove, varied bar by bar, with fills and crashes."""
    notes = []
    patterns = dict(GROOVES[groove])
    patterns = {drum: row for drum, row in patterns.items() if rng.random() < 0.9} or patterns
    if rng.random() < 0.3:
        extra = GROOVES[str(rng.choice(["latin", "percussion"]))]
        patterns |= {drum: row for drum, row in extra.items() if rng.random() < 0.3}
    loud = rng.uniform(70, 120)
    for bar in range(bars):
        fill = bar % 4 == 3 and rng.random() < 0.6
        if bar % 4 == 0 and rng.random() < 0.6:
            notes.append(Note(bar * 4.0, 1.0, int(rng.choice([49, 57, 55, 52])), int(loud)))
        for drum, row in patterns.items():
            for step, mark in enumerate(row):
                if fill and step >= 8 and drum != 36:
                    continue
                hit = rng.random() < (0.97 if mark != "." else 0.02)
                if hit:
                    strength = loud * (1.0 if mark == "x" else 0.6) * rng.uniform(0.8, 1.1)
                    at = _human(rng, bar * 4 + step / 4, swing)
                    notes.append(Note(at, 0.2, drum, int(np.clip(strength, 10, 127))))
        if fill:
            for step in range(8, 16):
                drum = FILL[step - 8] if rng.random() < 0.7 else int(rng.choice(FILL))
                at = _human(rng, bar * 4 + step / 4, swing)
                notes.append(Note(at, 0.2, drum, int(rng.uniform(60, 120))))
    return notes


def _chord(root: int, mode: Sequence[int], degree: int, size: int, low: int) -> list[int]:
    """A chord of thirds on a degree of the scale, in the octave above ``low``, a fourth tone above."""
    tones = [root + mode[(degree + 2 * i) % 7] for i in range(size)]
    return sorted(low + (tone - low) % 12 + (12 if i == 3 else 0) for i, tone in enumerate(tones))


def _bass(rng: Random, chords: Sequence[Sequence[int]], swing: float) -> list[Note]:
    low = int(rng.integers(28, 34))
    style = rng.choice(["long", "eighths", "syncopated", "walking", "octaves"])
    notes = []
    for bar, chord in enumerate(chords):
        root = low + (chord[0] - low) % 12
        steps = {"long": [0], "eighths": list(range(0, 16, 2)), "syncopated": [0, 3, 6, 10, 14],
                 "walking": [0, 4, 8, 12], "octaves": list(range(0, 16, 2))}[str(style)]  # fmt: skip
        for i, step in enumerate(steps):
            if i and rng.random() < 0.1:
                continue
            length = (steps[i + 1] if i + 1 < len(steps) else 16) - step
            pitch = root
            if style == "walking" and i:
                pitch = low + (int(rng.choice(chord)) - low) % 12
                pitch += int(rng.choice([0, 0, 1, -1])) if i == 3 else 0
            if style == "octaves" and i % 2:
                pitch += 12
            at = _human(rng, bar * 4 + step / 4, swing)
            notes.append(Note(at, length / 4 * rng.uniform(0.6, 1.0), pitch, int(rng.uniform(70, 115))))
    return notes


def _pad(rng: Random, chords: Sequence[Sequence[int]]) -> list[Note]:
    velocity = int(rng.uniform(50, 100))
    return [Note(bar * 4.0, 3.95, pitch, velocity) for bar, chord in enumerate(chords) for pitch in chord]


def _comp(rng: Random, chords: Sequence[Sequence[int]], swing: float) -> list[Note]:
    steps = [step for step in range(0, 16, int(rng.choice([1, 2, 2, 4]))) if rng.random() < 0.6] or [0, 8]
    short = rng.uniform(0.1, 0.9)
    strum = rng.uniform(0, 0.02)
    notes = []
    for bar, chord in enumerate(chords):
        for step in steps:
            velocity = int(rng.uniform(60, 115))
            at = _human(rng, bar * 4 + step / 4, swing)
            notes += [Note(at + strum * i, short, pitch, velocity) for i, pitch in enumerate(chord)]
    return notes


def _arpeggio(rng: Random, chords: Sequence[Sequence[int]], swing: float) -> list[Note]:
    step = float(rng.choice([0.25, 0.25, 0.5, 1 / 3]))
    ring = rng.uniform(0.8, 4.0)
    order = rng.choice(["up", "down", "random"])
    notes = []
    for bar, chord in enumerate(chords):
        tones = [*chord, *(pitch + 12 for pitch in chord)]
        for i in range(round(4 / step)):
            place = {"up": i, "down": -1 - i, "random": int(rng.integers(99))}[str(order)] % len(tones)
            at = _human(rng, bar * 4 + i * step, swing if step == 0.25 else 0.0)
            notes.append(Note(at, step * ring, tones[place], int(rng.uniform(55, 110))))
    return notes


def _lead(rng: Random, root: int, mode: Sequence[int], bars: int, swing: float) -> list[Note]:
    scale = [root + 12 * octave + tone for octave in range(-2, 4) for tone in mode]
    scale = [pitch for pitch in scale if 55 <= pitch <= 88]
    place, at = len(scale) // 2, 0.0
    notes = []
    while at < bars * 4:
        length = float(rng.choice([0.25, 0.5, 0.5, 1.0, 1.5, 2.0, 3.0]))
        place = int(np.clip(place + rng.integers(-3, 4), 0, len(scale) - 1))
        if rng.random() < 0.8:
            begin = _human(rng, at, swing)
            notes.append(Note(begin, length * rng.uniform(0.7, 1.0), scale[place], int(rng.uniform(65, 115))))
        at += length
    return notes


def compose(rng: Random, seconds: float) -> tuple[float, str, list[Part], Part]:
    """A song: beats per minute, its groove, its pitched parts and its drum part."""
    bpm = float(np.exp(rng.uniform(np.log(65), np.log(185))))
    bars = max(2, int(seconds * bpm / 240))
    groove = str(rng.choice(list(GROOVES)))
    swing = float(rng.choice([0, 0, 0.2, 0.33])) if groove != "jazz" else 0.33
    root, mode = int(rng.integers(48, 60)), MODES[int(rng.integers(len(MODES)))]
    progression = PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))]
    size, low = int(rng.choice([2, 3, 3, 4])), int(rng.integers(48, 62))
    chords = [_chord(root, mode, progression[bar % 4], size, low) for bar in range(bars)]
    write: dict[str, tuple[Sequence[int], Callable[[], list[Note]]]] = {
        "bass": (BASSES, lambda: _bass(rng, chords, swing)),
        "pad": (PADS, lambda: _pad(rng, chords)),
        "comp": (COMPS, lambda: _comp(rng, chords, swing)),
        "arpeggio": (ARPEGGIOS, lambda: _arpeggio(rng, chords, swing)),
        "lead": (LEADS, lambda: _lead(rng, root, mode, bars, swing)),
    }
    chance = {"bass": 0.85, "pad": 0.55, "comp": 0.55, "arpeggio": 0.5, "lead": 0.6}
    roles = [role for role in write if rng.random() < chance[role]] or ["arpeggio"]
    parts = []
    for role in roles:
        programs, notes = write[role]
        pan = 64 if role == "bass" else int(rng.uniform(20, 108))
        vibrato = int(rng.choice([0, 40, 90])) if role == "lead" else 0
        parts.append(Part(int(rng.choice(programs)), pan, int(rng.uniform(70, 120)), notes(), vibrato))
    kit = Part(int(rng.choice(KITS)), 64, 100, drum_notes(rng, bars, groove, swing))
    return bpm, groove, parts, kit


# ----------------------------------------------------------------------------------------------- rendering


def _variable_length(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))


def midi_file(parts: Sequence[Part], bpm: float, drums: bool = False) -> bytes:
    """A Standard MIDI File of format 0, one channel per part."""
    events: list[tuple[int, int, bytes]] = [(0, 0, b"\xff\x51\x03" + round(6e7 / bpm).to_bytes(3, "big"))]
    melodic = [number for number in range(16) if number != DRUM_CHANNEL]
    for number, part in zip([DRUM_CHANNEL] if drums else melodic, parts, strict=False):
        events.append((0, 1, bytes([0xC0 | number, part.program])))
        controls = {7: part.volume, 10: part.pan, 1: part.vibrato}
        events += [(0, 1, bytes([0xB0 | number, control, level])) for control, level in controls.items()]
        for note in part.notes:
            on = round(note.begin * TICKS)
            off = max(on + 1, round((note.begin + note.length) * TICKS))
            events.append((on, 3, bytes([0x90 | number, note.pitch, note.velocity])))
            events.append((off, 2, bytes([0x80 | number, note.pitch, 0])))
    track, now = b"", 0
    for tick, _, message in sorted(events):
        track += _variable_length(tick - now) + message
        now = tick
    track += b"\x00\xff\x2f\x00"
    header = b"MThd" + (6).to_bytes(4, "big") + b"\x00\x00\x00\x01" + TICKS.to_bytes(2, "big")
    return header + b"MTrk" + len(track).to_bytes(4, "big") + track


def render(midi: bytes, soundfont: Path, reverb: bool) -> Audio:
    """Render a MIDI file with FluidSynth: (2, samples) float32."""
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        score, sound = Path(folder, "song.mid"), Path(folder, "song.wav")
        score.write_bytes(midi)
        command = ["fluidsynth", "-ni", "-q", "-g", "0.4", "-r", str(RATE), "-O", "float", "-T", "wav"]
        command += ["-o", "synth.dynamic-sample-loading=1", "-R", str(int(reverb)), "-C", str(int(reverb))]
        done = subprocess.run(
            [*command, "-F", str(sound), str(soundfont), str(score)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not sound.exists():
            raise FileError(f"{soundfont}: fluidsynth cannot render with it: {done.stderr.strip()[-200:]}")
        audio: Audio = soundfile.read(sound, dtype="float32", always_2d=True)[0].T
    return np.ascontiguousarray(audio)


# ------------------------------------------------------------------------------------------------ drum kits

DRUM_WORDS = {
    "kick": (36,), "bass": (36,), "thump": (36,), "snare": (38,), "rim": (37,), "stick": (37,), "clap": (39,),
    "slap": (38, 60), "closed": (42,), " cl": (42,), "pedal": (44,), "semi": (42,), "open": (46,),
    "op": (46,), "crash": (49, 57), "splash": (55,), "china": (52,), "ride": (51,),
    "tom": (45, 47, 50, 43, 48, 41), "drum": (45, 48), "tone": (61, 63), "conga": (62, 63, 64),
    "bongo": (60, 61), "cowbell": (56,), "bell": (56, 67), "clave": (75,), "woodblock": (76,),
    "maraca": (70,), "tambourine": (54,), "agogo": (67,), "head": (60, 62, 64), "snaps": (39,), "hat": (42,),
    "hh": (42,), "cymbal": (49,),
}  # fmt: skip
"""General MIDI drums that a sample may play, by the first of these words in its instrument's name."""


def read_kit(folder: Path) -> dict[int, list[Path]]:
    """The samples of a Hydrogen drum kit, by General MIDI drum: its loudest layer of every instrument."""
    kit: dict[int, list[Path]] = {}
    try:
        root = ElementTree.parse(folder / "drumkit.xml").getroot()  # noqa: S314 (a file of the user's system)
    except (OSError, ElementTree.ParseError) as error:
        raise FileError(f"{folder}: not a Hydrogen drum kit: {error}") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    for instrument in root.iter("instrument"):
        name = (instrument.findtext("name") or "").lower()
        files = [folder / node.text for node in instrument.iter("filename") if node.text]
        files = [path for path in files if path.exists()]
        word = next((word for word in DRUM_WORDS if word in name), None)
        if word and files:
            for drum in DRUM_WORDS[word]:
                kit.setdefault(drum, []).extend(files[-3:])
    return kit


def play_kit(rng: Random, kit: dict[int, list[Path]], seconds: float) -> Audio:
    """Drum patterns played with the samples of a kit: (2, samples) float32."""
    import soundfile
    import soxr

    bpm = float(np.exp(rng.uniform(np.log(65), np.log(185))))
    playable = [name for name, rows in GROOVES.items() if sum(drum in kit for drum in rows) > 1]
    groove = str(rng.choice(playable or ["rock"]))
    notes = drum_notes(rng, max(2, int(seconds * bpm / 240)), groove, float(rng.choice([0, 0, 0.2])))
    out = np.zeros((2, round((seconds + 2) * RATE)), np.float32)
    pitch = float(rng.uniform(0.85, 1.15))
    chosen: dict[int, Audio] = {}
    for drum, files in kit.items():
        audio, rate = soundfile.read(rng.choice(np.array(files, object)), dtype="float32", always_2d=True)
        audio = soxr.resample(audio[: 4 * rate], rate * pitch, RATE).T
        pan = rng.uniform(-0.4, 0.4)
        chosen[drum] = audio[[0, -1]] * np.array([[1 - pan], [1 + pan]], np.float32) * rng.uniform(0.5, 1.0)
    for note in notes:
        sample = chosen.get(note.pitch)
        begin = round(note.begin * 60 / bpm * RATE)
        if sample is not None and begin < out.shape[1]:
            length = min(sample.shape[1], out.shape[1] - begin)
            out[:, begin : begin + length] += sample[:, :length] * (note.velocity / 100) ** 1.5
    return out


# ------------------------------------------------------------------------------------------------ voices


def sing(rng: Random, speech: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """Speech turned into singing: notes of a scale held with vibrato and glides, time stretched (WORLD)."""
    import pyworld  # type: ignore[import-untyped]

    period = 0.005
    pitch, times = pyworld.dio(speech, rate, frame_period=1000 * period)
    pitch = pyworld.stonemask(speech, pitch, times, rate)
    envelope = pyworld.cheaptrick(speech, pitch, times, rate)
    noise = pyworld.d4c(speech, pitch, times, rate)
    stretch = rng.uniform(1.2, 2.2)
    frames = np.minimum(np.arange(0, len(pitch), 1 / stretch).astype(int), len(pitch) - 1)
    voiced = pitch[frames] > 0
    centre = 12 * np.log2(np.median(pitch[pitch > 0]) if np.any(pitch > 0) else 150.0) + rng.uniform(-3, 5)
    scale = np.array([octave * 12 + tone for octave in (-1, 0, 1) for tone in (0, 2, 4, 7, 9)])
    scale = scale[np.abs(scale) <= 9]
    place, notes = len(scale) // 2, np.zeros(len(frames))
    begin = 0
    while begin < len(frames):
        length = int(rng.choice([0.25, 0.4, 0.6, 1.0]) / period)
        place = int(np.clip(place + rng.integers(-2, 3), 0, len(scale) - 1))
        notes[begin : begin + length] = scale[place]
        begin += length
    glide = np.hanning(int(0.08 / period) * 2 + 1)
    notes = np.convolve(np.pad(notes, len(glide) // 2, "edge"), glide / glide.sum(), "valid")
    time = np.arange(len(frames)) * period
    vibrato = rng.uniform(0.1, 0.6) * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * time)
    sung = np.where(voiced, 2 ** ((centre + notes + vibrato) / 12), 0.0)
    voice: NDArray[np.float64] = pyworld.synthesize(
        sung, np.ascontiguousarray(envelope[frames]), np.ascontiguousarray(noise[frames]), rate, 1000 * period
    )
    return voice


def make_voice(rng: Random, recordings: Sequence[Path], seconds: float) -> Audio:
    """One or two voices, sung or spoken, (2, samples) float32."""
    import soundfile
    import soxr

    out = np.zeros((2, round(seconds * RATE)), np.float32)
    sung = rng.random() < 0.75
    for _ in range(int(rng.choice([1, 1, 2]))):
        folder = recordings[int(rng.integers(len(recordings)))]
        files = sorted(folder.rglob("*.ogg"))
        pan, at = rng.uniform(-0.5, 0.5), 0
        reader = files[int(rng.integers(len(files)))].name.split("-")[0]
        own = [path for path in files if path.name.split("-")[0] == reader] or files
        while at < out.shape[1]:
            speech, rate = soundfile.read(own[int(rng.integers(len(own)))], dtype="float64")
            speech = sing(rng, speech[: 12 * rate], rate) if sung else speech
            voice = soxr.resample(speech, rate, RATE)[: out.shape[1] - at].astype(np.float32)
            voice /= max(1e-4, float(np.sqrt(np.mean(voice**2))))
            out[:, at : at + len(voice)] += voice * np.array([[1 - pan], [1 + pan]], np.float32)
            at += len(voice) + int(rng.uniform(0, 0.4) * RATE)
    return out


# ------------------------------------------------------------------------------------------------ command


def _write(path: Path, audio: Audio) -> None:
    import soundfile

    level = 0.1 / max(1e-6, float(np.sqrt(np.mean(audio**2))))
    audio = audio * min(level, 0.98 / max(1e-6, float(np.abs(audio).max())))
    partial = path.with_name(f".{path.name}")
    soundfile.write(partial, audio.T, RATE, format="FLAC", subtype="PCM_16")
    partial.rename(path)


def _make_song(rng: Random, soundfonts: Sequence[Path], seconds: float, base: Path) -> None:
    bpm, _, parts, kit = compose(rng, seconds)
    soundfont, reverb = soundfonts[int(rng.integers(len(soundfonts)))], bool(rng.random() < 0.5)
    drums = render(midi_file([kit], bpm, drums=True), soundfont, reverb)
    pitched = render(midi_file(parts, bpm), soundfont, reverb)
    samples = min(drums.shape[1], pitched.shape[1], round(seconds * RATE))
    _write(base.with_suffix(".pitched.flac"), pitched[:, :samples])
    _write(base.with_suffix(".drums.flac"), drums[:, :samples])


def command(commands: Any) -> None:
    """Add ``songs`` to a command line."""
    parser = commands.add_parser(
        "songs",
        help="compose and render training material for the separator",
        description="Write songs, drum patterns and voices, drums and pitched parts apart, as FLAC files. "
        "Needs fluidsynth and a SoundFont; for voices, the package pyworld.",
    )
    parser.add_argument("output", type=Path, metavar="OUT", help="a folder; what it already holds is kept")
    folders = {"type": Path, "action": "append", "default": []}
    parser.add_argument("--soundfont", **folders, metavar="SF2", help="repeatable, as are the next two")
    parser.add_argument("--kit", **folders, metavar="DIR", help="a Hydrogen drum kit")
    parser.add_argument("--voices", **folders, metavar="DIR", help="speech, Ogg files")
    parser.add_argument("--songs", type=int, default=300, metavar="N")
    parser.add_argument("--patterns", type=int, default=100, metavar="N", help="played with the kits")
    parser.add_argument("--songs-of-voices", type=int, default=100, metavar="N", help="sung or spoken")
    parser.add_argument("--seconds", type=float, default=16.0, metavar="S", help="of every file")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write what is missing."""
    from rich.progress import track

    if options.soundfont and not shutil.which("fluidsynth"):
        raise UserError("fluidsynth is not installed: apt install fluidsynth, or leave out --soundfont")
    if options.voices:
        try:
            import pyworld  # noqa: F401
        except ImportError as error:
            missing = f"pyworld cannot be imported ({error})"
            raise UserError(
                f"{missing}: pip install pyworld 'setuptools<81', or leave out --voices"
            ) from error
    for path in (*options.soundfont, *options.kit, *options.voices):
        if not path.exists():
            raise FileError(f"{path}: no such file or folder")
    if not (options.soundfont or options.kit or options.voices):
        raise UserError("nothing to make songs with: give --soundfont, --kit or --voices")
    options.output.mkdir(parents=True, exist_ok=True)
    kits = [kit for kit in map(read_kit, options.kit) if len(kit) > 2]
    work: list[tuple[str, int]] = []
    work += [("song", number) for number in range(options.songs if options.soundfont else 0)]
    work += [("kit", number) for number in range(options.patterns if kits else 0)]
    work += [("voice", number) for number in range(options.songs_of_voices if options.voices else 0)]
    for kind, number in track(work, "songs"):
        base = options.output / f"{kind}{number:04d}"
        rng = np.random.default_rng([options.seed, ("song", "kit", "voice").index(kind), number])
        if kind == "song" and not base.with_suffix(".drums.flac").exists():
            _make_song(rng, options.soundfont, options.seconds, base)
        elif kind == "kit" and not base.with_suffix(".drums.flac").exists():
            kit = kits[int(rng.integers(len(kits)))]
            _write(base.with_suffix(".drums.flac"), play_kit(rng, kit, options.seconds))
        elif kind == "voice" and not base.with_suffix(".pitched.flac").exists():
            voice = make_voice(rng, options.voices, options.seconds)
            _write(base.with_suffix(".pitched.flac"), voice)
    return 0
