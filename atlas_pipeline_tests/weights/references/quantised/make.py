"""Quantises small random matrices with the libraries that invented the layouts, and keeps what they make of them.

For every case: a file with the tensors of two layers, named and typed as the library stores them, and rows of the
matrices that the library itself dequantises. `cases.json` says with which config.json and which version.

    python make.py [folder]                     all cases but those of older libraries
    PYTHONPATH=<old> python make.py --older     those of compressed-tensors 0.12, which is installed in <old>

Libraries (CPU is enough): torch, bitsandbytes, compressed-tensors, transformers, GPTQModel, nvidia-modelopt,
mlx, safetensors.
"""

import argparse
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]
Made = tuple[Tensors, torch.Tensor]

LAYERS = 2
MODULE = "model.layers.{}.mlp.up_proj"


def random_weight(seed: int, n_rows: int, n_columns: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_rows, n_columns, generator=generator) * 0.02


# bitsandbytes


def four_bit(
    kind: str, shape: tuple[int, int], *, nested: bool, dtype: torch.dtype = torch.float32
) -> Callable[[int], Made]:
    def make(seed: int) -> Made:
        import bitsandbytes as bnb

        weight = random_weight(seed, *shape).to(dtype)
        layer = bnb.nn.Linear4bit(shape[1], shape[0], bias=False, quant_type=kind, compress_statistics=nested)
        layer.weight = bnb.nn.Params4bit(
            weight.clone(), requires_grad=False, quant_type=kind, compress_statistics=nested, module=layer
        )
        layer = layer.to("cpu")
        if layer.weight.quant_state is None:
            layer.weight = layer.weight._quantize("cpu")
        return dict(layer.state_dict()), four_bit_dequantised(layer.weight.data, layer.weight.quant_state)

    return make


def four_bit_dequantised(codes: torch.Tensor, state: object) -> torch.Tensor:
    """By the library's own portable code: its kernel for CPUs takes every row to begin with a block of its own."""
    import bitsandbytes as bnb
    from bitsandbytes.backends.default.ops import _dequantize_4bit_compute

    if state.shape[1] % state.blocksize == 0:
        return bnb.functional.dequantize_4bit(codes, state)
    scales = state.absmax
    if state.nested:
        scales = bnb.functional.dequantize_blockwise(state.absmax, state.state2) + state.offset
    return _dequantize_4bit_compute(codes.reshape(-1), scales, state.code, state.blocksize, state.shape, state.dtype)


def int8(seed: int) -> Made:
    import bitsandbytes as bnb

    layer = bnb.nn.Linear8bitLt(64, 32, bias=False, has_fp16_weights=False)
    layer.weight = bnb.nn.Int8Params(random_weight(seed, 32, 64).half(), requires_grad=False, has_fp16_weights=False)
    layer.weight.data, layer.weight.SCB, _ = bnb.functional.int8_vectorwise_quant(layer.weight.data)
    dequantised = bnb.functional.int8_vectorwise_dequant(layer.weight.data, layer.weight.SCB)
    return dict(layer.state_dict()), dequantised


# GPTQ and AWQ


def gptq(bits: int, *, symmetric: bool, second: bool, ordered: bool = False, group: int = 32) -> Callable[[int], Made]:
    n_rows, n_columns = 32, 96

    def make(seed: int) -> Made:
        from gptqmodel.nn_modules.qlinear.torch import TorchLinear
        from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module

        weight = random_weight(seed, n_rows, n_columns)
        most = 2**bits - 1
        groups = torch.arange(n_columns) // (group if group > 0 else n_columns)
        if ordered:
            groups = groups[torch.randperm(n_columns, generator=torch.Generator().manual_seed(seed))]
        parts = [weight[:, groups == number] for number in range(int(groups.max()) + 1)]
        if symmetric:
            scales = torch.stack([part.abs().amax(1) * 2 / most for part in parts], 1)
            zeros = torch.full_like(scales, 2.0 ** (bits - 1))
        else:
            scales = torch.stack([(part.amax(1) - part.amin(1)) / most for part in parts], 1)
            zeros = torch.stack([(-part.amin(1) * most / (part.amax(1) - part.amin(1))).round() for part in parts], 1)
        linear = torch.nn.Linear(n_columns, n_rows, bias=False)
        linear.weight.data = weight
        layer = TorchLinear(
            bits=bits,
            group_size=group if group > 0 else n_columns,
            sym=symmetric,
            desc_act=ordered,
            in_features=n_columns,
            out_features=n_rows,
            bias=False,
        )
        layer.pack_original(linear, scales.half().float(), zeros, groups.int())
        layer.post_init()
        single, layer.scales = layer.scales, layer.scales.float()
        dequantised = layer.dequantize_weight().T
        layer.scales = single
        if not second:

            class _Config:
                bits = layer.bits
                pack_dtype = torch.int32

            convert_gptq_v2_to_v1_format_module(layer, _Config())
        stored = {name: getattr(layer, name) for name in ("qweight", "qzeros", "scales", "g_idx")}
        return stored, dequantised

    return make


