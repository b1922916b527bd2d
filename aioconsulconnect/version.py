"""The version of this library, once."""

__version__ = "0.1.0"
