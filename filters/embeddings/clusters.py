"""Clusters of vectors: spherical k-means, and the merging of nearest groups.

Spherical k-means (Dhillon and Modha, 2001, Concept Decompositions) puts a row to the centre with the largest cosine
and makes a centre the direction of its rows' sum. With vectors of whole numbers both are exact, so that clusters are
the same whatever the threads or the processor; scikit-learn's k-means adds floats in an order of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from augment.errors import RecipeError, needs
from augment.records import fingerprint
from filters.embeddings import Vectors, cosines, inverse, paired, whole

ROUNDS = 30
MOST = 20_000
"""Rows that can be merged: a distance for each pair of them is held."""
_BLOCK = 1 << 12

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def kmeans(vectors: Vectors, count: int, ids: Sequence[str], seed: int = 0) -> tuple[Ints, Vectors]:
    """The cluster of each row, and the centres, at most `count`.

    It begins with rows that are drawn by their ids and `seed`, so that the order of rows does not matter, and ends when
    no row changes its cluster, after 30 rounds at most. A cluster that loses its rows is left out.
    """
    drawn = sorted(range(len(vectors)), key=lambda row: (fingerprint("kmeans", ids[row], seed), ids[row]))
    _, first = np.unique(vectors[drawn], axis=0, return_index=True)  # equal rows make one centre
    centres = vectors[np.array(drawn)[np.sort(first)[:count]]]
    labels = np.full(len(vectors), -1, dtype=np.int64)
    for _ in range(ROUNDS):
        before, labels = labels, nearest(vectors, centres)[0]
        if (before == labels).all():
            break
        labels = np.unique(labels, return_inverse=True)[1].astype(np.int64)
        centres = _centres(vectors, labels)
    return labels, centres


def merged(vectors: Vectors, count: int) -> tuple[Ints, Vectors]:
    """The cluster of each row, and the centres: the nearest two groups are merged until `count` are left.

    Near is the mean distance (average linkage).

    Raises:
        RecipeError: SciPy is not installed, or there are more than 20,000 rows.
    """
    if len(vectors) > MOST:
        raise RecipeError(
            f"cluster.method: agglomerative compares each row with each, and {len(vectors):,} are more than {MOST:,}; "
            "use kmeans"
        )
    with needs("scipy", "evaluate"):
        from scipy.cluster.hierarchy import fcluster, linkage
    if len(vectors) < 2:
        return np.zeros(len(vectors), dtype=np.int64), vectors
    left, right = np.triu_indices(len(vectors), 1)
    apart = 1 - cosines(vectors, vectors)[left, right]
    found = fcluster(linkage(apart, "average"), count, "maxclust")
    labels = np.unique(found, return_inverse=True)[1].astype(np.int64)
    return labels, _centres(vectors, labels)


def _centres(vectors: Vectors, labels: Ints) -> Vectors:
    """The direction of the sum of each cluster's rows; every cluster has one."""
    order = np.argsort(labels, kind="stable")
    begins = np.flatnonzero(np.diff(labels[order], prepend=-1))
    return whole(np.add.reduceat(vectors[order], begins, axis=0, dtype=np.int64))


def nearest(vectors: Vectors, centres: Vectors) -> tuple[Ints, Floats]:
    """Of each row the centre with the largest cosine (the first of equals), and the cosine."""
    place = np.zeros(len(vectors), dtype=np.int64)
    scale = inverse(centres)
    for first in range(0, len(vectors), _BLOCK):
        rows = slice(first, first + _BLOCK)
        place[rows] = (vectors[rows].astype(np.float32) @ centres.astype(np.float32).T * scale).argmax(axis=1)
    return place, paired(vectors, centres[place])
