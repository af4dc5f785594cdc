"""The words that steer a running host: what each does and answers, what is refused, where they come in."""

import json
import os
import pty
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st
from stepped import Stepped

from rtaudio.chain import load_chain
from rtaudio.cli import main
from rtaudio.control import MOST_EDITS, apply, format_time, parse_time
from rtaudio.counters import NODE_FAILED
from rtaudio.errors import UserError
from rtaudio.files import AudioReader
from rtaudio.host import Host
from rtaudio.plan import Plan
from rtaudio.rack import rack_of, save_rack
from rtaudio.server import Server
from rtaudio.state import state

pytestmark = pytest.mark.alone

RATE = 48_000
DEADLINE = 60.0
"""Seconds after which a process that should have ended is taken to hang."""
HELP = (
    "load FILE | seek TIME | cue [set [TIME]] | loop [BEGIN END | off] | play | pause | "
    "set NODE.PARAMETER VALUE | get NODE.PARAMETER | mute NODE | unmute NODE | solo NODE | "
    "unsolo NODE | bypass NODE | unbypass NODE | insert PLACE NODE | listen NODE | remove NODE | "
    "move NODE PLACE | replace NODE ENGINE | connect A -> B | disconnect A -> B | chain CHAIN | "
    "preset NODE NAME | save NAME | undo | redo | compare dry [matched] | compare wet | "
    "compare toggle [matched] | record [FILE] | record off | mark [FOLDER] | "
    "midi learn NODE.PARAMETER [toggle] [pickup] | midi forget NODE.PARAMETER | midi list | "
    "watch [off] | state | status | help | quit"
)


def write(path, seconds):
    at = np.arange(round(seconds * RATE))
    sf.write(path, (0.3 * np.sin(at[:, None] * [0.03, 0.04])).astype(np.float32), RATE, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def two_minutes(tmp_path_factory):
    return write(tmp_path_factory.mktemp("control") / "a.wav", 120.0)


@pytest.fixture
def host(two_minutes):
    """A host on two minutes of sound, whose device calls when the test says so."""
    plan = Plan(load_chain("gain | strip: gain"), RATE, 512, 2)
    with Host(plan, Stepped(), AudioReader(two_minutes)) as made:
        made.start()
        yield made


@pytest.fixture
def deaf():
    """A host without a file."""
    with Host(Plan(load_chain("gain"), RATE, 512, 2), Stepped()) as made:
        made.start()
        yield made


def steps(host, blocks=2):
    heard = []
    for _ in range(blocks):
        if host.deck is not None:
            host.deck.fill()
        heard.append(host.device.step(0))
    return np.concatenate(heard)


# Times


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90.5", 90.5),
        (".5", 0.5),
        ("1:30", 90),
        ("1:5.25", 65.25),
        ("90:00", 5400),
        ("1:02:03.5", 3723.5),
    ],
)
def test_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", ":", "1:", ":30", "1:60", "1:99:00", "1:2:3:4", "-1", "+1", "1e3", "nan", "inf", "1,5", "٣", "1 2"],
)
def test_what_is_no_time(text):
    with pytest.raises(UserError, match="is no time: write seconds, or m:ss"):
        parse_time(text)


@given(st.integers(0, 10**8))
def test_a_time_that_is_written_is_read(milliseconds):
    assert round(1000 * parse_time(format_time(milliseconds / 1000))) == milliseconds


# On the deck


def test_seek_and_status(host):
    changes = host.deck.changes
    assert apply(host, "seek 1:30") == "at 1:30.000"
    assert host.deck.position == 90.0
    moved(host, changes)
    steps(host)
    assert host.deck.position == pytest.approx(90.0 + 1024 / RATE)
    told = apply(host, "status")
    assert told.startswith("1:30.021 of 2:00.000, playing, no loop, load ")
    assert told.endswith("%, xruns 0, misses 0")
    name = next(iter(host.plan.graph.nodes))
    host.counters.section(name)[NODE_FAILED] = 1
    assert apply(host, "status").endswith(f"%, xruns 0, misses 0, bypassed {name}")


