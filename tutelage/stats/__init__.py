"""The stats room: how sure a number is, how often a reward model is right, and how far raters agree. Free of torch."""
