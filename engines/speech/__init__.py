"""Speech: text made ready to be spoken, and voices that speak it."""
