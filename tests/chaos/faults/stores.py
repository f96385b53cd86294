"""Object stores: slow, failing, ignoring conditions. The place for faults of workspaces that are URLs.

Such a fault starts a store's server in front of which a `Relay` stands (relay.py), sets `trial.root` to its URL before
`trial.start()`, and disturbs the relay. What workspace.py reads of a folder needs its counterpart for a URL then.
"""
