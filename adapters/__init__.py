"""Features to classifiers: adapters on frozen features, search on validation data, honest evaluation.

An adapter is one file, one line in ADAPTERS, one test file and one row of docs/methods.md. It gets arrays only: no
image, no model, no device, no file, never test data.
"""

if __name__ != "evenly.adapters":
    raise ImportError(
        f"this package is `evenly.adapters`; it was imported as `{__name__}`. Install evenly, then import that."
    )

from evenly.adapters.contract import Adapter
from evenly.adapters.errors import UnknownAdapterError
from evenly.adapters.methods.amu import AMU
from evenly.adapters.methods.caps import CapS
from evenly.adapters.methods.cooked import Cooked
from evenly.adapters.methods.disclip import SelectedDescriptions
from evenly.adapters.methods.fpl import FewPseudoLabels
from evenly.adapters.methods.fudd import DifferentialTexts
from evenly.adapters.methods.gda import GDA
from evenly.adapters.methods.gda_base_to_new import GDABaseToNew
from evenly.adapters.methods.gda_em import GDAUnsupervised
from evenly.adapters.methods.gda_incremental import GDAIncremental
from evenly.adapters.methods.grip import GrowingPseudoLabels
from evenly.adapters.methods.ifpl import IterativeFewPseudoLabels
from evenly.adapters.methods.linear import LinearProbe
from evenly.adapters.methods.nola import NoLA
from evenly.adapters.methods.perceptionclip import PerceptionCLIP
from evenly.adapters.methods.real_linear import RealLinear
from evenly.adapters.methods.singular_scaling import SingularScaling
from evenly.adapters.methods.tip import Tip
from evenly.adapters.methods.tip_f import TipF
from evenly.adapters.methods.tipx import TIPX
from evenly.adapters.methods.vcd import DescribedClasses
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.prompts.clipn import CLIPN
from evenly.adapters.prompts.coop import CoOp
from evenly.adapters.prompts.cpe import CPE
from evenly.adapters.prompts.gopro import GOPro
from evenly.adapters.prompts.osloprompt import OSLoPrompt

ADAPTERS: dict[str, type[Adapter]] = {
    "zero_shot": ZeroShot,
    "linear": LinearProbe,
    "gda": GDA,
    "gda_base_to_new": GDABaseToNew,
    "gda_em": GDAUnsupervised,
    "gda_incremental": GDAIncremental,
    "tip": Tip,
    "tip_f": TipF,
    "tipx": TIPX,
    "caps": CapS,
    "amu": AMU,
    "real_linear": RealLinear,
    "singular_scaling": SingularScaling,
    "cooked": Cooked,
    "fpl": FewPseudoLabels,
    "ifpl": IterativeFewPseudoLabels,
    "grip": GrowingPseudoLabels,
    "nola": NoLA,
    "vcd": DescribedClasses,
    "disclip": SelectedDescriptions,
    "fudd": DifferentialTexts,
    "perceptionclip": PerceptionCLIP,
    "coop": CoOp,
    "cpe": CPE,
    "gopro": GOPro,
    "osloprompt": OSLoPrompt,
    "clipn": CLIPN,
}


ALIASES = {
    "clip": "zero_shot",
    "linear_probe": "linear",
    "gda_unsupervised": "gda_em",
    "tip_adapter": "tip",
    "tip_adapter_f": "tip_f",
    "sus_x": "tipx",
    "caps_adapter": "caps",
    "m_adapter": "caps",
    "amu_tuning": "amu",
    "real": "real_linear",
    "clip_svd": "singular_scaling",
    "cpe_clip": "cpe",
}
"""Names under which papers have them; CLIP-SVD's is the features-only analogue."""


def adapter_name(name: str) -> str:
    """The name in ADAPTERS that `name` means, one of these or of ALIASES: case, "-", "_" and spaces do not count.

    UnknownAdapterError lists the known.
    """
    plain = {_plain(alias): target for alias, target in (*ALIASES.items(), *((alias, alias) for alias in ADAPTERS))}
    wanted = _plain(name)
    if wanted not in plain:
        raise UnknownAdapterError(f"`adapter` must be one of {', '.join(ADAPTERS)}; got `{name}`. Choose one of these.")
    return plain[wanted]


def adapter_class(name: str) -> type[Adapter]:
    """The class behind `name`, as `adapter_name` reads it."""
    return ADAPTERS[adapter_name(name)]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter not in "-_ ")
