"""Rules of the repository that no linter knows: who imports whom, sizes, twins, door to numba."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# what a package may import besides the standard library, itself, hwq.errors, files and registry
LAYERS = {
    "errors": set(),
    "accuracy": set(),
    "registry": set(),
    "numerics": {"numpy", "numba", "llvmlite"},
    "graph": {"numpy", "networkx", "torch"},
    "schema": {"pydantic"},
    "cache": set(),
    "files": set(),
    "arch": {"hwq.numerics", "hwq.schema", "numpy", "pydantic"},
    "quantizers": {"hwq.numerics", "numpy", "torch"},
    "models": {"hwq.graph", "numpy", "torch", "timm", "safetensors", "PIL"},
    "rtl": {"hwq.arch", "hwq.compiler", "hwq.numerics", "hwq.plan", "numpy", "amaranth"},
    "runtime": {
        "hwq.arch",
        "hwq.compiler",
        "hwq.graph",
        "hwq.numerics",
        "hwq.plan",
        "hwq.quantizers",
        "numpy",
        "torch",
    },
    "methods": {
        "hwq.graph",
        "hwq.numerics",
        "hwq.quantizers",
        "hwq.runtime",
        "hwq.schema",
        "networkx",
        "numpy",
        "pydantic",
        "safetensors",
        "torch",
    },
    "compiler": {"hwq.arch", "hwq.graph", "hwq.numerics", "hwq.quantizers", "numpy", "torch"},
    "plan": {"hwq.arch", "hwq.compiler", "hwq.numerics", "numpy"},
    "cost": {"hwq.arch", "hwq.numerics", "hwq.plan", "numpy"},
    "report": {"hwq.cost", "rich"},
    "testing": {"hwq.numerics", "hwq.rtl", "numpy", "amaranth"},
    "sim": {
        "hwq.arch",
        "hwq.compiler",
        "hwq.numerics",
        "hwq.plan",
        "hwq.runtime",
        "hwq.rtl",
        "hwq.testing",
        "amaranth",
        "cocotb",
        "cocotb_tools",
        "numpy",
    },
}
# they tie everything together
TOP = {"__init__", "__main__", "api", "calibrate", "cli", "evaluate", "request", "simulate"}

# files and functions that may be longer than 300 and 60 lines, and why
LONG_FILES = {
    "rtl/scale_predictor.py": "one pipeline",
}
LONG_FUNCTIONS = {
    "hwq/testing.py:run_stream": "one simulation",
    "rtl/range_extract.py:elaborate": "one pipeline, read from top to bottom",
}


def sources():
    """Every Python file that is installed, by its path from the root."""
    folders = ("hwq", "models", "rtl", "sim")
    files = [file for folder in folders for file in ROOT.glob(f"{folder}/**/*.py")]
    return {str(file.relative_to(ROOT)): file for file in sorted(files)}


SOURCES = sources()
TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in SOURCES.items()}


def layer_of(name):
    """Package of a file: "hwq/graph/ir.py" is in graph, "rtl/log2.py" in rtl."""
    parts = Path(name).with_suffix("").parts
    return parts[1] if parts[0] == "hwq" else parts[0]


def imported(tree):
    """What a file imports: "hwq.graph", or the name of another distribution."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [node.module]
            if node.module == "hwq":
                names = [f"hwq.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            yield ".".join(parts[:2]) if parts[0] == "hwq" else parts[0]


def test_every_package_is_in_the_table():
    assert {layer_of(name) for name in SOURCES} == set(LAYERS) | TOP


@pytest.mark.parametrize("name", [name for name in SOURCES if layer_of(name) not in TOP])
def test_imports_point_one_way(name):
    layer = layer_of(name)
    allowed = LAYERS[layer] | {
        f"hwq.{layer}",
        "hwq.accuracy",
        "hwq.cache",
        "hwq.errors",
        "hwq.files",
        "hwq.registry",
    }
    taken = {one for one in imported(TREES[name]) if one not in sys.stdlib_module_names}
    assert taken <= allowed, sorted(taken - allowed)


def test_the_table_has_no_cycle():
    above = {
        layer: {n[4:] for n in names if n.startswith("hwq.")} for layer, names in LAYERS.items()
    }
    while above:
        bottom = [layer for layer, below in above.items() if not below & set(above)]
        assert bottom, f"a cycle among {sorted(above)}"
        for layer in bottom:
            del above[layer]


def test_gateware_is_nobodys_dependency():
    """Only a test bench may import rtl, and only inside a function."""
    for name, tree in TREES.items():
        if layer_of(name) in TOP | {"rtl", "sim"}:
            continue
        for node in tree.body:
            assert "hwq.rtl" not in imported(ast.Module([node], [])) or isinstance(
                node, ast.If | ast.FunctionDef
            )


def test_one_door_to_numba():
    doors = {"njit", "jit", "vectorize", "guvectorize", "generated_jit", "stencil"}
    for name, tree in TREES.items():
        if name == "hwq/numerics/_jit.py":
            continue
        for node in ast.walk(tree):
            used = getattr(node, "attr", getattr(node, "id", None))
            assert used not in doors, f"{name}:{node.lineno}"
            if isinstance(node, ast.ImportFrom):
                assert not doors & {alias.name for alias in node.names}, name
            if isinstance(node, ast.keyword):
                assert node.arg not in {"fastmath", "parallel"}, name


def test_the_door_is_exact():
    text = SOURCES["hwq/numerics/_jit.py"].read_text(encoding="utf-8")
    assert "fastmath=False" in text and "parallel" not in text


def test_kernels_hold_no_float():
    """No float literal, no true division, no float type in any function under @kernel."""
    checked = 0
    for name, tree in TREES.items():
        for function in ast.walk(tree):
            decorators = getattr(function, "decorator_list", [])
            if not any(getattr(d, "id", None) == "kernel" for d in decorators):
                continue
            checked += 1
            for node in ast.walk(function):
                where = f"{name}:{function.name}:{getattr(node, 'lineno', '')}"
                assert not isinstance(node, ast.Div), where
                assert not isinstance(getattr(node, "value", None), float), where
                assert "float" not in getattr(node, "attr", ""), where
    assert checked > 10


def test_prints_are_in_cli_and_report_only():
    for name, tree in TREES.items():
        if layer_of(name) in {"cli", "report"}:
            continue
        for node in ast.walk(tree):
            called = isinstance(node, ast.Call) and getattr(node.func, "id", None)
            assert called != "print", f"{name}:{node.lineno}"


def test_files_are_at_most_300_lines():
    long = {name for name, file in SOURCES.items() if len(file.read_text().splitlines()) > 300}
    assert long <= set(LONG_FILES), sorted(long - set(LONG_FILES))
    assert all((ROOT / name).is_file() for name in LONG_FILES)


def test_functions_are_at_most_60_lines():
    """The docstring does not count."""
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            assert lines <= 60 or f"{name}:{node.name}" in LONG_FUNCTIONS, f"{name}:{node.name}"


def test_no_checks_are_switched_off():
    marks = re.compile(r"#\s*(noqa|type:\s*ignore|pragma|ruff:|mypy:)")
    for name, file in SOURCES.items():
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            assert not marks.search(line), f"{name}:{number}"


def test_no_file_names_a_machine():
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("not a git checkout")
    place = re.compile(r"(?<![\w./])/(?:home|root|work|Users|mnt|tmp)/\w|[A-Z]:\\\\?\w")
    for name in tracked.stdout.split("\0"):
        file = ROOT / name
        if not file.is_file() or file == Path(__file__):
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found = place.search(text)
        assert not found, f"{name}: {found.group()}"


NUMERICS = sorted(
    Path(name).stem
    for name in SOURCES
    if layer_of(name) == "numerics"
    and not Path(name).stem.startswith("_")
    # what all units have in common, and the one that computes nothing
    and Path(name).stem not in ("unit", "units", "move")
)


@pytest.mark.parametrize("stem", NUMERICS)
def test_every_unit_has_a_test_and_a_page(stem):
    assert (ROOT / f"tests/numerics/test_{stem}.py").is_file()
    assert (ROOT / f"docs/units/{stem}.md").is_file()


@pytest.mark.parametrize("stem", NUMERICS)
def test_every_unit_has_its_reference(stem):
    """Besides helpers that are their own reference, a file holds the obvious version as well."""
    names = {
        node.name
        for node in ast.walk(TREES[f"hwq/numerics/{stem}.py"])
        if isinstance(node, ast.FunctionDef)
    }
    helpers = {"accumulator", "fixed_point", "rounding"}
    assert stem in helpers or any("reference" in name for name in names)


def test_every_gateware_unit_has_its_twins():
    catalog = pytest.importorskip(
        "hwq.rtl.catalog", reason="needs Amaranth: pip install 'hwq[rtl]'"
    )
    for stem in catalog.TWINS:
        assert (ROOT / f"rtl/{stem}.py").is_file(), stem
        assert (ROOT / f"hwq/numerics/{stem}.py").is_file(), stem
        assert (ROOT / f"docs/units/{stem}.md").is_file(), stem
        assert (ROOT / f"tests/rtl/test_{stem}.py").is_file(), stem
        first = ast.get_docstring(TREES[f"rtl/{stem}.py"]).splitlines()[0]
        assert first == f"Gateware twin of hwq.numerics.{stem}.", stem


def test_every_name_of_a_registry_is_documented():
    from hwq.methods.catalog import METHODS
    from hwq.quantizers.catalog import QUANTIZERS

    text = "\n".join(page.read_text(encoding="utf-8") for page in ROOT.glob("docs/**/*.md"))
    for name in (*METHODS, *QUANTIZERS):
        assert name in text, name


def test_every_pass_and_operation_is_documented():
    from hwq.graph.ops import OPS

    page = (ROOT / "docs/graph.md").read_text(encoding="utf-8")
    passes = {Path(n).stem for n in SOURCES if n.startswith("hwq/compiler/passes/")}
    for name in {*OPS, *passes} - {"__init__", "base"}:
        assert f"`{name}`" in page, name


def test_links_between_pages_lead_somewhere():
    for page in (*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


def test_what_describes_a_machine_needs_no_torch():
    """Commands that list or cost start quickly."""
    code = (
        "import sys\n"
        "import hwq, hwq.graph.ops, hwq.graph.text, hwq.arch.load, hwq.arch.systolic\n"
        "import hwq.compiler.program, hwq.plan.make_plan\n"
        "print([name for name in ('torch', 'timm', 'amaranth') if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


MANY_PARAMETERS = {
    "hwq/numerics/_tile.py:emit": "the tile's, one by one",
    "hwq/numerics/_tile.py:tile": "an intrinsic of numba, whose arguments are machine words",
}


def test_functions_have_at_most_seven_parameters():
    many = set()
    for file, tree in TREES.items():
        if layer_of(file) in ("rtl", "sim"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                names = [
                    argument.arg
                    for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                ]
                if len(names) - (names[:1] in (["self"], ["cls"])) > 7:
                    many.add(f"{file}:{node.name}")
    assert many == set(MANY_PARAMETERS)


def test_quantizers_and_methods_are_asked_and_not_told_apart():
    """A new one needs no line where others are used: it answers for itself."""
    from hwq.methods.catalog import METHODS
    from hwq.quantizers.catalog import QUANTIZERS

    kinds = {
        "quantizers": {QUANTIZERS[name].__name__ for name in QUANTIZERS},
        "methods": {METHODS[name].__name__ for name in METHODS},
    }
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                named = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
                for package, names in kinds.items():
                    assert layer_of(file) == package or not named & names, f"{file}:{node.lineno}"
