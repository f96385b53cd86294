"""Errors of adapters.

AdaptersError
├── InvalidFeaturesError   features or labels that break the record's rules, or do not match those of the fit
├── MissingFeaturesError   a method needs features that were not handed in
├── ParameterError         a hyper-parameter out of its range, or an unknown one
├── NotFittedError         a prediction asked for before `fit`
├── UnknownAdapterError    a name that is not in ADAPTERS
└── SplitError             a split that breaks its rules: shares, names, or one group in two parts
"""


class AdaptersError(ValueError):
    """Root of this package's errors."""


class InvalidFeaturesError(AdaptersError):
    """Features or labels are malformed, or differ from those that the adapter was fitted on."""


class MissingFeaturesError(AdaptersError):
    """A method needs features that the record does not hold."""


class ParameterError(AdaptersError):
    """A hyper-parameter is unknown or out of its range."""


class NotFittedError(AdaptersError):
    """An adapter was asked for logits before it was fitted."""


class UnknownAdapterError(AdaptersError):
    """No adapter has this name."""


class SplitError(AdaptersError):
    """A split has wrong shares or names, or parts a group."""
