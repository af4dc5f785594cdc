"""Speech: text made ready to be spoken, and voices that speak it."""

LANGUAGES = "en", "bn"
"""Those that are read aloud, see `engines.speech.text`."""
