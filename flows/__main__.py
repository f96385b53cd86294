"""The `evenly` command, also as `python -m evenly.flows`: watched before anything is imported that takes its time."""

from evenly.flows.process.interruption import run_watched


def main() -> None:
    """Run the command; Ctrl-C and SIGTERM end it within seconds."""
    run_watched(_run)


def _run() -> int:
    from evenly.flows.cli import run

    return run()


if __name__ == "__main__":
    main()
