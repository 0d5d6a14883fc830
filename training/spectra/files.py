def read_spectra(paths):
    raise NotImplementedError
