"""What gets installed: hwq and nothing else, with everything in it."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAPPED = {"rtl": "hwq.rtl", "models": "hwq.models", "sim": "hwq.sim"}


def folders():
    """Every folder with Python files that belongs to the library, as a package name."""
    found = set()
    for top, package in {"hwq": "hwq", **MAPPED}.items():
        for file in ROOT.glob(f"{top}/**/*.py"):
            inner = file.parent.relative_to(ROOT / top).parts
            found.add(".".join((package, *inner)))
    return found


def test_package_list_equals_the_folders():
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(folders())


def test_every_package_says_what_it_is():
    for name in folders():
        parts = name.split(".")
        top = {package: folder for folder, package in MAPPED.items()}.get(".".join(parts[:2]))
        folder = ROOT.joinpath(*((top, *parts[2:]) if top else parts))
        assert (folder / "__init__.py").read_text(encoding="utf-8").startswith('"""'), name


def test_mapped_folders():
    mapping = PROJECT["tool"]["setuptools"]["package-dir"]
    assert mapping == {"hwq": "hwq", **{name: folder for folder, name in MAPPED.items()}}


def test_every_dependency_has_a_reason():
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    declared = [*PROJECT["project"]["dependencies"]]
    for extra in PROJECT["project"]["optional-dependencies"].values():
        declared += [name for name in extra if not name.startswith("hwq[")]
    for name in declared:
        line = next(line for line in lines if f'"{name}"' in line)
        assert "#" in line, name


def test_version_is_stated_once():
    import hwq

    dynamic = "version" in PROJECT["project"].get("dynamic", [])
    assert dynamic or PROJECT["project"]["version"] == hwq.__version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    setuptools = pytest.importorskip("setuptools", reason="building a wheel needs setuptools")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip(f"building a wheel needs setuptools 77, not {setuptools.__version__}")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("hwq", *MAPPED):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--wheel-dir", str(target), str(source)),
        ],
        check=True,
        capture_output=True,
    )
    (path,) = target.glob("*.whl")
    return path


def test_wheel_holds_hwq_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"hwq"}
    assert not any(Path(name).name.startswith(("test_", "conftest")) for name in names)


def test_wheel_holds_every_file_of_the_library(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {"hwq/py.typed"}
    for folder, package in {"hwq": "hwq", **MAPPED}.items():
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in {".py", ".toml", ".csv", ".json", ".txt", ".v", ".vlt"}:
                inside = file.relative_to(ROOT / folder).as_posix()
                wanted.add(f"{package.replace('.', '/')}/{inside}")
    assert wanted <= names, sorted(wanted - names)


def test_installed_library_works_away_from_the_checkout(wheel, tmp_path):
    """The wheel on the path, the checkout not: mapped folders and data files are found."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import hwq, hwq.models.catalog, hwq.rtl\n"
        "from hwq.arch.load import load_accelerator\n"
        "print(load_accelerator('edge_32x32').name, hwq.__file__)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    name, place = run.stdout.split()
    assert name == "edge_32x32" and Path(place).is_relative_to(tmp_path)
