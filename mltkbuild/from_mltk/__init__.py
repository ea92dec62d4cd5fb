"""MLTK's names: what specs that were written for it import and call, by its signatures."""
