"""The four wire formats, as pure functions and small observers: bytes in, bytes out."""
