"""Sessions of ONNX Runtime, for networks whose hash has been checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rtaudio.errors import FileError, UserError


def open_session(path: Path, content: bytes) -> Any:
    """Open a network, on one thread of the CPU.

    Parameters
    ----------
    path
        Where the content is from.
    content
        Of an ONNX file: all of the network, weights too. Weights in other files are refused, since the hash
        of the content says nothing about them.

    Returns
    -------
    An `onnxruntime.InferenceSession`.

    Raises
    ------
    UserError
        ONNX Runtime is not installed, or cannot load the content.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise UserError("networks need ONNX Runtime: pip install 'rtaudio[cpu]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised too
    # The folder of other files is one that cannot be: a file.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path))
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's have no other base
        reason = next(iter(str(error).splitlines()), "")
        raise FileError(f"{path}: not a network that onnxruntime can run ({reason})") from error
