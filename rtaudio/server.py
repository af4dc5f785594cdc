"""The control socket: programs of this user steer a running host, and hear what others do.

A host listens at ``$XDG_RUNTIME_DIR/rtaudio/PID.sock``, or ``/tmp/rtaudio-UID/PID.sock`` where that variable
is not set; only its user can connect. A program writes lines of UTF-8 text, the words of `rtaudio.control`,
of at most 4096 bytes. Every line is answered, in its order, by a line of JSON:

| answer | |
| --- | --- |
| ``{"ok": true, "answer": "gain.gain is -6"}`` | done; the words are empty if there is nothing to say |
| ``{"ok": false, "error": "no node 'gian', did you mean 'gain'?"}`` | refused: nothing has changed |

``get NODE.PARAMETER`` adds ``value`` and ``unit``; ``state`` adds ``state``, see `rtaudio.state.state`; what
begins an edit, which is heard later or refused, adds its number as ``edit``. After ``watch``, until
``watch off``, this program hears of all that happens, whoever did it, itself included: in lines of JSON that
have an ``event``, and in ``text`` the same in words. To miss nothing, ``watch`` before ``state``.

| event | has |
| --- | --- |
| ``set`` | ``parameter`` (``"node.parameter"``), ``value`` |
| ``switch`` | ``node``, ``switch`` (``bypass``, ``mute`` or ``solo``), ``on`` |
| ``told`` | ``node``, ``told``: how what its own lines have begun goes on, as in the state |
| ``edit`` | another graph is heard: ask for the ``state`` |
| ``loading`` | ``edits``: those on their way, in words |
| ``done`` | ``edit``: the number of one that is over; ``heard``: false if it was refused or given up |
| ``deck`` | ``deck``, as in the state |
| ``compare`` | ``compare``, as in the state |
| ``record`` | ``recordings``, as in the state |
| ``note``, ``problem`` | nothing but ``text`` |

Of several changes of one value that come at once the last is told, after the answers. A program that shuts
its sending side is answered and let go; a line that it has begun is dropped. One that does not read is let go
when a megabyte waits for it.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import time
from collections import deque
from contextlib import suppress

from rtaudio.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_LINE = 4096
"""Bytes of a line."""
CLIENTS = 32
"""Programs that may be connected at once."""
AT_ONCE, BUDGET = 64, 0.005
"""Lines, and seconds of work on them, after which a turn ends; everybody who has sent some has had one."""
PAUSE = 0.002
"""Seconds that who sends more than that waits for the next turn."""
UNREAD = 1 << 20
"""Bytes that may wait for a client that does not read them, and an answer."""
DEAF = 0.5
"""Seconds without new clients after one that the system had no room for."""

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


# ------------------------------------------------------------------------------------ where hosts listen


def open_folder(make: bool = False) -> int:
    """A descriptor of the folder of this user's sockets, which is made if need be and no one else can enter.

    Raises
    ------
    UserError
        It is somebody else's, a link, or cannot be made.
    FileNotFoundError
        There is none, and ``make`` is not set.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    path = f"{runtime}/rtaudio" if os.path.isabs(runtime) else f"/tmp/rtaudio-{os.getuid()}"  # noqa: S108
    remedy = "set XDG_RUNTIME_DIR to a folder of yours"
    try:
        if make:
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except NotADirectoryError:
        raise UserError(f"{path} is a link or no folder: remove it, or {remedy}") from None
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not make:
            raise
        raise UserError(f"cannot use {path}: {error.strerror}; {remedy}") from None
    try:
        if os.fstat(folder).st_uid != os.getuid():
            raise UserError(f"{path} is another user's: {remedy}")
        if make:
            os.fchmod(folder, 0o700)
    except BaseException:
        os.close(folder)
        raise
    return folder


def _address(folder: int, pid: int) -> str:
    """Where a socket is, however long the folder's path: addresses have at most 107 bytes."""
    return f"/proc/self/fd/{folder}/{pid}.sock"


def _sockets(folder: int) -> list[int]:
    """Numbers of the processes that have, or had, a socket there."""
    names = [name.removesuffix(".sock") for name in os.listdir(folder) if name.endswith(".sock")]
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def hosts() -> list[int]:
    """Process numbers of this user's hosts that take lines now; `UserError` as `open_folder`."""
    found = _connections(None)
    for connection in found.values():
        connection.close()
    return sorted(found)


def connect(pid: int | None = None) -> socket.socket:
    """A connection to a host of this user: the one in process ``pid``, or the only one.

    Raises
    ------
    UserError
        There is none, or more than one.
    """
    found = _connections(pid)
    if len(found) == 1:
        return found.popitem()[1]
    for connection in found.values():
        connection.close()
    if pid is not None:
        raise UserError(f"process {pid} runs no live host of yours")
    listed = f"{', '.join(map(str, found))}: say which" if found else "none"
    raise UserError(f"hosts that run live: {listed}")


