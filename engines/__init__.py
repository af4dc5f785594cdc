"""The built-in processors and sources."""
