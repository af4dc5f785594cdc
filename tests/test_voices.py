"""Voices that are found, listed and added."""

import builtins
import json
import shutil

import numpy as np
import pytest
import tiny_voices

pytest.importorskip("onnxruntime", reason="runs networks")
pytest.importorskip("engines.speech.text")

from engines.speech import catalogue, libespeak, voices
from engines.speech.voices import add_voice, known_voices, open_voice, remove_voice, user_voices
from rtaudio.cli import Parser
from rtaudio.errors import FileError, UserError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A data folder of its own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "rtaudio" / "voices"


@pytest.fixture
def made(tmp_path):
    """The folder of a voice that can be added."""
    return tiny_voices.telling(tmp_path / "ada", name="en_US-ada-low", phoneme_type="text")


def files(folder):
    return sorted(each.name for each in folder.rglob("*")) if folder.exists() else []


def run(*arguments):
    """The command ``voices``, as if it were registered."""
    parser = Parser(prog="rtaudio")
    catalogue.command(parser.add_subparsers(parser_class=Parser))
    options = parser.parse_args(["voices", *map(str, arguments)])
    return options.run(options)


def test_an_added_voice_is_listed_and_speaks(made, home):
    (made / "MODEL_CARD").write_text("who it is")
    (made / "notes.txt").write_text("of no use")
    added = add_voice(made)
    assert (added.name, added.language, added.rate, added.speakers) == ("en_US-ada-low", "en", 22_050, 1)
    assert (added.licence, added.bytes) == ("CC0", (made / "en_US-ada-low.onnx").stat().st_size)
    assert added.speed >= 0
    assert files(home) == [
        "MODEL_CARD", "en_US-ada-low", "en_US-ada-low.onnx", "en_US-ada-low.onnx.json", "rtaudio.json",
    ]  # fmt: skip
    assert added in known_voices()
    voice = open_voice("en_US-ada-low")
    assert (voice.name, voice.rate) == ("en_US-ada-low", 22_050)


def test_a_pair_keeps_what_was_measured(tmp_path):
    folder = tiny_voices.pair(tmp_path / "two", phoneme_type="text")
    assert add_voice(folder).name == "two"
    assert json.loads((user_voices() / "two" / "rtaudio.json").read_text())["cut"]["reach"] == 10
    assert open_voice("two").networks.reach == 10


@pytest.mark.parametrize("name", ["..", "../x", "a/b", ".x", "a..b", "espeak-en", "", "x" * 65, "a\nb", "ä"])
def test_names_stay_in_their_folder(made, home, name):
    if not name:
        made = made.rename(made.with_name("espeak-ada"))
        made = tiny_voices.pair(made, phoneme_type="text")
        (made / "en_US-ada-low.onnx.json").unlink()
    with pytest.raises(UserError, match="no name for a voice"):
        add_voice(made, name)
    assert files(home.parent) == []


def test_a_name_is_taken_once(made, home):
    add_voice(made, "ada")
    before = files(home)
    with pytest.raises(UserError, match="already"):
        add_voice(made, "ada")
    assert files(home) == before
    add_voice(made, "ada2")


@pytest.mark.parametrize("damage", ["card", "network", "map", "silent"])
def test_what_is_refused_leaves_nothing(made, home, damage):
    card, network = made / "en_US-ada-low.onnx.json", made / "en_US-ada-low.onnx"
    if damage == "card":
        card.write_text("{")
    elif damage == "network":
        network.write_bytes(network.read_bytes()[:100])
    elif damage == "map":
        said = json.loads(card.read_text())
        card.write_text(json.dumps(said | {"phoneme_id_map": {"a": [1]}}))
    else:
        tiny_voices.telling(made, name="en_US-ada-low", factor=np.nan, phoneme_type="text")
    with pytest.raises(UserError) as caught:
        add_voice(made)
    assert "\n" not in str(caught.value)
    assert files(home) == []


def test_a_folder_that_cannot_be_written(made, home):
    home.parent.parent.write_text("a file")
    with pytest.raises(FileError, match="cannot make"):
        add_voice(made)


