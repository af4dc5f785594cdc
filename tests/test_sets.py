"""Sets of recordings: layouts, splits, licences."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import ROOM, dns, librispeech, ljspeech, plain, put, reverb, voicebank

from export import sets
from export.sets import (
    Clip,
    find_clips,
    find_noise,
    find_pairs,
    find_rooms,
    licence,
    parts,
    speakers_of,
    split,
)
from rtaudio.errors import FileError, UserError

SHARED = Path(__file__).parents[2] / "shared" / "data"


# ------------------------------------------------------------------------------------------ layouts


LAYOUTS = {
    "LJSpeech": (
        ljspeech,
        {
            ("wavs/a-1.wav", "set", "Doctor No"),
            ("wavs/a-2.flac", "set", "two"),
            ("wavs/a-3.ogg", "set", "No. 3"),
        },
        set(),
        set(),
    ),
    "VoiceBank-DEMAND": (
        voicebank,
        {
            ("clean_trainset_28spk_wav/p226_001.wav", "p226", None),
            ("clean_trainset_28spk_wav/p287_001.wav", "p287", None),
            ("clean_testset_wav/p232_001.wav", "p232", None),
            ("clean_testset_wav/p257_002.wav", "p257", None),
        },
        set(),
        {
            (f"clean_{side}_wav/{name}.wav", f"noisy_{side}_wav/{name}.wav")
            for side, name in (
                ("trainset_28spk", "p226_001"),
                ("trainset_28spk", "p287_001"),
                ("testset", "p232_001"),
                ("testset", "p257_002"),
            )
        },
    ),
    "DNS": (
        dns,
        {
            ("clean/clean_fileid_0.wav", "reader_03300", None),
            ("clean/clean_fileid_10.wav", "reader_033010", None),
        },
        {"noise/noise_fileid_0.wav", "noise/noise_fileid_10.wav"},
        {
            (
                "clean/clean_fileid_0.wav",
                "noisy/book_00000_chp_0009_reader_03300_0_door_snr-5_tl-20_fileid_0.wav",
            ),
            (
                "clean/clean_fileid_10.wav",
                "noisy/book_000010_chp_0009_reader_033010_0_door_snr15_tl-20_fileid_10.wav",
            ),
        },
    ),
    "BUT ReverbDB": (reverb, set(), {f"{ROOM}/silence/silence.v00.wav"}, set()),
    "LibriSpeech": (
        librispeech,
        {
            ("103/1240/103-1240-0000.flac", "103", None),
            ("103-1240-0001.ogg", "103", None),
            ("87/87-121553-0002.wav", "87", None),
        },
        {"103/1240/103-1240-0000.flac", "103-1240-0001.ogg", "87/87-121553-0002.wav"},
        set(),
    ),
    "plain": (
        plain,
        {("anna/1.wav", "anna", None), ("bert/1.wav", "bert", None), ("p360_005_mic1.wav", "p360", None)},
        {"anna/1.wav", "bert/1.wav", "p360_005_mic1.wav"},
        set(),
    ),
}


def found_or_nothing(find, *arguments):
    """What is found, or nothing if that is what the error says."""
    try:
        return find(*arguments)
    except FileError as error:
        if " has no " in str(error):
            return []
        raise


@pytest.mark.parametrize(("make", "clips", "noise", "pairs"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout(tmp_path, make, clips, noise, pairs):
    folder = tmp_path / "set"
    make(folder)

    def below(path):
        return path.relative_to(folder).as_posix()

    found = found_or_nothing(find_clips, [folder])
    assert {(below(clip.path), clip.speaker, clip.text) for clip in found} == clips
    assert len(found) == len(clips)
    assert found == found_or_nothing(find_clips, [folder, folder])
    assert {below(path) for path in found_or_nothing(find_noise, [folder])} == noise
    assert {(below(a), below(b)) for a, b in found_or_nothing(find_pairs, folder)} == pairs
    rooms = noise if make in (librispeech, plain) else set()  # plain files may be anything
    if make is reverb:
        rooms = {f"{ROOM}/RIR/IR_sweep_15s_45Hzto22kHz_FS16kHz.v00.wav"}
    assert {below(path) for path in found_or_nothing(find_rooms, [folder])} == rooms


def test_folders_of_folders(tmp_path):
    for name, (make, *_) in LAYOUTS.items():
        make(tmp_path / name)
    (tmp_path / "plain" / "loop").symlink_to(tmp_path)
    speakers = {clip.speaker for clip in find_clips([tmp_path])}
    want = {"LJSpeech", "p226", "p287", "p232", "p257", "reader_03300", "reader_033010"}
    assert speakers == want | {"103", "87", "anna", "bert", "p360"}
    assert len(find_pairs(tmp_path)) == 6
    assert len(find_rooms([tmp_path])) == 1 + 3 + 3


def test_parts_of_a_set_are_sets(tmp_path):
    voicebank(tmp_path / "v", "")
    dns(tmp_path / "d", "_fullband")
    reverb(tmp_path / "r")
    assert [clip.speaker for clip in find_clips([tmp_path / "v" / "clean_testset"])] == ["p232", "p257"]
    assert len(find_pairs(tmp_path / "v")) == 4
    assert len(find_pairs(tmp_path / "d")) == 2
    assert len(find_noise([tmp_path / "d"])) == 2
    sides = tmp_path / "v" / "noisy_testset", tmp_path / "v" / "clean_testset"
    assert [(a.parent.name, b.parent.name) for a, b in find_pairs(sides)] == [
        ("clean_testset", "noisy_testset")
    ] * 2
    for place in (Path(ROOM).parent, Path(ROOM).parts[0]):
        assert len(find_rooms([tmp_path / "r" / place])) == 1


def test_what_is_of_no_layout_says_what_is_looked_for(tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("a")
    with pytest.raises(FileError) as raised:
        parts(tmp_path)
    for wanted in ("metadata.csv", "clean_trainset_28spk_wav/", "noisy/", "RIR/", "audio files"):
        assert wanted in str(raised.value)
    for find in (find_noise, find_rooms, find_clips):
        with pytest.raises(FileError, match="is not a folder"):
            find([tmp_path / "nowhere"])


@pytest.mark.parametrize("name", ["../../secret", "../secret", "{root}/secret", "sub/a", "..", ""])
def test_an_id_leads_nowhere_else(tmp_path, name):
    folder = tmp_path / "lj"
    put(tmp_path / "secret.wav")
    put(folder / "secret.wav")
    put(folder / "wavs" / "sub" / "a.wav")
    put(folder / "wavs" / "b.wav")
    (folder / "metadata.csv").write_text(f"b|text\n{name.format(root=tmp_path)}|text\n")
    with pytest.raises(FileError, match=r"lj/metadata.csv, line 2: no audio .* in wavs/: mend"):
        find_clips([folder])
    assert [clip.path for clip in sets.read_metadata(folder)[0]] == [folder / "wavs" / "b.wav"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a|one\na|two\n", "line 2: 'a' is there twice"),
        (b"a\n", "line 1: no '|', want id|text"),
        (b"a|one\nb|two\nc|three\n", "line 2: no audio 'b' in wavs/ (and 1 more): mend"),
        (b"b|one\na|\xff\n", "it is not UTF-8 text in line 2"),
        (b"", "has no speech"),
    ],
)
def test_bad_metadata(tmp_path, content, says):
    put(tmp_path / "wavs" / "a.wav")
    (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(FileError) as raised:
        find_clips([tmp_path])
    assert says in str(raised.value)


def test_two_files_of_one_id(tmp_path):
    ljspeech(tmp_path)
    put(tmp_path / "wavs" / "a-1.flac")
    with pytest.raises(FileError, match=r"a-1\.flac and .*a-1\.wav have one id"):
        find_clips([tmp_path])


def test_what_does_not_pair(tmp_path):
    clean, noisy = tmp_path / "clean", tmp_path / "noisy"
    put(clean / "one_001.wav")
    put(noisy / "one_01.wav")
    with pytest.raises(FileError, match=r"one_001.wav has no partner 'one_001' .*did you mean 'one_01'\?"):
        find_pairs((noisy, clean))
    put(clean / "one_01.flac")
    with pytest.raises(FileError, match=r"one_001.wav has no partner"):
        find_pairs(tmp_path)
    put(noisy / "one_001.wav")
    assert [(a.name, b.name) for a, b in find_pairs(tmp_path)] == [
        ("one_001.wav", "one_001.wav"),
        ("one_01.flac", "one_01.wav"),
    ]
    put(noisy / "x_fileid_3.wav")
    put(noisy / "y_fileid_3.wav")
    with pytest.raises(FileError, match=r"x_fileid_3.wav and .*y_fileid_3.wav would have one partner"):
        find_pairs(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="no audio files in"):
        find_pairs((tmp_path / "empty", clean))
    with pytest.raises(FileError, match="is not a folder"):
        find_pairs((tmp_path / "missing", clean))


def test_speakers_of_pairs(tmp_path):
    """As names of either side tell them, else ``pairs.csv``, else the clean file's folder."""
    dns(tmp_path / "dns")
    pairs = find_pairs(tmp_path / "dns")
    assert speakers_of(pairs, tmp_path / "dns") == ["reader_03300", "reader_033010"]
    for name in ("000000", "000001", "p232_007"):
        for side in ("clean", "noisy"):
            put(tmp_path / "made" / side / f"{name}.wav")
    pairs = find_pairs(tmp_path / "made")
    assert speakers_of(pairs, tmp_path / "made") == ["clean", "clean", "p232"]
    (tmp_path / "made" / "pairs.csv").write_text("name,speaker\n000001,anna\n")
    assert speakers_of(pairs, tmp_path / "made") == ["clean", "anna", "p232"]


