"""Errors of storage.

StorageError
├── ConservationError   a step's verdicts do not add up to its rows
├── NotFoundError       a step, build, sample or artifact that is not there
├── DamagedError        stored content that does not match its hash
├── StoreError          an object store that does not answer, or not as it must
├── LimitError          a limit that several runs share, of which nobody answers whether there is room
├── WriterError         a recipe that another process is writing just now
└── InputError          a file that a person handed in, or values to be written, break the rules of their kind
    └── TooLargeError   it unpacks, or stands for, more than may be read
"""


class StorageError(RuntimeError):
    """Root of this package's errors."""


class ConservationError(StorageError):
    """A step's verdicts do not cover its input rows exactly once."""


class NotFoundError(StorageError):
    """Something asked for by name is not in the workspace."""


class DamagedError(StorageError):
    """Stored content does not match its recorded hash."""


class StoreError(StorageError):
    """An object store does not answer, refuses what was asked, or cannot do what evenly needs of it.

    `passing`: it was slow, busy or away, so that the same may go well another time.
    """

    def __init__(self, text: str, *, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


class LimitError(StorageError):
    """Whether a limit that several runs share has room cannot be known now; another time it may."""

    passing = True


class WriterError(StorageError):
    """Another process is writing what this one was to write."""


class InputError(StorageError, ValueError):
    """A file or folder that a person handed in, or values handed over to be written, break the rules of their kind."""


class TooLargeError(InputError):
    """A file unpacks to, or its rows stand for, more than may be read."""
