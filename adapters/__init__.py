"""Features to classifiers: adapters on frozen features, search on validation data, honest evaluation.

An adapter is one file, one line in ADAPTERS, one test file and one row of docs/methods.md. It gets arrays only: no
image, no model, no device, no file, never test data.
"""

from adapters.contract import Adapter
from adapters.errors import UnknownAdapterError
from adapters.gda import GDA
from adapters.linear import LinearProbe
from adapters.zero_shot import ZeroShot

ADAPTERS: dict[str, type[Adapter]] = {
    "zero_shot": ZeroShot,
    "linear": LinearProbe,
    "gda": GDA,
}


def adapter_class(name: str) -> type[Adapter]:
    """The class behind `name`; UnknownAdapterError lists the known names."""
    if name not in ADAPTERS:
        raise UnknownAdapterError(f"`adapter` must be one of {', '.join(ADAPTERS)}; got `{name}`. Choose one of these.")
    return ADAPTERS[name]
