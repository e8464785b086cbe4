import ast
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

import hwq.numerics
from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import HOIST, LOWER, prepare
from hwq.graph.ops import OPS
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.catalog import METHODS
from hwq.methods.evaluate import sqnr_db
from hwq.numerics.gemm import available_rungs
from hwq.runtime.fake_quant_executor import FAKE_QUANT_OPS, FakeQuantExecutor
from hwq.runtime.float_executor import TorchExecutor
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.runtime.reference_executor import ReferenceExecutor

CASES = [
    "minmax",
    "minmax/log2",
    "repq_vit",
    "is_vit",
    "adfq_vit",
    "scalepredictor/minmax",
    "scalepredictor/repq_vit",
]
BITS = ["w8a8", "w7a7", "w6a6", "w4a4", "w3a3", "w2a2", "w4a8"]


def assert_equal_everywhere(graph, image):
    """Both executors agree on every tensor and every saturation count."""
    names = [node.name for node in graph.nodes]
    executor = IntegerExecutor(graph)
    slow = ReferenceExecutor(graph).run(image, names)
    # every node by itself, and as few steps as there can be, of which all results are kept
    steps = [step.output for step in executor.steps(frozenset(graph.outputs))]
    assert len(steps) < len(names)
    for fetch in (names, steps):
        fast = executor.run(image, fetch)
        for name in fetch:
            assert_array_equal(fast.values[name], slow.values[name], err_msg=name)
            assert fast.values[name].dtype == slow.values[name].dtype, name
            assert fast.values[name].dtype == graph.tensors[name].dtype, name
            assert fast.values[name].shape == graph.shape(name), name
        assert fast.saturations == slow.saturations
    return fast


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("method", [*CASES, "ptq4vit", "psaq_vit"])
def test_equals_the_reference_on_every_tensor(quantise, lower, tiny_calibration, method, bits):
    graph = lower(quantise(method, bits))
    for image in tiny_calibration.pixels[:2]:
        assert_equal_everywhere(graph, image)


@pytest.mark.parametrize("bits", ["w8a8", "w4a4"])
@pytest.mark.parametrize("method", [*CASES, "ptq4vit", "psaq_vit"])
def test_every_product_is_part_of_a_step(quantise, lower, method, bits):
    """None runs by itself, and no element is encoded outside a kernel."""
    graph = lower(quantise(method, bits))
    steps = IntegerExecutor(graph).steps(frozenset(graph.outputs))
    alone = {step.node.op for step in steps if hasattr(step, "node")}
    assert not alone & {"linear", "matmul", "requantize", "encode", "activation", "softmax"}


@pytest.mark.slow
@pytest.mark.parametrize("rung", ["avx2", "plain"])
@pytest.mark.parametrize("bits", ["w8a8", "w6a6", "w4a4"])
@pytest.mark.parametrize("method", ["repq_vit", "adfq_vit"])
def test_the_rungs_below_give_the_same(
    quantise, lower, tiny_calibration, monkeypatch, method, bits, rung
):
    """Words at 8 bits, short runs of bytes at 6, long ones at 4; digits of logarithmic codes."""
    if rung not in available_rungs():
        pytest.skip(f"this CPU has no {rung}")
    graph, image = lower(quantise(method, bits)), tiny_calibration.pixels[0]
    best = IntegerExecutor(graph).run(image)
    monkeypatch.setattr("hwq.numerics.gemm.best_rung", lambda: rung)
    monkeypatch.setattr("hwq.runtime.fused.operands.best_rung", lambda: rung)
    below = IntegerExecutor(graph).run(image)
    for name, values in best.values.items():
        assert_array_equal(below.values[name], values)
    assert below.saturations == best.saturations


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_batch_is_its_images(quantise, lower, tiny_calibration, threads):
    """Any number of them, over any number of threads; none too."""
    executor = IntegerExecutor(lower(quantise("repq_vit", "w4a4")))
    for count in (0, 1, 3, 19):
        images = [tiny_calibration.pixels[n % len(tiny_calibration)] for n in range(count)]
        runs = executor.run_batch(images, threads=threads)
        assert len(runs) == count
        for image, run in zip(images, runs, strict=True):
            alone = executor.run(image)
            assert run.saturations == alone.saturations
            for name, values in alone.values.items():
                assert_array_equal(run.values[name], values)


@pytest.mark.parametrize("value", [0, 255])
def test_equals_the_reference_on_flat_images(quantise, lower, value):
    """Equal patches: no variance among tokens, ranges of zero."""
    image = np.full((3, 32, 32), value, np.uint8)
    assert_equal_everywhere(lower(quantise("scalepredictor/repq_vit", "w4a4")), image)


