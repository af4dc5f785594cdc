"""Listening tests: loudness against the standard's numbers and ffmpeg, intervals against scipy, blindness."""

import csv
import json
import math
import re
import shutil
import struct
import subprocess
from contextlib import suppress
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import scipy.stats
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from export import listen
from export.__main__ import main
from rtaudio.errors import FileError

pytest.importorskip("pyloudnorm", reason="listening tests need pyloudnorm")

RATE = 16_000
SYSTEMS = ("clean-speech", "নয়েজ", "wgan\"'<script>&")
SENTENCES = ("p232_001", "p232_002", "বাক্য", "deep/p257_004")


def sound(seconds, rate=RATE, seed=0):
    """Noise whose level changes as that of syllables does."""
    t = np.arange(round(seconds * rate)) / rate
    x = np.random.default_rng(seed).standard_normal(t.size)
    return 0.05 * x * (1.1 + np.sin(2 * np.pi * 4 * t + seed))


def write(path, x, rate=RATE, subtype="FLOAT"):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, x, rate, subtype=subtype)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Three systems of four sentences, each a noise of its own, at levels 30 dB apart."""
    for j, system in enumerate(SYSTEMS):
        for k, sentence in enumerate(SENTENCES):
            x = 10 ** (j - 1.5) * sound(0.8 + 0.1 * k, seed=10 * j + k)
            write(tmp_path / system / f"{sentence}.wav", x)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*options, folders=SYSTEMS):
    return main(["listen", *folders, "-o", "page", *options])


def key_of(place):
    return json.loads((place / "page.key.json").read_text("utf-8"))


class Page(HTMLParser):
    """The elements of a page, with their attributes and text."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.open = [], False
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))
        self.open = True

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.elements and self.open:
            self.elements[-1][2].append(data)

    def text(self, tag, **wanted):
        (found,) = (
            "".join(text) for name, a, text in self.elements if name == tag and wanted.items() <= a.items()
        )
        return found


def data_of(place):
    return json.loads(Page(place / "page" / "index.html").text("script", id="test"))


# ------------------------------------------------------------------------------------------ loudness


def bs1770(x):
    """Integrated loudness at 48 kHz: the coefficients, blocks and gates as ITU-R BS.1770-4 prints them."""
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285], [1, -1.69065929318241, 0.73248077421585]
    high = [1, -2, 1], [1, -1.99004745483398, 0.99007225036621]
    y = scipy.signal.lfilter(*high, scipy.signal.lfilter(*shelf, np.atleast_2d(x)))
    z = np.array(
        [np.sum(np.mean(y[:, b : b + 19_200] ** 2, axis=1)) for b in range(0, y.shape[1] - 19_199, 4_800)]
    )
    level = -0.691 + 10 * np.log10(z)
    relative = -0.691 + 10 * np.log10(np.mean(z[level > -70])) - 10
    return -0.691 + 10 * np.log10(np.mean(z[(level > -70) & (level > relative)]))


