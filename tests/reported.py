"""A command in the test's own process, with its errors as a user sees them."""

from collections.abc import Callable

from evenly.flows.cli.errors import ReportedErrors


def report_errors(app: Callable[[], object]) -> int:
    """Run `app`; the exit status."""
    with ReportedErrors() as reported:
        app()
    return reported.status
