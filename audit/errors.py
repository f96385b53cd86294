"""Errors of audit.

AuditError
├── UnknownSampleError     a uid or URL that the build never saw
├── IncompleteBuildError   a build whose step records or tables are not all there
└── CannotTellError        another rule needs values that were not recorded
"""


class AuditError(ValueError):
    """Root of this package's errors."""


class UnknownSampleError(AuditError):
    """The build that was asked never saw this uid or URL."""


class IncompleteBuildError(AuditError):
    """A manifest names a step that the ledger does not hold."""


class CannotTellError(AuditError):
    """Another rule needs values that were not recorded."""