def awq(group: int) -> Callable[[int], Made]:
    n_rows, n_columns = 32, 64

    def make(seed: int) -> Made:
        from gptqmodel.nn_modules.qlinear.torch_awq import AwqTorchLinear
        from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm

        weight = random_weight(seed, n_rows, n_columns)
        size = group if group > 0 else n_columns
        parts = weight.reshape(n_rows, -1, size)
        scales = ((parts.amax(2) - parts.amin(2)) / 15).half().float()
        zeros = (-parts.amin(2) / scales).round().clamp(0, 15)
        linear = torch.nn.Linear(n_columns, n_rows, bias=False)
        linear.weight.data = weight
        layer = AwqTorchLinear(
            bits=4, group_size=size, sym=False, desc_act=False, in_features=n_columns, out_features=n_rows, bias=False
        )
        layer.pack(linear, scales, zeros)
        stored = {"qweight": layer.qweight, "qzeros": layer.qzeros, "scales": layer.scales.half()}
        dequantised = dequantize_gemm(layer.qweight, layer.qzeros, stored["scales"].float(), 4, size)
        return stored, dequantised.T

    return make


# compressed-tensors


def observed(weight: torch.Tensor, scheme: dict) -> Tensors:
    """Scales and zero points of the smallest and largest weight of each tile, as the library's observer finds them."""
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.utils import calculate_qparams

    args = QuantizationArgs(**scheme)
    strategy = scheme["strategy"]
    n_rows, n_columns = weight.shape
    if strategy == "tensor":
        low, high = weight.amin().reshape(1), weight.amax().reshape(1)
    elif strategy == "channel":
        low, high = weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    elif strategy == "block":
        rows, columns = scheme["block_structure"]
        padded = torch.nn.functional.pad(weight, (0, -n_columns % columns, 0, -n_rows % rows))
        tiles = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
        low, high = tiles.amin((1, 3)), tiles.amax((1, 3))
    else:
        tiles = weight.reshape(n_rows, -1, scheme["group_size"])
        low, high = tiles.amin(2), tiles.amax(2)
    if strategy == "tensor_group":
        biggest = weight.abs().amax().reshape(1).float()
        common = 448.0 * 6.0 / biggest
        scale = (torch.maximum(low.abs(), high.abs()) / 6.0 * common).to(torch.float8_e4m3fn).float()
        return {"weight_scale": scale, "weight_global_scale": common}
    scale, zero_point = calculate_qparams(low, high, args)
    return {"weight_scale": scale.to(weight.dtype), "weight_zero_point": zero_point}


def compressed(
    layout: str, scheme: dict, *, shape: tuple[int, int] = (32, 64), dtype: torch.dtype = torch.float32
) -> Callable[[int], Made]:
    def make(seed: int) -> Made:
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.quantization import QuantizationScheme

        weight = random_weight(seed, *shape).to(dtype)
        compressor = BaseCompressor.get_value_from_registry(layout)
        quantised = QuantizationScheme(targets=["Linear"], weights=scheme)
        stored = compressor.compress({"weight": weight, **observed(weight, scheme)}, quantised)
        return stored, compressor.decompress(stored, quantised)["weight"]

    return make


def older_packed(scheme: dict, *, ordered: bool = False) -> Callable[[int], Made]:
    def make(seed: int) -> Made:
        from compressed_tensors.compressors.quantized_compressors.pack_quantized import PackedQuantizationCompressor
        from compressed_tensors.quantization import QuantizationArgs

        weight = random_weight(seed, 32, 64)
        args = QuantizationArgs(**scheme)
        order = None
        if ordered:
            order = torch.randperm(64, generator=torch.Generator().manual_seed(seed)).argsort() // scheme["group_size"]
            found = observed(weight[:, order.argsort(stable=True)], scheme)
        else:
            found = observed(weight, scheme)
        compressor = PackedQuantizationCompressor()
        stored = compressor.compress_weight(
            weight,
            found["weight_scale"],
            zero_point=found["weight_zero_point"],
            g_idx=order,
            quantization_args=args,
        )
        stored["weight_scale"] = found["weight_scale"]
        if order is not None:
            stored["weight_g_idx"] = order.int()
        return stored, compressor.decompress_weight(dict(stored), quantization_args=args)

    return make


