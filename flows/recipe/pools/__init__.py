"""The pools of a recipe: what lies at a path, the recipe to write for it, and what its filters would drop there."""
