"""Evaluation: predictions to figures and pictures, of the float model and of the `.tflite`."""
