"""Cases of text and of what is spoken for it: a line each, ``written TAB spoken``."""

from pathlib import Path

from hypothesis import strategies as st

FOLDER = Path(__file__).parent / "speech"


def cases(language):
    """The cases of a language, (written, spoken) each."""
    lines = (FOLDER / f"{language}.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("# ")]


def texts_of(cases):
    """Texts made of what is written in the cases, and of anything else."""
    parts = st.sampled_from([written for written, _ in cases]) | st.text(max_size=20)
    return st.lists(parts, min_size=1, max_size=6).map(" ".join)
