"""Collecting pictures from the web: a guarded client, opt-outs, and img2dataset driven shard by shard.

The web is hostile and this package says so in one place each: `guard` decides which address may be reached,
`site_files` what a site's owner forbids, `decoding` what counts as a picture, `fetching` when a second try is worth it.
`shards` makes observations durable, `shard_run` runs img2dataset's downloader in a process, `download` is what others
call.
"""
