"""Pixels in: every cutout source behind one protocol, and the one form in which its pixels travel."""
