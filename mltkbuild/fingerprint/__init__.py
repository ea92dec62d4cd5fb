"""Values and code to digests: `values`, `code`, and `reach` for what a function reads beyond its own source.

Nothing is imported here, so that `values` and `code` stay cheap for a build with nothing to do.
"""
