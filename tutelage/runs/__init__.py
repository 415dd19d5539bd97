"""Training runs as seen from outside: which there are, how far they are, and starting, stopping and resuming them.

A run is a process of its own and all there is to know of it stands in its folder, so whoever looks may come and go.
Leaves out training itself (`tutelage.train`).
"""
