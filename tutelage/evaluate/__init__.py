"""The evaluate room: what can be said about answers without a judge, how sure it is, and the before/after report.

Beside it stands a scripted rater (`rater`), a documented function that is never called a person.

Start at `summary.summarise` (answers to rows) and `report.write_report` (rows to a page). Pure Python and numpy; the
answers and likelihoods come from the rooms before it.

Leaves out: reward models and anything that needs people or a judge.
"""
