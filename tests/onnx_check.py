"""Runs exported networks in onnxruntime: onnx_check.py FOLDER.

For every NAME.onnx there, NAME.input holds float32 values of any number of images and NAME.output what parry computed:
equal to 1e-4 times the largest output (at least 1e-4). Exit status 0: all equal, 1: not, 77: no onnxruntime installed.
"""

import pathlib
import sys

try:
    import numpy
    import onnxruntime
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

try:
    from onnx import checker
except ImportError:
    checker = None

failed = 0
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    if checker:
        checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    info = session.get_inputs()[0]
    assert info.shape[0] == "N", f"{path.name}: the batch is {info.shape[0]}"
    x = numpy.fromfile(path.with_suffix(".input"), numpy.float32).reshape(-1, *info.shape[1:])
    expected = numpy.fromfile(path.with_suffix(".output"), numpy.float32)
    found = session.run(None, {info.name: x})[0].ravel()
    largest = float(numpy.abs(expected).max(initial=1.0, where=numpy.isfinite(expected)))
    if found.size != expected.size or not numpy.allclose(found, expected, rtol=0, atol=1e-4 * largest, equal_nan=True):
        print(f"{path.name}: {found.size} outputs, expected {expected.size}; the largest is {largest}")
        if found.size == expected.size:
            print(f"{path.name}: {numpy.abs(found - expected).max()} apart")
        failed = 1
sys.exit(failed)
