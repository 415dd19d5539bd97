"""Tutelage: post-train language models under human tutelage. `import tutelage` is cheap; torch loads on first use."""
