"""The `.tflite`: conversion, its parts, the proof in TensorFlow Lite Micro, what it costs."""
