"""LoraHub's procedure in PEFT's and nevergrad's own words, as its authors run it.

One PEFT model whose adapter is replaced at each step; the loss of one batch, divided by the number
of examples; nevergrad over the sum of the adapters' tensors.
"""

import random

import nevergrad
import numpy as np
import torch
from peft import PeftModel
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict


def adapters_of(fresh, folders):
    """State dictionaries of adapters as PEFT gives them."""
    return [
        {k: v.clone() for k, v in get_peft_model_state_dict(
            PeftModel.from_pretrained(fresh(), folder)).items()}
        for folder in folders
    ]  # fmt: skip


def composed_of(weights, states):
    """The sum of weighted tensors, tensor by tensor: of A and of B, not of their products."""
    return {
        key: sum(float(w) * state[key] for w, state in zip(weights, states, strict=True))
        for key in states[0]
    }


def search(fresh, folders, batch, examples, budget, seed):
    """The search, for a model whose forward pass returns the loss of the batch.

    :returns: recommended weights; weights and score of each evaluation.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    states = adapters_of(fresh, folders)
    model = PeftModel.from_pretrained(fresh(), folders[0]).eval()
    trajectory = []

    def score(weights):
        set_peft_model_state_dict(model, composed_of(weights, states))
        with torch.no_grad():
            loss = float(model(**batch).loss) / examples
        value = loss + 0.05 * sum(abs(w) for w in weights) / len(weights)
        trajectory.append((list(weights), value))
        return value

    number = len(folders)
    array = nevergrad.p.Array(init=[0] * number, upper=[1.5] * number, lower=[-1.5] * number)
    optimizer = nevergrad.optimizers.NGOpt(parametrization=array, budget=budget)
    return optimizer.minimize(score).value, trajectory
