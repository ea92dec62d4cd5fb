"""Tests of disk."""
