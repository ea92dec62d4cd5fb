"""Tests of the `mltk` command."""
