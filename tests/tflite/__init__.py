"""Tests of the `.tflite`."""
