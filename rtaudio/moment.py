"""What is kept of the sound: recordings, and moments: what was heard last, its input, and the rack."""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rtaudio.errors import FileError, UserError
from rtaudio.files import AudioWriter
from rtaudio.folders import data_folder
from rtaudio.rack import Rack, save_rack
from rtaudio.render import make_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rtaudio.host import Host

SECONDS = 10.0
NAMED = "%Y-%m-%d %H.%M.%S"
"""What is kept is named by its moment."""

Sound: TypeAlias = "NDArray[np.float32]"


def moment_folder() -> Path:
    """A new folder among the user's data, named by the time of day."""
    return data_folder() / "moments" / time.strftime(NAMED)


def recording_file() -> Path:
    """A new file among the user's recordings, named by the time of day; their folder is made.

    `FileError` where that is not possible.
    """
    folder = data_folder() / "recordings"
    make_folder(folder)
    return folder / f"{time.strftime(NAMED)}.wav"


def keep_moment(host: Host, folder: Path, rack: Rack) -> float:
    """Write the last ten seconds to a folder: ``in.wav``, ``out.wav`` and ``rack.toml``.

    Both files are as long and begin at the same sample of the input: the latency of the graph is taken off.
    They are written by a thread of the host, whose notes tell when the folder is there.

    Returns
    -------
    Seconds: fewer where sound has not run for as long, or less is kept.

    Raises
    ------
    UserError
        The folder is there already, or nothing was heard yet.
    """
    if folder.exists():
        raise UserError(f"{folder} is there already: name another folder")
    heard, played = host.stream.past(SECONDS, host.plan.latency)
    if not heard.shape[1]:
        raise UserError("nothing was heard yet")
    rate = host.plan.rate
    host.do_beside(lambda: host.notes.append(_write(folder, heard, played, rate, rack)))
    return float(heard.shape[1] / rate)


def _write(folder: Path, heard: Sound, played: Sound, rate: int, rack: Rack) -> str:
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        for name, sound in ("in", heard), ("out", played):
            with AudioWriter(part / f"{name}.wav", rate, len(sound), samples=sound.shape[1]) as file:
                file.write(sound)
        save_rack(part / "rack.toml", rack)
        part.rename(folder)
    except OSError as error:
        raise FileError(f"cannot make {folder}: {error.strerror}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return f"kept {heard.shape[1] / rate:.1f} s in {folder}"
