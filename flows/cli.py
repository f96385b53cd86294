"""The `evenly` command. Heavy libraries are imported inside the command that needs them, so `--help` is quick.

Exit status: 0 ok, 1 a finding or a failed run, 2 a usage error, 130 after Ctrl-C, 143 after SIGTERM.
"""

import os

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
from flows.interruption import run_watched

ENVIRONMENT = {
    "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",  # it tidies up after workers that were ended at once
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",  # flows.prefect_api starts the temporary server
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


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


def run() -> int:
    """Run the command; its exit status. Errors that a user can mend are one line on stderr."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    return report_errors(app)


def main() -> None:
    """Run the command and end the process, as `flows.__main__` does sooner."""
    run_watched(run)
