"""The `evenly` command. Heavy libraries are imported inside the command that needs them, so `--help` is quick.

Exit status: 0 ok, 1 a finding or a failed run, 2 a usage error.
"""

import os
import sys
from pathlib import Path
from sysconfig import get_path

import typer

from flows import (
    cli_adapters,
    cli_audit,
    cli_batches,
    cli_classes,
    cli_concepts,
    cli_datasets,
    cli_descriptions,
    cli_evaluation,
    cli_metadata,
    cli_pools,
    cli_protocols,
    cli_retrieve,
    cli_serve,
)
from flows.cli_errors import report_errors
from flows.cli_paths import refuse_urls

QUIET_PREFECT = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def _has_backport() -> bool:
    """Whether a copy of dataclasses lies among the installed packages, where it can hide Python's own."""
    return any((Path(folder) / "dataclasses.py").exists() for folder in {get_path("purelib"), get_path("platlib")})


app = typer.Typer(
    name="evenly",
    help="Rebuild vision-language datasets, describe classes, extract features, fit adapters, and say why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    cli_datasets,
    cli_classes,
    cli_descriptions,
    cli_batches,
    cli_concepts,
    cli_retrieve,
    cli_adapters,
    cli_evaluation,
    cli_metadata,
    cli_pools,
    cli_protocols,
    cli_audit,
    cli_serve,
):
    group.register(app)
refuse_urls(app)


def main() -> None:
    """Run the command; errors that a user can mend are one line on stderr."""
    if _has_backport():
        sys.exit(
            "evenly: the package `dataclasses`, a backport that img2dataset asks for, breaks Prefect's server. "
            f"Remove it: {sys.executable} -m pip uninstall dataclasses"
        )
    for name, value in QUIET_PREFECT.items():
        os.environ.setdefault(name, value)
    sys.exit(report_errors(app))
