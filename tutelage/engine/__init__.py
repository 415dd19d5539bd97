"""The fast path all methods share: token trees, tree attention, chunked logprobs, generation."""
