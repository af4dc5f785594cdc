"""Training material for the separator: scores, drum kits, resumption; not what FluidSynth makes of it."""

import argparse

import numpy as np
import pytest
import soundfile as sf

from export import songs
from export.songs import DRUM_CHANNEL, TICKS, Note, Part, compose, drum_notes, midi_file, play_kit, read_kit
from rtaudio.errors import FileError, UserError


def parsed(content):
    """(ticks, status, data) of a Standard MIDI File of format 0, read by the standard's text."""
    assert content[:8] == b"MThd\0\0\0\6"
    assert int.from_bytes(content[12:14], "big") == TICKS
    track = content[22:]
    assert content[14:18] == b"MTrk"
    assert int.from_bytes(content[18:22], "big") == len(track)
    events, now, place = [], 0, 0
    while place < len(track):
        delta = 0
        while True:
            byte = track[place]
            place += 1
            delta = delta << 7 | byte & 0x7F
            if byte < 0x80:
                break
        now += delta
        status = track[place]
        length = 2 + track[place + 2] if status == 0xFF else 1 if status >> 4 == 0xC else 2
        events.append((now, status, tuple(track[place + 1 : place + 1 + length])))
        place += 1 + length
    return events


def test_a_score_is_a_midi_file():
    part = Part(33, 20, 100, [Note(0.5, 1.0, 40, 90), Note(300.0, 0.25, 52, 80)])
    events = parsed(midi_file([part, part], 90.0))
    assert events[0] == (0, 0xFF, (0x51, 3, *round(60e6 / 90).to_bytes(3, "big")))
    assert (0, 0xC1, (33,)) in events
    assert (0, 0xB0, (10, 20)) in events
    notes = [event for event in events if event[1] in (0x90, 0x80)]
    assert notes == [
        (240, 0x90, (40, 90)),
        (720, 0x80, (40, 0)),
        (144_000, 0x90, (52, 80)),
        (144_120, 0x80, (52, 0)),
    ]
    assert events[-1][1:] == (0xFF, (0x2F, 0))


def test_drums_play_on_their_channel_and_nothing_else_does():
    part = Part(0, 64, 100, [Note(0.0, 1.0, 60, 90)])
    channels = {
        status & 15 for _, status, _ in parsed(midi_file([part], 120.0, drums=True)) if status != 0xFF
    }
    assert channels == {DRUM_CHANNEL}
    channels = {status & 15 for _, status, _ in parsed(midi_file([part] * 12, 120.0)) if status != 0xFF}
    assert len(channels) == 12
    assert DRUM_CHANNEL not in channels


@pytest.mark.parametrize("seed", range(20))
def test_composed_notes_are_midi_notes_within_the_song(seed):
    bpm, _, parts, kit = compose(np.random.default_rng(seed), 12.0)
    for part in (*parts, kit):
        for note in part.notes:
            assert 0 <= note.pitch < 128
            assert 0 < note.velocity < 128
            assert 0 <= note.begin * 60 / bpm < 13 or note.begin < 8
    parsed(midi_file(parts, bpm))
    assert kit.notes


@pytest.fixture
def kit(tmp_path):
    """A kit of three drums, each a click of its own height."""
    folder = tmp_path / "kit"
    folder.mkdir()
    rows = []
    for name, height in (("Kick", 0.25), ("Snare", 0.5), ("Closed HH", 0.125)):
        click = np.zeros(64)
        click[0] = height
        sf.write(folder / f"{name}.wav", click, 44_100, subtype="FLOAT")
        layer = f"<layer><filename>{name}.wav</filename></layer><layer><filename>none.wav</filename></layer>"
        rows.append(f"<instrument><name>{name}</name>{layer}</instrument>")
    xml = f'<drumkit_info xmlns="http://x"><instrumentList>{"".join(rows)}</instrumentList></drumkit_info>'
    (folder / "drumkit.xml").write_text(xml)
    return folder


def test_a_kit_is_read_by_the_names_of_its_instruments(kit):
    found = read_kit(kit)
    assert {drum: [path.name for path in files] for drum, files in found.items()} == {
        36: ["Kick.wav"],
        38: ["Snare.wav"],
        42: ["Closed HH.wav"],
    }
    (kit / "drumkit.xml").write_text("<drumkit_info>")
    with pytest.raises(FileError, match="not a Hydrogen drum kit"):
        read_kit(kit)


def test_a_kit_plays_something_loud_enough_and_finite(kit):
    audio = play_kit(np.random.default_rng(0), read_kit(kit), 3.0)
    assert audio.shape == (2, 5 * 44_100)
    assert np.all(np.isfinite(audio))
    assert np.abs(audio).max() > 0.05


def test_a_groove_has_its_backbeat():
    """Snares of a rock groove without fills fall on the second and fourth beat."""
    notes = [note for seed in range(8) for note in drum_notes(np.random.default_rng(seed), 3, "rock", 0.0)]
    snares = np.array([note.begin % 4 for note in notes if note.pitch == 38 and note.velocity > 60])
    near = np.minimum(np.abs(snares - 1), np.abs(snares - 3)) < 0.05
    assert near.mean() > 0.8


def options(*words):
    parser = argparse.ArgumentParser()
    songs.command(parser.add_subparsers())
    return parser.parse_args(["songs", *map(str, words)])


def test_a_run_goes_on_where_it_was(kit, tmp_path):
    out = tmp_path / "out"
    made = options(out, "--kit", kit, "--patterns", 2, "--seconds", 2)
    assert made.run(made) == 0
    files = sorted(out.iterdir())
    assert [path.name for path in files] == ["kit0000.drums.flac", "kit0001.drums.flac"]
    first, second = (path.read_bytes() for path in files)
    files[1].unlink()
    files[0].write_bytes(b"kept")
    made.run(made)
    assert files[0].read_bytes() == b"kept"
    assert files[1].read_bytes() == second != first


def test_mistakes_are_one_line(tmp_path):
    for words, said in (
        ((tmp_path / "out",), "nothing to make songs with"),
        ((tmp_path / "out", "--kit", tmp_path / "none"), "no such file"),
    ):
        made = options(*words)
        with pytest.raises(UserError, match=said) as raised:
            made.run(made)
        assert "\n" not in str(raised.value)