@pytest.mark.parametrize(
    "options",
    [
        {"class_token": False, "global_pool": "avg"},
        {"qk_norm": True, "init_values": 0.25},
        {"reg_tokens": 3, "qkv_bias": False},
        {"pre_norm": True},
    ],
    ids=["average pool", "qk norm", "register tokens", "pre norm"],
)
def test_other_networks(make_tiny_vit, lower, tiny_calibration, options):
    from hwq.graph.import_torch import import_torch

    module = make_tiny_vit(depth=1, **options)
    graph = import_torch(module, (1, 3, 32, 32), "tiny")
    graph = run_passes(graph, prepare((0.5,) * 3, (0.5,) * 3))
    quantised = METHODS["repq_vit"]().fit(graph, tiny_calibration, Bits(6, 6)).graph
    assert_equal_everywhere(lower(quantised), tiny_calibration.pixels[0])


@pytest.mark.parametrize("method", CASES)
def test_saturations_are_counted_where_values_leave_their_range(
    quantise, lower, tiny_calibration, method
):
    """Calibrated on noise, a black and white image saturates; counts are of clamped elements."""
    graph = lower(quantise(method, "w8a8"))
    image = np.zeros((3, 32, 32), np.uint8)
    image[:, ::8] = image[..., ::16] = 255
    names = [node.name for node in graph.nodes]
    run = assert_equal_everywhere(graph, image)
    assert set(run.saturations) == set(names)
    assert sum(run.saturations.values()) > 0
    for name, count in run.saturations.items():
        values = IntegerExecutor(graph).run(image, [name]).values[name] if count else None
        if count and graph.by_name[name].op in ("requantize", "add"):
            form = graph.tensors[name].quant
            bits, signed = form.bits, form.signed
            lo, hi = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
            assert count <= np.count_nonzero((values == lo) | (values == hi)), name
    moving = {node.name for node in graph.nodes if OPS[node.op].movement}
    assert all(run.saturations[name] == 0 for name in moving)


@pytest.mark.parametrize("method", CASES)
def test_is_as_near_to_the_fake_quant_graph_as_that_to_itself(quantise, method):
    """Quantizers amplify: 1e-4 in front of each of them is some codes, and then all logits."""
    quantised = run_passes(quantise(method, "w8a8"), HOIST)
    graph = run_passes(quantised, LOWER)
    pixels = Calibration.noise(graph.inputs[0].shape[1:], 32, seed=3).pixels
    runs = IntegerExecutor(graph).run_batch(list(pixels))
    name = graph.outputs[0]
    integers = torch.from_numpy(np.stack([run.values[name][0] for run in runs]))
    generator = torch.Generator().manual_seed(0)

    def moved(node, x):
        noise = torch.randn(x[0].shape, generator=generator)
        return FAKE_QUANT_OPS["quantize"](node, [x[0] * (1 + 1e-4 * noise), *x[1:]])

    plain = FakeQuantExecutor(quantised)
    nearby = TorchExecutor(quantised, {**FAKE_QUANT_OPS, "quantize": moved})
    images = torch.from_numpy(pixels).float()[:, None]
    with torch.no_grad():
        wanted, other = (
            torch.cat([run.run({graph.inputs[0].name: image}, [name])[name] for image in images])
            for run in (plain, nearby)
        )
    figure = sqnr_db(wanted, integers * graph.tensors[name].quant.lsb)
    assert figure > sqnr_db(wanted, other) - 3 and figure > 20


def test_batch_equals_one_by_one(quantise, lower, tiny_calibration):
    graph = lower(quantise("repq_vit", "w4a4"))
    executor = IntegerExecutor(graph)
    together = executor.run_batch(list(tiny_calibration.pixels))
    for image, run in zip(tiny_calibration.pixels, together, strict=True):
        alone = executor.run(image)
        assert_array_equal(run.values["head"], alone.values["head"])
        assert run.saturations == alone.saturations


