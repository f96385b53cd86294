"""Pictures that must not be in a dataset: unsafe pictures, evaluation sets, clusters unlike the target."""
