"""The prompt that makes a larger model rewrite a solution in the labelled-step format."""

from __future__ import annotations

__all__ = ["EXAMPLES", "LEAD", "PRESETS"]

_INSTRUCTION = (
    "Rewrite the solution of the problem in this format: ## Analysis says what is asked and which "
    "idea leads there; ## Restatement says the problem again in own words; then one logical step "
    "under each ## Step k: title; last ## Answer with the result in \\boxed{}, the only box. Keep "
    "the result and the reasoning, and leave no calculation out."
)
EXAMPLES = (
    (
        "Mia has 3 boxes of 12 pens and gives away 5 pens. How many are left?",
        "3*12=36 pens, minus 5 makes \\boxed{31}.",
        "## Analysis\nWe look for the pens that are left: all pens, less those given away.\n\n"
        "## Restatement\nThere are 3 boxes with 12 pens each, and 5 pens go. Count the rest.\n\n"
        "## Step 1: Count all pens\nThree boxes of 12 pens hold 3 * 12 = 36 pens.\n\n"
        "## Step 2: Take away the gifts\nOf these 5 are given away: 36 - 5 = 31.\n\n"
        "## Answer\n\\boxed{31}",
    ),
    (
        "Solve 2x + 6 = 10.",
        "Subtract 6: 2x = 4. So x = 2. The answer is \\boxed{2}.",
        "## Analysis\nThis is a linear equation in x; we isolate x.\n\n"
        "## Restatement\nFind the number x for which twice x plus 6 is 10.\n\n"
        "## Step 1: Move the constant\nSubtracting 6 on both sides gives 2x = 4.\n\n"
        "## Step 2: Divide by the coefficient\nHalf of both sides is x = 4 / 2 = 2.\n\n"
        "## Answer\n\\boxed{2}",
    ),
)
#: What every rewrite begins with; templates end with it, so that the model goes on from there.
LEAD = "## Analysis\n"


def _turns(instruction: str, before: str, between: str, end: str) -> str:
    """The instruction, the examples, and the place of the draft up to the beginning of its rewrite.

    Problem and draft of one turn are told apart by headings of their own.
    """
    case = "Problem:\n{problem}\n\nSolution:\n{solution}"
    examples = "".join(
        before + case.replace("{problem}", p).replace("{solution}", s) + between + text + end
        for p, s, text in EXAMPLES
    )
    return f"{instruction}{examples}{before}{case}{between}{LEAD}"


#: "plain" for models without a chat format. All end with the first header of the rewrite.
PRESETS = {
    "plain": _turns(f"{_INSTRUCTION}\n\n", "=== Task\n", "\n\n=== Rewritten\n", "\n\n"),
    "chatml": _turns(
        f"<|im_start|>system\n{_INSTRUCTION}<|im_end|>\n",
        "<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>\n",
    ),
    "llama3": _turns(
        f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{_INSTRUCTION}<|eot_id|>",
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
    ),
}
