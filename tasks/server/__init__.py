"""Traces of a run on a Prefect server for the people who look there: log lines, artifacts, states and events."""