# 8- and 4-bit floats of others


def fine_grained(seed: int) -> Made:
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    weight = random_weight(seed, 48, 64)
    scale = weight.reshape(3, 16, 4, 16).abs().amax((1, 3)) / 448
    codes = (weight / scale.repeat_interleave(16, 0).repeat_interleave(16, 1)).to(torch.float8_e4m3fn)
    dequantised = Fp8Dequantize(None)._dequantize_one(codes, scale, torch.float32)
    return {"weight": codes, "weight_scale_inv": scale}, dequantised


def experts(seed: int) -> Made:
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (2, 12, 3, 16), generator=generator, dtype=torch.uint8)
    scales = torch.randint(100, 130, (2, 12, 3), generator=generator, dtype=torch.uint8)
    dequantised = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    return {"blocks": blocks, "scales": scales}, dequantised.transpose(1, 2).reshape(24, 96)


def modelopt(seed: int) -> Made:
    from modelopt.torch.quantization.qtensor import NVFP4QTensor

    weight = random_weight(seed, 32, 64)
    quantised, scale, common = NVFP4QTensor.quantize(weight, 16, try_tensorrt=False)
    dequantised = quantised.dequantize(dtype=torch.float32, scale=scale, double_scale=common, block_sizes={-1: 16})
    return {
        "weight": quantised._quantized_data,
        "weight_scale": scale,
        "weight_scale_2": common.reshape(()),
    }, dequantised


def mlx(bits: int) -> Callable[[int], Made]:
    def make(seed: int) -> Made:
        import mlx.core as mx

        parts = mx.quantize(mx.array(random_weight(seed, 24, 96).numpy()), group_size=32, bits=bits)
        whole = mx.dequantize(*parts, group_size=32, bits=bits)
        codes, scales, biases = (torch.from_numpy(numpy.array(part)) for part in parts)
        stored = {"weight": codes, "scales": scales, "biases": biases}
        return stored, torch.from_numpy(numpy.array(whole))

    return make


def declared(layout: str, scheme: dict) -> dict:
    groups = {"group_0": {"targets": ["Linear"], "weights": scheme}}
    return {"quant_method": "compressed-tensors", "format": layout, "config_groups": groups, "ignore": ["lm_head"]}


def scheme(bits: int, kind: str, strategy: str, **more: object) -> dict:
    return {"num_bits": bits, "type": kind, "strategy": strategy, "symmetric": True, **more}


