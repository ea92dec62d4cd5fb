"""What a firmware project gets: C++ sources, test vectors, an Arduino library."""
