"""What a user may ask of a prediction run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from galcli.errors import UsageError
from galcli.models.devices import parse_device

#: Forms of the output: one FITS table, or a HATS folder whose leaves are Parquet or FITS files.
TABLE, HATS, HATS_FITS = "table", "hats", "hats-fits"
#: Rows above which a folder is the better output.
LARGE = 50_000_000
#: Endings that promise a file.
_FILES = (".fits", ".fit", ".gz", ".fz", ".parquet")


@dataclass(frozen=True)
class PredictOptions:
    """Arguments of ``galcli predict``; each option of the command line is one field.

    Attributes
    ----------
    catalogs : tuple of Path
        Tables with one row per galaxy, read one after the other; see `open_tables` for their formats.
    out : Path
        FITS table or HATS folder to write; its run folder is ``<out>.run``.
    cutouts : str or None
        Folder, file, glob or template; None looks beside the catalogue.
    bricks : Path or None
        Table of survey bricks whose images lie in ``cutouts``.
    models : tuple of str
        Names or paths; empty: every default model whose input the cutouts and the catalogue satisfy.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``cuda:N,M`` or ``tensorrt``.
    precision : str
        ``auto``, ``fp32``, ``fp16``, ``bf16`` or ``int8``.
    batch_size : int or None
        Cutouts per batch; None chooses from the cutout size and ``max_memory``.
    threads : int
        Threads of the inference engine of each worker; 0: its part of the cores.
    workers : int or None
        Processes on this machine, or on each node of the site; None: one per device.
    site : str or None
        Profile of the machines that the workers are started on.
    max_memory : float or None
        Memory to stay below, GB.
    order : int or None
        HEALPix order of the tiles; None chooses by density.
    columns : tuple of str
        Catalogue columns to pass through.
    id_column, ra_column, dec_column : str or None
    hdu : int or None
    bands : tuple of str or None
        Names of the bands where the cutouts do not say.
    zeropoint : float or None
        AB magnitude of one count per pixel where the cutouts do not say, or say it wrong.
    pixel_scale : float or None
        arcsec per pixel where the cutouts do not say, or say it wrong.
    front : str or None
        Pixel front to use, instead of the one chosen from bands and survey.
    groups : tuple of str
        Optional output groups (``--with``).
    mapped : tuple of (str, str)
        Column that a model wants, and the catalogue column that it is (``--map``).
    shard : (int, int) or None
        Take tiles I mod N, then free tiles of others; leave the merge to ``galcli merge``.
    restart, overwrite, keep_tiles : bool
    max_fail : float
        Percent of rows without a prediction above which the run ends with exit 3.
    limit : int or None
        Only the first rows of the catalogue.
    layout : str
        ``table``, ``hats`` or ``hats-fits``.
    """

    catalogs: tuple[Path, ...]
    out: Path
    cutouts: str | None = None
    bricks: Path | None = None
    models: tuple[str, ...] = ()
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    threads: int = 0
    workers: int | None = None
    site: str | None = None
    max_memory: float | None = None
    order: int | None = None
    columns: tuple[str, ...] = ()
    id_column: str | None = None
    ra_column: str | None = None
    dec_column: str | None = None
    hdu: int | None = None
    bands: tuple[str, ...] | None = None
    zeropoint: float | None = None
    pixel_scale: float | None = None
    front: str | None = None
    groups: tuple[str, ...] = ()
    mapped: tuple[tuple[str, str], ...] = ()
    shard: tuple[int, int] | None = None
    restart: bool = False
    overwrite: bool = False
    keep_tiles: bool = False
    max_fail: float = 10.0
    limit: int | None = None
    layout: str = TABLE

    def __post_init__(self) -> None:
        if self.shard is not None and not 0 <= self.shard[0] < self.shard[1]:
            raise UsageError(
                f"--shard {self.shard[0]}/{self.shard[1]} names no shard",
                f"shards count from 0: use 0/{max(self.shard[1], 1)} to {max(self.shard[1], 1) - 1}/{max(self.shard[1], 1)}",
            )
        if self.shard is not None and self.restart:
            raise UsageError(
                "--restart and --shard contradict each other: it would undo the work of the other shards",
                f"remove the folder {self.out.name}.run first, or choose another output with -o",
            )
        self._check_workers()
        if not self.out.name or (self.layout == TABLE and self.out.is_dir()):
            raise UsageError(f"{self.out} is a folder", "name the table to write with -o")
        require_name(self.out, self.layout)
        if self.out.resolve() in {catalog.resolve() for catalog in self.catalogs}:
            raise UsageError("the output would overwrite the catalogue", "choose another name with -o")

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device named: ``cuda:0,1`` is ``cuda:0`` and ``cuda:1``."""
        kind, colon, numbers = self.device.partition(":")
        return tuple(f"{kind}:{number}" for number in numbers.split(",")) if colon else (kind,)

    def _check_workers(self) -> None:
        """Raise `UsageError` where workers and devices do not go together."""
        for device in self.devices:
            parse_device(device)
        if self.site is not None and self.shard is not None:
            raise UsageError("--site and --shard are two ways to share a run", "leave out one of them")
        if self.site is not None and ":" in self.device:
            raise UsageError(
                f"--device {self.device}: a site gives each of its workers a GPU of its own",
                f"name the kind alone: --device {self.device.partition(':')[0]}",
            )
        if len(set(self.devices)) < len(self.devices):
            raise UsageError(f"--device {self.device} names a device twice", "name each once; --workers N for more")
        if self.workers is not None and self.workers < len(self.devices):
            raise UsageError(
                f"{self.workers} workers for {len(self.devices)} devices",
                "each device needs a worker: leave out --workers",
            )


def require_name(out: Path, layout: str) -> None:
    """Refuse a name that promises another form than the one written.

    Raises
    ------
    UsageError
        If a table has an ending other than ``.fits`` and ``.fit``, or a folder has that of a file.
    """
    if layout != TABLE:
        if out.suffix.lower() in _FILES:
            raise UsageError(
                f"{out}: --layout {layout} writes a folder, and this is the name of a file",
                f"-o {out.with_suffix('')}_hats, or --layout table",
            )
    elif out.suffix.lower() not in (".fits", ".fit", ""):
        plain = out.with_suffix("") if out.suffix.lower() in (".gz", ".fz") else out
        hint = plain if plain.suffix.lower() in (".fits", ".fit") else plain.with_name(plain.name + ".fits")
        raise UsageError(
            f"{out}: what is written is a plain FITS table, whose name ends in .fits or .fit", f"-o {hint}"
        )


def parse_shard(text: str) -> tuple[int, int]:
    """Read ``I/N``.

    Raises
    ------
    UsageError
        If the text is not two integers with a slash between.
    """
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        raise UsageError(f"--shard {text} is not of the form I/N", "for example --shard 0/8") from None
    return index, count
