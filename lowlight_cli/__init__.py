"""Brighten and clean dark pictures: the library behind the `lowlight` command."""

__version__ = "0.1.0"
