"""A microphone that call programs list and whose sound is what the host plays.

On PipeWire it is a node of class ``Audio/Source/Virtual``, to which JACK's ports are connected; on PulseAudio
a source that reads a pipe (`rtaudio.pulse`). Neither is a monitor, which browsers do not list. Both are made
by modules of the sound server, through ``pactl``, which stay when the process that wanted them is killed: so
they carry its number, the time of its start and where that counts, and those of the dead are removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rtaudio.errors import UserError
from rtaudio.jack import JackDevice
from rtaudio.jack import devices as jack_devices
from rtaudio.pulse import PIPE_BYTES, open_pipe
from rtaudio.soundcard import DeviceInfo, Stream, find_device

LONGEST_NAME = 60
"""Letters."""
QUANTUM = 256
"""Samples per call that PipeWire and PulseAudio are asked for where the user does not say."""
ANSWER_SECONDS = 5.0
"""How long the sound server may take to answer."""
APPEAR_SECONDS = 5.0
"""How long a new node may take until JACK shows its ports."""
MONITOR_MS = 20
"""Latency that the way to the loudspeakers is asked for."""
INSTALL = (
    "a virtual microphone needs PipeWire or PulseAudio, and none answers: apt-get install pipewire-pulse "
    "wireplumber pipewire-jack pulseaudio-utils, and run in a session where it runs"
)

NO_MICROPHONE = "the sound server has no microphone: connect one, or name a source with --input"

_OWNER = "rtaudio.owner"
_OWNED = re.compile(rf"{re.escape(_OWNER)}=(\d+)-(\d+)-([0-9a-f]+)")


@dataclass(frozen=True)
class Server:
    """A sound server that ``pactl`` reaches."""

    name: str
    """With version."""
    pipewire: bool
    source: str
    """Name of the default one; empty: none."""
    sink: str


@dataclass(frozen=True)
class Source:
    """What can be recorded."""

    index: int
    name: str
    label: str
    """What programs show."""
    channels: int
    map: str
    """Where the channels belong, as the server writes it."""
    rate: int
    """Hz."""
    monitor: bool
    """Whether it is what an output plays."""
    owner: int
    """Process of the host that made it; 0: no host did."""


@dataclass(frozen=True)
class _Module:
    index: str
    owner: tuple[str, str]
    """Number and start of the process."""
    world: str
    """Where it runs; see `_world`."""


# ---------------------------------------------------------------------------------------------- pactl


def _pactl(*arguments: str) -> str:
    """What ``pactl`` prints. It is out of reach of the terminal's Ctrl-C."""
    try:
        done = subprocess.run(
            ["pactl", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_SECONDS,
            check=False,
            env=os.environ | {"LC_ALL": "C"},
            start_new_session=True,
        )
    except FileNotFoundError:
        raise UserError("no pactl: apt-get install pulseaudio-utils") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"the sound server does not answer within {ANSWER_SECONDS:g} s: restart it") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise UserError(f"'pactl {' '.join(arguments)}' failed: {said}")
    return done.stdout


def sound_server() -> Server | None:
    """The user's PipeWire or PulseAudio; None where none runs.

    Raises
    ------
    UserError
        It may be there, but ``pactl`` is not installed; or it is, but hangs or refuses.
    """
    if shutil.which("pactl") is None:
        if shutil.which("pipewire-pulse") or shutil.which("pulseaudio"):
            raise UserError("no pactl, which makes virtual microphones: apt-get install pulseaudio-utils")
        return None
    try:
        said = _fields(_pactl("info"))
    except UserError as error:
        if "Connection refused" in str(error):
            return None
        raise
    pipewire = re.search(r"on (PipeWire [\d.]+)", said.get("Server Name", ""))
    return Server(
        name=pipewire[1] if pipewire else f"PulseAudio {said.get('Server Version', '')}",
        pipewire=pipewire is not None,
        source=said.get("Default Source", ""),
        sink=said.get("Default Sink", ""),
    )


