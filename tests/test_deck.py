"""The file deck against a plain model of it, sample by sample; clicks, gaps, places of every format."""

import math
import threading
import time
from itertools import pairwise

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BPoly
from stepped import Stepped, step_above_15_khz

from rtaudio import deck as deck_module
from rtaudio.cli import main
from rtaudio.counters import FILE_UNDERFLOWS
from rtaudio.errors import UserError
from rtaudio.files import AudioReader, AudioWriter
from rtaudio.graph import Graph
from rtaudio.host import Host
from rtaudio.null import NullDevice
from rtaudio.plan import Plan

pytestmark = pytest.mark.alone

RATE = 48_000
FADE = 480
DEADLINE = 60.0
"""Seconds after which something that should have happened is taken not to."""


def noise(samples, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (samples, channels)).astype(np.float32)


def sine(samples, frequency=250.0):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(samples) / RATE)).astype(np.float32)[:, None]


def write(path, samples, rate=RATE, subtype="FLOAT"):
    sf.write(path, samples, rate, subtype=subtype)
    return path


def read(path):
    return sf.read(path, dtype="float32", always_2d=True)[0]


class Playing:
    """A host whose device calls when the test says so, on a file; the tapes are full before every call."""

    def __init__(self, path, block=512, **options):
        file = AudioReader(path)
        self.device = Stepped()
        plan = Plan(Graph([], ["in -> out"]), file.rate, block, file.channels)
        self.host = Host(plan, self.device, file, **options)
        self.deck = self.host.deck
        self.host.start()

    def step(self, blocks=1):
        heard = []
        for _ in range(blocks):
            self.deck.fill()
            heard.append(self.device.step(0))
        return np.concatenate(heard)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.host.close()


# The model


def smoothstep(u):
    return u**3 * (u * (u * 6 - 15) + 10)


class Model:
    """The deck as one would write it down: a list of samples, and one sample after the other."""

    def __init__(self, x, position=0, loop=None):
        self.x, self.loop = x, loop
        self.playing = self.asked = True
        self.tape = [position, loop]
        self.old = self.pending = None
        self.faded = FADE
        self.t = 0
        self.ramp = BPoly.from_derivatives([-FADE, 0], [[1, 0, 0], [1, 0, 0]])
        if position:
            self.turn(0.0, 1.0)

    def turn(self, begin, to):
        derivatives = [begin, 0.0, 0.0]
        if self.t < self.ramp.x[-1]:
            derivatives = [float(self.ramp(self.t, order)) for order in range(3)]
        self.ramp = BPoly.from_derivatives([self.t, self.t + FADE], [derivatives, [to, 0.0, 0.0]])

    @property
    def moving(self):
        return self.playing or self.t < self.ramp.x[-1]

    def seek(self, to):
        self.pending = (to,)

    def set_loop(self, begin, end):
        self.loop = (begin, end)
        to = self.pending and self.pending[0]
        if (self.tape[0] if to is None else to) >= end:
            to = begin
        self.pending = (to,)

    def clear_loop(self):
        self.loop = None
        self.pending = self.pending or (None,)

    def take(self, tape):
        """The next sample of a tape: the file, with the end of the loop faded into what is before it."""
        at, loop = tape
        self.joined = False
        if at >= len(self.x):
            return np.zeros(self.x.shape[1])
        sample = self.x[at].astype(float)
        if loop is not None and at < loop[1]:
            fade = min(FADE, loop[0], loop[1] - loop[0])
            into = at - (loop[1] - fade)
            self.joined = into >= 0
            if self.joined:
                before = self.x[loop[0] - fade + into]
                sample = sample + smoothstep(into / fade) * (before - sample)
        tape[0] = loop[0] if loop is not None and at + 1 == loop[1] else at + 1
        return sample

    def block(self, n):
        """The next samples, and which of them are those of the file as they are."""
        if self.pending is not None:
            place = self.tape[0] if self.pending[0] is None else self.pending[0]
            self.old, self.faded = (self.tape, 0) if self.moving else (None, FADE)
            self.tape, self.pending = [place, self.loop], None
        if self.asked != self.playing:
            self.playing = self.asked
            self.turn(float(not self.playing), float(self.playing))
        heard, plain = [], []
        for _ in range(n):
            level = float(self.ramp(self.t) if self.t < self.ramp.x[-1] else self.playing)
            sample = np.zeros(self.x.shape[1])
            if self.moving:
                sample = self.take(self.tape)
                if self.faded < FADE:
                    was = self.take(self.old)
                    sample = was + smoothstep(self.faded / FADE) * (sample - was)
                sample = sample * level
            heard.append(sample)
            plain.append(level == 1.0 and self.faded >= FADE and not self.joined)
            self.faded += 1
            self.t += 1
        return np.array(heard), np.array(plain)


