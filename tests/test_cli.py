"""The command line: help, mistakes, reports."""

import argparse
import json
import os
import signal
import subprocess
import sys
import textwrap
from importlib.metadata import EntryPoint, EntryPoints, entry_points

import numpy as np
import pytest
import soundfile as sf

from rtaudio import __version__, cli, devices, doctor, live, registry
from rtaudio.cli import main, one_line
from rtaudio.graph import parameters_of
from rtaudio.registry import engine_names, load_engine

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def write(path, samples=1000, channels=2, rate=48_000):
    sf.write(path, np.full((samples, channels), 0.25, np.float32), rate, subtype="FLOAT")
    return path


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# Help


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["live"],
        ["render"],
        ["separate"],
        ["devices"],
        ["measure", "latency"],
        ["status"],
        ["engines"],
        ["doctor"],
    ],
)
def test_help_imports_nothing_heavy(command):
    code = """
        import sys
        from rtaudio.cli import main
        try:
            main([*sys.argv[1:], "--help"])
        except SystemExit as left:
            assert left.code == 0
        heavy = {"numpy", "numba", "scipy", "soundfile", "soxr", "rich", "llvmlite"} & set(sys.modules)
        sys.exit(" ".join(heavy) or 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *command],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: rtaudio")
    for name in ("live", "render", "devices", "measure", "status", "engines", "doctor", "separate"):
        assert name in done.stdout or command


def test_the_module_and_the_program_are_the_same_command():
    for command in ([sys.executable, "-m", "rtaudio"], [os.path.join(sys.prefix, "bin", "rtaudio")]):
        done = subprocess.run(
            [*command, "--version"], env=ENVIRONMENT, capture_output=True, text=True, check=True
        )
        assert done.stdout == f"rtaudio {__version__}\n"


# Mistakes: one line, status 2, nothing written, no sound

WRONG_CHAINS = {
    "gian": "did you mean 'gain'?",
    "gain(gian=3)": "did you mean 'gain'?",
    "gain(gain=25)": "gain=25 is out of range (-inf, or -100 to 24 dB)",
    "gain(gain=loud)": "is not a number",
    "gain | hpss": "hpss has 3 outputs (harmonic, percussive, residual)",
    "hpss.harmonics": "did you mean 'harmonic'?",
    "hpss(preset=fast).harmonic": "preset='fast' is not one of live, balanced, quality",
    "gain(": "expected",
    "gain |": "expected",
    "delay(time=9999)": "out of range",
    "no/such/rack.toml": "No such file",
}
WRONG_RACKS = {
    'version = 1\nedges = ["in -> a", "a -> b", "b -> a", "b -> out"]\n': "cycle",
    'version = 1\nedges = ["a -> out", "b -> out", "in -> b"]\n': "a.in is not connected",
    'version = 1\nedges = ["in -> a", "in -> b", "a.left -> out"]\n': "no output 'left'",
    'version = 1\nedges = ["in -> a", "in -> b", "a -> b"]\n': "nothing is connected to 'out'",
    'version = 3\nedges = ["in -> a"]\n': "version 3",
    "not toml": "not TOML",
}
NODES = '[nodes.a]\nengine = "gain"\n[nodes.b]\nengine = "gain"\n'


@pytest.fixture
def place(tmp_path):
    """A folder with good and bad files, and with arguments that stand for them."""
    write(tmp_path / "good.wav")
    write(tmp_path / "other.wav")
    (tmp_path / "text.wav").write_text("not audio at all")
    (tmp_path / "empty.wav").write_bytes(b"")
    write(tmp_path / "silent.wav", 0)
    write(tmp_path / "slow.wav", 100, rate=4000)
    write(tmp_path / "wide.wav", 100, channels=65)
    (tmp_path / "folder").mkdir()
    for number, text in enumerate(WRONG_RACKS):
        (tmp_path / f"rack{number}.toml").write_text(text + NODES)
    return tmp_path


WRONG = [
    *((f"--chain {chain!r}", said) for chain, said in WRONG_CHAINS.items()),
    *((f"--chain @/rack{number}.toml", said) for number, said in enumerate(WRONG_RACKS.values())),
]
WRONG_LIVE = [
    *((f"live --file @/good.wav --record @/r.wav {rest}", said) for rest, said in WRONG),
    *(
        (f"live --file @/{name}.wav --record @/r.wav", said)
        for name, said in {
            "text": "not audio",
            "empty": "it is empty",
            "silent": "holds no audio",
            "missing": "no such file",
            "slow": "a rate of 4000 Hz is not supported (8000 to 384000 Hz)",
            "wide": "65 channels are not supported (1 to 64)",
        }.items()
    ),
    ("live --file @/folder --record @/r.wav", "it is a folder"),
    ("live --file @/good.wav --record @/r.xyz", "unknown extension '.xyz'"),
    ("live --file @/good.wav --record @/no/r.wav", "there is no folder"),
    ("live --file @/good.wav --record /proc/r.wav", "cannot write /proc/r.wav"),
    ("live --file @/good.wav --record @/folder", "unknown extension"),
    ("live --file @/good.wav --record @/good.wav", "is the input"),
    ("live --file @/good.wav --record @/r.wav --json @/no/j", "No such file or directory"),
    ("live --file @/good.wav --record @/r.wav --json @/folder", "Is a directory"),
    ("live --file @/good.wav --record @/r.wav --json /proc/j", "cannot write /proc/j: "),
    ("live --file @/good.wav --record @/r.wav --json @/good.wav", "is an input or an output"),
    ("live --file @/good.wav --record @/r.wav --json @/r.wav", "is an input or an output"),
    ("live --file @/text.wav --json @/j", "not audio"),
    ("live --file @/good.wav --channels 1 --record @/r.wav", "has 2; leave --channels out"),
    ("live --seconds 1 --channels 65 --record @/r.wav", "65 channels are not supported (1 to 64)"),
    ("live --seconds 1 --rate 1000", "--rate 1000 is out of range (8000 to 384000)"),
    ("live --seconds 1 --rate 1000000000 --file @/good.wav", "out of range"),
    ("live --seconds 1 --block 65537", "--block 65537 is out of range (1 to 65536)"),
    ("live --seconds 1 --block 0", "'0' is not a whole number above 0"),
    ("live --seconds 0", "'0' is not a time in seconds above 0"),
    ("live --seconds nan", "'nan' is not a time in seconds above 0"),
    ("live --seconds 1 --loop", "--loop needs a file"),
    ("live --freewheel", "give --seconds"),
    ("live --freewheel --loop --file @/good.wav", "give --seconds"),
    ("live --api jak --seconds 1", "invalid choice: 'jak'"),
    ("live --free --seconds 1", "unrecognized arguments: --free"),
    *(
        (f"live --seconds 1 --map {text}", f"{text!r} is no map: say in=N,...")
        for text in (
            "3",
            "in",
            "in=",
            "in=0",
            "in=x",
            "in=1,",
            "in=257",
            "in=-1",
            "in=1/in=2",
            "off=1",
            "in=1/",
            "IN=1",
        )
    ),
    ("live --seconds 1 --map in=1 --api null", "--map needs a sound card: the null device has no channels"),
    ("live --seconds 1 --input x --api null", "--input needs a sound card"),
    ("live --seconds 1 --output x --api null", "--output needs a sound card"),
    ("live --seconds 1 --map in=1,2 --channels 3 --api alsa", "--map names 2 inputs for 3 channels"),
    ("live --seconds 1 --map out=1,2,3 --api alsa", "--map names 3 outputs for 2 channels"),
    ("live --seconds 1 --freewheel --map in=1", "--map needs a sound card or a JACK server: give --api"),
    ("live --seconds 1 --freewheel --api alsa", "--freewheel needs --api null: alsa has a clock of its own"),
    ("live --seconds 1 --stress disk", "invalid choice: 'disk'"),
    ("live --seconds 1 --lane 3", "invalid choice: '3'"),
    ("live --seconds 1 --record @/r.wav --record-input @/r.wav", "is named twice: record the input"),
    ("live --file @/good.wav --record-input @/good.wav", "is the input: record to another file"),
    ("live --seconds 1 --api null --record-input @/no/r.wav", "there is no folder"),
]
WRONG_RENDER = [
    ("render '' -o @/o", "an empty name is no file"),
    ("separate @/good.wav -o ''", "an empty name is no file"),
    *((f"render @/good.wav -o @/o/r.wav {rest}", said) for rest, said in WRONG),
    *(
        (f"{command} @/{name}.wav -o @/o", said)
        for command in ("render", "separate")
        for name, said in {
            "text": "not audio",
            "empty": "it is empty",
            "silent": "holds no audio",
            "missing": "no such file",
            "slow": "a rate of 4000 Hz is not supported",
            "wide": "65 channels are not supported",
        }.items()
    ),
    ("render @/folder -o @/o", "no audio files in"),
    ("render @/good.wav @/missing.wav -o @/o", "no such file"),
    ("render @/good.wav -o @/o/r.xyz", "unknown extension '.xyz'"),
    ("render @/good.wav -o @/good.wav", "is an input"),
    ("render @/good.wav -o /proc/o/r.wav", "cannot make the folder /proc/o"),
    ("render @/good.wav @/other.wav -o /proc/o", "cannot make the folder /proc/o"),
    ("render @/good.wav @/other.wav -o @/text.wav", "several inputs need a folder"),
    ("render @/good.wav -o @/text.wav/r.wav", "cannot make the folder"),
    ("render @/good.wav -o @/o/r.wav --subtype 12", "no subtype '12'"),
    ("render @/good.wav -o @/o/r.wav --json @/no/j", "No such file or directory"),
    ("render @/text.wav -o @/o/r.wav --json @/j", "not audio"),
    ("render @/good.wav -o @/o/r.wav --jobs x", "'x' is not a whole number above 0"),
    ("render @/good.wav", "the following arguments are required: -o/--output"),
    ("separate @/good.wav -o @/o --preset fast", "is not one of live, balanced, quality"),
    ("separate @/good.wav -o @/o --channels 2", "is not one of linked, independent"),
    ("separate @/good.wav -o @/text.wav", "cannot make the folder"),
    ("separate @/good.wav -o /proc", "cannot write /proc/good"),
]
WRONG_OTHERS = [
    ("engines gian", "did you mean 'gain'?"),
    ("engines gain gain", "unrecognized arguments: gain"),
    ("rendr x", "invalid choice: 'rendr'"),
    ("", "the following arguments are required: COMMAND"),
    ("doctor now", "unrecognized arguments: now"),
    ("devices --api null", "invalid choice: 'null'"),
    ("devices --json /proc/j", "cannot write /proc/j"),
    ("measure", "the following arguments are required: WHAT"),
    ("measure latency --api null", "invalid choice: 'null'"),
    ("measure latency --chain gian", "did you mean 'gain'?"),
    ("measure latency --json /proc/j", "cannot write /proc/j"),
    (f"render {'x' * 300} -o y", "too long"),
]


@pytest.mark.parametrize(("line", "said"), [*WRONG_LIVE, *WRONG_RENDER, *WRONG_OTHERS])
def test_a_mistake_is_one_line_and_changes_nothing(place, capsys, monkeypatch, line, said):
    import shlex

    from rtaudio.null import NullDevice

    monkeypatch.setattr(NullDevice, "start", lambda *_: pytest.fail("sound starts"))
    before = tree(place)
    arguments = [argument.replace("@", str(place)) for argument in shlex.split(line)]
    try:
        status = main(arguments)
    except SystemExit as left:
        status = left.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    told = [text for text in err.splitlines() if not text.startswith("compiling")]
    assert len(told) == 1, err
    assert told[0].startswith("rtaudio")
    assert said in told[0].replace(str(place), "")
    left_over = [path for path in tree(place) if path not in before]
    assert left_over in ([], ["o"])  # an empty folder at most


MAPS = [
    ("in=3", ([2], None)),
    ("in=1,1", ([0, 0], None)),
    ("out=3,4", (None, [2, 3])),
    ("in=3/out=1,2", ([2], [0, 1])),
    ("out=256/in=1", ([0], [255])),
]


@pytest.mark.parametrize(("text", "places"), MAPS)
def test_maps_are_read_from_1(text, places):
    assert devices.channel_map(text) == places


@pytest.mark.parametrize(
    ("options", "heard", "channels", "inputs", "outputs"),
    [
        ("", 2, 2, None, [0, 1]),
        ("", 1, 2, None, [0, 0]),  # one channel is heard on both sides
        ("--api null", 1, 2, None, [0]),
        ("--map in=3", 1, 1, [2], [0, 0]),
        ("--map in=3 --channels 2", 2, 2, [2, 2], [0, 1]),
        ("--map in=2,1", 2, 2, [1, 0], [0, 1]),
        ("--map out=3,4", 2, 2, None, [-1, -1, 0, 1]),
        ("--map out=2,1", 2, 2, None, [1, 0]),
        ("--map out=4,2", 1, 2, None, [-1, 0, -1, 0]),
    ],
)
def test_maps_say_what_each_side_of_the_device_plays(monkeypatch, options, heard, channels, inputs, outputs):
    seen = []
    monkeypatch.setattr(live, "run_live", lambda options: seen.append(options) or 0)
    assert main(["live", *options.split()]) == 0
    assert devices.inputs_of(seen[0], None) == (channels, inputs)
    assert devices.outputs_of(seen[0], heard) == outputs


@pytest.fixture
def nothing_connected(monkeypatch):
    """Neither JACK nor a card, whatever this machine has."""
    from rtaudio import soundcard
    from rtaudio.errors import UserError

    def devices(api=None):
        if api == "jack":
            raise UserError("no JACK server is running: start one")
        if api == "alsa":
            return []
        raise UserError("no sound card and no JACK server")

    monkeypatch.setattr(soundcard, "devices", devices)


@pytest.mark.usefixtures("nothing_connected")
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("measure latency", "no sound card and no JACK server: there is no latency to measure"),
        ("measure latency --api jack", "no JACK server is running"),
        ("measure latency --api alsa", ""),
        ("live --api alsa --seconds 1", ""),
        ("live --api jack --seconds 1", "no JACK server is running"),
        ("live --map in=1 --seconds 1", "--map needs a sound card or a JACK server: give --api"),
        ("devices --api jack", "no JACK server is running"),
        ("devices", "no sound card and no JACK server"),
    ],
)
def test_without_a_card_and_without_jack_it_is_one_line(capsys, line, said):
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("rtaudio: ")
    assert said in err


@pytest.mark.usefixtures("nothing_connected")
def test_without_a_card_live_runs_on_the_null_device(capsys):
    assert main(["live", "--seconds", "0.01"]) == 0
    assert "READY null device, 48000 Hz, 2 channels, block 128, latency 0 samples" in capsys.readouterr().err


def test_a_howl_guard_stands_before_what_is_heard(tmp_path):
    rack = """
        version = 1
        edges = ["in -> a", "in -> b", "a -> out", "b -> out", "a -> out.aside"]
        [nodes.a]
        engine = "gain"
        [nodes.b]
        engine = "gain"
    """
    (tmp_path / "rack.toml").write_text(textwrap.dedent(rack))
    guarded = live._guarded(cli.read_chain(str(tmp_path / "rack.toml")))
    assert set(guarded.nodes) == {"a", "b", "howl-guard"}
    assert guarded.nodes["howl-guard"].engine.id == "howl"
    assert {f"{edge.source} -> {edge.target}" for edge in guarded.edges} == {
        *("in.main -> a.in", "in.main -> b.in", "a.out -> out.aside"),
        *("a.out -> howl-guard.in", "b.out -> howl-guard.in", "howl-guard.out -> out.main"),
    }
    plain = live._guarded(cli.read_chain(""))
    assert {f"{edge.source} -> {edge.target}" for edge in plain.edges} == {
        "in.main -> howl-guard.in",
        "howl-guard.out -> out.main",
    }


def test_live_with_a_howl_guard(place, capsys):
    arguments = ["--file", str(place / "good.wav"), "--freewheel", "--howl-guard", "--json", "-"]
    assert main(["live", *arguments]) == 0
    assert "howl-guard" in json.loads(capsys.readouterr().out)["nodes"]


def test_the_line_has_no_line_breaks_and_steers_no_terminal(place, capsys):
    assert main(["render", str(place / "a\nb\x1b[31m.wav"), "-o", str(place / "o.wav")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert one_line("a\n b\tc\x1b[1m\udcff") == "a b c?[1m?"


def test_an_unknown_failure_is_not_hidden(place, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "open_chain", fail)
    with pytest.raises(ZeroDivisionError):
        main(["live", "--seconds", "1"])


def test_a_picky_engine_asks_for_its_rate(place, monkeypatch, capsys):
    monkeypatch.setattr(load_engine("gain"), "rates", (16_000, 44_100, 96_000))
    arguments = ["live", "--file", str(place / "good.wav"), "--chain", "gain", "--freewheel"]
    assert main(arguments) == 2
    line = "rtaudio: an engine of this chain does not take 48000 Hz: give --rate 96000\n"
    assert capsys.readouterr().err == line
    assert main([*arguments, "--rate", "96000"]) == 0
    monkeypatch.setattr(load_engine("limiter"), "rates", (22_050,))
    for command in (
        ["live", "--seconds", "1"],
        ["render", str(place / "good.wav"), str(place / "other.wav"), "-o", str(place / "o")],
        ["render", str(place / "good.wav"), "-o", str(place / "o.wav")],
    ):
        assert main([*command, "--chain", "gain | limiter"]) == 2
        assert (
            "no rate in common: gain takes 16000, 44100, 96000; limiter takes 22050"
            in capsys.readouterr().err
        )
    assert not (place / "o.wav").exists()
    assert not (place / "o").exists()


def test_a_broken_command_of_a_package_is_told_and_left_out(place, monkeypatch, capsys):
    broken = EntryPoint("zz-broken", "zz_no_such_module:command", "rtaudio.commands")

    def with_broken(group, **match):
        return EntryPoints([*entry_points(group=group), broken]).select(group=group, **match)

    monkeypatch.setattr(registry, "entry_points", with_broken)
    assert main(["render", str(place / "good.wav"), "-o", str(place / "o.wav")]) == 0
    err = capsys.readouterr().err
    assert err.startswith(
        "warning: command 'zz-broken' of package 'unknown' cannot be used: ModuleNotFoundError"
    )


def test_ctrl_c_while_it_prepares(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "open_chain", interrupt)
    assert main(["live", "--seconds", "1"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_leaves_early_is_no_error():
    for arguments in ("engines", "engines hpss"):
        command = f"{sys.executable} -m rtaudio {arguments}; echo $? >&2"
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; ( {command} ) | true"],
            env={**ENVIRONMENT, "PYTHONUNBUFFERED": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in done.stderr.splitlines() if not line.startswith("compiling")]
        assert lines == ["141"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_a_signal_that_comes_in_a_finaliser_is_not_lost(number, status):
    """Python drops what a finaliser raises; and one cut short elsewhere fails later, with nothing to say."""
    code = """
        import os, signal, sys, time
        from rtaudio.cli import ENDING, leave, on_signals

        class Slow:
            def __del__(self):
                os.kill(os.getpid(), int(sys.argv[1]))
                time.sleep(0.001)
                raise AttributeError("never reached")

        class Broken:
            def __del__(self):
                self.missing

        with on_signals(leave, signal.SIGINT, *ENDING):
            try:
                Slow()
                time.sleep(60)
            finally:
                Broken()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(int(number))],
        env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stderr=subprocess.PIPE,
        timeout=30,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert "ignored" not in done.stderr


