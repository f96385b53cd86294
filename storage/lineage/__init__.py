"""OpenLineage events of rebuilds and their steps: as they run, and of what is stored."""
