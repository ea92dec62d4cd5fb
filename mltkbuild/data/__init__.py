"""Data sets: checks, subsets and digests."""
