"""What is told to the public of a build: its facts, the EU's template for training content, and the answers to it."""
