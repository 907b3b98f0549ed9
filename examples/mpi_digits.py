"""Handwritten digits, learnt by any number of processes.

``mpirun -n 2 python examples/mpi_digits.py``

Each number learns the same net, bit for bit. Where one process is killed, start again,
with as many as are left: it goes on from the last file, which is always whole.
"""

import hashlib
from pathlib import Path

from sklearn.datasets import load_digits

import lamina as lm

EPOCHS = 20


def main(ranks=None, path=Path("mpi_digits.safetensors")):
    """Test accuracy, and the digest of the net."""
    ranks = lm.distributed.mpi() if ranks is None else ranks
    x, y = load_digits(return_X_y=True)
    x, test = x / 16, slice(1400, None)
    begun = ranks.broadcast(b"begun" if path.exists() else b"")  # says rank 0
    if begun:
        net = lm.distributed.load(path, ranks)
    else:
        layers = [lm.Dense(256, "relu"), lm.Dropout(0.4), lm.Dense(10, "softmax")]
        net = lm.Sequential(layers, seed=0)
    if net.epoch < EPOCHS:
        lm.distributed.fit(
            net,
            x[:1400],
            y[:1400],
            ranks,
            epochs=EPOCHS - net.epoch,
            batch_size=128,
            optimizer=lm.Adam(2e-3),
            callbacks=[lm.callbacks.ModelCheckpoint(path)],
        )
    accuracy = net.evaluate(x[test], y[test])["accuracy"]
    digest = hashlib.sha256(net.parameters).hexdigest()[:16]
    if ranks.rank == 0:
        print(f"{ranks.size} ranks, test accuracy {accuracy:.4f}, net {digest}")
    return accuracy, digest


if __name__ == "__main__":
    main()
