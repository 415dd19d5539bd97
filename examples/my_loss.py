"""A loss of your own: f-DPO with the Jensen–Shannon divergence in place of the reverse KL (arXiv:2309.16240).

tutelage train ./examples/my_loss.py --model starter-chat --data comparisons.jsonl --out mine --beta 0.2
"""

import torch
from torch.nn.functional import logsigmoid, softplus

from tutelage.methods import Pairs, ReferencePairMethod, Side, method


@method("js-dpo")
class JensenShannonDPO(ReferencePairMethod):
    """DPO whose reward is beta · log(2u / (1 + u)) of the probability ratio u, bounded above by beta · log 2."""

    summary = "DPO under the Jensen–Shannon divergence: a bounded reward"
    paper = "arXiv:2309.16240"
    formula = "−log σ(f(r_w) − f(r_l)), f(r) = β · (log 2 + r − log(1 + eʳ)), r = log π − log π_ref"
    learning_rate = 1e-6

    beta: float = 0.1
    """How firmly the policy is held to the reference."""

    def losses(self, pairs: Pairs) -> torch.Tensor:
        return -logsigmoid(self.rewards(pairs.chosen) - self.rewards(pairs.rejected))

    def rewards(self, side: Side) -> torch.Tensor:
        return self.beta * (torch.log(torch.tensor(2.0)) + side.log_ratio - softplus(side.log_ratio))
