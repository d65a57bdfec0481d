"""FTSO (Huang et al.): search the topology of a cell first, then its operators."""
