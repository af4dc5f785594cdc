"""Reading and writing audio files, block by block.

Blocks are float32 arrays of shape ``(channels, samples)`` with full scale at 1.0. Surround channels are in the
order of WAV (left, right, centre, LFE, ...) in every format.
"""

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Buffer, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from rtaudio.errors import FileError, nearest
