"""Cell spaces: a network is a stack of equal cells (DARTS, HM-NAS, FTSO, NATS-Bench)."""
