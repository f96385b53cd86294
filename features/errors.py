"""Errors of features.

FeaturesError(ValueError)
├── UnknownModelError        no model, weights or setting goes by that name
├── WeightsUnavailableError  the weights of a known model cannot be had: download failed, or a package is missing
├── TowerEngineError         an engine that is not installed, cannot run a model, or gives other rows than torch
├── OnnxModelError           an ONNX file that onnxruntime cannot run, or of another form than is said
├── DeviceError              a device that is not there, has too little memory, or stopped
├── UnreadableImageError     bytes that were handed in as a picture do not decode
├── BoxError                 a box that is none
├── CorruptionError          an unknown corruption, a strength out of range, or an array that is no picture
└── RowsError                feature arrays of the wrong shape, or with rows that have no direction
"""


class FeaturesError(ValueError):
    """A call to features is wrong or cannot be met; the text names the argument, the value and the remedy."""


class UnknownModelError(FeaturesError):
    """No model, weights or setting goes by that name."""


class WeightsUnavailableError(FeaturesError):
    """The weights of a known model cannot be had."""


class TowerEngineError(FeaturesError):
    """An engine is not installed, cannot run a model, or gives other rows than torch."""


class OnnxModelError(FeaturesError):
    """An ONNX file cannot be run, or has another form than is said of it."""


class DeviceError(FeaturesError):
    """A device is not there, has too little memory for a batch, or stopped."""


class UnreadableImageError(FeaturesError):
    """Bytes that were handed in as a picture do not decode."""


class BoxError(FeaturesError):
    """A box that is none."""


class CorruptionError(FeaturesError):
    """An unknown corruption, a strength out of range, or an array that is no picture."""


class RowsError(FeaturesError):
    """Feature arrays of the wrong shape, or with rows that have no direction."""