def moved(host, changes):
    """Wait until the reader has made a change."""
    until = time.monotonic() + DEADLINE
    while host.deck.changes == changes:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_another_file(host, tmp_path):
    changes = host.deck.changes
    assert apply(host, f"load {write(tmp_path / 'a song.wav', 30.0)}") == "playing a song.wav"
    moved(host, changes)
    assert host.deck.duration == 30.0
    assert state(host)["deck"]["file"] == str(tmp_path / "a song.wav")
    before = host.deck.file
    for name, why in (("gone.wav", "cannot read"), ("", "is not of the form 'load FILE'")):
        with pytest.raises(UserError, match=why):
            apply(host, f"load {name and tmp_path / name}")
    sf.write(tmp_path / "three.wav", np.zeros((100, 3)), RATE)
    with pytest.raises(UserError, match=r"three\.wav has 3 channels, what plays 2"):
        apply(host, f"load {tmp_path / 'three.wav'}")
    assert host.deck.file == before
    steps(host, 9)
    assert host.deck.position == pytest.approx(9 * 512 / RATE)


def test_what_follows_another_file_at_once_is_about_that(host, tmp_path):
    """Here the reader has not even begun to load it."""
    changes = host.deck.changes
    with host.deck._door:
        assert apply(host, "loop") == "loop 0:00.000 to 2:00.000"
        apply(host, f"load {write(tmp_path / 'b.wav', 30.0)}")
        assert host.deck.loop == (0.0, 30.0)
        assert apply(host, "loop") == "loop 0:00.000 to 0:30.000"
        for line in ("loop 8 31", "seek 31"):
            with pytest.raises(UserError, match=r"b\.wav lasts 30\.000 s"):
                apply(host, line)
        apply(host, f"load {write(tmp_path / 'c.wav', 150.0)}")
        assert host.deck.loop == (0.0, 150.0)
        assert apply(host, "loop 10 140") == "loop 0:10.000 to 2:20.000"
        assert apply(host, "seek 2:10") == "at 2:10.000"
    until = time.monotonic() + DEADLINE
    while host.deck._wanted:
        assert time.monotonic() < until
        time.sleep(0.001)
    assert host.deck.changes > changes
    assert (host.deck.duration, host.deck.loop) == (150.0, (10.0, 140.0))
    assert host.deck.problems == []


def test_a_path_may_begin_at_home(host, tmp_path, monkeypatch):
    home = tmp_path / "my home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert apply(host, "save ~/a.toml") == f"saved as {home / 'a.toml'}"
    assert apply(host, "save ~/a.toml") == f"replaced {home / 'a.toml'}"
    assert apply(host, "chain ~/a.toml") == f"loading chain {home / 'a.toml'}"
    after(host)
    assert host.notes[-1].startswith(f"chain {home / 'a.toml'}")
    steps(host)
    assert apply(host, "record ~/a.wav") == f"recording {home / 'a.wav'}"
    steps(host)
    apply(host, "record off")
    assert apply(host, "mark ~/moment").endswith(f" s go to {home / 'moment'}")
    write(home / "song.wav", 1.0)
    assert apply(host, "load ~/song.wav") == "playing song.wav"


def test_a_source_that_is_inserted_last_is_limited(monkeypatch):
    made = []

    def submit(self, make, title):
        made.append(make(self.plan.graph).texts())
        return SimpleNamespace(name=title, path="")

    monkeypatch.setattr(Host, "submit", submit)
    with Host(Plan(load_chain("gain | limiter"), RATE, 512, 2), Stepped()) as host:
        apply(host, "insert last tone")
        apply(host, "insert after limiter tone")
    assert "tone.out -> limiter.in" in made[0]
    assert "tone.out -> out.main" in made[1]


