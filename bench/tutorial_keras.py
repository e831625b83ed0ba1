#!/usr/bin/env python3
"""The tutorial's whole story in Keras, timed step by step.

    tutorial_keras.py [--scale 1] [--data DIR] [--threads 2]

1. train SimpleCNN on MNIST: 20 epochs, batch 64, Adam 1e-3;
2. attack the 10,000 test images one by one with FGSM: eps 0.1, the loss is the
   mean squared error between softmax output and one-hot label, no clipping;
   and, beside it, the same attack in batches of 64 (timed, its images unused);
3. fine-tune on these adversarial test images, as the tutorial does (the scores
   on test images that follow are flattered): fresh Adam 1e-4, 10 epochs, batch
   64;
4. accuracies before and after, on clean and on adversarial test images.

`--scale` runs that share of the epochs and of the single images, one at least;
it gives the same rates sooner: each line reports the seconds measured and
`full_seconds`, scaled to the whole story.  The last line is the sum.  JSON lines on stdout; DIR holds MNIST's four IDX .gz files and
defaults to $PARRY_DATA/mnist.
"""
import argparse
import gzip
import json
import os
import time

FULL_EPOCHS, FULL_FGSM, FULL_TUNE_EPOCHS = 20, 10000, 10
BATCH, EPS = 64, 0.1


def read_idx(folder, name):
    import numpy as np

    with gzip.open(os.path.join(folder, name + ".gz")) as file:
        raw = file.read()
    rank = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load(folder, split):
    import numpy as np

    x = read_idx(folder, split + "-images-idx3-ubyte")[..., None] / np.float32(255)
    y = read_idx(folder, split + "-labels-idx1-ubyte").astype(np.int64)
    return x, np.eye(10, dtype=np.float32)[y]


def simple_cnn():
    from keras import Sequential, layers

    return Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(64, 3, strides=2, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the story to run")
    parser.add_argument("--data", default=os.path.join(os.environ.get("PARRY_DATA", "data"), "mnist"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if not 0 < args.scale <= 1:
        parser.error("the scale is above 0 and at most 1")
    train_epochs, single, tune_epochs = (
        max(1, round(args.scale * full)) for full in (FULL_EPOCHS, FULL_FGSM, FULL_TUNE_EPOCHS)
    )

    # Before TensorFlow is loaded: it reads these once.
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    keras.utils.set_random_seed(1)
    versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
    total = 0.0

    def report(step, seconds, scale, counts=True, **more):
        nonlocal total
        total += seconds * scale if counts else 0.0
        line = {"bench": "tutorial", "peer": "keras", "step": step, "seconds": round(seconds, 3)}
        line.update(full_seconds=round(seconds * scale, 2), threads=args.threads, **more)
        print(json.dumps(line), flush=True)

    (x, y), (x_test, y_test) = load(args.data, "train"), load(args.data, "t10k")
    net = simple_cnn()

    def fit(rate, images, labels, epochs):
        """Seconds, without the first epoch's compilation counted twice by scaling."""
        net.compile(keras.optimizers.Adam(rate), "categorical_crossentropy", metrics=["accuracy"])
        marks = [time.perf_counter()]
        mark = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: marks.append(time.perf_counter()))
        net.fit(images, labels, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[mark])
        return np.diff(marks)

    def scaled(epochs, full):
        """Factor from the measured epochs to all: later ones cost what the last measured ones cost."""
        rest = epochs[1:] if len(epochs) > 1 else epochs
        return (epochs.sum() + (full - len(epochs)) * rest.mean()) / epochs.sum()

    def evaluate(images, labels):
        return float(np.mean(net.predict(images, 256, verbose=0).argmax(1) == labels.argmax(1)))

    epochs = fit(1e-3, x, y, train_epochs)
    rate = round(len(x) * len(epochs) / epochs.sum())
    report("train", epochs.sum(), scaled(epochs, FULL_EPOCHS), images_per_s=rate, **versions)

    # The attack as the tutorial has it: eager mode, one image a call.
    def fgsm(image, label):
        image = tf.cast(image, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = keras.losses.mean_squared_error(label, net(image, training=False))
        return (image + EPS * tf.sign(tape.gradient(loss, image))).numpy()

    fgsm(x_test[:1], y_test[:1])
    begin = time.perf_counter()
    adversarial = np.concatenate([fgsm(x_test[i : i + 1], y_test[i : i + 1]) for i in range(single)])
    seconds = time.perf_counter() - begin
    report("fgsm-single", seconds, FULL_FGSM / single, images_per_s=round(single / seconds))

    # A kinder variant, not part of the story: compiled, in batches.  The same
    # images except at pixels where the gradient is zero up to rounding, whose
    # sign depends on the order of summation.
    fast = tf.function(
        lambda image, label: image
        + EPS * tf.sign(tf.gradients(keras.losses.mean_squared_error(label, net(image, training=False)), image)[0])
    )
    fast(x_test[:BATCH], y_test[:BATCH])
    count = FULL_FGSM // BATCH * BATCH
    begin = time.perf_counter()
    batched = np.concatenate(
        [fast(x_test[i : i + BATCH], y_test[i : i + BATCH]).numpy() for i in range(0, count, BATCH)]
    )
    seconds = time.perf_counter() - begin
    both = min(len(batched), len(adversarial))
    report(
        "fgsm-batched",
        seconds,
        FULL_FGSM / count,
        counts=False,
        images_per_s=round(count / seconds),
        pixels_equal=float(np.mean(np.abs(batched[:both] - adversarial[:both]) < 1e-6)),
    )

    # Scaled runs attacked few images singly: an epoch of fine-tuning takes all.
    adversarial = np.concatenate([fast(x_test[i : i + 100], y_test[i : i + 100]).numpy() for i in range(0, FULL_FGSM, 100)])
    before = {"clean": evaluate(x_test, y_test), "adversarial": evaluate(adversarial, y_test)}

    epochs = fit(1e-4, adversarial, y_test, tune_epochs)
    rate = round(len(adversarial) * len(epochs) / epochs.sum())
    report("fine-tune", epochs.sum(), scaled(epochs, FULL_TUNE_EPOCHS), images_per_s=rate)

    after = {"clean": evaluate(x_test, y_test), "adversarial": evaluate(adversarial, y_test)}
    line = {"bench": "tutorial", "peer": "keras", "step": "all", "full_seconds": round(total, 1)}
    print(json.dumps(dict(line, threads=args.threads, before=before, after=after)))


if __name__ == "__main__":
    main()
