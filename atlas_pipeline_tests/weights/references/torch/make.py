"""Writes small checkpoints as PyTorch itself saves them, and the numbers in them as safetensors.

Run by `python atlas_pipeline_tests/weights/references/torch/make.py` where torch and safetensors are installed; the
tests need neither. `versions.json` says which versions wrote what is here.
"""

from __future__ import annotations

import json
import os
import platform
from collections import OrderedDict
from pathlib import Path

import numpy as np
import safetensors
import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).parent


class Callback:
    """A class that no reader of the file has."""

    def __init__(self) -> None:
        self.best = np.float64(0.25)


class Payload:
    """Runs a harmless command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def plain() -> OrderedDict[str, torch.Tensor]:
    """Types, and views that are still one row after another."""
    matrix = torch.randn(12, 8)
    fused = torch.randn(9, 4)
    tensors: OrderedDict[str, torch.Tensor] = OrderedDict()
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        tensors[str(dtype).removeprefix("torch.")] = matrix.to(dtype)
    tensors["int8"] = torch.arange(-8, 8, dtype=torch.int8).reshape(4, 4)
    tensors["int64"] = torch.arange(6).reshape(1, 6)
    tensors["bool"] = torch.tensor([True, False])
    tensors["float8_e4m3fn"] = matrix.to(torch.float8_e4m3fn)
    tensors["float8_e5m2"] = matrix.to(torch.float8_e5m2)
    tensors["tied"] = tensors["float32"]
    tensors["parameter"] = torch.nn.Parameter(torch.randn(3, 5))
    tensors["buffer"] = torch.nn.Buffer(torch.randn(4))
    tensors["fused.q"], tensors["fused.k"], tensors["fused.v"] = fused.chunk(3)
    tensors["scalar"] = torch.tensor(1.5)
    tensors["empty"] = torch.empty(0, 4)
    tensors["one_row"] = torch.randn(1, 7)[:, :]
    return tensors


def views() -> OrderedDict[str, torch.Tensor]:
    """Views whose numbers do not lie one row after another."""
    matrix = torch.randn(10, 6)
    tensors: OrderedDict[str, torch.Tensor] = OrderedDict()
    tensors["matrix"] = matrix
    tensors["transposed"] = matrix.t()
    tensors["columns"] = matrix[:, 2:5]
    tensors["every_other_row"] = matrix[::2]
    tensors["every_other_column"] = matrix[1:9, ::2]
    tensors["column"] = matrix[:, 3]
    tensors["permuted"] = torch.randn(3, 4, 5).permute(2, 0, 1)
    tensors["half_transposed"] = torch.randn(4, 6).to(torch.bfloat16).t()
    tensors["channels_last"] = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    tensors["expanded"] = torch.randn(1, 6).expand(5, 6)
    return tensors


def model() -> torch.nn.Module:
    """A model with parameters, a buffer, and a part in a part."""
    return torch.nn.Sequential(
        OrderedDict(
            first=torch.nn.Linear(6, 4),
            norm=torch.nn.BatchNorm1d(4),
            rest=torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(4, 2, bias=False)),
        )
    )


def training(state: dict[str, torch.Tensor], network: torch.nn.Module) -> dict[str, object]:
    """What a trainer saves: the model between everything else."""
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.randn(3, 6)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.0.0",
        "state_dict": state,
        "callbacks": {"ModelCheckpoint{'monitor': None}": Callback()},
        "optimizer_states": [optimizer.state_dict()],
        "rng_state": torch.get_rng_state()[:64].clone(),
        "hyper_parameters": {"rate": np.float64(0.1), "sizes": (1, 2), ("a", 1): None},
    }


def main() -> None:
    """Writes all files."""
    torch.manual_seed(7)
    network = model()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first = {"layers.0.weight": torch.randn(5, 4), "layers.0.bias": torch.randn(5)}
    second = {"layers.1.weight": torch.randn(5, 4).to(torch.bfloat16)}
    contents: dict[str, object] = {
        "plain.bin": plain(),
        "views.bin": views(),
        "training.ckpt": training(state, network),
        "whole.pt": network,
        "shard-00001-of-00002.bin": first,
        "shard-00002-of-00002.bin": second,
    }
    expected = {
        "plain.bin": contents["plain.bin"],
        "views.bin": contents["views.bin"],
        "training.ckpt": state,
        "whole.pt": network.state_dict(),
        "shard": first | second,
    }
    for name, content in contents.items():
        torch.save(content, FOLDER / name)
    torch.save(state, FOLDER / "protocol4.pth", pickle_protocol=4)
    expected["protocol4.pth"] = state
    torch.save(first, FOLDER / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"w": torch.ones(2, 2), "x": Payload()}, FOLDER / "payload.pt")
    torch.jit.script(torch.nn.Linear(2, 2)).save(FOLDER / "script.pt")
    quantized = torch.quantize_per_tensor(torch.randn(3, 4), 0.1, 0, torch.qint8)
    unread = {"w": torch.ones(2, 2), "quantized": quantized, "sparse": torch.eye(3).to_sparse()}
    torch.save(unread, FOLDER / "unread.pt")
    flat = {
        f"{file}/{name}": tensor.detach().clone(memory_format=torch.contiguous_format)
        for file, tensors in expected.items()
        for name, tensor in tensors.items()
    }
    save_file(flat, FOLDER / "expected.safetensors")
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "safetensors": safetensors.__version__,
    }
    (FOLDER / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main()
