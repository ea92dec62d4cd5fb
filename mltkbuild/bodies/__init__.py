"""Stage bodies: plain values and paths in, files in a scratch folder out. Heavy imports stay inside the functions."""
