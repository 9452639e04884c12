"""What is each part of the network worth by which it differs from the published one? One part at a
time is taken away; writes nbs/tables/parts.csv and its run record.

    python benchmarks/parts.py
Needs the movies under $CELLTRACK_DATA. Training and test data are those of gnn.py "time": the first
60 % of all real movies and simulated ones are for training, the rest of each real movie is the
test, clean and damaged. About an hour on one core; each network is kept in build/gnn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

import gnn
from celltrack.cases import damaged, rows_of
from celltrack.learn.train import TrainingConfig, train_network
from celltrack.link.features import describe, published_values
from celltrack.link.gnn import (
    LinkNet,
    MessagePassing,
    WindowSampler,
    daughter_loss,
    group_log_softmax,
    group_max,
    group_sum,
    lineage_loss,
    masked_mean,
    predict_links,
    split_logits,
)
from celltrack.link.graph import (
    augmented_examples,
    candidate_graph,
    make_example,
    simulated_links,
)
from celltrack.link.solve import Solver, probability_costs
from celltrack.track.divide import Divide
from tables import run_record, write_table

STEPS, WIDTH, DEPTH = (gnn.OPTIONS[k] for k in ("steps", "width", "depth"))


class Forward(MessagePassing):
    "A layer in which cells receive messages from the past alone."

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
    "Each link is classified alone: a newcomer's logit is 0, so that a link's is its own odds."

    def forward(self, windows):
        y, w = super().forward(windows), windows.joined()
        m, n = len(w.src), len(w.nodes)
        return torch.cat([y[:m], torch.zeros(n), y[m + n :]])


def alone_loss(y, windows, share=0.5):
    "Return the cross-entropy of each link alone, and the cost of daughters as it is."
    w = windows.joined()
    logits = split_logits(y, w)
    each = binary_cross_entropy_with_logits(logits.link, w.is_true.float(), reduction="none")
    alone = masked_mean(each, w.mother_known[w.dst])
    return alone + share * daughter_loss(logits.daughters, w)


def published_features(cells, links, described):
    """The published values of cells, differences of them for links, in the columns of ours; the
    rest is 0."""
    x = published_values(cells)[1].astype(np.float32)
    nodes, edges = np.zeros_like(described.nodes), np.zeros_like(described.edges)
    nodes[:, : x.shape[1]], edges[:, : x.shape[1]] = x, abs(x[links.src] - x[links.dst])
    return described._replace(nodes=nodes, edges=edges)


@dataclass
class Without:
    "How examples are made, what learns from them, and how it is used."

    net: Callable = LinkNet
    loss: Callable = lineage_loss
    graph: dict = None  # options of the candidate graph
    describe: Callable = lambda cells, links, described: described
    divisions: bool = True  # links to daughters are true
    varied: bool = True

    def described(self, cells, movie, labels=None):
        links = candidate_graph(cells, movie, **(self.graph or {}))
        return self.describe(cells, links, describe(cells, links, movie, labels=labels))

    def example(self, cells, links, movie, labels=None):
        described = self.described(cells, movie, labels)
        if not self.divisions:
            single = np.bincount(links[0], minlength=len(cells))[links[0]] < 2
            links = links[0][single], links[1][single]
        return make_example(cells, links, movie, described)

    def train(self, truths):  # (cells, links, movie, labels, how often)
        torch.manual_seed(0)
        movies = []
        for k, (*truth, often) in enumerate(truths):
            seed = 0 if often > 1 else k
            movies += [augmented_examples(*truth, seed, self.example)] * often
        net = self.net(width=WIDTH, depth=DEPTH)
        net.fit_scale([x.described for examples in movies for x in examples])
        sampler = WindowSampler(
            movies, **({} if self.varied else {"scale": 0, "drop": 0, "drop_masks": 0})
        )
        config = TrainingConfig(STEPS, 2e-3, decay=1e-2, every=STEPS)
        train_network(net, sampler, self.loss, config)
        return net

    def linker(self, net, weights):
        def costs(cells, movie=None, labels=None):
            found = self.described(cells, movie, labels)
            return probability_costs(predict_links(net, found), found.links)

        return Solver(costs) if self.divisions else Divide(Solver(costs), weights)


MENDS = {
    "nothing": Without(),
    "links to daughters (a mother is guessed afterwards)": Without(divisions=False),
    "mothers that compete": Without(AloneNet, alone_loss),
    "messages from the future": Without(ForwardNet),
    "features in cell sizes": Without(describe=published_features, varied=False),
    "links over gaps": Without(graph={"max_gap": 1, "late": 0}),
}


def trained_state(part, truths):
    return part.train(truths).state_dict()


def simulated_truths():
    return [simulated_links(k) for k in range(gnn.SIMULATED)]


def scores_of(name, linker, case):
    "Return two rows of the table: of a Case as it is, and the mean of it damaged."
    states = {"clean": [case], "damaged": [damaged(case, k) for k in gnn.TESTS]}
    rows = []
    for state, cases in states.items():
        found = pd.concat([rows_of(c, {name: linker}) for c in cases])
        scores = found[["LNK", "BIO", "IDF1", "division F1"]].mean()
        rows.append({"without": name, "movie": case.name, "detections": state, **scores})
    return rows


def main():
    first, last = gnn.parts(0), gnn.parts(1)
    truths = [(*gnn.links_of(case), case.movie, case.labels, gnn.OFTEN) for case in first]
    truths += [(*truth, 1) for truth in gnn.kept("simulated truths", simulated_truths)]
    weights = gnn.kept("time divide", partial(gnn.division_classifier, first))
    rows = []
    for name, without in MENDS.items():
        state = gnn.kept(f"without {name}", partial(trained_state, without, truths))
        net = without.net(width=WIDTH, depth=DEPTH)
        net.load_state_dict(state)
        linker = without.linker(net.eval(), weights)
        for case in last:
            rows += scores_of(name, linker, case)
        shown = pd.DataFrame(rows).groupby(["without", "detections"], sort=False)
        print(shown.mean(numeric_only=True).round(4).tail(2).to_string(header=False), flush=True)
    settings = {"movies": gnn.MOVIES, "simulated": gnn.SIMULATED, "options": gnn.OPTIONS}
    record = run_record("parts.py", ["numpy", "scipy", "torch"], settings)
    write_table(pd.DataFrame(rows).round(4), record, "parts")


if __name__ == "__main__":
    main()