def _fields(text: str) -> dict[str, str]:
    """Lines such as ``Name: value`` or ``name = "value"``."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.strip().partition(": ")
        if not colon:
            key, _, value = line.strip().partition(" = ")
            value = value.strip('"')
        found.setdefault(key, value.strip())
    return found


def sources() -> list[Source]:
    """All that can be recorded, monitors too."""
    found = []
    for part in re.split("^Source #", _pactl("list", "sources"), flags=re.MULTILINE)[1:]:
        said = _fields(part)
        form = re.match(r"\S+ (\d+)ch (\d+)Hz", said.get("Sample Specification", ""))
        if form is None or "Name" not in said:
            continue
        owner = said.get(_OWNER, "").partition("-")[0]
        found.append(
            Source(
                index=int(part.split()[0]),
                name=said["Name"],
                label=said.get("Description", said["Name"]),
                channels=int(form[1]),
                map=said.get("Channel Map", ""),
                rate=int(form[2]),
                monitor=said.get("Monitor of Sink", "n/a") != "n/a",
                owner=int(owner) if owner.isdecimal() else 0,
            )
        )
    return found


def devices() -> list[DeviceInfo]:
    """The microphones of the sound server, virtual ones too.

    Raises
    ------
    UserError
        There is no sound server.
    """
    server = sound_server()
    if server is None:
        raise UserError("no PipeWire or PulseAudio answers: see 'pactl info'")
    return [describe(source, server) for source in sources() if not source.monitor]


def describe(source: Source, server: Server) -> DeviceInfo:
    """A source as `rtaudio devices` lists it."""
    return DeviceInfo(
        api="pulse",
        index=source.index,
        name=source.label,
        inputs=source.channels,
        outputs=0,
        rate=source.rate,
        rates=(source.rate,),
        default_input=source.name == server.source,
        default_output=False,
    )


def find_source(wanted: str | None, server: Server) -> Source:
    """The source that is meant, by its name for the server too; None: the default microphone.

    Raises
    ------
    UserError
        There is none, or the default one is a monitor or another host's.
    """
    found = sources()
    name = server.source if wanted is None else wanted
    exact = next((source for source in found if source.name == name), None)
    if wanted is None:
        if exact is None or exact.monitor or exact.owner:
            raise UserError(NO_MICROPHONE)
        return exact
    heard = [source for source in found if not source.monitor]
    if exact is None and not heard:
        raise UserError(NO_MICROPHONE)
    if exact is None:
        index = find_device([describe(source, server) for source in heard], wanted, "input").index
        exact = next(source for source in heard if source.index == index)
    return exact


def any_source(server: Server) -> Source:
    """A source to take the time from where nothing is heard: the default output's monitor, or any other.

    A microphone only where there is no monitor: to record from a headset changes how it plays.
    """
    found = [source for source in sources() if not source.owner]
    if not found:
        raise UserError("the sound server has neither microphone nor output: connect one")
    return max(found, key=lambda source: (source.name == f"{server.sink}.monitor", source.monitor))


# ---------------------------------------------------------------------------------------------- modules


def _started(pid: int | str) -> str:
    """When a process started, in ticks since the machine did; empty: there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


