"""Tests of fingerprint."""
