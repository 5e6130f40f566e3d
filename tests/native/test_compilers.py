"""The C files under gcc and clang, under the address and undefined-behaviour sanitizers, and on aarch64.

The pure C files run in driver.c without Python. The extension as a whole is built once more with the
sanitizers and runs the other tests of this folder in a process of its own. A compiler that is not there is
a skip that names it; CI has them all.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import native

TESTS = Path(__file__).parent
NATIVE = TESTS.parent.parent / "native"
PURE = [NATIVE / name for name in ("sha256.c", "share.c", "seen.c")]
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow", f"-I{NATIVE}"]
SANITIZE = [
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
]
DRIVER: list[str | Path] = ["-pedantic", "-Wl,--wrap=calloc", TESTS / "driver.c", *PURE]
BEST = native.implementation()
PYTHON_HEADERS = sysconfig.get_path("include")
BINDING_TESTS = sorted(path for path in TESTS.glob("test_*.py") if path.name != Path(__file__).name)


def needs(program: str, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed; it is in the package {package}")
    return found


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run to the end; stdout, or a failure that shows everything it said."""
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        pytest.fail(
            f"{command[0]} ended with {done.returncode}:\n{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
        )
    return done.stdout


def chain_digest(rounds: int) -> str:
    """The chain of driver.c, with hashlib."""
    message, digest = b"", b""
    for _ in range(rounds):
        digest = hashlib.sha256(hashlib.sha256(message).digest()).digest()
        message += digest[:7]
    return digest.hex()


def implementations_that_passed(output: str) -> list[str]:
    """Everything went well; the implementations that ran."""
    *chains, last = output.splitlines()
    assert last == "done"
    assert [line.split()[1] for line in chains] == [chain_digest(600)] * len(chains)
    names = [line.split()[0] for line in chains]
    assert names[0] == "portable"
    return names


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_pure_c_under_the_sanitizers(compiler: str, tmp_path: Path) -> None:
    program = tmp_path / "driver"
    run(needs(compiler, compiler), *STRICT, *SANITIZE, *DRIVER, "-o", program)
    assert implementations_that_passed(run(program, "500"))[-1] == BEST


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_pure_c_optimised(compiler: str, tmp_path: Path) -> None:
    """At the level that is shipped, where an optimiser would make use of undefined behaviour."""
    program = tmp_path / "driver"
    run(needs(compiler, compiler), *STRICT, "-O3", *DRIVER, "-o", program)
    assert implementations_that_passed(run(program, "500"))[-1] == BEST


def test_pure_c_on_aarch64(tmp_path: Path) -> None:
    compiler = needs("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
    emulator = needs("qemu-aarch64", "qemu-user")
    program = tmp_path / "driver"
    run(compiler, *STRICT, "-O3", "-static", *DRIVER, "-o", program)
    assert implementations_that_passed(run(emulator, program, "50")) == ["portable", "armv8"]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_binding_compiles_without_a_warning(compiler: str) -> None:
    needs(compiler, compiler)
    run(compiler, *STRICT, "-O3", "-fsyntax-only", "-isystem", PYTHON_HEADERS, NATIVE / "module.c")


@pytest.mark.timeout(900)
def test_the_extension_under_the_sanitizers(tmp_path: Path) -> None:
    """All other tests of this folder, with a Python whose every allocation ASan sees the bounds of.

    Leaks are not looked for: CPython itself leaves memory to the end of the process.
    """
    compiler = needs("gcc", "gcc")
    package = tmp_path / "native"
    package.mkdir()
    shutil.copy(NATIVE / "__init__.py", package)
    sources = [NATIVE / "module.c", *PURE]
    extension = package / f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    python = ["-shared", "-fPIC", "-isystem", PYTHON_HEADERS]
    run(compiler, *STRICT, *SANITIZE, *python, *sources, "-o", extension)
    env = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "PYTHONSAFEPATH": "1",
        "PYTHONMALLOC": "malloc",
        "LD_PRELOAD": run(compiler, "-print-file-name=libasan.so").strip(),
        "ASAN_OPTIONS": "detect_leaks=0",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "hypothesis"),
    }
    loaded = run(sys.executable, "-c", "import native._core as c; print(c.__file__)", env=env)
    assert Path(loaded.strip()) == extension
    pytest_options: list[str | Path] = [
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        TESTS.parent.parent,
    ]
    output = run(sys.executable, "-m", "pytest", *pytest_options, *BINDING_TESTS, env=env)
    assert " passed" in output