def test_recordings_that_were_never_ended_are_noted_once(deaf, tmp_path):
    left = tmp_path / ".a.wav.0123abcd.part"
    left.touch()
    os.utime(left, (0, 0))
    for name in ("b.wav", "c.wav"):
        steps(deaf)
        apply(deaf, f"record {tmp_path / name}")
        steps(deaf)
        apply(deaf, "record off")
    assert [note.startswith(f"{left} was begun and never ended: ") for note in deaf.notes].count(True) == 1


def test_cue(host):
    assert apply(host, "cue set 0:12.5") == "cue point at 0:12.500"
    assert host.deck.position == 0.0
    changes = host.deck.changes
    assert apply(host, "cue") == "at the cue point, 0:12.500"
    assert host.deck.position == 12.5
    moved(host, changes)
    steps(host, 6)
    assert apply(host, "cue set") == "cue point at 0:12.564"
    assert host.deck.cue_point == host.deck.position


def test_loop(host):
    assert apply(host, "loop 8 1:16.5") == "loop 0:08.000 to 1:16.500"
    assert host.deck.loop == (8.0, 76.5)
    assert apply(host, "loop off") == "no loop"
    assert host.deck.loop is None
    assert apply(host, "loop") == "loop 0:00.000 to 2:00.000"
    assert host.deck.loop == (0.0, 120.0)


def test_pause_and_play(host):
    assert apply(host, "pause") == "paused at 0:00.000"
    steps(host)
    assert not steps(host).any()
    assert apply(host, "play") == "playing from 0:00.010"
    steps(host)
    assert steps(host).any()


@pytest.mark.parametrize("line", ["seek 1", "cue", "cue set", "loop", "loop off", "play", "pause"])
def test_without_a_file_there_is_no_deck(deaf, line):
    with pytest.raises(UserError, match="no file plays: start with --file"):
        apply(deaf, line)
    assert apply(deaf, "status").startswith("load ")


# On the graph


def test_set(host):
    assert apply(host, "set strip.gain -6.5") == "strip.gain is -6.5"
    assert host.plan.graph.nodes["strip"].values["gain"] == -6.5
    assert apply(host, "  set  gain.mute true ") == "gain.mute is true"
    steps(host)
    assert not steps(host).any()
    apply(host, "set gain.mute false")
    apply(host, "set gain.gain -inf")
    steps(host)
    assert not steps(host).any()


def test_what_is_fixed_is_set_by_an_edit():
    with Host(Plan(load_chain("limiter | remix"), RATE, 512, 2), Stepped()) as host:
        host.start()
        assert apply(host, "set limiter.lookahead 1.5") == "limiter.lookahead is 1.5"
        assert apply(host, "set limiter.lookahead 5") == "loading limiter.lookahead 5"
        assert apply(host, "set remix.percussive_insert gain | gain") == (
            "remix.percussive_insert gain | gain waits for limiter.lookahead 5"
        )
        assert apply(host, "status").endswith(
            ", loading limiter.lookahead 5, loading remix.percussive_insert gain | gain"
        )
        assert apply(host, "set limiter.ceiling -3") == "limiter.ceiling is -3"
        after(host)
        assert host.notes[0] == "limiter.lookahead is 5, latency 584 -> 752 samples"
        assert host.notes[1] == "remix.percussive_insert is gain | gain"
        assert host.plan.graph.nodes["limiter"].values == {"ceiling": -3.0, "lookahead": 5.0}
        assert apply(host, "set remix.percussive_insert ''") == "loading remix.percussive_insert ''"
        after(host)
        assert apply(host, "set remix/percussive.insert hpsss") == "loading remix.percussive_insert hpsss"
        after(host)
        assert host.notes[2] == "remix.percussive_insert is ''"
        assert host.notes[3].startswith(
            "remix.percussive_insert stays '': percussive: insert: chain, column 1: no"
        )
        assert len(host.notes) == 4


