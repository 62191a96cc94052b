"""Networks in ONNX, run by onnxruntime: a graph of known operators that cannot run other code.

TorchScript and ``torch.export`` files hold programs, which could read and write files while they
are loaded or run; an ONNX file holds operators of a published list and numbers. Its further
features, weights in other files and operators of other libraries, are refused.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from mmdisco.errors import UserError
from mmdisco.io.files import expect_file

Array = npt.NDArray[Any]

_PROGRAMS: Final = (".pt", ".pt2", ".pth", ".ts", ".jit", ".torchscript", ".bin", ".pkl")
_MOST_BYTES: Final = 2**31 - 1  # the limit of protocol buffers
_DOMAINS: Final = ("", "ai.onnx", "ai.onnx.ml")
_NUMBERS: Final = {
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
}
_EXPORT: Final = 'export it with torch.onnx.export(network, (example,), "network.onnx")'
_MISSING: Final = "networks in ONNX need onnx and onnxruntime: pip install 'mmdisco[metrics]'"


@dataclass(frozen=True)
class OnnxNetwork:
    """A network of one input.

    Attributes:
        path: File, for messages.
        session: Session of onnxruntime, on the CPU.
        kind: Data type of the input.
        outputs: Names of the outputs, in order.
    """

    path: Path
    session: Any  # onnxruntime is not typed
    kind: type[np.floating[Any]]
    outputs: tuple[str, ...]

    @staticmethod
    def load(path: Path, sha256: str) -> "OnnxNetwork":
        """Read a file.

        Args:
            path: File whose name ends in ``.onnx``.
            sha256: Checksum of the file; no other is run.

        Raises:
            UserError: The file is missing, is not the declared one, holds anything but a network,
                or onnxruntime is not installed.
        """
        if path.suffix.lower() in _PROGRAMS:
            raise UserError(
                f"{path} may hold programs, which would run: {_EXPORT} and declare that file"
            )
        if path.suffix.lower() != ".onnx":
            raise UserError(f"{path} is no ONNX file, whose name ends in .onnx: {_EXPORT}")
        if expect_file(path) > _MOST_BYTES:
            raise UserError(f"{path} has more than 2 GB: export the network in half precision")
        content = path.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise UserError(f"{path} has SHA-256 {found}, not {sha256}: not run")
        _expect_harmless(content, path)
        return _opened(content, path)

    def __call__(self, given: Array) -> Mapping[int | str, Array]:
        """Run the network; return outputs by index and by name.

        Raises:
            UserError: It takes arrays of another shape.
        """
        (taken,) = self.session.get_inputs()
        try:
            found: Sequence[Any] = self.session.run(None, {taken.name: given.astype(self.kind)})
        except Exception as error:  # onnxruntime's errors have no common base class
            raise UserError(
                f"{self.path} takes {taken.shape} and fails on {list(given.shape)}: "
                f"{_line(error)}; mend its JSON file"
            ) from error
        return {**dict(enumerate(found)), **dict(zip(self.outputs, found, strict=True))}


def _opened(content: bytes, path: Path) -> OnnxNetwork:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(_MISSING) from error
    runtime: Any = onnxruntime
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are reported once, by us
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(f"{path} is no network: {_line(error)}; {_EXPORT}") from error
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs) or "nothing"
        raise UserError(
            f"{path} takes {names}: export the network with one input, everything else settled"
        )
    if inputs[0].type not in _NUMBERS:
        raise UserError(f"{path} takes {inputs[0].type}: export the network of real numbers")
    outputs = tuple(str(one.name) for one in session.get_outputs())
    return OnnxNetwork(path, session, _NUMBERS[inputs[0].type], outputs)


def _expect_harmless(content: bytes, path: Path) -> None:
    """Check that all weights are in the file and all operators are ONNX's own.

    Raises:
        UserError: They are not, or it is no ONNX file.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise UserError(_MISSING) from error
    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise UserError(f"{path} is no network, or cut short: {_EXPORT}") from error
    own = {function.domain for function in model.functions}
    for one in _messages(model):
        if isinstance(one, onnx.TensorProto) and (one.external_data or one.data_location):
            raise UserError(
                f"{path} keeps weights in another file, which no checksum covers: export it with "
                "external_data=False"
            )
        if isinstance(one, onnx.NodeProto) and one.domain not in (*_DOMAINS, *own):
            raise UserError(
                f"{path} calls {one.op_type} of {one.domain}, which is not ONNX's own: {_EXPORT}"
            )


def _messages(message: Any) -> Iterator[Any]:
    """Iterate over a protocol-buffer message and all messages in it."""
    waiting = [message]
    while waiting:
        one = waiting.pop()
        yield one
        for field, value in one.ListFields():
            if field.message_type is not None:
                waiting.extend([value] if hasattr(value, "ListFields") else value)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
