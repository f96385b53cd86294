"""Tasks on class lists: descriptions, names, support sets, audits."""
