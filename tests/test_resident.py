"""The player that stays: what programs write to it, and what they hear."""

import json
import socket
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from engines.speech import resident, voices
from engines.speech.resident import WANTED, Resident, ask, connect
from engines.speech.source import Queue, source_of
from engines.speech.voice import Chunk
from rtaudio.errors import UserError

REQUEST = {"text": "ada", "voice": "even", "lang": "auto", "speaker": "", "factor": 1.0}
DEADLINE = 60.0


class Even:
    """A voice that is as long as its text."""

    language, rate, speakers, cpu, note = "en", 48_000, (), 0.0, ""
    opened = 0

    def __init__(self, name="even", language="en"):
        if name == "nobody":
            raise UserError("no voice 'nobody'")
        self.name = name
        Even.opened += 1

    def speak(self, sentence, speaker=0, length_scale=1.0):
        for _ in sentence.text:
            yield Chunk(np.full(1000, 0.5, np.float32))

    def close(self):
        Even.opened -= 1


@pytest.fixture
def player(tmp_path, monkeypatch):
    """A resident player whose turns and blocks are the test's."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(voices, "open_voice", Even)
    monkeypatch.setattr(Even, "opened", 0)
    queue = Queue()
    queue.open(48_000)
    node = source_of(queue)()
    node.prepare(48_000, 1024, channels=1)
    made = Resident(SimpleNamespace(queue=queue))

    def turn():
        made.turn()
        out = np.zeros((1, 1024), np.float32)
        node.process(np.zeros((0, 1024), np.float32), out)
        time.sleep(0.001)
        return out

    yield SimpleNamespace(turn=turn, resident=made, queue=queue)
    made.close()
    queue.close()
    node.release()


def written(content, half=False):
    """A connection that has written something."""
    made = connect()
    made.sendall(content if isinstance(content, bytes) else json.dumps(content).encode() + b"\n")
    if half:
        made.shutdown(socket.SHUT_WR)
    return made


def answer(player, connection):
    """The answer, with as many turns as it takes; b"" where there is none."""
    connection.setblocking(False)
    heard, limit = b"", time.monotonic() + DEADLINE
    while not heard.endswith(b"\n"):
        assert time.monotonic() < limit
        player.turn()
        try:
            got = connection.recv(1 << 16)
        except BlockingIOError:
            continue
        if not got:
            return b""
        heard += got
    return json.loads(heard)


@pytest.mark.parametrize("line_end", [b"\n", b""])
def test_who_writes_no_more_is_spoken_for(player, line_end):
    with written(json.dumps(REQUEST).encode() + line_end, half=True) as connection:
        assert answer(player, connection)["report"]["sentences"] == 1


def test_who_leaves_is_not_spoken_for(player):
    for half in (False, True):
        gone = written(REQUEST | {"text": "a" * 400}, half)
        while not player.queue.waiting:
            player.turn()
        gone.close()
        with written(REQUEST) as connection:
            report = answer(player, connection)["report"]
        assert report["seconds"] == pytest.approx(3 / 48, abs=0.4)
    assert player.queue.waiting == 0


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"text": None}, WANTED),
        ({"text": 3}, WANTED),
        ({"voice": None}, WANTED),
        ({"speaker": 0}, WANTED),
        ({"lang": None}, WANTED),
        ({"factor": "fast"}, WANTED),
        ({"factor": None}, WANTED),
        ({"lang": "fr"}, "lang 'fr' is not one of auto, en, bn"),
        ({"voice": "nobody"}, "no voice 'nobody'"),
        ({"speaker": "ann"}, "no speaker 'ann'"),
        ({"text": "..."}, "has no words"),
    ],
)
def test_what_is_no_request_is_refused(player, wrong, why):
    with written(REQUEST | wrong) as connection:
        assert why in answer(player, connection)["error"]
    with written(REQUEST) as connection:
        assert "report" in answer(player, connection)


def test_a_long_request_is_read_in_few_turns(player):
    """A turn takes what has been written since the last one, and not a piece of it."""
    text, turns = "a" * 20_000_000, 0
    request = REQUEST | {"text": text, "voice": "nobody"}
    heard = []
    thread = threading.Thread(target=lambda: heard.append(written(request)), daemon=True)
    thread.start()
    while not heard:
        player.resident.turn()
        turns += 1
        time.sleep(0.02)
    thread.join()
    assert turns < 200
    with heard[0] as connection:
        assert "no voice 'nobody'" in answer(player, connection)["error"]


def test_one_that_is_too_long_is_answered_when_all_is_written(player, monkeypatch):
    monkeypatch.setattr(resident, "LONGEST", 1 << 20)
    heard = []
    request = REQUEST | {"text": "a" * (4 << 20)}
    thread = threading.Thread(target=lambda: heard.append(written(request)), daemon=True)
    thread.start()
    while not heard:
        player.turn()
    with heard[0] as connection:
        assert "the text is too long" in answer(player, connection)["error"]


def test_letters_are_written_as_they_are():
    """Escaped, Bangla would be twice as long."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b'{"error": "heard"}\n')
        with pytest.raises(UserError, match="heard"):
            ask(ours, REQUEST | {"text": "ক" * 1000 + "\udc80"})
        assert len(theirs.recv(1 << 16)) < 3_200


def test_few_voices_stay_open(player):
    for number in range(3 * resident.VOICES):
        with written(REQUEST | {"voice": f"voice{number}"}) as connection:
            assert answer(player, connection)["report"]["voice"] == f"voice{number}"
        assert Even.opened <= resident.VOICES
    with written(REQUEST | {"voice": f"voice{number}"}) as connection:
        answer(player, connection)
    assert Even.opened == resident.VOICES


def test_voices_are_opened_in_the_thread_that_speaks(player, monkeypatch):
    """So that a slow one does not keep others from being heard, or the player from ending."""
    threads, may = [], threading.Event()

    def slow(*arguments):
        threads.append(threading.current_thread().name)
        assert may.wait(DEADLINE)
        return Even(*arguments)

    monkeypatch.setattr(voices, "open_voice", slow)
    with written(REQUEST) as connection:
        while not threads:
            player.turn()
        player.turn()
        may.set()
        assert answer(player, connection)["report"]["sentences"] == 1
    assert threads == ["rtaudio-say"]
