"""Reference of polarmae's instances: DBSCAN and the adjusted Rand index of scikit-learn."""
import json, sys
import numpy as np, sklearn
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

rng = np.random.default_rng(7)
cases = []
for n, spread, radius, neighbors in ((3, 4, 3.0, 3), (5, 6, 2.0, 4), (4, 3, 1.0, 1), (2, 2, 5.0, 6)):
    pts, truth = [], []
    for k in range(n):
        at = rng.uniform(0, 40, 3)
        m = int(rng.integers(8, 30))
        pts.append(np.round(at + rng.normal(0, spread, (m, 3))))
        truth += [k] * m
    truth[::11] = [-1] * len(truth[::11])
    p = np.unique(np.concatenate(pts), axis=0, return_index=True)[1]
    order = np.sort(p)
    xyz = np.concatenate(pts)[order].astype(np.float32)
    truth = np.array(truth)[order]
    found = DBSCAN(eps=radius, min_samples=neighbors).fit_predict(xyz)
    keep = truth >= 0
    own = np.where(found < 0, -1 - np.arange(len(found)), found)
    t, f = truth[keep], own[keep]
    eff = sum(np.unique(f[t == k], return_counts=True)[1].max() for k in np.unique(t)) / len(t)
    inside = [k for k in np.unique(f) if k >= 0]
    total = sum((f == k).sum() for k in inside)
    pur = sum(np.unique(t[f == k], return_counts=True)[1].max() for k in inside) / total if total else 0.0
    cases.append(dict(points=xyz.ravel().tolist(), truth=truth.tolist(), found=found.tolist(), radius=radius,
                      neighbors=neighbors, ari=float(adjusted_rand_score(t, f)), efficiency=float(eff), purity=float(pur)))
json.dump(cases, open(sys.argv[1], "w"), separators=(",", ":"))
print("scikit-learn", sklearn.__version__, [(len(c["truth"]), max(c["found"]) + 1, round(c["ari"], 3)) for c in cases])
