"""DARTS (Liu et al.) and PC-DARTS (Xu et al.): gradient search on a weighted mixture of all options."""
