"""Facts of pictures, where the pairs that show them lie in all partitions: by URL, by image_id."""