def test_what_has_changed_since_is_not_run(made, home):
    add_voice(made, "ada")
    for name in ("en_US-ada-low.onnx", "en_US-ada-low.onnx.json"):
        file = home / "ada" / name
        content = file.read_bytes()
        file.write_bytes(content + b" ")
        with pytest.raises(FileError, match="has changed"):
            open_voice("ada")
        file.write_bytes(content)
    open_voice("ada")
    (home / "ada" / "en_US-ada-low.onnx").unlink()
    with pytest.raises(FileError):
        open_voice("ada")


@pytest.mark.parametrize("record", ["", "{}", '{"sha256": {"../x": "1"}, "reach": 1, "speed": 1}', "[1]"])
def test_a_damaged_record(made, home, record):
    add_voice(made, "ada")
    (home / "ada" / "rtaudio.json").write_text(record)
    with pytest.raises(FileError, match="damaged"):
        open_voice("ada")
    assert "damaged" in next(voice for voice in known_voices() if voice.name == "ada").trouble


def test_a_voice_by_its_path(made):
    assert open_voice(str(made)).name == "ada"
    assert open_voice(str(made / "en_US-ada-low.onnx")).name == "en_US-ada-low"


def test_an_unknown_name_is_told_the_nearest(made):
    add_voice(made, "ada")
    with pytest.raises(UserError, match="did you mean 'ada'"):
        open_voice("adda")
    with pytest.raises(UserError, match="espeak-bn"):
        open_voice("nobody")
    with pytest.raises(UserError, match="no folder of a voice"):
        open_voice("../nobody")


@pytest.mark.skipif(libespeak.load() is None, reason="needs espeak-ng")
def test_the_default_of_a_language(monkeypatch):
    def opened(name, language="en"):
        voice = open_voice(name, language)
        voice.close()
        return voice

    assert (opened("").name, opened("").language) == ("kathleen", "en")
    assert (opened("", "bn").name, opened("", "bn").variety) == ("espeak-bn", "bn")
    assert opened("espeak-de").variety == "de"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # Without ONNX Runtime.
    assert (opened("").name, opened("").variety) == ("espeak-en", "en-us")


def test_the_list(made, capsys):
    assert run("add", made, "--name", "ada") == 0
    assert "added ada: en, 22050 Hz" in capsys.readouterr().err
    assert run("--json") == 0
    found = {voice["name"]: voice for voice in json.loads(capsys.readouterr().out)}
    assert list(found) == ["kathleen", "ada", "espeak-en", "espeak-bn"]
    assert found["ada"]["licence"] == "CC0"
    assert found["kathleen"]["licence"] == "CC0-1.0"
    assert 0 < found["kathleen"]["speed"] < 1
    assert found["espeak-bn"]["licence"] == "GPL-3.0-or-later"
    if libespeak.load() is not None:
        assert 0 < found["espeak-en"]["speed"] < 1
        assert found["espeak-en"]["rate"] == 22_050
    assert run() == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["voice", "kathleen", "ada", "espeak-en", "espeak-bn"]


def test_without_espeak(monkeypatch, capsys):
    monkeypatch.setattr("engines.speech.espeak.sys.executable", "/bin/false")
    found = {voice.name: voice.trouble for voice in known_voices()}
    assert all("espeak-ng" in trouble for trouble in found.values())
    assert run() == 0


@pytest.mark.parametrize("damage", ["network", "noise", "rate"])
def test_what_is_wrong_is_told_of_the_files_that_were_given(made, damage):
    network, card = made / "en_US-ada-low.onnx", made / "en_US-ada-low.onnx.json"
    if damage == "network":
        network.write_bytes(b"no network")
    elif damage == "noise":
        card.write_text(json.dumps(json.loads(card.read_text()) | {"inference": {"noise_scale": -1}}))
    else:
        card.write_text(json.dumps(json.loads(card.read_text()) | {"audio": {"sample_rate": 1}}))
    for given in (made, network):
        with pytest.raises(UserError, match=str(card if damage != "network" else network)) as caught:
            add_voice(given)
        assert ".part" not in str(caught.value)


