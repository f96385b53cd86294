"""The proving ground: the same code points drawn by several hands, with all that methods are to tell known or planted.

`folder.make_ground` draws the folder, whose layout docs/ground.md has; no recipe reads the truth.
"""
