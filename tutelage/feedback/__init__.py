"""Who judges what next: the queue with its leases, agreement of raters, gold items, and the choice of what to label."""
