"""The studio: the web app in which people write pairs, judge answers and watch a model get better.

Pages are a Jinja2 shell and small ES modules over the workspace's API (`tutelage.api`), which holds all that is true;
this room keeps no state of its own. Nothing is asked of another machine.
"""
