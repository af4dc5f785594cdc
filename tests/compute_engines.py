"""Networks that Python runs, for the tests of that: they are imported in worker processes, too."""

import os

from engines import sessions
from engines.network import NetworkInPython


class Interpreted(NetworkInPython):
    """A network that Python runs, whatever could."""

    id = "interpreted"

    @classmethod
    def runner(cls, compute):
        return Interpreted


class Failing(NetworkInPython):
    """A network on a GPU that is a session of the CPU and fails on command: see `Device`."""

    id = "failing"

    @classmethod
    def runner(cls, compute):
        return Failing

    def open(self, content, gpu):
        sessions.GPU_MEMORY = "cpu"
        session = sessions.open_session(self.model, content, None)
        return session if gpu is None else Device(session)


class Device:
    """A session that says it is on a GPU; its calls fail once the file ``$FAIL`` is there, or from the one on
    whose number that is.
    """

    def __init__(self, session):
        self._session, self._calls, self._fail = session, 0, os.environ["FAIL"]

    def __getattr__(self, name):
        return getattr(self._session, name)

    def get_providers(self):
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def run_with_iobinding(self, binding):
        self._session.run_with_iobinding(binding)
        fails = self._calls >= int(self._fail) if self._fail.isdigit() else os.path.exists(self._fail)
        self._calls += 1
        if fails:
            # It has put out what it was to, but says nothing of that.
            raise RuntimeError("CUDA failure 2: out of memory\nin some file")