def by_ffmpeg(path):
    command = [
        "ffmpeg",
        "-nostats",
        "-hide_banner",
        "-i",
        path,
        "-af",
        "ebur128",
        "-f",
        "null",
        "-",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return float(re.findall(r"I:\s+(-?[\d.]+) LUFS", said)[-1])


def true_peak(x):
    return 20 * math.log10(np.max(np.abs(scipy.signal.resample(x, 8 * len(x), axis=0))))


def test_all_clips_are_equally_loud(place):
    for system in SYSTEMS[:2]:  # the page is at 48 kHz for them
        for k, sentence in enumerate(SENTENCES):
            write(place / system / f"{sentence}.wav", 0.3 * sound(1.5, 48_000, seed=k), 48_000)
    assert make() == 0
    found = [sf.read(path) for path in (place / "page").glob("*.wav")]
    assert len(found) == len(SYSTEMS) * len(SENTENCES) + listen.TRAINING
    # A pad of silence is 0.4 s at most here, which the gate leaves out, but for blocks at its edge.
    for x, rate in found:
        assert (rate, x.ndim) == (48_000, 1)
        assert bs1770(np.trim_zeros(x, "b")) == pytest.approx(-23, abs=0.1)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_ffmpeg_finds_the_clips_equally_loud(place):
    for j, system in enumerate(SYSTEMS):
        for k, sentence in enumerate(SENTENCES):
            write(place / system / f"{sentence}.wav", 10.0**-j * sound(2.0, seed=10 * j + k))
    assert make("--sentences", "2") == 0
    for path in (place / "page").glob("*.wav"):
        assert by_ffmpeg(path) == pytest.approx(-23, abs=0.15)


def test_peaks_stay_under_full_scale_and_bring_all_clips_down(place, capsys):
    x = sound(1.5, seed=3)
    x[::4000] = 3.0
    write(place / SYSTEMS[0] / f"{SENTENCES[0]}.wav", x)
    write(place / SYSTEMS[1] / f"{SENTENCES[1]}.wav", sound(1.5, 48_000), 48_000)
    assert make() == 0
    said = capsys.readouterr().err
    target = float(re.search(r"all at (-[\d.]+) LUFS", said)[1])
    assert -35 < target < -25
    assert f"for the peaks of {SYSTEMS[0]}/{SENTENCES[0]}.wav not to be cut" in said
    peaks = []
    for path in (place / "page").glob("*.wav"):
        x, _ = sf.read(path)
        assert bs1770(np.trim_zeros(x, "b")) == pytest.approx(target, abs=0.15)
        peaks.append(true_peak(x))
    assert max(peaks) == pytest.approx(-1, abs=0.2)


@pytest.mark.parametrize("rate", [8_000, 11_026, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.399, 0.4, 0.43, 0.45, 3.0])
def test_a_tone_has_the_loudness_that_the_standard_gives_it(rate, seconds):
    """0 dB re full scale at 997 Hz in one channel is -3.01 LKFS."""
    x = 0.1 * np.sin(2 * np.pi * 997 * np.arange(round(rate * seconds)) / rate)[None]
    assert listen.loudness(x, rate) == pytest.approx(-23.01, abs=0.2)
    both = np.repeat(x, 2, axis=0)
    assert listen.loudness(both, rate) == pytest.approx(-20.0, abs=0.2)


def test_short_clips_are_as_loud_as_long_ones(place):
    tone = np.sin(2 * np.pi * 1000 * np.arange(3 * RATE) / RATE)
    for j, (system, seconds) in enumerate(zip(SYSTEMS, (0.1, 0.3, 2.0), strict=True)):
        for sentence in SENTENCES:
            write(place / system / f"{sentence}.wav", 10.0 ** (-1 - j) * tone[: round(seconds * RATE)])
    assert make() == 0
    for name, clip in key_of(place)["clips"].items():
        x = np.trim_zeros(sf.read(place / "page" / f"{name}.wav")[0], "b")
        assert 10 * math.log10(2 * np.mean(x**2)) == pytest.approx(-20, abs=0.2), clip


# ------------------------------------------------------------------------------------------ page


def test_nothing_in_the_page_tells_the_systems_apart(place):
    for sentence in SENTENCES:  # one is a little longer, as by whole chunks
        x, rate = sf.read(place / SYSTEMS[2] / f"{sentence}.wav")
        with sf.SoundFile(place / SYSTEMS[2] / f"{sentence}.wav", "w", rate, 1, "PCM_16") as file:
            file.title = "wgan"
            file.write(np.append(x, np.zeros(777)))
    assert make("--sentences", "3", "--title", "Listen") == 0
    clips = key_of(place)["clips"]
    files = sorted((place / "page").iterdir())
    assert {path.name for path in files} == {"index.html", *(f"{name}.wav" for name in clips)}
    for path in files:
        content = path.read_bytes()
        for word in (*SYSTEMS, *(Path(sentence).name for sentence in SENTENCES), "wgan", "LIST", str(place)):
            assert word.encode() not in content
            assert json.dumps(word)[1:-1].encode() not in content
    sizes, dates = {}, set()
    for name, clip in clips.items():
        assert re.fullmatch("[0-9a-f]{16}", name)
        path = place / "page" / f"{name}.wav"
        head = path.read_bytes()[:44]  # RIFF, fmt and data, nothing else
        assert (head[12:20], head[36:40]) == (b"fmt \x10\0\0\0", b"data")
        assert struct.unpack("<HHIIHH", head[20:36]) == (1, 1, RATE, 2 * RATE, 2, 16)
        sizes.setdefault(clip["sentence"], set()).add(path.stat().st_size)
        dates.add(path.stat().st_mtime)
    assert len(dates) == 1
    assert all(len(each) == 1 for each in sizes.values())
    named = [
        [clips[clip["name"]][field] for clip in data_of(place)["clips"]] for field in ("system", "sentence")
    ]
    for names in named:  # neither sorted nor in blocks
        assert len(names) == 9
        assert sum(a == b for a, b in pairwise(names)) < 6


def test_the_key_says_which_clip_is_which(place):
    assert make("--sentences", "3") == 0
    key = key_of(place)
    assert key["systems"] == list(SYSTEMS)
    counted = [(clip["system"], clip["sentence"]) for clip in key["clips"].values() if not clip["training"]]
    rest = [clip for clip in key["clips"].values() if clip["training"]]
    assert len(set(counted)) == len(counted) == 9
    assert len({clip["system"] for clip in rest}) == len(rest) == 2
    assert not {clip["sentence"] for clip in rest} & {sentence for _, sentence in counted}
    for name, clip in key["clips"].items():
        source = sf.read(place / clip["system"] / f"{clip['sentence']}.wav")[0]
        x = sf.read(place / "page" / f"{name}.wav")[0][: len(source)]
        assert np.corrcoef(source, x)[0, 1] > 0.999


def test_the_page_holds_what_its_script_needs(place):
    title = "</script><script>alert('1')</script> \"বাংলা\" &amp; <!-- @TEST@ -->"
    assert make("--sentences", "2", "--scale", "acr", "--title", title, "--repeats", "50") == 0
    page = Page(place / "page" / "index.html")
    assert page.text("title") == title
    data = data_of(place)
    assert data["title"] == title
    assert not set("<>&") & set(page.text("script", id="test"))
    assert data["words"] == ["bad", "poor", "fair", "good", "excellent"]
    assert data["repeats"] == 3  # half of all
    assert sum(tag == "script" for tag, *_ in page.elements) == 3
    clips = key_of(place)["clips"]
    for field in ("clips", "training"):
        for clip in data[field]:
            assert clips[clip["name"]]["training"] == (field == "training")
    groups = {clip["sentence"]: clips[clip["name"]]["sentence"] for clip in data["clips"]}
    assert len(groups) == len(set(groups.values())) == 2
    for _, attributes, _ in page.elements:  # nothing comes from elsewhere
        assert not {"src", "href", "onclick", "style"} & set(attributes)
    policies = [
        a["content"] for tag, a, _ in page.elements if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policies[0]


def luminance(colour):
    values = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


def test_the_page_can_be_read():
    """Contrasts of WCAG 2.1: 4.5 for text, 3 for what surrounds a control, in light and in dark."""
    text = (Path(listen.__file__).parent / "listen.html").read_text("utf-8")
    schemes = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", block))
        for block in re.findall(r":root {([^}]*)}", text)
    ]
    assert len(schemes) == 2
    inks = {
        "ink": ("card", "page", "tint"),
        "soft": ("card", "page"),
        "on-accent": ("accent",),
        "accent": ("card",),
    }
    for scheme in schemes:
        colours = {
            name: c if len(c) == 7 else "#" + "".join(2 * digit for digit in c[1:])
            for name, c in scheme.items()
        }
        light = {name: luminance(colour) + 0.05 for name, colour in colours.items()}
        for ink, grounds in (inks | {"edge": ("card", "page")}).items():
            for ground in grounds:
                contrast = max(light[ink], light[ground]) / min(light[ink], light[ground])
                assert contrast >= (3 if ink == "edge" else 4.5), (ink, ground)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_seed_makes_the_same_page_again(place):
    for page, options in {
        "one": ["--seed", "7"],
        "two": ["--seed", "7"],
        "other": ["--seed", "8"],
        "unknown": [],
        "unknown too": [],
    }.items():
        assert main(["listen", *SYSTEMS, "-o", page, *options]) == 0
    assert contents(place / "one") == contents(place / "two")
    assert (place / "one.key.json").read_bytes() == (place / "two.key.json").read_bytes()
    assert not set(contents(place / "one")) & set(contents(place / "other")) - {"index.html"}
    assert not set(contents(place / "unknown")) & set(contents(place / "unknown too")) - {"index.html"}
    write(place / SYSTEMS[0] / f"{SENTENCES[0]}.wav", sound(0.8, seed=99))
    assert main(["listen", *SYSTEMS, "-o", "changed", "--seed", "7"]) == 0
    tests = [
        json.loads((place / f"{page}.key.json").read_text("utf-8"))["test"] for page in ("one", "changed")
    ]
    assert tests[0] != tests[1]


def test_rates_and_channels_become_one(place):
    x = np.stack([sound(1, 44_100, 1), 0.2 * sound(1, 44_100, 2)], axis=1)
    write(place / SYSTEMS[0] / f"{SENTENCES[0]}.wav", x, 44_100)
    write(place / SYSTEMS[1] / f"{SENTENCES[0]}.wav", sound(1, 8_000, 3), 8_000)
    assert make() == 0
    for name, clip in key_of(place)["clips"].items():
        y, rate = sf.read(place / "page" / f"{name}.wav")
        assert (rate, y.shape[1]) == (44_100, 2)
        if (clip["system"], clip["sentence"]) == (SYSTEMS[0], SENTENCES[0]):
            assert np.corrcoef(x.T, y.T)[:2, 2:].diagonal() == pytest.approx([1, 1], abs=1e-3)
        else:
            assert np.max(np.abs(y[:, 0] - y[:, 1])) <= 2.5 / 2**15  # dither


def test_names_may_be_given_and_fewer_sentences_are_taken(place, capsys):
    (place / SYSTEMS[2]).rename(place / "x=y")  # a folder, whatever is in its name
    assert make("--sentences", "9", folders=[f"নতুন={SYSTEMS[1]}", "x=y", f"a=b={SYSTEMS[0]}"]) == 2
    assert make("--sentences", "9", folders=[f"নতুন={SYSTEMS[1]}", "x=y", f"a={SYSTEMS[0]}"]) == 0
    assert key_of(place)["systems"] == ["নতুন", "x=y", "a"]
    assert "page: 3 systems, 4 sentences, 12 clips, about 1 min" in capsys.readouterr().err


def spoil(place, mistake):
    """Make a mistake in the folders."""
    first = place / SYSTEMS[0] / f"{SENTENCES[0]}.wav"
    x, _ = sf.read(first)
    match mistake:
        case "missing sentence":
            (place / SYSTEMS[1] / f"{SENTENCES[2]}.wav").unlink()
        case "twice":
            write(first.with_suffix(".flac"), x, subtype="PCM_16")
        case "silent":
            write(first, 0 * x)
        case "nearly silent":
            write(first, 1e-5 * x)
        case "nan":
            x[-1] = np.nan
            write(first, x)
        case "empty":
            first.write_bytes(b"")
        case "no samples":
            write(first, x[:0])
        case "no audio":
            first.write_text("no audio")
        case "surround":
            write(first, np.stack([x] * 6, axis=1))
        case "click":
            x[:] = 0  # but for a sample: its loudness is that of a block with nothing else
            x[5] = 1
            write(first, x)
        case "page exists":
            (place / "page").mkdir()
        case "key exists":
            (place / "page.key.json").write_text("precious")
        case "no folder for the page":
            (place / "file").write_text("")
        case "no audio at all":
            (place / "void").mkdir()


A = SYSTEMS[0]
MISTAKES = {
    "missing sentence": ([*SYSTEMS], f"{SYSTEMS[1]} has no বাক্য, which {A} has: all systems need the same"),
    "twice": ([*SYSTEMS], "p232_001.wav are the same sentence: remove one"),
    "silent": ([*SYSTEMS], f"{A}/p232_001.wav is silent, nothing to rate: leave the sentence out"),
    "nearly silent": ([*SYSTEMS], f"{A}/p232_001.wav is silent"),
    "nan": ([*SYSTEMS], f"{A}/p232_001.wav has samples that are not finite"),
    "empty": ([*SYSTEMS], f"cannot read {A}/p232_001.wav: it is empty"),
    "no samples": ([*SYSTEMS], f"cannot read {A}/p232_001.wav: it holds no audio"),
    "no audio": ([*SYSTEMS], f"cannot read {A}/p232_001.wav: not audio"),
    "surround": ([*SYSTEMS], f"{A}/p232_001.wav has 6 channels: want one or two"),
    "click": ([*SYSTEMS], f"{A}/p232_001.wav has peaks"),
    "page exists": ([*SYSTEMS], "page exists: remove it, or choose another output"),
    "key exists": ([*SYSTEMS], "page.key.json exists: remove it"),
    "no folder for the page": ([*SYSTEMS, "-o", "file/page"], "cannot make the folder file: File exists"),
    "here": ([*SYSTEMS, "-o", "."], ". exists: remove it, or choose another output"),
    "no audio at all": ([*SYSTEMS, "void"], "no audio files in void"),
    "one system": ([A], f"one system, {A}, cannot be told from others"),
    "same name": ([A, f"x=./{A}", f"{A}={SYSTEMS[1]}"], f"two systems are called {A}: give one another name"),
    "no folder": ([A, "nowhere"], "'nowhere' is not a folder: give DIR or NAME=DIR"),
    "no folder named": ([A, "name=nowhere"], "'name=nowhere' is not a folder"),
    "no name": ([A, f"={A}"], f"'={A}' is not a folder"),
    "empty folder name": ([A, "x="], "'x=' is not a folder"),
    "empty argument": ([A, ""], "'' is not a folder"),
    "newline": ([f"a\nb={A}", SYSTEMS[1]], "'a\\nb' cannot be printed: give another name, as in NAME=DIR"),
    "no sentences": ([*SYSTEMS, "--sentences", "0"], "'0' is not a whole number above 0"),
    "repeats": ([*SYSTEMS, "--repeats", "-1"], "'-1' is not a whole number from 0"),
    "seed": ([*SYSTEMS, "--seed", "x"], "'x' is not a whole number from 0"),
    "scale": ([*SYSTEMS, "--scale", "mushra"], "invalid choice: 'mushra'"),
    "both": ([*SYSTEMS, "--results", "x.json"], "folders make a page and --results evaluates one"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(place, capsys, mistake):
    arguments, said = MISTAKES[mistake]
    spoil(place, mistake)
    before = sorted(place.rglob("*"))
    try:
        status = main(["listen", "-o", "page", *arguments])
    except SystemExit as left:
        status = left.code
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert said in err
    assert sorted(place.rglob("*")) == before
    if mistake == "key exists":
        assert (place / "page.key.json").read_text() == "precious"


def test_nothing_to_do_is_one_line(place, capsys):
    for arguments in ([], [*SYSTEMS], ["-o", "page"]):
        assert main(["listen", *arguments]) == 2
        assert capsys.readouterr().err.count("give folders and -o PAGE to make a page, or --results") == 1


@pytest.mark.parametrize(
    "step", [(listen, "_write_key"), (Path, "rename")], ids=["before the key", "after it"]
)
def test_an_interrupt_leaves_nothing(place, monkeypatch, step):
    def interrupted(*_):
        assert any(path.name.startswith(".page.") for path in place.iterdir())
        assert (place / "page.key.json").exists() == (step[1] == "rename")
        raise KeyboardInterrupt

    monkeypatch.setattr(*step, interrupted)
    before = sorted(place.rglob("*"))
    assert make() == 130
    assert sorted(place.rglob("*")) == before


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_listeners_hear_the_clips_in_orders_of_their_own(place):
    """Runs the page's own script."""
    assert make("--repeats", "4") == 0
    page = Page(place / "page" / "index.html")
    scripts = ["".join(text) for tag, attributes, text in page.elements if tag == "script" and not attributes]
    listeners = [f"L{k}" for k in range(40)]
    code = f"""{scripts[0]}
        const listeners = {json.dumps([*listeners, "L0"])}, test = {page.text("script", id="test")};
        console.log(JSON.stringify(listeners.map((listener) => order(test, listener))));"""
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True)
    orders = json.loads(done.stdout)
    assert orders[0] == orders[-1]
    data, names, neighbours = data_of(place), [], []
    for order in orders[:-1]:
        training, rated = order[:2], order[2:]
        assert [clip["name"] for clip in training] == [clip["name"] for clip in data["training"]]
        assert all(clip["training"] for clip in training)
        first = [clip["name"] for clip in rated if not clip.get("repeat")]
        again = [clip["name"] for clip in rated if clip.get("repeat")]
        assert sorted(first) == sorted(clip["name"] for clip in data["clips"])
        assert len(set(again)) == 4
        assert all(rated[k].get("repeat") is None for k in range(6))
        assert set(again) <= {clip["name"] for clip in rated[:6]}
        neighbours.append(sum(a["sentence"] == b["sentence"] for a, b in pairwise(rated)))
        names.append(first)
    assert len({tuple(order) for order in names}) == 40
    assert np.mean(neighbours) < 1  # 15 pairs, of 4 sentences: more than 3 by chance
    places = [order.index(data["clips"][0]["name"]) for order in names]
    assert np.mean(places) == pytest.approx(5.5, abs=2)  # of 12: not always early or late


# ------------------------------------------------------------------------------------------ answers


def answers(key, listener, rate, repeats=()):
    """What the page writes when a listener rates with a function of system and sentence."""
    clips = {name: clip for name, clip in key["clips"].items() if not clip["training"]}
    ratings = [
        {"clip": name, "rating": rate(clip["system"], clip["sentence"]), "repeat": False}
        for name, clip in clips.items()
    ]
    for name, rating in zip(clips, repeats, strict=False):
        ratings.append({"clip": name, "rating": rating, "repeat": True})
    return {"format": listen.FORMAT, "test": key["test"], "listener": listener, "ratings": ratings}


def send(place, name, content):
    path = place / f"{name}.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return str(path.relative_to(place))


@pytest.fixture
def key(place):
    """The key of a test that need not have a page."""
    clips = {
        f"{j}{k}": {"system": system, "sentence": sentence, "training": False}
        for j, system in enumerate(SYSTEMS)
        for k, sentence in enumerate(SENTENCES)
    }
    clips["t"] = {"system": SYSTEMS[0], "sentence": "other", "training": True}
    data = {"format": listen.FORMAT, "test": "ab", "scale": "mos", "seed": 1}
    data |= {"systems": list(SYSTEMS), "clips": clips}
    (place / "page.key.json").write_text(json.dumps(data), "utf-8")
    return data


def test_results_are_what_scipy_makes_of_them(place, key, capsys):
    random = np.random.default_rng(5)
    table = random.integers(1, 6, (3, 6, 4))  # systems, listeners, sentences
    files = []
    for place_, listener in enumerate("ABCDEF"):

        def rate(system, sentence, place_=place_):
            return int(table[SYSTEMS.index(system), place_, SENTENCES.index(sentence)])

        files.append(send(place, listener, answers(key, listener, rate)))
    assert main(["listen", "--results", *files, "-o", "out"]) == 0
    rows = list(csv.DictReader((place / "out" / "mos.csv").open(encoding="utf-8")))
    assert [row["system"] for row in rows] == list(SYSTEMS)
    printed = capsys.readouterr().out
    written = (place / "out" / "mos.md").read_text("utf-8")
    for row, ratings in zip(rows, table, strict=True):
        means = ratings.mean(axis=1)
        low, high = scipy.stats.t.interval(0.95, 5, means.mean(), scipy.stats.sem(means))
        assert [float(row[key]) for key in ("mos", "low", "high")] == pytest.approx(
            [means.mean(), low, high], abs=1e-4
        )
        assert (row["listeners"], row["ratings"]) == ("6", "24")
        shown = f"{means.mean():.2f} ± {(high - low) / 2:.2f}"
        assert shown in printed
        assert f"| {row['system']} | {shown} |" in written.replace("\\<", "<")
    assert rows[0]["difference"] == rows[0]["difference_low"] == ""
    for row, ratings in zip(rows[1:], table[1:], strict=True):
        assert float(row["difference"]) == pytest.approx(np.mean(ratings - table[0]), abs=1e-4)
        assert float(row["difference_low"]) < float(row["difference"]) < float(row["difference_high"])
    kept = list(csv.DictReader((place / "out" / "ratings.csv").open(encoding="utf-8")))
    assert len(kept) == 72
    for row in kept:
        at = SYSTEMS.index(row["system"]), "ABCDEF".index(row["listener"]), SENTENCES.index(row["sentence"])
        assert int(row["rating"]) == table[at]


def test_repeats_do_not_count_but_tell_how_consistent_a_listener_is(place, key, capsys):
    files = [send(place, "a", answers(key, "A", lambda *_: 3, repeats=[3, 5, 2, 3]))]
    files.append(send(place, "b", answers(key, "B", lambda *_: 4)))
    assert main(["listen", "--results", *files, "-o", "out"]) == 0
    assert "repeats: 4, of which 50 % were rated the same, and all 0.75 apart in the mean" in " ".join(
        capsys.readouterr().out.split()
    )
    written = (place / "out" / "mos.md").read_text("utf-8")
    assert "| A | 12 | 3.00 | 4 | 0.75 |\n| B | 12 | 4.00 | 0 |  |" in written
    assert f"| {SYSTEMS[0]} | 3.50 ± 6.35 |" in written  # t(0.975, 1) = 12.706, times 0.5


def test_a_single_listener_has_an_interval_over_sentences(place, key, capsys):
    ratings = dict(zip(SENTENCES, (1, 3, 3, 5), strict=True))
    file = send(place, "a", answers(key, "A", lambda _, sentence: ratings[sentence]))
    assert main(["listen", "--results", file, "--key", "page.key.json"]) == 0
    half = scipy.stats.t.ppf(0.975, 3) * scipy.stats.sem([1, 3, 3, 5])
    assert f"3.00 ± {half:.2f}" in capsys.readouterr().out
    assert not (place / "out").exists()


def test_what_has_one_rating_or_none_has_no_interval():
    one, none = np.full((2, 3, 4), np.nan)
    one[1, 2] = 4
    for values, mean in ((one, 4), (none, math.nan)):
        for found, interval in (listen.opinion(values), listen.difference(values)):
            assert found == pytest.approx(mean, nan_ok=True)
            assert np.isnan(interval).all()


def test_listeners_count_alike_however_many_clips_they_rated():
    table = np.array([[5.0, 5, 5, 5], [1, np.nan, np.nan, np.nan], [3, 3, np.nan, np.nan]])
    mean, interval = listen.opinion(table)
    assert mean == pytest.approx(3)
    assert interval == pytest.approx(scipy.stats.t.interval(0.95, 2, 3, scipy.stats.sem([5, 1, 3])))
    assert listen.difference(table)[0] == pytest.approx(27 / 7)  # pairs count alike


def test_the_bootstrap_is_the_closed_form_where_there_is_one():
    """One listener: the means of drawn sentences have the spread of the sentences over their root."""
    x = np.random.default_rng(1).standard_normal((1, 100))
    for table in (x, x.T):
        mean, (low, high) = listen.difference(table, seed=3)
        half = 1.96 * np.std(x) / 10
        assert mean == pytest.approx(np.mean(x))
        assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.05 * half)
    constant = listen.difference(np.full((3, 4), -1.5))
    assert constant == (-1.5, (-1.5, -1.5))
    assert listen.difference(x, seed=3) == listen.difference(x, seed=3)
    assert listen.difference(x, seed=3) != listen.difference(x, seed=4)


def test_intervals_cover_the_truth_in_other_listeners_and_sentences():
    """Differences with effects of listeners and sentences: 95 % intervals hold the truth about as often."""
    random, held, plain, opinions = np.random.default_rng(7), 0, 0, 0
    runs = 300
    for run in range(runs):
        listeners, sentences = random.normal(0, 0.5, (20, 1)), random.normal(0, 0.3, (1, 10))
        table = 0.4 + listeners + sentences + random.normal(0, 0.7, (20, 10))
        _, (low, high) = listen.difference(table, run, 400)
        held += low <= 0.4 <= high
        half = 1.96 * np.std(table) / math.sqrt(table.size)
        plain += abs(np.mean(table) - 0.4) <= half
        _, (low, high) = listen.opinion(table - sentences)  # over listeners, for these sentences
        opinions += low <= 0.4 <= high
    assert 0.90 <= held / runs <= 0.99
    assert 0.92 <= opinions / runs <= 0.98
    assert plain / runs < 0.75  # as if all ratings were independent


def strange(change):
    """Answers with something changed."""

    def made(key):
        data = answers(key, "X", lambda *_: 3)
        return change(data) or data

    return made


def put(field, value):
    return strange(lambda data: data["ratings"][1].__setitem__(field, value))


STRANGE = {
    "not JSON": (lambda _: "{", "is not JSON"),
    "binary": (lambda _: "\0\x7f", "is not JSON"),
    "deep": (lambda _: "[" * 200_000, "is not JSON"),
    "long number": (lambda _: "9" * 10_000, "is not JSON"),
    "large": (lambda _: " " * (listen.LARGEST + 1), "is larger than 4 MiB"),
    "a list": (lambda _: [], "is not a listener's answers"),
    "null": (lambda _: "null", "is not a listener's answers"),
    "the key": (lambda key: key, "is not a listener's answers"),
    "other format": (strange(lambda data: data | {"format": "2"}), "is not a listener's answers"),
    "no list": (strange(lambda data: data | {"ratings": {}}), "is not a listener's answers"),
    "other test": (strange(lambda data: data | {"test": "cd"}), "belongs to another test than the key, ab"),
    "no listener": (strange(lambda data: data | {"listener": None}), "has no listener"),
    "bad listener": (strange(lambda data: data | {"listener": "=HYPERLINK()"}), "has no listener of 1 to 32"),
    "newline": (strange(lambda data: data | {"listener": "A\n"}), "has no listener of 1 to 32"),
    "nothing rated": (strange(lambda data: data | {"ratings": []}), "the listener rated nothing"),
    "repeats only": (
        strange(lambda data: data | {"ratings": [{"clip": "00", "rating": 1, "repeat": True}]}),
        "the listener rated nothing",
    ),
    "no object": (strange(lambda data: data | {"ratings": [3]}), "rating 1 is no object"),
    "zero": (put("rating", 0), "rating 2 is not a whole number from 1 to 5"),
    "six": (put("rating", 6), "rating 2 is not a whole number from 1 to 5"),
    "half": (put("rating", 3.5), "rating 2 is not a whole number from 1 to 5"),
    "true": (put("rating", True), "rating 2 is not a whole number from 1 to 5"),
    "NaN": (put("rating", math.nan), "rating 2 is not a whole number from 1 to 5"),
    "text": (put("rating", "5"), "rating 2 is not a whole number from 1 to 5"),
    "unknown clip": (put("clip", "zz"), "rating 2 is of a clip that the test does not have"),
    "training clip": (put("clip", "t"), "rating 2 is of a clip that the test does not have"),
    "clip of no name": (put("clip", ["00"]), "rating 2 is of a clip that the test does not have"),
    "same clip": (put("clip", "00"), "rating 2 is of a clip that is rated already"),
    "repeat": (put("repeat", 1), "rating 2 does not say whether it is a repeat"),
    "same listener": (
        strange(lambda data: data | {"listener": "A"}),
        "x.json: listener A is in a.json already: give one of them",
    ),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_answers_are_left_out_and_said(place, key, capsys, kind):
    made, said = STRANGE[kind]
    good = send(place, "a", answers(key, "A", lambda *_: 4))
    bad = send(place, "x", made(key))
    assert main(["listen", "--results", good, bad, "-o", "out"]) == 1
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert err.startswith("left out: x.json")
    assert said in err
    assert "Listeners: 1; ratings: 12; sentences: 4; repeats: 0" in out
    assert {row["listener"] for row in csv.DictReader((place / "out" / "ratings.csv").open())} == {"A"}
    if kind != "same listener":
        assert main(["listen", "--results", bad]) == 2
        assert capsys.readouterr().err.splitlines()[-1].endswith("no answers are left: nothing to evaluate")


def test_results_do_not_go_into_a_page(place, capsys):
    assert make() == 0
    file = send(place, "a", answers(key_of(place), "A", lambda *_: 4))
    before = contents(place / "page")
    assert main(["listen", "--results", file, "-o", "page"]) == 2
    assert "page is a page, which systems' names must not get into" in capsys.readouterr().err
    assert contents(place / "page") == before


def test_answers_that_are_no_file_are_left_out(place, key, capsys):
    good = send(place, "a", answers(key, "A", lambda *_: 4))
    assert main(["listen", "--results", "nowhere.json", SYSTEMS[0], good]) == 1
    assert capsys.readouterr().err.count("is not a file") == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["00", "ab", "A"]),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["clip", "rating", "repeat", "x"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["format", "test", "listener", "ratings"]), JSON), st.lists(JSON))