def _connections(pid: int | None) -> dict[int, socket.socket]:
    """A connection to the host in this process, or to every one, as far as they live."""
    found: dict[int, socket.socket] = {}
    with suppress(FileNotFoundError):
        folder = open_folder()
        try:
            for number in _sockets(folder) if pid is None else [pid]:
                connection = socket.socket(socket.AF_UNIX)
                try:
                    connection.connect(_address(folder, number))
                    found[number] = connection
                except OSError:  # It has ended.
                    connection.close()
        finally:
            os.close(folder)
    return found


# ------------------------------------------------------------------------------------ who sends lines


class Lines:
    """Cuts bytes into lines, however they come; a line keeps one byte more than it may have."""

    def __init__(self) -> None:
        self.begun = b""
        """What has come of the next line."""

    def feed(self, got: bytes) -> list[bytes]:
        """The lines that are complete with these bytes, without their ends."""
        *whole, begun = (self.begun + got).split(b"\n")
        self.begun = begun[: LONGEST_LINE + 1]
        return [line[: LONGEST_LINE + 1] for line in whole]


def text_of(line: bytes) -> str:
    """A line of `Lines` as text; `UserError` if it is too long."""
    if len(line) > LONGEST_LINE:
        raise UserError(f"a line of more than {LONGEST_LINE} bytes: nothing is done")
    return line.decode(errors="replace")


class Client:
    """Somebody who sends lines: a program on the socket, or standard input.

    Parameters
    ----------
    file
        Descriptor to read from.
    connection
        None: standard input.
    pid
        Number of the process that has connected.
    """

    def __init__(self, file: int, connection: socket.socket | None = None, pid: int = 0) -> None:
        self.file, self.connection, self.pid = file, connection, pid
        self.lines: deque[bytes] = deque()
        """Complete lines, not taken yet."""
        self.unread = bytearray()
        """What the program has not taken yet."""
        self.watches = False
        """Whether it hears of what happens."""
        self.ended = False
        """Whether no more lines come."""
        self.gone = False
        """Whether nobody takes the answers any more."""
        self.rests_until = 0.0
        """When it is read again."""
        self._cut = Lines()

    def read(self) -> None:
        """Read what has come, once."""
        try:
            got = os.read(self.file, LONGEST_LINE)
        except BlockingIOError:
            return
        except OSError:  # It, or the terminal, is gone.
            got = b""
        self.lines += self._cut.feed(got)
        if len(got) == LONGEST_LINE:
            self.rests_until = time.monotonic() + PAUSE
        if not got:
            self.ended = True
            if self.connection is None and self._cut.begun:
                self.lines.append(self._cut.begun)

    def write(self) -> None:
        """Write what it takes at once of `unread`; `OSError` if it is gone."""
        with suppress(BlockingIOError):
            del self.unread[: os.write(self.file, self.unread)]


