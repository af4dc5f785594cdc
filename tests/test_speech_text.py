"""Sentences, pauses and SSML: what is cut where, and that every position is one of the source."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.speech import bangla, english
from engines.speech.folding import fold
from engines.speech.text import LONGEST, PARAGRAPH, PAUSE, Word, language_of, sentences

CASES = [
    line.split("\t")[0]
    for language in ("english", "bangla")
    for line in (Path(__file__).parent / "speech" / f"{language}.tsv")
    .read_text(encoding="utf-8")
    .splitlines()
    if not line.startswith("# ")
]
TAGS = [
    "<speak>",
    "</speak>",
    "<break/>",
    '<break time="5ms"/>',
    '<prosody rate="fast">',
    "</prosody>",
    "<p>",
    "</p>",
    "<s>",
    '<sub alias="1st">',
    "</sub>",
    '<say-as interpret-as="characters">',
    '<say-as interpret-as="date" format="mdy">',
    "</say-as>",
    "&lt;",
    "&#9999;",
    "&#xD800;",
    "<!--",
    "-->",
    "\n",
    "\n\n",
    ". ",
]
ANY = st.text(max_size=60) | st.lists(
    st.sampled_from(CASES + TAGS * 20) | st.text(max_size=10), max_size=12
).map("".join)


def spoken(text, language="en"):
    return [sentence.spoken for sentence in sentences(text, language)]


# Sentences


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two.", ["One.", "Two."]),
        ("Dr. Smith came. He sat.", ["Dr. Smith came.", "He sat."]),
        ("It is 3.5 km. Go!", ["It is 3.5 km.", "Go!"]),
        ("J. R. R. Tolkien wrote. We read.", ["J. R. R. Tolkien wrote.", "We read."]),
        ("Apples, pears, etc. He ate them.", ["Apples, pears, etc.", "He ate them."]),
        ("We met at 5 p.m. It rained.", ["We met at 5 p.m.", "It rained."]),
        ("We met at 5 p.m. on Monday.", ["We met at 5 p.m. on Monday."]),
        ("the U.S. Army. And more", ["the U.S. Army.", "And more"]),
        ("He lives in the U.S. He works.", ["He lives in the U.S.", "He works."]),
        ('"Stop!" he said. "Go." She went.', ['"Stop!" he said.', '"Go."', "She went."]),
        ("Well... maybe. Wait… What?", ["Well... maybe.", "Wait…", "What?"]),
        ("(He left.) She stayed.", ["(He left.)", "She stayed."]),
        ("See example.com. Then go.", ["See example.com.", "Then go."]),
        ("lower case. goes on too. yes", ["lower case.", "goes on too.", "yes"]),
        ("He left. iPhones rang. So", ["He left.", "iPhones rang.", "So"]),
        ("See the bldg. plan. Then go.", ["See the bldg. plan.", "Then go."]),
        ("Mon., Tues., and Fri. from nine.", ["Mon., Tues., and Fri. from nine."]),
        ("Add 5 oz. flour. Stir.", ["Add 5 oz. flour.", "Stir."]),
        ("It weighs 5 lbs. She knows.", ["It weighs 5 lbs.", "She knows."]),
        ("Apt. 5B, Rm. 12", ["Apt. 5B, Rm. 12"]),
        ("Maj. Gen. Smith and Adm. Nelson", ["Maj. Gen. Smith and Adm. Nelson"]),
        ("By Eq. (4) and Ex. 3 it holds.", ["By Eq. (4) and Ex. 3 it holds."]),
        ("Read README.md. Then .NET.", ["Read README.md.", "Then .NET."]),
        ("Lunch is at 12:30 p.m. It's late.", ["Lunch is at 12:30 p.m.", "It's late."]),
        ("He left. 5 people came.", ["He left.", "5 people came."]),
        ("Really?! Yes!!! No.", ["Really?!", "Yes!!!", "No."]),
        ("Title\n\nText here", ["Title", "Text here"]),
        ("1. first\n2. second", ["1. first", "2. second"]),
        ("A. First\nB. Second", ["A. First", "B. Second"]),
        ("a.\nthen more.", ["a.", "then more."]),
        ("- first\n- second\n* third", ["- first", "- second", "* third"]),
        ("Dear John,\nThank you.", ["Dear John,", "Thank you."]),
        ("wrapped in the\nmiddle of it", ["wrapped in the\nmiddle of it"]),
    ],
)
def test_english_is_cut_where_sentences_end(text, parts):
    assert [sentence.text for sentence in sentences(text, "en")] == parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("আমি যাই। তুমি থাকো।", ["আমি যাই।", "তুমি থাকো।"]),
        ("কেমন আছ? ভালো!", ["কেমন আছ?", "ভালো!"]),
        ("প্রথম লাইন\nদ্বিতীয় লাইন", ["প্রথম লাইন", "দ্বিতীয় লাইন"]),
        ("ড. রহমান এলেন। মোঃ করিম গেলেন।", ["ড. রহমান এলেন।", "মোঃ করিম গেলেন।"]),
        ("দাম ৩.৫ টাকা। নাও।", ["দাম ৩.৫ টাকা।", "নাও।"]),
        ("“যাও!” সে বলল। আমি গেলাম।", ["“যাও!” সে বলল।", "আমি গেলাম।"]),
        ("১। প্রথম কথা। দ্বিতীয় কথা।", ["১। প্রথম কথা।", "দ্বিতীয় কথা।"]),
        ("ক. প্রথম\nখ. দ্বিতীয়", ["ক. প্রথম", "খ. দ্বিতীয়"]),
        ("১. প্রথম\n২. দ্বিতীয়", ["১. প্রথম", "২. দ্বিতীয়"]),
        ("৫ সেপ্টে. ২০২৪ এড. কামাল এলেন। বৃহঃ দেখা হবে।", ["৫ সেপ্টে. ২০২৪ এড. কামাল এলেন।", "বৃহঃ দেখা হবে।"]),
    ],
)
def test_bangla_is_cut_where_sentences_end(text, parts):
    assert [sentence.text for sentence in sentences(text, "bn")] == parts


def test_a_full_stop_inside_of_a_sentence_is_a_comma_at_most():
    assert spoken("See the bldgs. here. 1. one") == ["See the bldgs, here.", "one, one"]


def test_words_say_where_they_stand():
    first, second = sentences("Pay $5. Now", "en")
    assert first.words == [Word(0, 3, "Pay", "en"), Word(4, 6, "five dollars", "en")]
    assert (second.begin, second.end, second.words) == (8, 11, [Word(8, 11, "Now", "en")])


@pytest.mark.parametrize("form", ["\u09a8\u09df", "\u09a8\u09af\u09bc"])
def test_positions_are_of_the_source_however_it_is_encoded(form):
    (sentence,) = sentences(f"\u0995\u09c7\u09be {form} ৫", "bn")
    assert [sentence.text[word.begin : word.end] for word in sentence.words] == [
        "\u0995\u09c7\u09be",
        form,
        "৫",
    ]
    assert sentence.spoken == "\u0995\u09cb \u09a8\u09af\u09bc পাঁচ"


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("en", ["\ufb01rst", "o\ufb03ce", "5 \u338f"], ["first", "office", "five kilograms"]),
        ("en", ["so\u00adlu\u00adtion", "re-\u2060use", "web\u200bsite"], ["solution", "re-use", "website"]),
        ("en", ["t\u200dw\u200co", "\U0001d407\U0001d422", "\uff28\uff49"], ["two", "Hi", "Hi"]),
        (
            "en",
            ["e\u00ad\u0301te\u0301", "co\u00ad\n operate", "5\u1d57\u02b0"],
            ["été", "cooperate", "fifth"],
        ),
        ("bn", ["ক\u00adলম", "অ\u200bনেক", "o\ufb03ce"], ["কলম", "অনেক", "office"]),
        ("bn", ["হঠাত\u09cd\u200d", "র\u200d\u09cdযাব", "ক\u200d\u200bলা"], ["হঠাৎ", "র\u200d\u09cdযাব", "কলা"]),
        ("de", ["\ufb01nan\u00adziell", "gut"], ["finanziell", "gut"]),
        ("th", ["คน\u200bไทย"], ["คน\u200bไทย"]),
        ("fa", ["می\u200cروم"], ["می\u200cروم"]),
        ("zh", ["ＡＢＣ", "好"], ["ＡＢＣ", "好"]),
    ],
)
def test_what_is_hidden_in_a_word_does_not_move_it(language, written, said):
    text = "\ufeff" + ", ".join(written) + "\u2060."
    (sentence,) = sentences(text, language)
    assert [text[word.begin : word.end] for word in sentence.words] == written
    assert [word.spoken for word in sentence.words] == said
    assert sentence.left_out == []


def test_what_a_tag_fixes_may_be_hidden():
    """A tag around a mark alone, which is a part of the letter before it, or of nothing."""
    for text in ("e<sub alias='x'>\u0301</sub> one", "e<sub alias='x'>\u00ad</sub> one"):
        (sentence,) = sentences(text, "en")
        assert sentence.spoken.endswith(" one")
        assert [text[word.begin : word.end] for word in sentence.words][-1] == "one"


def test_a_heap_of_accents_is_no_word():
    (sentence,) = sentences("e" + "\u0301" * 1000, "en")
    assert sentence.spoken == "é"
    assert sentence.words[0].end < 100


def test_pauses():
    assert [s.pause for s in sentences("One. Two, three.\n\nFour", "en")] == [PAUSE, PARAGRAPH, PAUSE]


def test_an_endless_sentence_is_cut():
    text = "word " * 20_000
    found = sentences(text, "en")
    assert max(len(sentence.spoken) for sentence in found) <= LONGEST + 10
    assert " ".join(sentence.spoken for sentence in found) == text.strip()


def test_what_nobody_reads_is_noted():
    (sentence,) = sentences("I like 日本 a lot", "en")
    assert sentence.spoken == "I like a lot"
    assert sentence.left_out == ["left out '日本'"]
    (sentence,) = sentences("日本", "en")
    assert (sentence.spoken, sentence.pause, sentence.left_out) == ("", 0, ["left out '日本'"])
    (sentence,) = sentences("日, 日 and 本", "en")
    assert sentence.left_out == ["left out '日' (U+65E5)", "left out '本' (U+672C)"]


@pytest.mark.parametrize("text", ["", "   \n ", "...", "?!", '"'])
def test_nothing_to_say(text):
    assert [sentence for sentence in sentences(text, "en") if sentence.spoken] == []


@pytest.mark.parametrize(
    ("language", "text", "said", "parts"),
    [
        ("ru", "Привет, мир! Как дела? Хорошо.", ["Привет, мир!", "Как дела?", "Хорошо."], None),
        ("fr", "« J'ai 12 pommes à 5€. »", ["J'ai 12 pommes à 5€."], ["« J'ai 12 pommes à 5€. »"]),
        (
            "de",
            "Am 3. Mai z. B. kam ca. ein Brief. Gut.",
            ["Am 3. Mai z. B. kam ca. ein Brief.", "Gut."],
            None,
        ),
        ("es", "¿Qué tal? ¡Bien! Son las 12:30...", ["Qué tal?", "Bien!", "Son las 12:30..."], None),
        ("zh", "你好。我很好！", ["你好.", "我很好!"], ["你好。", "我很好！"]),
        ("hi", "नमस्ते। आप कैसे हैं?", ["नमस्ते।", "आप कैसे हैं?"], None),
        ("de", "Ein Satz,\nder weiter geht.", ["Ein Satz, der weiter geht."], None),
        (
            "de",
            'Am <say-as interpret-as="digits">12</say-as>. <sub alias="Herr 2">H.</sub>',
            ["Am 1 2.", "Herr 2"],
            None,
        ),
    ],
)
def test_other_languages_are_left_as_they_are_written(language, text, said, parts):
    found = sentences(text, language)
    assert [sentence.spoken for sentence in found] == said
    if parts is not None:
        assert [sentence.text for sentence in found] == parts
    for sentence in found:
        for word in sentence.words:
            if "<" not in text:
                assert text[word.begin : word.end] == word.spoken
        assert sentence.left_out == []


@given(st.text(max_size=60))
def test_of_other_languages_nothing_is_lost(text):
    text = fold(text.replace("<", ""), wide=False)[0]
    words = [word for sentence in sentences(text, "xx") for word in sentence.words]
    assert all(len(word.spoken) == word.end - word.begin for word in words)
    assert sum(sum(map(str.isalnum, word.spoken)) for word in words) == sum(map(str.isalnum, text))


def test_bangla_inside_of_english():
    text = "The word বাংলা, in its ৫ম form, is ড. রহমান's; see ঢাকা-based"
    (sentence,) = sentences(text, "en")
    assert sentence.left_out == []
    assert [(text[w.begin : w.end], w.spoken) for w in sentence.words if w.language == "bn"] == [
        ("বাংলা", "বাংলা"), ("৫ম", "পঞ্চম"), ("ড.", "ডক্টর"), ("রহমান", "রহমান"), ("ঢাকা", "ঢাকা"),
    ]  # fmt: skip
    assert sentence.spoken == "The word বাংলা, in its পঞ্চম form, is ডক্টর রহমান; see ঢাকা based"


@pytest.mark.parametrize(
    ("text", "voice", "language"),
    [
        ("আমি ভালো আছি", "", "bn"),
        ("আমি ভালো আছি", "en", "bn"),
        ("I am fine", "", "en"),
        ("I am fine, রহিম", "", "en"),
        ("রহিম Facebook দেখে আর YouTube", "", "bn"),
        ("iPhone 15 Pro Max এর দাম ৳১,৫০,০০০", "", "bn"),
        ("Vitamin C এর অভাব", "en", "bn"),
        ("Please log in করুন", "", "bn"),
        ("The word আর means and", "", "en"),
        ("Dhaka (ঢাকা), Khulna (খুলনা)", "", "en"),
        ("He said আমি ভাত খাই to me", "", "en"),
        ("Привет, আমি", "ru", "ru"),
        ("Le mot আমি se dit", "fr", "fr"),
        ("রহিম আর করিম Facebook দেখে", "", "bn"),
        ("<speak><prosody rate='slow'>আমি</prosody></speak>", "", "bn"),
        ("দেখুন https://bn.wikipedia.org/wiki/", "", "bn"),
        ("লিখুন anyone@example.org বা www.example.org এ", "", "bn"),
        ("12:30", "bn", "bn"),
        ("12:30", "", "en"),
        ("", "", "en"),
        ("Привет", "ru", "ru"),
        ("অসমীয়া ভাষা", "as", "as"),
    ],
)
def test_the_script_tells_the_language(text, voice, language):
    assert language_of(text, voice) == language


@settings(max_examples=400, deadline=None, derandomize=True)
@given(ANY, st.sampled_from(["en", "bn"]))
def test_positions_are_of_the_source(text, language):
    at = 0
    for sentence in sentences(text, language):
        assert at <= sentence.begin <= sentence.end <= len(text)
        assert sentence.text == text[sentence.begin : sentence.end]
        assert sentence.pause >= 0
        at = sentence.end
        inside = sentence.begin
        for word in sentence.words:
            assert inside <= word.begin < word.end <= sentence.end
            assert word.spoken
            inside = word.end
        assert bool(sentence.words) == bool(sentence.spoken)


@pytest.mark.parametrize("between", ["\n", "\n\n"])
def test_what_follows_on_another_line_does_not_count(between):
    assert spoken(f"Charles I{between}I have two") == ["Charles the first", "I have two"]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(CASES), min_size=1, max_size=6).map("\n\n".join), st.sampled_from(["en", "bn"])
)
def test_cutting_says_what_the_whole_says(text, language):
    front = english if language == "en" else bangla
    marks = str.maketrans("", "", ",;:.।!?")
    whole = [front.normalise(part) for part in text.split("\n\n")]
    parts = spoken(text, language)
    assert " ".join(parts).translate(marks).split() == " ".join(whole).translate(marks).split()


# SSML


def test_breaks():
    first, second = sentences('<speak>One.<break time="500ms"/> Two<break time="1.5s"/></speak>', "en")
    assert (first.spoken, first.pause) == ("One.", pytest.approx(PAUSE + 0.5))
    assert (second.spoken, second.pause) == ("Two", pytest.approx(1.5))
    (alone,) = sentences('<speak><break strength="strong"/></speak>', "en")
    assert (alone.spoken, alone.pause, alone.words) == ("", 0.7, [])
    assert sentences('Go <break time="900s"/> on', "en")[0].pause == 10


def test_prosody_is_nested():
    text = 'a <prosody rate="50%" volume="-6dB">b <prosody rate="fast" pitch="+12st">c</prosody></prosody> d'
    found = sentences(text, "en")
    assert [(s.spoken, s.rate, s.pitch, s.gain_db) for s in found] == [
        ("a", 1, 1, 0),
        ("b", 0.5, 1, -6),
        ("c", 0.625, 2, -6),
        ("d", 1, 1, 0),
    ]


@pytest.mark.parametrize(
    ("attributes", "rate", "pitch", "gain_db"),
    [
        ('rate="x-slow"', 0.5, 1, 0),
        ('rate="+20%"', 1.2, 1, 0),
        ('rate="1.5"', 1.5, 1, 0),
        ('rate="0"', 0.25, 1, 0),
        ("pitch='-12st'", 1, 0.5, 0),
        ('volume="silent"', 1, 1, -100),
        ('volume="+99dB"', 1, 1, 12),
    ],
)
def test_prosody(attributes, rate, pitch, gain_db):
    (sentence,) = sentences(f"<prosody {attributes}>x</prosody>", "en")
    assert (sentence.rate, sentence.pitch, sentence.gain_db) == pytest.approx((rate, pitch, gain_db))
    assert sentence.notes == []


def test_prosody_that_is_not_understood_is_noted():
    (sentence,) = sentences('<prosody rate="soon" pitch="120Hz" volume="9">x</prosody>', "en")
    assert (sentence.rate, sentence.pitch, sentence.gain_db, len(sentence.notes)) == (1, 1, 0, 3)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('<sub alias="World Wide Web">WWW</sub>!', ["World Wide Web!"]),
        ('the <sub alias="5 km">x</sub> run', ["the five kilometres run"]),
        ('<say-as interpret-as="characters">ab1</say-as>', ["A B one"]),
        ('<say-as interpret-as="digits">123</say-as>', ["one two three"]),
        ('<say-as interpret-as="ordinal">3</say-as>', ["third"]),
        ('<say-as interpret-as="cardinal">1999</say-as>', ["one thousand nine hundred and ninety-nine"]),
        ('<say-as interpret-as="date">3 May</say-as>', ["the third of May"]),
        ("<p>One</p><p>Two</p>", ["One", "Two"]),
        ("<s>One</s><s>Two</s>", ["One", "Two"]),
        ("<speak>a &lt; b &amp; c &#65;</speak>", ["a is less than b and c A"]),
        ("<speak><!-- 5 > 3 -->hello</speak>", ["hello"]),
        (
            '<?xml version="1.0"?><speak xmlns="http://example.org/synthesis" xml:lang="en">hello</speak>',
            ["hello"],
        ),
    ],
)
def test_tags_change_what_is_said(text, parts):
    assert spoken(text) == parts


@pytest.mark.parametrize(
    ("attributes", "written", "said", "of_bangla"),
    [
        (
            '"date" format="mdy"',
            "10/11/2024",
            "October eleventh, twenty twenty-four",
            "এগারোই অক্টোবর দুই হাজার চব্বিশ",
        ),
        (
            '"date" format="dmy"',
            "10/11/24",
            "the tenth of November twenty twenty-four",
            "দশই নভেম্বর দুই হাজার চব্বিশ",
        ),
        (
            '"date" format="ymd"',
            "2024-1-2",
            "the second of January twenty twenty-four",
            "দোসরা জানুয়ারি দুই হাজার চব্বিশ",
        ),
        (
            '"date" format="yyyymmdd"',
            "19990102",
            "the second of January nineteen ninety-nine",
            "দোসরা জানুয়ারি উনিশশো নিরানব্বই",
        ),
        ('"date" format="md"', "1/2", "January second", "দোসরা জানুয়ারি"),
        ('"date" format="dm"', "1.2.", "the first of February", "পহেলা ফেব্রুয়ারি"),
        ('"date" format="ym"', "2024/3", "March twenty twenty-four", "মার্চ দুই হাজার চব্বিশ"),
        ('"date" format="my"', "3/2005", "March two thousand and five", "মার্চ দুই হাজার পাঁচ"),
        ('"date" format="y"', "1905", "nineteen oh five", "উনিশশো পাঁচ"),
        ('"date" format="m"', "12", "December", "ডিসেম্বর"),
        ('"date" format="d"', "3", "the third", "তেসরা"),
        ('"date:mdy"', "10/11/2024", "October eleventh, twenty twenty-four", "এগারোই অক্টোবর দুই হাজার চব্বিশ"),
    ],
)
def test_dates_of_a_format(attributes, written, said, of_bangla):
    text = f"on <say-as interpret-as={attributes}>{written}</say-as>."
    (sentence,) = sentences(text, "en")
    assert (sentence.spoken, sentence.notes) == (f"on {said}.", [])
    assert text[sentence.words[1].begin : sentence.words[1].end] == written
    (sentence,) = sentences(text.removeprefix("on ").removesuffix("."), "bn")
    assert (sentence.spoken, sentence.notes) == (fold(of_bangla)[0], [])


@pytest.mark.parametrize(
    ("language", "order", "written", "said", "note"),
    [
        (
            "en",
            "mdy",
            "13/11/2024",
            "the thirteenth of November twenty twenty-four",
            "does not fit '13/11/2024'",
        ),
        ("en", "md", "1/2/2024", "the first of February twenty twenty-four", "does not fit '1/2/2024'"),
        ("en", "y", "9" * 5000, None, "does not fit '99999999999999999999'"),
        ("en", "dy", "1/2/2024", "the first of February twenty twenty-four", "is no order of d, m and y"),
        ("en", "mdy", "May 3, 2024", "May third, twenty twenty-four", ""),
        ("de", "mdy", "10/11/2024", "10/11/2024", "is not read in this language"),
    ],
)
def test_a_format_that_is_not_that_of_the_date_is_noted(language, order, written, said, note):
    (sentence,) = sentences(f'<say-as interpret-as="date" format="{order}">{written}</say-as>', language)
    assert said is None or sentence.spoken == said
    assert len(sentence.notes) == bool(note)
    assert all(each.startswith(f"<say-as format={order!r}> {note}: ") for each in sentence.notes)


def test_formats_of_others_are_noted():
    (sentence,) = sentences('<say-as interpret-as="time" format="hms12">3:30pm</say-as>', "en")
    assert sentence.spoken == "three thirty P M"
    assert sentence.notes == ["<say-as interpret-as='time'> has a format, which is not read"]


def test_bangla_in_ssml():
    text = (
        '<speak><say-as interpret-as="ordinal">৩</say-as> <say-as interpret-as="digits">১২</say-as></speak>'
    )
    assert spoken(text, "bn") == ["তৃতীয় এক দুই"]


def test_other_tags_are_read_through_with_a_note():
    (sentence,) = sentences('<voice name="x">Hello <emphasis>you</emphasis></voice>', "en")
    assert sentence.spoken == "Hello you"
    assert sentence.notes == ["<voice> is read through", "<emphasis> is read through"]


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("<speak>Hello <break/> world", "Hello world"),
        ("<speak>Hello</p> world</speak>", "Hello world"),
        ("<speak>Hello <s>world</speak></s>", "Hello world"),
        ("<speak>Hello <!-- world</speak>", "Hello is less than! world"),
        ("<speak>a < b</speak>", "a is less than b"),
        ("<speak>you &me; us</speak>", "you and me; us"),
        ("<speak><!-- a -->Hello<?b c?> <p>world</speak>", "Hello world"),
        ("<speak>Hello <![CDATA[world</speak>", "Hello is less than! cdata, world"),
    ],
)
def test_broken_markup_is_read_as_text(text, heard):
    with pytest.raises(ElementTree.ParseError):
        ElementTree.fromstring(text)  # noqa: S314
    found = sentences(text, "en")
    assert " ".join(sentence.spoken for sentence in found) == heard
    assert found[0].notes[0].startswith("broken SSML, read as plain text: ")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<s>&nbsp; go</s>", "unknown entity '&nbsp;'"),
        ("<s>x <tag with=no quotes> y</s>", "'<tag with=no quotes>' is not a tag that is read"),
        ("<s>so a <b, or else</s>", "'<b,' is not a tag that is read"),
    ],
)
def test_what_is_broken_is_shown_whole(text, shown):
    assert sentences(text, "en")[0].notes == [f"broken SSML, read as plain text: {shown}"]


SYNTHESIS = """<?xml version="1.0"?>
<!DOCTYPE speak PUBLIC "-//W3C//DTD SYNTHESIS 1.0//EN"
                  "http://www.w3.org/TR/speech-synthesis/synthesis.dtd">
