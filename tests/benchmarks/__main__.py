"""Run the benchmarks: ``python -m tests.benchmarks [NAME ...] [--json FILE] [--folder DIR]``."""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
from pathlib import Path

from tests.benchmarks.measure import machine

#: Name -> module of this package with ``run(folder) -> list[Result]``.
BENCHMARKS = {
    "start-up": "startup",
    "plan": "plan",
    "memory": "memory",
    "rows": "rows",
    "feed": "feed",
    "efficiency": "efficiency",
    "scaling": "scaling",
    "rice": "rice",
    "files": "files",
    "profile": "profile",
    "gpu": "gpu",
    "coadds": "coadds",
    "train": "train_throughput",
    "mock": "mock",
    "peers": "peers",
}


def main() -> None:
    """Run those asked for, one after the other, each in a folder of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; by default all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument(
        "--folder", type=Path, help="where the surveys are written, 5 GB (default: the temporary folder)"
    )
    parser.add_argument(
        "--peers-python", type=Path, action="append", default=[], metavar="PATH",
        help="Python of an environment that holds zoobot or hyrax, for `peers`; may be given again",
    )  # fmt: skip
    given = parser.parse_args()
    unknown = set(given.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    facts = machine()
    print(", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    results = []
    for name in given.names or BENCHMARKS:
        module = importlib.import_module(f"tests.benchmarks.{BENCHMARKS[name]}")
        with tempfile.TemporaryDirectory(prefix=f"galcli-{name}-", dir=given.folder) as folder:
            further = {"pythons": given.peers_python} if name == "peers" else {}
            for result in module.run(Path(folder), **further):
                print(result.line(), flush=True)
                results.append(result)
    if given.json is not None:
        given.json.write_text(json.dumps({"machine": facts, "results": [r.to_dict() for r in results]}, indent=1))


if __name__ == "__main__":
    main()