def test_a_text_is_taken_as_it_is_written():
    """Two spaces of a path are not one; nothing is shown as what it is written as."""
    with Host(Plan(load_chain("remix"), RATE, 512, 2), Stepped()) as host:
        host.start()
        assert apply(host, "set remix.percussive_insert ''") == "remix.percussive_insert is ''"
        assert apply(host, " set  remix.percussive_insert  'gain  |  gain' ") == (
            "loading remix.percussive_insert gain  |  gain"
        )
        after(host)
        assert host.plan.fixed("remix", "percussive_insert") == "gain  |  gain"


def test_the_wire_is_a_chain_too():
    with Host(Plan(load_chain("gain"), RATE, 512, 2), Stepped()) as host:
        host.start()
        assert apply(host, "chain ''") == "loading chain ''"
        after(host)
        assert not host.plan.graph.nodes


def test_edits_that_wait_are_few_and_so_are_those_that_are_named(tmp_path):
    save_rack(tmp_path / "a.toml", rack_of(load_chain("gain")))
    with Host(Plan(load_chain("gain | limiter"), RATE, 512, 2), Stepped()) as host:
        host.start()
        told = [apply(host, f"insert last g{number}: gain") for number in range(MOST_EDITS)]
        ahead = "insert last g0: gain, insert last g1: gain, insert last g2: gain"
        assert told[3] == f"insert last g3: gain waits for {ahead}"
        assert told[-1] == f"insert last g31: gain waits for {ahead} and 28 more"
        waiting = host.edits
        chains = f"chain {tmp_path / 'a.toml'}", "chain ''"
        for line in ("insert last gain", "remove gain", "move gain last", "preset limiter x", *chains):
            with pytest.raises(
                UserError, match=r"^32 edits wait already: wait until one is heard, or 'undo'"
            ):
                apply(host, line)
        assert host.edits == waiting
        assert apply(host, "set gain.gain -3") == "gain.gain is -3"
        assert apply(host, "undo") == "insert last g31: gain is given up"
        assert apply(host, "remove gain").startswith("remove gain waits for ")


def after(host):
    until = time.monotonic() + DEADLINE
    while host.edits:
        assert time.monotonic() < until
        host.device.step(0)
        host.poll()
        time.sleep(0.002)


def test_get(host):
    assert apply(host, "get strip.gain") == "strip.gain is 0 dB"
    apply(host, "set strip.gain -6.5")
    answer = apply(host, "get strip.gain")
    assert (answer, answer.facts) == ("strip.gain is -6.5 dB", {"value": -6.5, "unit": "dB"})
    assert apply(host, "get gain.mute") == "gain.mute is 0"


@pytest.mark.parametrize("switch", ["mute", "solo", "bypass"])
def test_switches(host, switch):
    assert apply(host, f"{switch} strip").startswith("strip is ")
    assert getattr(host.plan.graph.nodes["strip"], switch) is True
    assert apply(host, f"un{switch} strip").startswith("strip is not ")
    assert getattr(host.plan.graph.nodes["strip"], switch) is False


def test_a_comparison_is_toggled(host):
    apply(host, "set gain.gain -12")
    apply(host, "bypass strip")
    assert apply(host, "compare toggle") == "the input is heard, +0.0 dB"
    assert (host.dry, host.dry_nodes) == (True, ("gain",))
    assert apply(host, "compare toggle") == "the output is heard"
    assert [host.plan.graph.nodes[name].bypass for name in ("gain", "strip")] == [False, True]
    with pytest.raises(UserError, match="there is no loudness to match"):
        apply(host, "compare toggle matched")
    assert not host.dry
    apply(host, "compare dry")
    assert apply(host, "compare toggle matched") == "the output is heard"


# The rest


def test_help_names_every_command(host):
    assert apply(host, "help") == HELP
    assert apply(host, "quit") is None
    assert apply(host, "   ") == ""


