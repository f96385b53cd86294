"""HOW each step runs: read from storage, make one domain call, write. All that is Prefect's is here and in flows."""
