"""The registry against packages laid out in a folder on the path."""

import subprocess
import sys
import textwrap

import pytest

from rtaudio import registry
from rtaudio.errors import UserError


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package of one module: its source, and its entry points per group."""
    monkeypatch.syspath_prepend(tmp_path)
    installed = []

    def add(name, source, **groups):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8"
        )
        lines = []
        for group, entries in groups.items():
            lines += [
                f"[rtaudio.{group}]",
                *(f"{entry} = {name}:{value}" for entry, value in entries.items()),
            ]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
        installed.append(name)

    yield add
    for name in installed:
        sys.modules.pop(name, None)


ENGINES = """
    from rtaudio.graph import Composite
    from rtaudio.processor import Parameter, Processor

    class Echo(Processor):
        id = "zz-echo"

    class Pair(Composite):
        id = "zz-pair"
        nodes = {"a": Echo}
        edges = ("in -> a", "a -> out")

    class Reserved(Processor):
        id = "zz-reserved"
        parameters = (Parameter("engine", 0.0),)

    def command(subparsers):
        return subparsers

    number = 3
"""


def test_engines_are_found_and_loaded(install):
    install("zzpack", ENGINES, engines={"zz-pair": "Pair", "zz-echo": "Echo"})
    names = registry.engine_names()
    assert names == sorted(names)
    assert {"zz-echo", "zz-pair"} <= set(names)
    assert registry.load_engine("zz-echo").id == "zz-echo"
    assert registry.load_engine("zz-pair") is sys.modules["zzpack"].Pair


def test_listing_imports_nothing(install):
    install("zzpack", "raise RuntimeError", engines={"zz-echo": "Echo"}, commands={"zz-say": "command"})
    assert "zz-echo" in registry.engine_names()
    assert "zz-say" in registry.command_names()
    assert "zzpack" not in sys.modules


def test_all_engines_and_commands(monkeypatch, install):
    install("zzpack", ENGINES, engines={"zz-echo": "Echo"}, commands={"zz-say": "command"})
    # Only this package, whatever else is installed.
    monkeypatch.setattr(registry, "engine_names", lambda: ["zz-echo"])
    monkeypatch.setattr(registry, "command_names", lambda: ["zz-say"])
    assert registry.load_engines() == {"zz-echo": sys.modules["zzpack"].Echo}
    assert registry.load_commands() == {"zz-say": sys.modules["zzpack"].command}


def test_unknown_engine_names_the_nearest_and_all(install):
    install("zzpack", ENGINES, engines={"zz-echo": "Echo"})
    with pytest.raises(UserError, match=r"no engine 'zz-ehco', did you mean 'zz-echo'\? \(.*zz-echo.*\)"):
        registry.load_engine("zz-ehco")


def test_nothing_installed(monkeypatch):
    monkeypatch.setattr(registry, "entry_points", lambda **_: _none())
    with pytest.raises(UserError, match=r"^no engine 'gain' \(none is installed\)$"):
        registry.load_engine("gain")


def _none():
    from importlib.metadata import EntryPoints

    return EntryPoints()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import zz_no_such_module", "ModuleNotFoundError: No module named 'zz_no_such_module'"),
        ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line"),
        ("raise RuntimeError", "RuntimeError"),
        ("x = (", "SyntaxError: .*"),
        ("Other = 1", "AttributeError: .*"),
    ],
)
def test_a_package_that_does_not_import(install, source, why):
    install("zzbroken", source, engines={"zz-broken": "Broken"})
    with pytest.raises(
        UserError, match=f"^engine 'zz-broken' of package 'zzbroken' cannot be used: {why}$"
    ) as error:
        registry.load_engine("zz-broken")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="zz-broken"):
        registry.load_engines()


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("zz-three", "number", "zzpack:number is neither a Processor nor a Composite"),
        ("zz-three", "command", "zzpack:command is neither a Processor nor a Composite"),
        ("zz-other", "Echo", "zzpack:Echo has another id, 'zz-echo'"),
        ("zz-reserved", "Reserved", "a parameter cannot be called 'engine'"),
    ],
)
def test_an_engine_that_breaks_the_contract(install, name, value, why):
    install("zzpack", ENGINES, engines={name: value})
    with pytest.raises(UserError, match=f"^engine {name!r} of package 'zzpack' cannot be used: {why}$"):
        registry.load_engine(name)


def test_one_name_from_two_packages(install):
    install("zzone", ENGINES, engines={"zz-echo": "Echo"})
    install("zztwo", ENGINES, engines={"zz-echo": "Echo"})
    with pytest.raises(
        UserError, match="'zz-echo' comes from the packages zzone and zztwo: uninstall all but one"
    ):
        registry.load_engine("zz-echo")


def test_commands(install):
    install("zzpack", ENGINES, commands={"zz-say": "command", "zz-three": "number"})
    assert registry.load_command("zz-say")(1) == 1
    with pytest.raises(
        UserError, match="'zz-three' of package 'zzpack' cannot be used: zzpack:number is not callable"
    ):
        registry.load_command("zz-three")
    with pytest.raises(UserError, match="no command 'zz-sya', did you mean 'zz-say'"):
        registry.load_command("zz-sya")


def test_importing_does_not_import_numba():
    code = (
        "import sys, rtaudio.chain, rtaudio.registry as r; r.engine_names(); sys.exit('numba' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