@pytest.mark.skipif(libespeak.load() is None, reason="needs espeak-ng")
@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"espeak": {"voice": "zz"}}, "says espeak.voice 'zz': espeak-ng has no voice 'zz'"),
        ({"phoneme_id_map": {"_": [0], "^": [1], "$": [2], "क": [3]}}, "has none of espeak-ng's phonemes"),
    ],
)
def test_a_voice_that_could_never_speak_is_not_added(tmp_path, home, said, why):
    folder = tiny_voices.telling(tmp_path / "ada", name="ada", **said)
    with pytest.raises(FileError, match=why):
        add_voice(folder)
    assert files(home) == []
    add_voice(tiny_voices.telling(tmp_path / "ida", name="ida"))


def test_the_projects_own_voice_stays(made, home):
    with pytest.raises(UserError, match="'kathleen' comes with rtaudio, and stays"):
        remove_voice("kathleen")
    with pytest.raises(UserError, match="'kathleen' is a voice that comes with rtaudio: give another --name"):
        add_voice(made, "kathleen")
    assert files(home) == []
    assert open_voice("kathleen").name == "kathleen"


def test_the_projects_own_voice_goes_before_one_of_its_name(made, home, monkeypatch):
    """One that was added before there was one, or a folder that is no voice."""
    monkeypatch.setattr(voices, "DEFAULTS", {})
    add_voice(made, "kathleen")
    assert open_voice("kathleen").networks.cut.channels == 0
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_HOME", str(home.parents[1]))
    assert open_voice("").networks.cut.channels == 80
    assert [voice.licence for voice in known_voices() if voice.name == "kathleen"] == ["CC0-1.0"]
    remove_voice("kathleen")
    assert files(home) == []
    (home / "kathleen").mkdir()
    remove_voice("kathleen")
    assert files(home) == []


def test_an_onnx_runtime_that_cannot_be_loaded(monkeypatch):
    import_ = builtins.__import__

    def without(name, *more, **named):
        if name == "onnxruntime":
            raise ImportError("libcudart.so.12: cannot open shared object file")
        return import_(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="networks need ONNX Runtime"):
        open_voice("kathleen")
    assert "networks need ONNX Runtime" in known_voices()[0].trouble


@pytest.mark.parametrize("damaged", ["kathleen.onnx.json", "kathleen.onnx", "rtaudio.json", "."])
@pytest.mark.parametrize("missing", [False, True])
def test_the_projects_own_voice_is_not_run_where_it_has_changed(tmp_path, monkeypatch, damaged, missing):
    kept = tmp_path / "kept"
    shutil.copytree(voices.SHIPPED_VOICES, kept)
    monkeypatch.setattr(voices, "SHIPPED_VOICES", kept)
    open_voice("kathleen").close()
    path = kept / "kathleen" / damaged
    if missing or path.is_dir():
        path.rename(tmp_path / "away")
    else:
        path.write_bytes(path.read_bytes()[:-2])
    for name in ("kathleen", ""):
        with pytest.raises(FileError, match="kathleen is missing or damaged: install rtaudio anew"):
            open_voice(name)
    (own, *_) = known_voices()
    assert (own.name, own.speed) == ("kathleen", None)
    assert "install rtaudio anew" in own.trouble


def test_a_voice_is_removed(made, home, capsys):
    add_voice(made, "ada")
    add_voice(made, "ida")
    (home / "ada" / "rtaudio.json").write_text("{")  # One that is damaged, too.
    assert run("remove", "ada") == 0
    assert capsys.readouterr().err == f"removed ada: {home / 'ada'}\n"
    assert [each.name for each in home.iterdir()] == ["ida"]
    for wrong in ("ada", "..", "../voices", "", ".", "espeak-en", str(made)):
        with pytest.raises(UserError, match=f"no voice {wrong!r} has been added"):
            remove_voice(wrong)
    assert [each.name for each in home.iterdir()] == ["ida"]
    assert made.exists()
    remove_voice("ida")
    with pytest.raises(UserError, match="none has been added"):
        remove_voice("ida")
