"""How Bangla words are said: letters, phones, the shipped network, and what espeak-ng makes of it."""

import json
import unicodedata
from itertools import zip_longest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("engines.speech.text")

from engines.speech import libespeak, pronunciation, say
from engines.speech.espeak import Espeak, EspeakVoice
from engines.speech.phones import said
from engines.speech.pronunciation import (
    BLANK,
    IPA,
    LETTERS,
    PHONES,
    SHIPPED_MODEL,
    SLOTS,
    Pronouncer,
    for_espeak,
    letters_of,
    numbers_of,
    phones_of,
    to_espeak,
    to_ipa,
)
from engines.speech.text import sentences
from rtaudio import cli
from rtaudio.errors import FileError

needs_espeak = pytest.mark.skipif(libespeak.load() is None, reason="needs espeak-ng")

SAID = {
    # By hand, as they are said in Dhaka: conjuncts whose letters are not their sounds.
    "লক্ষ্মী": "lokkʰi",
    "আত্মা": "atta",
    "বিজ্ঞান": "biɡɡan",
    "সহ্য": "ʃodʒdʒʱo",
    "বিশ্ব": "biʃʃo",
    "পদ্মা": "pɔdda",
    "বাংলাদেশ": "baŋladeʃ",
    "বাড়ি": "bari",
    "স্কুল": "skul",
    "ব্যাংক": "bæŋk",
    "চাঁদ": "tʃad",
    "দুঃখ": "dukkʰo",
    "ব্রাহ্মণ": "bramhon",
    "ব্রহ্মপুত্র": "bromhoputro",
    "আহ্বান": "ao̯bʱan",
    "জিহ্বা": "dʒiu̯bʱa",
    "আহ্লাদ": "alhad",
    "মধ্যাহ্ণ": "moddʱanho",
    "আহ্মেদ": "ahmed",
}
NUMBERS = {
    # By hand: what people say.
    "০": "ʃunno", "১": "æk", "২": "dui̯", "৩": "tin", "৪": "tʃar", "৫": "pãtʃ", "৬": "tʃʰɔe̯", "৭": "ʃat",
    "৮": "aʈ", "৯": "nɔe̯", "১০": "dɔʃ",
    "২৫": "põtʃiʃ", "৪০": "tʃolliʃ", "৫০": "pɔntʃaʃ", "১০০": "ækʃo", "৩.৫": "tindɔʃomikpãtʃ",
    "৳২০": "biʃʈaka", "৭৫%": "pɔ̃tʃattorʃɔtaŋʃo", "১ম": "protʰom", "১৯৫২ সাল": "uniʃʃobahannoʃal",
    "২:৩০": "dui̯ʈatriʃminiʈ",
}  # fmt: skip


@pytest.fixture(scope="module")
def pronouncer():
    pytest.importorskip("onnxruntime", reason="runs networks")
    return Pronouncer()


@pytest.fixture(scope="module")
def espeak():
    made = Espeak()
    yield made
    made.close()


def phonemes_of(events):
    """What espeak-ng says that it has said, without its ways of writing the same sound."""
    named = "".join(event.name for event in events if event.kind == "phoneme")
    named = unicodedata.normalize("NFD", named)
    for one, other in (("ɾ", "r"), ("r.", "r"), ("ː", ""), ("ɟ", "dʒ")):
        named = named.replace(one, other)
    return named


def plain(ipa):
    """IPA of the lexicon's phones, as espeak-ng writes it."""
    for one, other in (("ʱ", "ʰ"), ("i̯", "j"), ("e̯", "j"), ("u̯", "w"), ("o̯", "w")):
        ipa = ipa.replace(unicodedata.normalize("NFD", one), other)
    return ipa


# ------------------------------------------------------------------------------------------- letters, phones


@pytest.mark.parametrize("word", ["বাড়ি", "গাঢ়", "হয়", "কো", "চৌকা"])
def test_the_way_of_encoding_does_not_matter(word):
    for form in ("NFC", "NFD"):
        assert letters_of(unicodedata.normalize(form, word)) == unicodedata.normalize("NFC", word)


@pytest.mark.parametrize("word", ["", "bank", "বাড়িA", "ক খ", "ক-খ", "৫"])
def test_what_is_no_word_of_letters_has_none(word):
    assert letters_of(word) is None


def test_letters_have_numbers_of_their_own():
    assert numbers_of(LETTERS).tolist() == list(range(1, 1 + len(LETTERS)))
    assert len(set(LETTERS)) == len(LETTERS)


