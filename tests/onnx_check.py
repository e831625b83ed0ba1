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
    largest = max(1.0, float(numpy.abs(expected).max()))
    apart = float(numpy.abs(found - expected).max()) if found.size == expected.size else float("inf")
    if not apart <= 1e-4 * largest:
        print(f"{path.name}: outputs are {apart} apart, the largest is {largest}")
        failed = 1
sys.exit(failed)
