"""The `evenly` command, also as `python -m evenly.flows`: watched before anything is imported that takes its time."""

import sys

from evenly.flows.process.interruption import Interruption


def main() -> None:
    """Run the command; Ctrl-C and SIGTERM end it within seconds."""
    with Interruption() as interruption:
        from evenly.flows.cli import command_line
        from evenly.flows.cli.errors import ReportedErrors
        from evenly.flows.process.environment import set_up_command

        set_up_command()
        with ReportedErrors() as reported:
            command_line(*sys.argv[1:2])()
    interruption.finish(reported.status)


if __name__ == "__main__":
    main()
