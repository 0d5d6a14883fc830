"""Optical spectra: the rest-frame grid, readers of survey files, gaps, and what is measured on them."""
