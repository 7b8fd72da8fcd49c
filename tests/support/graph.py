"""A second engine, slow and simple: the walk by dictionaries, in exact whole numbers."""

from collections import defaultdict
from collections.abc import Mapping
from math import fsum
from typing import Any

from services.intelligence.engine import Question, Side

#: (consumer_id, provider_id) → kinds
Pairs = Mapping[tuple[str, str], Mapping[str, Mapping[str, Mapping[str, Any]]]]

SCALE = 2.0**50


class SlowGraph:
    def __init__(self, pairs: Pairs, question: Question) -> None:
        self.question = question
        self.near: dict[Side, dict[str, dict[str, float]]] = {
            "consumer": defaultdict(dict),
            "provider": defaultdict(dict),
        }
        for (consumer_id, provider_id), kinds in pairs.items():
            cells = [
                (month, question.weights.get(kind, 1.0) * cell["count"])
                for kind, months in sorted(kinds.items())
                for month, cell in sorted(months.items())
                if question.kind in (None, kind)
            ]
            if cells:
                strength = sum(
                    amount * 2.0 ** (_age(month, question.month) / question.half_life) for month, amount in cells
                )
                self.near["consumer"][consumer_id][provider_id] = strength
                self.near["provider"][provider_id][consumer_id] = strength

    def wholes(self, side: Side, id: str) -> dict[str, dict[str, dict[str, int]]]:
        """answer → first step → the one met → what this adds."""
        far: Side = "provider" if side == "consumer" else "consumer"
        first = {node: weight for node, weight in self.near[side][id].items() if weight > 0}
        if not first:
            return {}
        top = max(first.values())
        total = fsum(weight / top for weight in first.values())
        out: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        for node, weight in first.items():
            row = self.near[far][node]
            for met in row:
                if met != id:
                    back = self.near[side][met]
                    part = round(weight / top / total * SCALE / len(row) / len(back))
                    for target in back:
                        if part:
                            out[target][node][met] = part
        return out


def _age(month: str, now: str) -> int:
    return (int(month[:4]) - int(now[:4])) * 12 + int(month[5:]) - int(now[5:])
