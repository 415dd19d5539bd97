"""The evaluate room: what can be said about answers without a judge, how sure it is, and the before/after report.

Start at `summary.summarise` (answers to rows) and `report.write_report` (rows to a page). Pure Python and numpy; the
answers and likelihoods come from the rooms before it.

Leaves out: win rates, reward models and anything that needs people or a judge.
"""