REFUSED = [
    ("sek 3", "no command 'sek', did you mean 'seek'? (load, seek, cue, "),
    ("Seek 3", "no command 'Seek', did you mean 'seek'?"),
    ("seek", "'seek' is not of the form 'seek TIME'"),
    ("seek 1 2", "'seek 1 2' is not of the form 'seek TIME'"),
    ("seek now", "'now' is no time"),
    ("seek 2:00", "there is no place at 120 s: a.wav lasts 120.000 s"),
    ("cue here", "'cue here' is not of the form 'cue [set [TIME]]'"),
    ("cue set 1 2", "'cue set 1 2' is not of the form"),
    ("cue set 3:00", "there is no place at 180 s"),
    ("loop 8", "'loop 8' is not of the form 'loop [BEGIN END | off]'"),
    ("loop 8 4", "a loop from 8 to 4 s ends before it begins"),
    ("loop 8 8", "a loop from 8 to 8 s is too short"),
    ("loop 8 3:00", "a loop cannot end at 180 s: a.wav lasts 120.000 s"),
    ("play it", "'play it' is not of the form 'play'"),
    ("pause 3", "'pause 3' is not of the form 'pause'"),
    ("set gain.gain", "'set gain.gain' is not of the form 'set NODE.PARAMETER VALUE'"),
    ("set gain 3", "'gain' is not of the form 'node.parameter'"),
    ("set gian.gain 3", "no node 'gian', did you mean 'gain'?"),
    ("set gain.gian 3", "gain: no parameter 'gian', did you mean 'gain'?"),
    ("set gain.gain 99", "gain: gain=99 is out of range"),
    ("set gain.gain loud", "gain: gain='loud' is not a number"),
    ("set gain.gain nan", "gain: gain=nan is out of range"),
    ("set gain.gain 1 2", "gain: gain='1 2' is not a number"),
    ("mute strp", "no node 'strp', did you mean 'strip'?"),
    ("solo", "'solo' is not of the form 'solo NODE'"),
    ("quit now", "'quit now' is not of the form 'quit'"),
    ("status please", "'status please' is not of the form 'status'"),
    ("get gain", "'gain' is not of the form 'node.parameter'"),
    ("get gain.gian", "gain: no parameter 'gian', did you mean 'gain'?"),
    ("get gain.gain 3", "'get gain.gain 3' is not of the form 'get NODE.PARAMETER'"),
    ("chain", "'chain' is not of the form 'chain CHAIN'"),
    ("compare toggle loud", "'compare toggle loud' is not of the form 'compare dry [matched] | compare wet"),
    ("save gain", "'gain' is an engine, which 'chain gain' would load: choose another name"),
    ("watch", "what happens is told here anyway"),
    ("state please", "'state please' is not of the form 'state'"),
    ("help me", "'help me' is not of the form 'help'"),
]


@pytest.mark.parametrize(("line", "message"), REFUSED)
def test_mistakes_are_told_in_a_line_and_change_nothing(host, line, message):
    before = [(node.name, dict(node.values), node.mute, node.solo) for node in host.plan.graph.nodes.values()]
    deck = host.deck.position, host.deck.loop, host.deck.cue_point, host.deck.playing
    with pytest.raises(UserError) as refused:
        apply(host, line)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
    after = [(node.name, dict(node.values), node.mute, node.solo) for node in host.plan.graph.nodes.values()]
    assert after == before
    assert (host.deck.position, host.deck.loop, host.deck.cue_point, host.deck.playing) == deck


@given(st.text(max_size=40))
def test_any_text_is_answered_or_refused(text):
    class Nothing:
        deck = None

        def __getattr__(self, name):
            raise UserError(name)

    try:
        answer = apply(Nothing(), text)
    except UserError:
        return
    assert answer is None or "\n" not in answer


# Lines as they come


def taken(server):
    return [line for _, line in server.take(0.0)]


def test_lines_are_whole_and_the_last_needs_no_end():
    ours, theirs = os.pipe()
    with Server(ours) as server:
        assert not server.terminal
        assert taken(server) == []
        os.write(theirs, b"seek 1\npau")
        assert taken(server) == [b"seek 1"]
        assert taken(server) == []
        os.write(theirs, b"se\n\nplay\nqu")
        assert taken(server) == [b"pause", b"", b"play"]
        os.close(theirs)
        assert taken(server) == [b"qu"]
        assert taken(server) == []
    os.close(ours)


