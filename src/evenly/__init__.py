"""evenly: rebuild vision-language datasets, describe their classes, fit adapters, and say why a pair is in or out.

    build = evenly.rebuild("birds.yaml")             # or evenly.open(".evenly").builds["latest"]
    build.to_pandas()                                # the kept pairs
    build.why(uid)                                   # what every step decided about one pair
    GDA().fit(evenly.encode(pictures), labels)       # adapters are scikit-learn estimators

Importing evenly loads nothing else; each name is loaded when it is first used. docs/python.md shows all of them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evenly.adapters.features import Features
    from evenly.builds import Build
    from evenly.commands import *
    from evenly.encoding import encode_items as encode
    from evenly.estimators import *
    from evenly.functions import balance_matches as balance
    from evenly.functions import describe_names as describe
    from evenly.functions import match_texts as match
    from evenly.workspaces import OpenedWorkspace
    from evenly.workspaces import open_workspace as open  # noqa: A004 - the name that `gzip` and `wave` give theirs
    from evenly.workspaces import rebuild_recipe as rebuild

    __version__: str

__all__ = [
    "AMU",
    "CLIPN",
    "CPE",
    "GDA",
    "TIPX",
    "Build",
    "CapS",
    "CoOp",
    "Cooked",
    "DescribedClasses",
    "DifferentialTexts",
    "Features",
    "FewPseudoLabels",
    "GDABaseToNew",
    "GDAIncremental",
    "GDAUnsupervised",
    "GOPro",
    "GrowingPseudoLabels",
    "IterativeFewPseudoLabels",
    "LinearProbe",
    "NoLA",
    "OSLoPrompt",
    "OpenedWorkspace",
    "PerceptionCLIP",
    "RealLinear",
    "SelectedDescriptions",
    "SingularScaling",
    "Tip",
    "TipF",
    "ZeroShot",
    "__version__",
    "audit_descriptions",
    "balance",
    "balance_pool",
    "base_to_new",
    "batches",
    "build_metadata",
    "cancel_batch",
    "card",
    "check",
    "clean",
    "clusters",
    "compare_descriptions",
    "concepts",
    "count_tokens",
    "deploy",
    "describe",
    "doctor",
    "effects",
    "encode",
    "encode_files",
    "encoders",
    "evaluate",
    "export_adapter",
    "export_descriptions",
    "extract",
    "facts",
    "fit",
    "forget",
    "import_descriptions",
    "index",
    "init",
    "leaderboard",
    "link",
    "match",
    "match_pool",
    "model_card",
    "open",
    "plan",
    "predict",
    "probe",
    "promote",
    "rebuild",
    "refine",
    "regions",
    "retrieve",
    "run_demo",
    "serve",
    "sessions",
    "show_descriptions",
    "show_metadata",
    "summary",
    "trace",
    "tune",
    "tune_encoder",
    "what_if",
    "worth",
]

_ELSEWHERE = {
    "Build": "builds.Build",
    "Features": "adapters.features.Features",
    "OpenedWorkspace": "workspaces.OpenedWorkspace",
    "balance": "functions.balance_matches",
    "describe": "functions.describe_names",
    "encode": "encoding.encode_items",
    "match": "functions.match_texts",
    "open": "workspaces.open_workspace",
    "rebuild": "workspaces.rebuild_recipe",
}
"""Where a name of `__all__` is defined; of the others estimators begin with a capital, and commands do not."""


def _room(name: str) -> str:
    return "estimators" if name[0].isupper() else "commands"


if not TYPE_CHECKING:  # type checkers read the imports above, and would take this for a yes to any name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module `evenly` has no attribute `{name}`. It has {', '.join(__all__)}.")
        if name == "__version__":
            from importlib.metadata import version

            value = version("evenly")
        else:
            from importlib import import_module

            module, _, attribute = _ELSEWHERE.get(name, f"{_room(name)}.{name}").rpartition(".")
            value = getattr(import_module(f"evenly.{module}"), attribute)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
