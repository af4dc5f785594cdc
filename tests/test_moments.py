"""What is kept and compared while it plays: recordings, moments, the input at the output's loudness."""

import os
import threading

import numpy as np
import pyloudnorm
import pytest
import soundfile as sf
from stepped import Stepped

from rtaudio import counters as counters_module
from rtaudio import observation as observation_module
from rtaudio.chain import load_chain
from rtaudio.control import apply
from rtaudio.counters import Counters
from rtaudio.errors import UserError
from rtaudio.files import AudioReader
from rtaudio.host import Host
from rtaudio.observation import OBSERVED, Observation
from rtaudio.plan import Plan
from rtaudio.rack import graph_of, load_rack
from rtaudio.stream import FADE

pytestmark = pytest.mark.alone

RATE, BLOCK = 48_000, 128
DEADLINE = 20.0


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Starts hosts whose device calls when the test says so, and that others can look at."""
    shared = tmp_path / "shared"
    shared.mkdir()
    for module in (counters_module, observation_module):
        monkeypatch.setattr(module, "FOLDER", shared)
    opened = []

    def start(chain, channels=2, **settings):
        counters = Counters(shared=True, room=OBSERVED.itemsize)
        plan = Plan(load_chain(chain), RATE, BLOCK, channels, lane=0)
        opened.append(Host(plan, Stepped(), counters=counters, **settings))
        opened[-1].start()
        return opened[-1]

    yield start
    for host in opened:
        host.close()


def noise(samples, channels=2, level=0.1, seed=1):
    return np.random.default_rng(seed).normal(0, level, (samples, channels)).astype(np.float32)


def play(host, sound):
    """What is heard of (samples, channels), whose length is made whole blocks."""
    blocks = [host.device.step(sound[at : at + BLOCK]) for at in range(0, len(sound) - BLOCK + 1, BLOCK)]
    return np.concatenate(blocks)


def wait(condition, what="it"):
    """Wait for something that a thread does."""
    tick, waited = threading.Event(), 0.0
    while not condition():
        tick.wait(0.01)
        waited += 0.01
        assert waited < DEADLINE, f"{what} does not come"


def play_watched(host, sound):
    """As `play`, no faster than the observer looks; returns what a reader sees."""
    look, step, heard = Observation(os.getpid()), BLOCK * 100, []
    for at in range(0, len(sound), step):
        heard.append(play(host, sound[at : at + step]))
        end = host.plan.position - RATE // 50
        wait(lambda end=end: min(view.position for view in look.views().values()) >= end, "a column")
    return look, np.concatenate(heard)


def noted(host, begin):
    wait(lambda: any(note.startswith(begin) for note in host.notes) or host.problems, begin)
    assert not host.problems
    return next(note for note in host.notes if note.startswith(begin))


# Recordings


def test_a_recording_has_every_sample_from_its_line_to_the_other(started, tmp_path):
    host = started("gain(gain=-6)")
    play(host, noise(BLOCK * 10))
    assert apply(host, f"record {tmp_path / 'a take.wav'}") == f"recording {tmp_path / 'a take.wav'}"
    heard = play(host, noise(BLOCK * 50, seed=2))
    assert [file.path.name for file in host.recordings] == ["a take.wav"]
    with pytest.raises(UserError, match=r"a take\.wav is being recorded: 'record off' ends that"):
        apply(host, f"record {tmp_path / 'b.wav'}")
    apply(host, "record off")
    play(host, noise(BLOCK * 10, seed=3))
    assert noted(host, "recorded") == f"recorded {50 * BLOCK / RATE:.1f} s in {tmp_path / 'a take.wav'}"
    assert np.array_equal(sf.read(tmp_path / "a take.wav", dtype="float32")[0], heard)
    assert host.recordings == []
    apply(host, f"record {tmp_path / 'b.wav'}")
    heard = play(host, noise(BLOCK * 5, seed=4))
    host.close()
    assert np.array_equal(sf.read(tmp_path / "b.wav", dtype="float32")[0], heard)


def test_a_recording_without_a_name_goes_to_the_users_recordings(started, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    host = started("gain")
    apply(host, "record")
    heard = play(host, noise(BLOCK * 5))
    host.close()
    (file,) = (tmp_path / "rtaudio" / "recordings").iterdir()
    assert np.array_equal(sf.read(file, dtype="float32")[0], heard)


def test_recordings_that_cannot_be(started, tmp_path):
    host = started("gain")
    play(host, noise(BLOCK))
    with pytest.raises(UserError, match="nothing is being recorded"):
        apply(host, "record off")
    (tmp_path / "old.wav").write_text("an old take")
    for path in (tmp_path / "no" / "such.wav", tmp_path / "a.txt", tmp_path / "old.wav"):
        with pytest.raises(UserError):
            apply(host, f"record {path}")
    assert host.recordings == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["old.wav", "shared"]
    assert (tmp_path / "old.wav").read_text() == "an old take"


def test_the_file_that_plays_is_not_recorded_over(started, tmp_path):
    sf.write(tmp_path / "in.wav", noise(RATE), RATE, subtype="FLOAT")
    host = started("gain", file=AudioReader(tmp_path / "in.wav"))
    with pytest.raises(UserError, match=r"in\.wav is the input"):
        apply(host, f"record {tmp_path / 'in.wav'}")


# Comparing


def test_the_input_is_heard_and_the_output_again(started):
    """Both in a crossfade, and bit for bit beside it; what was bypassed stays so."""
    sound = noise(BLOCK * 300)
    want = play(started("a:gain(gain=-12) | b:gain(gain=3)"), sound)
    host = started("a:gain(gain=-12) | b:gain(gain=3)")
    apply(host, "bypass b")
    wet = play(host, sound[: BLOCK * 50])
    assert apply(host, "compare dry") == "the input is heard, +0.0 dB"
    dry = play(host, sound[BLOCK * 50 : BLOCK * 100])
    apply(host, "compare dry")
    again = play(host, sound[BLOCK * 100 : BLOCK * 150])
    assert apply(host, "compare wet") == "the output is heard"
    wet = np.concatenate([wet, play(host, sound[BLOCK * 150 : BLOCK * 200])])
    fade = int(host.stream.words[FADE]) + BLOCK
    assert np.array_equal(dry[fade:], sound[BLOCK * 50 : BLOCK * 100][fade:])
    assert np.array_equal(again, sound[BLOCK * 100 : BLOCK * 150])
    assert [host.plan.graph.nodes[name].bypass for name in "ab"] == [False, True]
    apply(host, "unbypass b")
    settled = play(host, sound[BLOCK * 200 :])
    assert np.array_equal(settled[fade:], want[BLOCK * 200 :][fade:])
    assert np.abs(wet).max() < np.abs(sound).max()


def test_the_input_is_as_loud_as_the_output(started):
    host = started("gain(gain=-9)")
    sound = noise(8 * RATE)
    sound[3 * RATE : 6 * RATE] *= np.float32(1e-2)  # below the second gate
    look, _ = play_watched(host, sound)
    meter = pyloudnorm.Meter(RATE, filter_class="DeMan")
    assert look.loudness("in") == pytest.approx(meter.integrated_loudness(sound.astype(float)), abs=0.1)
    told = apply(host, "compare dry matched")
    assert told.facts["gain"] == pytest.approx(-9.0, abs=0.01)
    heard = play(host, sound)[BLOCK * 10 :]
    scale = np.float32(10 ** (told.facts["gain"] / 20))
    assert np.allclose(heard, scale * sound[BLOCK * 10 : BLOCK * 10 + len(heard)], atol=1e-7)


def test_it_is_the_output_that_counts_not_what_was_heard_meanwhile(started):
    """The loudness of both is that of before; one by hand bypassed leaves no gain behind."""
    host = started("a:gain(gain=-9)")
    play_watched(host, noise(4 * RATE))
    first = apply(host, "compare dry").facts["gain"]
    play_watched(host, noise(12 * RATE))
    second = apply(host, "compare dry matched").facts["gain"]
    apply(host, "compare wet")
    play_watched(host, noise(RATE))
    third = apply(host, "compare dry matched").facts["gain"]
    assert (first, second, third) == (0.0, pytest.approx(-9.0, abs=0.01), pytest.approx(-9.0, abs=0.01))
    apply(host, "bypass a")
    apply(host, "compare dry matched")
    assert host.dry
    apply(host, "unbypass a")
    assert (host.dry, host.gain) == (False, 0.0)


def test_the_input_is_raised_no_further_than_its_peaks(started):
    host = started("gain(gain=20)")
    look, _ = play_watched(host, noise(2 * RATE, level=0.05))
    peak = float(look.meters("in", 0).true_peak.max())
    gain = apply(host, "compare dry matched").facts["gain"]
    assert gain == pytest.approx(-20 * np.log10(peak))
    assert 0 < gain < 19


def test_silence_has_no_loudness_to_match(started):
    host = started("gain(gain=-9)")
    play_watched(host, np.zeros((RATE // 2, 2), np.float32))
    with pytest.raises(UserError, match="'in' or 'out' was silent"):
        apply(host, "compare dry matched")
    assert not host.dry


@pytest.mark.parametrize("line", ["bypass a", "undo", "insert last gain"])
def test_what_touches_the_graph_ends_a_comparison(started, line):
    host = started("a:gain(gain=-12)")
    apply(host, "set a.gain -9")
    apply(host, "compare dry")
    assert (host.dry, host.dry_nodes) == (True, ("a",))
    apply(host, line)
    assert (host.dry, host.dry_nodes, host.gain) == (False, (), 0.0)
    assert host.plan.graph.nodes["a"].bypass == (line == "bypass a")


def test_a_rack_is_saved_as_it_is_while_the_input_is_heard(started, tmp_path):
    host = started("a:gain(gain=-12) | b:gain")
    apply(host, "bypass b")
    apply(host, "compare dry")
    apply(host, f"save {tmp_path}/rack.toml")
    assert (host.dry, host.dry_nodes) == (True, ("a",))
    graph = graph_of(load_rack(tmp_path / "rack.toml"))
    assert [node.bypass for node in graph.nodes.values()] == [False, True]


# Moments


def test_a_moment_is_kept_with_its_rack(started, tmp_path):
    """Twelve seconds, of which ten are kept, through a node that is late, and bypassed: both files agree."""
    host = started("h:hpss(preset=live).harmonic | g:gain(gain=-6)")
    apply(host, "bypass h")
    sound = noise(12 * RATE)
    heard = play(host, sound)
    apply(host, "compare dry")
    latency = host.plan.latency
    assert latency > 0
    told = apply(host, f"mark {tmp_path / 'a moment'}")
    assert told == f"the last 10.0 s go to {tmp_path / 'a moment'}"
    noted(host, "kept 10.0 s")
    given, rate = sf.read(tmp_path / "a moment" / "in.wav", dtype="float32")
    made, _ = sf.read(tmp_path / "a moment" / "out.wav", dtype="float32")
    assert (rate, len(given), len(made)) == (RATE, 10 * RATE, 10 * RATE)
    end = len(heard) - BLOCK
    assert np.array_equal(made, heard[end - 10 * RATE : end])
    assert np.array_equal(given, sound[end - latency - 10 * RATE : end - latency])
    assert np.abs(made - given * np.float32(10 ** (-6 / 20))).max() < 1e-6
    graph = graph_of(load_rack(tmp_path / "a moment" / "rack.toml"))
    assert graph.nodes["h"].bypass
    assert (graph.nodes["g"].values["gain"], graph.nodes["g"].bypass) == (-6, False)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a moment", "shared"]
    with pytest.raises(UserError, match="a moment is there already"):
        apply(host, f"mark {tmp_path / 'a moment'}")


def test_a_moment_goes_to_the_users_data(started, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    host = started("gain")
    with pytest.raises(UserError, match="nothing was heard yet"):
        apply(host, "mark")
    play(host, noise(RATE))
    apply(host, "mark")
    noted(host, "kept 1.0 s")
    (folder,) = (tmp_path / "rtaudio" / "moments").iterdir()
    assert sorted(entry.name for entry in folder.iterdir()) == ["in.wav", "out.wav", "rack.toml"]


def test_a_moment_that_cannot_be_written_is_told(started, tmp_path):
    host = started("gain")
    play(host, noise(RATE))
    (tmp_path / "file").write_text("")
    apply(host, f"mark {tmp_path / 'file' / 'folder'}")
    wait(lambda: host.problems)
    assert "cannot make" in host.problems[0]


# The deck


class Slow(AudioReader):
    """Seeks when it is let."""

    let = threading.Event()

    def seek(self, at):
        if at:
            assert self.let.wait(DEADLINE)
        super().seek(at)


def test_a_long_seek_holds_nobody_up(started, tmp_path):
    sf.write(tmp_path / "in.wav", noise(20 * RATE), RATE, subtype="FLOAT")
    Slow.let.clear()
    host = started("gain", file=Slow(tmp_path / "in.wav"))
    changes = host.deck.changes
    assert apply(host, "seek 5") == "at 0:05.000"
    for place in range(6, 15):
        apply(host, f"seek {place}")
    apply(host, "loop 2 3")
    apply(host, "cue set")
    assert apply(host, "set gain.gain -3") == "gain.gain is -3"
    assert (host.deck.position, host.deck.loop, host.deck.cue_point) == (14.0, (2.0, 3.0), 14.0)
    assert host.deck.changes == changes + 1
    Slow.let.set()

    def moved():
        host.device.step(0)
        return host.deck.changes == changes + 4

    wait(moved)
    assert host.deck.changes == changes + 4  # the first seek, the last one, the loop
    assert host.problems == []
    assert (host.deck.loop, host.deck.cue_point) == ((2.0, 3.0), 14.0)


def test_another_file_goes_on_the_deck(started, tmp_path):
    """In a crossfade, from its beginning; one of one channel on both."""
    first, second = noise(5 * RATE), noise(5 * RATE, channels=1, seed=7)
    sf.write(tmp_path / "in.wav", first, RATE, subtype="FLOAT")
    sf.write(tmp_path / "the next.wav", second, RATE, subtype="FLOAT")
    host = started("gain", file=AudioReader(tmp_path / "in.wav"))
    host.deck.fill()
    heard = np.concatenate([host.device.step(0) for _ in range(10)])
    assert np.array_equal(heard, first[: len(heard)])
    changes = host.deck.changes
    assert apply(host, f"load {tmp_path / 'the next.wav'}") == "playing the next.wav"
    wait(lambda: host.deck.changes > changes)
    assert (host.deck.position, host.deck.duration, host.deck.loop) == (0.0, 5.0, None)
    heard = np.concatenate([host.device.step(0) for _ in range(100)])
    fade = int(host.stream.words[FADE]) + BLOCK
    assert np.array_equal(heard[fade:], np.repeat(second, 2, axis=1)[fade : len(heard)])
    assert not host.problems
