"""The record of everything: people, pairs, prompts, answers, verdicts, datasets, and where every model came from."""
