"""Makes classic_*.onnx: scikit-learn's pipelines that end in a linear classifier or in layers, as skl2onnx writes them, and two
that parry does not read.

Usage: python classic.py FOLDER (needs scikit-learn, skl2onnx and onnxruntime). The metadata is that of make.py; the output is
what onnxruntime computed: the class probabilities or scores, and (0, score) where there is one score of two classes. Made with
scikit-learn's and skl2onnx's releases of 2026, data random. Those with names have the labels of NAMES, or 5, 15, 25, ...
"""

import sys

import numpy as np
import onnx
import onnxruntime
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC, LinearSVC

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

# ---- names of classes, and what other classifiers leave behind -------------------------------------------------------
NAMES = np.array(["zero", "one", "two", "three"])


def write_named(name, classifier, classes, labels, **options):
    rng = np.random.default_rng(len(name))
    drawn = rng.integers(0, classes, 60)
    classifier.fit(x, labels[drawn])
    model = to_onnx(classifier, x[:1], options=options or None, target_opset={"": 17, "ai.onnx.ml": 3})
    if not name.startswith("bad_"):
        name = "classic_" + name
        y = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"X": x[:3]})[1]
        y = np.array([list(row.values()) for row in y] if isinstance(y, list) else y, np.float32)
        y = np.hstack([0 * y, y]) if y.shape[1] == 1 else y
        for key, value in (("test.input", x[:3]), ("test.output", y)):
            entry = model.metadata_props.add()
            entry.key, entry.value = key, " ".join(f"{v:.9g}" for v in value.ravel())
    onnx.save(model, f"{sys.argv[1]}/{name}.onnx")


numbers = np.arange(5, 100, 10)
write_named("names", LogisticRegression(), 4, NAMES, zipmap=False)
write_named("numbers", LogisticRegression(), 3, numbers, zipmap=True)
write_named("rest", OneVsRestClassifier(LogisticRegression()), 4, NAMES, zipmap=False)
write_named("rest_binary", OneVsRestClassifier(LogisticRegression()), 2, NAMES, zipmap=True)
write_named("layers", MLPClassifier((6,), max_iter=20, random_state=1), 3, numbers, zipmap=False)
write_named("layers_binary", MLPClassifier((6,), max_iter=20, random_state=1), 2, NAMES, zipmap=True)
write_named("score_binary", LinearSVC(), 2, NAMES)
write_named("bayes", GaussianNB(), 4, NAMES, zipmap=False)
write_named("bad_trees", RandomForestClassifier(2, max_depth=2, random_state=1), 3, NAMES, zipmap=False)
write_named("bad_support_vectors", SVC(max_iter=50), 3, NAMES, zipmap=False)