@given(st.lists(st.sampled_from(PHONES)), st.randoms(use_true_random=False))
def test_phones_are_read_from_any_path_that_spells_them(phones, random):
    path = [BLANK] * random.randint(0, 2)
    for phone, after in zip_longest(phones, phones[1:]):
        path += [1 + PHONES.index(phone)] * random.randint(1, 3)
        path += [BLANK] * random.randint(int(phone == after), 2)
    assert phones_of(path) == phones


# ------------------------------------------------------------------------------------------- the network


def test_card_tells_where_the_network_comes_from():
    card = json.loads(SHIPPED_MODEL.with_suffix(".json").read_text(encoding="utf-8"))
    assert (card["kind"], card["slots"], card["phones"]) == ("pronunciation", SLOTS, list(IPA))
    assert "CC BY 4.0" in card["data"]["sources"]["lexicon.tsv"]
    assert card["differences"]["torch - onnx"] <= 1e-4
    assert card["data"]["words"]["held out"] == card["scores"]["words"] == 2000
    assert card["scores"]["network"]["words"] < card["scores"]["espeak-ng, written alike"]["words"]
    assert SHIPPED_MODEL.stat().st_size <= 2e6


def test_words_are_said_as_people_say_them(pronouncer):
    wrong = {word: found for word, ipa in SAID.items() if (found := to_ipa(pronouncer.read(word))) != ipa}
    assert len(wrong) <= 1, wrong  # It errs in one word of eight that it has not seen.
    for word in SAID:
        assert pronouncer.read(unicodedata.normalize("NFD", word)) == pronouncer.read(word)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(word=st.text(st.sampled_from(LETTERS) | st.characters(), max_size=100))
def test_any_word_has_phones_of_the_lexicon(word):
    pytest.importorskip("onnxruntime", reason="runs networks")
    assert set(Pronouncer().read(word)) <= set(PHONES)


@pytest.mark.parametrize(
    ("word", "ipa"),
    [
        ("চাঁদ", "tʃa\u0303d"),
        ("আঁকা", "a\u0303ka"),
        ("পাঁচ", "pa\u0303tʃ"),
        ("ইঁদুর", "i\u0303dur"),
        ("উঁচু", "u\u0303tʃu"),
    ],
)
def test_a_chandrabindu_makes_its_vowel_nasal(pronouncer, word, ipa):
    assert to_ipa(pronouncer.read(word, nasal=True)) == ipa
    assert to_ipa(pronouncer.read(word)) == ipa.replace("\u0303", "")


def test_a_long_word_is_said_whole(pronouncer):
    assert pronouncer.read("কা" * 400) == ["k", "a"] * 400


def test_nothing_of_other_letters_is_said(pronouncer):
    assert pronouncer.read("") == pronouncer.read("bank 5") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phones": ["a"]}, "other letters or phones"),
        ({"kind": "stream"}, "of kind 'stream'"),
        ({"sha256": "0"}, "hash differs"),
        ({"letters": None}, "other letters or phones"),
    ],
)
def test_another_network_is_refused(tmp_path, change, message):
    pytest.importorskip("onnxruntime", reason="runs networks")
    path = tmp_path / "other.onnx"
    path.write_bytes(SHIPPED_MODEL.read_bytes())
    card = json.loads(SHIPPED_MODEL.with_suffix(".json").read_text(encoding="utf-8"))
    path.with_suffix(".json").write_text(json.dumps({**card, **change}), encoding="utf-8")
    with pytest.raises(FileError, match=message):
        Pronouncer(path)


# ------------------------------------------------------------------------------------------- espeak-ng


@needs_espeak
@pytest.mark.parametrize("phone", PHONES)
def test_espeak_says_each_phone(espeak, phone):
    _, events = espeak.synthesise(f"{to_espeak(['p', 'a', phone, 'p'])}", "bn", named=True)
    assert phonemes_of(events) == plain(f"pa{unicodedata.normalize('NFD', IPA[phone])}p")


@needs_espeak
def test_phones_beside_each_other_do_not_become_another(espeak):
    _, events = espeak.synthesise(to_espeak(["u", "t", "sh", "O", "b"]), "bn", named=True)
    names = [event.name for event in events if event.kind == "phoneme" and event.name]
    assert names == ["u", "t", "ʃ", "ɔ", "b"]  # not tʃ


