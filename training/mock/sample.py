"""Make the sample survey that is embedded in galcli: ``python -m galcli.training.mock.sample galcli/sample``."""

from __future__ import annotations

import sys
from pathlib import Path

from galcli.training.mock.survey import MockOptions, write_survey

#: Deep six-band cutouts, as a coming survey will deliver them: 67 arcsec at the Legacy pixel scale.
SAMPLE = MockOptions(number=112, seed=20261121, bands="ugrizy", size=256, survey="deep", rice=True)

if __name__ == "__main__":
    print(write_survey(Path(sys.argv[1]), SAMPLE))
