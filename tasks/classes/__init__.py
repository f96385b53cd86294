"""What is done with class lists: descriptions, names, support sets, audits."""
