"""The window: live spectrograms, rack and meters in a process of its own."""
