"""Forms: building blocks that several adapters share."""