def all_cases(*, older: bool) -> dict[str, tuple[str, dict, Callable[[int], Made]]]:
    """Library, `quantization_config` and maker by case."""
    cases: dict[str, tuple[str, dict, Callable[[int], Made]]] = {}
    if older:
        three = scheme(3, "int", "group", group_size=32)
        four = scheme(4, "int", "group", group_size=32)
        cases["older_pack_3bit"] = ("compressed-tensors", declared("pack-quantized", three), older_packed(three))
        cases["older_pack_4bit_ordered"] = (
            "compressed-tensors",
            declared("pack-quantized", four | {"actorder": "group"}),
            older_packed(four, ordered=True),
        )
        return cases
    bnb = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    for name, made in {
        "nf4": four_bit("nf4", (16, 128), nested=False),
        "nf4_nested_across_rows": four_bit("nf4", (40, 80), nested=True),
        "nf4_odd": four_bit("nf4", (9, 21), nested=False),
        "nf4_bfloat16": four_bit("nf4", (16, 128), nested=True, dtype=torch.bfloat16),
        "fp4": four_bit("fp4", (24, 96), nested=False),
        "fp4_nested": four_bit("fp4", (136, 128), nested=True),
    }.items():
        cases[f"bitsandbytes_{name}"] = ("bitsandbytes", bnb, made)
    cases["bitsandbytes_int8"] = ("bitsandbytes", {"quant_method": "bitsandbytes", "load_in_8bit": True}, int8)
    for name, bits, made in [
        ("4bit_v1_ordered", 4, gptq(4, symmetric=True, second=False, ordered=True)),
        ("4bit_v1_asymmetric", 4, gptq(4, symmetric=False, second=False)),
        ("4bit_v2_asymmetric", 4, gptq(4, symmetric=False, second=True)),
        ("2bit_v1", 2, gptq(2, symmetric=True, second=False)),
        ("3bit_v1_asymmetric", 3, gptq(3, symmetric=False, second=False)),
        ("8bit_v2_one_group", 8, gptq(8, symmetric=True, second=True, group=-1)),
    ]:
        # All say version 1: the values have to tell.
        config = {"quant_method": "gptq", "bits": bits, "checkpoint_format": "gptq"}
        cases[f"gptq_{name}"] = ("GPTQModel", config, made)
    for name, size in {"group": 32, "one_group": -1}.items():
        config = {"quant_method": "awq", "bits": 4, "group_size": size, "version": "gemm", "zero_point": True}
        cases[f"awq_{name}"] = ("GPTQModel", config, awq(size))
    for name, layout, args in [
        ("int8_channel", "int-quantized", scheme(8, "int", "channel")),
        ("int8_group_asymmetric", "int-quantized", scheme(8, "int", "group", group_size=16) | {"symmetric": False}),
        ("float8_tensor", "float-quantized", scheme(8, "float", "tensor")),
        ("float8_channel", "float-quantized", scheme(8, "float", "channel")),
        ("float8_block", "naive-quantized", scheme(8, "float", "block", block_structure=[24, 40])),
        ("pack_4bit", "pack-quantized", scheme(4, "int", "group", group_size=32)),
        ("pack_4bit_asymmetric", "pack-quantized", scheme(4, "int", "group", group_size=16) | {"symmetric": False}),
        ("pack_3bit_asymmetric", "pack-quantized", scheme(3, "int", "group", group_size=32) | {"symmetric": False}),
        ("pack_8bit_channel", "pack-quantized", scheme(8, "int", "channel")),
        ("nvfp4", "nvfp4-pack-quantized", scheme(4, "float", "tensor_group", group_size=16)),
        ("mxfp4", "mxfp4-pack-quantized", scheme(4, "float", "group", group_size=32, scale_dtype=torch.uint8)),
        ("mxfp8", "mxfp8-quantized", scheme(8, "float", "group", group_size=32, scale_dtype=torch.uint8)),
    ]:
        shown = {key: str(value) if isinstance(value, torch.dtype) else value for key, value in args.items()}
        cases[f"compressed_{name}"] = ("compressed-tensors", declared(layout, shown), compressed(layout, args))
    int4 = scheme(4, "int", "group", group_size=32)
    cases["compressed_pack_bfloat16"] = (
        "compressed-tensors",
        declared("pack-quantized", int4),
        compressed("pack-quantized", int4, dtype=torch.bfloat16),
    )
    fp8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [16, 16], "activation_scheme": "dynamic"}
    cases["fp8_blocks"] = ("transformers", fp8, fine_grained)
    cases["mxfp4_experts"] = ("transformers", {"quant_method": "mxfp4"}, experts)
    for bits in (3, 4):
        cases[f"mlx_{bits}bit"] = ("mlx", {"group_size": 32, "bits": bits}, mlx(bits))
    cases["modelopt_nvfp4"] = ("nvidia-modelopt", {"quant_method": "modelopt", "quant_algo": "NVFP4"}, modelopt)
    return cases


def write(folder: Path, *, older: bool = False) -> None:
    """Writes one file a case, `expected.safetensors` and `cases.json`; cases that are there already stay."""
    folder.mkdir(parents=True, exist_ok=True)
    said = folder / "cases.json"
    kept = folder / "expected.safetensors"
    facts = json.loads(said.read_text()) if said.exists() else {}
    expected = load_file(kept) if kept.exists() else {}
    for case, (library, config, make) in all_cases(older=older).items():
        tensors: Tensors = {}
        facts[case] = {
            "library": f"{library} {version(library)}",
            "torch": torch.__version__,
            "quantization_config": config,
        }
        for layer in range(LAYERS):
            stored, dequantised = make(seed=layer)
            module = MODULE.format(layer)
            separator = "_" if "blocks" in stored else "."
            tensors |= {f"{module}{separator}{name}": part.clone().contiguous() for name, part in stored.items()}
            n_rows = dequantised.shape[0]
            rows = sorted({0, 1, n_rows // 2, n_rows - 1})
            expected[f"{case}/{layer}"] = dequantised[rows].contiguous().clone()
            facts[case] |= {"rows": rows, "shape": list(dequantised.shape)}
        save_file(tensors, folder / f"{case}.safetensors")
    save_file(expected, kept)
    said.write_text(json.dumps(dict(sorted(facts.items())), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    parser.add_argument("--older", action="store_true", help="the cases of compressed-tensors 0.12")
    arguments = parser.parse_args()
    write(arguments.folder, older=arguments.older)
