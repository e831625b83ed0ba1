"""Makes classic_*.onnx: scikit-learn's pipelines that end in a logistic regression, as skl2onnx writes them.

Usage: python classic.py FOLDER (needs scikit-learn, skl2onnx and onnxruntime). The metadata is that of make.py; the output is
the class probabilities computed by onnxruntime. Made with scikit-learn's and skl2onnx's releases of 2026, data random.
"""

import sys

import numpy as np
import onnx
import onnxruntime
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

rng = np.random.default_rng(1)
x = rng.standard_normal((60, 5)).astype(np.float32)


def write(name, steps, classes, zipmap):
    pipeline = make_pipeline(*steps, LogisticRegression()).fit(x, rng.integers(0, classes, 60))
    model = to_onnx(pipeline, x[:1], options={"zipmap": zipmap}, target_opset={"": 17, "ai.onnx.ml": 3})
    session = onnxruntime.InferenceSession(model.SerializeToString())
    y = session.run(None, {"X": x[:3]})[1]
    y = np.array([[row[c] for c in range(classes)] for row in y] if zipmap else y, np.float32)
    for key, value in (("test.input", x[:3]), ("test.output", y)):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, " ".join(f"{v:.9g}" for v in value.ravel())
    onnx.save(model, f"{sys.argv[1]}/classic_{name}.onnx")


write("binary", [StandardScaler()], 2, False)
write("binary_zipmap", [Normalizer("l1")], 2, True)
write("multinomial", [StandardScaler(), Normalizer()], 3, False)
write("multinomial_zipmap", [StandardScaler(), Normalizer("max")], 4, True)
