"""Errors of exports.

ExportError (a StorageError)
├── ExistingExportError   the folder holds something else
└── MissingExtraError     a format needs an optional package
"""

from evenly.storage.errors import StorageError


class ExportError(StorageError):
    """Root of this package's errors: the rows or the name cannot be exported as they are."""


class ExistingExportError(ExportError):
    """The folder holds something other than this export; nothing of it was touched."""


class MissingExtraError(ExportError):
    """The format needs a package that is not installed."""
