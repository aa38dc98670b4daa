"""Whether a model answers the prompts of a comparison correctly."""

from pathlib import Path

from atlas.activations.generation import greedy
from atlas.errors import AtlasError
from atlas.files import write_csv
from atlas.geometry.residual_streams import prompt_rows, prompt_tokens
from atlas.networks.shards import loaded_model
from atlas.networks.tokens import Tokens
from atlas.training.rewards import answer_of

COLUMNS = ("prompt", "answer", "truth", "correct")
RULES = ("first_number", "last_number", "first_line")


def is_correct(answer: str, truth: str, rule: str) -> bool:
    """Whether an answer is that of the dataset.

    :param rule: what is taken of both (:func:`atlas.training.rewards.answer_of`), of RULES: the first or
        the last number, compared as numbers, or the first line, whatever its case.
    :raises AtlasError: where the truth has no such thing.
    """
    wanted, found = (answer_of(text, rule) for text in (truth, answer))
    if wanted is None:
        what = rule.replace("_", " ")
        raise AtlasError(
            f"the answer {truth.strip()[:40]!r} has no {what}, by which answers are compared; set "
            "answers.rule of the comparison."
        )
    if rule == "first_line":
        return found is not None and found.casefold() == wanted.casefold()
    return found is not None and float(found) == float(wanted)


def measure_answers(
    *, prompts: Path, base: list[Path], model: list[Path], base_names: list[str], dtype: str,
    most: int, new_tokens: int, rule: str, answers: Path, shots: int = 0
) -> None:  # fmt: skip
    """Write greedy answers of a base, or of a model of it, and whether they are correct: COLUMNS.

    :param prompts, most, shots: prompts of a task
        (:func:`atlas.geometry.residual_streams.prompt_rows`).
    :param model: files of the model; none for the base itself.
    :param new_tokens: longest answer. :param rule: of RULES.
    :raises AtlasError: where an answer of the dataset has nothing to compare by that rule.
    """
    folder = base[0].parent
    rows = prompt_rows(prompts, most, shots)
    truths = [row["completion"] if "completion" in row else row["chosen"] for row in rows]
    _, ids = prompt_tokens(prompts, folder, most, shots)
    with loaded_model(base, model, base_names, dtype) as network:
        texts = greedy(network, Tokens(folder), ids, new_tokens)
    found = [
        {"prompt": i, "answer": text, "truth": truth, "correct": int(is_correct(text, truth, rule))}
        for i, (text, truth) in enumerate(zip(texts, truths, strict=True))
    ]
    write_csv(answers, COLUMNS, found)
