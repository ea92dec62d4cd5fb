"""Tests of MLTK's names."""
