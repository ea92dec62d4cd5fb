"""The Python API: MLTK's functions on the same engine as the command line."""