# Reports


def test_the_live_report_has_what_it_promises(place, capsys):
    arguments = ["--file", str(place / "good.wav"), "--chain", "limiter | gain", "--freewheel", "--json", "-"]
    assert main(["live", *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rate"], told["block"], told["channels"]) == (48_000, 128, 2)
    assert told["latency"]["total"] == told["latency"]["limiter"] > 0
    assert told["callbacks"] == -(-(1000 + told["latency"]["total"]) // 128)
    assert {"misses", "load", "non_finite_replaced", "over_full_scale", "realtime_priority"} <= set(told)
    for times in told["nodes"].values():
        assert {"p50", "p99", "max", "failures"} <= set(times)
    assert set(told["nodes"]) == {"limiter", "gain"}


def test_the_render_report_is_one_or_a_list(place, capsys):
    out = place / "o"
    assert main(["render", str(place / "good.wav"), "-o", str(out), "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["outputs"] == {"main": str(out / "good.wav")}
    assert (told["rate"], told["samples"], told["channels"], told["latency"]) == (
        48_000,
        1000,
        2,
        {"total": 0},
    )
    inputs = [str(place / f"{name}.wav") for name in ("other", "text", "good")]
    assert main(["render", *inputs, "-o", str(out), "--json", "-", "--jobs", "2"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [report["source"] for report in told] == inputs
    assert ["error" in report for report in told] == [False, True, False]


def test_a_report_that_cannot_be_finished(place, monkeypatch, capsys):
    assert main(["live", "--seconds", "0.01", "--freewheel", "--json", "/dev/full"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "rtaudio: cannot write /dev/full: No space left on device; choose another file"


def test_a_report_through_a_named_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    arguments = ["live", "--seconds", "0.01", "--freewheel", "--json", pipe]
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        writer = subprocess.Popen([sys.executable, "-m", "rtaudio", *arguments], env=ENVIRONMENT)
        try:
            assert json.loads(reader.communicate(timeout=60)[0])["callbacks"] == 4
            assert writer.wait(timeout=60) == 0
        finally:
            reader.kill()
            writer.kill()
            writer.wait()


# Engines and doctor


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_engines_fits_the_width(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["engines"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if line[0] != " "] == engine_names()
    for name in engine_names():
        engine = load_engine(name)
        assert engine.summary.split()[0] in out
        assert main(["engines", name]) == 0
        text = capsys.readouterr().out
        assert all(len(line) <= columns for line in text.splitlines())
        joined = " ".join(text.split())
        for port in (*engine.inputs, *engine.outputs):
            assert port.name in joined
        assert "latency" in joined
        for parameter in parameters_of(engine):
            default = parameter.default if isinstance(parameter.default, str) else f"{parameter.default:g}"
            assert f"{parameter.id} = {default or repr('')} " in joined
            assert f"{parameter.range}" in joined
            assert parameter.unit in joined
            assert " ".join(parameter.doc.split()) in joined


def test_engines_are_listed_for_programs(capsys):
    assert main(["engines", "--json", "-"]) == 0
    found = {engine["name"]: engine for engine in json.loads(capsys.readouterr().out)}
    assert list(found) == engine_names()
    for name, told in found.items():
        engine = load_engine(name)
        assert told["inputs"] == [port.name for port in engine.inputs]
        assert told["outputs"] == [port.name for port in engine.outputs]
        assert told["presets"] == list(engine.presets)
        assert told["summary"]
    assert main(["engines", "gain", "--json", "-"]) == 2


def test_engines_tells_the_latency_that_live_has(place, capsys):
    assert main(["engines", "limiter"]) == 0
    told = capsys.readouterr().out
    assert main(["live", "--chain", "limiter", "--seconds", "0.01", "--freewheel", "--json", "-"]) == 0
    latency = json.loads(capsys.readouterr().out)["latency"]["total"]
    assert f"latency  {latency} samples ({latency / 48:.1f} ms)" in told


def test_doctor_says_what_works_and_the_remedy(monkeypatch, capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {line[4:].split("  ")[0]: line for line in lines}
    assert found["numpy"] == f"ok  {'numpy':{len('real-time priority')}}  {np.__version__}"
    for name in (
        "engines",
        "compiled kernels",
        "live pacing",
        "real-time priority",
        "memory lock",
        "GPU",
        "display",
    ):
        assert name in found
    assert all(line[:2] in (doctor.GOOD, doctor.POOR, doctor.BAD) for line in lines)
    poor = [line for line in lines if line[:2] != doctor.GOOD]
    assert all(" -> " in line or ": start one" in line for line in poor)


def test_doctor_sees_what_is_broken(monkeypatch, capsys):
    broken = EntryPoint("zz-broken", "zz_no_such_module:Engine", "rtaudio.engines")

    def with_broken(group, **match):
        return EntryPoints([*entry_points(group=group), broken]).select(group=group, **match)

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(registry, "entry_points", with_broken)
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(doctor.ctypes.util, "find_library", lambda name: None)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "!!  engines" in out
    assert "No module named 'zz_no_such_module'" in out
    assert "--  real-time priority  refused" in out
    assert "apt-get install libportaudio2" in out
    assert main(["engines"]) == 0
    assert "not usable: engine 'zz-broken'" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("kind", "taken", "refused"),
    [
        (cli.whole, {"1": 1, "2147483647": 2**31 - 1}, ["0", "-1", "1.0", "", "²", "2147483648"]),
        (cli.from_zero, {"0": 0, "9007199254740991": 2**53 - 1}, ["-1", "1.0", "", "²", "9007199254740992"]),
        (cli.decibels, {"-100": -100.0, "1e1": 10.0, "0": 0.0}, ["-101", "100.1", "nan", "inf", "", "3dB"]),
        (cli.seconds, {"0.5": 0.5}, ["0", "-1", "nan", "inf", "", "1s"]),
    ],
)
def test_types_of_arguments(kind, taken, refused):
    assert {text: kind(text) for text in taken} == taken
    for text in refused:
        with pytest.raises(argparse.ArgumentTypeError, match=r"^.* is not a .*$"):
            kind(text)
