"""The `.mltk.zip` format, whole: reading, writing, naming, unpacking."""
