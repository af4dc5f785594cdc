"""The voice that comes with the project: what its card says, that it is understood, and other programs."""

import hashlib
import json

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="runs networks")

from engines.speech import libespeak
from engines.speech.config import ids_of
from engines.speech.piper import phonemes_of
from engines.speech.text import sentences
from engines.speech.voices import SHIPPED_VOICES, open_voice
from export.models.pronouncer import distance
from export.voice_scores import clicks_at, recogniser, words_of

FOLDER = SHIPPED_VOICES / "kathleen"
NETWORK = FOLDER / "kathleen.onnx"
TEXTS = [
    "The boy was there when the sun rose.",
    "A rod is used to catch pink salmon.",
    "The source of the huge river is the clear spring.",
    "Kick the ball straight and follow through.",
    "Help the woman get back to her feet.",
    "A pot of tea helps to pass the evening.",
    "Smoky fires lack flame and heat.",
    "The soft cushion broke the man's fall.",
    "The salt breeze came across from the sea.",
    "The girl at the booth sold fifty bonds.",
]
"""IEEE Recommended Practice for Speech Quality Measurements, 1969, appendix C, lists 2 and 3."""
FOREIGN = "Is Loch Ness nearer than Llanelli, or Reykjavik? Provence, Bach: no!"

speaks = pytest.mark.skipif(libespeak.load() is None, reason="needs espeak-ng")


@pytest.fixture(scope="module")
def voice():
    opened = open_voice("")
    yield opened
    opened.close()


def chunks_of(voice, text):
    return [list(voice.speak(sentence)) for sentence in sentences(text, "en")]


def joined(chunks):
    return np.concatenate([chunk.samples for chunk in chunks])


def whole(ids, name="output"):
    """What the network makes in one go."""
    from onnxruntime import InferenceSession

    feeds = {"input": [ids], "input_lengths": [len(ids)]}
    feeds = {key: np.array(value, np.int64) for key, value in feeds.items()}
    session = InferenceSession(NETWORK)
    (found,) = session.run([name], {**feeds, "scales": np.array([0.0, 1.0, 0.0], np.float32)})
    return found.ravel()


def phonemes(voice, text):
    (sentence,) = sentences(text, "en")
    _, parts = phonemes_of(sentence, voice.config.espeak, voice._espeak)
    return [phoneme for part, _ in parts for phoneme in part]


def test_its_card():
    card = json.loads((FOLDER / "kathleen.onnx.json").read_text(encoding="utf-8"))
    assert card["sha256"] == {NETWORK.name: hashlib.sha256(NETWORK.read_bytes()).hexdigest()}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 10e6
    assert (card["license"], card["weights"]) == ("CC0-1.0", "int8")
    assert [each["task"] for each in card["training"]] == ["acoustic", "vocoder"]
    for run in card["training"]:
        assert run["data"]["sources"] == {"speech/kathleen": "CC0 1.0 (rhasspy voice dataset)"}
        assert run["steps"] > 0
        assert run["seconds"] > 0
        assert "train" in run["command"]
        assert "/tmp" not in json.dumps(run)
    scores, rates = card["scores"], card["scores"]["word error rates"]
    assert scores["texts"] >= 100
    assert rates["kathleen"] <= rates["recordings"] + 0.1
    assert scores["voices"]["kathleen"]["clicks"] == 0
    told = (FOLDER / "MODEL_CARD").read_text(encoding="utf-8")
    for name in ("recordings", "kathleen"):
        assert f"* {name}: {100 * rates[name]:.1f} % word errors" in told
    assert card["differences"]["pieces - whole"] <= 1e-5
    assert scores["networks"]["kathleen"] == list(card["sha256"].values())