# ------------------------------------------------------------------------------------------ split


def clips_of(speakers):
    return [Clip(Path(f"{number}.wav"), speaker) for number, speaker in enumerate(speakers)]


@given(
    speakers=st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=40),
    share=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32),
)
def test_nobody_is_on_both_sides(speakers, share, seed):
    clips, everyone = clips_of(speakers), set(speakers)
    want = max(1, round(share * len(everyone))) if share else 0
    if want == len(everyone):
        with pytest.raises(UserError, match="leaves nobody to train on"):
            split(clips, share, seed)
        return
    train, out = split(clips, share, seed)
    sides = [{clip.speaker for clip in side} for side in (train, out)]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == everyone
    assert len(sides[1]) == want
    assert sorted([*train, *out], key=clips.index) == clips
    assert train == [clip for clip in clips if clip.speaker in sides[0]]
    assert split(clips[::-1], share, seed) == (train[::-1], out[::-1])


def test_who_is_held_out_depends_on_the_seed():
    clips = clips_of("abcdefghij")
    drawn = {split(clips, 0.1, seed)[1][0].speaker for seed in range(60)}
    assert len(drawn) > 5


def test_holding_out_by_name():
    clips = clips_of(["p232", "p226", "p257", "p226", "p232"])
    train, out = split(clips, ["p257", "p232"], 0)
    assert [clip.speaker for clip in train] == ["p226", "p226"]
    assert [clip.speaker for clip in out] == ["p232", "p257", "p232"]
    assert split(clips, [], 0) == (clips, [])
    with pytest.raises(UserError, match=r"no speaker 'p223' to hold out, did you mean 'p2\d\d'\?"):
        split(clips, ["p223"], 0)
    with pytest.raises(UserError, match="holding out p226, p232, p257 leaves nobody"):
        split(clips, ["p232", "p226", "p257"], 0)
    for share in (-0.1, 1.0, 7):
        with pytest.raises(UserError, match="is no share of speakers"):
            split(clips, share, 0)