@cache
def _world() -> str:
    """Where the number of a process means that process: this machine, since it started, and PID namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    namespace = os.stat("/proc/self/ns/pid").st_ino
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:8]


def _modules() -> list[_Module]:
    """The modules of all hosts."""
    found = []
    for line in _pactl("list", "short", "modules").splitlines():
        owned = _OWNED.search(line)
        if owned is not None and line.split("\t")[0].isdecimal():
            found.append(_Module(line.split("\t")[0], (owned[1], owned[2]), owned[3]))
    return found


def sweep() -> bool:
    """Remove what killed hosts have left; what other hosts use stays, as what those elsewhere have left.

    Returns
    -------
    bool
        Whether there was something: the default microphone may be another now.
    """
    left = [
        module
        for module in reversed(_modules())
        if module.world == _world() and _started(module.owner[0]) != module.owner[1]
    ]
    for module in left:
        with suppress(UserError):  # another host sweeps too
            _pactl("unload-module", module.index)
    return bool(left)


def _quoted(text: str) -> str:
    """A value for a module's argument; ``'`` is as any other letter."""
    if '"' in text or "\\" in text:
        raise UserError(f"the sound server cannot be told {text!r}, for its quote or backslash: rename it")
    return f'"{text}"'


def check_name(name: str) -> str:
    """The name of a microphone, without spaces around it, or `UserError`."""
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not all(c.isalnum() or c in " -_." for c in name):
        raise UserError(
            f"{name!r} is no name for a microphone: 1 to {LONGEST_NAME} letters, digits, spaces or any of -_."
        )
    return name


class Microphone:
    """A virtual microphone, from `make` until `close`.

    Parameters
    ----------
    label
        What call programs show; see `check_name`. Its name for the server is made of it, and stays the same,
        since programs remember by name which microphone was chosen.
    channels
        1 or 2.
    rate
        Hz.
    server
        Where to make it.
    period
        Samples that are written to `pipe` at once, which it reads; 0: it is a JACK client of its name.
    monitor
        Play it to the default output too.

    Raises
    ------
    UserError
        There is no output for the monitor.
    """

    def __init__(
        self, label: str, channels: int, rate: int, server: Server, period: int, monitor: bool
    ) -> None:
        self.label, self.channels, self.rate, self.period = label, channels, rate, period
        letters = re.sub("[^a-z0-9]+", "_", label.casefold()).strip("_")
        self.name = f"rtaudio.{letters or label.encode().hex()}"
        """For the server."""
        self.pipe = -1
        """File descriptor to write interleaved float32 samples to."""
        self._sink = server.sink if monitor else ""
        self._modules: list[str] = []
        if monitor and not self._sink:
            raise UserError("--monitor: the sound server has no output; connect one, or leave it out")

    def make(self) -> None:
        """Let it appear, after a `sweep`. `close` it whatever comes of this.

        Raises
        ------
        UserError
            The name is taken, or the server refuses.
        """
        for source in sources():
            if self.name == source.name or self.label == source.label:
                whose = f", of process {source.owner}" if source.owner else ""
                raise UserError(
                    f"there is a microphone {source.label!r} already{whose}: give another name, "
                    "--virtual-mic NAME"
                )
        self._make()

    def _make(self) -> None:
        pid = os.getpid()
        mark = f"{_OWNER}={pid}-{_started(pid)}-{_world()}"
        properties = f"\"device.description='{self.label}' device.icon_name=audio-input-microphone {mark}\""
        places = "mono" if self.channels == 1 else "front-left,front-right"
        form = f"rate={self.rate}", f"channels={self.channels}", f"channel_map={places}"
        if self.period:
            runtime = os.environ.get("XDG_RUNTIME_DIR", "")
            folder = Path(
                tempfile.mkdtemp(prefix="rtaudio-", dir=runtime if os.path.isdir(runtime) else None)
            )
            path = folder / "microphone"
            try:
                self._load(
                    "module-pipe-source",
                    f"source_name={self.name}",
                    f"file={_quoted(str(path))}",
                    "format=float32le",
                    *form,
                    f"source_properties={properties}",
                )
                try:
                    self.pipe = open_pipe(str(path), 4 * self.channels * self.rate)
                except OSError as error:
                    raise UserError(
                        f"the sound server does not read {path} ({error.strerror}): is it on another machine?"
                    ) from None
            finally:
                path.unlink(missing_ok=True)  # Both have it open.
                folder.rmdir()
        else:
            self._load(
                "module-null-sink",
                "media.class=Audio/Source/Virtual",
                f"sink_name={self.name}",
                *form,
                f"sink_properties={properties}",
            )
        if self._sink:
            self._load(
                "module-loopback",
                f"source={self.name}",
                f"sink={_quoted(self._sink)}",
                f"latency_msec={MONITOR_MS}",
                "source_dont_move=true",
                f'sink_input_properties="{mark}"',
            )

    def _load(self, *arguments: str) -> None:
        self._modules.append(_pactl("load-module", *arguments).strip())

    def restore(self, source: str) -> bool:
        """Make it again where a server that was restarted has lost it.

        Returns
        -------
        bool
            Whether it is there, and a source of that name too (empty: any).
        """
        try:
            found = {each.name for each in sources()}
            if source and source not in found:
                return False
            if self.name not in found:
                self._forget()
                self._make()
        except UserError:
            self.close()
            return False
        return True

    def _forget(self) -> None:
        self._modules.clear()
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1

    def close(self) -> None:
        """Remove it. Once nothing plays to it."""
        for module in reversed(self._modules):
            with suppress(UserError):  # gone with the server
                _pactl("unload-module", module)
        self._forget()


# ---------------------------------------------------------------------------------------------- device


def ask_pipewire(block: int | None, rate: int | None) -> None:
    """Ask PipeWire's JACK for short calls, by default `QUANTUM` at 48 kHz, unless a variable does already."""
    os.environ.setdefault("PIPEWIRE_LATENCY", f"{block or QUANTUM}/{rate or 48_000}")


def period_of(block: int | None, channels: int) -> int:
    """Samples per call of the pipe, for a graph's blocks."""
    return min(block or QUANTUM, PIPE_BYTES // (4 * channels))


def await_node(microphone: Microphone) -> None:
    """Wait until JACK shows the ports of a new microphone."""
    deadline = time.monotonic() + APPEAR_SECONDS
    while not any(
        info.name == microphone.label and info.outputs == microphone.channels for info in jack_devices()
    ):
        if time.monotonic() > deadline:
            raise UserError(f"PipeWire shows no ports of {microphone.label!r}: does wireplumber run?")
        time.sleep(0.05)


def default_input(server: Server, found: Sequence[DeviceInfo]) -> str:
    """What JACK, with these clients, calls the default microphone.

    Raises
    ------
    UserError
        There is none.
    """
    known = sources()
    label = next((source.label for source in known if source.name == server.source), "")
    others = [source.label for source in known if source.owner]
    usable = [info for info in found if info.inputs and info.name not in others]
    for info in sorted(usable, key=lambda info: info.name != label):
        if info.name == label or info.default_input:
            return info.name
    raise UserError(NO_MICROPHONE)


class NodeDevice(JackDevice):
    """PipeWire's JACK, playing to a microphone, which is made again after the server was restarted.

    Parameters
    ----------
    microphone
        The output.
    input, rate, inputs
        As `JackDevice` has them.
    """

    def __init__(
        self,
        microphone: Microphone,
        input: str | None,  # noqa: A002
        rate: int | None,
        inputs: int,
    ) -> None:
        super().__init__(input, microphone.label, rate, inputs, microphone.channels)
        self._microphone = microphone

    def reopen(self, stream: Stream | None = None) -> bool:
        """`JackDevice.reopen`, and the microphone before it."""
        return (self._client is not None or self._microphone.restore("")) and super().reopen(stream)
