"""What is where: catalogue rows, HEALPix pixels, tiles."""