class Server:
    """The lines of standard input and of all programs on the socket, for the one thread that controls a host.

    It has no thread of its own: everything happens in `take` and `send`, which never wait for a client.

    Parameters
    ----------
    file
        Standard input; None: it is left alone. As long as this process is in the background, a terminal is
        left alone too: to read it would stop the process.

    Attributes
    ----------
    standard_input : Client or None
        Its lines are answered by who takes them.
    notes : list of str
        What is worth knowing, in words.
    """

    def __init__(self, file: int | None = None) -> None:
        self.standard_input = None if file is None else Client(file)
        self.terminal = file is not None and os.isatty(file)
        self.notes: list[str] = []
        self._clients: list[Client] = []
        self._listener: socket.socket | None = None
        self._folder = -1
        self._deaf_until = 0.0
        self._told: set[int] = set()
        self._selector = selectors.PollSelector()
        """Unlike epoll it takes a file as standard input."""

    def listen(self) -> None:
        """Open the socket, after removing those of dead processes; `UserError` if that is not possible."""
        self._folder = folder = open_folder(make=True)
        for pid in _sockets(folder):
            if pid == os.getpid() or not os.path.exists(f"/proc/{pid}"):
                with suppress(OSError):
                    os.unlink(f"{pid}.sock", dir_fd=folder)
        self._listener = listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        os.fchmod(listener.fileno(), 0o600)  # Linux: bind makes the name with this mode.
        try:
            listener.bind(_address(folder, os.getpid()))
            listener.listen(CLIENTS)
        except OSError as error:
            raise UserError(f"cannot make the control socket: {error.strerror}") from None

    @property
    def watched(self) -> bool:
        """Whether anybody hears of what happens."""
        return any(client.watches for client in self._clients)

    def take(self, seconds: float) -> Iterator[tuple[Client, bytes]]:
        """The lines that are there, in their order, after waiting for one at most this long.

        Of everybody who has sent some, one, and so again until the turn is over (`AT_ONCE`, `BUDGET`): who
        sends without pause keeps nobody waiting.
        """
        more = self._await_what_matters()
        for key, events in self._selector.select(min(seconds, PAUSE) if more else seconds):
            if isinstance(key.fileobj, socket.socket):
                self._accept(key.fileobj)
            elif not self._is_left_alone(key.data):
                self._attend(key.data, events)
        taken, over = 0, time.monotonic() + BUDGET
        while ready := [client for client in self._everybody() if client.lines]:
            for client in ready:
                if client.lines:  # What another's line told it may have been too much: it was let go.
                    yield client, client.lines.popleft()
            taken += len(ready)
            if taken >= AT_ONCE or time.monotonic() >= over:
                break

    def _everybody(self) -> list[Client]:
        return [*filter(None, [self.standard_input]), *self._clients]

    def _await_what_matters(self) -> bool:
        """Tell the selector what to wait for; returns whether somebody has more than was taken."""
        now = time.monotonic()
        for client in [client for client in self._clients if client.ended]:
            if not (client.lines or client.unread):
                self._drop(client)
        for client in self._everybody():
            rests = client.ended or client.lines or client.rests_until > now or self._is_left_alone(client)
            self._await(client.file, READ * (not rests) | WRITE * bool(client.unread), client)
        if self._listener is not None:
            self._await(self._listener, READ * (now >= self._deaf_until), None)
        return any(client.lines or client.rests_until > now for client in self._everybody())

    def _await(self, file: int | socket.socket, events: int, client: Client | None) -> None:
        key = self._selector.get_map().get(file)
        if key is None and events:
            self._selector.register(file, events, client)
        elif key is not None and not events:
            self._selector.unregister(file)
        elif key is not None and key.events != events:
            self._selector.modify(file, events, client)

    def _is_left_alone(self, client: Client) -> bool:
        """Whether it is a terminal that another process has in the foreground."""
        if client is not self.standard_input or not self.terminal:
            return False
        try:
            return os.tcgetpgrp(client.file) != os.getpgrp()
        except OSError:  # not the terminal of this session, whose jobs it does not stop
            return False

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:  # no descriptors left
            self._deaf_until = time.monotonic() + DEAF
            return
        connection.setblocking(False)
        size = struct.calcsize("3i")
        pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        client = Client(connection.fileno(), connection, pid)
        self._clients.append(client)
        if uid != os.getuid():
            self._refuse(client, "this host is another user's")
        elif len(self._clients) > CLIENTS:
            self._refuse(client, f"{CLIENTS} programs are connected already: end one of them")
        else:
            client.read()

    def _refuse(self, client: Client, why: str) -> None:
        self.send(client, {"ok": False, "error": why})
        self._drop(client)

    def _attend(self, client: Client, events: int) -> None:
        if events & READ:
            client.read()
        if events & WRITE:
            self._write(client)

    def _write(self, client: Client) -> None:
        try:
            client.write()
        except OSError:  # What it has said counts all the same.
            client.gone, client.watches = True, False
            client.unread.clear()

    def send(self, client: Client, message: dict[str, object]) -> None:
        """Send a message to a client on the socket, or keep it until there is room; not if it is gone."""
        import json  # Late: `rtaudio ctl` imports this module, and is to send its line at once.

        if client.gone:
            return
        if len(client.unread) > UNREAD:
            if client.pid not in self._told:
                self._told.add(client.pid)
                self.notes.append(f"process {client.pid} does not read what it is told: it was let go")
            self._drop(client)
            return
        client.unread += json.dumps(message).encode() + b"\n"
        self._write(client)

    def tell(self, event: dict[str, object]) -> None:
        """Send an event to everybody who watches."""
        for client in [client for client in self._clients if client.watches]:
            self.send(client, event)

    def _drop(self, client: Client) -> None:
        """Let a client go."""
        if client.connection is not None:
            client.gone = True
            client.lines.clear()
            self._await(client.file, 0, None)
            self._clients.remove(client)
            client.connection.close()

    def close(self) -> None:
        """Let everybody go, and remove the socket. Closing again does nothing."""
        for client in list(self._clients):
            self._drop(client)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._folder >= 0:
            with suppress(OSError):
                os.unlink(f"{os.getpid()}.sock", dir_fd=self._folder)
            os.close(self._folder)
            self._folder = -1
        self._selector.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
