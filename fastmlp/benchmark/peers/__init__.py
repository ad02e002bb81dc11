"""One implementation of each peer, with its best settings. What a peer needs is imported where its functions run."""
