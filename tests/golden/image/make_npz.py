"""Makes digits.npz (deflated) and digits_stored.npz: 6 images of 4 x 5 bytes and labels, by NumPy."""
import numpy as np

x = (np.arange(6 * 4 * 5).reshape(6, 4, 5) * 7 % 256).astype(np.uint8)
y = np.arange(6) % 3
np.savez_compressed("digits.npz", x_train=x[:4], y_train=y[:4], x_test=x[4:], y_test=y[4:])
np.savez("digits_stored.npz", images=x, labels=y)
