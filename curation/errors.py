"""Errors of curation: a call is wrong. A bad row is a verdict, never an exception.

CurationError(ValueError)
├── RuleError         a rule or an argument holds a value that it may not hold
├── ColumnsError      a table lacks a column, or arrays do not belong together
└── MissingStepError  a step that must come before another is not there
"""


class CurationError(ValueError):
    """A call to curation is wrong; the text names the argument, the value and the remedy."""


class RuleError(CurationError):
    """A rule or an argument holds a value that it may not hold."""


class ColumnsError(CurationError):
    """A table lacks a column, holds it in another type or order, or arrays have unequal lengths."""


class MissingStepError(CurationError):
    """A step that must come before another is not there."""
