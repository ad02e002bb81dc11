"""How fast fastmlp is beside its peers: the workloads, one implementation of each peer, the protocol of timing. Prints nothing."""