def floats(value):
    """Whether a value is a float or holds one."""
    if isinstance(value, np.ndarray):
        return not np.issubdtype(value.dtype, np.integer) and value.dtype != bool
    if isinstance(value, (tuple, list)):
        return any(floats(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type) and "Spec" in type(value).__name__:
        return any(floats(getattr(value, field.name)) for field in fields(value))
    return isinstance(value, (float, np.floating, complex, torch.Tensor))


@pytest.mark.parametrize("method", CASES)
def test_integer_graph_holds_no_float(quantise, lower, method):
    graph = lower(quantise(method, "w4a4"))
    for name, tensor in graph.tensors.items():
        assert np.issubdtype(np.dtype(tensor.dtype), np.integer), name
    for name, value in graph.constants.items():
        assert not floats(value), name
    for node in graph.nodes:
        unit = node.attrs.get("unit")
        values = [getattr(unit, field.name) for field in fields(unit)] if unit else []
        assert not any(floats(value) for value in values), node.name


@pytest.mark.parametrize("executor", [IntegerExecutor, ReferenceExecutor])
@pytest.mark.parametrize("method", CASES)
def test_nothing_in_between_is_a_float(quantise, lower, tiny_calibration, executor, method):
    """Look at the local variables of every Python function of hwq that runs, as it returns."""
    graph = lower(quantise(method, "w4a4"))
    ready = executor(graph)
    ready.run(tiny_calibration.pixels[0])  # what is made once and kept is not execution
    package = str(Path(hwq.numerics.__file__).parents[1])
    looked, found = set(), []

    def at_return(frame, event, argument):
        if event == "return":
            where = f"{frame.f_code.co_filename}:{frame.f_code.co_name}"
            looked.add(where)
            values = {**frame.f_locals, "return": argument}
            found.extend(f"{where}: {name}" for name, value in values.items() if floats(value))
        return at_return

    def at_call(frame, event, argument):
        if not frame.f_code.co_filename.startswith(package):
            return None
        frame.f_trace_lines = False
        return at_return

    before = sys.gettrace()
    sys.settrace(at_call)
    try:
        ready.run(tiny_calibration.pixels[0])
    finally:
        sys.settrace(before)
    assert not found
    assert len(looked) > 20


def test_the_float_detector_works():
    assert floats(1.0) and floats(np.zeros(1)) and floats([1, (2, np.float32(3))])
    assert floats(torch.zeros(1, dtype=torch.int32)), "torch has no place here at all"
    assert not floats(1) and not floats(np.zeros(1, np.int8)) and not floats([1, "a", None])


def test_executors_contain_no_float_operation():
    """No true division, no float literal and no float type in the code that both are made of."""
    folder = Path(hwq.numerics.__file__).parents[1]
    for file in (
        "runtime/image_executor",
        "runtime/integer_executor",
        "runtime/reference_executor",
    ):
        for node in ast.walk(ast.parse((folder / f"{file}.py").read_text())):
            assert not isinstance(node, ast.Div), file
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), file
            name = getattr(node, "attr", getattr(node, "id", ""))
            assert "float" not in name and name != "torch", file


def kernels():
    """Every numba kernel of hwq.numerics, by name."""
    found = {}
    for file in sorted(Path(hwq.numerics.__file__).parent.glob("*.py")):
        module = __import__(f"hwq.numerics.{file.stem}", fromlist=["_"])
        for name, value in vars(module).items():
            if numba.extending.is_jitted(value):
                found[f"{value.py_func.__module__}.{name}"] = value
    return found


def is_real(kind):
    """Whether a numba type is, or holds, a floating-point number."""
    if isinstance(kind, numba.types.BaseTuple):
        return any(is_real(part) for part in kind)
    return isinstance(getattr(kind, "dtype", kind), numba.types.Float | numba.types.Complex)


@pytest.mark.slow
def test_no_kernel_computes_a_float(quantise, lower, tiny_calibration):
    """The types that numba inferred for every variable of every kernel that execution compiled."""
    if numba.config.DISABLE_JIT:
        pytest.skip("numba's types exist only where it compiles: NUMBA_DISABLE_JIT is set")
    for method in CASES:
        IntegerExecutor(lower(quantise(method, "w4a4"))).run(tiny_calibration.pixels[0])
    checked = 0
    for name, one in kernels().items():
        for signature in one.nopython_signatures:
            # an overload from the cache has forgotten its types
            fresh = numba.njit(cache=False, error_model="numpy")(one.py_func)
            fresh.compile(signature.args)
            types = fresh.overloads[signature.args].type_annotation.typemap
            real = [name for name, kind in types.items() if is_real(kind)]
            assert not real, f"{name} {signature}: {real}"
            checked += 1
    assert checked > 10


@pytest.mark.slow
@pytest.mark.parametrize("method", ["minmax", "repq_vit", "scalepredictor"])
def test_deit_t_equals_the_reference_on_every_tensor(hwq_data, lower, open_gates, method):
    """A whole forward of DeiT-T, real weights, one real image."""
    from hwq.graph.import_torch import import_torch
    from hwq.models.catalog import create_network
    from hwq.models.images import open_images
    from hwq.models.weights import load_weights

    network = create_network("deit_t")
    load_weights(network.module, hwq_data / "weights" / "deit_tiny_patch16_224.safetensors")
    p = network.preprocessing
    graph = import_torch(network.module, (1, *p.input_size), "deit_t")
    graph = run_passes(graph, prepare(p.mean, p.std))
    folder = open_images(hwq_data / "data" / "imagenet_val650", p, labelled=True)
    pixels = folder.sample(4, seed=0).load()
    images = Calibration(pixels, synthetic=method == "scalepredictor")
    quantised = METHODS[method]().fit(graph, images, Bits(4, 4)).graph
    assert_equal_everywhere(lower(open_gates(quantised)), pixels[0])
