"""The model card: everything the runtime knows about a model, stored inside the ONNX file as JSON.

The card and the graph are the whole contract between training and prediction. The runtime never asks which model
it runs; it asks the card which bands to feed, on what grid, and what each output tensor is called in the table.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    Strict,
    StrictInt,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from galcli.errors import ModelError
from galcli.models.card_columns import InputColumn
from galcli.tables.header import CARD, card_text

#: Key of ``metadata_props`` in the ONNX file.
CARD_KEY = "galcli.card"

ColumnName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,67}$")]
ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
#: numpy letters of a table column: bool, ints, floats, fixed-width ASCII.
Dtype = Annotated[str, StringConstraints(pattern=r"^(b1|u1|i2|i4|i8|f4|f8|A[1-9][0-9]*)$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
#: Text of one header card; blanks at its end would not come back.
CardText = Annotated[str, StringConstraints(pattern=r"^([ -~]{0,67}[!-~])?$")]
#: A number of a header card; text that looks like one is text.
CardNumber = StrictInt | Annotated[FiniteFloat, Strict()]

#: Keywords that FITS keeps for the structure of tables, plain and compressed, and those that galcli writes itself.
_RESERVED = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|[PG]COUNT|GROUPS|TFIELDS|THEAP|EXT(END|NAME|VER|LEVEL)|BLOCKED|INHERIT"
    r"|B(SCALE|ZERO|LANK|UNIT)|P(TYPE|SCAL|ZERO)\d+|T(TYPE|FORM|UNIT|SCAL|ZERO|NULL|DIM|DISP|BCOL|UCD|COMM)\d+"
    r"|Z(IMAGE|TABLE|SIMPLE|TENSION|EXTEND|BLOCKED|BITPIX|NAXIS\d*|[PG]COUNT|THEAP|HECKSUM|DATASUM)"
    r"|Z(CMPTYPE|MASKCMP|QUANTIZ|DITHER0|BLANK|SCALE|ZERO|TILELEN|(TILE|NAME|VAL|FORM|CTYP)\d+)"
    r"|END|COMMENT|HISTORY|CONTINUE|HIERARCH|LONGSTRN"
    r"|CHECKSUM|DATASUM|GALCLI|ORTVER|IDENTITY|HPXNEST|HPXORDER|MOCK|(MODEL|MVER|MSHA|MFRONT|MMOCK)\d+"
)
#: Digits of the largest number of a column: FITS tables have no more than 999.
_COLUMN_DIGITS = 3


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Front(_Part):
    """One way pixels may arrive: linear flux in named bands, or a display image.

    The order of the fronts in the card is the value of the graph's ``front`` input.
    """

    name: str = Field(description="`flux:<bands>` or `display`")
    bands: tuple[str, ...] = Field(description="bands in the order fed to the graph, blue to red")
    surveys: tuple[str, ...] = Field(default=(), description="survey cards that prefer this front (lower case)")

    @model_validator(mode="after")
    def _known_form(self) -> Self:
        if self.name == "display":
            if self.bands != ("blue", "green", "red"):
                raise ValueError("the display front has the bands blue, green, red")
        elif self.name != "flux:" + "".join(self.bands):
            raise ValueError(f"front {self.name!r} does not spell its bands {self.bands}")
        return self

    @property
    def kind(self) -> Literal["flux", "display"]:
        """Kind of pixels: ``flux`` (nanomaggies per pixel) or ``display`` (0 to 1)."""
        return "display" if self.name == "display" else "flux"


class TensorInput(_Part):
    """A tensor that neither cutouts nor a catalogue hold: another model gives it, or whoever calls.

    That model's card names the one it feeds (`Chain`), or the card of the one that is fed names it (`Backbone`).
    """

    name: Annotated[str, StringConstraints(pattern=r"^\S+$")] = Field(description="name of the graph's input")
    dtype: Literal["f4", "i8"] = "f4"
    shape: tuple[int, ...] = Field(default=(), description="shape per row; () is one number")
    description: str


class HeaderCard(_Part):
    """A card in the header of every table that holds the column, for what its readers must know."""

    keyword: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_-]{1,8}(#[A-Z]?)?$")] = Field(
        description="# stands for the number of the column in the table, from 1"
    )
    value: bool | CardNumber | CardText
    comment: CardText = ""

    @field_validator("value", mode="before")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        # The union would take a longer one for a float, which is another number.
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError("an integer of a header card has 64 bits at most")
        return value

    @model_validator(mode="after")
    def _allowed(self) -> Self:
        if len(self.keyword.replace("#", "#" * _COLUMN_DIGITS)) > 8:
            raise ValueError(f"keyword {self.keyword} has more than 8 characters in column 100")
        if _RESERVED.fullmatch(self.keyword.replace("#", "1")):
            raise ValueError(f"keyword {self.keyword} has a meaning of its own in FITS, or galcli writes it")
        width = len(card_text(self.keyword.replace("#", "1"), self.value).rstrip())
        if width + len(self.comment and f" / {self.comment}") > CARD:
            raise ValueError(f"value and comment of {self.keyword} take more than one card")
        return self


class Output(_Part):
    """One output tensor and the table column it becomes."""

    tensor: str
    column: ColumnName
    dtype: Dtype
    shape: tuple[int, ...] = Field(default=(), description="shape per row; () is a scalar column")
    unit: str | None = Field(default=None, description="FITS unit (TUNIT); None where FITS has no such unit")
    scale: str | None = Field(default=None, description="unit word that FITS lacks (dex, nat): goes into TCOMM")
    ucd: str = ""
    description: str
    group: str | None = Field(default=None, description="optional group: computed only with --with GROUP")
    null: int | None = Field(default=None, description="TNULL of an integer column")
    labels: tuple[str, ...] | None = Field(default=None, description="class names: the int tensor becomes text")
    sky_offset: bool = Field(
        default=False,
        description="offset or extent in arcsec on the sky, NaN where the image has no pixel scale; where pixels come at "
        "native size (to this model, or to the one that feeds it) the tensor is in px of the cutout, and is multiplied "
        "by its pixel scale",
    )
    axis: Literal["east", "north"] | None = Field(
        default=None,
        description="of an offset: at native size the tensor counts from the middle of the cutout, and the column from "
        "the object",
    )
    header: tuple[HeaderCard, ...] = Field(default=(), description="written wherever the column is")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.dtype[0] in "iu" and self.null is None:
            raise ValueError(f"integer column {self.column} needs a null value")
        if self.labels is not None and self.dtype[0] != "A":
            raise ValueError(f"column {self.column} has labels, so its dtype must be A<width>")
        if self.labels is None and self.dtype[0] == "A":
            raise ValueError(f"text column {self.column} needs labels")
        if self.shape and (min(self.shape) < 1 or self.shape == (1,)):  # FITS knows no vectors of one number
            raise ValueError(f"column {self.column} has shape {list(self.shape)}; that of one number is []")
        if self.axis is not None and not self.sky_offset:
            raise ValueError(f"column {self.column} has an axis, so it is a sky_offset")
        if len({card.keyword for card in self.header}) < len(self.header):
            raise ValueError(f"column {self.column} has a header card twice")
        return self


class Chain(_Part):
    """Another model fed by this one's outputs."""

    name: ModelName
    sha256: Sha256
    bindings: dict[str, str] = Field(description="output tensor of this model -> input of the other")
    group: str | None = Field(default=None, description="runs only with --with GROUP; None: always")


