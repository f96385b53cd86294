"""Publication of builds: one set of facts, read from the ledger (`reading`), and what is told by them.

`pages` writes the public summary of training content that the EU asks for, with the answers of `provider`; `cards` the
dataset card, Croissant's fields and the cards of models. Facts and answers are curation's.
"""