def test_anything_is_answers_or_refused(tmp_path_factory, fields, ratings):
    path = tmp_path_factory.getbasetemp() / "any.json"
    key = listen.Key("ab", ["s"], {"00": ("s", "1")})
    data = {"format": listen.FORMAT, "test": "ab", "listener": "A", "ratings": ratings} | fields
    path.write_text(json.dumps(data), "utf-8")
    with suppress(FileError):
        found = listen.read_answers(path, key)
        assert found
        assert all(rating.rating in range(1, 6) for rating in found)


BAD_KEYS = {
    "answers": {"format": listen.FORMAT, "test": "ab", "listener": "A", "ratings": []},
    "a list": [],
    "other format": {"format": "rtaudio listening test 0", "test": "ab", "systems": [], "clips": {}},
    "clips": {"format": listen.FORMAT, "test": "ab", "systems": ["a"], "clips": {"x": 1}},
    "unknown system": {
        "format": listen.FORMAT,
        "test": "ab",
        "systems": ["a"],
        "clips": {"x": {"system": "b", "sentence": "c", "training": False}},
    },
}


@pytest.mark.parametrize("kind", BAD_KEYS)
def test_a_wrong_key_is_one_line(place, key, capsys, kind):
    file = send(place, "a", answers(key, "A", lambda *_: 4))
    wrong = send(place, "wrong", BAD_KEYS[kind])
    assert main(["listen", "--results", file, "--key", wrong]) == 2
    assert "wrong.json is not the key of a listening test: give PAGE.key.json" in capsys.readouterr().err


def test_the_only_key_need_not_be_named(place, key, capsys):
    file = send(place, "a", answers(key, "A", lambda *_: 4))
    assert main(["listen", "--results", file]) == 0
    shutil.copy(place / "page.key.json", place / "b.key.json")
    capsys.readouterr()
    assert main(["listen", "--results", file]) == 2
    assert "2 keys (*.key.json) in this folder: give one with --key" in capsys.readouterr().err


def test_names_that_markdown_and_terminals_read_are_kept(place, capsys):
    clips = {"0": {"system": "[red]a|b<i>", "sentence": "1", "training": False}}
    clips["1"] = {"system": "plain", "sentence": "1", "training": False}
    data = {"format": listen.FORMAT, "test": "ab", "systems": ["[red]a|b<i>", "plain"], "clips": clips}
    send(place, "page.key", data)
    file = send(place, "a", answers(data, "A", lambda *_: 2))
    assert main(["listen", "--results", file, "-o", "out"]) == 0
    assert "[red]a|b<i>" in capsys.readouterr().out
    assert "| \\[red]a\\|b\\<i> | 2.00 |" in (place / "out" / "mos.md").read_text("utf-8")
