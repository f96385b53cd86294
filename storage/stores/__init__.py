"""Object stores: paths that are URLs, the connection behind them, reads by range, locks of writers."""
