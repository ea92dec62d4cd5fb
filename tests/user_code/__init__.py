"""Tests of a spec's code at work."""
