"""A layer of one's own: maxout (Goodfellow et al. 2013) learns handwritten digits.

A unit is the largest of several linear functions of the input. `help(lm.Layer)` tells
what such a layer defines. Prints the accuracy on the test rows.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lamina as lm


class Maxout(lm.Layer):
    def __init__(self, units, pieces):
        super().__init__()
        self.units, self.pieces = units, pieces

    def outputs(self, features):
        return self.units

    def initial(self):
        width = self.units * self.pieces
        kernel = self.draw("glorot_uniform", (self.features, width))
        return {"kernel": kernel, "bias": np.zeros(width)}

    def forward(self, x, training=False):
        x = self.take(x)
        z = lm.dense(x, self.parameters["kernel"], self.parameters["bias"])
        z = z.reshape(len(x), self.units, self.pieces)
        winner = z.argmax(axis=2)[:, :, None]
        self.keep(x, training, winner)
        return np.take_along_axis(z, winner, axis=2)[:, :, 0]

    def backward(self, dy, *, input_gradient=True):
        dy, x, winner = self.recall(dy)
        dz = np.zeros((len(x), self.units, self.pieces), self.dtype)
        np.put_along_axis(dz, winner, dy[:, :, None], axis=2)
        dz = dz.reshape(len(x), -1)
        np.matmul(x.T, dz, out=self.gradients["kernel"])
        dz.sum(axis=0, out=self.gradients["bias"])
        return dz @ self.parameters["kernel"].T if input_gradient else None


def main():
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        x / 16, y, test_size=0.2, stratify=y, random_state=0
    )
    layers = [Maxout(64, pieces=3), lm.Dropout(0.3), lm.Dense(10, "softmax")]
    net = lm.Sequential(layers, seed=0)
    net.fit(x_train, y_train, epochs=20, optimizer=lm.Adam(3e-3), verbose=0)
    accuracy = net.evaluate(x_test, y_test)["accuracy"]
    print(f"maxout: test accuracy {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
