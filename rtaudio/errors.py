"""Errors that a user can cause and put right."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user's, in one line: what was wrong, with the value, and what to do."""


class FileError(UserError):
    """A file or folder that cannot be read or written, in one line that names it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the known name that an unknown one was probably meant to be.

    Parameters
    ----------
    name : str
        The name that was not found.
    known : iterable of str
        The names that exist.

    Returns
    -------
    str
        ``", did you mean 'gain'?"``, to go at the end of a message, or ``""`` when no known name is close.
    """
    match = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {match[0]!r}?" if match else ""