# ------------------------------------------------------------------------------------------ licence

TABLE = """# Recordings
| folder | what | licence |
| --- | --- | --- |
| `speech/anna` | one speaker, `id\\|text` | CC0 1.0 |
| `speech/bert` | another | CC BY 4.0, "B" |
| `speech/annabel` | a third | CC BY-NC 4.0 |
| `noise` | rain | public domain |

| other | table |
| --- | --- |
| `speech/anna` | nothing |
"""


def test_licence_in_a_table(tmp_path):
    (tmp_path / "README.md").write_text(TABLE)
    for name in ("speech/anna/wavs", "speech/ann", "speech/bert", "noise/wind", "speech/annabel"):
        (tmp_path / name).mkdir(parents=True)
    assert licence(tmp_path / "speech" / "anna") == "CC0 1.0"
    assert licence(tmp_path / "speech" / "anna" / "wavs") == "CC0 1.0"
    assert licence(tmp_path / "speech" / "bert") == 'CC BY 4.0, "B"'
    assert licence(tmp_path / "noise" / "wind") == "public domain"
    assert licence(tmp_path / "speech") == 'CC0 1.0; CC BY 4.0, "B"; CC BY-NC 4.0'
    assert licence(tmp_path / "speech" / "annabel") == "CC BY-NC 4.0"
    assert licence(tmp_path / "speech" / "ann") == "not stated"


