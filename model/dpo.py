"""Direct preference optimisation: learn from pairs of answers without a reward model (Rafailov et al. 2023).

Pure functions over the log-probabilities of whole answers; the reference model's are given, since they never change.
"""

import torch.nn.functional as F
from torch import Tensor

from model.config import DPOConfig


def dpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    lengths: Tensor,
    config: DPOConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of each pair, and what to log of it.

    Log-probabilities [P] are in nats, *summed* over an answer's tokens; `lengths` [2, P] counts those tokens: chosen,
    rejected. While policy and reference are one model the sigmoid loss is ln 2 and every reward 0.

    Returns (losses [P], metrics by name [P], without gradient): rewards/chosen, rewards/rejected, rewards/margin,
    rewards/accuracy (1 where the chosen answer's reward is the higher), log_probs/chosen, log_probs/rejected.
    """
    chosen_ratio, rejected_ratio = policy_chosen - reference_chosen, policy_rejected - reference_rejected
    chosen_length, rejected_length = lengths.clamp(min=1).unbind()
    if config.loss == "sigmoid":
        logit = config.beta * (chosen_ratio - rejected_ratio)
        wrong = config.label_smoothing
        losses = -(1 - wrong) * F.logsigmoid(logit) - wrong * F.logsigmoid(-logit)
    else:
        # The mean over tokens, as in TRL: with sums, the target 1 / (2 beta) would be reached by length alone.
        margin = chosen_ratio / chosen_length - rejected_ratio / rejected_length
        losses = (margin - 1 / (2 * config.beta)).square()
    if config.nll_weight:
        losses = losses - config.nll_weight * policy_chosen / chosen_length
    chosen_reward = config.beta * chosen_ratio.detach()
    rejected_reward = config.beta * rejected_ratio.detach()
    metrics = {
        "rewards/chosen": chosen_reward,
        "rewards/rejected": rejected_reward,
        "rewards/margin": chosen_reward - rejected_reward,
        "rewards/accuracy": (chosen_reward > rejected_reward).to(losses.dtype),
        "log_probs/chosen": policy_chosen.detach(),
        "log_probs/rejected": policy_rejected.detach(),
    }
    return losses, metrics
