"""Voices of Piper's kind: their files, the ids, and pieces against the whole."""

import json
import unicodedata
from contextlib import closing, suppress

import numpy as np
import pytest
import tiny_voices
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_voices import HOP, IDS, PER_ID, RATE

pytest.importorskip("onnxruntime", reason="runs networks")
pytest.importorskip("engines.speech.text")

from engines.speech import libespeak
from engines.speech.config import find_parts, ids_of, read_config
from engines.speech.inverse import Inverse
from engines.speech.piper import PiperVoice, joined_phones
from engines.speech.text import Sentence, Word
from engines.speech.voice import SpeechError, find_speaker
from rtaudio.errors import FileError, UserError


def sentence(spoken, rate=1.0):
    """A sentence whose words are those between its spaces."""
    words, at = [], 0
    for word in spoken.split(" "):
        words.append(Word(at, at + len(word), word, "en"))
        at += len(word) + 1
    return Sentence(spoken, 0, len(spoken), spoken, 0.0, rate, 1.0, 0.0, words, [])


def ids_heard(samples, length=1.0):
    """The ids that the telling voice has spoken."""
    return np.rint(256 * samples[:: round(length * PER_ID * HOP)]).astype(int).tolist()


def expected(symbols):
    """``^ _ p _ p _ ... $``, as Piper's networks were trained."""
    ids = [IDS["^"][0], IDS["_"][0]]
    for symbol in symbols:
        ids += [IDS[symbol][0], IDS["_"][0]]
    return [*ids, IDS["$"][0]]


def sound(voice, text, **how):
    return np.concatenate([chunk.samples for chunk in voice.speak(sentence(text), **how)])


@pytest.fixture
def telling(tmp_path):
    """A voice of letters whose samples tell the ids."""
    voice = PiperVoice(tiny_voices.telling(tmp_path / "voice", phoneme_type="text"), "telling")
    yield voice
    voice.close()


def test_letters_become_ids(telling):
    assert (telling.rate, telling.language, list(telling.speakers)) == (RATE, "en", [])
    samples = sound(telling, "hello, ada")
    assert samples.dtype == np.float32
    assert len(samples) == len(expected("hello, ada")) * PER_ID * HOP
    assert ids_heard(samples) == expected("hello, ada")


def test_unknown_letters_are_left_out(telling):
    assert ids_heard(sound(telling, "a語b")) == expected("ab")
    with pytest.raises(SpeechError, match="knows none"):
        sound(telling, "語")


def test_bangla_letters_are_decomposed(telling):
    word = "বাংলা"
    assert ids_heard(sound(telling, word)) == expected(unicodedata.normalize("NFD", word))