SECONDS = 0.5
places = st.integers(0, round(SECONDS * RATE) - 1)
loops = st.tuples(places, places).filter(lambda pair: pair[1] - pair[0] >= FADE)
actions = st.one_of(
    st.tuples(st.just("seek"), places),
    st.tuples(st.just("set_loop"), loops),
    st.tuples(st.sampled_from(["clear_loop", "pause", "play"])),
)
courses = st.lists(st.tuples(st.lists(actions, max_size=3), st.integers(1, 8)), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def noise_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("deck") / "noise.wav"
    return write(path, noise(round(SECONDS * RATE)))


def do(deck, model, action, *more):
    if action == "seek":
        deck.seek(more[0] / RATE)
        model.seek(more[0])
    elif action == "set_loop":
        deck.set_loop(*(each / RATE for each in more[0]))
        model.set_loop(*more[0])
    elif action == "clear_loop":
        deck.clear_loop()
        model.clear_loop()
    else:
        getattr(deck, action)()
        model.asked = action == "play"


@settings(max_examples=60, deadline=None)
@given(courses, st.sampled_from([512, 1000]), places, st.none() | loops)
def test_any_course_is_that_of_the_model(noise_file, course, block, start, loop):
    if loop is not None and start >= loop[1]:
        start = loop[0]
    options = {"start": start / RATE, "loop": tuple(each / RATE for each in loop) if loop else False}
    model = Model(read(noise_file), start, loop)
    with Playing(noise_file, block, **options) as playing:
        for todo, blocks in course:
            for action in todo:
                do(playing.deck, model, *action)
            for _ in range(blocks):
                heard = playing.step()
                want, plain = model.block(block)
                np.testing.assert_allclose(heard, want, rtol=0, atol=2e-6)
                np.testing.assert_array_equal(heard[plain], want[plain].astype(np.float32))
        assert playing.host.statistics()["file_underflows"] == 0
        if model.pending is None:
            assert playing.deck.position == pytest.approx(min(model.tape[0], len(model.x)) / RATE)


def test_the_model_is_not_the_file(noise_file):
    """The foil: a loop that is a sample too long is seen."""
    model = Model(read(noise_file), 5000, (5000, 7001))
    with Playing(noise_file, start=5000 / RATE, loop=(5000 / RATE, 7000 / RATE)) as playing:
        want = np.concatenate([model.block(512)[0] for _ in range(10)])
        assert np.abs(playing.step(10) - want).max() > 0.1


# What is heard


def test_a_loop_repeats_its_length_to_the_sample(tmp_path):
    with Playing(write(tmp_path / "a.wav", noise(RATE)), start=0.5, loop=(0.5, 0.6)) as playing:
        heard = playing.step(100)
    once = heard[FADE : FADE + 4800]
    for turn in range(1, 9):
        np.testing.assert_array_equal(heard[FADE + turn * 4800 : FADE + (turn + 1) * 4800], once)


def test_a_seek_is_heard_with_the_next_block(tmp_path):
    """Though four seconds of the file lie ready."""
    with Playing(write(tmp_path / "a.wav", noise(10 * RATE)), 128) as playing:
        playing.step(10)
        playing.deck.seek(9.0)
        assert playing.deck.position == 9.0
        heard = playing.step(8)
    np.testing.assert_array_equal(heard[FADE:], read(tmp_path / "a.wav")[9 * RATE + FADE :][: 1024 - FADE])


@pytest.mark.parametrize("blocks", [1, 40])
def test_sound_that_goes_on_while_a_loop_is_prepared_is_not_heard_again(tmp_path, monkeypatch, blocks):
    x = read(write(tmp_path / "a.wav", noise(2 * RATE)))
    with Playing(tmp_path / "a.wav") as playing:
        heard, fill = [playing.step(4)], playing.deck._fill

        def fill_meanwhile(tape):
            if len(heard) == 1:
                heard.extend(playing.device.step(0) for _ in range(blocks))
            return fill(tape)

        monkeypatch.setattr(playing.deck, "_fill", fill_meanwhile)
        playing.deck.set_loop(1.0, 1.9)
        monkeypatch.setattr(playing.deck, "_fill", fill)
        heard.append(playing.step(20))
    heard = np.concatenate(heard)
    np.testing.assert_array_equal(heard, x[: len(heard)])


def crossfaded(before, after):
    """What is heard from a change on: of the file before, the fade, then that of the file after."""
    share = np.ones((len(after), 1))
    share[:FADE, 0] = smoothstep(np.arange(FADE) / FADE)
    return before + share * (after - before)


@pytest.mark.parametrize("channels", [(2, 2), (2, 1), (1, 3)])
def test_another_file_is_heard_with_the_next_block(tmp_path, channels):
    first, other = noise(RATE, channels[0]), noise(RATE, channels[1], seed=1)
    write(tmp_path / "a.wav", first)
    mixed = other if channels[0] == channels[1] else other.mean(axis=1, keepdims=True).repeat(channels[0], 1)
    with Playing(tmp_path / "a.wav", start=0.25, loop=(0.25, 0.5)) as playing:
        playing.step(4)
        playing.deck.load(AudioReader(write(tmp_path / "b.wav", other[:40_000])))
        deck = playing.deck
        assert (deck.file.info.path.name, deck.position, deck.cue_point, deck.loop) == (
            "b.wav",
            0.0,
            0.0,
            None,
        )
        heard = playing.step(8)
        at = 12_000 + 4 * 512
        expected = crossfaded(first[at : at + len(heard)], mixed[: len(heard)])
        np.testing.assert_allclose(heard, expected, rtol=0, atol=2e-6)
        assert deck.position == len(heard) / RATE
        deck.seek(30_000 / RATE)
        np.testing.assert_allclose(
            playing.step(8)[FADE:], mixed[30_000 + FADE :][: 8 * 512 - FADE], atol=1e-6
        )
        assert not playing.step(20)[-512:].any()


def test_a_loop_over_all_is_one_over_all_of_the_next_file(tmp_path):
    other = write(tmp_path / "b.wav", noise(10_000, seed=1))
    with Playing(write(tmp_path / "a.wav", noise(RATE)), loop=True) as playing:
        playing.step(4)
        playing.deck.load(AudioReader(other))
        assert playing.deck.loop == (0.0, 10_000 / RATE)
        heard = playing.step(60)
    np.testing.assert_array_equal(heard[FADE:], read(other)[np.arange(FADE, len(heard)) % 10_000])


def test_a_file_is_loaded_whatever_was_asked_before_and_after(tmp_path):
    files = [write(tmp_path / f"{name}.wav", noise(RATE, seed=name)) for name in range(4)]
    with Playing(files[0], 128) as playing:
        deck = playing.deck
        playing.step(3)
        deck.load(AudioReader(files[1]))
        deck.load(AudioReader(files[2]))  # Before anything was heard of the one before.
        heard = playing.step(8)
        np.testing.assert_array_equal(heard[FADE:], read(files[2])[FADE : len(heard)])
        deck.set_loop(0.5, 0.6)
        deck.load(AudioReader(files[3]))
        deck.clear_loop()
        deck.pause()
        assert deck.position == 0.0
        assert not playing.step(10)[-128:].any()
        deck.play()
        at = round(deck.position * RATE)
        heard = playing.step(10)
        np.testing.assert_array_equal(heard[FADE:], read(files[3])[at + FADE : at + len(heard)])
        assert playing.host.statistics()["file_underflows"] == 0


def test_a_file_of_other_channels_is_refused_and_what_plays_goes_on(tmp_path):
    x = read(write(tmp_path / "a.wav", noise(RATE)))
    with Playing(tmp_path / "a.wav") as playing:
        with pytest.raises(UserError, match=r"b\.wav has 3 channels, what plays 2"):
            playing.deck.load(AudioReader(write(tmp_path / "b.wav", noise(100, 3))))
        with pytest.raises(ValueError, match="44100 Hz"):
            playing.deck.load(AudioReader(tmp_path / "a.wav", 44_100))
        np.testing.assert_array_equal(playing.step(4), x[: 4 * 512])


def test_what_was_asked_last_counts(tmp_path):
    with Playing(write(tmp_path / "a.wav", noise(RATE))) as playing:
        playing.step(2)
        for to in (0.1, 0.9, 0.3):
            playing.deck.seek(to)
        assert playing.deck.position == 0.3
        playing.step()
        assert playing.deck.position == pytest.approx(0.3 + 512 / RATE)


def test_a_change_that_nobody_takes_over_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(deck_module, "PATIENCE", 0.05)
    with Playing(write(tmp_path / "a.wav", noise(RATE)), 128) as playing:
        playing.deck.seek(0.5)
        playing.step()
        with pytest.raises(UserError, match="no sound runs"):
            playing.deck.seek(0.7)
        playing.step(4)
        playing.deck.seek(0.7)


def test_cue(tmp_path):
    with Playing(write(tmp_path / "a.wav", noise(RATE)), start=0.25) as playing:
        deck = playing.deck
        assert deck.cue_point == 0.25
        playing.step(4)
        deck.set_cue()
        assert deck.cue_point == deck.position == pytest.approx(0.25 + 4 * 512 / RATE)
        deck.set_cue(0.75)
        playing.step(2)
        deck.cue()
        assert deck.position == 0.75
        assert deck.playing
        with pytest.raises(UserError, match="no place at 2 s"):
            deck.set_cue(2.0)
        assert deck.cue_point == 0.75


def test_a_paused_deck_stands_still_and_goes_on_where_it_stood(tmp_path):
    x = read(write(tmp_path / "a.wav", noise(RATE)))
    with Playing(tmp_path / "a.wav") as playing:
        playing.step(4)
        playing.deck.pause()
        assert not playing.deck.playing
        playing.step(1)
        stands = playing.deck.position
        assert stands == (4 * 512 + FADE) / RATE
        assert not playing.step(20).any()
        assert playing.deck.position == stands
        playing.deck.play()
        heard = playing.step(4)
    begin = 4 * 512 + FADE
    np.testing.assert_array_equal(heard[FADE:], x[begin + FADE : begin + len(heard)])


def test_a_paused_deck_that_seeks_plays_nothing_of_where_it_was(tmp_path):
    x = read(write(tmp_path / "a.wav", noise(RATE)))
    with Playing(tmp_path / "a.wav") as playing:
        playing.step(4)
        playing.deck.pause()
        playing.step(2)
        playing.deck.seek(0.5)
        playing.deck.play()
        heard = playing.step(2)
    level = smoothstep(np.minimum(np.arange(len(heard)) / FADE, 1.0))[:, None]
    np.testing.assert_allclose(heard, x[24_000 : 24_000 + len(heard)] * level, rtol=0, atol=1e-6)


COURSES = {
    "seek": lambda deck, number: deck.seek(0.1 + 0.37 * number % 1.7),
    "loop": lambda deck, number: deck.set_loop(0.5, 0.55 + 0.01 * (number % 7)),
    "loop and not": lambda deck, number: deck.clear_loop() if number % 2 else deck.set_loop(0.3, 1.9),
    "pause": lambda deck, number: deck.pause() if number % 2 else deck.play(),
}


@pytest.mark.parametrize("name", COURSES)
def test_nothing_clicks(tmp_path, name):
    """A sine, cut at any phase."""
    with Playing(write(tmp_path / "a.wav", sine(2 * RATE, 220.0)), 128, start=0.2013) as playing:
        heard = [playing.step(9)]
        for number in range(12):
            COURSES[name](playing.deck, number)
            heard.append(playing.step(5 + 7 * number % 11))
    assert step_above_15_khz(np.concatenate(heard)[:, 0]) <= -110


def test_the_measure_sees_a_join_without_a_fade(tmp_path):
    """A loop over the whole file is joined as it is."""
    with Playing(write(tmp_path / "a.wav", sine(4821, 220.0)), 128, loop=True) as playing:
        assert step_above_15_khz(playing.step(100)[:, 0]) > -60


@pytest.mark.parametrize("begin", [0, 100, 24_000])
def test_a_loop_at_the_start_of_the_file_has_less_to_fade_into(tmp_path, begin):
    x = noise(RATE)
    with Playing(write(tmp_path / "a.wav", x), start=0.9, loop=(begin / RATE, 0.95)) as playing:
        playing.deck.seek(0.9)
        heard = playing.step(20)
    end = round(0.05 * RATE)
    np.testing.assert_array_equal(
        heard[FADE : end - min(begin, FADE)], x[43_200 + FADE : 45_600 - min(begin, FADE)]
    )
    np.testing.assert_array_equal(heard[end : end + 480], x[begin : begin + 480])


def test_silence_follows_the_file_and_a_seek_comes_back(tmp_path):
    with Playing(write(tmp_path / "a.wav", noise(RATE)), start=0.98) as playing:
        playing.step(1)
        assert not playing.deck.ended
        playing.step(10)
        assert playing.deck.ended
        assert playing.deck.position == playing.deck.duration == 1.0
        playing.deck.seek(0.2)
        assert not playing.deck.ended
        np.testing.assert_array_equal(
            playing.step(4)[FADE:], read(tmp_path / "a.wav")[9600 + FADE :][: 2048 - FADE]
        )
        assert playing.host.statistics()["file_underflows"] == 0


# A reader that is late


def test_a_gap_in_the_file_is_counted_and_fades(tmp_path):
    """Of a level that is constant: down by a quintic of 5 ms from where the gap begins, and up again."""
    write(tmp_path / "a.wav", np.full((10 * RATE, 1), 0.5, np.float32))
    with Playing(tmp_path / "a.wav", 128) as playing:
        playing.host._stop.set()  # the reader ends
        for thread in playing.host._threads:
            thread.join()
        playing.host.stream.words[deck_words_ended()] = 0
        playing.deck.fill()
        there = playing.deck._tape.written
        assert there % 128 == 0
        playing.device.step(np.zeros(1))
        heard = [playing.device.step(0) for _ in range(there // 128 - 1 + 8)]
        playing.deck.fill()
        heard += [playing.device.step(0) for _ in range(8)]
        counted = int(playing.host.counters.words[FILE_UNDERFLOWS])
    heard = np.concatenate(heard)[:, 0]
    assert counted == 8 * 128
    end = there - 128
    u = np.minimum(np.arange(1024) / 240, 1.0)
    assert (heard[:end] == 0.5).all()
    np.testing.assert_allclose(heard[end : end + 1024], 0.5 * (1 - smoothstep(u)), atol=1e-7)
    np.testing.assert_allclose(heard[end + 1024 :], 0.5 * smoothstep(u), atol=1e-7)


def deck_words_ended():
    from rtaudio.stream import FILE_ENDED

    return FILE_ENDED


def test_a_deck_that_stays_stands_at_the_end_and_plays_from_the_beginning(tmp_path):
    path = position_file(tmp_path / "a.wav", 3000)
    with Playing(path, 100, stays=True) as playing:
        np.testing.assert_array_equal(playing.step(40)[:, 0], np.pad(read(path)[:, 0], (0, 1000)))
        assert playing.host.running
        playing.deck.play()
        wait_for(lambda: not playing.deck._wanted)
        places = 2**20 * playing.step(20)[-1000:, 0]
        np.testing.assert_array_equal(np.diff(places), 1)
        assert places[-1] < 2000
    with Playing(path, 100) as playing:
        playing.step(40)
        assert not playing.host.running


def test_a_gap_within_a_block_and_nothing_that_is_no_sound(tmp_path):
    """Gaps of any length; the step into each decays, whatever was played."""
    x = noise(3000, 1)
    x[179], x[180] = np.nan, np.inf  # around the second gap
    path = write(tmp_path / "a.wav", x)
    with Playing(path, 100) as playing:
        words = playing.host.stream.words
        from rtaudio.ring import Ring
        from rtaudio.stream import FILE

        ring = Ring(4096)
        words[FILE] = ring.address
        heard, lengths = [], [150, 30, 0, 100, 270, 0, 50]
        at = 0
        for n in lengths:
            ring.push(x[at : at + n, 0].copy())
            at += n
            heard.append(playing.device.step(0))
        heard = np.concatenate(heard)
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() <= 3.0
    assert not heard[179:301].any()
    np.testing.assert_array_equal(heard[301:380], x[181:260])


# Places


FORMATS = {"wav": "FLOAT", "flac": "PCM_24", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III", "opus": "OPUS"}


@pytest.mark.parametrize("rate", [None, 44_100, 16_000])
@pytest.mark.parametrize("extension", FORMATS)
def test_any_place_is_what_reading_on_would_give(tmp_path, extension, rate):
    path = tmp_path / f"a.{extension}"
    t = np.arange(RATE) / RATE
    x = 0.3 * np.sin(2 * np.pi * np.cumsum(200 + 400 * t) / RATE)[:, None] + 0.05 * noise(RATE)
    with AudioWriter(path, RATE, 2, subtype=FORMATS[extension]) as file:
        for begin in range(0, len(x), 16_384):
            file.write(np.ascontiguousarray(x[begin : begin + 16_384].T.astype(np.float32)))
    exact = extension in ("wav", "flac") and rate is None
    with AudioReader(path, rate) as file:
        whole = file.read(file.samples)
        for at in (0, 1, file.samples - 7, 100, 9000, file.rate // 2 + 1):
            file.seek(at)
            got = file.read(3000)
            want = whole[:, at : at + 3000]
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=0, atol=0 if exact else 2e-6)
        file.seek(0)
        np.testing.assert_array_equal(file.read(file.samples), whole)
        assert file.read(1).shape[1] == 0


def test_a_file_that_breaks_off_is_silence_and_told_once(tmp_path):
    path = write(tmp_path / "a.flac", noise(40_000), subtype="PCM_24")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Playing(path) as playing:
        playing.step(60)
        assert len([each for each in playing.host.problems if "truncated" in each]) == 1
        assert not playing.step(2).any()
        playing.deck.seek(0.01)
        assert playing.step(3)[FADE:].any(), "what can be read still is"


def test_a_file_that_breaks_after_a_change_has_an_end(tmp_path):
    path = write(tmp_path / "a.flac", noise(40_000), subtype="PCM_24")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Playing(path) as playing:
        playing.deck.seek(0.01)
        playing.step(60)
        assert playing.deck.ended


def test_the_position_holds_while_places_are_dropped(tmp_path):
    """The reader drops a place of the loop between the two looks that the position takes."""
    with Playing(write(tmp_path / "a.wav", noise(4 * RATE)), loop=(2.0, 2.02), start=1.9) as playing:
        playing.step(40)
        deck, tape, taken = playing.deck, playing.deck._tape, playing.deck._taken

        def overtaken(of):
            count = taken(of)
            tape.places = [(count + 1, round(2 * RATE))]
            return count

        deck._taken = overtaken
        assert 2.0 <= deck.position <= 2.02


# Without waiting for the test


def position_file(path, samples):
    """A file whose samples say where they are: float32 holds each exactly."""
    return write(path, (np.arange(samples, dtype=np.float32) / 2**20)[:, None])


def wait_for(event):
    until = time.monotonic() + DEADLINE
    while not event():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_changes_while_a_clock_runs_are_exact(tmp_path):
    """On the paced null device: what is heard is the file from place to place, in order, joined by fades."""
    path = position_file(tmp_path / "a.wav", 12 * RATE)
    record = AudioWriter(tmp_path / "r.wav", RATE, 1, subtype="float")
    plan = Plan(Graph([], ["in -> out"]), RATE, 128, 1)
    with Host(plan, NullDevice(), AudioReader(path), record=record) as host:
        host.start()
        deck = host.deck

        def further(samples):
            at = host.plan.position
            wait_for(lambda: host.plan.position >= at + samples)

        further(4800)
        deck.seek(8.0)
        further(4800)
        deck.set_loop(2.0, 2.25)  # behind: its begin at once
        further(4 * 12_000)
        deck.clear_loop()  # goes on beyond 2.25
        further(24_000)
        deck.pause()
        further(4800)
        deck.play()
        further(4800)
    heard = np.round(read(tmp_path / "r.wav")[:, 0].astype(float) * 2**20).astype(int)
    assert host.statistics()["file_underflows"] == 0
    offset = heard - np.arange(len(heard))
    edges = [0, *(np.flatnonzero(np.diff(offset)) + 1), len(heard)]
    runs = [(offset[a], a, b) for a, b in pairwise(edges) if b - a > 2 * FADE]
    begun = [(int(8 * RATE - moved) % 128, a) for moved, a, _ in runs if 8 * RATE <= heard[a] < 9 * RATE]
    assert [late for late, _ in begun] == [0], "a seek begins with a block, where it should"
    inside = [(moved, a, b) for moved, a, b in runs if abs(heard[a] - 2 * RATE) <= FADE]
    assert len(inside) >= 4
    assert {int(a - b) for (a, *_), (b, *_) in pairwise(inside[:4])} == {12_000}, "to the sample"
    last = [int(moved) for moved, a, b in runs if 2.25 * RATE < heard[b - 1] < 4 * RATE]
    assert len(last) == 2, "beyond the loop, and after the pause"
    assert last[0] == inside[-1][0], "without a step"


def test_changes_from_many_threads_leave_a_deck_that_works(tmp_path):
    path = position_file(tmp_path / "a.wav", 12 * RATE)
    plan = Plan(Graph([], ["in -> out"]), RATE, 128, 1)
    with Host(plan, NullDevice(), AudioReader(path), loop=True) as host:
        host.start()
        failed = []

        def hammer(seed):
            random = np.random.default_rng(seed)
            for _ in range(12):
                try:
                    action = random.integers(5)
                    if action == 0:
                        host.deck.seek(float(random.uniform(0, 11)))
                    elif action == 1:
                        host.deck.set_loop(1.0, 1.0 + float(random.uniform(0.1, 2)))
                    elif action == 2:
                        host.deck.clear_loop()
                    else:
                        (host.deck.pause if action == 3 else host.deck.play)()
                except UserError as error:
                    failed.append(str(error))

        threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert not failed
        host.deck.play()
        host.deck.seek(5.0)
        wait_for(lambda: host.deck.position > 5.05)
        assert host.deck.position < 12


# The end of a run


def test_a_run_whose_end_is_known_ends_there(tmp_path):
    write(tmp_path / "a.wav", noise(RATE))
    arguments = ["live", "--file", str(tmp_path / "a.wav"), "--freewheel", "--start", "0.5"]
    assert main([*arguments, "--record", str(tmp_path / "r.wav")]) == 0
    heard = read(tmp_path / "r.wav")
    assert len(heard) == -(-24_000 // 128) * 128
    np.testing.assert_array_equal(heard[FADE:24_000], read(tmp_path / "a.wav")[24_000 + FADE :])


def test_a_run_ends_after_the_file_wherever_that_was_left(tmp_path):
    path = write(tmp_path / "a.wav", noise(20 * RATE))
    with Host(Plan(Graph([], ["in -> out"]), RATE, 128, 2), NullDevice(), AudioReader(path)) as host:
        host.start()
        host.deck.seek(19.8)
        until = time.monotonic() + DEADLINE
        while host.running:
            host.poll()
            assert time.monotonic() < until
            time.sleep(0.01)
        assert host.deck.ended
        assert host.plan.position < 10 * RATE


def test_a_pause_does_not_end_a_run(tmp_path):
    path = write(tmp_path / "a.wav", noise(RATE // 4))
    with Host(Plan(Graph([], ["in -> out"]), RATE, 128, 2), NullDevice(), AudioReader(path)) as host:
        host.start()
        host.deck.pause()
        wait_for(lambda: host.plan.position > RATE // 2)
        host.poll()
        assert host.running


# Mistakes


REFUSED = [
    ({"start": 1.0}, "there is no place at 1 s: a.wav lasts 1.000 s"),
    ({"start": -0.1}, "there is no place at -0.1 s"),
    ({"start": math.nan}, "there is no place at nan s"),
    ({"loop": (0.5, 1.1)}, "a loop cannot end at 1.1 s: a.wav lasts 1.000 s"),
    ({"loop": (0.5, 0.2)}, "a loop from 0.5 to 0.2 s ends before it begins"),
    ({"loop": (0.5, 0.505)}, "a loop from 0.5 to 0.505 s is too short (at least 0.01 s)"),
    ({"loop": (2.0, 3.0)}, "there is no place at 2 s"),
    ({"start": 0.8, "loop": (0.1, 0.5)}, "the start at 0.8 s lies behind the loop's end at 0.5 s"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_what_the_file_does_not_have_is_refused(tmp_path, options, message):
    write(tmp_path / "a.wav", noise(RATE))
    with pytest.raises(UserError) as refused:
        Playing(tmp_path / "a.wav", **options)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("samples", [1, 10, FADE - 1])
def test_a_file_too_short_to_repeat_is_refused(tmp_path, samples):
    with pytest.raises(UserError, match="is too short"):
        Playing(write(tmp_path / "a.wav", noise(samples)), loop=True)


def test_what_is_refused_while_it_plays_changes_nothing(tmp_path):
    with Playing(write(tmp_path / "a.wav", noise(RATE)), loop=(0.1, 0.2)) as playing:
        playing.step(3)
        before = playing.deck.position, playing.deck.loop
        for wrong in (lambda deck: deck.seek(1.0), lambda deck: deck.set_loop(0.5, 0.4)):
            with pytest.raises(UserError):
                wrong(playing.deck)
        assert (playing.deck.position, playing.deck.loop) == before
        playing.deck.set_loop()
        assert playing.deck.loop == (0.0, 1.0)
