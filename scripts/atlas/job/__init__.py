"""Jobs: the one entry of all of them, what each attests, and what is read back."""
