"""Models that feed others: the file of the other end, and whether the tensors fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from galcli.errors import ModelError
from galcli.models import library
from galcli.models.card import Backbone, Chain
from galcli.models.library import ModelFile
from galcli.models.session import Session


def chained_file(model: ModelFile, link: Chain) -> ModelFile:
    """The model that another one feeds: beside its file, or among those installed.

    Raises
    ------
    ModelError
        If there is none, or it is another version, or its own card names what feeds it.
    """
    beside = model.path.with_name(f"{link.name}.onnx")
    child = library.find(beside if beside.is_file() else link.name)
    if child.sha256 != link.sha256:
        raise ModelError(
            f"{model.name} is chained to another version of {link.name} than {child.path}",
            "export both models together",
        )
    if child.card.backbone is not None:
        raise ModelError(
            f"{model.name} is chained to {child.name}, which names {child.card.backbone.name} as its backbone",
            f"leave one of the two links out, and run {child.name} by its own name",
        )
    return child


def backbone_file(model: ModelFile, link: Backbone, others: Sequence[ModelFile] = ()) -> ModelFile:
    """The model that feeds another one by that one's card, in float32.

    Parameters
    ----------
    model : ModelFile
    link : Backbone
        From its card.
    others : sequence of ModelFile
        Models that are open anyway: one of them may be it, wherever it lies.

    Returns
    -------
    ModelFile
        One of the others, or that beside the model's file, or that installed.

    Raises
    ------
    ModelError
        If none of these is the backbone, or it does not work on pixels.
    """
    found: dict[Path, ModelFile] = {}
    for candidate in _candidates(model, link, others):
        if candidate.sha256 != link.sha256:
            found[candidate.path] = candidate
        elif candidate.card.inputs:
            raise ModelError(
                f"{model.name} cannot be fed by {link.name}, which another model feeds",
                "train it on a model that works on pixels",
            )
        else:
            return candidate
    hint = f"put {link.name}.onnx of SHA-256 {link.sha256} beside {model.path}"
    if found:
        paths = " and ".join(f"{other.path} ({other.sha256[:12]})" for other in found.values())
        raise ModelError(
            f"{model.name} was trained on another {link.name} ({link.sha256[:12]}) than {paths}",
            f"{hint}, or train {model.name} again on the one that is there",
        )
    raise ModelError(f"{model.name} needs {link.name}, which is neither beside {model.path} nor installed", hint)


def _candidates(model: ModelFile, link: Backbone, others: Sequence[ModelFile]) -> Iterator[ModelFile]:
    """Files that may be a backbone; of the others only that with the right SHA-256 is of interest."""
    yield from (other for other in others if other.sha256 == link.sha256)
    beside = model.path.with_name(f"{link.name}.onnx")
    if beside.is_file():
        yield library.find(beside, "fp32")
    if link.name in library.names():
        yield library.find(link.name)


def require_bindings(feeding: Session, fed: Session, bindings: Mapping[str, str]) -> None:
    """Refuse tensors that do not exist, or do not fit, before any work is done.

    Parameters
    ----------
    feeding, fed : Session
    bindings : mapping of str to str
        Output of the one -> input of the other.

    Raises
    ------
    ModelError
    """
    if fault := next(_binding_faults(feeding, fed, bindings), None):
        again = f"{fed.model.name} again" if fed.model.card.backbone else "both models together"
        raise ModelError(fault, f"export {again}")


def _binding_faults(feeding: Session, fed: Session, bindings: Mapping[str, str]) -> Iterator[str]:
    name, other = feeding.model.name, fed.model.name
    wanted = {tensor.name: tensor for tensor in fed.model.card.inputs}
    if missing := sorted(set(bindings) - set(feeding.outputs)):
        yield f"{name} has no output {', '.join(missing)} to feed {other}"
    if sorted(bindings.values()) != sorted(wanted):
        bound, inputs = (", ".join(sorted(names)) or "none" for names in (bindings.values(), wanted))
        yield f"{name} feeds {other} with {bound}, but its inputs are {inputs}"
    for source, target in bindings.items():
        if fault := library.feeding_fault(feeding.outputs[source], wanted[target]):
            yield f"{name} cannot feed input {target} of {other}: {source} {fault}"
