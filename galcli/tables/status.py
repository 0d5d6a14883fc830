"""The two bit masks of the output table: ``STATUS`` per row, ``<PREFIX>_STATUS`` per row and model."""

from __future__ import annotations

from enum import IntFlag


class RowStatus(IntFlag):
    """What is wrong with the input of a row (column ``STATUS``, int32; 0 = good)."""

    BAD_COORD = 1
    MISSING_CUTOUT = 2
    CORRUPT_CUTOUT = 4
    CONSTANT = 8
    NO_PREDICTION = 16


class ModelStatus(IntFlag):
    """What one model met in a row (column ``<PREFIX>_STATUS``, int32; 0 = good)."""

    MISSING_BAND = 1
    MASKED = 2
    PIXEL_SCALE = 4
    MODEL_ERROR = 8
    MISSING_COLUMN = 16
    OUT_OF_DOMAIN = 256
    EDGE = 512


#: Bits of ModelStatus that come with null values; with the others the values are kept.
NULL_BITS = (
    ModelStatus.MISSING_BAND
    | ModelStatus.MASKED
    | ModelStatus.PIXEL_SCALE
    | ModelStatus.MODEL_ERROR
    | ModelStatus.MISSING_COLUMN
)

#: Bits of RowStatus that leave a row without pixels: no model that takes some can say anything.
NO_PIXELS = RowStatus.BAD_COORD | RowStatus.MISSING_CUTOUT | RowStatus.CORRUPT_CUTOUT | RowStatus.CONSTANT

ROW_STATUS_MEANING: dict[RowStatus, str] = {
    RowStatus.BAD_COORD: "RA or Dec is missing, not finite or out of range",
    RowStatus.MISSING_CUTOUT: "no cutout was found for this row, or the one found shows another place",
    RowStatus.CORRUPT_CUTOUT: "the cutout is damaged (unreadable, truncated or checksum failed)",
    RowStatus.CONSTANT: "the cutout holds no signal (all pixels equal, or no data at all)",
    RowStatus.NO_PREDICTION: "at least one requested model gave nothing for this row",
}


def meaning(status: int) -> str:
    """What the bits of a row's status say, in words."""
    return "; ".join(text for bit, text in ROW_STATUS_MEANING.items() if status & bit)


MODEL_STATUS_MEANING: dict[ModelStatus, str] = {
    ModelStatus.MISSING_BAND: "a band the model needs has no data, or there is no cutout at all (values null)",
    ModelStatus.MASKED: "too many pixels without data in the model's field, or in its centre, "
    "or a smaller cutout than the model takes (values null)",
    ModelStatus.PIXEL_SCALE: "pixel scale of a flux image unknown, or outside what can be resampled (values null)",
    ModelStatus.MODEL_ERROR: "the model gave a value that is not finite (values null)",
    ModelStatus.MISSING_COLUMN: "a catalogue column the model needs has no usable value here, but none, a "
    "sentinel or one outside the range in the model's card (values null)",
    ModelStatus.OUT_OF_DOMAIN: "unlike the training sample (values kept, to be distrusted)",
    ModelStatus.EDGE: "the cutout does not cover the model's whole field (values kept)",
}
