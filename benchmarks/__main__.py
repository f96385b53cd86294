"""What `make bench` runs: measurements of two or more things side by side in one run. Names select some of them."""

import subprocess
import sys

# The sample of pictures keeps near_duplicates to about a minute; run the file itself for all of them.
BENCHMARKS = {"caption_languages": [], "near_duplicates": ["--every", "10"], "gda_fit": [], "tip_grid": []}


def main() -> None:
    names = sys.argv[1:] or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        sys.exit(f"`benchmark` must be one of {', '.join(BENCHMARKS)}; got `{unknown[0]}`. Choose one of these.")
    for name in names:
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *BENCHMARKS[name]], check=True)  # noqa: S603 - our own modules


if __name__ == "__main__":
    main()
