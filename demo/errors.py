"""Errors of making, serving or comparing the demo's web.

DemoError
├── PicturesError    a picture cannot be read or drawn
├── FolderError      the folder handed in is not one that the demo made
└── ComparisonError  verdicts, scores or truth lack what the comparison needs
"""


class DemoError(RuntimeError):
    """Root of everything that this package raises on purpose."""


class PicturesError(DemoError):
    """The picture package is missing, incomplete or holds a picture that cannot be drawn."""


class FolderError(DemoError):
    """The folder holds other things than a demo's web."""


class ComparisonError(DemoError):
    """A table handed to the comparison lacks a column, or holds something twice."""
