"""Chat endpoints: requests, replies, money."""
