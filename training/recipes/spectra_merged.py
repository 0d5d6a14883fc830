"""Network and decoder in one graph, for runtimes that chain no models: images in, spectra out."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import compose

from galcli.models.card import Card
from galcli.models.library import ModelFile
from galcli.training import export

#: Name of the model; its columns are those of both parts.
NAME = "spectra-merged"
#: Before the names of the decoder's tensors, which must not meet the network's.
PREFIX = "decoder/"


def write_merged(graph: onnx.ModelProto, card: Card, decoder: ModelFile, path: Path) -> None:
    """Write the model file of both parts together.

    Parameters
    ----------
    graph : onnx.ModelProto
        Of the network.
    card : Card
        Its card, which names the decoder.
    decoder : ModelFile
    path : Path

    Raises
    ------
    ModelError
        If the parts do not fit each other.
    """
    link = next(link for link in card.chain if link.sha256 == decoder.sha256)
    second = onnx.load(str(decoder.path))
    del second.metadata_props[:]
    second.ir_version = graph.ir_version  # of files exported at different times
    second = compose.add_prefix(second, PREFIX, rename_inputs=False)
    kept = [value.name for part in (graph, second) for value in part.graph.output]
    merged = compose.merge_models(
        graph, second, io_map=list(link.bindings.items()), outputs=kept, name=NAME,
        producer_name=graph.producer_name, producer_version=graph.producer_version,
    )  # fmt: skip
    outputs = [one.model_copy(update={"tensor": PREFIX + one.tensor}) for one in decoder.card.outputs]
    fields = card.model_copy(
        update={
            "name": NAME, "description": "A galaxy's optical spectrum and the numbers that describe it, from its image",
            "outputs": (*card.outputs, *outputs), "tables": decoder.card.tables, "chain": (),
        }
    )  # fmt: skip
    export.save(merged, Card.model_validate(fields.model_dump()), path)
