"""Shapes without numbers: what a network computes and holds, counted on the meta device.

Weights lie on the meta device; whatever meets one of them has a shape and no numbers from then
on. What meets none, such as masks and positions, is computed as ever unless it is large, so that
networks that look at their masks run too.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from typing_extensions import override

_META: Final = torch.device("meta")
_CPU: Final = torch.device("cpu")
_SMALL: Final = 1 << 10  # elements, so few that nothing made of them is large
_LARGE: Final = 1 << 22  # elements


class MetaCount(TorchDispatchMode):
    """Counts the operations and the memory of networks whose weights are on the meta device.

    Attention is counted as the fused kernel, which holds no matrix of weights.

    Args:
        weights: Tensors that are there before, and no activations.

    Attributes:
        operations: Floating-point operations of matrix products, convolutions and attention; a
            multiplication and its addition are two.
        peak: Most bytes of activations at a time.
    """

    def __init__(self, weights: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.operations = 0
        self.peak = 0
        self._held = 0
        self._known = weakref.WeakSet(one.untyped_storage() for one in weights if one.is_meta)
        self._attention = _FusedAttention(self)
        self._made: dict[Any, tuple[Any, int]] = {}

    @override
    def __enter__(self) -> "MetaCount":
        self._attention.__enter__()
        super().__enter__()
        return self

    @override
    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._attention.__exit__(*error)

    @override
    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if not any(one.is_meta for one in _tensors((*args, *given.values()))):
            return self._beside_weights(func, args, given)
        schema = func._schema
        if schema.is_mutable and args and isinstance(args[0], Tensor) and not args[0].is_meta:
            return args[0]  # numbers that would come from no numbers: its shape is all that counts
        if isinstance(given.get("device"), torch.device):
            given["device"] = _META
        args = _with_positions(args) if "index" in schema.name else args
        args, given = _on_meta(args), {name: _on_meta(one) for name, one in given.items()}
        made, operations = self._computed(func, args, given)
        self.operations += operations
        self._note(made)
        return made

    def add_attention(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Count fused attention; return its output."""
        products = query.numel() // query.shape[-1] * key.shape[-2]
        self.operations += 2 * products * (query.shape[-1] + value.shape[-1])
        made = query.new_empty((*query.shape[:-1], value.shape[-1]), device=_META)
        self._note(made)
        return made

    def _computed(self, func: Any, args: Any, given: dict[str, Any]) -> tuple[Any, int]:
        """Return shapes and operations, of the same operation on the same shapes if there was one.

        Layers repeat, and deducing a shape takes some hundred times as long as a tensor of it.
        """
        count = flop_registry.get(func._overloadpacket)
        # a view shares the memory of its base, so it is made anew
        alike = all(one.alias_info is None for one in func._schema.returns)
        key = (func, _key(args), _key(tuple(given.items()))) if alike else None
        if key is not None and key in self._made:
            form, operations = self._made[key]
            return _of_form(form), operations
        made = func(*args, **given)
        operations = 0 if count is None else int(count(*args, **given, out_val=made))
        if key is not None:
            self._made[key] = _form(made), operations
        return made, operations

    def _beside_weights(self, func: Any, args: Any, given: dict[str, Any]) -> Any:
        """Compute what is not made of weights, unless it is large, as masks of attention can be."""
        if isinstance(given.get("device"), torch.device):
            given["device"] = _META
        sizes = [one.numel() for one in _tensors((*args, *given.values()))]
        if not sizes or sum(sizes) > _SMALL:
            try:
                there = {name: _on_meta(one) for name, one in given.items()}
                made = func(*_on_meta(args), **there)
            except (NotImplementedError, RuntimeError):
                made = None  # its shape depends on numbers
            if any(one.numel() > _LARGE for one in _tensors((made,))):
                self._note(made)
                return made
        if "device" in given:
            given["device"] = _CPU
        return func(*args, **given)

    def _note(self, made: Any) -> None:
        """Add the memory of what was made, until it is dropped."""
        for one in _tensors((made,)):
            storage = one.untyped_storage()
            if one.is_meta and storage not in self._known:
                self._known.add(storage)
                self._held += storage.nbytes()
                weakref.finalize(storage, self._drop, storage.nbytes())
        self.peak = max(self.peak, self._held)

    def _drop(self, size: int) -> None:
        self._held -= size


class _FusedAttention(TorchFunctionMode):
    """Stands in for scaled-dot-product attention, of which the meta device has the plain form."""

    def __init__(self, count: MetaCount) -> None:
        super().__init__()
        self._count = count

    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is functional.scaled_dot_product_attention:
            named = dict(zip(("query", "key", "value"), args, strict=False)) | given
            query, key, value = (named[name] for name in ("query", "key", "value"))
            if query.is_meta or key.is_meta or value.is_meta:
                return self._count.add_attention(query, key, value)
        return func(*args, **given)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """Return the tensors of an operation's arguments, which are nested once at most."""
    for one in values:
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, tuple | list):
            yield from (inner for inner in one if isinstance(inner, Tensor))


def _on_meta(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value if value.is_meta else value.to(_META)
    return type(value)(map(_on_meta, value)) if isinstance(value, tuple | list) else value


def _with_positions(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments with positions in the place of masks, whose numbers are known."""
    if len(args) < 2 or not isinstance(args[1], list | tuple):
        return args
    indices: list[Any] = []
    for one in args[1]:
        masks = isinstance(one, Tensor) and one.dtype is torch.bool and not one.is_meta
        indices += one.nonzero().unbind(1) if masks else [one]
    return (args[0], indices, *args[2:])


def _key(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    return tuple(map(_key, value)) if isinstance(value, tuple | list) else value


def _form(made: Any) -> Any:
    if isinstance(made, Tensor):
        return made.shape, made.stride(), made.dtype
    return [_form(one) for one in made] if isinstance(made, tuple | list) else None


def _of_form(form: Any) -> Any:
    if isinstance(form, tuple):
        shape, stride, dtype = form
        return torch.empty_strided(shape, stride, dtype=dtype, device=_META)
    return None if form is None else tuple(map(_of_form, form))
