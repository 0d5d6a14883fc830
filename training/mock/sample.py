"""Make the sample survey that is embedded in galcli: ``python -m galcli.training.mock.sample galcli/sample``."""

from __future__ import annotations

import sys
from pathlib import Path

from galcli.training.mock.survey import MockOptions, write_survey

#: Six bands, 67 arcsec at the Legacy pixel scale: every kind of model finds its input.
SAMPLE = MockOptions(number=112, seed=20261121, bands="ugrizy", size=256, survey="legacy-ugrizy", rice=True)

if __name__ == "__main__":
    print(write_survey(Path(sys.argv[1]), SAMPLE))