class Backbone(_Part):
    """The model whose outputs feed this one, and whose card cannot list all that were trained on it."""

    name: ModelName
    sha256: Sha256
    bindings: dict[str, str] = Field(description="output tensor of the backbone -> input of this model")


class TableColumn(_Part):
    """A column of a reader's table."""

    name: ColumnName
    dtype: Dtype
    unit: str | None = None
    description: str
    values: list[Any]


class Table(_Part):
    """A small HDU that readers of the predictions need (feature weights, class names, wavelengths)."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,59}$")]
    description: str
    columns: tuple[TableColumn, ...]

    @model_validator(mode="after")
    def _equal_length(self) -> Self:
        if len({len(column.values) for column in self.columns}) != 1:
            raise ValueError(f"columns of table {self.name} differ in length")
        return self


class Label(_Part):
    """The catalogue column that holds the truth of an output, so that `galcli evaluate` can compare them."""

    output: ColumnName
    column: str
    transform: Literal["identity", "log10"] = "identity"
    error: str | None = Field(default=None, description="column with the 1-sigma error of `column`")
    min_snr: float | None = Field(default=None, description="labels with column/error at or below this are left out")
    minimum: float | None = Field(default=None, description="labels at or below this are left out (sentinels)")
    maximum: float | None = Field(default=None, description="labels at or above this are left out")


class Training(_Part):
    """Where the weights come from."""

    data: str
    mock: bool
    objects: int
    seed: int
    epochs: float
    preset: str
    labels: tuple[Label, ...] = ()
    details: dict[str, Any] = {}

    @property
    def length(self) -> str:
        """Galaxies and epochs in words, with those of the training that it went on from."""
        own, earlier = f"{self.objects:,} galaxies, {self.epochs:.3g} epochs", self.details.get("init")
        if not isinstance(earlier, dict) or not {"objects", "epochs"} <= set(earlier):
            return own
        return f"{own}, after {earlier['objects']:,} galaxies, {earlier['epochs']:.3g} epochs of an earlier training"


class Metric(_Part):
    """A number with the sample it was measured on."""

    name: str
    value: float
    sample: str
    objects: int
    front: str | None = None
    unit: str | None = None


class Domain(_Part):
    """Which column tells how far a row lies outside the training sample."""

    column: ColumnName
    threshold: float = 1.0


class Card(_Part):
    """Model card: see the fields, and ``schemas/model-card.schema.json`` made from them."""

    name: ModelName
    version: str
    system: str
    description: str
    prefix: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9]{0,9}$")]
    fronts: tuple[Front, ...] = ()
    size: tuple[int, int] | None = Field(default=None, description="model grid (h, w) in px; None: native size")
    pixel_scale: float | None = Field(default=None, description="arcsec per px of the model grid; None: native")
    max_masked: float = Field(default=0.1, description="largest fraction of the field without data")
    least_side: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="native size: px along the shorter side of the smallest cutout that is taken"
    )
    columns: tuple[InputColumn, ...] = ()
    inputs: tuple[TensorInput, ...] = Field(default=(), description="instead of pixels: tensors that feed the model")
    outputs: tuple[Output, ...]
    chain: tuple[Chain, ...] = ()
    backbone: Backbone | None = Field(default=None, description="with inputs: the model that runs first and feeds them")
    tables: tuple[Table, ...] = ()
    training: Training
    metrics: tuple[Metric, ...] = ()
    calibration: dict[str, Any] = {}
    domain: Domain | None = None
    precision: Literal["fp32", "int8"] = Field(default="fp32", description="numbers that the graph computes with")
    twin_of: Sha256 | None = Field(default=None, description="int8: SHA-256 of the float32 file it stands in for")
    licence: str
    citation: str

    @property
    def native(self) -> bool:
        """Whether cutouts come in their own size and pixel scale."""
        return bool(self.fronts) and self.size is None

    @property
    def field(self) -> float:
        """Longer side of the model's grid in arcsec; 0 where it takes cutouts as they are."""
        return 0.0 if self.size is None or self.pixel_scale is None else max(self.size) * self.pixel_scale

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not (self.fronts or self.columns or self.inputs):
            raise ValueError("a model needs at least one front, one catalogue column or one input tensor")
        if self.inputs and (self.fronts or self.columns):
            raise ValueError("a model that tensors feed has neither fronts nor catalogue columns")
        if len({tensor.name for tensor in self.inputs}) < len(self.inputs):
            raise ValueError("two inputs have the same name")
        if len({column.name.upper() for column in self.columns}) < len(self.columns):
            raise ValueError("two catalogue columns have the same name")
        if self.backbone is not None and (not self.inputs or self.precision == "int8"):
            raise ValueError("a backbone feeds input tensors of a float32 model")
        if (self.size is None) != (self.pixel_scale is None):
            raise ValueError("size and pixel_scale are given together or not at all")
        if self.least_side is not None and not self.native:
            raise ValueError("least_side is for models that take cutouts at native size")
        names = [output.column for output in self.outputs] + [f"{self.prefix}_STATUS"]
        if len(set(names)) != len(names):
            raise ValueError("two outputs write the same column")
        if any(re.match(r"inner/", output.tensor) for output in self.outputs):
            raise ValueError("tensors named inner/... are for chaining, never columns")
        if self.domain and self.domain.column not in names:
            raise ValueError(f"domain column {self.domain.column} is not an output")
        if (self.precision == "int8") != (self.twin_of is not None):
            raise ValueError("twin_of is given with the precision int8, and only then")
        return self


def parse_card(text: str, where: str) -> Card:
    """Validate the JSON text of a card.

    Parameters
    ----------
    text : str
        JSON of the card.
    where : str
        File the card came from, for the error message.

    Returns
    -------
    Card

    Raises
    ------
    ModelError
        If the text is no valid card; the first faulty field is named.
    """
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "card"
        raise ModelError(
            f"{where}: the model card is not valid at {field}: {first['msg']}",
            "export the model again with `galcli train`, or see schemas/model-card.schema.json",
        ) from error
