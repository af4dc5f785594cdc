"""Speech: text made ready to be spoken, and voices that speak it."""

LANGUAGES = "en", "bn"
"""Those whose numbers, dates and the like are read here, see `engines.speech.text`."""
