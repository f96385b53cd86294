"""Scenes: pictures of several objects whose every object, mask, count, colour, relation and defect is known.

`folder.make_scene_folder` draws a folder of them, which is a pool like any other, with its truth beside it;
`scores.score_caption` holds a caption against the truth. No recipe reads the truth.
"""
