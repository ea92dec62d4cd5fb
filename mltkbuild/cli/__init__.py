"""The `mltk` command."""