@speaks
def test_it_is_understood(voice):
    listen = recogniser()
    if listen is None:
        pytest.skip("listens with PocketSphinx")
    said = [words_of(text) for text in TEXTS]
    heard = [
        listen(np.concatenate([joined(chunks) for chunks in chunks_of(voice, text)]), voice.rate)
        for text in TEXTS
    ]

    def rate(heard):
        return sum(map(distance, heard, said)) / sum(map(len, said))

    assert rate(heard) <= 0.4
    assert rate(heard[1:] + heard[:1]) >= 0.9  # The recogniser listens.


@speaks
def test_pieces_are_the_whole_and_meet_without_a_click(voice):
    for text in TEXTS[:3]:
        (chunks,) = chunks_of(voice, text)
        sound = joined(chunks)
        assert len(chunks) > 3
        want = whole(ids_of(phonemes(voice, text), voice.config)[0])
        np.testing.assert_allclose(sound, want, rtol=0, atol=1e-5)
        borders = np.cumsum([len(chunk.samples) for chunk in chunks])[:-1]
        assert clicks_at(sound, borders.tolist(), voice.rate) == 0
        assert 0.04 < np.sqrt(np.mean(sound**2)) < 0.15
        assert np.abs(sound).max() < 1
        assert np.abs(sound[[0, -1]]).max() < 0.01
        assert abs(np.mean(sound)) < 1e-3


@speaks
def test_words_begin_where_its_phones_do(voice):
    (chunks,) = chunks_of(voice, TEXTS[0])
    words = [at for chunk in chunks for _, at in chunk.words]
    assert len(words) == 8
    assert words == sorted(words)
    starts = {at for chunk in chunks for _, at in chunk.phones}
    assert set(words[1:]) <= starts
    assert sum(map(len, (chunk.samples for chunk in chunks))) > words[-1]


@speaks
def test_nothing_of_foreign_names_is_left_out(voice):
    chunks = [chunk for each in chunks_of(voice, FOREIGN) for chunk in each]
    assert [chunk.left_out for chunk in chunks if chunk.left_out] == []
    assert {"x", "?"} <= set(voice.config.ids)


@speaks
@pytest.mark.parametrize("text", [TEXTS[0], "Is it?"])
def test_piper_says_it_with_as_many_samples(voice, text):
    piper = pytest.importorskip("piper", reason="piper-tts is not installed")
    other = piper.PiperVoice.load(NETWORK)
    config = piper.SynthesisConfig(
        noise_scale=0.0, noise_w_scale=0.0, length_scale=1.0, normalize_audio=False
    )
    read = phonemes(voice, text)
    ids = other.phonemes_to_ids(read)
    assert ids == ids_of(read, voice.config)[0]
    sound = other.phoneme_ids_to_audio(ids, config)
    sound = sound[0] if isinstance(sound, tuple) else sound
    (chunks,) = chunks_of(voice, text)
    np.testing.assert_allclose(sound, joined(chunks), rtol=0, atol=1e-5)


@speaks
@pytest.mark.parametrize("text", [TEXTS[0], "Is it?"])
def test_sherpa_says_it_with_as_many_samples(voice, text):
    sherpa = pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is not installed")
    said = sherpa.OfflineTtsVitsModelConfig(
        model=str(NETWORK), tokens=str(FOLDER / "tokens.txt"), lexicon="",
        noise_scale=0.0, noise_scale_w=0.0, length_scale=1.0,
    )  # fmt: skip
    model = sherpa.OfflineTtsModelConfig(vits=said, num_threads=1, provider="cpu")
    config = sherpa.GenerationConfig()
    read = phonemes(voice, text)
    config.phoneme_codepoints = [[ord(phoneme) for phoneme in read]]
    found = sherpa.OfflineTts(sherpa.OfflineTtsConfig(model=model)).generate("-", config)
    (chunks,) = chunks_of(voice, text)
    assert found.sample_rate == voice.rate
    # It has an ONNX Runtime of its own, which may round as far from ours as torch does.
    np.testing.assert_allclose(found.samples, joined(chunks), rtol=0, atol=1e-4)
