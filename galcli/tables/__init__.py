"""Numbers out: the column dictionary, status bits, and FITS tables that are whole or not there."""
