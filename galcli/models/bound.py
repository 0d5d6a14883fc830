"""Batches on a device: page-locked buffers, tensors that stay there, and runs bound to them.

The same code runs with the CPU as the device, where it is tested; predictions on the CPU do without it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from galcli.models import nvidia
from galcli.models.runtime import errors, onnxruntime, run_error

if TYPE_CHECKING:
    from galcli.models.devices import Device
    from galcli.models.session import Graph

Array = NDArray[Any]


@dataclass(frozen=True)
class Tensor:
    """Rows on the device, padded to a fixed number. Slicing it copies rows to the host.

    Attributes
    ----------
    value : OrtValue
    rows : int
        How many of its rows count.
    """

    value: Any
    rows: int

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: Any) -> Array:
        counted: Array = self.value.numpy()[: self.rows]
        return np.asarray(counted[rows])


Value: TypeAlias = Array | Tensor
_Key: TypeAlias = tuple[int, tuple[int, ...], tuple[int, ...], str]


@dataclass
class _Slot:
    """Memory for one input: the host's side, and the device's."""

    host: Array
    value: Any


class Lane:
    """Memory of one batch in flight.

    Two lanes, each in a thread of its own, let the upload of one batch, the computing of another and the download of
    a third overlap: onnxruntime gives each run a stream of its own, and Python waits for the upload alone.

    Parameters
    ----------
    device : Device
    least : int
        Batches are padded to powers of two that are at least this. A new number of rows costs CUDA a search for
        algorithms and may change the last digits, and costs TensorRT minutes.

    Attributes
    ----------
    least : int
        May be set from any thread; holds from the next batch on.
    """

    def __init__(self, device: Device, least: int = 1) -> None:
        self._device = device
        self.least = least
        self._padding = next_power_of_two(least)
        #: Place and form of an array -> the array, whose memory is thus not used for another, and its copy.
        self._placed: dict[_Key, tuple[Array, _Slot]] = {}
        #: What the batch before had of arrays that never change.
        self._lasting: dict[_Key, tuple[Array, _Slot]] = {}
        #: Form of an array -> memory for such ones; what was used longest ago comes first.
        self._free: dict[tuple[tuple[int, ...], str], list[_Slot]] = {}
        #: Bytes of the largest batch so far.
        self._largest = 0

    def clear(self) -> None:
        """Forget the batch; its memory is kept, and so is what it had of arrays that never change.

        Cutouts of native size may come in any shape: what is kept is as much as batches of one shape, padded to powers
        of two, need at most, where a half of it is of arrays that never change.
        """
        self._largest = max(self._largest, sum(slot.host.nbytes for _, slot in self._placed.values()))
        lasting = {key: entry for key, entry in self._placed.items() if _is_constant(entry[0])}
        over = [*self._lasting.values(), *(entry for key, entry in self._placed.items() if key not in lasting)]
        for _, slot in over:
            form = slot.host.shape, slot.host.dtype.str
            self._free[form] = [*self._free.pop(form, []), slot]
        self._forget_old(4 * self._largest)
        self._placed, self._lasting = {}, lasting
        if self._padding != next_power_of_two(self.least):
            self.release()
            self._padding = next_power_of_two(self.least)

    def _forget_old(self, most: int) -> None:
        """Give back memory of forms used longest ago, until no more than ``most`` bytes are kept."""
        kept = sum(slot.host.nbytes for slots in self._free.values() for slot in slots)
        while kept > most:
            kept -= sum(slot.host.nbytes for slot in self._free.pop(next(iter(self._free))))

    def release(self) -> None:
        """Give all memory back."""
        self._placed, self._lasting, self._free = {}, {}, {}

    def run(
        self, graph: Graph, feeds: Mapping[str, Value], outputs: Iterable[str], kept: Collection[str] = ()
    ) -> dict[str, Value]:
        """Run a graph on one batch.

        Parameters
        ----------
        graph : Graph
        feeds : mapping of str to ndarray or Tensor, (N, ...)
            An array that was fed before, since `clear`, is not uploaded again.
        outputs : iterable of str
            Outputs wanted.
        kept : collection of str
            Those that stay on the device, to feed another graph.

        Returns
        -------
        dict of str to ndarray or Tensor, (N, ...)

        Raises
        ------
        ModelError
            If onnxruntime refuses the arrays or fails.
        DeviceMemoryError
            If memory ran out.
        """
        names = list(outputs)
        count = len(next(iter(feeds.values())))
        try:
            binding = graph.session.io_binding()
            for name, value in feeds.items():
                binding.bind_ortvalue_input(name, value.value if isinstance(value, Tensor) else self._place(value))
            for name in names:
                device = (self._memory, self._device.number) if name in kept else ("cpu", 0)
                binding.bind_output(name, *device)
            graph.session.run_with_iobinding(binding)
            results = binding.get_outputs()
            return {
                name: Tensor(result, count) if name in kept else result.numpy()[:count]
                for name, result in zip(names, results, strict=True)
            }
        except errors() as error:
            raise run_error(graph.where, count, error) from error

    @property
    def _memory(self) -> str:
        return "cuda" if self._device.gpu else "cpu"

    def _place(self, array: Array) -> Any:
        """The array on the device, filled up with zeros; uploaded unless it is there already."""
        key = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str)
        if key in self._lasting:
            self._placed[key] = self._lasting.pop(key)
        if key in self._placed:
            return self._placed[key][1].value
        rows = max(self._padding, next_power_of_two(len(array)))
        slot = self._slot((rows, *array.shape[1:]), array.dtype.newbyteorder("="))
        slot.host[: len(array)] = array
        slot.host[len(array) :] = 0
        slot.value.update_inplace(slot.host)
        self._placed[key] = (array, slot)
        return slot.value

    def _slot(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> _Slot:
        free = self._free.get((shape, dtype.str))
        if free:
            return free.pop()
        host = nvidia.page_locked(shape, dtype, self._device.number) if self._device.gpu else np.empty(shape, dtype)
        value = onnxruntime().OrtValue.ortvalue_from_shape_and_type(shape, dtype, self._memory, self._device.number)
        return _Slot(host, value)


def next_power_of_two(count: int) -> int:
    """The smallest power of two that is at least ``count``."""
    return 1 << max(count - 1, 0).bit_length()


def _is_constant(array: Array) -> bool:
    """Whether nobody can write to an array's memory."""
    return not array.flags.writeable and isinstance(array.base, np.ndarray) and not array.base.flags.writeable
