"""What is each mended weak point of the published network worth? One mend at a time is taken back; writes nbs/tables/mends.csv.

    python benchmarks/mends.py
Needs the movies under $CELLTRACK_DATA. Lessons and exams are those of gnn.py "time": the first 60 % of all real movies and simulated ones
are lessons, the rest of each real movie is the exam, clean and damaged. About 20 minutes on one core; each network is kept in build/gnn.
"""
from dataclasses import dataclass
from typing import Callable

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

import gnn
from celltrack.compare import damaged, rows_of
from celltrack.link.features import describe, published_values
from celltrack.link.gnn import (LinkNet, Message, Movies, daughter_loss, group_log_softmax, group_max, group_sum, judge_links, lineage_loss,
                                make_lesson, mean_of, simulated_truth, unpack, versions)
from celltrack.link.graph import candidate_graph
from celltrack.link.solve import Solver, verdict_costs
from celltrack.movie import atomic
from celltrack.segment.train import Plan, train
from celltrack.track.divide import Divide

STEPS, WIDTH, DEPTH = (gnn.OPTIONS[k] for k in ("steps", "width", "depth"))


class Forward(Message):
    "A round in which cells hear of the past alone."
    def forward(self, x, e, src, dst):
        e = e + self.edge(torch.cat([e, x[src], x[dst]], 1))
        share = group_log_softmax(self.gates(e)[:, 0], dst, len(x)).exp()[:, None]
        past = [group_sum(share * e, dst, len(x)), group_max(e, dst, len(x))]
        return x + self.node(torch.cat([x, *past, *(torch.zeros_like(p) for p in past)], 1)), e


class ForwardNet(LinkNet):
    def __init__(self, **options):
        super().__init__(**options)
        self.rounds = torch.nn.ModuleList([Forward(WIDTH) for _ in range(DEPTH)])


class AloneNet(LinkNet):
    "Each link is judged alone: a newcomer's logit is 0, so that a link's is its own odds."
    def forward(self, windows):
        y, w = super().forward(windows), windows.joined()
        m, n = len(w.src), len(w.nodes)
        return torch.cat([y[:m], torch.zeros(n), y[m + n:]])


def alone_loss(y, windows, share=.5):
    "Return the cross-entropy of each link alone, and the cost of daughters as it is."
    w = windows.joined()
    link, _, daughters = unpack(y, w)
    each = binary_cross_entropy_with_logits(link, w.right.float(), reduction="none")
    return mean_of(each, w.ask[w.dst]) + share * daughter_loss(daughters, w)


def plain(cells, links, seen):
    "The published values of cells, differences of them for links, in the columns of ours; the rest is 0."
    x = published_values(cells)[1].astype(np.float32)
    nodes, edges = np.zeros_like(seen.nodes), np.zeros_like(seen.edges)
    nodes[:, :x.shape[1]], edges[:, :x.shape[1]] = x, abs(x[links.src] - x[links.dst])
    return seen._replace(nodes=nodes, edges=edges)


@dataclass
class Without:
    "How lessons are made, what learns from them, and how it is used."
    net: Callable = LinkNet
    loss: Callable = lineage_loss
    graph: dict = None                                 # options of the candidate graph
    describe: Callable = lambda cells, links, seen: seen
    divisions: bool = True                             # links to daughters are true
    varied: bool = True

    def seen(self, cells, movie):
        links = candidate_graph(cells, movie, **(self.graph or {}))
        return self.describe(cells, links, describe(cells, links, movie))

    def lesson(self, cells, links, movie):
        seen = self.seen(cells, movie)
        if not self.divisions:
            single = np.bincount(links[0], minlength=len(cells))[links[0]] < 2
            links = links[0][single], links[1][single]
        return make_lesson(cells, links, movie, seen)

    def teach(self, truths):  # (cells, links, movie, how often)
        torch.manual_seed(0)
        lessons = [x for k, (*truth, often) in enumerate(truths) for x in [versions(*truth, 0 if often > 1 else k, self.lesson)] * often]
        net = self.net(width=WIDTH, depth=DEPTH)
        net.fit_scale([x.seen for some in lessons for x in some])
        movies = Movies(lessons, **({} if self.varied else {"stretch": 0, "drop": 0}))
        train(net, movies, self.loss, Plan(STEPS, 2e-3, decay=1e-2, every=STEPS))
        return net

    def linker(self, net, weights):
        def costs(cells, movie=None):
            seen = self.seen(cells, movie)
            return verdict_costs(judge_links(net, seen), seen.links)
        return Solver(costs) if self.divisions else Divide(Solver(costs), weights)


MENDS = {
    "nothing": Without(),
    "links to daughters (a mother is guessed afterwards)": Without(divisions=False),
    "mothers that compete": Without(AloneNet, alone_loss),
    "messages from the future": Without(ForwardNet),
    "features in cell sizes": Without(describe=plain, varied=False),
    "links over gaps": Without(graph={"max_gap": 1, "late": 0}),
}


def main():
    halves = [gnn.halves(k) for k in gnn.MOVIES]
    truths = [(*gnn.links_of(first), first.movie, gnn.OFTEN) for first, _ in halves]
    truths += [(*x, 1) for x in gnn.kept("simulated truths", lambda: [simulated_truth(k) for k in range(gnn.SIMULATED)])]
    weights = gnn.kept("time divide", lambda: gnn.division_judge([first for first, _ in halves]))
    rows = []
    for name, without in MENDS.items():
        state = gnn.kept(f"without {name}", lambda: without.teach(truths).state_dict())
        net = without.net(width=WIDTH, depth=DEPTH)
        net.load_state_dict(state)
        for _, case in halves:
            for detections, some in (("clean", [case]), ("damaged", [damaged(case, k) for k in gnn.EXAMS])):
                found = pd.concat([rows_of(c, {name: without.linker(net.eval(), weights)}) for c in some])
                rows.append({"without": name, "movie": case.name, "detections": detections, **found[["LNK", "BIO", "IDF1", "division F1"]].mean()})
        print(pd.DataFrame(rows).groupby(["without", "detections"], sort=False).mean(numeric_only=True).round(4).tail(2).to_string(header=False), flush=True)
    with atomic(gnn.HERE / "nbs/tables/mends.csv") as path: pd.DataFrame(rows).round(4).to_csv(path, index=False)


if __name__ == "__main__": main()