def test_a_file_is_read_to_its_end(tmp_path):
    """Unlike a pipe, which epoll would take too."""
    (tmp_path / "lines").write_text("set gain.gain -3\n" * 500)
    with (tmp_path / "lines").open() as file, Server(file.fileno()) as server:
        lines = []
        while server.standard_input.lines or not server.standard_input.ended:
            lines += taken(server)
        assert lines == [b"set gain.gain -3"] * 500


@pytest.fixture
def piped(monkeypatch):
    """Lets `main` find lines on standard input."""
    opened = []

    def give(text):
        ours, theirs = os.pipe()
        os.write(theirs, text.encode())
        os.close(theirs)
        opened.append(os.fdopen(ours))
        monkeypatch.setattr(sys, "stdin", opened[-1])

    yield give
    for file in opened:
        file.close()


def live(tmp_path, *more):
    write(tmp_path / "a.wav", 30.0)
    arguments = ["live", "--api", "null", "--file", tmp_path / "a.wav", "--json", tmp_path / "j", *more]
    return main([str(argument) for argument in arguments])


def test_lines_of_a_pipe_steer_a_run(tmp_path, capsys, piped):
    piped("seek 0:20\nsek 3\nset remix.crossfade 0.5\nset remix/percussive/delay.mix 0\npause\nquit\nplay\n")
    chain = "remix(preset=live, percussive_insert='delay(time=100)')"
    assert live(tmp_path, "--control", "--chain", chain) == 0
    told = capsys.readouterr().err.splitlines()
    begin = next(number for number, line in enumerate(told) if line.startswith("READY")) + 1
    told = [line for line in told[begin:] if not line.startswith("warning: ")]
    assert told[0] == "at 0:20.000"
    assert told[1].startswith("no command 'sek', did you mean 'seek'?")
    assert told[2:4] == ["remix.crossfade is 0.5", "remix/percussive/delay.mix is 0"]
    assert told[4].startswith("paused at 0:2")
    assert not any(line.startswith("playing") for line in told)
    assert json.loads((tmp_path / "j").read_text())["seconds"] < 20


def test_a_pipe_that_ends_leaves_the_sound_alone(tmp_path, piped):
    piped("seek 29.8")
    assert live(tmp_path, "--control") == 0
    assert 0.2 <= json.loads((tmp_path / "j").read_text())["seconds"] < 20


def test_without_control_a_pipe_is_not_read(tmp_path, capsys, piped):
    piped("quit\n")
    assert live(tmp_path, "--seconds", "0.3") == 0
    assert json.loads((tmp_path / "j").read_text())["seconds"] >= 0.3
    assert sys.stdin.read() == "quit\n"


