"""A real-time audio plug-in host whose processors are compiled Python."""

__version__ = "0.1.0"
