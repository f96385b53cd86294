"""What several adapters are built of."""
