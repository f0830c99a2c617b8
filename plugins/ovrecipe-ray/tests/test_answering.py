"""What a node's actor makes of what it is asked, without a cluster."""

from __future__ import annotations

import sys
from pathlib import Path

from ovrecipe_ray.answering import Answerer, Ask

# The engine without a model is that of the repository's own tests.
sys.path.append(str(Path(__file__).parents[3]))


def test_a_defect_costs_one_line_its_answer_and_is_told():
    """Who asked would wait for it for ever."""
    from tests.run.fakes import engine

    with engine() as asked:
        answerer = Answerer(asked)
        answerer.ask([Ask(1, "?", False, {"deliver": 1}), Ask(2, "?", False, {})])
        ended = {}
        while len(ended) < 2:
            ended |= {one.number: one.delta for one in answerer.take().ended}
    assert "a defect: " in ended[1].error.message
    assert ended[2].result.text == "yes"