@needs_espeak
@pytest.mark.parametrize(
    ("word", "last"), [("হয়ে", "e"), ("বাড়ি", "i"), ("গাঢ়ের", "ɾ"), ("কোথায়", "j"), ("সময়েও", "ː")]
)
def test_espeak_leaves_nothing_out_behind_a_nukta(espeak, word, last):
    ((*_, found),) = espeak.phonemes(unicodedata.normalize("NFC", word), "bn")
    assert found == last


def test_only_inner_letters_are_composed_for_espeak():
    assert for_espeak("হ\u09af\u09bcে হ\u09af\u09bc।") == "হ\u09dfে হ\u09af\u09bc।"


@needs_espeak
@pytest.mark.parametrize(("digits", "ipa"), NUMBERS.items())
def test_numbers_are_spoken(pronouncer, espeak, digits, ipa):
    voice = EspeakVoice("espeak-bn", "bn", pronouncer)
    (sentence,) = sentences(digits, "bn")
    text, _ = voice._written(sentence.spoken)
    voice.close()
    _, events = espeak.synthesise(text, "bn", named=True)
    assert phonemes_of(events) == plain(unicodedata.normalize("NFD", ipa))


@needs_espeak
@pytest.mark.parametrize("which", ["network", "espeak-ng"])
def test_words_keep_their_places(pronouncer, which):
    voice = EspeakVoice("espeak-bn", "bn", pronouncer if which == "network" else None)
    (sentence,) = sentences("তিনি বাড়ি গিয়ে hello বললেন, ২৫ জন হয়ে উঠল।", "bn")
    chunks = list(voice.speak(sentence))
    voice.close()
    words = [word for chunk in chunks for word in chunk.words]
    assert [index for index, _ in words] == list(range(len(sentence.words)))
    places = [place for _, place in words]
    assert places == sorted(set(places))
    assert places[-1] < sum(len(chunk.samples) for chunk in chunks)


@needs_espeak
@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=st.text(st.sampled_from(LETTERS + " -,.a5"), max_size=40))
def test_what_is_given_to_espeak_is_the_text_with_its_words_written(text):
    pytest.importorskip("onnxruntime", reason="runs networks")
    voice = written_by(Pronouncer())
    text = unicodedata.normalize("NFC", text)
    written, moved = voice._written(text)
    assert (len(moved), moved[-1]) == (len(text) + 1, len(written))
    assert moved == sorted(moved)
    for match in pronunciation.WORD.finditer(text):
        phones = voice._pronouncer.read(match[0], nasal=True)
        assert written[moved[match.start()] :].startswith(
            to_espeak(phones) if phones else for_espeak(match[0])
        )
    for at, character in enumerate(text):
        if character not in LETTERS:
            assert written[moved[at]] == character


def written_by(pronouncer):
    """A voice that is not opened, only writes."""
    voice = EspeakVoice.__new__(EspeakVoice)
    voice._pronouncer = pronouncer
    return voice


# ------------------------------------------------------------------------------------------- the command


def command(*arguments):
    parser = cli.Parser(prog="rtaudio")
    say.command(parser.add_subparsers(parser_class=cli.Parser))
    options = parser.parse_args(["say", *arguments])
    return options.run(options)


@needs_espeak
def test_phones_are_shown(pronouncer, capsys):
    assert command("বিজ্ঞান, ৫ hello", "--lang", "bn", "--phones") == 0
    head, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["word", "network", "espeak-ng"]
    assert [(row[0], row[1]) for row in rows[:2]] == [("বিজ্ঞান", "biɡɡan"), ("পাঁচ", "pa\u0303tʃ")]
    assert rows[2][0] == "hello"
    assert len(rows[2]) == 2  # espeak-ng's only


@needs_espeak
def test_phones_as_json(capsys, tmp_path):
    assert command("Hello there.", "--phones", "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)["words"]
    assert [(word["word"], word["network"]) for word in found] == [("Hello", ""), ("there", "")]
    assert found[0]["espeak"].replace("ˈ", "").startswith("həl")


@pytest.mark.parametrize("option", [("-o", "a.wav"), ("--serve",)])
def test_phones_are_not_spoken(option):
    with pytest.raises(cli.UserError, match="speaks nothing"):
        command(*(["a"] if option[0] == "-o" else []), "--phones", *option)


@needs_espeak
def test_words_of_several_sentences_are_said(pronouncer):
    assert [word.word for word in said("আমি যাই। তুমি?", "bn")] == ["আমি", "যাই", "তুমি"]