def test_control_needs_standard_input(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert live(tmp_path, "--control") == 2
    assert "--control needs standard input" in capsys.readouterr().err


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TERM": "xterm"}


def command(tmp_path, *more):
    write(tmp_path / "a.wav", 30.0)
    arguments = [
        sys.executable,
        "-m",
        "rtaudio",
        "live",
        "--api",
        "null",
        "--file",
        tmp_path / "a.wav",
        *more,
    ]
    return [str(argument) for argument in arguments]


def test_lines_typed_on_a_terminal(tmp_path):
    """The status line is the one above; what is typed stays."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(tmp_path, "--seconds", "20"),
        stdin=theirs,
        stderr=theirs,
        env=environment(),
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, b"seek 12\nloop 10 11\nquit\n")
    shown, until = b"", time.monotonic() + DEADLINE
    while time.monotonic() < until:
        try:
            more = os.read(ours, 4096)
        except OSError:
            more = b""
        if not more:
            break
        shown += more
    os.close(ours)
    assert process.wait(DEADLINE) == 0
    text = shown.decode().replace("\r\n", "\n")
    assert "type 'help'" in text
    assert "at 0:12.000\n" in text
    assert "loop 0:10.000 to 0:11.000\n" in text
    assert "\x1b7\x1b[A\r\x1b[K" in text
    assert text.count("\x1b7") == text.count("\x1b8") >= 1


def test_a_null_standard_input_is_no_matter(tmp_path):
    done = subprocess.run(
        command(tmp_path, "--seconds", "0.3"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(),
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0
    assert b"\x1b" not in done.stderr


def test_a_process_in_the_background_leaves_its_terminal_alone(tmp_path):
    """A read would stop it: SIGTTIN. A shell in a session of its own starts it as a job; a line is typed."""
    ours, theirs = pty.openpty()
    job = " ".join(f"'{word}'" for word in command(tmp_path, "--seconds", "1"))
    terminal = f"exec 3<>{os.ttyname(theirs)}"  # that of the session from then on
    shell = subprocess.Popen(
        ["bash", "-c", f"{terminal}; set -m; {job} <&3 2>'{tmp_path}/told' & wait $!; exit $?"],
        stdin=subprocess.DEVNULL,
        env=environment(),
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, b"quit\n")
    assert shell.wait(DEADLINE) == 0
    os.close(ours)
    assert "1.0 s, " in (tmp_path / "told").read_text()


# Options of live


@pytest.mark.parametrize(
    ("loop", "bounds"),
    [("8:16", (8, 16)), ("8.5:16.25", (8.5, 16.25)), ("0:10-0:20", (10, 20)), ("8-16", (8, 16))],
)
def test_ways_to_write_a_loop(loop, bounds):
    from rtaudio.live import _loop

    assert _loop(loop) == bounds


MISTAKES = [
    (["--loop", "8"], "'8' is no loop: write begin and end as 8.0:16.0 (seconds) or 1:30-2:00"),
    (["--loop", "1:30:2:00"], "'1:30:2:00' is no loop"),
    (["--loop", "1-2-3"], "'1-2-3' is no loop"),
    (["--loop=-3"], "'-3' is no loop"),
    (["--loop", "8:4"], "a loop from 8 to 4 s ends before it begins"),
    (["--loop", "8:40"], "a loop cannot end at 40 s: a.wav lasts 30.000 s"),
    (["--start", "0:30"], "there is no place at 30 s: a.wav lasts 30.000 s"),
    (["--start", "soon"], "'soon' is no time: write seconds, or m:ss"),
    (["--start", "9", "--loop", "1:5"], "the start at 9 s lies behind the loop's end at 5 s"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_mistakes_in_options(tmp_path, capsys, options, message):
    try:
        status = live(tmp_path, *options)
    except SystemExit as left:
        status = left.code
    assert status == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("option", [["--start", "3"], ["--loop", "1:2"]])
def test_places_need_a_file(capsys, option):
    assert main(["live", "--api", "null", *option]) == 2
    assert f"{option[0]} needs a file: give --file" in capsys.readouterr().err


def test_a_loop_of_a_file_at_another_rate(tmp_path):
    """Resampled as a whole: the length of the loop is exact at the graph's rate."""
    at = np.arange(44_100) / 44_100
    sf.write(
        tmp_path / "b.wav", (0.5 * np.sin(2 * np.pi * 300 * at)).astype(np.float32), 44_100, subtype="FLOAT"
    )
    arguments = ["live", "--file", tmp_path / "b.wav", "--rate", "48000", "--freewheel", "--seconds", "1.5"]
    arguments += ["--loop", "0.25:0.5", "--record", tmp_path / "r.wav"]
    assert main([str(argument) for argument in arguments]) == 0
    heard, rate = sf.read(tmp_path / "r.wav")
    assert rate == 48_000
    want = 0.5 * np.sin(2 * np.pi * 300 * np.arange(len(heard)) / 48_000)  # the loop holds 75 periods
    assert np.abs(heard[500:] - want[500:]).max() < 1e-5
    np.testing.assert_array_equal(heard[24_000:36_000], heard[36_000:48_000])
