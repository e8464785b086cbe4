import subprocess
import sys


def test_a_missing_amaranth_is_named() -> None:
    code = "import sys; sys.modules['amaranth'] = None; import hwq.rtl"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.rstrip().endswith("hwq.rtl needs Amaranth: pip install 'hwq[rtl]'")
