"""What `make bench` runs: measurements of two or more things side by side in one run. Names select some of them."""

import subprocess
import sys

# Samples keep the benchmarks of duplicates and texts to about a minute each; run the files themselves for all of it.
BENCHMARKS = {
    "caption_languages": [],
    "caption_truth": ["--count", "150"],
    "concept_matching": [],
    "incremental_duplicates": ["--rows", "50000"],
    "incremental_rebuild": ["--texts", "50000"],
    "near_duplicates": ["--every", "10"],
    "perceptual_duplicates": ["--rows", "50000", "100000", "200000"],
    "semantic_duplicates": ["--rows", "20000", "200000"],
    "feature_search": ["--rows", "200000", "--compare", "50000"],
    "text_curation": ["--rows", "200000", "1000000"],
    "table_formats": [],
    "checking_cost": ["--texts", "50000"],
    "whole_rebuild": ["--pairs", "200000"],
    "audit_commands": ["--pairs", "200000"],
    "downloads": [],
    "ledger_overhead": ["--rows", "200000", "--pairs", "20000"],
    "exchange": ["--keys", "5000000", "--bits", "6"],
    "partitioned_duplicates": ["captions", "--rows", "50000", "--bits", "2", "--compare"],
    "gda_fit": [],
    "tip_grid": [],
    "describe_throughput": [],
    "caption_throughput": [],
    "decoded_throughput": ["--pictures", "128"],
    "extraction": [],
    "long_texts": ["--count", "200"],
}


def main() -> None:
    names = sys.argv[1:] or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        sys.exit(f"`benchmark` must be one of {', '.join(BENCHMARKS)}; got `{unknown[0]}`. Choose one of these.")
    failed = []
    for name in names:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *BENCHMARKS[name]], check=False).returncode:  # noqa: S603 - our own modules
            failed.append(name)
    if failed:
        sys.exit(f"these benchmarks did not end well: {', '.join(failed)}")


if __name__ == "__main__":
    main()
