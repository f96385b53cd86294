"""The search for duplicates by partition: what is compared, where it is sent, and what comes back by uid."""
