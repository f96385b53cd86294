"""Contents of a workspace, those to which nothing refers, and their removal."""
