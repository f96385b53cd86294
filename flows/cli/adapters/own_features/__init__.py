"""Commands on files of features that were made elsewhere."""