@given(st.text(st.sampled_from([*IDS, "語", "é"]), max_size=40))
@settings(max_examples=50, deadline=None)
def test_ids_alternate_with_padding(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "card"
    folder.mkdir(exist_ok=True)
    tiny_voices.card(folder / "voice.onnx.json")
    ids, owners = ids_of(list(text), read_config(folder / "voice.onnx.json"))
    assert ids == expected([symbol for symbol in text if symbol in IDS])
    assert len(owners) == len(ids)
    assert owners == sorted(owners)


@pytest.mark.parametrize(("scale", "rate", "length"), [(2.0, 1.0, 2.0), (1.0, 0.5, 2.0), (1.0, 3.0, 1 / 3)])
def test_length_and_rate_scale_the_time(telling, scale, rate, length):
    chunks = telling.speak(sentence("ada", rate), length_scale=scale)
    samples = np.concatenate([chunk.samples for chunk in chunks])
    assert ids_heard(samples, length) == expected("ada")


def test_words_stand_where_their_first_id_does(telling):
    marks = [mark for chunk in telling.speak(sentence("ab a bad")) for mark in chunk.words]
    # Ids: ^ _ a _ b _ space _ a _ space _ b ...: words begin with ids 0, 8 and 12.
    assert marks == [(0, 0), (1, 8 * PER_ID * HOP), (2, 12 * PER_ID * HOP)]


def test_a_word_that_is_spoken_in_several_begins_with_the_first(telling):
    spoken = "ab bad ada ab"
    words = [Word(0, 1, "ab", "en"), Word(2, 3, "bad ada", "en"), Word(4, 5, "ab", "en")]
    written = Sentence("a 2 b", 0, 5, spoken, 0.0, 1.0, 1.0, 0.0, words, [])
    marks = [mark for chunk in telling.speak(written) for mark in chunk.words]
    assert marks == [(0, 0), (1, 8 * PER_ID * HOP), (2, 24 * PER_ID * HOP)]


@pytest.mark.parametrize(
    ("language", "text", "read", "begins"),
    [
        ("en_US", "so... be it, ada.", "so|be it, ada|", [0, 3, 6, 10]),
        ("en_US", "be it", "be it|", [0, 3]),
        ("bn_BD", "কাক, গলা।", "কাক, গলা|", [0, 5]),
    ],
)
def test_characters_of_the_paper(tmp_path, language, text, read, begins):
    """``|`` ends each sentence; words stand where their first character does."""
    ids = IDS | {"|": [max(number for (number,) in IDS.values()) + 1]}
    said = {"phoneme_type": "characters", "language": {"code": language}, "num_symbols": len(ids)}
    folder = tiny_voices.telling(tmp_path, frames=True, phoneme_id_map=ids, **said)
    with closing(PiperVoice(folder, "characters")) as voice:
        chunks = list(voice.speak(sentence(text)))
    samples = np.concatenate([chunk.samples for chunk in chunks])
    symbols = [each for symbol in read for each in (ids[symbol][0], 0)]
    assert ids_heard(samples) == [1, 0, *symbols, 2]
    words = [(at // (PER_ID * HOP) - 2) // 2 for chunk in chunks for _, at in chunk.words]
    assert words == [begin or -1 for begin in begins]
    assert [each for chunk in chunks for each in chunk.left_out] == []


def test_phones_are_codepoints_with_their_marks():
    codepoints = list(unicodedata.normalize("NFD", "həlˈoʊ, wˈɜːld ã."))
    found = joined_phones(codepoints, range(len(codepoints)))
    names = ["h", "ə", "l", "ˈo", "ʊ", "|", "w", "ˈɜː", "l", "d", "|", "ã", "|"]
    assert [name for name, _ in found] == [unicodedata.normalize("NFD", name).strip("|") for name in names]
    for (name, start), (_, end) in zip(found, [*found[1:], ("", len(codepoints))], strict=True):
        assert "".join(codepoints[start:end]).strip(" ,.") == name


def test_phones_are_told_where_a_network_tells_its_frames(tmp_path):
    for frames in (True, False):
        folder = tiny_voices.telling(tmp_path / f"{frames}", frames=frames, phoneme_type="text")
        with closing(PiperVoice(folder, "ada")) as voice:
            chunks = list(voice.speak(sentence("a bad, hat")))
        found = [phone for chunk in chunks for phone in chunk.phones]
        sound = np.concatenate([chunk.samples for chunk in chunks])
        if not frames:
            assert found == []
            continue
        assert [name for name, _ in found] == ["a", "", "b", "a", "d", "", "h", "a", "t"]
        for name, at in found:
            if name:
                assert round(256 * float(sound[at])) == IDS[name][0]
                assert round(256 * float(sound[at - 1])) == 0  # What lies between.


def test_words_follow_the_frames_that_a_network_tells(tmp_path):
    voice = PiperVoice(tiny_voices.telling(tmp_path, phoneme_type="text", frames=True), "told")
    marks = [mark for chunk in voice.speak(sentence("ab a")) for mark in chunk.words]
    assert marks == [(0, 0), (1, 8 * PER_ID * HOP)]


def test_speakers(tmp_path):
    voice = PiperVoice(tiny_voices.telling(tmp_path, speakers=3, phoneme_type="text"), "three")
    assert list(voice.speakers) == ["speaker 0", "speaker 1", "speaker 2"]
    assert (find_speaker(voice, ""), find_speaker(voice, "2"), find_speaker(voice, "speaker 1")) == (0, 2, 1)
    np.testing.assert_allclose(sound(voice, "ada", speaker=2) - sound(voice, "ada"), 2.0, atol=1e-6)
    for wrong in ("3", "speker 1", "-1"):
        with pytest.raises(UserError, match="has no speaker"):
            find_speaker(voice, wrong)


def test_a_voice_of_one_speaker_takes_no_other(telling):
    with pytest.raises(UserError, match="leave it out"):
        find_speaker(telling, "1")


@pytest.mark.parametrize("names", [("text.onnx", "dec.onnx"), ("acoustic.onnx", "vocoder.onnx")])
@pytest.mark.parametrize("reach", [1, 9, 30])
def test_pieces_are_the_whole(tmp_path, names, reach):
    voice = PiperVoice(tiny_voices.pair(tmp_path, names, reach=reach, phoneme_type="text"), "pair")
    # The convolution hears reach - 1 frames, the one that raises the rate one more; one is to spare.
    assert voice.networks.hop == HOP
    assert voice.networks.reach == reach + 1
    frames = np.random.default_rng(1).normal(size=(1, 6, 211)).astype(np.float32)
    whole = voice.networks.decode(frames)
    for first, step in ((16, 48), (1, 7), (5, 211), (300, 1)):
        pieces = [piece for _, piece in voice.networks.decoded([frames], first, step)]
        np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-5)
        assert len(pieces[0]) == min(first, 211) * HOP


def test_a_sentence_comes_in_pieces(tmp_path):
    voice = PiperVoice(tiny_voices.pair(tmp_path, phoneme_type="text"), "pair")
    text = "and so on and on and on"
    chunks = list(voice.speak(sentence(text)))
    assert len(chunks) > 2
    ids = expected(text)
    assert sum(len(chunk.samples) for chunk in chunks) == len(ids) * PER_ID * HOP
    assert [len(chunk.words) for chunk in chunks] == [7, *([0] * (len(chunks) - 1))]


def test_a_decoder_that_hears_all_is_run_on_the_whole(tmp_path):
    voice = PiperVoice(tiny_voices.pair(tmp_path, phoneme_type="text", everything=True), "all")
    assert voice.networks.reach is None
    assert len(list(voice.speak(sentence("and so on and on and on")))) == 1


@pytest.mark.parametrize(
    "said",
    [
        {"n_fft": "64", "hop_length": "16"},
        {"n_fft": "64", "hop_length": "16", "win_length": "64", "window_type": "hann", "normalized": "1"},
        {"n_fft": "64", "hop_length": "20", "win_length": "48", "window_type": "hamming"},
    ],
)
def test_the_inverse_transform_is_that_of_torch(said):
    torch = pytest.importorskip("torch", reason="compares with torch")
    size, hop = int(said["n_fft"]), int(said["hop_length"])
    width = int(said.get("win_length", size))
    window = {"hamming": torch.hamming_window, "hann": torch.hann_window}[said.get("window_type", "hann")]
    spectrum = torch.view_as_complex(torch.randn(1, size // 2 + 1, 30, 2, generator=torch.manual_seed(0)))
    spectrum[:, [0, -1]] = spectrum[:, [0, -1]].real + 0j
    want = torch.istft(
        spectrum, size, hop, width, window(width), center=True, normalized=said.get("normalized") == "1"
    )[0].numpy()
    angle = spectrum.angle()
    found = Inverse(said)([x.numpy() for x in (spectrum.abs(), angle.cos(), angle.sin())])
    assert found.shape == (30 * hop,)
    np.testing.assert_allclose(found[hop // 2 :][: len(want)], want, atol=2e-6 * np.abs(want).max())


def test_a_vocoder_may_give_spectra(tmp_path):
    voice = PiperVoice(tiny_voices.spectral(tmp_path / "v", phoneme_type="text"), "spectral")
    assert (voice.networks.hop, voice.networks.cut.why) == (16, "")
    assert voice.networks.reach == 4  # 1 by its convolution, 2 by windows of 4 hops; one is to spare.
    chunks = list(voice.speak(sentence("and so on and on and on")))
    assert len(chunks) > 2
    frames = voice.networks.drawn(voice.networks.trial(24))
    whole = voice.networks.decode(frames[0])
    pieces = [piece for _, piece in voice.networks.decoded(frames, 5, 7)]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-5)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"n_fft": "x"}, "says no transform: n_fft 'x' is no number of samples"),
        ({"hop_length": "40"}, "do not overlap"),
        ({"window_type": "kaiser"}, "window_type 'kaiser'"),
        ({"n_fft": "128"}, r"gives mag of tensor\(float\) \[1, 33, 'T'\]: want float32 \[1, 65, T\]"),
    ],
)
def test_spectra_of_no_transform(tmp_path, said, problem):
    with pytest.raises(FileError, match=problem):
        PiperVoice(tiny_voices.spectral(tmp_path / "v", said, phoneme_type="text"), "spectral")


@pytest.mark.skipif(libespeak.load() is None, reason="needs espeak-ng")
def test_espeak_phonemes(tmp_path):
    voice = PiperVoice(tiny_voices.telling(tmp_path), "phonemes")
    # As piper-tts 1.8.0 has them: həlˈoʊ ðˈɛɹ, maɪ fɹˈɛnd.
    assert ids_heard(sound(voice, "Hello there, my friend.")) == expected("həlˈoʊ ðˈɛɹ, maɪ fɹˈɛnd.")
    voice.close()


def test_samples_that_are_no_numbers_are_refused(tmp_path):
    voice = PiperVoice(tiny_voices.telling(tmp_path, factor=np.inf, phoneme_type="text"), "broken")
    with pytest.raises(SpeechError, match="no numbers"):
        sound(voice, "ada")


# ------------------------------------------------------------------------------------ files that are wrong


def test_a_folder_without_a_voice(tmp_path):
    for wrong in (tmp_path, tmp_path / "nothing", tmp_path / "no.onnx"):
        with pytest.raises(FileError):
            find_parts(wrong)
    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(FileError, match=r"a\.onnx\.json"):
        find_parts(tmp_path / "a.onnx")
    (tmp_path / "b.onnx.json").write_text("{}")
    with pytest.raises(FileError, match=r"no b\.onnx"):
        find_parts(tmp_path)
    (tmp_path / "c.onnx.json").write_text("{}")
    with pytest.raises(FileError, match="2 voices"):
        find_parts(tmp_path)


def test_one_of_several_by_its_file(tmp_path):
    tiny_voices.telling(tmp_path, name="a", phoneme_type="text")
    tiny_voices.telling(tmp_path, name="b", phoneme_type="text")
    assert find_parts(tmp_path / "b.onnx") == (tmp_path / "b.onnx.json", (tmp_path / "b.onnx",))


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"audio": {}}, "sample_rate"),
        ({"audio": {"sample_rate": 22_050.5}}, "sample_rate"),
        ({"audio": {"sample_rate": 10}}, "sample_rate"),
        ({"audio": None}, "sample_rate"),
        ({"phoneme_type": "pinyin"}, "phoneme_type"),
        ({"espeak": None}, "espeak.voice"),
        ({"espeak": {"voice": 3}}, "espeak.voice"),
        ({"phoneme_id_map": None}, "phoneme_id_map"),
        ({"phoneme_id_map": {"_": [0], "^": [1]}}, "phoneme_id_map"),
        ({"phoneme_id_map": {"_": [0], "^": [1], "$": [999]}}, "'\\$'"),
        ({"phoneme_id_map": {"_": [0], "^": [1], "$": 2}}, "'\\$'"),
        ({"phoneme_id_map": {"_": [0], "^": [1], "$": []}}, "'\\$'"),
        ({"phoneme_id_map": {"_": [0], "^": [1], "$": [-1]}}, "'\\$'"),
        ({"num_symbols": "many"}, "num_symbols"),
        ({"num_speakers": 0}, "num_speakers"),
        ({"speaker_id_map": {"a": 1}}, "speaker_id_map"),
        ({"inference": {"length_scale": 0}}, "inference"),
        ({"inference": {"noise_scale": "loud"}}, "inference"),
    ],
)
def test_a_card_that_says_what_cannot_be(tmp_path, said, what):
    tiny_voices.card(tmp_path / "voice.onnx.json", **said)
    with pytest.raises(FileError, match=what) as caught:
        read_config(tmp_path / "voice.onnx.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "[" * 100_000, "\xff"])
def test_a_card_that_is_no_card(tmp_path, content):
    (tmp_path / "voice.onnx.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(FileError):
        read_config(tmp_path / "voice.onnx.json")


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | inner, max_leaves=5)
)
@settings(max_examples=60, deadline=None)
def test_any_value_in_a_card_is_taken_or_refused(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "any.onnx.json"
    for key in (
        "audio",
        "espeak",
        "language",
        "phoneme_id_map",
        "num_speakers",
        "speaker_id_map",
        "inference",
    ):
        tiny_voices.card(path, **{key: value})
        with suppress(FileError):
            read_config(path)


def test_a_network_that_is_not_of_a_voice(tmp_path):
    folder = tiny_voices.telling(tmp_path / "voice", phoneme_type="text")
    (folder / "voice.onnx").write_bytes(b"no network")
    with pytest.raises(FileError, match="not a network"):
        PiperVoice(folder, "broken")
    from streaming_models import any_model

    (folder / "voice.onnx").write_bytes(any_model().read_bytes())
    with pytest.raises(FileError, match="which no voice has"):
        PiperVoice(folder, "another")


def test_missing_tensors(tmp_path):
    from streaming_models import content_of, tensor
    from tiny_voices import heads, node

    folder = tiny_voices.telling(tmp_path, phoneme_type="text")
    inputs = {
        "input": heads("input", 1, "P"),
        "input_lengths": heads("input_lengths", 1),
        "scales": tensor("scales", 3),
    }
    for missing in inputs:
        given_ = [each for name, each in inputs.items() if name != missing]
        nodes = [node("Cast", [given_[0].name], ["output"], to=1)]
        shape = (1, "P") if given_[0].name == "input" else (1,)
        content = content_of(nodes, given_, [tensor("output", *shape)])
        (folder / "voice.onnx").write_bytes(content)
        with pytest.raises(FileError, match=f"no input {missing}"):
            PiperVoice(folder, "missing")


def test_speakers_of_the_card_and_the_network_have_to_agree(tmp_path):
    one = tiny_voices.telling(tmp_path / "one", phoneme_type="text")
    many = tiny_voices.telling(tmp_path / "many", speakers=2, phoneme_type="text")
    for folder, count in ((one, 2), (many, 1)):
        said = json.loads((folder / "voice.onnx.json").read_text()) | {
            "num_speakers": count,
            "speaker_id_map": {},
        }
        (folder / "voice.onnx.json").write_text(json.dumps(said))
        with pytest.raises(FileError, match="sid"):
            PiperVoice(folder, "wrong")


def test_a_pair_that_does_not_fit(tmp_path):
    tiny_voices.pair(tmp_path / "six", channels=6, phoneme_type="text")
    tiny_voices.pair(tmp_path / "five", channels=5, phoneme_type="text")
    (tmp_path / "six" / "dec.onnx").write_bytes((tmp_path / "five" / "dec.onnx").read_bytes())
    with pytest.raises(FileError, match="channels"):
        PiperVoice(tmp_path / "six", "odd")
    (tmp_path / "six" / "dec.onnx").write_bytes((tmp_path / "six" / "text.onnx").read_bytes())
    with pytest.raises(FileError, match="something else than frames"):
        PiperVoice(tmp_path / "six", "odd")