@pytest.mark.parametrize(
    ("name", "content", "want"),
    [
        ("LICENSE", "MIT License\n\nCopyright", "MIT License"),
        ("LICENCE.txt", "\n\nCreative Commons Attribution 4.0\nmore", "Creative Commons Attribution 4.0"),
        ("COPYING", "Do what you want.\n", "Do what you want."),
        ("README.md", "# Voices\n\n## Licence\n\n*CC0   1.0*\n", "CC0 1.0"),
        ("readme.txt", "Voices.\nLicense: CC BY 4.0\n", "CC BY 4.0"),
        ("README", "This corpus is in the public domain.", "This corpus is in the public domain."),
        ("README.md", "# Voices\nNothing is said.", "not stated"),
        ("README", b"caf\xe9\nlicence: CC0 \xe9", "CC0 \ufffd"),
        ("set.json", json.dumps({"licences": [{"folder": "a", "licence": "X"}] * 2}), "X"),
        ("set.json", "[]", "not stated"),
        ("set.json", "{", "not stated"),
        ("LICENSE", "licence " + "x" * 500, "x" * 160),
        ("notes.txt", "Licence: none of this", "not stated"),
    ],
)
def test_licence_in_a_file(tmp_path, name, content, want):
    inside = tmp_path / "set" / "wavs"
    inside.mkdir(parents=True)
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "set" / name).write_bytes(content)
    assert licence(tmp_path / "set") == want
    assert licence(inside) == want
    (inside / "deeper").mkdir()
    assert licence(inside / "deeper") == "not stated"


# ------------------------------------------------------------------------------------------ recordings


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the recordings of ../shared are not there")
def test_the_shared_recordings():
    clips = find_clips([SHARED / "speech"])
    train, out = split(clips, ["kerstin", "nathalie"], 0)
    assert len({clip.speaker for clip in train}) == 252
    assert {clip.speaker for clip in out} == {"kerstin", "nathalie"}
    assert all(clip.text for clip in clips if not clip.speaker.isdigit())
    assert len(find_noise([SHARED / "noise" / "train"])) == 12
    assert licence(SHARED / "speech" / "kathleen").startswith("CC0 1.0")
    assert licence(SHARED / "speech" / "librispeech-251").startswith("CC BY 4.0")
