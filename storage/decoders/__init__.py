"""Decoding under a budget: pictures are decoded in processes of their own, which end with what costs too much.

A picture of few bytes can keep a decoder busy for minutes or fill the memory, and a decoder that runs cannot be
stopped from inside. So `pool` hands each picture to a long-lived `process` that limits its own processor seconds and
address space before it decodes, and replaces the process that such a limit ended. `structure` refuses by the bytes
alone, before anything is decoded, what only hostile files have. All limits are of the picture, none is of the clock:
a busy machine gives the same verdicts.
"""

from evenly.storage.decoders.pool import CRASHED, TROUBLES, DecoderPool, DecodeTroubleError

__all__ = ["CRASHED", "TROUBLES", "DecodeTroubleError", "DecoderPool"]
