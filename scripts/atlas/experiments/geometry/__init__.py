"""Models trained with rewards against models fine-tuned on solutions."""