<speak version="1.1" xmlns="http://www.w3.org/2001/10/synthesis" xml:lang="en-US">
  <p>Hello <![CDATA[<you> & me]]></p>
</speak>"""
"""As in the specification, Speech Synthesis Markup Language 1.1, section 2.2."""


def test_a_whole_document():
    ElementTree.fromstring(SYNTHESIS)  # noqa: S314
    (sentence,) = sentences(SYNTHESIS, "en")
    assert sentence.spoken == "Hello is less than you is greater than and me"
    assert [sentence.text[w.begin - sentence.begin : w.end - sentence.begin] for w in sentence.words] == [
        "Hello", "<", "you", ">", "&", "me",
    ]  # fmt: skip
    assert sentence.notes == []


def test_a_bare_ampersand_is_itself():
    first, second = sentences('Hello <break time="2s"/> there & you', "en")
    assert (first.spoken, first.pause, second.spoken) == ("Hello", 2.0, "there and you")
    assert [note.partition(" that ")[0] for note in second.notes] == ["an &"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<b>Bold</b> &amp; more", ["Bold and more"]),
        ("<b>Bold</b> &amp; more<p>x</p>", ["Bold and more", "x"]),
        ("<b>B</b>old <emphasis>un</emphasis>told", ["Bold untold"]),
        ("<voice>Hi</voice><audio>alt</audio><phoneme>tomato</phoneme>", ["Hi alt tomato"]),
        ("if a<b and c>d", ["if a is less than b and c is greater than d"]),
        ("<b> and <b>", ["is less than b is greater than and is less than b is greater than"]),
    ],
)
def test_elements_of_any_name(text, said):
    """Are read through where they are elements; who writes of less and greater is heard."""
    assert spoken(text) == said


def test_a_break_that_is_cut_is_noted():
    first, _ = sentences("a <break time='100s'/> b", "en")
    assert (first.pause, first.notes) == (10.0, ["<break time='100s'> is cut to 10 s, the longest"])


def test_entities_are_never_declared():
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    text = f'<!DOCTYPE s [<!ENTITY l0 "ha">{laughs}<!ENTITY x SYSTEM "file:///etc/passwd">]><speak>&l9;&x;</speak>'
    found = sentences(text, "en")
    assert sum(len(sentence.spoken) for sentence in found) < 20 * len(text)
    assert "root" not in " ".join(sentence.spoken for sentence in found)
    assert found[0].notes[0].startswith("broken SSML")


@pytest.mark.parametrize(
    "part",
    [
        "<",
        "<s>",
        "<!--",
        "<?",
        "<![CDATA[",
        "<!DOCTYPE",
        "<a>",
        "<p a='",
        "&",
        "&amp;",
        "<s/>",
        "<s a='1' b='2",
        "</s>",
    ],
)
def test_much_markup_is_read_to_the_end(part):
    found = sentences("<speak>" + part * 5_000 + " end", "en")
    assert found[-1].spoken.endswith("end")


@pytest.mark.parametrize("entity", ["&#xD800;", "&#9999999;", "&#x110000;"])
def test_what_is_no_character_is_not_read(entity):
    (sentence,) = sentences(f"<speak>a {entity}</speak>", "en")
    assert sentence.spoken.startswith("a and")
    assert sentence.notes[0].startswith("broken SSML")


def test_of_an_address_what_others_read_is_left_to_them():
    (sentence,) = sentences("দেখুন https://bn.wikipedia.org/wiki/ঢাকা এখানে", "bn")
    assert sentence.spoken == "দেখুন bn dot wikipedia dot org slash wiki ঢাকা এখানে"
    assert [sentence.text[w.begin : w.end] for w in sentence.words[1:3]] == [
        "https://bn.wikipedia.org/wiki/", "ঢাকা",
    ]  # fmt: skip
    (sentence,) = sentences("See https://bn.wikipedia.org/wiki/ঢাকা here", "en")
    assert sentence.spoken == "See bn dot wikipedia dot org slash wiki ঢাকা here"
    assert [word.language for word in sentence.words] == ["en", "en", "bn", "en"]
