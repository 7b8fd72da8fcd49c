"""What is recommended, against others: popularity, item-based cosine, and implicit's ALS."""

from importlib.util import find_spec
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from services.bench.intelligence.data import insteval, restaurants
from services.intelligence.evaluation.methods import Indexed, Scores, cosine, popularity, walk
from services.intelligence.evaluation.metrics import difference
from services.intelligence.evaluation.protocol import Measured, measure, tune
from services.intelligence.evaluation.relations import Floats, Relations
from services.intelligence.evaluation.splits import Split, leave_last_out, one_day
from services.intelligence.learning.learn import fit_model, learned
from services.intelligence.learning.profiles import Profiles

Row = dict[str, Any]

_DRAWS = 4
_TUNED_ON = 500
#: What is tried of ALS.
_FACTORS, _PENALTIES, _CONFIDENCES = (8, 16, 32, 64, 128), (0.1, 1.0, 10.0), (1.0, 10.0, 40.0)


def measure_quality(folder: Path) -> list[Row]:
    """A row for each data set of the folder, split and method. Times are CPU seconds."""
    rows: list[Row] = []
    if (folder / "restaurants").is_dir():
        relations, profiles = restaurants(folder)
        splits = [leave_last_out(relations, draw) for draw in range(_DRAWS)]
        rows += _compare("restaurants, leave-last-out", splits, profiles)
    if (folder / "insteval").is_dir():
        relations = insteval(folder)
        for name, split in (("leave-last-out", leave_last_out(relations)), ("one-day", one_day(relations))):
            rows += _compare(f"InstEval, {name}", [split], Profiles())
    return rows


def _compare(name: str, splits: list[Split], profiles: Profiles) -> list[Row]:
    found: dict[str, list[tuple[Measured, float, float]]] = {}
    for draw, split in enumerate(splits):
        parameters = tune(split.train, draw)
        indexed = Indexed(split.train)
        for method in ("popularity", "cosine", "walk", "learned", "ALS (implicit)"):
            began = process_time()
            if method == "learned":
                model = fit_model(split.train, profiles, parameters, {}, draw)
                scores = learned(indexed, model, profiles)
            elif method == "walk":
                scores = walk(Indexed(split.train), parameters)
            elif method == "ALS (implicit)":
                made = als(split.train)
                if made is None:
                    continue
                scores = made
            else:
                scores = {"popularity": popularity, "cosine": cosine}[method](indexed)
            trained = process_time() - began
            measured = measure(split, indexed, scores)
            found.setdefault(method, []).append((measured, trained, process_time() - began - trained))
    rows = []
    base = np.mean([each[0].ndcgs for each in found["walk"]], axis=0)
    for method, each in found.items():
        ndcgs = np.mean([measured.ndcgs for measured, _, _ in each], axis=0)
        over = difference(ndcgs, base)
        rows.append(
            {
                "data": name,
                "method": method,
                "NDCG@10": round(float(ndcgs.mean()), 3),
                "HR@10": _mean([measured.summary.hits for measured, _, _ in each]),
                "coverage": _mean([measured.summary.coverage for measured, _, _ in each]),
                "Gini": _mean([measured.summary.gini for measured, _, _ in each]),
                "over the walk": f"{over.mean:+.3f} ± {over.error:.3f}" if method != "walk" else "",
                "training s": _mean([trained for _, trained, _ in each]),
                "answers s": _mean([answered for _, _, answered in each]),
            }
        )
    return rows


def als(relations: Relations) -> Scores | None:
    """implicit's alternating least squares (Hu, Koren, Volinsky, ICDM 2008), its factors,
    penalty and confidence of an observation (α) by an inner split, as the walk's parameters are. None without
    implicit."""
    if find_spec("implicit") is None:
        return None
    split = leave_last_out(relations).some(_TUNED_ON)
    indexed = Indexed(split.train)
    tried = {
        key: measure(split, indexed, _als(split.train, *key)).summary.ndcg
        for key in product(_FACTORS, _PENALTIES, _CONFIDENCES)
    }
    return _als(relations, *max(tried, key=lambda key: tried[key]))


def _als(relations: Relations, factors: int, regularization: float, alpha: float) -> Scores:
    from implicit.cpu.als import AlternatingLeastSquares

    consumers, providers, _ = relations.pairs()
    shape = len(relations.consumer_ids), len(relations.provider_ids)
    matrix = csr_matrix((np.ones(len(consumers), np.float32), (consumers, providers)), shape)
    model = AlternatingLeastSquares(
        factors=factors,
        regularization=regularization,
        alpha=alpha,
        iterations=15,
        num_threads=1,
        random_state=1,
    )
    model.fit(matrix, show_progress=False)

    def scores(consumer: int) -> Floats:
        return np.asarray(model.item_factors @ model.user_factors[consumer], np.float64)

    return scores


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 3)
