"""Recorded provider traffic, replayed through a real daemon and compared byte for byte."""
