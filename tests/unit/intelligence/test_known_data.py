"""Floors on data that the environment names: the folder KITH_DATA, with restaurants/ (UCI) and
insteval/InstEval.csv (of R's lme4; columns s, d, lectage). There is no such test where it is not named."""

import os
from pathlib import Path

import pytest

from services.bench.intelligence.data import insteval, restaurants
from services.intelligence.evaluation.evaluate import evaluate
from services.intelligence.learning.learn import learn
from services.intelligence.learning.profiles import Profiles

FOLDERS = [Path(os.environ["KITH_DATA"]).resolve()] if "KITH_DATA" in os.environ else []

if any((folder / "restaurants").is_dir() for folder in FOLDERS):

    @pytest.mark.parametrize("folder", FOLDERS)
    def test_restaurants(folder: Path) -> None:
        lesson = learn(*restaurants(folder), draws=4)
        assert lesson.walk.ndcg > 0.34
        assert lesson.learned.ndcg > 0.39


if any((folder / "insteval").is_dir() for folder in FOLDERS):

    @pytest.mark.parametrize("folder", FOLDERS)
    def test_insteval(folder: Path) -> None:
        (section,) = evaluate(insteval(folder), Profiles(), splits=("leave-last-out",)).sections
        figures = {line.method: line.summary.ndcg for line in section.lines}
        assert figures["walk"] > 0.60
        assert figures["walk"] > figures["cosine"] > figures["popularity"]
