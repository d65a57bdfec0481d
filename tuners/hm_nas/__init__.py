"""HM-NAS (Yan et al.): weigh operations and edges, then learn binary masks over them."""
