"""The story of one request, which is `relay`, and those who act in it."""
